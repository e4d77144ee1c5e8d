//! The plain end: write(2) and read(2), at the moments that the way asks for.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::exchange::Exchange;
use crate::place::Sockets;
use crate::process::{self, Shared, until};
use crate::sys;
use crate::table::{Receiving, Sending, Way};
use crate::trouble::{Done, Trouble, broken};

/// Segments of a request that one receive takes as a whole.
const SEGMENTS: usize = 3;

/// The client of a way.
pub struct Client<'a> {
    /// The way.
    pub way: &'a Way,
    /// Its server's process.
    pub server: i32,
    /// What they share.
    pub shared: &'static Shared,
}

impl Client<'_> {
    /// All exchanges of all connections. Addresses of its ends, by connection.
    pub fn run(&self, exchanges: &[Exchange], sockets: &mut Sockets) -> Done {
        for exchanges in Exchange::connections(exchanges) {
            let socket = sockets.connect()?;
            for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
                let seconds = process::DEADLINE.as_secs();
                let time = [seconds.to_ne_bytes(), 0_u64.to_ne_bytes()].concat();
                sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, name, &time)
                    .map_err(broken("SO_RCVTIMEO"))?;
            }
            self.connection(socket, exchanges)?;
        }
        Ok(())
    }

    fn connection(&self, socket: OwnedFd, exchanges: &[Exchange]) -> Done {
        let mut socket = File::from(socket);
        for exchange in exchanges {
            self.ask(&mut socket, exchange)?;
            self.hear(&mut socket, exchange)?;
        }
        Ok(())
    }

    fn ask(&self, socket: &mut File, exchange: &Exchange) -> Done {
        let (bytes, _) = &exchange.request;
        let mut write = |bytes: &[u8]| socket.write_all(bytes).map_err(broken("client: write"));
        match self.way.receive {
            Receiving::Waitall => {
                for part in bytes.chunks(bytes.len().div_ceil(SEGMENTS)) {
                    self.until_server_waits(exchange)?;
                    write(part)?;
                }
                Ok(())
            }
            Receiving::Blocking => {
                self.until_server_waits(exchange)?;
                write(bytes)
            }
            Receiving::Restarted => {
                self.until_server_waits(exchange)?;
                let before = self.shared.interrupted.load(Ordering::Acquire);
                process::interrupt(self.server).map_err(broken("kill"))?;
                until("the server handles a signal", || {
                    self.shared.interrupted.load(Ordering::Acquire) > before
                })?;
                self.until_server_waits(exchange)?;
                write(bytes)
            }
            _ => write(bytes),
        }
    }

    /// In the call that receives this request.
    fn until_server_waits(&self, exchange: &Exchange) -> Done {
        until("the server waits for the request", || {
            self.shared.receiving.load(Ordering::Acquire) == exchange.number as u32 + 1
                && process::waits_in(self.server, libc::SYS_recvfrom)
        })
    }

    fn hear(&self, socket: &mut File, exchange: &Exchange) -> Done {
        let (expected, head) = &exchange.response;
        if self.way.send == Sending::Partial {
            until("the server finds its socket full", || {
                self.shared.full.load(Ordering::Acquire) == exchange.number as u32 + 1
            })?;
        }
        let whole = if self.way.receive == Receiving::Trunc {
            *head
        } else {
            expected.len()
        };
        let mut bytes = vec![0; whole];
        socket.read_exact(&mut bytes).map_err(broken("client: read"))?;
        if expected.get(..whole) != Some(bytes.as_slice()) {
            return Err(Trouble::Broken("the response is not what was sent".to_owned()));
        }
        let mut left = expected.len() - whole;
        while left > 0 {
            match sys::discard(socket.as_raw_fd(), left).map_err(broken("client: MSG_TRUNC"))? {
                0 => return Err(Trouble::Broken("client: the server has ended".to_owned())),
                gone => left -= gone,
            }
        }
        Ok(())
    }
}
