//! What the source counts.

use protocol::counters;

counters! {
    /// Files read, also in part.
    files,
    /// Files not read, or not to their end.
    files_broken,
    /// Files that do not continue the one before: what is open is ended between them.
    files_apart,
    /// Packets.
    packets,
    /// Packets of a link type that is not known.
    packets_unknown_link,
    /// Packets that carry no IP: ARP, control protocols of bridges and routers.
    packets_not_ip,
    /// Packets that carry something else than TCP: UDP, ICMP.
    packets_not_tcp,
    /// Packets with a header that was cut off or is none.
    packets_broken,
    /// Packets with more layers than are believed.
    packets_too_deep,
    /// Pieces of IP packets that wait for others; the last one of each is not counted.
    fragments,
    /// Pieces that came again.
    fragments_again,
    /// Pieces that were cut off or overlap others, and what else came of their packets.
    fragments_spoilt,
    /// IP packets of which pieces did not come in time.
    fragmented_expired,
    /// IP packets in pieces given up because there were too many.
    fragmented_evicted,
    /// TCP segments.
    segments,
    /// Segments cut by the capture's length limit: the rest of their bytes is left out.
    segments_cut,
    /// Bytes of streams, handed on.
    bytes,
    /// Connections announced.
    connections,
    /// Of them, those whose begin is not in the capture.
    connections_late,
    /// Connections given up because there were too many.
    connections_evicted,
    /// Connections ended because nothing was heard of them for the idle time.
    connections_idle,
    /// Connections between the ports of one that had not ended.
    connections_reused,
    /// Segments that wait for an earlier one.
    segments_held,
    /// Segments that came again, all of their bytes known: retransmissions, and packets captured twice.
    retransmissions,
    /// Bytes of segments that are known already.
    retransmitted_bytes,
    /// Keep-alive probes: a byte or none from just before the stream's place.
    keep_alives,
    /// Segments whose bytes differ from those held of the same place; the first ones count (RFC 9293 leaves it open).
    overlaps_conflicting,
    /// Segments far from the stream's place, or beyond its end.
    segments_misplaced,
    /// Segments of connections that have ended.
    segments_after_end,
    /// Segments of connections that nobody wants to hear of: they speak something else, or the policy leaves them out.
    segments_unwanted,
    /// Connections that were reset.
    resets,
    /// Stretches of bytes that are not in the capture.
    gaps,
    /// Bytes in them.
    gap_bytes,
    /// Stretches given up because too much waited for them.
    gaps_by_limit,
}
