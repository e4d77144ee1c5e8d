//! Payloads of a size that travels well.

use prost::Message;
use wire::v1::Payload;

use crate::spool::Contents;

/// Protobuf overhead of an item in a payload, at most: one byte of tag, five of length.
const ITEM_OVERHEAD: usize = 6;

/// The parts of a payload.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub(super) payloads: Vec<Payload>,
    /// Items beyond the hard limit, which no payload can carry.
    pub(super) lost: Contents,
    pub(super) lost_bytes: usize,
}

/// Splits so that each part encodes to at most `target` bytes, or holds a single item of at most `max` bytes. Order is
/// kept; the status goes with the first part. A payload that fits is given back whole, an empty one too.
pub(super) fn split(payload: Payload, target: usize, max: usize) -> Parts {
    if payload.encoded_len() <= target.min(max) {
        return Parts {
            payloads: vec![payload],
            ..Parts::default()
        };
    }
    let mut splitter = Splitter {
        target: target.min(max),
        max,
        ..Splitter::default()
    };
    let Payload {
        catalog,
        calls,
        edges,
        workloads,
        status,
        coverage,
    } = payload;
    let nothing = Contents::default();
    if let Some(status) = status {
        splitter.add(status, nothing, |part, item| part.status = Some(item));
    }
    for item in catalog {
        splitter.add(item, Contents { deltas: 1, ..nothing }, |part, item| {
            part.catalog.push(item)
        });
    }
    for item in calls {
        splitter.add(item, Contents { calls: 1, ..nothing }, |part, item| {
            part.calls.push(item)
        });
    }
    for item in edges {
        splitter.add(item, nothing, |part, item| part.edges.push(item));
    }
    for item in workloads {
        splitter.add(item, nothing, |part, item| part.workloads.push(item));
    }
    for item in coverage {
        splitter.add(item, nothing, |part, item| part.coverage.push(item));
    }
    splitter.finish()
}

/// What a payload holds, for counting.
pub(super) fn contents(payload: &Payload) -> Contents {
    let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
    Contents {
        calls: count(payload.calls.len()),
        deltas: count(payload.catalog.len()),
    }
}

#[derive(Default)]
struct Splitter {
    target: usize,
    max: usize,
    part: Payload,
    bytes: usize,
    parts: Parts,
}

impl Splitter {
    fn add<M: Message>(&mut self, item: M, contents: Contents, push: impl FnOnce(&mut Payload, M)) {
        let bytes = item.encoded_len() + ITEM_OVERHEAD;
        if bytes > self.max {
            self.parts.lost.calls += contents.calls;
            self.parts.lost.deltas += contents.deltas;
            self.parts.lost_bytes += bytes;
            return;
        }
        if self.bytes > 0 && self.bytes + bytes > self.target {
            self.parts.payloads.push(std::mem::take(&mut self.part));
            self.bytes = 0;
        }
        push(&mut self.part, item);
        self.bytes += bytes;
    }

    fn finish(mut self) -> Parts {
        if self.bytes > 0 {
            self.parts.payloads.push(self.part);
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::v1::{AgentStatus, Call, CatalogDelta, CoverageDelta, EdgeDelta, Workload};

    use super::*;

    fn payload(sizes: &[usize]) -> Payload {
        let mut payload = Payload {
            status: Some(AgentStatus::default()),
            ..Payload::default()
        };
        for (index, &size) in sizes.iter().enumerate() {
            match index % 5 {
                0 => payload.calls.push(Call {
                    path: "p".repeat(size),
                    ..Call::default()
                }),
                1 => payload.catalog.push(CatalogDelta {
                    delta: vec![1; size],
                    ..CatalogDelta::default()
                }),
                2 => payload.edges.push(EdgeDelta {
                    host: "h".repeat(size),
                    ..EdgeDelta::default()
                }),
                3 => payload.coverage.push(CoverageDelta {
                    workload: "w".repeat(size),
                    ..CoverageDelta::default()
                }),
                _ => payload.workloads.push(Workload {
                    name: "w".repeat(size),
                    ..Workload::default()
                }),
            }
        }
        payload
    }

    #[test]
    fn what_fits_stays_whole() {
        let whole = payload(&[10, 20, 30]);
        let size = whole.encoded_len();
        assert_eq!(split(whole.clone(), size, size).payloads, vec![whole.clone()]);
        assert!(split(whole, size - 1, size).payloads.len() > 1);
        assert_eq!(split(Payload::default(), 10, 10).payloads, [Payload::default()]);
    }

    #[test]
    fn an_item_beyond_the_hard_limit_is_counted() {
        let parts = split(payload(&[5000, 5000, 5000, 10]), 100, 1000);
        assert_eq!(parts.lost, Contents { calls: 1, deltas: 1 });
        assert!(parts.lost_bytes > 15_000);
        assert_eq!(parts.payloads.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_reordered_and_every_part_fits(
            sizes in prop::collection::vec(0_usize..300, 0..60), target in 50_usize..600,
        ) {
            let whole = payload(&sizes);
            let parts = split(whole.clone(), target, 1000);
            prop_assert_eq!(parts.lost, Contents::default());
            let mut joined = Payload::default();
            for part in parts.payloads {
                let items = part.calls.len() + part.catalog.len() + part.edges.len() + part.workloads.len() + part.coverage.len()
                    + usize::from(part.status.is_some());
                prop_assert!(part.encoded_len() <= target || items == 1);
                prop_assert!(part.status.is_none() || joined == Payload::default());
                joined.status = joined.status.or(part.status);
                joined.calls.extend(part.calls);
                joined.catalog.extend(part.catalog);
                joined.edges.extend(part.edges);
                joined.workloads.extend(part.workloads);
                joined.coverage.extend(part.coverage);
            }
            prop_assert_eq!(joined, whole);
        }
    }
}
