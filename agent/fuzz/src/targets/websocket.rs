//! Frames of WebSocket, of one direction.

use protocol::websocket::{Extensions, Reader};
use protocol::{Direction, Headers};

use crate::input::Input;

const EXTENSIONS: [&str; 4] = [
    "",
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
    "x-other, permessage-deflate; server_max_window_bits=\"9\"",
];

const BODY_BYTES: usize = 32;

/// The first bytes say what was agreed on; then come pieces with their lengths, and what is missing.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let options = input.byte();
    let direction = if options & 1 == 0 {
        Direction::Request
    } else {
        Direction::Response
    };
    let answer = Headers::from([("Sec-WebSocket-Extensions", input.one_of(&EXTENSIONS, ""))]);
    let extensions = Extensions::accepted(&answer);
    let read = |mut input: Input<'_>, piece: usize, losses: bool| {
        let mut reader = Reader::new(direction, extensions, BODY_BYTES);
        while !input.is_empty() {
            let code = input.byte();
            if losses && code & 15 == 15 {
                reader.missing(input.short().into());
                continue;
            }
            let len = usize::from(input.byte());
            for data in input.bytes(len).chunks(piece) {
                reader.data(data);
            }
            let _ = reader.rest();
        }
        let messages = reader.finish();
        let body = reader.take_body();
        assert!(body.captured.len() <= BODY_BYTES);
        assert!(messages.count.saturating_add(messages.control) <= data.len() as u64);
        assert!(messages.bytes_max <= messages.bytes.max(messages.bytes_max));
        (messages, body)
    };
    let whole = read(input, usize::MAX, false);
    assert_eq!(read(input, 1, false), whole);
    let lossy = read(input, usize::MAX, true);
    assert_eq!(read(input, 3, true), lossy);
}
