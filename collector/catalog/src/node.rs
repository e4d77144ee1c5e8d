//! The node's side: counts increments in bounded memory, gives them away as deltas.

mod leaf;

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use self::leaf::{LeafHasher, NodeLeaf};
use crate::delta::{DeltaRecord, Standing};
use crate::key::{ANY_HOST, normalise_host};
use crate::limits::{DEPTH_MAX, Fold, Folded, Limits};
use crate::memo::{Memo, Paths};
use crate::repeats::{Repeats, Verdict};
use crate::segment::{Coarseness, LeafPath, id_of};
use crate::tokens::{Walk, walk};
use crate::{ApiDelta, ApiKey, LeafId, Method, Side};

/// Deltas without a call after which a node forgets a leaf. It needs only increments; a leaf that comes back is new.
const IDLE_TAKES_MAX: u32 = 30;

/// One call, as seen by the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<'a> {
    /// Method token.
    pub method: &'a str,
    /// Path of the target as sent, see [`crate::path_of_target`].
    pub path: &'a [u8],
    /// `None` when no response was seen.
    pub status: Option<u16>,
    /// First request byte to last response byte, microseconds.
    pub latency_us: Option<u64>,
    /// Request size on the wire, bytes.
    pub request_bytes: u64,
    /// Response size on the wire, bytes.
    pub response_bytes: u64,
    /// Hash of the client's identity.
    pub client: u64,
    /// Unix epoch microseconds.
    pub ts_us: i64,
    /// Calls that this one stands for; 1 without sampling.
    pub weight: u64,
}

/// Where a call was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The leaf.
    pub leaf: LeafId,
    /// Rendering of the leaf: the path with values as their types, `/users/{integer}`.
    pub path: Arc<str>,
    /// Host of the API that counted it: normalised, `*` when folded.
    pub host: Arc<str>,
    /// Few calls of this leaf and method on this node lately.
    pub rare: bool,
}

/// What this node learnt since it last said so.
#[derive(Debug)]
pub struct NodeCatalog {
    apis: HashMap<ApiKey, NodeApi>,
    /// APIs of each workload and side.
    hosts: HashMap<(String, Side), usize>,
    shared: Shared,
}

/// What all APIs of a node have in common.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    leaves: usize,
    repeats: Repeats,
    folded: Folded,
    /// Canonical bytes of the leaf at hand; kept to save the allocation.
    canonical: Vec<u8>,
    memo: Memo,
    paths: Paths,
}

#[derive(Debug)]
struct NodeApi {
    host: Arc<str>,
    seed: u64,
    leaves: std::collections::HashMap<LeafId, NodeLeaf, BuildHasherDefault<LeafHasher>>,
    /// Leaves by standing and coarseness.
    classes: [[usize; 4]; 2],
}

impl NodeCatalog {
    /// An empty catalog.
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            repeats: Repeats::new(
                limits.literal_calls,
                limits.words_per_position,
                limits.repeated_words,
            ),
            limits,
            leaves: 0,
            folded: Folded::default(),
            canonical: Vec::new(),
            memo: Memo::default(),
            paths: Paths::default(),
        };
        Self {
            apis: HashMap::new(),
            hosts: HashMap::new(),
            shared,
        }
    }

    /// Counts one call.
    pub fn observe(&mut self, api: &ApiKey, observation: &Observation<'_>) -> Recorded {
        // Keys of `apis` are normalised, so a key that is found needs no normalisation.
        if let Some(known) = self.apis.get_mut(api) {
            return known.observe(observation, &mut self.shared);
        }
        let key = self.place(api, observation.weight);
        let placed = self.apis.get_mut(&key).expect("`place` inserted it");
        placed.observe(observation, &mut self.shared)
    }

    /// The API that takes the calls of `api`, made if need be.
    fn place(&mut self, api: &ApiKey, weight: u64) -> ApiKey {
        let mut key = match normalise_host(&api.host) {
            Some(host) => ApiKey {
                host: host.into_owned(),
                ..api.clone()
            },
            None => {
                self.shared.folded.add(Fold::InvalidHost, weight);
                ApiKey {
                    host: ANY_HOST.to_owned(),
                    ..api.clone()
                }
            }
        };
        if !self.apis.contains_key(&key) {
            let hosts = self
                .hosts
                .get(&(key.workload.clone(), key.side))
                .copied()
                .unwrap_or(0);
            if hosts >= self.shared.limits.hosts_per_workload && key.host != ANY_HOST {
                self.shared.folded.add(Fold::HostsPerWorkload, weight);
                key.host = ANY_HOST.to_owned();
            }
        }
        if !self.apis.contains_key(&key) && self.apis.len() >= self.shared.limits.apis {
            self.shared.folded.add(Fold::Apis, weight);
            key = ApiKey {
                workload: "*".to_owned(),
                host: ANY_HOST.to_owned(),
                side: key.side,
            };
        }
        if !self.apis.contains_key(&key) {
            *self.hosts.entry((key.workload.clone(), key.side)).or_default() += 1;
            let api = NodeApi {
                host: key.host.as_str().into(),
                seed: seed_of(&key),
                leaves: std::collections::HashMap::default(),
                classes: [[0; 4]; 2],
            };
            self.apis.insert(key.clone(), api);
        }
        key
    }

    /// Increments since the last call, sorted by API: one delta for each that had any, or several, see
    /// [`Limits::records_per_delta`]. Forgets what has been idle.
    pub fn take_delta(&mut self) -> Vec<ApiDelta> {
        let crowded = self.shared.leaves > self.shared.limits.leaves / 2;
        let idle_max = if crowded { 1 } else { IDLE_TAKES_MAX };
        let mut deltas = Vec::new();
        for (key, api) in &mut self.apis {
            let mut records = api.take_records(idle_max).into_iter().peekable();
            while records.peek().is_some() {
                let records = records
                    .by_ref()
                    .take(self.shared.limits.records_per_delta.max(1))
                    .collect();
                deltas.push(ApiDelta {
                    api: key.clone(),
                    records,
                });
            }
        }
        let hosts = &mut self.hosts;
        self.apis.retain(|key, api| {
            let keep = !api.leaves.is_empty();
            if !keep && let Some(count) = hosts.get_mut(&(key.workload.clone(), key.side)) {
                *count = count.saturating_sub(1);
            }
            keep
        });
        hosts.retain(|_, count| *count > 0);
        self.shared.leaves = self.apis.values().map(|api| api.leaves.len()).sum();
        deltas.sort_by(|a, b| a.api.cmp(&b.api));
        self.shared
            .folded
            .add(Fold::RepeatedWords, self.shared.repeats.take_forgotten());
        deltas
    }

    /// Calls that each limit folded away so far, by the limit's name.
    pub fn folded(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.shared
            .folded
            .iter()
            .map(|(fold, count)| (fold.name(), count))
    }

    /// Leaves held in memory.
    pub fn leaves(&self) -> usize {
        self.shared.leaves
    }

    /// APIs held in memory.
    pub fn apis(&self) -> usize {
        self.apis.len()
    }
}

fn seed_of(key: &ApiKey) -> u64 {
    let host =
        xxhash_rust::xxh3::xxh3_64_with_seed(key.host.as_bytes(), matches!(key.side, Side::Client).into());
    xxhash_rust::xxh3::xxh3_64_with_seed(key.workload.as_bytes(), host)
}

impl NodeApi {
    /// Counts one call.
    fn observe(&mut self, observation: &Observation<'_>, shared: &mut Shared) -> Recorded {
        let weight = observation.weight;
        let standing = Standing::of(observation.status);
        let served = standing == Standing::Served;
        let method = Method::from_token(observation.method);
        if method == Method::Other {
            shared.folded.add(Fold::Methods, weight);
        }
        let (found, leaf) = self.walk(observation, standing, shared);
        if found.cut {
            shared.folded.add(Fold::Depth, weight);
        }
        let mut withheld = 0;
        if found.withheld + found.repeated > 0 && served {
            let private = found
                .private
                .wrapping_add(u64::from(method.code()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            if found.withheld > 0 {
                shared.repeats.withhold(private, weight);
            } else {
                withheld = shared.repeats.hand_over(private);
            }
        }
        let Shared {
            limits,
            leaves,
            folded,
            canonical,
            ..
        } = shared;
        let id = leaf.unwrap_or_else(|| self.leaf_for(canonical, standing, weight, limits, leaves, folded));
        let host = self.host.clone();
        let leaf = self.leaves.get_mut(&id).expect("`leaf_for` inserted it");
        let record = leaf.record(method, standing);
        record.counts.stats.observe(observation);
        record.counts.withheld = record.counts.withheld.saturating_add(withheld);
        record.recent = record.recent.saturating_add(weight);
        if weight > 0 {
            record.minute(limits.minutes_per_record, observation, folded);
        }
        let rare = record.is_rare();
        Recorded {
            leaf: id,
            path: leaf.rendered.clone(),
            host,
            rare,
        }
    }

    /// What is on the way through the path. Its leaf, if it is known without the leaf's canonical bytes; else these are written.
    fn walk(
        &self,
        observation: &Observation<'_>,
        standing: Standing,
        shared: &mut Shared,
    ) -> (Walk, Option<LeafId>) {
        let Shared {
            limits,
            repeats,
            folded,
            canonical,
            memo,
            paths,
            ..
        } = shared;
        let turns = repeats.turns();
        if let Some((found, leaf)) = paths.get(observation.path, self.seed, turns)
            && self.leaves.get(&leaf).is_some_and(|leaf| leaf.has(standing))
        {
            return (found, Some(leaf));
        }
        let served = standing == Standing::Served;
        let found = walk(
            observation.path,
            limits.depth.min(DEPTH_MAX),
            self.seed,
            memo,
            canonical,
            |parent, word| match repeats.judge(parent, word, served) {
                Verdict::Literal => true,
                Verdict::Withheld => false,
                Verdict::Value => {
                    folded.add(Fold::Words, observation.weight);
                    false
                }
            },
        );
        let turns = (turns, repeats.turns());
        paths.put(observation.path, self.seed, turns, found, || id_of(canonical));
        (found, None)
    }

    /// The leaf that takes a call of the leaf with these canonical bytes: itself, or the first coarser one with room.
    fn leaf_for(
        &mut self,
        canonical: &[u8],
        standing: Standing,
        weight: u64,
        limits: &Limits,
        leaves: &mut usize,
        folded: &mut Folded,
    ) -> LeafId {
        let id = id_of(canonical);
        if self.leaves.get(&id).is_some_and(|leaf| leaf.has(standing)) {
            return id;
        }
        let mut path = LeafPath::from_canonical(canonical);
        loop {
            let (id, coarseness) = (path.id(), path.coarseness());
            let known = self.leaves.get(&id);
            if known.is_some_and(|leaf| leaf.has(standing)) {
                return id;
            }
            let full = if known.is_none() && *leaves >= limits.leaves {
                Some(Fold::Leaves)
            } else {
                let used = self.class(standing, coarseness).copied().unwrap_or(0);
                let (limit, fold) = limits.leaves_of(standing, coarseness);
                (used >= limit).then_some(fold)
            };
            match full {
                Some(fold) if coarseness != Coarseness::Everything => {
                    folded.add(fold, weight);
                    // At the limit of all leaves a finer leaf of this API would only be refused again.
                    path = path.folded(if fold == Fold::Leaves {
                        Coarseness::Everything
                    } else {
                        coarseness
                    });
                }
                _ => {
                    self.insert(path, id, coarseness, standing, leaves);
                    return id;
                }
            }
        }
    }

    fn insert(
        &mut self,
        path: LeafPath,
        id: LeafId,
        coarseness: Coarseness,
        standing: Standing,
        leaves: &mut usize,
    ) {
        if let Some(count) = self.class(standing, coarseness) {
            *count += 1;
        }
        self.leaves.entry(id).or_insert_with(|| {
            *leaves += 1;
            NodeLeaf {
                rendered: path.render().into(),
                path,
                coarseness,
                records: Vec::new(),
                idle: 0,
            }
        });
    }

    fn class(&mut self, standing: Standing, coarseness: Coarseness) -> Option<&mut usize> {
        self.classes
            .get_mut(standing as usize)?
            .get_mut(coarseness as usize)
    }

    fn take_records(&mut self, idle_max: u32) -> Vec<DeltaRecord> {
        let mut records = Vec::new();
        for (id, leaf) in &mut self.leaves {
            leaf.idle = leaf.idle.saturating_add(1);
            for record in &mut leaf.records {
                record.recent /= 2;
                if record.counts.stats.is_empty() {
                    continue;
                }
                leaf.idle = 0;
                records.push(DeltaRecord {
                    path: leaf.path.clone(),
                    id: *id,
                    method: record.method,
                    standing: record.standing,
                    counts: std::mem::take(&mut record.counts),
                    minutes: std::mem::take(&mut record.minutes),
                });
            }
        }
        self.leaves.retain(|_, leaf| leaf.idle <= idle_max);
        let mut classes = [[0usize; 4]; 2];
        for leaf in self.leaves.values() {
            for standing in Standing::ALL.into_iter().filter(|standing| leaf.has(*standing)) {
                let count = classes
                    .get_mut(standing as usize)
                    .and_then(|row| row.get_mut(leaf.coarseness as usize));
                count.into_iter().for_each(|count| *count += 1);
            }
        }
        self.classes = classes;
        records
            .sort_unstable_by(|a, b| (&a.path, a.method, a.standing).cmp(&(&b.path, b.method, b.standing)));
        records
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
pub(crate) mod tests;
