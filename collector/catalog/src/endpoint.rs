//! Endpoints: the leaves of one template and method as one, with an identity that outlives better templates.
//!
//! An id is a hash of API, method and template. When a template changes, the id changes; the ids that the endpoint's parts
//! had, or would have alone and in every coarser form, are its aliases. So an old id is resolved by looking for it among the ids first
//! and the aliases then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::api::Leaf;
use crate::delta::Standing;
use crate::segment::{Segment, SegmentType};
use crate::stats::{Merge, Stats};
use crate::template::{Templates, generalisations, own_skeleton};
use crate::{ApiKey, LeafId, Method, Side};

/// Most aliases listed with one endpoint.
pub const ALIASES_MAX: usize = 1024;

/// Identity of an endpoint: XXH3-128 of API, method and template with its parameters unnamed, so that a better name for a
/// parameter is not another endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub [u8; 16]);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One endpoint of an API.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Identity: hash of API, method and template with its parameters unnamed.
    pub id: EndpointId,
    /// Ids that this endpoint's parts had or would have under finer templates, sorted; at most
    /// [`ALIASES_MAX`] of them.
    pub aliases: Vec<EndpointId>,
    /// The method.
    pub method: Method,
    /// Path template, `/users/{user_id}`.
    pub template: String,
    /// Leaves that it is made of, sorted.
    pub leaves: Vec<LeafId>,
    /// Whether any call was answered other than 4xx. Otherwise it may be a scanner's invention.
    pub confirmed: bool,
    /// Everything known about its calls.
    pub stats: Stats,
}

/// A parameter of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathParameter {
    /// Its name in the template.
    pub name: String,
    /// What its values looked like. Empty for one that stands for the rest of a path.
    pub types: BTreeSet<SegmentType>,
}

/// Parameters of an endpoint's template, in order. Their types are those of calls that were served, where any were.
pub(crate) fn path_parameters(leaves: &HashMap<LeafId, Leaf>, endpoint: &Endpoint) -> Vec<PathParameter> {
    let of = |standing: Standing| {
        let leaves = endpoint.leaves.iter().filter_map(|id| leaves.get(id));
        leaves.filter(move |leaf| leaf.records.contains_key(&(endpoint.method, standing)))
    };
    let types = |at: usize, standing: Standing| -> BTreeSet<SegmentType> {
        let segments = of(standing).filter_map(|leaf| leaf.path.segments().get(at));
        segments
            .filter_map(|segment| match segment {
                Segment::Typed(kind) => Some(*kind),
                // A word that turned out to be a value.
                Segment::Literal(_) => Some(SegmentType::Text),
                Segment::Rest => None,
            })
            .collect()
    };
    let parts = endpoint.template.split('/').skip(1).enumerate();
    parts
        .filter_map(|(at, part)| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            let served = types(at, Standing::Served);
            Some(PathParameter {
                name: name.to_owned(),
                types: if served.is_empty() {
                    types(at, Standing::Missed)
                } else {
                    served
                },
            })
        })
        .collect()
}

/// Id of an endpoint.
fn endpoint_id(api: &ApiKey, method: Method, skeleton: &str) -> EndpointId {
    let mut bytes = Vec::with_capacity(128);
    for part in [
        api.workload.as_str(),
        api.host.as_str(),
        method.as_str(),
        skeleton,
    ] {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.push(matches!(api.side, Side::Client).into());
    EndpointId(xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes())
}

/// Endpoints, sorted by template and method.
pub(crate) fn endpoints(
    api: &ApiKey,
    leaves: &HashMap<LeafId, Leaf>,
    templates: &Templates,
) -> Vec<Endpoint> {
    let mut endpoints: BTreeMap<(&str, Method), Endpoint> = BTreeMap::new();
    for (id, leaf) in leaves {
        for ((method, standing), counts) in &leaf.records {
            let Some(template) = templates.of_record(*id, *method, *standing) else {
                continue;
            };
            let endpoint = endpoints
                .entry((&template.skeleton, *method))
                .or_insert_with(|| Endpoint {
                    id: endpoint_id(api, *method, &template.skeleton),
                    aliases: Vec::new(),
                    method: *method,
                    template: template.text.clone(),
                    leaves: Vec::new(),
                    confirmed: false,
                    stats: Stats::default(),
                });
            endpoint.stats.merge(&counts.stats);
            endpoint.confirmed |= *standing == Standing::Served;
            endpoint.leaves.push(*id);
        }
    }
    let mut endpoints: Vec<Endpoint> = endpoints.into_values().collect();
    for endpoint in &mut endpoints {
        endpoint.leaves.sort_unstable();
        endpoint.leaves.dedup();
    }
    add_aliases(api, leaves, &mut endpoints);
    endpoints.sort_unstable_by(|a, b| (&a.template, a.method).cmp(&(&b.template, b.method)));
    endpoints
}

/// Lists with each endpoint the ids that its leaves had or would have alone and in every coarser form. An id that is an
/// endpoint's own is nobody's alias; one that several endpoints could claim goes to that with the most calls.
fn add_aliases(api: &ApiKey, leaves: &HashMap<LeafId, Leaf>, endpoints: &mut [Endpoint]) {
    let own: BTreeSet<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    let mut owners: BTreeMap<EndpointId, (u64, EndpointId)> = BTreeMap::new();
    let claims = |endpoint: &Endpoint| {
        let paths = endpoint
            .leaves
            .iter()
            .filter_map(|leaf| leaves.get(leaf))
            .map(|leaf| &leaf.path);
        let skeletons: BTreeSet<String> = paths
            .flat_map(|path| {
                std::iter::once(own_skeleton(path))
                    .chain(generalisations(path).into_iter().map(|path| own_skeleton(&path)))
            })
            .collect();
        let ids: BTreeSet<EndpointId> = skeletons
            .iter()
            .map(|text| endpoint_id(api, endpoint.method, text))
            .collect();
        ids.difference(&own)
            .copied()
            .take(ALIASES_MAX)
            .collect::<Vec<_>>()
    };
    for endpoint in endpoints.iter_mut() {
        endpoint.aliases = claims(endpoint);
        let rank = (endpoint.stats.calls.total(), endpoint.id);
        for alias in &endpoint.aliases {
            let owner = owners.entry(*alias).or_insert(rank);
            *owner = rank.max(*owner);
        }
    }
    for endpoint in endpoints {
        let id = endpoint.id;
        endpoint
            .aliases
            .retain(|alias| owners.get(alias).is_some_and(|(_, owner)| *owner == id));
    }
}
