//! `NETLINK_SOCK_DIAG` requests for TCP sockets, and their answers (sock_diag(7), netlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

/// `TCP_LISTEN`.
pub(super) const LISTEN: u8 = 10;

const NLMSG_HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 72;
/// All states (1 ESTABLISHED … 11 CLOSING) but TIME_WAIT, which has no socket any more.
const STATES: u32 = 0x0fff & !1 & !(1 << 6);
/// The kernel fills at most 32 KiB at once.
const RECEIVE_BYTES: usize = 64 << 10;
/// A kernel that does not answer must not hold the agent up.
const ANSWER_TIMEOUT_S: i64 = 5;

/// Address family of a request: sockets of the other one, v4-mapped ones included, are not in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A socket as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiagSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) cookie: u64,
    pub(super) uid: u32,
    pub(super) inode: u32,
    pub(super) state: u8,
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Interrupted,
}

/// Asks for all TCP sockets of a family in the calling thread's network namespace.
///
/// # Errors
/// What the kernel answers or the socket calls return; `EPROTO` for an answer that is no netlink message.
pub(super) fn dump(family: Family, mut found: impl FnMut(&DiagSocket)) -> Result<End, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        flags,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_S, 0))?;
    // Port 0 is the kernel: nobody else can answer.
    connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(netlink.as_raw_fd(), &request(family), MsgFlags::empty())?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    let mut end = End::Complete;
    loop {
        let received = match recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            received => received?,
        };
        if received == 0 {
            return Err(Errno::EPROTO);
        }
        match read_answers(buffer.get(..received).unwrap_or_default(), &mut found, &mut end)? {
            Progress::More => {}
            Progress::Done => return Ok(end),
        }
    }
}

fn request(family: Family) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(NLMSG_HEADER_BYTES + REQUEST_BYTES);
    let length = u32::try_from(NLMSG_HEADER_BYTES + REQUEST_BYTES).unwrap_or_default();
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence and port: one request per socket needs neither.
    bytes.extend_from_slice(&[0; 8]);
    let family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    // Family, protocol, no extensions, padding.
    bytes.extend_from_slice(&[u8::try_from(family as i32).unwrap_or_default(), IPPROTO_TCP, 0, 0]);
    bytes.extend_from_slice(&STATES.to_ne_bytes());
    bytes.resize(NLMSG_HEADER_BYTES + REQUEST_BYTES, 0);
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

fn read_answers(
    mut bytes: &[u8],
    found: &mut impl FnMut(&DiagSocket),
    end: &mut End,
) -> Result<Progress, Errno> {
    while !bytes.is_empty() {
        let mut header = Fields(bytes);
        let length = header
            .u32()
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(Errno::EPROTO)?;
        let kind = header.u16().ok_or(Errno::EPROTO)?;
        let flags = header.u16().ok_or(Errno::EPROTO)?;
        let body = bytes.get(NLMSG_HEADER_BYTES..length).ok_or(Errno::EPROTO)?;
        if flags & NLM_F_DUMP_INTR != 0 {
            *end = End::Interrupted;
        }
        match kind {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let code = Fields(body).u32().ok_or(Errno::EPROTO)?.cast_signed();
                return Err(Errno::from_raw(code.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => {
                if let Some(socket) = read_socket(body) {
                    found(&socket);
                }
            }
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Progress::More)
}

/// `struct inet_diag_msg`: family, state, timer, retransmits; ports and addresses in network order, interface, cookie; expiry,
/// queues, user, inode.
fn read_socket(body: &[u8]) -> Option<DiagSocket> {
    let mut fields = Fields(body.get(..ANSWER_BYTES)?);
    let [family, state, _, _] = fields.array()?;
    let local_port = u16::from_be_bytes(fields.array()?);
    let remote_port = u16::from_be_bytes(fields.array()?);
    let local = address(family, fields.array()?)?;
    let remote = address(family, fields.array()?)?;
    let _interface = fields.u32()?;
    let (low, high) = (fields.u32()?, fields.u32()?);
    let _expires_and_queues: [u8; 12] = fields.array()?;
    let (uid, inode) = (fields.u32()?, fields.u32()?);
    Some(DiagSocket {
        local: SocketAddr::new(local, local_port),
        remote: SocketAddr::new(remote, remote_port),
        cookie: u64::from(high) << 32 | u64::from(low),
        uid,
        inode,
        state,
    })
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    if i32::from(family) == AddressFamily::Inet as i32 {
        let [a, b, c, d, ..] = bytes;
        Some(Ipv4Addr::new(a, b, c, d).into())
    } else if i32::from(family) == AddressFamily::Inet6 as i32 {
        Some(Ipv6Addr::from(bytes).into())
    } else {
        None
    }
}

/// Takes fields from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(NLMSG_HEADER_BYTES + body.len())
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn body() -> Vec<u8> {
        let mut body = vec![2, 1, 0, 0, 0x1f, 0x90, 0xc0, 0x00];
        body.extend_from_slice(&[127, 0, 0, 1]);
        body.resize(8 + 16, 0);
        body.extend_from_slice(&[10, 0, 0, 2]);
        body.resize(8 + 32 + 4, 0);
        body.extend_from_slice(&7_u32.to_ne_bytes());
        body.extend_from_slice(&1_u32.to_ne_bytes());
        body.resize(body.len() + 12, 0);
        body.extend_from_slice(&33_u32.to_ne_bytes());
        body.extend_from_slice(&4242_u32.to_ne_bytes());
        body
    }

    fn read(bytes: &[u8]) -> (Vec<DiagSocket>, Result<Progress, Errno>, End) {
        let (mut found, mut end) = (Vec::new(), End::Complete);
        let progress = read_answers(bytes, &mut |socket| found.push(*socket), &mut end);
        (found, progress, end)
    }

    #[test]
    fn answers() {
        let expected = DiagSocket {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.2:49152".parse().unwrap(),
            cookie: (1 << 32) | 7,
            uid: 33,
            inode: 4242,
            state: 1,
        };
        // Attributes may follow the fixed part.
        let long = [body(), vec![5, 0, 1, 0, 9]].concat();
        let sockets = [
            message(SOCK_DIAG_BY_FAMILY, 2, &body()),
            message(SOCK_DIAG_BY_FAMILY, 2, &long),
        ]
        .concat();
        assert_eq!(
            read(&sockets),
            (vec![expected; 2], Ok(Progress::More), End::Complete)
        );
        let done = [
            message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP_INTR, &body()),
            message(NLMSG_DONE, 0, &[0; 4]),
        ]
        .concat();
        assert_eq!(
            read(&done),
            (vec![expected], Ok(Progress::Done), End::Interrupted)
        );
        let refused = message(NLMSG_ERROR, 0, &(-1_i32).to_ne_bytes());
        assert_eq!(read(&refused), (vec![], Err(Errno::EPERM), End::Complete));
    }

    #[test]
    fn damaged_answers_are_errors() {
        for bytes in [&[0; 3][..], &[0; 16], &[8, 0, 0, 0, 0, 0, 0, 0], &[255; 64]] {
            assert_eq!(read(bytes).1, Err(Errno::EPROTO), "{bytes:?}");
        }
        assert_eq!(read(&message(SOCK_DIAG_BY_FAMILY, 0, &body()[..71])).0, []);
        let mut other_family = body();
        other_family[0] = 1;
        assert_eq!(read(&message(SOCK_DIAG_BY_FAMILY, 0, &other_family)).0, []);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            for bytes in [message(SOCK_DIAG_BY_FAMILY, 0, &bytes), bytes] {
                let (found, _, _) = read(&bytes);
                proptest::prop_assert!(found.len() <= bytes.len() / ANSWER_BYTES);
            }
        }
    }
}
