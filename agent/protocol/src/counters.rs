//! What a connection saw that is not an exchange, or was not as it should be.

/// Makes a struct `Counters` of fields with their descriptions: counts that can be listed by name, and added up.
#[macro_export]
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts since the start, or since they were taken.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Name and value of every counter.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Name, value and meaning of every counter.
            pub fn explained(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($name), self.$name, concat!($($doc),*).trim_ascii()),)*].into_iter()
            }
        }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }
    };
}

counters! {
    /// Requests whose head was complete.
    requests,
    /// Responses, interim ones not counted, whose head was complete.
    responses,
    /// Interim (1xx) responses.
    interim_responses,
    /// Responses that belong to no request that was seen, or to none that can be told.
    responses_without_request,
    /// Requests given up because their head was incomplete: bytes missing in it, or the connection ended in it.
    requests_without_head,
    /// Responses given up for the same reasons.
    responses_without_head,
    /// Requests that got no response that was seen.
    requests_without_response,
    /// Stretches of bytes that were left out on purpose: beyond the capture limit of a turn, skipped, or never in memory.
    left_out,
    /// Bytes in them.
    left_out_bytes,
    /// Stretches of bytes that are missing and should have come.
    gaps,
    /// Bytes in them.
    gap_bytes,
    /// Bytes seen while looking for the next message.
    skipped_bytes,
    /// Messages found again after a gap or a broken message.
    resynchronised,
    /// Times that exchanges were left out on purpose in the middle of one: what was unfinished is marked.
    resumed_inside,
    /// Responses taken back from their request because a later sign made the pair uncertain.
    pairings_withdrawn,
    /// Heads longer than `Limits::head_bytes`.
    heads_too_large,
    /// Trailer sections longer than that; their fields are dropped.
    trailers_too_large,
    /// Heads with more than `Limits::headers` fields.
    headers_too_many,
    /// Start lines that are none.
    malformed_start_line,
    /// Header fields that are none, in a request.
    malformed_header,
    /// Heads that break the grammar and were understood nevertheless: folded lines, white space before the colon,
    /// odd bytes in the target, header lines of a response without a colon (RFC 9112 5.1, 5.2).
    lenient_heads,
    /// Chunked bodies whose framing broke (RFC 9112 7.1).
    malformed_chunked,
    /// `Content-Length` that is no number, or several that differ (RFC 9112 6.3).
    invalid_content_length,
    /// `Content-Length` besides `Transfer-Encoding`: the latter wins; a sign of request smuggling (RFC 9112 6.1).
    content_length_with_transfer_encoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message: faulty framing (RFC 9112 6.1).
    transfer_encoding_in_http10,
    /// `Transfer-Encoding` of a request that does not end in chunked: its length is unknown (RFC 9112 6.3).
    transfer_encoding_not_chunked,
    /// Requests beyond `Limits::pending_requests`.
    pipeline_overflow,
    /// Times that `Limits::held_bytes` was exceeded.
    held_overflow,
    /// Connections that turned into WebSocket.
    upgraded_websocket,
    /// Rules of RFC 6455 that a side of a WebSocket session broke: frames that are none, masking, fragments out of order.
    websocket_violations,
    /// Connections that turned into HTTP/2 (h2c).
    upgraded_h2c,
    /// Connections that turned into another protocol.
    upgraded_other,
    /// Connections that turned into a tunnel (CONNECT).
    tunnels,
    /// Connections that are HTTP/2 from the start.
    http2_prefaces,
    /// Connections that are not HTTP.
    not_http,
    /// PROXY protocol headers skipped.
    proxy_headers,

    // HTTP/2.
    /// Frames that may not be there: of a wrong length or stream, in a header block (RFC 9113 6).
    malformed_frames,
    /// Requests without valid pseudo-header fields (RFC 9113 8.3.1), or with trailers that are none.
    malformed_requests,
    /// Header lists of responses that are no response and no trailers (RFC 9113 8.3.2).
    malformed_responses,
    /// Header blocks that HPACK cannot decode (RFC 7541).
    header_blocks_malformed,
    /// Header lists longer than `Limits::header_list_bytes`; the rest of the fields is dropped.
    header_lists_too_large,
    /// Fields that refer to an HPACK table entry that is not known.
    headers_unknown,
    /// HPACK table entries given up because of `Limits::hpack_table_bytes`.
    hpack_entries_given_up,
    /// Streams beyond `Limits::streams` or `Limits::open_heads_bytes`: a new request brings out the oldest as it is; pushed
    /// requests, and responses that would have to wait for theirs, are dropped.
    streams_beyond_limit,
    /// Bodies that were read no further because of `Limits::open_bodies_bytes`.
    bodies_beyond_limit,
    /// HTTP/2 messages with more or fewer bytes of DATA than their `Content-Length` says (RFC 9113 8.1.1).
    content_lengths_wrong,
    /// RST_STREAM frames of streams that were open.
    streams_reset,
    /// GOAWAY frames.
    goaways,
    /// Requests promised by a server.
    pushes,

    // Bodies.
    /// Bodies of gRPC or gRPC-Web whose message framing broke: flags that are none, or no base64 where it should be.
    malformed_grpc,
    /// Bodies whose content coding is not known, or that have more than three (RFC 9110 8.4).
    content_unknown,
    /// Bodies that are not what their content coding says.
    content_broken,
    /// Bodies that ended before their content coding did.
    content_cut,
    /// Bodies that grow beyond `Limits::decode_ratio` when decoded.
    content_too_large,
    /// Bodies that ask for a larger window than their coding allows (RFC 9659).
    content_windows_too_large,
}
