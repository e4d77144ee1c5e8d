//! Calls of many messages.

use agent_common::{Counter, Direction, MESSAGES_MAX, MESSAGES_MAX_UNROLLED};
use eastwatch_agent::loader::Provider;
use tests::can_capture;

use super::watch::{REQUEST_BYTES, Watch, each_walk, has_loops, options, until_equal};

/// Bytes of each message but the first, which is the head of a request.
const BYTES: u64 = 20;
/// Messages that the kernel sends with one call (`UIO_MAXIOV`).
const SENT_MAX: u32 = 1024;
/// Fewer than the kernel sends, as many, and more, of which it sends as many.
const SENT: [u32; 3] = [80, SENT_MAX, SENT_MAX + 76];
/// It receives as many as it is asked for.
const RECEIVED: [u32; 2] = [80, 3000];
/// Bytes of each of very many: all have to wait in the socket.
const FEW_BYTES: u64 = 2;

/// Who reads the bytes of a call of several messages.
fn reads(watch: &Watch, provider: Provider, direction: Direction) -> bool {
    match provider {
        Provider::Fexit | Provider::Kprobe => true,
        Provider::SockLength => direction == Direction::Out && watch.notes_messages(),
        Provider::SyscallExit | Provider::SyscallEnterExit => false,
    }
}

/// What came of a call: bytes that went by, the captured ones of the stream, and those of which a record says why they are not.
struct Called {
    bytes: u64,
    stream: u64,
    captured: u64,
    missing: u64,
    /// What was counted meanwhile.
    counted: u64,
}

fn call(watch: &mut Watch, direction: Direction, messages: u32, each: u64) -> Called {
    let before = watch.counted(Counter::OpaqueCall).1;
    let (said, taken) = match direction {
        Direction::Out => (
            watch.tell(&format!("sendmmsg {messages} 1 {each}")),
            messages.min(SENT_MAX),
        ),
        Direction::In => (watch.tell(&format!("recvmmsg {messages} {each}")), messages),
    };
    assert_eq!(said[2], u64::from(taken), "messages that the kernel took");
    let seen = watch.take();
    let of_port = seen.iter().find(|seen| u64::from(seen.port) == said[0]).unwrap();
    let (captured, missing) = of_port.balance(direction, Counter::OpaqueCall);
    // Before the call and after it plain ones moved the rest.
    let body = u64::from(messages - 1) * each;
    let head = format!("POST /limits HTTP/1.1\r\nHost: limits\r\nContent-Length: {body}\r\n\r\n");
    Called {
        bytes: said[1],
        stream: REQUEST_BYTES + head.len() as u64 + body,
        captured,
        missing,
        counted: watch.counted(Counter::OpaqueCall).1 - before,
    }
}

#[test]
fn calls_of_many_messages_are_captured_or_counted_whole() {
    if !can_capture() {
        return;
    }
    for provider in Provider::ALL {
        let Some(mut watch) = Watch::start_if_there(&options(provider)) else {
            continue;
        };
        let sent = SENT.map(|messages| (Direction::Out, messages));
        let received = RECEIVED.map(|messages| (Direction::In, messages));
        for (direction, messages) in sent.into_iter().chain(received) {
            if messages > MESSAGES_MAX_UNROLLED && direction == Direction::In && !has_loops() {
                continue;
            }
            let reads = reads(&watch, provider, direction);
            let what = format!("{}: {messages} messages {direction:?}", provider.name());
            until_equal(&what, || {
                let called = call(&mut watch, direction, messages, BYTES);
                assert_eq!(called.missing, if reads { 0 } else { called.bytes }, "{what}");
                assert_eq!(called.captured + called.missing, called.stream, "{what}");
                (called.missing, called.counted)
            });
        }
        assert_eq!(watch.counted(Counter::TooManyMessages), (0, 0));
    }
}

/// The sum is not known then: that there were more is counted, and that bytes are missing is seen.
#[test]
fn calls_of_more_messages_than_are_added_up_are_counted() {
    if !can_capture() {
        return;
    }
    let providers = [Provider::SyscallExit, Provider::SyscallEnterExit];
    each_walk(&providers, |watch, _, unrolled| {
        let most = if unrolled {
            MESSAGES_MAX_UNROLLED
        } else {
            MESSAGES_MAX
        };
        let whole = call(watch, Direction::In, most, FEW_BYTES);
        assert_eq!(whole.missing, whole.bytes, "{most} messages");
        assert_eq!(watch.counted(Counter::TooManyMessages).0, 0);
        let said = watch.tell(&format!("recvmmsg {} {FEW_BYTES}", most + 1));
        assert_eq!(said[2], u64::from(most + 1));
        let seen = watch.take();
        let of_port = seen.iter().find(|seen| u64::from(seen.port) == said[0]).unwrap();
        let missing = of_port.missing(Direction::In, Counter::OpaqueCall);
        let last = said[1] / said[2];
        println!("{missing} of {} bytes", said[1]);
        assert_eq!(missing, said[1] - last + 1, "of the last message one is known");
        assert_eq!(watch.counted(Counter::TooManyMessages).0, 1);
    });
}
