//! HTTP archives.

use std::ops::ControlFlow;

use eastwatch_agent::source::har;
use protocol::{Limits, Version};

/// An archive; it may end or break anywhere, and what came before is read.
pub fn run(data: &[u8]) {
    let limits = Limits {
        body_bytes: 64,
        ..Limits::default()
    };
    let mut last = None;
    let (summary, outcome) = har::read(data, limits, |entry| {
        assert!(last.is_none_or(|last| entry.index > last), "in order");
        last = Some(entry.index);
        let request = &entry.exchange.request;
        assert!(!request.method.is_empty() || request.version == Version::Http2);
        assert!(request.body.captured.len() <= limits.body_bytes && request.headers.len() <= limits.headers);
        if let Some(response) = &entry.exchange.response {
            assert!(
                response.body.captured.len() <= limits.body_bytes && response.headers.len() <= limits.headers
            );
        }
        ControlFlow::Continue(())
    });
    assert!(summary.entries <= data.len() as u64 && last.is_none_or(|last| last < summary.entries));
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}
