//! What a handshake says about its connection.

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
