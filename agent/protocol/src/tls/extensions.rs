//! Extensions of hellos that say something of the connection.

use std::net::Ipv4Addr;

use super::cursor::{Cursor, shorts};

/// Numbers of extensions (IANA, TLS ExtensionType Values).
pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;

/// Most protocols kept of those that a client offers; the first ones. Clients offer two, programs that try everything a dozen.
pub const ALPN_OFFERED_MAX: usize = 16;

/// Longest DNS name (RFC 1035 2.3.4), written without the dot of the root.
const NAME_BYTES_MAX: usize = 253;

/// Longest label of one.
const LABEL_BYTES_MAX: usize = 63;

/// Values that mean nothing, of which clients sprinkle some so that servers learn to ignore what they do not know (RFC 8701 2).
pub(super) const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// The host name of a client's `server_name` (RFC 6066 3), lower case. Only names of the DNS are allowed there: what has another form, or
/// is the literal of an address, is none.
pub(super) fn server_name(data: &[u8]) -> Option<String> {
    const HOST_NAME: u8 = 0;
    let mut names = Cursor(Cursor(data).vector16()?);
    while !names.is_empty() {
        let kind = names.byte()?;
        let name = names.vector16()?;
        if kind == HOST_NAME {
            return host_name(name);
        }
    }
    None
}

fn host_name(name: &[u8]) -> Option<String> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_label = |label: &[u8]| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
    };
    if name.len() > NAME_BYTES_MAX || !name.split(|b| *b == b'.').all(is_label) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    name.parse::<Ipv4Addr>().is_err().then_some(name)
}

/// Identifiers of an ALPN list (RFC 7301 3.1), as they are.
pub(super) fn alpn(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut names = Cursor(Cursor(data).vector16().unwrap_or_default());
    std::iter::from_fn(move || names.vector8()).filter(|name| !is_grease_name(name))
}

/// RFC 8701 2: two equal bytes.
fn is_grease_name(name: &[u8]) -> bool {
    <[u8; 2]>::try_from(name).is_ok_and(|pair| is_grease(u16::from_be_bytes(pair)))
}

/// An identifier as text: all that are registered are printable ASCII, and no other is kept.
pub(super) fn alpn_text(name: &[u8]) -> Option<String> {
    let is_text = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let text = is_text.then(|| std::str::from_utf8(name).ok()).flatten()?;
    Some(text.to_owned())
}

/// Versions that a client knows (RFC 8446 4.2.1), without those that mean nothing.
pub(super) fn supported_versions(data: &[u8]) -> Option<Vec<u16>> {
    without_grease(shorts(Cursor(data).vector8()?)?)
}

/// Signature algorithms that a client accepts (RFC 8446 4.2.3), in its order, without those that mean nothing.
pub(super) fn signature_algorithms(data: &[u8]) -> Option<Vec<u16>> {
    without_grease(shorts(Cursor(data).vector16()?)?)
}

fn without_grease(mut values: Vec<u16>) -> Option<Vec<u16>> {
    values.retain(|value| !is_grease(*value));
    Some(values)
}
