//! The end that goes the way.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::exchange::Exchange;
use crate::place::Sockets;
use crate::process::{Child, Shared};
use crate::receive::Receiver;
use crate::send::Sender;
use crate::sys;
use crate::table::{Holder, Way};
use crate::trouble::{Done, Trouble, broken};

/// What the server says first, when it is ready; then `done`, or its trouble.
pub const READY: &str = "ready\n";
/// All went well.
pub const DONE: &str = "done\n";
/// What begins its trouble, when the kernel has refused.
pub const REFUSED: &str = "refused ";

struct Server {
    receiver: Receiver,
    sender: Sender,
}

/// Serves everything, says how it went.
pub fn run(
    way: &Way,
    exchanges: &[Exchange],
    sockets: &mut Sockets,
    shared: &'static Shared,
    mut report: impl Write,
) -> i32 {
    let served = serve(way, exchanges, sockets, shared, &mut report);
    let said = match served {
        Ok(()) => report.write_all(DONE.as_bytes()),
        Err(Trouble::Refused(text)) => writeln!(report, "{REFUSED}{text}"),
        Err(Trouble::Broken(text)) => writeln!(report, "server: {text}"),
    };
    i32::from(said.is_err())
}

fn serve(
    way: &Way,
    exchanges: &[Exchange],
    sockets: &mut Sockets,
    shared: &'static Shared,
    report: &mut impl Write,
) -> Done {
    let length = |exchange: &Exchange| exchange.request.0.len().max(exchange.response.0.len());
    let bytes_max = exchanges.iter().map(length).max().unwrap_or_default();
    let mut server = Server {
        receiver: Receiver::new(way.receive, shared, bytes_max)?,
        sender: Sender::new(way.send, shared, bytes_max)?,
    };
    report.write_all(READY.as_bytes()).map_err(broken("write"))?;
    for exchanges in Exchange::connections(exchanges) {
        let socket = sockets.accept()?;
        server.sender.prepare(socket.as_raw_fd())?;
        match way.holder {
            Holder::Acceptor => server.connection(socket.as_raw_fd(), exchanges)?,
            Holder::Duplicates => server.duplicates(socket, exchanges)?,
            Holder::Child => server.children(socket.as_raw_fd(), exchanges)?,
            Holder::Receiver => server.pass_on(socket, exchanges)?,
        }
    }
    Ok(())
}

impl Server {
    fn connection(&mut self, fd: RawFd, exchanges: &[Exchange]) -> Done {
        for exchange in exchanges {
            self.request(fd, exchange)?;
            self.response(fd, exchange)?;
        }
        until_end(fd)
    }

    fn request(&mut self, fd: RawFd, exchange: &Exchange) -> Done {
        let (expected, head) = &exchange.request;
        let mut bytes = vec![0; expected.len()];
        self.receiver.receive(fd, *head, &mut bytes, exchange.number)?;
        let wrong = bytes.iter().zip(expected).position(|(got, sent)| got != sent);
        match wrong {
            None => Ok(()),
            // What was thrown away.
            Some(at) if at == *head && bytes.iter().skip(at).all(|byte| *byte == 0) => Ok(()),
            Some(at) => Err(Trouble::Broken(format!(
                "byte {at} of the request is not what was sent"
            ))),
        }
    }

    fn response(&mut self, fd: RawFd, exchange: &Exchange) -> Done {
        let (bytes, head) = &exchange.response;
        self.sender.send(fd, *head, bytes, exchange.number)
    }

    /// Reads by one number, writes by another; the first is closed.
    fn duplicates(&mut self, socket: OwnedFd, exchanges: &[Exchange]) -> Done {
        let copy = || sys::dup(socket.as_raw_fd()).map_err(broken("dup"));
        let (reader, writer) = (copy()?, copy()?);
        drop(socket);
        for exchange in exchanges {
            self.request(reader.as_raw_fd(), exchange)?;
            self.response(writer.as_raw_fd(), exchange)?;
        }
        until_end(reader.as_raw_fd())
    }

    /// A child for each answer.
    fn children(&mut self, fd: RawFd, exchanges: &[Exchange]) -> Done {
        for exchange in exchanges {
            self.request(fd, exchange)?;
            in_child(|| self.response(fd, exchange))?;
        }
        until_end(fd)
    }

    /// Another process gets the descriptor and does everything.
    fn pass_on(&mut self, socket: OwnedFd, exchanges: &[Exchange]) -> Done {
        let (here, there) = UnixStream::pair().map_err(broken("socketpair"))?;
        // Before it is passed on: the descriptor is not to be inherited.
        let child = Child::run(|| {
            i32::from(
                receive_descriptor(&there)
                    .and_then(|socket| self.connection(socket.as_raw_fd(), exchanges))
                    .inspect_err(|trouble| eprintln!("ways: {trouble}"))
                    .is_err(),
            )
        });
        let child = child.map_err(broken("fork"))?;
        send_descriptor(&here, socket)?;
        ended_well(child)
    }
}

fn in_child(work: impl FnOnce() -> Done) -> Done {
    let child = Child::run(|| {
        i32::from(
            work()
                .inspect_err(|trouble| eprintln!("ways: {trouble}"))
                .is_err(),
        )
    });
    ended_well(child.map_err(broken("fork"))?)
}

fn ended_well(child: Child) -> Done {
    match child.wait().map_err(broken("wait"))? {
        Some(0) => Ok(()),
        how => Err(Trouble::Broken(format!("a child ended with {how:?}"))),
    }
}

/// The client closes first.
fn until_end(fd: RawFd) -> Done {
    match sys::read(fd, &mut [0]).map_err(broken("read"))? {
        0 => Ok(()),
        _ => Err(Trouble::Broken("more than was to be sent".to_owned())),
    }
}

/// `struct cmsghdr` and a descriptor.
fn control(fd: RawFd) -> Vec<u8> {
    let mut bytes = 20_u64.to_ne_bytes().to_vec();
    for word in [libc::SOL_SOCKET, libc::SCM_RIGHTS, fd, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

fn send_descriptor(to: &UnixStream, socket: OwnedFd) -> Done {
    let parts = [std::io::IoSlice::new(b"x")];
    sys::sendmsg(to.as_raw_fd(), &parts, &control(socket.as_raw_fd()), 0).map_err(broken("sendmsg"))?;
    Ok(())
}

fn receive_descriptor(from: &UnixStream) -> Done<OwnedFd> {
    let mut room = control(0);
    let mut byte = [0];
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    sys::recvmsg(from.as_raw_fd(), &mut parts, &mut room, 0).map_err(broken("recvmsg"))?;
    let number = room.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(number) if number > 0 => Ok(sys::received(number)),
        _ => Err(Trouble::Broken("no descriptor came".to_owned())),
    }
}
