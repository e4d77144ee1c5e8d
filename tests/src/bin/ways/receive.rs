//! Ways of receiving.

use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use crate::int80::Int80;
use crate::pipe::Pipe;
use crate::process::{self, Shared};
use crate::sys;
use crate::table::Receiving;
use crate::trouble::{Done, Trouble, broken};
use crate::uring::{Operation, Uring, Worker};

/// What a way of receiving needs.
pub struct Receiver {
    way: Receiving,
    shared: &'static Shared,
    uring: Option<Uring>,
    int80: Option<Int80>,
    pipe: Option<Pipe>,
}

/// Lengths of the first parts of a scattered buffer; the rest is the last one. The first is shorter than what tells HTTP.
pub const PARTS: [usize; 2] = [5, 60];

fn parts(bytes: &mut [u8]) -> Vec<IoSliceMut<'_>> {
    let (first, rest) = bytes.split_at_mut(PARTS[0].min(bytes.len()));
    let (second, third) = rest.split_at_mut(PARTS[1].min(rest.len()));
    [first, second, third].map(IoSliceMut::new).into()
}

fn ended(way: Receiving) -> Trouble {
    Trouble::Broken(format!("{way:?}: the peer has ended"))
}

impl Receiver {
    /// Asks the kernel for what the way needs.
    pub fn new(way: Receiving, shared: &'static Shared, bytes_max: usize) -> Done<Self> {
        let operation = match way {
            Receiving::UringRead => Some(Operation::Read),
            Receiving::UringRecv => Some(Operation::Receive),
            Receiving::UringRecvmsg => Some(Operation::ReceiveMessage),
            _ => None,
        };
        Ok(Self {
            way,
            shared,
            uring: operation.map(Uring::new).transpose()?,
            int80: (way == Receiving::Int80)
                .then(|| Int80::new(bytes_max))
                .transpose()?,
            pipe: (way == Receiving::SpliceIn).then(Pipe::new).transpose()?,
        })
    }

    /// Receives the whole of a request of which the head has `head` bytes. `number` is the exchange's. What was thrown away reads
    /// as 0.
    pub fn receive(&mut self, fd: RawFd, head: usize, bytes: &mut [u8], number: usize) -> Done {
        if self.way == Receiving::Restarted {
            let flags = if number.is_multiple_of(2) {
                libc::SA_RESTART
            } else {
                0
            };
            process::handle_interrupts(self.shared, flags).map_err(broken("sigaction"))?;
        }
        self.shared.receiving.store(number as u32 + 1, Ordering::Release);
        let total = bytes.len();
        let mut got = 0;
        while got < total {
            let Some(rest) = bytes.get_mut(got..) else {
                break;
            };
            // Where head and body go different ways, the first part ends with the head.
            let apart = matches!(self.way, Receiving::SpliceIn | Receiving::Trunc);
            let received = if apart && got < head {
                let length = head - got;
                sys::read(fd, rest.get_mut(..length).unwrap_or_default())
            } else {
                self.some(fd, rest, number)
            };
            match received {
                Ok(0) => return Err(ended(self.way)),
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&format!("{:?}", self.way))(error)),
            }
        }
        Ok(())
    }

    fn some(&mut self, fd: RawFd, bytes: &mut [u8], number: usize) -> io::Result<usize> {
        let worker = if number.is_multiple_of(2) {
            Worker::Inline
        } else {
            Worker::Kernel
        };
        match (self.way, &self.uring, &mut self.int80, &self.pipe) {
            (Receiving::Read, ..) => sys::read(fd, bytes),
            (Receiving::Readv, ..) => sys::readv(fd, &mut parts(bytes)),
            (Receiving::Recv | Receiving::Blocking | Receiving::Restarted, ..) => sys::recv(fd, bytes, 0),
            (Receiving::Recvfrom, ..) => sys::recvfrom(fd, bytes),
            (Receiving::Recvmsg, ..) => sys::recvmsg(fd, &mut parts(bytes), &mut [], 0),
            (Receiving::Recvmmsg, ..) => messages(fd, bytes),
            (Receiving::Waitall, ..) => sys::recv(fd, bytes, libc::MSG_WAITALL),
            (Receiving::Trunc, ..) => sys::discard(fd, bytes.len()),
            (Receiving::Peek, ..) => {
                let mut seen = vec![0; bytes.len()];
                let peeked = sys::recv(fd, &mut seen, libc::MSG_PEEK)?;
                let got = sys::recv(fd, bytes, 0)?;
                let same = seen.get(..peeked.min(got)) == bytes.get(..peeked.min(got));
                if same {
                    Ok(got)
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                }
            }
            (Receiving::UringRead, Some(uring), ..) => uring.receive(Operation::Read, worker, fd, bytes),
            (Receiving::UringRecv, Some(uring), ..) => uring.receive(Operation::Receive, worker, fd, bytes),
            (Receiving::UringRecvmsg, Some(uring), ..) => {
                uring.receive_message(worker, fd, &mut parts(bytes))
            }
            (Receiving::SpliceIn, _, _, Some(pipe)) => {
                let moved = sys::splice(fd, pipe.end(), bytes.len().min(Pipe::BYTES))?;
                pipe.take(bytes.get_mut(..moved).unwrap_or_default())
                    .map(|()| moved)
            }
            (Receiving::Int80, _, Some(int80), _) => int80.read(fd, bytes),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Two messages of a stream, put together.
fn messages(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    let half = bytes.len().div_ceil(2);
    let mut buffers = [vec![0; half], vec![0; bytes.len() - half]];
    let mut groups: Vec<_> = buffers
        .iter_mut()
        .filter(|buffer| !buffer.is_empty())
        .map(|buffer| parts(buffer))
        .collect();
    let lengths = sys::recvmmsg(fd, &mut groups)?;
    drop(groups);
    let received = buffers
        .iter()
        .zip(&lengths)
        .flat_map(|(buffer, length)| buffer.iter().take(*length));
    let mut got = 0;
    for (to, from) in bytes.iter_mut().zip(received) {
        *to = *from;
        got += 1;
    }
    Ok(got)
}
