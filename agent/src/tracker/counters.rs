//! What the tracker counts.

use protocol::counters;

counters! {
    /// Connections announced by the source.
    connections_opened,
    /// Connections that ended.
    connections_closed,
    /// Connections announced although they were tracked: the kernel had forgotten that, or captures more or less of them than before.
    connections_reopened,
    /// Times that a connection was put to sleep because nothing was heard of it for the idle time.
    connections_idle,
    /// Times that nothing was heard for as long of an HTTP/2 or WebSocket connection, whose parser was kept: it could not begin anew.
    connections_dozing,
    /// Times that a parser was put to sleep because all together kept too much.
    parsers_shed,
    /// Sleeping or dozing connections given up to make room.
    connections_evicted,
    /// Connections beyond the limit, not tracked.
    connections_beyond_limit,
    /// Connections left out by the policy's filter.
    connections_filtered,
    /// Connections left out because their process is over its budget.
    connections_lowered,
    /// Connections that turned out to speak something else (a tunnel, another protocol after an upgrade, not HTTP).
    connections_other_protocol,
    /// Records of connections that are not tracked: left out by the policy or a limit, or over.
    chunks_untracked,
    /// Records of connections that speak something else.
    chunks_unwanted,
    /// Records from before their connection's begin.
    chunks_misplaced,
    /// Records before it was known which end is the client.
    chunks_unoriented,
    /// Records that came out of order and waited.
    chunks_held,
    /// Bytes of records.
    bytes,
    /// Stretches of bytes that are missing between two records of a connection, what was left out on purpose not counted.
    gaps,
    /// Bytes in them.
    gap_bytes,
    /// Bytes of the gaps that a full ring buffer does not explain: they went a way that this provider does not see (a receiver that splices,
    /// `io_uring`), or the kernel left out a run. Known when a connection ends, or is asked where it stands.
    unseen_bytes,
    /// Exchanges.
    exchanges,
    /// Exchanges seen at both ends, which are on this node: recorded once.
    exchanges_joined,
    /// Exchanges recorded at the client's end although the server's end is on this node too: there they were not heard.
    exchanges_unheard,
    /// Those of them that the server's end understood later: the record is the client's.
    exchanges_late,
    /// Exchanges seen at both ends of which the server's end could not read all: the record is the server's, with what the client's saw.
    exchanges_mended,
    /// Exchanges that waited for what the other end saw, and were decided upon before their time because too many did.
    waits_cut,
    /// Connections of which the client's end is no longer captured, because the server's end is on this node and gives the exchanges.
    connections_silenced,
    /// Records of such ends that were on their way.
    chunks_silenced,
    /// Orders to the programs to skip the rest of a body.
    skips_ordered,
    /// Orders to the programs to send all of a connection: HTTP/2 and WebSocket, where what is cut costs what is behind it.
    full_ordered,
    /// Records of such connections that lack bytes: cut before the order took effect, or beyond what one transfer may cost.
    full_cut,
    /// Bytes that they lack.
    full_cut_bytes,
    /// Orders to the programs to capture one exchange of a connection in so many, or all again.
    rests_ordered,
    /// Connections that are captured again, because their turns were no whole exchanges.
    rests_ended,
    /// Exchanges of which nothing was captured because their connection rested: others stand for them.
    exchanges_rested,
    /// Such exchanges for which none could stand, because nothing is known of their connection.
    exchanges_rested_unknown,
    /// Times that the programs said where a connection stands that goes on.
    reports,
    /// Bytes that count under another name because there were too many workloads.
    coverage_folded_bytes,
    /// TCP connections that carry TLS.
    tls_sockets_opened,
    /// Of which nobody said so before a session over them was found: its announcement was lost, or they carried HTTP first (CONNECT).
    tls_sockets_unannounced,
    /// TLS connections beyond the limit: the oldest is forgotten, and what goes over it later is not counted.
    tls_sockets_evicted,
    /// Parts of TLS handshakes of connections that are not known: left out by the policy or the limit.
    tls_hellos_untracked,
    /// TLS handshakes that were not read to their end: parts are missing, or they are longer than what is read.
    tls_hellos_cut,
    /// Records that could not be understood.
    records_invalid,
}
