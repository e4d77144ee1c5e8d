//! Why a header block is not HPACK.

/// A header block that no encoder sends. To the peers it is a connection error of type COMPRESSION_ERROR (RFC 9113 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The block ends inside of a representation (RFC 7541 6).
    #[error("the block ends inside of a field")]
    Truncated,
    /// An integer of more than 32 bits, or padded to more than six bytes (RFC 7541 5.1).
    #[error("an integer is too large")]
    IntegerTooLarge,
    /// An indexed field with the index 0 (RFC 7541 6.1).
    #[error("the index is 0")]
    IndexZero,
    /// An index beyond both tables (RFC 7541 2.3.3).
    #[error("index {index} is beyond the table, whose last is {last}")]
    IndexBeyondTable {
        /// Index as sent.
        index: u32,
        /// Largest index that could be valid.
        last: u32,
    },
    /// A Huffman-coded string with the code of EOS in it (RFC 7541 5.2).
    #[error("a Huffman-coded string holds EOS")]
    HuffmanEos,
    /// A Huffman-coded string that ends with more than seven bits of padding, or with other bits than those of EOS
    /// (RFC 7541 5.2).
    #[error("a Huffman-coded string is not padded with the first bits of EOS")]
    HuffmanPadding,
    /// A table size above what the reader allows (RFC 7541 6.3).
    #[error("table size {size} is above the {allowed} that the settings allow")]
    SizeAboveSettings {
        /// Size in the update, bytes.
        size: u32,
        /// SETTINGS_HEADER_TABLE_SIZE, bytes.
        allowed: u32,
    },
    /// The settings were lowered below what the table holds, and the block does not begin by saying so (RFC 9113 4.3.1).
    #[error(
        "the table holds {held} bytes, the settings allow {allowed}, and the block does not lower its size"
    )]
    SizeUpdateMissing {
        /// Bytes that the table is known to hold.
        held: u32,
        /// Smallest SETTINGS_HEADER_TABLE_SIZE acknowledged since the previous block, bytes.
        allowed: u32,
    },
}
