//! The content of a message as an archive has it, read as the content of the message on the wire would be.

use protocol::body::{BodyReader, End, Finished};
use protocol::{Body, Content, Counters, Headers};

const CONTENT_ENCODING: &[u8] = b"content-encoding";
const CONTENT_TYPE: &[u8] = b"content-type";
/// RFC 1952 section 2.3.1, RFC 8878 section 3.1.1. Brotli and deflate begin with anything.
const MAGIC: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

/// Content and what is said of it.
pub(super) struct Archived<'a> {
    /// The content; `None`: the archive does not have it.
    pub(super) content: Option<&'a [u8]>,
    /// Bytes on the wire, where the archive says so.
    pub(super) known: Option<u64>,
    /// Fields of the message.
    pub(super) headers: &'a Headers,
}

impl Archived<'_> {
    /// Fields that say how to read the content: its type, and its coding only if it is still there.
    pub(super) fn fields(&self) -> Headers {
        let is_coded = self
            .content
            .is_some_and(|content| MAGIC.iter().any(|magic| content.starts_with(magic)));
        let wanted = |(name, _): &(&[u8], &[u8])| {
            name.eq_ignore_ascii_case(CONTENT_TYPE)
                || (is_coded && name.eq_ignore_ascii_case(CONTENT_ENCODING))
        };
        self.headers.iter().filter(wanted).collect()
    }

    /// The body; `reader` is of these `fields`.
    pub(super) fn read(&self, mut reader: BodyReader, fields: &Headers, counters: &mut Counters) -> Finished {
        match (self.content, self.known) {
            (Some(content), _) => reader.data(content, counters),
            (None, Some(bytes)) if bytes > 0 => reader.missing(Some(bytes), counters),
            (None, _) => {}
        }
        let mut finished = reader.finish(End::Complete, counters);
        let bytes = self
            .known
            .unwrap_or_else(|| self.content.map_or(0, <[u8]>::len) as u64);
        let Body {
            wire_bytes,
            decoded_bytes,
            content,
            captured,
            ..
        } = &mut finished.body;
        (*wire_bytes, *decoded_bytes) = (bytes, bytes);
        if has_coding(self.headers) && !has_coding(fields) && !captured.is_empty() {
            *content = Content::Decoded;
        }
        finished
    }
}

fn has_coding(fields: &Headers) -> bool {
    fields
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}
