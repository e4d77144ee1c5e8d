//! Calls that were made and not captured, because nothing new is expected of them: counted like the latest of their connection.

use catalog::{ApiKey, LeafId, Observation, path_of_target};

use super::edges::{EdgeCall, EdgeKey};
use super::{Measures, Pipeline, client_identity, known_status};
use crate::decay::{Decay, PATH_BYTES_MAX, Report, Rest, Rules, Sighting};
use crate::tracker::Call;

/// What is needed to count more calls like one: in the inventory and at its edge.
#[derive(Clone, Debug)]
pub(super) struct Like {
    api: ApiKey,
    method: Box<str>,
    path: Box<[u8]>,
    status: Option<u16>,
    latency_us: Option<u64>,
    client: u64,
    edge: EdgeKey,
    call: EdgeCall,
}

impl Like {
    /// `None` when it would have to remember too much.
    fn of(
        call: &Call,
        api: &ApiKey,
        edge: &EdgeKey,
        edge_call: EdgeCall,
        measures: &Measures,
    ) -> Option<Self> {
        let exchange = &call.exchange;
        let path = path_of_target(&exchange.request.target);
        (path.len() <= PATH_BYTES_MAX).then(|| Self {
            api: api.clone(),
            method: std::str::from_utf8(&exchange.request.method)
                .unwrap_or_default()
                .into(),
            path: path.into(),
            status: known_status(exchange),
            latency_us: exchange.response.as_ref().map(|_| measures.duration_us),
            client: client_identity(call),
            edge: edge.clone(),
            call: edge_call,
        })
    }

    fn bytes(&self) -> usize {
        let texts = [
            &self.api.workload,
            &self.api.host,
            &self.edge.client_workload,
            &self.edge.server_workload,
            &self.edge.client_address,
            &self.edge.server_address,
            &self.edge.host,
        ];
        self.method.len() + self.path.len() + texts.into_iter().map(String::capacity).sum::<usize>()
    }
}

impl Pipeline {
    /// As it was told at the start, or as the policy says.
    #[must_use]
    pub fn with_decay(mut self, rules: Rules, enabled: bool) -> Self {
        self.decay = Decay::new(rules, enabled);
        self
    }

    /// Switches it on or off.
    pub fn enable_decay(&mut self, enabled: bool) {
        self.decay.enable(enabled);
    }

    /// Lets a captured call say what it has to say about its endpoint. `api`: by which it was counted.
    pub(super) fn weigh(
        &mut self,
        call: &Call,
        (api, leaf): (&ApiKey, LeafId),
        (edge, edge_call): (&EdgeKey, EdgeCall),
        measures: &Measures,
    ) {
        if !self.decay.is_enabled() {
            return;
        }
        let exchange = &call.exchange;
        let endpoint = self.decay.endpoint((
            &api.workload,
            &api.host,
            matches!(api.side, catalog::Side::Server),
            leaf,
            &exchange.request.method,
        ));
        let sighting = Sighting {
            connection: call.connection,
            exchange,
            consumer: if edge.client_workload.is_empty() {
                &edge.client_address
            } else {
                &edge.client_workload
            },
            now_ns: exchange.request.first_byte,
        };
        self.decay.take(endpoint, &sighting, || {
            Like::of(call, api, edge, edge_call, measures)
        });
    }

    /// What is to be captured of connections from now on, as far as that changed since the last call.
    pub fn take_rests(&mut self) -> Vec<Rest> {
        self.decay.take_orders()
    }

    /// So many more calls were made on a connection after its latest captured one: they are counted like that, without a row.
    pub fn count_rested(&mut self, connection: u64, calls: u64) {
        if calls == 0 {
            return;
        }
        let Some(like) = self.decay.left_over(connection, calls).cloned() else {
            return;
        };
        self.catalog.observe(
            &like.api,
            &Observation {
                method: &like.method,
                path: &like.path,
                status: like.status,
                latency_us: like.latency_us,
                request_bytes: like.call.request_bytes,
                response_bytes: like.call.response_bytes,
                client: like.client,
                ts_us: like.call.ts_us,
                weight: calls,
            },
        );
        let call = EdgeCall {
            weight: calls,
            ..like.call
        };
        self.edges.add(like.edge, call);
    }

    /// A connection has ended.
    pub fn connection_ended(&mut self, connection: u64) {
        self.decay.ended(connection);
    }

    /// Call now and then, with the time on the clock of the calls.
    pub fn tick(&mut self, now_ns: u64) {
        self.decay.tick(now_ns);
    }

    /// What is captured of endpoints and connections at present.
    #[must_use]
    pub fn decay_report(&self) -> Report {
        self.decay.report(Like::bytes)
    }

    /// What the decay counted.
    #[must_use]
    pub const fn decay_counters(&self) -> &crate::decay::Counters {
        self.decay.counters()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::flow_tests::{
        EPOCH_US, REQUEST, RESPONSE, attribution, call, exchange, process, unlimited,
    };
    use super::*;
    use crate::attribution::Process;
    use crate::tracker::Side;

    const RULES: Rules = Rules {
        after: 2,
        most: 8,
        review_ns: u64::MAX,
    };

    fn served(process: &Arc<Process>, request: &str) -> Call {
        let mut exchange = exchange(request, RESPONSE);
        // It was kept alive for long.
        exchange.index = 1000;
        call(exchange, Side::Server, Arc::clone(process), None)
    }

    /// Calls in the inventory, of rows with their weights, on edges.
    fn counted(pipeline: &mut Pipeline) -> (u64, u64, u64) {
        let payload = pipeline.take_payload();
        let catalog: u64 = payload
            .catalog
            .iter()
            .map(|delta| catalog::ApiDelta::decode(&delta.delta).unwrap().calls())
            .sum();
        (
            catalog,
            payload.calls.iter().map(|row| u64::from(row.weight.max(1))).sum(),
            payload.edges.iter().map(|edge| edge.calls).sum(),
        )
    }

    #[test]
    fn calls_that_stand_for_others_and_those_left_over_add_up() {
        let stock = process(&mut attribution(), 200, "/usr/bin/stock");
        let mut pipeline = Pipeline::new(&unlimited(), "boot").with_decay(RULES, true);
        let mut served = served(&stock, REQUEST);
        for _ in 0..3 {
            pipeline.take(&served, EPOCH_US);
        }
        let rest = Rest {
            connection: served.connection,
            every: 8,
        };
        assert_eq!(pipeline.take_rests(), [rest]);
        served.weight = 9;
        pipeline.take(&served, EPOCH_US);
        assert_eq!(counted(&mut pipeline), (12, 12, 12));
        pipeline.count_rested(served.connection, 5);
        pipeline.count_rested(served.connection, 0);
        assert_eq!(counted(&mut pipeline), (5, 0, 5));
        assert!(pipeline.decay_report().bytes > 0);
        pipeline.connection_ended(served.connection);
        pipeline.count_rested(served.connection, 4);
        assert_eq!(counted(&mut pipeline), (0, 0, 0));
        assert_eq!(
            (
                pipeline.decay_counters().calls_left_over,
                pipeline.decay_counters().calls_unattributed
            ),
            (5, 4)
        );
    }

    #[test]
    fn a_path_that_cannot_be_remembered_is_captured_whole() {
        let stock = process(&mut attribution(), 200, "/usr/bin/stock");
        let at_limit = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
        for (path, rests) in [(at_limit.clone(), 1), (format!("{at_limit}a"), 0)] {
            let mut pipeline = Pipeline::new(&unlimited(), "boot").with_decay(RULES, true);
            let served = served(&stock, &REQUEST.replace("/orders/17", &path));
            for _ in 0..4 {
                pipeline.take(&served, EPOCH_US);
            }
            assert_eq!(pipeline.take_rests().len(), rests);
        }
    }

    #[test]
    fn switched_off_nothing_is_learnt() {
        let stock = process(&mut attribution(), 200, "/usr/bin/stock");
        let mut pipeline = Pipeline::new(&unlimited(), "boot");
        let served = served(&stock, REQUEST);
        for _ in 0..1000 {
            pipeline.take(&served, EPOCH_US);
        }
        assert_eq!(pipeline.take_rests(), []);
        assert_eq!(pipeline.decay_report().levels, []);
    }
}
