//! What costs memory or time, and limits.

use proptest::prelude::*;

use super::script::{Script, deliver, play};
use super::wire::{
    END_HEADERS, END_STREAM, PREFACE, WHOLE, block, concat, continuation, data, frame, get, headers, post,
    reset, settings,
};
use crate::http2::Connection;
use crate::{Boundary, Direction, Limits, Start};

const OK: &str = ":status=200";

/// A connection fed by hand.
struct Feed {
    connection: Connection,
    offsets: [u64; 2],
    out: u64,
}

impl Feed {
    fn new(limits: Limits) -> Self {
        let mut feed = Self {
            connection: Connection::new(limits, Start::Fresh),
            offsets: [0; 2],
            out: 0,
        };
        feed.client(&concat(&[PREFACE.to_vec(), settings(&[])]));
        feed.server(&settings(&[]));
        feed
    }

    fn client(&mut self, data: &[u8]) {
        self.say(Direction::Request, data);
    }

    fn server(&mut self, data: &[u8]) {
        self.say(Direction::Response, data);
    }

    fn say(&mut self, direction: Direction, data: &[u8]) {
        let offset = &mut self.offsets[usize::from(direction == Direction::Response)];
        self.connection
            .segment(direction, *offset, *offset, data, Boundary::Continued);
        *offset += data.len() as u64;
        self.out += std::iter::from_fn(|| self.connection.poll()).count() as u64;
    }
}

#[test]
fn open_streams_are_limited() {
    let limits = Limits {
        streams: 100,
        ..Limits::default()
    };
    let mut feed = Feed::new(limits);
    for at in 0..1_000_000_u32 {
        feed.client(&frame(1, END_HEADERS, 2 * at + 1, [0x82, 0x86, 0x84]));
        assert!(feed.connection.kept().0 <= 100);
    }
    // The oldest came out as they were.
    assert_eq!(feed.out, 999_900);
    let counters = *feed.connection.counters();
    assert_eq!(
        (counters.requests, counters.streams_beyond_limit),
        (1_000_000, 999_900)
    );
    // Those that are followed go on, and make room.
    feed.out = 0;
    feed.server(&headers(WHOLE, 1_999_999, OK));
    feed.client(&data(END_STREAM, 1_999_999, ""));
    assert_eq!(feed.out, 1);
    feed.client(&headers(WHOLE, 2_000_001, &get("/")));
    feed.server(&headers(WHOLE, 2_000_001, OK));
    assert_eq!(feed.out, 2);
}

#[test]
fn a_flood_of_resets_is_bounded() {
    let mut feed = Feed::new(Limits::default());
    for at in 0..100_000_u32 {
        let stream = 2 * at + 1;
        feed.client(&concat(&[headers(WHOLE, stream, &get("/")), reset(stream, 8)]));
    }
    assert!(feed.connection.kept().0 <= Limits::default().pending_requests);
    feed.connection.close(0);
    feed.out += std::iter::from_fn(|| feed.connection.poll()).count() as u64;
    assert_eq!(feed.out, 100_000);
    assert_eq!(feed.connection.counters().streams_reset, 100_000);
}

#[test]
fn answers_without_requests_are_bounded() {
    let limits = Limits {
        streams: 50,
        held_bytes: 1000,
        ..Limits::default()
    };
    let mut feed = Feed::new(limits);
    for at in 0..10_000_u32 {
        let stream = 2 * at + 1;
        feed.server(&concat(&[
            headers(END_HEADERS, stream, OK),
            data(0, stream, [0; 100]),
        ]));
        feed.server(&reset(2 * at + 1, 2));
    }
    let (streams, bytes) = feed.connection.kept();
    assert!(streams <= 50 && bytes <= 1000, "{streams} {bytes}");
    let counters = *feed.connection.counters();
    assert_eq!(counters.responses_without_request, 9_950);
    assert!(counters.held_overflow > 0);
    // A request shows that those below it will not come.
    feed.client(&headers(WHOLE, 30_001, &get("/")));
    assert_eq!(feed.connection.kept(), (1, 0));
}

#[test]
fn header_blocks_are_limited() {
    let fields = format!("{}|long={}", get("/long"), "x".repeat(70_000));
    let bytes = block(&fields);
    let mut frames = vec![frame(1, END_STREAM, 1, &bytes[..1000])];
    frames.extend(bytes[1000..].chunks(1000).map(|piece| continuation(0, 1, piece)));
    frames.push(continuation(END_HEADERS, 1, b""));
    let mut feed = Feed::new(Limits::default());
    for frame in &frames {
        feed.client(frame);
        assert!(feed.connection.kept().1 < 140_000);
    }
    // Forever.
    feed.client(&frame(1, END_STREAM, 3, b""));
    for _ in 0..10_000 {
        feed.client(&continuation(0, 3, b""));
        feed.client(&continuation(0, 3, &[0x82; 100]));
        assert!(feed.connection.kept().1 < 140_000);
    }
    feed.client(&continuation(END_HEADERS, 3, b""));
    assert_eq!(feed.connection.counters().heads_too_large, 2);
    assert_eq!(feed.connection.counters().requests_without_head, 2);
    feed.client(&headers(WHOLE, 5, &get("/")));
    feed.server(&headers(WHOLE, 5, OK));
    assert_eq!(feed.out, 1);
}

#[test]
fn header_lists_are_limited() {
    let limits = Limits {
        headers: 10,
        header_list_bytes: 1000,
        ..Limits::default()
    };
    // One entry of the table, many times.
    let bomb = format!("{}|+a={}{}", get("/"), "x".repeat(300), "|#62".repeat(1000));
    let many = format!("{}{}", get("/"), "|a=b".repeat(100));
    let script = Script::begun()
        .client(headers(WHOLE, 1, &bomb))
        .server(headers(WHOLE, 1, OK))
        .client(headers(WHOLE, 3, &many))
        .server(headers(WHOLE, 3, OK));
    let played = script.end().play_with(limits);
    assert_eq!(played.lines(), ["1 GET / > 200", "3 GET / > 200"]);
    assert_eq!(played.exchanges[0].request.headers.len(), 2);
    assert_eq!(played.exchanges[1].request.headers.len(), 6);
    assert_eq!(
        (
            played.counters.header_lists_too_large,
            played.counters.headers_too_many
        ),
        (1, 1)
    );
}

#[test]
fn control_frames_cost_no_memory() {
    let mut feed = Feed::new(Limits::default());
    let settings = settings(&[(1, 4096); 2000]);
    let debug = frame(7, 0, 0, [0; 10_000]);
    for _ in 0..1000 {
        feed.client(&settings);
        feed.client(&frame(6, 0, 0, [0; 8]));
        feed.client(&frame(0xfe, 0, 0, [0; 10_000]));
        feed.server(&debug);
    }
    assert_eq!(feed.connection.kept(), (0, 0));
}

#[test]
fn malformed_frames_and_messages_are_counted() {
    let rest = |script: Script| {
        script
            .client(headers(WHOLE, 9, &get("/after")))
            .server(headers(WHOLE, 9, OK))
            .end()
            .play()
    };
    let begun = || {
        Script::begun()
            .client(headers(END_HEADERS, 1, &post("/")))
            .server(headers(END_HEADERS, 1, OK))
    };
    let frames: &[Vec<u8>] = &[
        data(0, 0, "x"),
        frame(8, 0, 0, "123"),
        continuation(END_HEADERS, 1, b""),
        frame(0, 8, 1, b"\xffabc"),
        concat(&[frame(1, 1, 3, block(&get("/x"))), data(0, 1, "x")]),
        headers(WHOLE, 2, &get("/x")),
        frame(5, 4, 1, b"\0\0\0\x02\x82\x86\x84"),
    ];
    for bytes in frames {
        let played = rest(begun().client(bytes));
        assert_eq!(played.counters.malformed_frames, 1, "{bytes:?}");
        assert!(
            played.lines().last().unwrap().starts_with("9 GET /after > 200"),
            "{:?}",
            played.lines()
        );
    }
    for fields in [
        "",
        ":method=GET",
        "a=b|:method=GET|:scheme=http|:path=/",
        ":status=200",
    ] {
        let played = rest(begun().client(headers(WHOLE, 3, fields)));
        assert_eq!(played.counters.malformed_requests, 1, "{fields}");
        assert_eq!(played.lines().len(), 2);
    }
    for fields in [":status=101", ":method=GET", ":status=200|:status=200"] {
        let script = begun()
            .client(headers(WHOLE, 3, &get("/")))
            .server(headers(WHOLE, 3, fields));
        let played = rest(script);
        assert_eq!(played.counters.malformed_responses, 1, "{fields}");
        assert_eq!(played.lines()[1], "3 GET / > unpaired");
    }
    let odd = rest(begun().client(headers(WHOLE, 3, &format!("{}|Connection=close", get("/")))));
    assert_eq!((odd.counters.lenient_heads, odd.lines().len()), (1, 3));
}

#[test]
fn a_block_that_hpack_refuses_loses_its_message_only() {
    let script = Script::begun()
        .client(headers(WHOLE, 1, &get("/a")))
        .client(frame(1, WHOLE, 3, [0xff; 10]))
        .client(headers(WHOLE, 5, &get("/c")))
        .server(concat(&[
            headers(WHOLE, 1, OK),
            headers(WHOLE, 3, ":status=400"),
            headers(WHOLE, 5, OK),
        ]));
    let played = script.end().play();
    assert_eq!(played.lines(), ["1 GET /a > 200", "5 GET /c > 200"]);
    assert_eq!(played.counters.header_blocks_malformed, 1);
    assert_eq!(played.counters.responses_without_request, 1);
}

/// Offsets at the end of what a stream can hold.
#[test]
fn offsets_do_not_overflow() {
    let mut connection = Connection::new(Limits::default(), Start::Late);
    for direction in [Direction::Request, Direction::Response] {
        connection.segment(direction, u64::MAX - 9, 0, &data(0, 1, ""), Boundary::Continued);
        connection.segment(direction, u64::MAX - 3, 0, &data(0, 1, ""), Boundary::Continued);
        connection.passed(direction, u64::MAX, 0);
        connection.finish(direction, Some(u64::MAX), 0);
    }
    connection.close(0);
    assert!(connection.poll().is_none());
    let _ = play(&[], Limits::default(), Start::Late);
}

/// Frames of any kind, flags and stream, cut off or not, with holes.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::sample::select(vec![
        get("/a"),
        post("/b"),
        format!("{}|+x=1|#62", get("/c")),
        ":status=200".to_owned(),
        ":status=103".to_owned(),
        "#62|#70".to_owned(),
        ":method=CONNECT|:authority=a".to_owned(),
        ":method=CONNECT|:protocol=websocket|:scheme=http|:path=/|:authority=a".to_owned(),
        "grpc-status=0".to_owned(),
    ]);
    let stream = 0_u32..9;
    let with_fields =
        (1_u8..10, any::<u8>(), stream.clone(), fields).prop_map(|(kind, flags, stream, fields)| {
            let mut payload = block(&fields);
            if kind == 5 {
                payload.splice(0..0, [0, 0, 0, 2 * stream as u8]);
            }
            frame(
                if kind == 5 || kind == 9 { kind } else { 1 },
                flags & 0x2d,
                stream,
                payload,
            )
        });
    let anything = (
        0_u8..12,
        any::<u8>(),
        stream,
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags & 0x2d, stream, payload));
    let small = (
        prop::sample::select(vec![(3_u8, 4_usize), (4, 6), (6, 8), (7, 8), (8, 4)]),
        any::<u8>(),
        0_u32..9,
    )
        .prop_map(|((kind, len), fill, stream)| {
            frame(kind, 0, if kind == 3 { stream } else { 0 }, vec![fill; len])
        });
    prop_oneof![with_fields, anything, small]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_frames_keep_it_sane(
        frames in prop::collection::vec((any::<bool>(), any_frame(), prop::option::weighted(0.1, 1_u64..30), any::<bool>()), 1..40),
        late: bool,
        cut in 1_usize..40,
    ) {
        let limits = Limits {
            streams: 3,
            held_bytes: 64,
            pending_requests: 2,
            head_bytes: 100,
            body_bytes: 10,
            ..Limits::default()
        };
        let mut script = if late { Script::default() } else { Script::begun() };
        for (request, frame, lost, passed) in frames {
            let direction = if request { Direction::Request } else { Direction::Response };
            for piece in frame.chunks(cut) {
                script = script.say(direction, piece);
            }
            script = match lost {
                Some(len) if passed => script.passed(direction, len),
                Some(len) => script.lost(direction, len),
                None => script,
            };
        }
        let start = if late { Start::Late } else { Start::Fresh };
        let mut connection = Connection::new(limits, start);
        let mut out = Vec::new();
        for item in &script.end().items {
            deliver(&mut connection, item);
            let (streams, bytes) = connection.kept();
            prop_assert!(streams <= 3 && bytes < 1000, "{streams} {bytes}");
            out.extend(std::iter::from_fn(|| connection.poll()));
            connection.take_counters();
        }
        connection.close(0);
        out.extend(std::iter::from_fn(|| connection.poll()));
        prop_assert_eq!((connection.kept().0, connection.held), (0, 0));
        prop_assert!(connection.is_believed() || out.is_empty());
        prop_assert!(!connection.not_http2() || out.is_empty());
        let mut streams: Vec<_> = out.iter().map(|exchange| exchange.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        prop_assert_eq!(streams.len(), out.len());
    }
}
