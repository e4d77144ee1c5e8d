//! The ways.

/// How the server gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// read(2): what is not the way's concern.
    Read,
    /// readv(2) into three parts.
    Readv,
    /// recvfrom(2) without an address.
    Recv,
    /// recvfrom(2) with one.
    Recvfrom,
    /// recvmsg(2) into three parts.
    Recvmsg,
    /// recvmmsg(2) of two messages.
    Recvmmsg,
    /// `IORING_OP_READ`.
    UringRead,
    /// `IORING_OP_RECV`.
    UringRecv,
    /// `IORING_OP_RECVMSG`.
    UringRecvmsg,
    /// The head by read(2), the body by splice(2) into a pipe.
    SpliceIn,
    /// `MSG_PEEK` before each recv.
    Peek,
    /// The head by read(2), the body thrown away with `MSG_TRUNC`; the client does the same with the response's.
    Trunc,
    /// One recv with `MSG_WAITALL`, satisfied by several segments.
    Waitall,
    /// A recv that waits before the first byte comes.
    Blocking,
    /// The same, interrupted by a signal: restarted by the kernel, or begun anew after `EINTR`.
    Restarted,
    /// The 32-bit read(2).
    Int80,
}

/// How the server sends a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// write(2): what is not the way's concern.
    Write,
    /// writev(2) of three parts.
    Writev,
    /// sendto(2) without an address.
    Send,
    /// sendto(2) with one.
    Sendto,
    /// sendmsg(2) of three parts.
    Sendmsg,
    /// sendmmsg(2) of two messages.
    Sendmmsg,
    /// `IORING_OP_WRITE`.
    UringWrite,
    /// `IORING_OP_SEND`.
    UringSend,
    /// `IORING_OP_SENDMSG`.
    UringSendmsg,
    /// `IORING_OP_SEND_ZC`.
    UringSendZc,
    /// The head by write(2), the body by sendfile(2).
    Sendfile,
    /// The head by write(2), the body by splice(2) out of a pipe.
    SpliceOut,
    /// `MSG_ZEROCOPY`, its completions read when all is sent.
    Zerocopy,
    /// The same in parts, completions and time stamps (which carry bytes) read with `MSG_ERRQUEUE` between them.
    Errqueue,
    /// In parts, as the socket has room.
    Partial,
    /// The 32-bit write(2).
    Int80,
}

/// Where both ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP over the loopback interface.
    Loopback,
    /// The same in a network namespace of their own.
    Namespace,
    /// A UNIX socket with a path.
    UnixPath,
    /// A UNIX socket with an abstract name.
    UnixAbstract,
    /// socketpair(2).
    UnixPair,
    /// TCP, the response encrypted by the kernel.
    TlsSend,
    /// TCP, the request encrypted by the kernel.
    TlsReceive,
}

/// Who holds the server's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Who accepted it.
    Acceptor,
    /// The same, by other numbers; the first is closed.
    Duplicates,
    /// A child answers what its parent read.
    Child,
    /// Another process, which got it over a UNIX socket.
    Receiver,
}

/// A way.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Name.
    pub name: &'static str,
    /// Of requests.
    pub receive: Receiving,
    /// Of responses.
    pub send: Sending,
    /// Where.
    pub place: Place,
    /// By whom.
    pub holder: Holder,
}

impl Way {
    const fn receiving(name: &'static str, receive: Receiving) -> Self {
        Self {
            name,
            receive,
            send: Sending::Write,
            place: Place::Loopback,
            holder: Holder::Acceptor,
        }
    }

    const fn sending(name: &'static str, send: Sending) -> Self {
        Self {
            send,
            ..Self::receiving(name, Receiving::Read)
        }
    }

    const fn held(name: &'static str, holder: Holder) -> Self {
        Self {
            holder,
            ..Self::receiving(name, Receiving::Read)
        }
    }

    const fn at(name: &'static str, place: Place) -> Self {
        Self {
            place,
            ..Self::receiving(name, Receiving::Read)
        }
    }

    /// Whether its connections are of TCP.
    pub const fn is_tcp(&self) -> bool {
        !matches!(
            self.place,
            Place::UnixPath | Place::UnixAbstract | Place::UnixPair
        )
    }

    /// Whether it is not the calls that make the way.
    pub fn is_carried_whole(&self) -> bool {
        self.place != Place::Loopback || self.holder != Holder::Acceptor
    }
}

/// All of them.
pub const WAYS: [Way; 40] = [
    Way::receiving("read", Receiving::Read),
    Way::receiving("readv", Receiving::Readv),
    Way::receiving("recv", Receiving::Recv),
    Way::receiving("recvfrom", Receiving::Recvfrom),
    Way::receiving("recvmsg", Receiving::Recvmsg),
    Way::receiving("recvmmsg", Receiving::Recvmmsg),
    Way::sending("write", Sending::Write),
    Way::sending("writev", Sending::Writev),
    Way::sending("send", Sending::Send),
    Way::sending("sendto", Sending::Sendto),
    Way::sending("sendmsg", Sending::Sendmsg),
    Way::sending("sendmmsg", Sending::Sendmmsg),
    Way::receiving("uring-read", Receiving::UringRead),
    Way::receiving("uring-recv", Receiving::UringRecv),
    Way::receiving("uring-recvmsg", Receiving::UringRecvmsg),
    Way::sending("uring-write", Sending::UringWrite),
    Way::sending("uring-send", Sending::UringSend),
    Way::sending("uring-sendmsg", Sending::UringSendmsg),
    Way::sending("uring-send-zc", Sending::UringSendZc),
    Way::sending("sendfile", Sending::Sendfile),
    Way::sending("splice-out", Sending::SpliceOut),
    Way::receiving("splice-in", Receiving::SpliceIn),
    Way::sending("zerocopy", Sending::Zerocopy),
    Way::receiving("peek", Receiving::Peek),
    Way::receiving("trunc", Receiving::Trunc),
    Way::sending("errqueue", Sending::Errqueue),
    Way::receiving("waitall", Receiving::Waitall),
    Way::receiving("blocking", Receiving::Blocking),
    Way::receiving("restarted", Receiving::Restarted),
    Way::sending("nonblocking-partial", Sending::Partial),
    Way::held("dup", Holder::Duplicates),
    Way::held("fork", Holder::Child),
    Way::held("scm-rights", Holder::Receiver),
    Way::at("netns", Place::Namespace),
    Way::at("unix-path", Place::UnixPath),
    Way::at("unix-abstract", Place::UnixAbstract),
    Way::at("unix-pair", Place::UnixPair),
    Way::at("ktls-send", Place::TlsSend),
    Way::at("ktls-recv", Place::TlsReceive),
    Way {
        send: Sending::Int80,
        ..Way::receiving("int80", Receiving::Int80)
    },
];
