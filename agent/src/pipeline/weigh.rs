//! Whether a call brings anything new, and what is to be captured of its connection therefore.

use catalog::{ApiKey, LeafId};

use super::Pipeline;
use super::edges::EdgeKey;
use crate::decay::{self, Decay, Report, Rest, Rules, Sighting};
use crate::tracker::Call;

impl Pipeline {
    /// With these rules.
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
    pub(super) fn weigh(&mut self, call: &Call, api: &ApiKey, leaf: LeafId, edge: &EdgeKey) {
        if !self.decay.is_enabled() {
            return;
        }
        let exchange = &call.exchange;
        let is_server = matches!(api.side, catalog::Side::Server);
        let method = &exchange.request.method;
        let endpoint = self
            .decay
            .endpoint((&api.workload, &api.host, is_server, leaf, method));
        let consumer = if edge.client_workload.is_empty() {
            &edge.client_address
        } else {
            &edge.client_workload
        };
        let sighting = Sighting {
            connection: call.connection,
            exchange,
            consumer,
            tls: call.tls.as_deref(),
            now_ns: exchange.request.first_byte,
        };
        self.decay.take(endpoint, &sighting);
    }

    /// What is to be captured of connections from now on, as far as that changed since the last call.
    pub fn take_rests(&mut self) -> Vec<Rest> {
        self.decay.take_orders()
    }

    /// One of them cannot be obeyed at present.
    pub fn rest_refused(&mut self, connection: u64) {
        self.decay.refused(connection);
    }

    /// Call now and then, with the time on the clock of the calls, and which connections are tracked.
    pub fn tick(&mut self, now_ns: u64, tracked: impl Fn(u64) -> bool) {
        self.decay.tick(now_ns, tracked);
    }

    /// What is captured of endpoints and connections at present.
    #[must_use]
    pub fn decay_report(&self) -> Report {
        self.decay.report()
    }

    /// What was counted on the way there.
    #[must_use]
    pub const fn decay_counters(&self) -> &decay::Counters {
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

    fn stock() -> Arc<Process> {
        process(&mut attribution(), 200, "/usr/bin/stock")
    }

    fn served(request: &str, peer: Option<Arc<Process>>) -> Call {
        let mut exchange = exchange(request, RESPONSE);
        // It was kept alive for long.
        exchange.index = 1000;
        call(exchange, Side::Server, stock(), peer)
    }

    fn decaying() -> Pipeline {
        Pipeline::new(&unlimited(), "boot").with_decay(RULES, true)
    }

    #[test]
    fn a_connection_of_a_known_endpoint_rests_until_something_is_new() {
        let mut pipeline = decaying();
        let rests = |pipeline: &mut Pipeline, calls: &[&Call]| {
            for call in calls {
                pipeline.take(call, EPOCH_US);
            }
            pipeline.take_rests()
        };
        let rest = |every| Rest { connection: 7, every };
        let known = served(REQUEST, None);
        assert_eq!(rests(&mut pipeline, &[&known, &known]), []);
        assert_eq!(rests(&mut pipeline, &[&known]), [rest(8)]);
        let shop = process(&mut attribution(), 100, "/usr/bin/shop");
        for news in [
            served(&REQUEST.replace("page=2", "size=2"), None),
            // Another template.
            served(&REQUEST.replace("orders", "users"), None),
            served(&REQUEST.replace("POST", "PUT"), None),
            served(&REQUEST.replace("stock.local", "stock.example"), None),
            served(REQUEST, Some(shop)),
        ] {
            assert_eq!(rests(&mut pipeline, &[&news]), [rest(1)], "{news:?}");
            assert_eq!(rests(&mut pipeline, &[&news, &news]), [rest(8)]);
        }
        // Other values of the same types are nothing new.
        let others = [REQUEST.replace("17", "18"), REQUEST.replace("page=2", "page=3")];
        for other in others {
            assert_eq!(rests(&mut pipeline, &[&served(&other, None)]), []);
        }
    }

    #[test]
    fn switched_off_nothing_is_learnt() {
        let mut pipeline = Pipeline::new(&unlimited(), "boot");
        let served = served(REQUEST, None);
        for _ in 0..1000 {
            pipeline.take(&served, EPOCH_US);
        }
        assert_eq!(pipeline.take_rests(), []);
        assert_eq!(pipeline.decay_report().levels, []);
    }
}
