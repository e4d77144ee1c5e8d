//! States that are kept by sockets' addresses: when there is no room for more.

use agent_common::Counter;
use eastwatch_agent::loader::Provider;
use tests::can_capture;

use super::watch::{Seen, Watch, options, until_equal};

/// States that there is room for; a pair needs two.
const ROOM: u32 = 64;
/// Pairs that are opened.
const PAIRS: u64 = 100;

/// Those that capture UNIX sockets.
const OF_UNIX: [Provider; 4] = [
    Provider::Fexit,
    Provider::SockLength,
    Provider::SyscallExit,
    Provider::SyscallEnterExit,
];
/// Those that keep the states of TCP by address too, on every kernel.
const OF_TCP: [Provider; 3] = [
    Provider::Kprobe,
    Provider::SyscallExit,
    Provider::SyscallEnterExit,
];

fn watch(provider: Provider) -> Option<Watch> {
    let mut options = options(provider);
    options.states_max = ROOM;
    Watch::start_if_there(&options)
}

/// Bytes that went over `exchanges` exchanges, both ends.
fn moved(bytes: u64, exchanges: u64) -> u64 {
    2 * bytes * exchanges
}

/// Opens sockets with an exchange each and sees that what was not captured of them was counted.
fn refuse(provider: Provider, sockets: &str) {
    until_equal(&format!("{} {sockets}", provider.name()), || {
        let Some(mut watch) = watch(provider) else {
            return (0, 0);
        };
        let exchange = watch.tell(&format!("{sockets} {PAIRS}"))[0];
        let seen = watch.take();
        assert!(seen.len() <= ROOM as usize, "{}", seen.len());
        let captured: u64 = seen.iter().map(Seen::captured).sum();
        let (events, bytes) = watch.counted(Counter::StatesFull);
        assert!(events > 0);
        (moved(exchange, PAIRS) - captured, bytes)
    });
}

#[test]
fn bytes_without_a_state_are_counted() {
    if !can_capture() {
        return;
    }
    for provider in OF_UNIX {
        refuse(provider, "pairs");
    }
    for provider in OF_TCP {
        refuse(provider, "connections");
    }
}

#[test]
fn what_was_refused_or_made_room_is_joined_late() {
    if !can_capture() {
        return;
    }
    for provider in OF_UNIX {
        println!("--- {provider:?}");
        let Some(mut watch) = watch(provider) else {
            continue;
        };
        watch.tell(&format!("pairs {PAIRS}"));
        assert!(watch.take().iter().any(|seen| seen.fresh));
        assert_eq!(watch.loaded.states.evicted(), 0);

        // Nothing is told of a socket that is used while there is still no room.
        let last = PAIRS - 1;
        watch.tell(&format!("ask {last}"));
        assert!(watch.take().is_empty());

        let loaded = &mut watch.loaded;
        let forgotten = loaded.states.make_room(u64::MAX / 2, &loaded.counters).unwrap();
        let evicted = loaded.states.evicted();
        assert!(evicted > 0 && evicted < u64::from(ROOM), "{evicted}");
        assert!(!forgotten.is_empty(), "names of UNIX connections");

        // One that was refused, and the one that was not used for longest.
        for index in [last, 0] {
            let exchange = watch.tell(&format!("ask {index}"))[0];
            let seen = watch.take();
            assert_eq!(seen.len(), 2, "both ends: {seen:?}");
            assert!(seen.iter().all(|seen| !seen.fresh), "{index}: {seen:?}");
            let captured: u64 = seen.iter().map(Seen::captured).sum();
            assert_eq!(captured, moved(exchange, 1));
        }
        // And a new one is as new as before.
        watch.tell("pairs 1");
        let seen = watch.take();
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.iter().all(|seen| seen.fresh), "{seen:?}");
    }
}
