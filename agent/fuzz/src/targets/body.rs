//! Content of messages: codings, messages inside of it.

use protocol::body::{BodyReader, End, Finished};
use protocol::{Counters, Headers, Limits};

use crate::input::Input;

const TYPES: [&str; 10] = [
    "",
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "application/grpc-web-text",
    "text/event-stream",
    "application/json",
    "text/xml",
    "application/graphql",
    "application/soap+xml; action=\"urn:a\"",
];

const CODINGS: [&str; 8] = [
    "",
    "gzip",
    "deflate",
    "br",
    "zstd",
    "gzip, br",
    "deflate, gzip",
    "x-gzip, zstd",
];

/// The header fields that choose a reader.
pub fn headers(input: &mut Input<'_>) -> Headers {
    let kind = input.one_of(&TYPES, "");
    let coding = input.one_of(&CODINGS, "");
    [("content-type", kind), ("content-encoding", coding)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// What is written of a message, in pieces with their lengths; what is missing.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let options = input.byte();
    let headers = headers(&mut input);
    let limits = Limits {
        body_bytes: if options & 1 == 0 { 100 } else { 0 },
        inspect_bytes: 512,
        ..Limits::default()
    };
    let end = if options & 2 == 0 { End::Complete } else { End::Cut };
    let losses = options & 4 != 0;
    let read = |mut input: Input<'_>, piece: usize| -> Finished {
        let mut counters = Counters::default();
        let mut reader = BodyReader::request(b"POST", &headers, &limits);
        let mut given = 0;
        while !input.is_empty() {
            let code = input.byte();
            if losses && code & 15 == 15 {
                let len = (code & 16 == 0).then(|| u64::from(input.byte()));
                given += len.unwrap_or_default();
                reader.missing(len, &mut counters);
                continue;
            }
            let data = input.bytes(usize::from(code));
            given += data.len() as u64;
            for data in data.chunks(piece) {
                reader.data(data, &mut counters);
            }
            let _ = reader.satisfied();
        }
        assert_eq!(reader.decoded_bytes(), given);
        let finished = reader.finish(end, &mut counters);
        assert_eq!(finished.body.decoded_bytes, given);
        assert!(finished.body.captured.len() <= limits.body_bytes);
        finished
    };
    let whole = read(input, usize::MAX);
    assert_eq!(read(input, 1), whole);
    assert_eq!(read(input, 7), whole);
}
