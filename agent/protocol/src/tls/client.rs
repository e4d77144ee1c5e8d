//! The client's hello (RFC 8446 4.1.2, RFC 5246 7.4.1.2).

use super::Facts;
use super::cursor::{Cursor, shorts};
use super::extensions::{
    ALPN, ALPN_OFFERED_MAX, SERVER_NAME, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, alpn, alpn_text,
    server_name, signature_algorithms, supported_versions,
};
use super::ja4::Client;
use super::messages::{Hello, Step};

/// Bytes of `random`.
const RANDOM_BYTES: usize = 32;

/// Most extensions of a hello that are read. Clients send 5 to 20; nobody registered this many.
pub const EXTENSIONS_MAX: usize = 256;

/// Where its reader is.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// Before the extensions.
    #[default]
    Fixed,
    /// At this offset among extensions that end at that one.
    Extensions { at: usize, end: usize },
}

/// A client's hello, as far as it was read. After one that asks for another try (RFC 8446 4.1.4) there is a second; the first counts.
#[derive(Debug, Default)]
pub(super) struct ClientHello {
    stage: Stage,
    client: Client,
}

/// Why a message cannot be read on.
enum Stop {
    /// It ends here, or it is malformed.
    Short,
    /// More than [`EXTENSIONS_MAX`].
    TooMany,
}

impl Hello for ClientHello {
    const TYPE: u8 = 1;

    fn read(&mut self, body: &[u8], is_whole: bool, facts: &mut Facts) -> Step {
        match self.read_on(body, is_whole, facts) {
            Err(Stop::Short) if is_whole => Step::Over,
            Err(Stop::Short) => Step::More,
            Err(Stop::TooMany) => Step::Cut,
            Ok(()) => {
                facts.ja4 = Some(self.client.fingerprint());
                Step::Over
            }
        }
    }

    fn bytes(&self) -> usize {
        self.client.bytes()
    }
}

impl ClientHello {
    fn read_on(&mut self, body: &[u8], is_whole: bool, facts: &mut Facts) -> Result<(), Stop> {
        if let Stage::Fixed = self.stage {
            self.stage = self.fixed(body, is_whole).ok_or(Stop::Short)?;
        }
        let Stage::Extensions { mut at, end } = self.stage else {
            return Err(Stop::Short);
        };
        while at < end {
            let mut rest = Cursor(body.get(at..end.min(body.len())).ok_or(Stop::Short)?);
            let before = rest.len();
            let (kind, data) = rest.short().zip(rest.vector16()).ok_or(Stop::Short)?;
            at += before - rest.len();
            if self.client.extensions.len() == EXTENSIONS_MAX {
                return Err(Stop::TooMany);
            }
            self.stage = Stage::Extensions { at, end };
            self.extension(kind, data, facts);
        }
        (is_whole && at == body.len()).then_some(()).ok_or(Stop::Short)
    }

    /// Everything up to the extensions.
    fn fixed(&mut self, body: &[u8], is_whole: bool) -> Option<Stage> {
        let mut rest = Cursor(body);
        let version = rest.short()?;
        rest.bytes(RANDOM_BYTES)?;
        let _session = rest.vector8()?;
        let ciphers = rest.vector16()?;
        let _compression = rest.vector8()?;
        // Before TLS 1.3 there need not be any extensions.
        let len = if rest.is_empty() && is_whole {
            0
        } else {
            rest.short()?.into()
        };
        self.client.version = version;
        self.client.ciphers = shorts(ciphers)?;
        let at = body.len() - rest.len();
        Some(Stage::Extensions { at, end: at + len })
    }

    fn extension(&mut self, kind: u16, data: &[u8], facts: &mut Facts) {
        // None may come twice (RFC 8446 4.2).
        let is_first = !self.client.extensions.contains(&kind);
        self.client.extensions.push(kind);
        match kind {
            _ if !is_first => {}
            SERVER_NAME => facts.server_name = server_name(data),
            ALPN => {
                self.client.alpn = alpn(data).next().map(Into::into);
                let known = alpn(data).filter_map(alpn_text);
                facts.alpn_offered = known.take(ALPN_OFFERED_MAX).collect();
            }
            SUPPORTED_VERSIONS => self.client.supported_versions = supported_versions(data),
            SIGNATURE_ALGORITHMS => {
                self.client.signature_algorithms = signature_algorithms(data).unwrap_or_default();
            }
            _ => {}
        }
    }
}
