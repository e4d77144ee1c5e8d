//! Capture files: what comes out of any is a sequence of events that a tracker can believe.

use std::collections::HashMap;
use std::io::Cursor;

use agent_common::Direction;
use eastwatch_agent::source::Event;
use eastwatch_agent::source::pcap::{Limits, Source};

/// A file of either format, plain or gzip.
pub fn run(data: &[u8]) {
    let limits = Limits::default();
    let Ok(mut source) = Source::from_reader("fuzz".into(), Cursor::new(data.to_vec()), limits) else {
        return;
    };
    // Per connection: where each direction goes on.
    let mut open: HashMap<u64, [Option<u32>; 2]> = HashMap::new();
    let mut bytes = 0;
    loop {
        let more = source.next(&mut |event| match event {
            Event::Open(opened) => {
                let begin = opened.base.map_or([None; 2], |base| base.map(Some));
                assert!(open.insert(opened.connection, begin).is_none(), "opened twice");
            }
            Event::Chunk(chunk) => {
                let places = open
                    .get_mut(&chunk.connection)
                    .expect("a chunk of an open connection");
                let [incoming, outgoing] = places;
                let place = match chunk.direction {
                    Direction::In => incoming,
                    Direction::Out => outgoing,
                };
                if let Some(place) = place {
                    assert_eq!(chunk.offset, *place, "in order, each byte once");
                }
                *place = Some(chunk.offset.wrapping_add(chunk.length));
                assert!(chunk.data.len() <= chunk.length as usize);
                bytes += chunk.data.len();
            }
            Event::Close(closed) => {
                assert!(
                    open.remove(&closed.connection).is_some(),
                    "closed without an open"
                );
            }
            _ => {}
        });
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(open.is_empty(), "all are closed at the end");
    // Compressed a thousandfold at most (RFC 1951).
    assert!(bytes <= data.len().saturating_mul(1100));
}
