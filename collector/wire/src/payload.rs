//! A batch's payload: protobuf inside one zstd frame, bounded when decoding.

use std::io::Read;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::{PAYLOAD_BYTES_MAX, v1::Payload};

/// Most fields of a payload, its own and those of its items. Decoded, an item takes more memory than its two bytes on the wire: this
/// bounds what 8 MiB of empty items would become. A batch of 2000 calls has about 50,000.
pub const PAYLOAD_FIELDS_MAX: usize = 1_000_000;
/// Most items of a payload (deltas, calls, edges, workloads).
pub const PAYLOAD_ITEMS_MAX: usize = 200_000;

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
    /// More items or fields than [`PAYLOAD_ITEMS_MAX`] or [`PAYLOAD_FIELDS_MAX`].
    #[error("payload has more than {items} items or {fields} fields")]
    TooMany {
        /// The limit of items.
        items: usize,
        /// The limit of fields.
        fields: usize,
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
        return Err(PayloadError::TooLarge {
            max: PAYLOAD_BYTES_MAX,
        });
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
    zstd::stream::read::Decoder::new(compressed)?
        .take(limit)
        .read_to_end(&mut bytes)?;
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(PayloadError::TooLarge {
            max: PAYLOAD_BYTES_MAX,
        });
    }
    check_counts(&bytes)?;
    Ok(Payload::decode(bytes.as_slice())?)
}

/// Counts items and fields without building anything.
fn check_counts(bytes: &[u8]) -> Result<(), PayloadError> {
    let too_many = || PayloadError::TooMany {
        items: PAYLOAD_ITEMS_MAX,
        fields: PAYLOAD_FIELDS_MAX,
    };
    let (mut items, mut fields) = (0, 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        items += 1;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        // One that reaches beyond the end is the decoder's to refuse.
        let (mut item, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        while !item.is_empty() {
            // An item that is no message (there is none today) need not parse as one.
            let Ok((tag, wire_type)) = decode_key(&mut item) else {
                break;
            };
            if skip_field(wire_type, tag, &mut item, DecodeContext::default()).is_err() {
                break;
            }
            fields += 1;
        }
        if items > PAYLOAD_ITEMS_MAX || fields > PAYLOAD_FIELDS_MAX {
            return Err(too_many());
        }
    }
    if items > PAYLOAD_ITEMS_MAX {
        Err(too_many())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Call;

    #[test]
    fn round_trip() {
        let payload = Payload {
            calls: vec![Call {
                id: 7,
                path: "/a".into(),
                ..Call::default()
            }],
            ..Payload::default()
        };
        let encoded = encode_payload(&payload).unwrap();
        assert_eq!(decode_payload(&encoded).unwrap(), payload);
    }

    #[test]
    fn a_call_of_before_tls_is_one_in_the_clear() {
        // What an agent of before wrote, which may wait on its disk: id 7, path `/a`, 3 unknown fields (34), the last one that there was.
        let before = b"\x12\x09\x08\x07\x2a\x02/a\x90\x02\x03";
        let decoded = decode_payload(&zstd::bulk::compress(before, 1).unwrap()).unwrap();
        let call = Call {
            id: 7,
            path: "/a".into(),
            headers_unknown: 3,
            ..Call::default()
        };
        assert_eq!(decoded.calls, [call]);
        assert_eq!(decoded.calls[0].tls, None);
        assert_eq!(decoded.encode_to_vec(), before);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; PAYLOAD_BYTES_MAX + 1], 1).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(matches!(
            decode_payload(&bomb),
            Err(PayloadError::TooLarge { .. })
        ));
    }

    #[test]
    fn small_items_that_would_grow_are_refused() {
        // Field 2 (calls), length 0: two bytes each.
        let calls = [0x12, 0].repeat(PAYLOAD_ITEMS_MAX + 1);
        let refused = decode_payload(&zstd::bulk::compress(&calls, 1).unwrap());
        assert!(matches!(refused, Err(PayloadError::TooMany { .. })));
        // One call with very many empty headers (field 21 of the call).
        let headers = [0xaa, 0x01, 0].repeat(PAYLOAD_FIELDS_MAX + 1);
        let mut call = vec![0x12];
        prost::encoding::encode_varint(headers.len() as u64, &mut call);
        call.extend(headers);
        let refused = decode_payload(&zstd::bulk::compress(&call, 1).unwrap());
        assert!(matches!(refused, Err(PayloadError::TooMany { .. })));
        let calls = [0x12, 0].repeat(1000);
        assert_eq!(
            decode_payload(&zstd::bulk::compress(&calls, 1).unwrap())
                .unwrap()
                .calls
                .len(),
            1000
        );
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(decode_payload(b"not zstd"), Err(PayloadError::Zstd(_))));
    }
}
