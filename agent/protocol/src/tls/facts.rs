//! What a handshake says about its connection.

use std::borrow::Cow;

use tls_parser::TlsCipherSuite;

/// What the hellos of a connection say in the clear. Empty: nothing that is known.
///
/// Numbers are those of the wire: what a client and a server that know more than this crate agree on is a fact, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Version that the server chose: `supported_versions` of its hello (RFC 8446 4.2.1), else the version of the hello itself.
    pub version: Option<u16>,
    /// Cipher suite that the server chose.
    pub cipher: Option<u16>,
    /// Name that the client asked for (RFC 6066 3), lower case.
    pub server_name: Option<String>,
    /// Protocols that the client offered (RFC 7301), in its order. An identifier that is not printable ASCII is left out.
    pub alpn_offered: Vec<String>,
    /// Protocol that the server chose. In TLS 1.3 it is encrypted, and therefore `None`, however few were offered.
    pub alpn: Option<String>,
    /// JA4 fingerprint of the client.
    pub ja4: Option<String>,
}

impl Facts {
    /// Name of the version: `TLS 1.3`; one that is not known as it is on the wire, `0x7f1c`.
    #[must_use]
    pub fn version_name(&self) -> Option<Cow<'static, str>> {
        let name = match self.version? {
            0x0304 => "TLS 1.3",
            0x0303 => "TLS 1.2",
            0x0302 => "TLS 1.1",
            0x0301 => "TLS 1.0",
            0x0300 => "SSL 3.0",
            other => return Some(hex(other)),
        };
        Some(name.into())
    }

    /// Name of the cipher suite in the registry of IANA: `TLS_AES_128_GCM_SHA256`; one that is not known as it is on the wire, `0x00c6`.
    #[must_use]
    pub fn cipher_name(&self) -> Option<Cow<'static, str>> {
        let id = self.cipher?;
        Some(match TlsCipherSuite::from_id(id) {
            Some(suite) => suite.name.into(),
            None => hex(id),
        })
    }
}

fn hex(id: u16) -> Cow<'static, str> {
    format!("{id:#06x}").into()
}
