//! A batch's payload: protobuf inside one zstd frame, bounded when decoding.

use std::io::Read;

use prost::Message;

use crate::{PAYLOAD_BYTES_MAX, v1::Payload};

/// zstd level of payloads: the fastest positive one; agents pay for it on production nodes.
const ZSTD_LEVEL: i32 = 1;

/// Why a payload could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not a zstd frame, or a damaged one.
    #[error("payload is not a valid zstd frame: {0}")]
    Zstd(#[from] std::io::Error),
    /// Larger than [`PAYLOAD_BYTES_MAX`] when decoded.
    #[error("payload decodes to more than {max} bytes")]
    TooLarge {
        /// The limit, bytes.
        max: usize,
    },
    /// Not a protobuf `Payload`.
    #[error("payload is not a valid message: {0}")]
    Message(#[from] prost::DecodeError),
}

/// Encodes and compresses.
///
/// # Errors
/// [`PayloadError::TooLarge`] when the encoding exceeds [`PAYLOAD_BYTES_MAX`]: the caller must split it.
pub fn encode_payload(payload: &Payload) -> Result<Vec<u8>, PayloadError> {
    let bytes = payload.encode_to_vec();
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(PayloadError::TooLarge { max: PAYLOAD_BYTES_MAX });
    }
    Ok(zstd::bulk::compress(&bytes, ZSTD_LEVEL)?)
}

/// Decompresses and decodes, never allocating more than [`PAYLOAD_BYTES_MAX`] for the decompressed bytes.
///
/// # Errors
/// See [`PayloadError`].
pub fn decode_payload(compressed: &[u8]) -> Result<Payload, PayloadError> {
    let mut bytes = Vec::new();
    let limit = PAYLOAD_BYTES_MAX as u64 + 1;
    zstd::stream::read::Decoder::new(compressed)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(PayloadError::TooLarge { max: PAYLOAD_BYTES_MAX });
    }
    Ok(Payload::decode(bytes.as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Call;

    #[test]
    fn round_trip() {
        let payload = Payload { calls: vec![Call { id: 7, path: "/a".into(), ..Call::default() }], ..Payload::default() };
        let encoded = encode_payload(&payload).unwrap();
        assert_eq!(decode_payload(&encoded).unwrap(), payload);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; PAYLOAD_BYTES_MAX + 1], 1).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(matches!(decode_payload(&bomb), Err(PayloadError::TooLarge { .. })));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(decode_payload(b"not zstd"), Err(PayloadError::Zstd(_))));
    }
}
