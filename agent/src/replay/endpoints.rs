//! What the calls of a replay teach, and under which endpoint each of them counts in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{ApiCatalog, ApiKey, LeafId, Limits, Method, NodeCatalog, Observation, Recorded};
use foldhash::{HashMap, HashMapExt};

/// Stands for a call without an endpoint, in place of a reference.
pub const NO_ENDPOINT: u32 = u32::MAX;

/// Bounds of a replay's catalog. As on a node, but for what a file needs: nothing of it says which workload serves a host, and all of it
/// is learnt before anything is told.
fn limits() -> Limits {
    Limits {
        // One more than hosts: for those that are folded.
        apis: 4097,
        hosts_per_workload: 4096,
        leaves: 50_000,
        // Minutes are not told.
        minutes_per_record: 1,
        records_per_delta: usize::MAX,
        ..Limits::default()
    }
}

/// What of a call decides its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reference {
    leaf: LeafId,
    /// The API, by the address of its host, which lives as long as the catalog.
    host: usize,
    method: Method,
    class: u8,
}

/// See the module's description.
#[derive(Debug)]
pub struct Endpoints {
    node: NodeCatalog,
    references: HashMap<Reference, u32>,
    known: Vec<(Reference, Arc<str>, Arc<str>)>,
}

/// What was learnt.
#[derive(Debug)]
pub struct Learnt {
    /// By API.
    pub apis: BTreeMap<ApiKey, ApiCatalog>,
    /// By reference: `METHOD /path/{template}`.
    pub names: Vec<String>,
    /// Calls that a limit folded away, by its name.
    pub folded: Vec<(&'static str, u64)>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            node: NodeCatalog::new(limits()),
            references: HashMap::new(),
            known: Vec::new(),
        }
    }
}

impl Endpoints {
    /// Counts a call. Gives where it was counted, and a reference to its endpoint.
    pub fn observe(&mut self, api: &ApiKey, observation: &Observation<'_>) -> (Recorded, u32) {
        let recorded = self.node.observe(api, observation);
        let reference = Reference {
            leaf: recorded.leaf,
            host: recorded.host.as_ptr().addr(),
            method: Method::from_token(observation.method),
            // Served or not is all that matters, and the catalog's to say; the class decides it.
            class: u8::try_from(observation.status.unwrap_or(0) / 100).unwrap_or(0),
        };
        let next = u32::try_from(self.known.len()).unwrap_or(NO_ENDPOINT);
        let at = *self.references.entry(reference).or_insert(next);
        if at == next && at != NO_ENDPOINT {
            self.known
                .push((reference, recorded.host.clone(), recorded.path.clone()));
        }
        (recorded, at)
    }

    /// Ends the learning. `workload` and `side` of the keys are those that were observed.
    #[must_use]
    pub fn finish(mut self, workload: &str, side: catalog::Side) -> Learnt {
        let mut apis: BTreeMap<ApiKey, ApiCatalog> = BTreeMap::new();
        for delta in self.node.take_delta() {
            apis.entry(delta.api.clone())
                .or_insert_with(|| ApiCatalog::new(delta.api.clone(), limits()))
                .merge(&delta);
        }
        let names = self
            .known
            .iter()
            .map(|(reference, host, path)| {
                let key = ApiKey {
                    workload: workload.to_owned(),
                    host: host.to_string(),
                    side,
                };
                let template = apis.get(&key).and_then(|api| {
                    let status = Some(u16::from(reference.class) * 100);
                    api.template_of_call(reference.leaf, reference.method, status)
                        .or_else(|| api.template_of(api.leaf_of(path)?))
                });
                // A leaf that is nowhere any more: its own path says as much as is known.
                let template = template.unwrap_or_else(|| path.to_string());
                format!("{} {template}", reference.method)
            })
            .collect();
        let folded = self
            .node
            .folded()
            .filter(|(limit, count)| *count > 0 && *limit != catalog::Fold::Minutes.name())
            .collect();
        Learnt { apis, names, folded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(endpoints: &mut Endpoints, host: &str, path: &str, status: u16) -> u32 {
        let api = ApiKey {
            workload: String::new(),
            host: host.to_owned(),
            side: catalog::Side::Server,
        };
        let observation = Observation {
            method: "GET",
            path: path.as_bytes(),
            status: Some(status),
            latency_us: Some(1),
            request_bytes: 1,
            response_bytes: 1,
            client: 1,
            ts_us: 1,
            weight: 1,
        };
        endpoints.observe(&api, &observation).1
    }

    #[test]
    fn calls_before_a_word_was_known_count_with_it() {
        let mut endpoints = Endpoints::default();
        let references: Vec<u32> = (0..5)
            .map(|_| observe(&mut endpoints, "a.test", "/zebras/search", 200))
            .collect();
        let other = observe(&mut endpoints, "b.test", "/users/1", 200);
        let missed = observe(&mut endpoints, "b.test", "/users/1", 404);
        let learnt = endpoints.finish("", catalog::Side::Server);
        let name = |reference: u32| learnt.names[reference as usize].as_str();
        for reference in references {
            assert_eq!(name(reference), "GET /zebras/search");
        }
        assert_eq!(
            (name(other), name(missed)),
            ("GET /users/{user_id}", "GET /users/{user_id}")
        );
        assert_eq!(learnt.apis.len(), 2);
        for (key, api) in &learnt.apis {
            let templates: Vec<String> = api
                .endpoints()
                .into_iter()
                .map(|endpoint| endpoint.template)
                .collect();
            assert_eq!(templates.len(), 1, "{key:?} {templates:?}");
        }
    }

    #[test]
    fn hosts_at_the_limit() {
        let mut endpoints = Endpoints::default();
        let max = limits().hosts_per_workload;
        for host in 0..=max {
            observe(&mut endpoints, &format!("h{host}.test"), "/", 200);
        }
        let learnt = endpoints.finish("", catalog::Side::Server);
        assert_eq!(learnt.apis.len(), max + 1);
        assert_eq!(learnt.folded, [("hosts_per_workload", 1)]);
        assert_eq!(learnt.names.last().map(String::as_str), Some("GET /"));
    }
}
