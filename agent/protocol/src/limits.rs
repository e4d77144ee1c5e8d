//! What one connection may cost, whatever its bytes say.

/// Bounds on the memory and work of one [`Connection`](crate::http1::Connection). Exceeding one never fails: the
/// message is given up or cut, and a counter of [`Counters`](crate::Counters) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest head in bytes, start line and empty line included; also the longest trailer section.
    /// 64 KiB holds what the large defaults of servers allow (nginx 32 KiB, Node 16 KiB, Apache 8 KiB a line).
    pub head_bytes: usize,
    /// Most header fields of a message, at most [`Limits::HEADERS_MAX`].
    pub headers: usize,
    /// First bytes of a decoded body to keep.
    pub body_bytes: usize,
    /// Requests waiting for their answers on one connection (pipeline depth).
    pub pending_requests: usize,
    /// Longest chunk-size line in bytes, extensions included.
    pub chunk_line_bytes: usize,
    /// Bytes of a direction that are held while the other one is behind: an answer seen before its request, or bytes
    /// after an `Upgrade` whose answer was not seen. Each held segment costs [`Limits::HELD_SEGMENT_COST`] more.
    pub held_bytes: usize,
    /// HTTP/2: open streams of a connection. Servers commonly allow 100 to 256 at a time. Beyond it the oldest comes out as it
    /// is, so that nobody can hide a request by leaving others open.
    pub streams: usize,
    /// HTTP/2: a header list after decompression, bytes as RFC 9113 6.5.2 counts them (32 more for each field).
    pub header_list_bytes: usize,
    /// HTTP/2: the header lists of all open streams of a connection, bytes counted in the same way.
    pub open_heads_bytes: usize,
    /// HTTP/2: what the readers of all open streams' bodies keep: captured bytes, windows of content codings. Beyond it
    /// the largest is decoded no further.
    pub open_bodies_bytes: usize,
    /// HTTP/2: largest HPACK table kept for a direction, as RFC 7541 4.1 counts it. Of a larger one the oldest entries are
    /// forgotten, and count as unknown.
    pub hpack_table_bytes: usize,
    /// First bytes of a body that are looked at to tell the application protocol (GraphQL, JSON-RPC, SOAP), after content decoding.
    pub inspect_bytes: usize,
    /// Most bytes that a content coding may give for each byte of the wire, beyond [`Limits::DECODE_FLOOR`].
    pub decode_ratio: usize,
    /// Operations kept of a batch (GraphQL, JSON-RPC).
    pub operations: usize,
}

impl Limits {
    /// Upper bound of [`Limits::headers`]: the table is on the stack.
    pub const HEADERS_MAX: usize = 256;
    /// What a held segment costs besides its bytes.
    pub const HELD_SEGMENT_COST: usize = 64;
    /// Decoded bytes that any body may give, whatever the ratio.
    pub const DECODE_FLOOR: usize = 64 << 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            headers: 128,
            body_bytes: 0,
            pending_requests: 128,
            chunk_line_bytes: 4 << 10,
            held_bytes: 64 << 10,
            streams: 1024,
            header_list_bytes: 64 << 10,
            open_heads_bytes: 4 << 20,
            open_bodies_bytes: 32 << 20,
            hpack_table_bytes: 64 << 10,
            inspect_bytes: 16 << 10,
            decode_ratio: 100,
            operations: 16,
        }
    }
}
