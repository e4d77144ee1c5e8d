//! JA4: what a client's hello is like, whatever order it says things in, and whomever it asks for.
//!
//! By the description that FoxIO published (JA4: TLS Client Fingerprinting), which is under the BSD licence; the other members of the
//! family, which are not, are not computed.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::extensions::{ALPN, SERVER_NAME, is_grease};

/// Hex digits that are kept of a hash.
const HASH_DIGITS: usize = 12;

/// Stands for a hash of nothing.
const NOTHING: &str = "000000000000";

/// Largest number that the fingerprint has room for.
const COUNT_MAX: usize = 99;

/// What goes into the fingerprint, as the hello says it.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Version of the hello itself.
    pub version: u16,
    /// Those of the extension, without GREASE; `None` without the extension.
    pub supported_versions: Option<Vec<u16>>,
    /// Cipher suites in their order.
    pub ciphers: Vec<u16>,
    /// Types of extensions in their order.
    pub extensions: Vec<u16>,
    /// First protocol offered.
    pub alpn: Option<Box<[u8]>>,
    /// In their order, without GREASE.
    pub signature_algorithms: Vec<u16>,
}

impl Client {
    /// Bytes that it keeps.
    pub fn bytes(&self) -> usize {
        let versions = self.supported_versions.as_ref().map_or(0, Vec::capacity);
        let shorts = versions
            + self.ciphers.capacity()
            + self.extensions.capacity()
            + self.signature_algorithms.capacity();
        shorts * size_of::<u16>() + self.alpn.as_ref().map_or(0, |name| name.len())
    }

    /// The fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub fn fingerprint(&self) -> String {
        let ciphers = known(&self.ciphers);
        let extensions = known(&self.extensions);
        let version = match &self.supported_versions {
            Some(versions) => versions.iter().copied().max().unwrap_or_default(),
            None => self.version,
        };
        let asks = if extensions.contains(&SERVER_NAME) {
            'd'
        } else {
            'i'
        };
        let [first, last] = ends(self.alpn.as_deref().unwrap_or_default());
        format!(
            "t{}{asks}{:02}{:02}{first}{last}_{}_{}",
            version_name(version),
            ciphers.len().min(COUNT_MAX),
            extensions.len().min(COUNT_MAX),
            cipher_hash(ciphers),
            extension_hash(extensions, &self.signature_algorithms),
        )
    }
}

/// Without those that mean nothing.
fn known(values: &[u16]) -> Vec<u16> {
    values
        .iter()
        .copied()
        .filter(|value| !is_grease(*value))
        .collect()
}

const fn version_name(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of a protocol's identifier; those of its hex digits where one of them is neither letter nor digit.
fn ends(name: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

fn cipher_hash(mut ciphers: Vec<u16>) -> String {
    ciphers.sort_unstable();
    hash(&hex_list(&ciphers))
}

fn extension_hash(mut extensions: Vec<u16>, signature_algorithms: &[u16]) -> String {
    extensions.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
    extensions.sort_unstable();
    let mut list = hex_list(&extensions);
    if !list.is_empty() && !signature_algorithms.is_empty() {
        list.push('_');
        list.push_str(&hex_list(signature_algorithms));
    }
    hash(&list)
}

fn hex_list(values: &[u16]) -> String {
    let mut list = String::with_capacity(values.len() * 5);
    for value in values {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(list, "{comma}{value:04x}");
    }
    list
}

fn hash(list: &str) -> String {
    if list.is_empty() {
        return NOTHING.to_owned();
    }
    let digest = Sha256::digest(list.as_bytes());
    let mut digits = String::with_capacity(HASH_DIGITS);
    for byte in digest.iter().take(HASH_DIGITS / 2) {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
