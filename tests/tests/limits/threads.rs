//! Calls in progress beyond the number of threads that are remembered.

use agent_common::Counter;
use eastwatch_agent::loader::Provider;
use tests::can_capture;

use super::watch::{Seen, Watch, options, until_equal};

/// Threads that are remembered.
const ROOM: u32 = 8;
/// Threads that wait at the same time.
const THREADS: u64 = 20;

/// Each connection has two requests, each sent and received; every call that is not seen is counted.
#[test]
fn calls_that_are_not_remembered_are_counted() {
    if !can_capture() {
        return;
    }
    for provider in [Provider::SyscallEnterExit, Provider::Kprobe] {
        let mut options = options(provider);
        options.threads_max = ROOM;
        let Some(mut watch) = Watch::start_if_there(&options) else {
            continue;
        };
        until_equal(provider.name(), || {
            watch.take();
            let before = watch.counted(Counter::ThreadsFull).0;
            assert_eq!(watch.tell(&format!("block {THREADS}")).len() as u64, THREADS);
            let bytes = watch.tell("answer")[0];
            let seen = watch.take();
            let captured: u64 = seen.iter().map(Seen::captured).sum();
            let unseen = 4 * THREADS - captured / bytes;
            assert!(unseen >= THREADS - u64::from(ROOM), "{unseen}: {seen:?}");
            (unseen, watch.counted(Counter::ThreadsFull).0 - before)
        });
    }
}
