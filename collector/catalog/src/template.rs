//! From leaves to templates: a pure function of the merged state.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::api::{Endpoint, Leaf};
use crate::delta::Standing;
use crate::segment::{LeafPath, Segment};
use crate::stats::{Merge, Stats};
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

/// Template of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// With named parameters.
    pub(crate) text: String,
    /// With parameters as `{}`.
    pub(crate) skeleton: String,
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

/// Templates of all leaves.
pub(crate) fn templates(leaves: &HashMap<LeafId, Leaf>) -> HashMap<LeafId, Template> {
    leaves
        .iter()
        .map(|(id, leaf)| (*id, render(&leaf.path)))
        .collect()
}

fn render(path: &LeafPath) -> Template {
    let mut skeleton = String::new();
    for segment in path.segments() {
        skeleton.push('/');
        match segment {
            Segment::Literal(text) => skeleton.push_str(text),
            Segment::Typed(_) | Segment::Rest => skeleton.push_str("{}"),
        }
    }
    Template {
        text: path.render(),
        skeleton,
    }
}

/// Endpoints, sorted by template and method.
pub(crate) fn endpoints(api: &ApiKey, leaves: &HashMap<LeafId, Leaf>) -> Vec<Endpoint> {
    let templates = templates(leaves);
    let mut endpoints: BTreeMap<(String, Method), Endpoint> = BTreeMap::new();
    for (id, leaf) in leaves {
        let Some(template) = templates.get(id) else {
            continue;
        };
        for ((method, standing), counts) in &leaf.records {
            let endpoint = endpoints
                .entry((template.text.clone(), *method))
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
    endpoints
        .into_values()
        .map(|mut endpoint| {
            endpoint.leaves.sort_unstable();
            endpoint.leaves.dedup();
            endpoint
        })
        .collect()
}
