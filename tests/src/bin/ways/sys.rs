//! System calls, each the one that its name says: no library chooses another.
//!
//! Invariant: what is handed to the kernel lives until the call returns.

use std::ffi::{c_int, c_long, c_void};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

/// Room for any socket address.
const ADDRESS_BYTES: usize = 128;

/// A system call by its number.
///
/// # Safety
/// Arguments that are addresses must be valid for what the call does with them, for as long as it does.
pub unsafe fn call(number: c_long, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: by the caller.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A call whose first three arguments are a descriptor and a run of memory.
fn transfer(number: c_long, fd: RawFd, address: usize, length: usize, more: [usize; 3]) -> io::Result<usize> {
    let [d, e, f] = more;
    // SAFETY: private to this module: every caller passes memory that it has borrowed for the time of the call.
    unsafe { call(number, [fd as usize, address, length, d, e, f]) }
}

/// read(2).
pub fn read(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    transfer(
        libc::SYS_read,
        fd,
        bytes.as_mut_ptr() as usize,
        bytes.len(),
        [0; 3],
    )
}

/// write(2).
pub fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    transfer(libc::SYS_write, fd, bytes.as_ptr() as usize, bytes.len(), [0; 3])
}

/// readv(2).
pub fn readv(fd: RawFd, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    transfer(
        libc::SYS_readv,
        fd,
        parts.as_mut_ptr() as usize,
        parts.len(),
        [0; 3],
    )
}

/// writev(2).
pub fn writev(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    transfer(libc::SYS_writev, fd, parts.as_ptr() as usize, parts.len(), [0; 3])
}

/// recv: recvfrom(2) that does not ask from whom.
pub fn recv(fd: RawFd, bytes: &mut [u8], flags: c_int) -> io::Result<usize> {
    let address = bytes.as_mut_ptr() as usize;
    transfer(
        libc::SYS_recvfrom,
        fd,
        address,
        bytes.len(),
        [flags as usize, 0, 0],
    )
}

/// recvfrom(2) that asks from whom.
pub fn recvfrom(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    let (mut from, mut length) = ([0_u8; ADDRESS_BYTES], ADDRESS_BYTES as u32);
    let who = [0, from.as_mut_ptr() as usize, &raw mut length as usize];
    transfer(
        libc::SYS_recvfrom,
        fd,
        bytes.as_mut_ptr() as usize,
        bytes.len(),
        who,
    )
}

/// Reads and throws away up to so many bytes: recvfrom(2) with `MSG_TRUNC` and no memory.
pub fn discard(fd: RawFd, length: usize) -> io::Result<usize> {
    transfer(
        libc::SYS_recvfrom,
        fd,
        0,
        length,
        [libc::MSG_TRUNC as usize, 0, 0],
    )
}

/// send: sendto(2) that does not say to whom.
pub fn send(fd: RawFd, bytes: &[u8], flags: c_int) -> io::Result<usize> {
    let flags = (flags | libc::MSG_NOSIGNAL) as usize;
    transfer(
        libc::SYS_sendto,
        fd,
        bytes.as_ptr() as usize,
        bytes.len(),
        [flags, 0, 0],
    )
}

/// sendto(2) that says to whom: the peer.
pub fn sendto(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let (mut peer, mut length) = ([0_u8; ADDRESS_BYTES], ADDRESS_BYTES as u32);
    transfer(
        libc::SYS_getpeername,
        fd,
        peer.as_mut_ptr() as usize,
        &raw mut length as usize,
        [0; 3],
    )?;
    let whom = [
        libc::MSG_NOSIGNAL as usize,
        peer.as_ptr() as usize,
        length as usize,
    ];
    transfer(libc::SYS_sendto, fd, bytes.as_ptr() as usize, bytes.len(), whom)
}

/// A message of these parts.
pub fn message(parts: *const IoSlice<'_>, count: usize, control: &[u8]) -> libc::msghdr {
    libc::msghdr {
        msg_name: null_mut(),
        msg_namelen: 0,
        // An `IoSlice` is an iovec, by its contract.
        msg_iov: parts.cast_mut().cast(),
        msg_iovlen: count,
        msg_control: if control.is_empty() {
            null_mut()
        } else {
            control.as_ptr().cast_mut().cast::<c_void>()
        },
        msg_controllen: control.len(),
        msg_flags: 0,
    }
}

/// recvmsg(2).
pub fn recvmsg(
    fd: RawFd,
    parts: &mut [IoSliceMut<'_>],
    control: &mut [u8],
    flags: c_int,
) -> io::Result<usize> {
    let header = message(parts.as_ptr().cast(), parts.len(), control);
    transfer(
        libc::SYS_recvmsg,
        fd,
        &raw const header as usize,
        flags as usize,
        [0; 3],
    )
}

/// sendmsg(2).
pub fn sendmsg(fd: RawFd, parts: &[IoSlice<'_>], control: &[u8], flags: c_int) -> io::Result<usize> {
    let header = message(parts.as_ptr(), parts.len(), control);
    let flags = (flags | libc::MSG_NOSIGNAL) as usize;
    transfer(libc::SYS_sendmsg, fd, &raw const header as usize, flags, [0; 3])
}

fn messages<'a>(groups: impl Iterator<Item = (*const IoSlice<'a>, usize)>) -> Vec<libc::mmsghdr> {
    let header = |(parts, count)| libc::mmsghdr {
        msg_hdr: message(parts, count, &[]),
        msg_len: 0,
    };
    groups.map(header).collect()
}

/// recvmmsg(2): waits for the first message only. Bytes received into each.
pub fn recvmmsg(fd: RawFd, groups: &mut [Vec<IoSliceMut<'_>>]) -> io::Result<Vec<usize>> {
    let of = |group: &Vec<IoSliceMut<'_>>| (group.as_ptr().cast(), group.len());
    let mut headers = messages(groups.iter().map(of));
    let address = headers.as_mut_ptr() as usize;
    let more = [libc::MSG_WAITFORONE as usize, 0, 0];
    let count = transfer(libc::SYS_recvmmsg, fd, address, headers.len(), more)?;
    Ok(headers
        .iter()
        .take(count)
        .map(|header| header.msg_len as usize)
        .collect())
}

/// sendmmsg(2). Bytes sent of each message.
pub fn sendmmsg(fd: RawFd, groups: &[Vec<IoSlice<'_>>]) -> io::Result<Vec<usize>> {
    let mut headers = messages(groups.iter().map(|group| (group.as_ptr(), group.len())));
    let address = headers.as_mut_ptr() as usize;
    let more = [libc::MSG_NOSIGNAL as usize, 0, 0];
    let count = transfer(libc::SYS_sendmmsg, fd, address, headers.len(), more)?;
    Ok(headers
        .iter()
        .take(count)
        .map(|header| header.msg_len as usize)
        .collect())
}

/// splice(2) without offsets.
pub fn splice(from: RawFd, to: RawFd, length: usize) -> io::Result<usize> {
    // SAFETY: no addresses.
    unsafe { call(libc::SYS_splice, [from as usize, 0, to as usize, 0, length, 0]) }
}

/// sendfile(2) from the file's own place on.
pub fn sendfile(to: RawFd, from: RawFd, length: usize) -> io::Result<usize> {
    // SAFETY: no addresses.
    unsafe { call(libc::SYS_sendfile, [to as usize, from as usize, 0, length, 0, 0]) }
}

/// setsockopt(2).
pub fn set_option(fd: RawFd, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let arguments = [
        fd as usize,
        level as usize,
        name as usize,
        value.as_ptr() as usize,
        value.len(),
        0,
    ];
    // SAFETY: `value` is borrowed for the time of the call.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// setsockopt(2) of a number.
pub fn set_number(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, level, name, &value.to_ne_bytes())
}

/// Takes a descriptor that a call has just made.
fn own(fd: usize) -> OwnedFd {
    // SAFETY: private to this module: the kernel has just made it, nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// dup(2).
pub fn dup(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no addresses.
    unsafe { call(libc::SYS_dup, [fd as usize, 0, 0, 0, 0, 0]) }.map(own)
}

/// A descriptor that was received as a number.
pub fn received(fd: RawFd) -> OwnedFd {
    own(fd as usize)
}

/// A file in memory that holds these bytes, at its begin.
pub fn memory_file(bytes: &[u8]) -> io::Result<std::fs::File> {
    use std::io::{Seek, Write};
    // SAFETY: the name ends with NUL.
    let fd = unsafe { call(libc::SYS_memfd_create, [c"body".as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(own)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Makes further calls on a descriptor fail instead of waiting.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    set_status(fd, libc::O_NONBLOCK)
}

/// Makes them wait again.
pub fn set_blocking(fd: RawFd) -> io::Result<()> {
    set_status(fd, 0)
}

fn set_status(fd: RawFd, status: c_int) -> io::Result<()> {
    let arguments = [fd as usize, libc::F_SETFL as usize, status as usize, 0, 0, 0];
    // SAFETY: no addresses.
    unsafe { call(libc::SYS_fcntl, arguments) }.map(drop)
}

/// Waits for one of `events`, at most so long. What came.
pub fn poll(fd: RawFd, events: i16, milliseconds: c_int) -> io::Result<i16> {
    let mut wait = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: a local.
    let found = unsafe { libc::poll(&raw mut wait, 1, milliseconds) };
    match found {
        1.. => Ok(wait.revents),
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Memory that processes made later share, or (`MAP_32BIT`) that has addresses of 31 bits. Zeroed, never given back.
pub fn map(length: usize, flags: c_int) -> io::Result<&'static mut [u8]> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let address = unsafe { libc::mmap(null_mut(), length, protection, flags | libc::MAP_ANONYMOUS, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has `length` bytes, is never unmapped, and nobody else has it.
    Ok(unsafe { std::slice::from_raw_parts_mut(address.cast(), length) })
}

/// Connects to a TCP port of 127.0.0.1; with a receive buffer of this size, if any.
pub fn connect(port: u16, receive_buffer: Option<c_int>) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: no addresses.
    let socket = unsafe {
        call(
            libc::SYS_socket,
            [libc::AF_INET as usize, kind as usize, 0, 0, 0, 0],
        )
    }
    .map(own)?;
    let fd = socket.as_raw_fd();
    if let Some(bytes) = receive_buffer {
        set_number(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: std::net::Ipv4Addr::LOCALHOST.to_bits().to_be(),
        },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>();
    transfer(libc::SYS_connect, fd, &raw const address as usize, length, [0; 3])?;
    Ok(socket)
}

/// Moves this process into a network namespace of its own, whose loopback interface works.
pub fn leave_network() -> io::Result<()> {
    // SAFETY: no addresses.
    unsafe { call(libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0, 0, 0]) }?;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // struct ifreq: name, then flags.
    let mut request = [0_u8; 40];
    for (to, from) in request.iter_mut().zip(b"lo") {
        *to = *from;
    }
    let up = (libc::IFF_UP as u16).to_ne_bytes();
    for (to, from) in request.iter_mut().skip(libc::IFNAMSIZ).zip(up) {
        *to = from;
    }
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    let (number, address) = (libc::SIOCSIFFLAGS as usize, request.as_mut_ptr() as usize);
    transfer(libc::SYS_ioctl, fd, number, address, [0; 3]).map(drop)
}
