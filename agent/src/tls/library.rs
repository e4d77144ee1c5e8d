//! What a TLS library is to the capture: which one, which version, and the functions to probe with their places in its file.

use agent_common::TlsFamily;

/// Which library. Names as in every output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LibraryName {
    /// OpenSSL, or what has its interface and does not say which one it is.
    OpenSsl,
    /// BoringSSL, and AWS-LC where it exports the same interface.
    BoringSsl,
    /// LibreSSL.
    LibreSsl,
    /// GnuTLS.
    GnuTls,
    /// NSS, and NSPR through which its connections are read and written.
    Nss,
    /// `crypto/tls` of Go's standard library.
    Go,
    /// rustls.
    Rustls,
}

impl LibraryName {
    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::BoringSsl => "boringssl",
            Self::LibreSsl => "libressl",
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::Go => "go",
            Self::Rustls => "rustls",
        }
    }

    /// Whose interface it has; `None`: there is none that can be probed.
    #[must_use]
    pub const fn family(self) -> Option<TlsFamily> {
        match self {
            Self::OpenSsl | Self::BoringSsl | Self::LibreSsl => Some(TlsFamily::OpenSsl),
            Self::GnuTls => Some(TlsFamily::GnuTls),
            Self::Nss => Some(TlsFamily::Nss),
            Self::Go => Some(TlsFamily::Go),
            Self::Rustls => None,
        }
    }
}

/// A TLS library in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Which one.
    pub name: LibraryName,
    /// Its version as it says it itself (`3.0.15`, `go1.24.4`), printable ASCII of at most
    /// [`VERSION_BYTES_MAX`] bytes; for OpenSSL's kind only where it was cheap to find. A hostile file says what it likes.
    pub version: Option<String>,
    /// How it comes to the program.
    pub linkage: Linkage,
    /// Where its functions are.
    pub functions: Functions,
}

/// Longest version, bytes; longer ones are cut.
pub const VERSION_BYTES_MAX: usize = 64;

/// How a library comes to the program that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// A shared object of its own, which exports its functions.
    Shared,
    /// Part of the program or of another shared object.
    Static,
}

/// Whether the functions to probe were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Functions {
    /// At least one through which plaintext goes; at most one of each [`Function`]. A file without any such, as libcrypto or NSS's
    /// libssl3, is no library by itself: those that they serve are in other files.
    Found(Vec<EntryPoint>),
    /// The library is there without symbols that say where.
    NoSymbols,
    /// The library is there, and is none that can be probed.
    Unsupported,
}

impl Functions {
    /// Those found; empty otherwise.
    #[must_use]
    pub fn found(&self) -> &[EntryPoint] {
        match self {
            Self::Found(points) => points,
            Self::NoSymbols | Self::Unsupported => &[],
        }
    }
}

/// A function of a library and its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// Which.
    pub function: Function,
    /// Of its first instruction: bytes from the begin of the file, as uprobes take it. Lies in an executable segment.
    pub offset: u64,
    /// Go only, empty otherwise: places of its return instructions, in order, each after `offset`. Probes there stand in for return
    /// probes, which break Go's growing stacks.
    pub returns: Vec<u64>,
}

/// Declares [`Function`] with the symbol and the family of each.
macro_rules! functions {
    ($($family:ident { $($(#[$doc:meta])* $variant:ident = $symbol:literal,)+ })+) => {
        /// A function of a TLS library that the capture may probe.
        ///
        /// The families' kernel programs are the loader's business; a function that none is made for is not probed. Some call others
        /// of their library, or jump to them: `SSL_read_early_data` calls `SSL_read_ex`, `SSL_write_early_data` calls `SSL_write_ex`,
        /// `gnutls_record_send_file` calls `gnutls_record_send`, which jumps to `gnutls_record_send2`. What goes through two of them
        /// at once is the same plaintext.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Function {
            $($($(#[$doc])* $variant,)+)+
        }

        impl Function {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)+)+];

            /// Its symbol: the linker's name, or Go's qualified one.
            #[must_use]
            pub const fn symbol(self) -> &'static str {
                match self {
                    $($(Self::$variant => $symbol,)+)+
                }
            }

            /// Whose it is.
            #[must_use]
            pub const fn family(self) -> TlsFamily {
                match self {
                    $($(Self::$variant => TlsFamily::$family,)+)+
                }
            }
        }
    };
}

functions! {
    OpenSsl {
        /// `int SSL_read(SSL *, void *buf, int num)`: bytes read when positive.
        SslRead = "SSL_read",
        /// `int SSL_read_ex(SSL *, void *buf, size_t num, size_t *readbytes)`: `*readbytes` is valid when 1.
        SslReadEx = "SSL_read_ex",
        /// As `SSL_read`; the bytes stay.
        SslPeek = "SSL_peek",
        /// As `SSL_read_ex`; the bytes stay.
        SslPeekEx = "SSL_peek_ex",
        /// `int SSL_write(SSL *, const void *buf, int num)`: bytes written when positive.
        SslWrite = "SSL_write",
        /// `int SSL_write_ex(SSL *, const void *buf, size_t num, size_t *written)`: `*written` is valid when 1.
        SslWriteEx = "SSL_write_ex",
        /// `int SSL_write_ex2(SSL *, const void *buf, size_t num, uint64_t flags, size_t *written)`: `*written` is valid when 1 (OpenSSL 3.3).
        SslWriteEx2 = "SSL_write_ex2",
        /// `ossl_ssize_t SSL_sendfile(SSL *, int fd, off_t offset, size_t size, int flags)`: bytes sent from the file when not negative.
        SslSendfile = "SSL_sendfile",
        /// `int SSL_read_early_data(SSL *, void *buf, size_t num, size_t *readbytes)`: `*readbytes` is valid when 1 or 2.
        SslReadEarlyData = "SSL_read_early_data",
        /// `int SSL_write_early_data(SSL *, const void *buf, size_t num, size_t *written)`: `*written` is valid when 1.
        SslWriteEarlyData = "SSL_write_early_data",
        /// `int SSL_do_handshake(SSL *)`.
        SslDoHandshake = "SSL_do_handshake",
        /// `int SSL_shutdown(SSL *)`.
        SslShutdown = "SSL_shutdown",
        /// `void SSL_free(SSL *)`.
        SslFree = "SSL_free",
        /// `int BIO_write(BIO *, const void *data, int dlen)`: of libcrypto; ciphertext of connections over memory.
        BioWrite = "BIO_write",
        /// `int BIO_read(BIO *, void *data, int dlen)`: of libcrypto; ciphertext of connections over memory.
        BioRead = "BIO_read",
    }
    GnuTls {
        /// `ssize_t gnutls_record_send(gnutls_session_t, const void *data, size_t data_size)`: bytes sent when positive.
        GnutlsRecordSend = "gnutls_record_send",
        /// `ssize_t gnutls_record_send2(gnutls_session_t, const void *data, size_t data_size, size_t pad, unsigned flags)`: as above.
        GnutlsRecordSend2 = "gnutls_record_send2",
        /// `ssize_t gnutls_record_send_early_data(gnutls_session_t, const void *data, size_t data_size)`: all of it when 0.
        GnutlsRecordSendEarlyData = "gnutls_record_send_early_data",
        /// `ssize_t gnutls_record_send_file(gnutls_session_t, int fd, off_t *offset, size_t count)`: bytes sent from the file when positive.
        GnutlsRecordSendFile = "gnutls_record_send_file",
        /// `ssize_t gnutls_record_recv(gnutls_session_t, void *data, size_t data_size)`: bytes received when positive.
        GnutlsRecordRecv = "gnutls_record_recv",
        /// `ssize_t gnutls_record_recv_seq(gnutls_session_t, void *data, size_t data_size, unsigned char *seq)`: as above.
        GnutlsRecordRecvSeq = "gnutls_record_recv_seq",
        /// `ssize_t gnutls_record_recv_packet(gnutls_session_t, gnutls_packet_t *)`: bytes of the packet when positive.
        GnutlsRecordRecvPacket = "gnutls_record_recv_packet",
        /// `ssize_t gnutls_record_recv_early_data(gnutls_session_t, void *data, size_t data_size)`: bytes received when positive.
        GnutlsRecordRecvEarlyData = "gnutls_record_recv_early_data",
        /// `int gnutls_handshake(gnutls_session_t)`.
        GnutlsHandshake = "gnutls_handshake",
        /// `int gnutls_bye(gnutls_session_t, gnutls_close_request_t)`.
        GnutlsBye = "gnutls_bye",
        /// `void gnutls_deinit(gnutls_session_t)`.
        GnutlsDeinit = "gnutls_deinit",
    }
    Nss {
        /// `PRInt32 PR_Read(PRFileDesc *, void *buf, PRInt32 amount)`: bytes read when positive. Of NSPR, for files as for connections.
        PrRead = "PR_Read",
        /// `PRInt32 PR_Write(PRFileDesc *, const void *buf, PRInt32 amount)`: bytes written when positive.
        PrWrite = "PR_Write",
        /// `PRInt32 PR_Writev(PRFileDesc *, const PRIOVec *iov, PRInt32 iov_size, PRIntervalTime)`: bytes written when positive.
        PrWritev = "PR_Writev",
        /// `PRInt32 PR_Recv(PRFileDesc *, void *buf, PRInt32 amount, PRIntn flags, PRIntervalTime)`: bytes read when positive.
        PrRecv = "PR_Recv",
        /// `PRInt32 PR_Send(PRFileDesc *, const void *buf, PRInt32 amount, PRIntn flags, PRIntervalTime)`: bytes written when positive.
        PrSend = "PR_Send",
        /// `PRStatus PR_Close(PRFileDesc *)`.
        PrClose = "PR_Close",
        /// `PRFileDesc *SSL_ImportFD(PRFileDesc *model, PRFileDesc *fd)`: of libssl3; what it returns is a TLS connection over `fd`.
        SslImportFd = "SSL_ImportFD",
        /// `SECStatus SSL_ForceHandshake(PRFileDesc *)`: of libssl3.
        SslForceHandshake = "SSL_ForceHandshake",
    }
    Go {
        /// `func (c *Conn) Read(b []byte) (int, error)`.
        GoRead = "crypto/tls.(*Conn).Read",
        /// `func (c *Conn) Write(b []byte) (int, error)`.
        GoWrite = "crypto/tls.(*Conn).Write",
        /// `func (c *Conn) Close() error`.
        GoClose = "crypto/tls.(*Conn).Close",
        /// `func (c *Conn) CloseWrite() error`.
        GoCloseWrite = "crypto/tls.(*Conn).CloseWrite",
        /// `func (c *Conn) Handshake() error`.
        GoHandshake = "crypto/tls.(*Conn).Handshake",
        /// `func (c *Conn) HandshakeContext(ctx context.Context) error` (Go 1.17).
        GoHandshakeContext = "crypto/tls.(*Conn).HandshakeContext",
    }
}

impl Function {
    /// Whether plaintext goes through it that the process receives.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(
            self,
            Self::SslRead
                | Self::SslReadEx
                | Self::SslReadEarlyData
                | Self::GnutlsRecordRecv
                | Self::GnutlsRecordRecvSeq
                | Self::GnutlsRecordRecvPacket
                | Self::GnutlsRecordRecvEarlyData
                | Self::PrRead
                | Self::PrRecv
                | Self::GoRead
        )
    }

    /// Whether plaintext goes through it that the process sends.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::SslWrite
                | Self::SslWriteEx
                | Self::SslWriteEx2
                | Self::SslSendfile
                | Self::SslWriteEarlyData
                | Self::GnutlsRecordSend
                | Self::GnutlsRecordSend2
                | Self::GnutlsRecordSendEarlyData
                | Self::GnutlsRecordSendFile
                | Self::PrWrite
                | Self::PrWritev
                | Self::PrSend
                | Self::GoWrite
        )
    }
}

/// What became of a library in the processes that use it: the reason that the coverage of a TLS connection is shown with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which; `None` when the file could not be looked into.
    pub library: Option<LibraryName>,
    /// Its version, see [`Library::version`].
    pub version: Option<String>,
    /// What became of it.
    pub state: State,
}

/// See [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its functions are probed.
    Attached,
    /// [`Functions::NoSymbols`].
    NoSymbols,
    /// [`Functions::Unsupported`].
    Unsupported,
    /// The file was refused, with the cause: damaged, beyond a limit, not the file that is mapped.
    Rejected(String),
    /// The kernel refused the probes, with its cause.
    AttachFailed(String),
}

impl State {
    /// Name as in every output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::NoSymbols => "no_symbols",
            Self::Unsupported => "unsupported",
            Self::Rejected(_) => "rejected",
            Self::AttachFailed(_) => "attach_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn symbols_are_distinct_and_each_family_has_both_directions() {
        let symbols: BTreeSet<&str> = Function::ALL.iter().map(|function| function.symbol()).collect();
        assert_eq!(symbols.len(), Function::ALL.len());
        for family in [
            TlsFamily::OpenSsl,
            TlsFamily::GnuTls,
            TlsFamily::Nss,
            TlsFamily::Go,
        ] {
            let of = || {
                Function::ALL
                    .iter()
                    .filter(|function| function.family() == family)
            };
            assert!(of().any(|function| function.reads()), "{family:?}");
            assert!(of().any(|function| function.writes()), "{family:?}");
        }
        for function in Function::ALL {
            assert!(!(function.reads() && function.writes()), "{function:?}");
        }
    }
}
