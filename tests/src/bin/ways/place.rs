//! Where both ends of a way are.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::sys;
use crate::table::{Place, Sending, Way};
use crate::trouble::{Done, Trouble, broken, refused};

/// What both ends find each other by. Made before they part.
pub struct Sockets {
    place: Place,
    how: How,
    /// Of the client.
    receive_buffer: Option<i32>,
}

enum How {
    Tcp(TcpListener, u16),
    Unix(UnixListener, SocketAddr),
    /// Server's and client's ends of each connection.
    Pairs(Vec<(OwnedFd, OwnedFd)>),
}

/// What a client that is to be slow has room for.
const SLOW_BUFFER: i32 = 16 << 10;

// include/uapi/linux/tls.h
const SOL_TLS: i32 = 282;
const TLS_TX: i32 = 1;
const TLS_RX: i32 = 2;
const TLS_1_2: u16 = 0x0303;
const AES_GCM_128: u16 = 51;

/// `tls12_crypto_info_aes_gcm_128` with fixed iv, key, salt and record number: both ends know them without a handshake.
fn keys() -> Vec<u8> {
    let mut info = [TLS_1_2.to_ne_bytes(), AES_GCM_128.to_ne_bytes()].concat();
    info.extend(1..=28_u8);
    info.extend([0; 8]);
    info
}

/// Lets the kernel encrypt (`TLS_TX`) or decrypt (`TLS_RX`) a connection.
fn encrypt(fd: RawFd, way: i32) -> Done {
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls").map_err(refused("TCP_ULP tls"))?;
    sys::set_option(fd, SOL_TLS, way, &keys()).map_err(refused("TLS_TX or TLS_RX"))
}

fn tcp() -> Done<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(broken("bind"))?;
    let port = listener.local_addr().map_err(broken("getsockname"))?.port();
    Ok((listener, port))
}

impl Sockets {
    /// For so many connections. Moves this process where the way is gone.
    pub fn new(way: &Way, connections: usize) -> Done<Self> {
        let own_address = |text: String| SocketAddr::from_abstract_name(text.as_bytes());
        let name = format!("eastwatch-ways-{}", std::process::id());
        let listen = |address: std::io::Result<SocketAddr>| -> Done<How> {
            let address = address.map_err(broken("a UNIX address"))?;
            let listener = UnixListener::bind_addr(&address).map_err(broken("bind"))?;
            Ok(How::Unix(listener, address))
        };
        let how = match way.place {
            Place::Namespace => {
                sys::leave_network().map_err(refused("unshare(CLONE_NEWNET)"))?;
                let (listener, port) = tcp()?;
                How::Tcp(listener, port)
            }
            Place::UnixPath => listen(SocketAddr::from_pathname(std::env::temp_dir().join(name)))?,
            Place::UnixAbstract => listen(own_address(name))?,
            Place::UnixPair => {
                let pair = |_| UnixStream::pair().map(|(server, client)| (server.into(), client.into()));
                let pairs: std::io::Result<Vec<_>> = (0..connections).map(pair).collect();
                How::Pairs(pairs.map_err(broken("socketpair"))?)
            }
            Place::Loopback | Place::TlsSend | Place::TlsReceive => {
                let (listener, port) = tcp()?;
                How::Tcp(listener, port)
            }
        };
        let sockets = Self {
            place: way.place,
            how,
            receive_buffer: (way.send == Sending::Partial).then_some(SLOW_BUFFER),
        };
        sockets.try_encryption()?;
        Ok(sockets)
    }

    /// Whether the kernel can do it is known of a connection only.
    fn try_encryption(&self) -> Done {
        if let (Place::TlsSend | Place::TlsReceive, How::Tcp(listener, port)) = (self.place, &self.how) {
            let client = sys::connect(*port, None).map_err(broken("connect"))?;
            // Only what is connected can be encrypted.
            let _server = listener.accept().map_err(broken("accept"))?;
            encrypt(client.as_raw_fd(), TLS_TX)?;
        }
        Ok(())
    }

    /// Port of the server, where it has one.
    pub fn port(&self) -> Option<u16> {
        match self.how {
            How::Tcp(_, port) => Some(port),
            How::Unix(..) | How::Pairs(_) => None,
        }
    }

    /// The client's end of the next connection.
    pub fn connect(&mut self) -> Done<OwnedFd> {
        let failed = || broken("connect");
        match &mut self.how {
            How::Tcp(_, port) => {
                let socket = sys::connect(*port, self.receive_buffer).map_err(failed())?;
                self.settle(socket, [(Place::TlsSend, TLS_RX), (Place::TlsReceive, TLS_TX)])
            }
            How::Unix(_, address) => Ok(UnixStream::connect_addr(address).map_err(failed())?.into()),
            How::Pairs(pairs) => next(pairs).map(|(_, client)| client),
        }
    }

    /// The server's.
    pub fn accept(&mut self) -> Done<OwnedFd> {
        let failed = || broken("accept");
        match &mut self.how {
            How::Tcp(listener, _) => {
                let socket = listener.accept().map_err(failed())?.0.into();
                self.settle(socket, [(Place::TlsSend, TLS_TX), (Place::TlsReceive, TLS_RX)])
            }
            How::Unix(listener, _) => Ok(listener.accept().map_err(failed())?.0.into()),
            How::Pairs(pairs) => next(pairs).map(|(server, _)| server),
        }
    }

    fn settle(&self, socket: OwnedFd, encryption: [(Place, i32); 2]) -> Done<OwnedFd> {
        let fd = socket.as_raw_fd();
        sys::set_number(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).map_err(broken("TCP_NODELAY"))?;
        if let Some((_, way)) = encryption.iter().find(|(place, _)| *place == self.place) {
            encrypt(fd, *way)?;
        }
        Ok(socket)
    }

    /// Removes what would stay.
    pub fn clean_up(&self) {
        if let How::Unix(_, address) = &self.how
            && let Some(path) = address.as_pathname()
        {
            // Gone already: so much the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The other end of the pair is closed in this process: the other one holds it.
fn next(pairs: &mut Vec<(OwnedFd, OwnedFd)>) -> Done<(OwnedFd, OwnedFd)> {
    if pairs.is_empty() {
        return Err(Trouble::Broken("more connections than pairs".to_owned()));
    }
    Ok(pairs.remove(0))
}
