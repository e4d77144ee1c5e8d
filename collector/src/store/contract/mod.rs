//! What every backend must do. `store_contract!` makes the tests for one.

mod applying;
mod covering;
mod keeping;
mod querying;
mod securing;

use std::sync::Arc;

use crate::config;
use crate::ingest::decoded;
use crate::metrics::Metrics;
use crate::testing::{Exchange, NOON_US, batch};
use crate::timestamp::Timestamp;

use super::{Batch, Paging, Store};

pub use applying::*;
pub use covering::*;
pub use keeping::*;
pub use querying::*;
pub use securing::*;

/// A backend under test; what it needs is dropped with it.
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub _keep: Box<dyn std::any::Any>,
}

/// Opens an empty store of the backend with these limits.
pub type Open = fn(config::Store) -> Opened;

macro_rules! store_contract {
    ($open:path: $($case:ident),+ $(,)?) => {
        $(#[test]
        fn $case() {
            crate::store::contract::$case($open);
        })+
    };
    ($open:path) => {
        store_contract!($open:
            a_batch_is_applied_once, every_order_gives_the_same_endpoints, minutes_are_exact, calls_are_filtered,
            endpoints_are_filtered, edges_count_their_range, lists_are_paged_without_gaps_or_repeats,
            old_endpoint_ids_are_found, calls_are_limited_by_rows, old_rows_are_evicted_and_counted, the_policy_is_kept,
            the_latest_state_of_agents_and_workloads_wins, a_closed_store_says_so, coverage_is_counted_once_and_by_range, traffic_is_told_apart_by_what_carries_it,
            tls_sessions_are_kept_and_tell_calls_apart,
        );
    };
}
pub(crate) use store_contract;

fn made(node: &str, boot: &str, sequence: u64, payload: &wire::v1::Payload) -> Batch {
    decoded(batch(node, boot, sequence, payload), Timestamp::from_us(NOON_US))
}

fn all() -> Paging {
    Paging {
        limit: 1000,
        after: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_us(NOON_US + second * 1_000_000)
}

fn exchanges(count: u64) -> Vec<Exchange> {
    const PATHS: [&str; 4] = ["/orders/17", "/orders/18/items", "/health", "/users"];
    let nth = |id: u64| Exchange {
        id,
        path: PATHS[id as usize % PATHS.len()],
        method: if id.is_multiple_of(3) { "POST" } else { "GET" },
        status: [200, 404, 500][id as usize % 3],
        duration_us: 1000 * (id + 1),
        second: id as i64 * 20,
    };
    (0..count).map(nth).collect()
}
