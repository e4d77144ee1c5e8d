//! Transfers of more parts than are read, with loops of the kernel and without.

use agent_common::{Counter, Direction, PIECES_MAX, PIECES_MAX_UNROLLED, STEPS_BACK_MAX_UNROLLED};
use eastwatch_agent::loader::Provider;
use tests::can_capture;

use super::watch::{Seen, Watch, each_walk, options, until_equal};

/// Bytes of each part but the first, which is the head of a request.
const BYTES: u64 = 10;
/// More parts than any walk goes.
const MANY: u32 = 300;
/// Messages of a call that sends several.
const MESSAGES: u64 = 2;

/// The stream of the client at this port: bytes captured, and bytes beyond the limit.
fn of_port(seen: &[Seen], port: u64) -> (u64, u64) {
    let of_port = seen.iter().find(|seen| u64::from(seen.port) == port).unwrap();
    of_port.balance(Direction::Out, Counter::TooManyParts)
}

/// Sends once in so many parts, and sees that the first `most` of them are captured, and the others counted.
fn send(watch: &mut Watch, parts: u32, most: u32) {
    until_equal(&format!("{most} of {parts} parts"), || {
        let before = watch.counted(Counter::TooManyParts).1;
        let said = watch.tell(&format!("writev {parts} {BYTES}"));
        let (captured, missing) = of_port(&watch.take(), said[0]);
        let beyond = u64::from(parts.saturating_sub(most)) * BYTES;
        let expected = if most == 0 { said[1] } else { beyond };
        assert_eq!(missing, expected, "{parts} parts");
        assert_eq!(captured + missing, said[1] + super::watch::REQUEST_BYTES);
        (missing, watch.counted(Counter::TooManyParts).1 - before)
    });
}

#[test]
fn parts_beyond_those_that_are_read_are_counted() {
    if !can_capture() {
        return;
    }
    each_walk(&Provider::ALL, |watch, provider, unrolled| {
        let pieces = if unrolled { PIECES_MAX_UNROLLED } else { PIECES_MAX };
        // Where only the end of a message is known, all of its parts are stepped over first.
        let from_behind = matches!(provider, Provider::Fexit | Provider::Kprobe);
        let steps = if unrolled && from_behind {
            STEPS_BACK_MAX_UNROLLED
        } else {
            u32::MAX
        };
        for parts in [steps.min(pieces), steps.min(pieces) + 1, MANY] {
            send(watch, parts, if parts > steps { 0 } else { pieces });
        }
    });
}

#[test]
fn messages_of_more_parts_than_can_be_stepped_over_are_counted() {
    if !can_capture() {
        return;
    }
    let mut options = options(Provider::SockLength);
    options.unrolled = true;
    let Some(mut watch) = Watch::start_if_there(&options) else {
        return;
    };
    if !watch.notes_messages() {
        println!("skipped: this kernel does not tell of messages while they are sent (6.16 and later)");
        return;
    }
    for (parts, is_read) in [
        (STEPS_BACK_MAX_UNROLLED, true),
        (STEPS_BACK_MAX_UNROLLED + 1, false),
    ] {
        until_equal(&format!("messages of {parts} parts"), || {
            let before = watch.counted(Counter::TooManyParts).1;
            let said = watch.tell(&format!("sendmmsg {MESSAGES} {parts} {BYTES}"));
            assert_eq!(said[2], MESSAGES);
            let (captured, missing) = of_port(&watch.take(), said[0]);
            assert_eq!(missing, if is_read { 0 } else { said[1] });
            assert_eq!(captured + missing, said[1] + super::watch::REQUEST_BYTES);
            (missing, watch.counted(Counter::TooManyParts).1 - before)
        });
    }
}
