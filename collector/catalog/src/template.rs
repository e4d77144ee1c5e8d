//! From leaves to templates: a pure function of the merged state, whatever way it was learnt.
//!
//! - Route words are always literal, values always parameters. All values at one position are one parameter.
//! - A plausible word that became a literal because it repeated stays one, unless its position is *open*: free text was seen there
//!   that no literal accounts for, or more than [`OPEN_WORDS`] such words. In an open position it is a value like the
//!   others, unless what lies below it differs from what lies below them, or it is one of few and takes much of the traffic
//!   (`/users/whoami` beside `/users/{user}`).
//! - Calls of a plausible word before it became a literal were counted as free text. Literals say how many those were; free text
//!   that is wholly accounted for is counted with the literal that accounts for most of it.
//! - Only served calls teach; missed ones follow.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::api::Leaf;
use crate::delta::Standing;
use crate::segment::{LeafPath, Segment, SegmentType};
use crate::{LeafId, Method, words};

/// Plausible words at one position above which it is open.
const OPEN_WORDS: usize = 12;

/// In an open position, literals of which there are at most this many …
const STRONG_WORDS: usize = 3;

/// … and that take at least one in this many calls of the position stay literals.
const STRONG_SHARE: u64 = 3;

/// Plausible literals of one leaf whose generalisations are considered: 2^4 - 1 of them.
const GENERALISED_MAX: usize = 4;

/// Template of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// With named parameters: `/users/{user_id}`.
    pub(crate) text: String,
    /// With parameters as `{}` and the rest as `{*}`.
    pub(crate) skeleton: String,
}

/// Templates of all leaves of an API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates {
    by_leaf: HashMap<LeafId, Template>,
    /// Free text accounted for: the leaf with whose template its served calls are counted.
    accounted: HashMap<(LeafId, Method), LeafId>,
}

impl Templates {
    /// Learns the templates.
    pub(crate) fn learn(leaves: &HashMap<LeafId, Leaf>) -> Self {
        let accounted = accounted(leaves);
        let mut trie = Trie::default();
        let mut sorted: Vec<(&LeafId, &Leaf)> = leaves.iter().collect();
        sorted.sort_unstable_by(|a, b| a.1.path.cmp(&b.1.path));
        for (id, leaf) in sorted {
            trie.insert(*id, leaf, &accounted);
        }
        let mut by_leaf = HashMap::with_capacity(leaves.len());
        trie.assign(&[0], &mut Vec::new(), &mut by_leaf);
        Self { by_leaf, accounted }
    }

    /// Template of a leaf.
    pub(crate) fn of(&self, leaf: LeafId) -> Option<&Template> {
        self.by_leaf.get(&leaf)
    }

    /// Template under which a record is counted.
    pub(crate) fn of_record(&self, leaf: LeafId, method: Method, standing: Standing) -> Option<&Template> {
        let target = match standing {
            Standing::Served => self.accounted.get(&(leaf, method)).copied().unwrap_or(leaf),
            Standing::Missed => leaf,
        };
        self.of(target)
    }
}

/// The paths that `path` may have been counted under before its plausible words were literals: every non-empty choice of
/// them replaced by free text. Of more than [`GENERALISED_MAX`] words all are replaced at once.
pub(crate) fn generalisations(path: &LeafPath) -> Vec<LeafPath> {
    let plausible: Vec<usize> = path
        .segments()
        .iter()
        .enumerate()
        .filter(|(_, segment)| matches!(segment, Segment::Literal(text) if !words::is_route_word(text)))
        .map(|(at, _)| at)
        .collect();
    let replaced = |keep: &dyn Fn(usize) -> bool| {
        let segments = path.segments().iter().enumerate().map(|(at, segment)| {
            match plausible.iter().position(|other| *other == at) {
                Some(bit) if !keep(bit) => Segment::Typed(SegmentType::Text),
                _ => segment.clone(),
            }
        });
        LeafPath(segments.collect())
    };
    match plausible.len() {
        0 => Vec::new(),
        count if count > GENERALISED_MAX => vec![replaced(&|_| false)],
        count => (1u32..1 << count)
            .map(|choice| replaced(&|bit| choice & (1 << bit) == 0))
            .collect(),
    }
}

/// Which free-text leaves hold only calls of words that are literals by now, and with which leaf to count them.
fn accounted(leaves: &HashMap<LeafId, Leaf>) -> HashMap<(LeafId, Method), LeafId> {
    struct Claims {
        sum: u64,
        best: (u64, LeafId),
    }
    let mut claims: HashMap<(LeafId, Method), Claims> = HashMap::new();
    for (id, leaf) in leaves {
        let claiming = leaf.records.iter().filter(|(_, counts)| counts.withheld > 0);
        let mut general: Option<Vec<LeafId>> = None;
        for ((method, _), counts) in claiming {
            let general = general.get_or_insert_with(|| {
                generalisations(&leaf.path)
                    .iter()
                    .map(LeafPath::id)
                    .collect::<Vec<_>>()
            });
            for target in general.iter() {
                let claim = claims.entry((*target, *method)).or_insert(Claims {
                    sum: 0,
                    best: (0, *id),
                });
                claim.sum = claim.sum.saturating_add(counts.withheld);
                claim.best = claim.best.max((counts.withheld, *id));
            }
        }
    }
    claims.retain(|(target, method), claim| {
        let counts = leaves
            .get(target)
            .and_then(|leaf| leaf.records.get(&(*method, Standing::Served)));
        counts.is_some_and(|counts| counts.stats.calls.total() <= claim.sum)
    });
    claims
        .into_iter()
        .map(|(target, claim)| (target, claim.best.1))
        .collect()
}

/// One part of a template.
#[derive(Clone)]
enum Part {
    Literal(Box<str>),
    Parameter(BTreeSet<SegmentType>),
    Rest,
}

#[derive(Default)]
struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Default)]
struct TrieNode {
    children: BTreeMap<Segment, usize>,
    /// Served calls at and below, without those that are accounted for elsewhere.
    calls: u64,
    /// Methods served here.
    methods: BTreeSet<Method>,
    leaf: Option<LeafId>,
}

/// Trie nodes that are one node of the template.
type Group = Vec<usize>;

impl Trie {
    fn insert(&mut self, id: LeafId, leaf: &Leaf, accounted: &HashMap<(LeafId, Method), LeafId>) {
        let calls: Vec<(Method, u64)> = leaf
            .records
            .iter()
            .filter(|((method, standing), _)| {
                *standing == Standing::Served && !accounted.contains_key(&(id, *method))
            })
            .map(|((method, _), counts)| (*method, counts.stats.calls.total()))
            .collect();
        let sum = calls
            .iter()
            .fold(0u64, |sum, (_, calls)| sum.saturating_add(*calls));
        if self.nodes.is_empty() {
            self.nodes.push(TrieNode::default());
        }
        let mut at = 0;
        for segment in leaf.path.segments() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            node.calls = node.calls.saturating_add(sum);
            at = *node.children.entry(segment.clone()).or_insert(next);
            if at == next {
                self.nodes.push(TrieNode::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.calls = node.calls.saturating_add(sum);
            node.methods.extend(calls.iter().map(|(method, _)| *method));
            node.leaf = Some(id);
        }
    }

    fn members(&self, group: &[usize]) -> impl Iterator<Item = &TrieNode> {
        group.iter().filter_map(|at| self.nodes.get(*at))
    }

    fn calls(&self, group: &[usize]) -> u64 {
        self.members(group)
            .fold(0, |sum, node| sum.saturating_add(node.calls))
    }

    /// Gives every leaf below `group` its template. Depth is bounded by that of leaves.
    fn assign(&self, group: &[usize], prefix: &mut Vec<Part>, out: &mut HashMap<LeafId, Template>) {
        let mut template = None;
        for leaf in self.members(group).filter_map(|node| node.leaf) {
            out.insert(leaf, template.get_or_insert_with(|| render(prefix)).clone());
        }
        let mut literals: BTreeMap<&str, Group> = BTreeMap::new();
        let (mut values, mut types, mut rest) = (Group::new(), BTreeSet::new(), Group::new());
        let mut free_text = false;
        for (segment, child) in self.members(group).flat_map(|node| &node.children) {
            match segment {
                Segment::Literal(text) => literals.entry(text).or_default().push(*child),
                Segment::Typed(kind) => {
                    free_text |= *kind == SegmentType::Text && self.calls(&[*child]) > 0;
                    types.insert(*kind);
                    values.push(*child);
                }
                Segment::Rest => rest.push(*child),
            }
        }
        for word in self.value_words(&literals, &values, free_text) {
            values.extend(literals.remove(word).unwrap_or_default());
            types.insert(SegmentType::Text);
        }
        let literals = literals
            .into_iter()
            .map(|(text, group)| (Part::Literal(text.into()), group));
        let values = (!values.is_empty()).then_some((Part::Parameter(types), values));
        let rest = (!rest.is_empty()).then_some((Part::Rest, rest));
        for (part, group) in literals.chain(values).chain(rest) {
            prefix.push(part);
            self.assign(&group, prefix, out);
            prefix.pop();
        }
    }

    /// The literals of one position that are values after all.
    fn value_words<'a>(
        &self,
        literals: &BTreeMap<&'a str, Group>,
        values: &[usize],
        free_text: bool,
    ) -> Vec<&'a str> {
        let words: Vec<(&str, &Group)> = literals
            .iter()
            .filter(|(text, _)| **text != "*" && !words::is_route_word(text))
            .map(|(text, group)| (*text, group))
            .collect();
        let taught = words.iter().filter(|(_, group)| self.calls(group) > 0).count();
        if !free_text && taught <= OPEN_WORDS {
            return Vec::new();
        }
        let all = literals
            .values()
            .flatten()
            .chain(values)
            .copied()
            .collect::<Group>();
        let position_calls = self.calls(&all);
        let usual = self.usual_shape(&words, values);
        let is_value = |group: &Group| {
            let strong = taught <= STRONG_WORDS && self.calls(group) >= position_calls.div_ceil(STRONG_SHARE);
            let shape = self.shape(group);
            let shared = shape.intersection(&usual).count();
            !strong && shared * 2 >= shape.len()
        };
        words
            .into_iter()
            .filter(|(_, group)| is_value(group))
            .map(|(text, _)| text)
            .collect()
    }

    /// What lies below the values of a position; without values, below at least a quarter of its words.
    fn usual_shape(&self, words: &[(&str, &Group)], values: &[usize]) -> BTreeSet<String> {
        if self.calls(values) > 0 {
            return self.shape(values);
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for feature in words.iter().flat_map(|(_, group)| self.shape(group)) {
            *counts.entry(feature).or_default() += 1;
        }
        counts
            .into_iter()
            .filter(|(_, count)| count * 4 >= words.len())
            .map(|(feature, _)| feature)
            .collect()
    }

    /// Methods served at a group and the names of what is served below, words and values alike as `{}`.
    fn shape(&self, group: &[usize]) -> BTreeSet<String> {
        let mut shape = BTreeSet::new();
        for node in self.members(group) {
            shape.extend(node.methods.iter().map(|method| method.as_str().to_owned()));
            for (segment, child) in &node.children {
                if self.calls(&[*child]) > 0 {
                    shape.insert(match segment {
                        Segment::Literal(text) if words::is_route_word(text) => format!("/{text}"),
                        _ => "/{}".to_owned(),
                    });
                }
            }
        }
        shape
    }
}

fn render(parts: &[Part]) -> Template {
    let (mut text, mut skeleton) = (String::new(), String::new());
    let mut names: Vec<String> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Literal(literal) if &**literal == "*" && parts.len() == 1 => {
                return Template {
                    text: "*".to_owned(),
                    skeleton: "*".to_owned(),
                };
            }
            Part::Literal(literal) => {
                text.extend(["/", literal]);
                skeleton.extend(["/", literal]);
            }
            Part::Parameter(types) => {
                let parent = match at.checked_sub(1).and_then(|parent| parts.get(parent)) {
                    Some(Part::Literal(literal)) => Some(&**literal),
                    _ => None,
                };
                let name = unused(parameter_name(parent, types), &names);
                text.extend(["/{", &name, "}"]);
                skeleton.push_str("/{}");
                names.push(name);
            }
            Part::Rest => {
                text.extend(["/{", &unused("rest".to_owned(), &names), "}"]);
                skeleton.push_str("/{*}");
            }
        }
    }
    if parts.is_empty() {
        return Template {
            text: "/".to_owned(),
            skeleton: "/".to_owned(),
        };
    }
    Template { text, skeleton }
}

fn unused(name: String, names: &[String]) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while names.contains(&candidate) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// A name from the singular of the parent and the types of the values: `user_id`, `user`, `date`, `id`.
fn parameter_name(parent: Option<&str>, types: &BTreeSet<SegmentType>) -> String {
    use SegmentType::{Date, Email, File, Hex, Integer, Ip, Timestamp, Token, Uuid};
    let only = if types.len() == 1 {
        types.first().copied()
    } else {
        None
    };
    if let Some(kind @ (Date | Timestamp | Ip | Email | File)) = only {
        return kind.name().to_owned();
    }
    let identifier = types
        .iter()
        .any(|kind| matches!(kind, Integer | Uuid | Hex | Token));
    let parent = parent.and_then(words::singular_name);
    match (parent, identifier) {
        (Some(parent), true) => format!("{parent}_id"),
        (Some(parent), false) => parent,
        (None, true) => "id".to_owned(),
        (None, false) => only.unwrap_or(SegmentType::Text).name().to_owned(),
    }
}

/// Skeleton of a leaf on its own: literals as they are.
pub(crate) fn own_skeleton(path: &LeafPath) -> String {
    let part = |segment: &Segment| match segment {
        Segment::Literal(text) => Part::Literal(text.clone()),
        Segment::Typed(_) => Part::Parameter(BTreeSet::new()),
        Segment::Rest => Part::Rest,
    };
    render(&path.segments().iter().map(part).collect::<Vec<_>>()).skeleton
}
