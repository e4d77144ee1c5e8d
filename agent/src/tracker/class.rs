//! What carried bytes, as far as a user has to know it: plaintext HTTP, TLS that is decrypted or not, something else.

use agent_common::TlsFamily;

/// What carries bytes. The names of libraries and reasons are the program's own, so that there are only so many classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// HTTP, as it is on the socket.
    Http,
    /// TLS of which the plaintext is read.
    Decrypted {
        /// Whose functions give it, see [`family_name`].
        library: &'static str,
    },
    /// TLS of which only ciphertext is seen.
    Undecrypted {
        /// Which library, as far as that is known; empty where it is not.
        library: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// What was taken for HTTP and is not, or is no more.
    Other,
}

impl Class {
    /// Name as on the wire and in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Decrypted { .. } => "tls_decrypted",
            Self::Undecrypted { .. } => "tls_undecrypted",
            Self::Other => "other",
        }
    }

    /// TLS library; empty where there is none, or nobody knows which.
    #[must_use]
    pub const fn library(self) -> &'static str {
        match self {
            Self::Decrypted { library } | Self::Undecrypted { library, .. } => library,
            Self::Http | Self::Other => "",
        }
    }

    /// Why it is not decrypted; empty for everything else.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Undecrypted { reason, .. } => reason,
            Self::Http | Self::Decrypted { .. } | Self::Other => "",
        }
    }
}

/// Name of a family of TLS libraries, as in every output.
#[must_use]
pub const fn family_name(family: TlsFamily) -> &'static str {
    match family {
        TlsFamily::OpenSsl => "openssl",
        TlsFamily::GnuTls => "gnutls",
        TlsFamily::Nss => "nss",
        TlsFamily::Go => "go",
    }
}
