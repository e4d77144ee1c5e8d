//! The collector's side: merges deltas of any number of nodes, in any order, in bounded memory.
//!
//! State is a set of leaves. For each standing (served, missed) and each [`Coarseness`] the leaves with the least ids are kept, up
//! to a limit; the others are folded into [`LeafPath::folded`], which is of a coarser class. A leaf that is once over the
//! limit is over it in every larger set, and where it goes depends on its path alone. So which leaves remain, and what they
//! count, depends on the set of deltas merged and not on their order or grouping.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use crate::codec::{DecodeError, Reader, VERSION, Writer};
use crate::delta::{Counts, Standing};
use crate::endpoint::{self, Endpoint, PathParameter};
use crate::limits::{Folded, Limits};
use crate::segment::{Coarseness, LeafPath};
use crate::stats::Merge;
use crate::template::Templates;
use crate::{ApiDelta, ApiKey, LeafId, Method};

/// Name of a record of an [`ApiCatalog`]: what a store keys its row by, next to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The leaf.
    pub leaf: LeafId,
    /// The method.
    pub method: Method,
}

/// A leaf that is gone because a limit folded it into a coarser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FoldedLeaf {
    /// The leaf that was over the limit.
    pub from: LeafId,
    /// The finest leaf left that stands for it, see [`ApiCatalog::leaf_of`]: what else is kept by leaf goes there.
    pub into: LeafId,
}

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records to write anew, sorted.
    pub changed: Vec<RecordKey>,
    /// Records to delete, sorted.
    pub removed: Vec<RecordKey>,
    /// Leaves of the delta or of the catalog that are gone, sorted.
    pub folded: Vec<FoldedLeaf>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) path: LeafPath,
    pub(crate) coarseness: Coarseness,
    /// By method and standing.
    pub(crate) records: BTreeMap<(Method, Standing), Box<Counts>>,
}

/// Everything known about one API.
#[derive(Clone, Debug)]
pub struct ApiCatalog {
    api: ApiKey,
    limits: Limits,
    pub(crate) leaves: HashMap<LeafId, Leaf>,
    /// Leaves by standing and class, to find the one that is over a limit.
    ranks: BTreeMap<(Standing, Coarseness), BTreeSet<LeafId>>,
    folded: Folded,
    /// Learnt when asked for, forgotten when something changes.
    templates: OnceLock<Arc<Templates>>,
}

/// Collects [`Changes`].
#[derive(Default)]
struct Touched {
    records: BTreeSet<RecordKey>,
    folded: BTreeMap<LeafId, LeafPath>,
}

impl ApiCatalog {
    /// Knows nothing yet.
    pub fn new(api: ApiKey, limits: Limits) -> Self {
        Self {
            api,
            limits,
            leaves: HashMap::new(),
            ranks: BTreeMap::new(),
            folded: Folded::default(),
            templates: OnceLock::new(),
        }
    }

    /// The API.
    pub fn api(&self) -> &ApiKey {
        &self.api
    }

    /// Adds a node's increments. The caller sees to it that each delta comes once, and that it is of this API.
    pub fn merge(&mut self, delta: &ApiDelta) -> Changes {
        let mut touched = Touched::default();
        for record in &delta.records {
            self.add(
                &record.path,
                record.id,
                record.method,
                record.standing,
                &record.counts,
                &mut touched,
            );
        }
        self.settle(touched)
    }

    /// Adds all that another catalog of the same API knows.
    pub fn merge_catalog(&mut self, other: &ApiCatalog) -> Changes {
        let mut touched = Touched::default();
        for (id, leaf) in &other.leaves {
            for ((method, standing), counts) in &leaf.records {
                self.add(&leaf.path, *id, *method, *standing, counts, &mut touched);
            }
        }
        for (fold, count) in other.folded.iter() {
            self.folded.add(fold, count);
        }
        self.settle(touched)
    }

    fn add(
        &mut self,
        path: &LeafPath,
        id: LeafId,
        method: Method,
        standing: Standing,
        counts: &Counts,
        touched: &mut Touched,
    ) {
        self.templates.take();
        let leaf = self.leaves.entry(id).or_insert_with(|| Leaf {
            coarseness: path.coarseness(),
            path: path.clone(),
            records: BTreeMap::new(),
        });
        leaf.records.entry((method, standing)).or_default().merge(counts);
        touched.records.insert(RecordKey { leaf: id, method });
        let class = (standing, leaf.coarseness);
        let ranks = self.ranks.entry(class).or_default();
        ranks.insert(id);
        let (limit, _) = self.limits.leaves_of(standing, leaf.coarseness);
        if ranks.len() > limit
            && let Some(last) = ranks.pop_last()
        {
            self.fold(last, standing, touched);
        }
    }

    /// Moves one standing of a leaf into its coarser leaf.
    fn fold(&mut self, id: LeafId, standing: Standing, touched: &mut Touched) {
        let Some(leaf) = self.leaves.get_mut(&id) else {
            return;
        };
        let (_, fold) = self.limits.leaves_of(standing, leaf.coarseness);
        let into = leaf.path.folded(leaf.coarseness);
        let into_id = into.id();
        let moved: Vec<Method> = leaf
            .records
            .keys()
            .filter(|(_, other)| *other == standing)
            .map(|(method, _)| *method)
            .collect();
        let moved: Vec<(Method, Box<Counts>)> = moved
            .into_iter()
            .filter_map(|method| {
                leaf.records
                    .remove(&(method, standing))
                    .map(|counts| (method, counts))
            })
            .collect();
        touched.folded.insert(id, leaf.path.clone());
        if leaf.records.is_empty() {
            self.leaves.remove(&id);
        }
        for (method, counts) in moved {
            touched.records.insert(RecordKey { leaf: id, method });
            self.folded.add(fold, counts.stats.calls.total());
            self.add(&into, into_id, method, standing, &counts, touched);
        }
    }

    fn settle(&self, touched: Touched) -> Changes {
        let mut changes = Changes::default();
        for key in touched.records {
            let exists = self.methods(key.leaf).any(|method| method == key.method);
            if exists {
                &mut changes.changed
            } else {
                &mut changes.removed
            }
            .push(key);
        }
        for (from, path) in touched.folded {
            if !self.leaves.contains_key(&from)
                && let Some(into) = self.holder(path)
            {
                changes.folded.push(FoldedLeaf { from, into });
            }
        }
        changes
    }

    fn methods(&self, leaf: LeafId) -> impl Iterator<Item = Method> {
        let mut methods: Vec<Method> = self
            .leaves
            .get(&leaf)
            .into_iter()
            .flat_map(|leaf| leaf.records.keys().map(|(method, _)| *method))
            .collect();
        methods.dedup();
        methods.into_iter()
    }

    /// Names of all records, sorted.
    pub fn record_keys(&self) -> Vec<RecordKey> {
        let mut keys: Vec<RecordKey> = self
            .leaves
            .keys()
            .flat_map(|leaf| {
                self.methods(*leaf)
                    .map(|method| RecordKey { leaf: *leaf, method })
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    /// All records with their bytes, sorted by name.
    pub fn records(&self) -> impl Iterator<Item = (RecordKey, Vec<u8>)> + '_ {
        self.record_keys()
            .into_iter()
            .filter_map(|key| Some((key, self.record(key.leaf, key.method)?)))
    }

    /// Bytes of one record; `None` when there is none.
    pub fn record(&self, leaf: LeafId, method: Method) -> Option<Vec<u8>> {
        let leaf = self.leaves.get(&leaf)?;
        let mut writer = Writer(Vec::with_capacity(256));
        writer.byte(VERSION);
        leaf.write(method, &mut writer).then_some(writer.0)
    }

    /// From the bytes of records, in any order. A record that is over a limit (of a smaller configuration) is folded.
    pub fn from_records<B: AsRef<[u8]>>(
        api: ApiKey,
        limits: Limits,
        records: impl IntoIterator<Item = B>,
    ) -> Result<Self, DecodeError> {
        let mut catalog = Self::new(api, limits);
        for bytes in records {
            let mut reader = Reader::new(bytes.as_ref())?;
            let mut touched = Touched::default();
            let path = reader.path()?;
            let id = path.id();
            let method = Method::from_code(reader.byte("method")?);
            let standings = reader.byte("standings")?;
            if standings == 0 || standings > 3 {
                return Err(reader.invalid("standings"));
            }
            for standing in Standing::ALL {
                if standings & (1 << standing as u8) != 0 {
                    let counts = Counts::read(&mut reader)?;
                    catalog.add(&path, id, method, standing, &counts, &mut touched);
                }
            }
            reader.finish()?;
        }
        Ok(catalog)
    }

    /// The whole state: equal for the same deltas, merged in any order and grouping.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(VERSION);
        writer.api(&self.api);
        for (_, count) in self.folded.iter() {
            writer.number(count);
        }
        for key in self.record_keys() {
            if let Some(leaf) = self.leaves.get(&key.leaf) {
                leaf.write(key.method, &mut writer);
            }
        }
        writer.0
    }

    /// Calls that each limit folded away in this catalog's lifetime, by the limit's name.
    pub fn folded(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.folded.iter().map(|(fold, count)| (fold.name(), count))
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether it knows nothing.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The endpoints, sorted by template and method. A pure function of the merged state.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        endpoint::endpoints(&self.api, &self.leaves, &self.templates())
    }

    /// Template of one leaf; `None` when the leaf is not known.
    pub fn template_of(&self, leaf: LeafId) -> Option<String> {
        self.templates().of(leaf).map(|template| template.text.clone())
    }

    /// Template under which a call of this leaf is counted; `None` when the leaf is not known. `status` as observed.
    pub fn template_of_call(&self, leaf: LeafId, method: Method, status: Option<u16>) -> Option<String> {
        let templates = self.templates();
        let template = templates.of_record(leaf, method, Standing::of(status))?;
        Some(template.text.clone())
    }

    /// Parameters of an endpoint's template, in order.
    pub fn path_parameters(&self, endpoint: &Endpoint) -> Vec<PathParameter> {
        endpoint::path_parameters(&self.leaves, endpoint)
    }

    fn templates(&self) -> Arc<Templates> {
        self.templates
            .get_or_init(|| Arc::new(Templates::learn(&self.leaves)))
            .clone()
    }

    /// The leaf that holds the counts of calls with this redacted path (`Recorded::path`): its own, or the coarser one that
    /// it was folded into. `None` when neither exists.
    pub fn leaf_of(&self, rendering: &str) -> Option<LeafId> {
        self.holder(LeafPath::parse(rendering)?)
    }

    fn holder(&self, mut path: LeafPath) -> Option<LeafId> {
        loop {
            let id = path.id();
            if self.leaves.contains_key(&id) {
                return Some(id);
            }
            let coarseness = path.coarseness();
            if coarseness == Coarseness::Everything {
                return None;
            }
            path = path.folded(coarseness);
        }
    }
}

impl Leaf {
    /// Path, method, which standings, counts of each. False when there is no record of the method.
    fn write(&self, method: Method, writer: &mut Writer) -> bool {
        let mut standings = 0;
        for standing in Standing::ALL {
            standings |= u8::from(self.records.contains_key(&(method, standing))) << standing as u8;
        }
        writer.path(&self.path);
        writer.byte(method.code());
        writer.byte(standings);
        for standing in Standing::ALL {
            if let Some(counts) = self.records.get(&(method, standing)) {
                counts.write(writer);
            }
        }
        standings != 0
    }
}
