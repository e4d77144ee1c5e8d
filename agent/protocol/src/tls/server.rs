//! The server's hello (RFC 8446 4.1.3, RFC 5246 7.4.1.3).

use super::Facts;
use super::cursor::Cursor;
use super::extensions::{ALPN, SUPPORTED_VERSIONS, alpn, alpn_text};
use super::messages::{Hello, Step};

/// `random` of a hello that asks the client for another try (RFC 8446 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The first version that does not tell its protocol in the clear.
const TLS_1_3: u16 = 0x0304;

/// A server's hello: nothing is kept of a part of one.
#[derive(Debug, Default)]
pub(super) struct ServerHello;

/// What is in one.
struct Read<'a> {
    random: &'a [u8],
    version: u16,
    cipher: u16,
    alpn: Option<String>,
}

impl Hello for ServerHello {
    const TYPE: u8 = 2;

    fn read(&mut self, body: &[u8], is_whole: bool, facts: &mut Facts) -> Step {
        // Which version it is, the last extension may say.
        if !is_whole {
            return Step::More;
        }
        let Some(read) = read(body) else {
            return Step::Over;
        };
        facts.version = Some(read.version);
        facts.cipher = Some(read.cipher);
        facts.alpn = read.alpn.filter(|_| read.version < TLS_1_3);
        if read.random == RETRY {
            Step::Again
        } else {
            Step::Over
        }
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// `None`: malformed.
fn read(body: &[u8]) -> Option<Read<'_>> {
    let mut rest = Cursor(body);
    let version = rest.short()?;
    let random = rest.bytes(RETRY.len())?;
    let _session = rest.vector8()?;
    let cipher = rest.short()?;
    let _compression = rest.byte()?;
    let mut read = Read {
        random,
        version,
        cipher,
        alpn: None,
    };
    // Before TLS 1.3 there need not be any extensions.
    let mut extensions = if rest.is_empty() {
        Cursor(&[])
    } else {
        Cursor(rest.vector16()?)
    };
    while !extensions.is_empty() {
        let kind = extensions.short()?;
        let data = extensions.vector16()?;
        match kind {
            SUPPORTED_VERSIONS => read.version = Cursor(data).short()?,
            ALPN => read.alpn = alpn(data).next().and_then(alpn_text),
            _ => {}
        }
    }
    rest.is_empty().then_some(read)
}
