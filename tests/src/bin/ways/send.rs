//! Ways of sending.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;

use crate::int80::Int80;
use crate::pipe::Pipe;
use crate::process::{DEADLINE, Shared};
use crate::receive::PARTS;
use crate::sys;
use crate::table::Sending;
use crate::trouble::{Done, broken, refused};
use crate::uring::{Operation, Uring, Worker};

/// Most bytes of one zero copy send of `errqueue`.
const ERRQUEUE_PART: usize = 700;
/// Room that a socket gets which is to be full soon.
const SMALL_BUFFER: i32 = 4096;
// include/uapi/linux/net_tstamp.h: SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE
const TIMESTAMPING: i32 = 1 << 1 | 1 << 4;

/// What a way of sending needs.
pub struct Sender {
    way: Sending,
    shared: &'static Shared,
    uring: Option<Uring>,
    int80: Option<Int80>,
    pipe: Option<Pipe>,
}

fn parts(bytes: &[u8]) -> Vec<IoSlice<'_>> {
    let (first, rest) = bytes.split_at(PARTS[0].min(bytes.len()));
    let (second, third) = rest.split_at(PARTS[1].min(rest.len()));
    [first, second, third].map(IoSlice::new).into()
}

impl Sender {
    /// Asks the kernel for what the way needs.
    pub fn new(way: Sending, shared: &'static Shared, bytes_max: usize) -> Done<Self> {
        let operation = match way {
            Sending::UringWrite => Some(Operation::Write),
            Sending::UringSend => Some(Operation::Send),
            Sending::UringSendmsg => Some(Operation::SendMessage),
            Sending::UringSendZc => Some(Operation::SendZeroCopy),
            _ => None,
        };
        Ok(Self {
            way,
            shared,
            uring: operation.map(Uring::new).transpose()?,
            int80: (way == Sending::Int80)
                .then(|| Int80::new(bytes_max))
                .transpose()?,
            pipe: (way == Sending::SpliceOut).then(Pipe::new).transpose()?,
        })
    }

    /// Prepares a connection.
    pub fn prepare(&self, fd: RawFd) -> Done {
        let socket =
            |name, value, what| sys::set_number(fd, libc::SOL_SOCKET, name, value).map_err(refused(what));
        match self.way {
            Sending::Zerocopy => socket(libc::SO_ZEROCOPY, 1, "SO_ZEROCOPY"),
            Sending::Errqueue => {
                socket(libc::SO_ZEROCOPY, 1, "SO_ZEROCOPY")?;
                socket(libc::SO_TIMESTAMPING, TIMESTAMPING, "SO_TIMESTAMPING")
            }
            Sending::Partial => socket(libc::SO_SNDBUF, SMALL_BUFFER, "SO_SNDBUF"),
            _ => Ok(()),
        }
    }

    /// Sends the whole of a response of which the head has `head` bytes. `number` is the exchange's.
    pub fn send(&mut self, fd: RawFd, head: usize, bytes: &[u8], number: usize) -> Done {
        let failed = |error| broken(&format!("{:?}", self.way))(error);
        match self.way {
            Sending::Partial => self.as_there_is_room(fd, bytes, number).map_err(failed),
            Sending::Errqueue => with_completions(fd, bytes).map_err(failed),
            Sending::Zerocopy => zero_copy(fd, bytes)
                .and_then(|sends| completions(fd, sends))
                .map_err(failed),
            Sending::Sendfile | Sending::SpliceOut => {
                let (first, body) = bytes.split_at(head);
                all(first, |rest| sys::write(fd, rest)).map_err(failed)?;
                if self.way == Sending::Sendfile {
                    sendfile(fd, body).map_err(failed)
                } else {
                    self.splice(fd, body).map_err(failed)
                }
            }
            _ => {
                let mut sent = 0;
                while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                    sent += self
                        .some(fd, rest, number)
                        .map_err(|error| broken(&format!("{:?}", self.way))(error))?;
                }
                Ok(())
            }
        }
    }

    fn some(&mut self, fd: RawFd, bytes: &[u8], number: usize) -> io::Result<usize> {
        let worker = if number.is_multiple_of(2) {
            Worker::Inline
        } else {
            Worker::Kernel
        };
        match (self.way, &self.uring, &mut self.int80) {
            (Sending::Write, ..) => sys::write(fd, bytes),
            (Sending::Writev, ..) => sys::writev(fd, &parts(bytes)),
            (Sending::Send, ..) => sys::send(fd, bytes, 0),
            (Sending::Sendto, ..) => sys::sendto(fd, bytes),
            (Sending::Sendmsg, ..) => sys::sendmsg(fd, &parts(bytes), &[], 0),
            (Sending::Sendmmsg, ..) => {
                let (first, second) = bytes.split_at(bytes.len().div_ceil(2));
                let groups: Vec<_> = [first, second]
                    .into_iter()
                    .filter(|half| !half.is_empty())
                    .map(parts)
                    .collect();
                // Only the last of those that were sent can be short.
                sys::sendmmsg(fd, &groups).map(|sent| sent.iter().sum())
            }
            (Sending::UringWrite, Some(uring), _) => uring.send(Operation::Write, worker, fd, bytes),
            (Sending::UringSend, Some(uring), _) => uring.send(Operation::Send, worker, fd, bytes),
            (Sending::UringSendmsg, Some(uring), _) => uring.send_message(worker, fd, &parts(bytes)),
            (Sending::UringSendZc, Some(uring), _) => uring.send(Operation::SendZeroCopy, worker, fd, bytes),
            (Sending::Int80, _, Some(int80)) => int80.write(fd, bytes),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Body through a pipe.
    fn splice(&self, fd: RawFd, bytes: &[u8]) -> io::Result<()> {
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        for part in bytes.chunks(Pipe::BYTES) {
            pipe.put(part)?;
            let mut moved = 0;
            while moved < part.len() {
                moved += sys::splice(pipe.begin(), fd, part.len() - moved)?;
            }
        }
        Ok(())
    }

    /// Until the socket is full, then when it has room again.
    fn as_there_is_room(&self, fd: RawFd, bytes: &[u8], number: usize) -> io::Result<()> {
        sys::set_nonblocking(fd)?;
        let (mut sent, mut was_full) = (0, false);
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match sys::write(fd, rest) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    was_full = true;
                    self.shared.full.store(number as u32 + 1, Ordering::Release);
                    sys::poll(fd, libc::POLLOUT, DEADLINE.as_millis() as i32)?;
                }
                Err(error) => return Err(error),
            }
        }
        // For the next request.
        sys::set_blocking(fd)?;
        if !was_full {
            return Err(io::Error::other("the socket was never full"));
        }
        Ok(())
    }
}

fn all(bytes: &[u8], send: impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send(rest)?;
    }
    Ok(())
}

fn sendfile(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    let file = sys::memory_file(bytes)?;
    let mut sent = 0;
    while sent < bytes.len() {
        match sys::sendfile(fd, file.as_raw_fd(), bytes.len() - sent)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => sent += more,
        }
    }
    Ok(())
}

/// How many sends it took: so many completions will come.
fn zero_copy(fd: RawFd, bytes: &[u8]) -> io::Result<u32> {
    let (mut sent, mut sends) = (0, 0);
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += sys::send(fd, rest, libc::MSG_ZEROCOPY)?;
        sends += 1;
    }
    Ok(sends)
}

/// Small parts, and after each what the error queue holds.
fn with_completions(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    for part in bytes.chunks(ERRQUEUE_PART) {
        let sends = zero_copy(fd, part)?;
        completions(fd, sends)?;
    }
    Ok(())
}

/// Reads the error queue until `sends` zero copy sends are said to be complete. Time stamps come there too, with a copy of the packet.
fn completions(fd: RawFd, sends: u32) -> io::Result<()> {
    let mut complete = 0;
    while complete < sends {
        let (mut control, mut bytes) = ([0_u8; 512], [0_u8; 4096]);
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        match sys::recvmsg(
            fd,
            &mut parts,
            &mut control,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        ) {
            Ok(_) => complete += completed(&control),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sys::poll(fd, 0, DEADLINE.as_millis() as i32)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many sends a control message says are complete: a `sock_extended_err` of that origin gives the first and the last.
fn completed(control: &[u8]) -> u32 {
    const HEADER: usize = 16;
    const ORIGIN: usize = 4;
    // include/uapi/linux/errqueue.h: SO_EE_ORIGIN_ZEROCOPY
    const ORIGIN_ZEROCOPY: u8 = 5;
    let word = |at: usize| -> Option<u32> {
        let bytes = control.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mut at = 0;
    while let Some(length) = word(at).filter(|length| *length as usize > HEADER) {
        let kind = (word(at + 8), word(at + 12));
        let is_error = kind == (Some(libc::SOL_IP as u32), Some(libc::IP_RECVERR as u32));
        let origin = control.get(at + HEADER + ORIGIN).copied();
        if is_error
            && origin == Some(ORIGIN_ZEROCOPY)
            && let (Some(first), Some(last)) = (word(at + HEADER + 8), word(at + HEADER + 12))
        {
            return last.wrapping_sub(first) + 1;
        }
        at += (length as usize).next_multiple_of(8);
    }
    0
}
