//! What is known about the calls of one endpoint.

use crate::{ExpHistogram, HyperLogLog, Observation};

/// A commutative, associative merge with `Default` as its identity.
pub trait Merge: Default {
    /// Adds what `other` knows.
    fn merge(&mut self, other: &Self);
}

/// Class of a response status (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StatusClass {
    /// No response was seen, or a status outside 100 to 599.
    None,
    /// 1xx
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirect,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
}

impl StatusClass {
    /// Every class, in the order of [`Calls`].
    pub const ALL: [StatusClass; 6] = [
        Self::None,
        Self::Informational,
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
    ];

    /// Class of a status code.
    pub fn of(status: Option<u16>) -> Self {
        match status.unwrap_or(0) / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// `none`, `1xx` … `5xx`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// Calls by status class. Saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls(pub(crate) [u64; 6]);

impl Calls {
    /// Calls of one class.
    pub fn get(&self, class: StatusClass) -> u64 {
        self.0.get(class as usize).copied().unwrap_or(0)
    }

    /// Counts `weight` calls.
    pub fn add(&mut self, class: StatusClass, weight: u64) {
        if let Some(slot) = self.0.get_mut(class as usize) {
            *slot = slot.saturating_add(weight);
        }
    }

    /// Calls of all classes.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0u64, |sum, count| sum.saturating_add(*count))
    }

    /// Classes and their calls, in the order of [`StatusClass::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (StatusClass, u64)> + '_ {
        StatusClass::ALL.into_iter().zip(self.0.iter().copied())
    }
}

impl Merge for Calls {
    fn merge(&mut self, other: &Self) {
        for (class, count) in other.iter() {
            self.add(class, count);
        }
    }
}

/// Counters and sketches of one endpoint. Everything is bounded; every part merges in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Calls by status class.
    pub calls: Calls,
    /// Microseconds, of calls that were answered.
    pub latency_us: ExpHistogram,
    /// Bytes on the wire.
    pub request_bytes: ExpHistogram,
    /// Bytes on the wire, of calls that were answered.
    pub response_bytes: ExpHistogram,
    /// Distinct clients.
    pub clients: HyperLogLog,
    /// Earliest call, Unix epoch microseconds; `i64::MAX` when there was none.
    pub first_seen_us: i64,
    /// Latest call, Unix epoch microseconds; `i64::MIN` when there was none.
    pub last_seen_us: i64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            calls: Calls::default(),
            latency_us: ExpHistogram::default(),
            request_bytes: ExpHistogram::default(),
            response_bytes: ExpHistogram::default(),
            clients: HyperLogLog::default(),
            first_seen_us: i64::MAX,
            last_seen_us: i64::MIN,
        }
    }
}

impl Stats {
    /// Adds one observation, `weight` times; of no effect when the weight is 0.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let weight = observation.weight;
        if weight == 0 {
            return;
        }
        self.calls.add(StatusClass::of(observation.status), weight);
        if let Some(latency) = observation.latency_us {
            self.latency_us.record(latency, weight);
        }
        self.request_bytes.record(observation.request_bytes, weight);
        if observation.status.is_some() {
            self.response_bytes.record(observation.response_bytes, weight);
        }
        self.clients.insert(observation.client);
        self.first_seen_us = self.first_seen_us.min(observation.ts_us);
        self.last_seen_us = self.last_seen_us.max(observation.ts_us);
    }

    /// Whether nothing was ever observed.
    pub fn is_empty(&self) -> bool {
        self.calls.total() == 0
    }
}

impl Merge for Stats {
    fn merge(&mut self, other: &Self) {
        self.calls.merge(&other.calls);
        self.latency_us.merge(&other.latency_us);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
        self.clients.merge(&other.clients);
        self.first_seen_us = self.first_seen_us.min(other.first_seen_us);
        self.last_seen_us = self.last_seen_us.max(other.last_seen_us);
    }
}

/// Counters of one minute, for time series. Saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    /// Calls by status class.
    pub calls: Calls,
    /// Sum of the latencies, microseconds.
    pub duration_us_sum: u64,
    /// Sum of the request sizes on the wire, bytes.
    pub request_bytes_sum: u64,
    /// Sum of the response sizes on the wire, bytes.
    pub response_bytes_sum: u64,
}

impl MinuteCounts {
    pub(crate) fn observe(&mut self, observation: &Observation<'_>) {
        let weight = observation.weight;
        let times = |value: u64| value.saturating_mul(weight);
        self.calls.add(StatusClass::of(observation.status), weight);
        self.duration_us_sum = self
            .duration_us_sum
            .saturating_add(times(observation.latency_us.unwrap_or(0)));
        self.request_bytes_sum = self
            .request_bytes_sum
            .saturating_add(times(observation.request_bytes));
        self.response_bytes_sum = self
            .response_bytes_sum
            .saturating_add(times(observation.response_bytes));
    }
}

impl Merge for MinuteCounts {
    fn merge(&mut self, other: &Self) {
        self.calls.merge(&other.calls);
        self.duration_us_sum = self.duration_us_sum.saturating_add(other.duration_us_sum);
        self.request_bytes_sum = self.request_bytes_sum.saturating_add(other.request_bytes_sum);
        self.response_bytes_sum = self.response_bytes_sum.saturating_add(other.response_bytes_sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::CALL;
    use proptest::prelude::*;

    type Call = (Option<u16>, Option<u64>, u64, u64, i64, u64);

    fn of(calls: &[Call]) -> (Stats, MinuteCounts) {
        let (mut stats, mut minute) = (Stats::default(), MinuteCounts::default());
        for (status, latency_us, size, client, ts_us, weight) in calls {
            let observation = Observation {
                status: *status,
                latency_us: *latency_us,
                request_bytes: *size,
                response_bytes: size.wrapping_mul(7),
                client: *client,
                ts_us: *ts_us,
                weight: *weight,
                ..CALL
            };
            stats.observe(&observation);
            minute.observe(&observation);
        }
        (stats, minute)
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let status = prop::option::of(prop_oneof![90u16..620, Just(200)]);
        let weight = prop_oneof![8 => 0u64..9, 1 => Just(u64::MAX)];
        let call = (
            status,
            prop::option::of(any::<u64>()),
            any::<u64>(),
            0u64..99,
            any::<i64>(),
            weight,
        );
        prop::collection::vec(call, 0..30)
    }

    proptest! {
        #[test]
        fn merge_laws(a in calls(), b in calls(), c in calls()) {
            fn check<M: Merge + Clone + PartialEq + std::fmt::Debug>(x: &M, y: &M, z: &M, both: &M) {
                let merged = |p: &M, q: &M| { let mut r = p.clone(); r.merge(q); r };
                assert_eq!(merged(x, y), merged(y, x));
                assert_eq!(merged(&merged(x, y), z), merged(x, &merged(y, z)));
                assert_eq!(&merged(x, &M::default()), x);
                assert_eq!(&merged(&M::default(), x), x);
                assert_eq!(&merged(x, y), both);
            }
            let both: Vec<Call> = a.iter().chain(&b).copied().collect();
            let (x, y, z, both) = (of(&a), of(&b), of(&c), of(&both));
            check(&x.0, &y.0, &z.0, &both.0);
            check(&x.1, &y.1, &z.1, &both.1);
        }
    }

    #[test]
    fn classes() {
        for (status, name) in [
            (None, "none"),
            (Some(99), "none"),
            (Some(100), "1xx"),
            (Some(599), "5xx"),
            (Some(600), "none"),
        ] {
            assert_eq!(StatusClass::of(status).name(), name);
        }
    }
}
