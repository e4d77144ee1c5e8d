//! Who calls whom, counted between two deltas.

use foldhash::HashMap;
use wire::v1::EdgeDelta;

/// Edges counted at a time. More are counted as one edge without addresses.
pub const EDGES_MAX: usize = 4096;

/// What makes an edge one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Workload that asks; empty when it is not on this node.
    pub client_workload: String,
    /// Workload that serves; empty when it is not on this node.
    pub server_workload: String,
    /// Bare address of a client that is not on this node.
    pub client_address: String,
    /// Bare address of a server that is not on this node.
    pub server_address: String,
    /// Port that serves.
    pub server_port: u16,
    /// Host that the client asked for.
    pub host: String,
    /// Seen at the server's end.
    pub server_side: bool,
    /// Protocol version.
    pub protocol: &'static str,
    /// What speaks on top of it; empty for nothing that is known.
    pub application: &'static str,
}

/// One call on an edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeCall {
    /// Calls that it stands for, itself included.
    pub weight: u64,
    /// Failed: no response, a status of 500 and above, or a failure that the application blames on the server.
    pub error: bool,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response.
    pub response_bytes: u64,
    /// First request byte to last response byte, microseconds.
    pub duration_us: u64,
    /// When, Unix epoch microseconds.
    pub ts_us: i64,
}

#[derive(Debug, Default)]
struct Sums {
    calls: u64,
    errors: u64,
    request_bytes: u64,
    response_bytes: u64,
    duration_us: u64,
    first_us: i64,
    last_us: i64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Edges {
    edges: HashMap<EdgeKey, Sums>,
    folded: u64,
}

impl Edges {
    /// Counts a call.
    pub fn add(&mut self, key: EdgeKey, call: EdgeCall) {
        let key = if self.edges.len() < EDGES_MAX || self.edges.contains_key(&key) {
            key
        } else {
            self.folded += 1;
            EdgeKey {
                client_address: String::new(),
                server_address: String::new(),
                host: String::new(),
                server_port: 0,
                ..key
            }
        };
        let sums = self.edges.entry(key).or_insert_with(|| Sums {
            first_us: call.ts_us,
            ..Sums::default()
        });
        let times = |value: u64| value.saturating_mul(call.weight);
        sums.calls += call.weight;
        sums.errors += times(u64::from(call.error));
        sums.request_bytes += times(call.request_bytes);
        sums.response_bytes += times(call.response_bytes);
        sums.duration_us += times(call.duration_us);
        sums.first_us = sums.first_us.min(call.ts_us);
        sums.last_us = sums.last_us.max(call.ts_us);
    }

    /// Calls whose edge lost its addresses because there were too many edges.
    pub const fn folded(&self) -> u64 {
        self.folded
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<EdgeDelta> {
        self.edges
            .drain()
            .map(|(key, sums)| EdgeDelta {
                client_workload: key.client_workload,
                server_workload: key.server_workload,
                client_address: key.client_address,
                server_address: key.server_address,
                server_port: u32::from(key.server_port),
                host: key.host,
                protocol: key.protocol.to_owned(),
                application: key.application.to_owned(),
                calls: sums.calls,
                errors: sums.errors,
                request_bytes: sums.request_bytes,
                response_bytes: sums.response_bytes,
                duration_us_sum: sums.duration_us,
                first_seen_us: sums.first_us,
                last_seen_us: sums.last_us,
                side: if key.server_side {
                    wire::v1::Side::Server
                } else {
                    wire::v1::Side::Client
                }
                .into(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ts_us: i64) -> EdgeCall {
        EdgeCall {
            weight: 1,
            error: ts_us % 2 == 0,
            request_bytes: 1,
            response_bytes: 2,
            duration_us: 3,
            ts_us,
        }
    }

    #[test]
    fn edges_beyond_the_limit_fold_and_lose_no_call() {
        let mut edges = Edges::default();
        let many = EDGES_MAX as i64 + 500;
        for i in 0..many {
            let key = EdgeKey {
                client_address: format!("10.0.{}.{}", i / 256, i % 256),
                ..EdgeKey::default()
            };
            edges.add(key, call(i + 1));
        }
        assert_eq!(edges.folded(), 500);
        let taken = edges.take();
        assert_eq!(taken.len(), EDGES_MAX + 1);
        assert_eq!(taken.iter().map(|edge| edge.calls).sum::<u64>(), many as u64);
        assert!(edges.take().is_empty());
    }

    #[test]
    fn sums_and_times() {
        let mut edges = Edges::default();
        for ts_us in [5, 2, 9] {
            edges.add(EdgeKey::default(), call(ts_us));
        }
        let taken = edges.take();
        let [edge] = taken.as_slice() else {
            panic!("one edge")
        };
        assert_eq!(
            (edge.calls, edge.errors, edge.first_seen_us, edge.last_seen_us),
            (3, 1, 2, 9)
        );
        assert_eq!(
            (edge.request_bytes, edge.response_bytes, edge.duration_us_sum),
            (3, 6, 9)
        );
    }
}
