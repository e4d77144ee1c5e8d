//! Functions of TLS libraries whose calls use the socket themselves, and whose first argument is the session.

use agent_common::TlsFamily;
use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::{
    call::{self, Action, Call},
    session,
};
use crate::{arch, owner};

macro_rules! functions {
    ($($family:ident { $($(#[doc = $doc:literal])* $name:ident $action:ident, $written:expr;)* })*) => { $($(
        $(#[doc = $doc])*
        #[uprobe]
        pub fn $name(ctx: ProbeContext) -> u32 {
            begins(&ctx, TlsFamily::$family, Action::$action, $written)
        }
    )*)* };
}

functions! {
    // OpenSSL's; BoringSSL and LibreSSL have the same names and arguments.
    OpenSsl {
        /// `SSL_read(ssl, buf, num)`.
        ssl_read Read, None;
        /// `SSL_write(ssl, buf, num)`.
        ssl_write Write, None;
        /// `SSL_read_ex(ssl, buf, num, readbytes)`.
        ssl_read_ex Read, Some(3);
        /// `SSL_write_ex(ssl, buf, num, written)`.
        ssl_write_ex Write, Some(3);
        /// `SSL_write_ex2(ssl, buf, num, flags, written)`.
        ssl_write_ex2 Write, Some(4);
        /// `SSL_sendfile(ssl, fd, offset, size, flags)`.
        ssl_sendfile SendFile, None;
        /// `SSL_do_handshake(ssl)`: uses the socket before any plaintext moves.
        ssl_other None, None;
    }
    GnuTls {
        /// `gnutls_record_recv(session, data, size)`, `gnutls_record_recv_seq(session, data, size, seq)`.
        gnutls_read Read, None;
        /// `gnutls_record_send(session, data, size)`, `gnutls_record_send2(session, data, size, pad, flags)`.
        gnutls_write Write, None;
        /// `gnutls_record_send_file(session, fd, offset, count)`.
        gnutls_sendfile SendFile, None;
        /// `gnutls_handshake(session)`.
        gnutls_other None, None;
    }
}

#[inline(always)]
fn begins(ctx: &ProbeContext, family: TlsFamily, action: Action, written: Option<usize>) -> u32 {
    call::begins(Call {
        ssl: ctx.arg(0).unwrap_or(0),
        stack: arch::stack(ctx.regs),
        buffer: ctx.arg(1).unwrap_or(0),
        written: written.and_then(|argument| ctx.arg(argument)).unwrap_or(0),
        action: action as u32,
        family: family as u32,
    });
    0
}

/// Any of them returns.
#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    call::ends(&ctx);
    0
}

/// `SSL_free(ssl)`, `gnutls_deinit(session)`.
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    if let Some(ssl) = ctx.arg(0) {
        session::tls_over(ssl, owner::pid().into(), 0);
    }
    0
}
