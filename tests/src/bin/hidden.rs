//! A connection with itself that looks like TLS and goes through no library: two hellos, then bytes that mean nothing.
//!
//! Each line of its standard input is done, and then answered with `done`: `open` connects and says both hellos, a number moves so many
//! bytes each way, `close` closes. Hellos have [`HELLO_BYTES`] bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "support for tests: a panic is how a test fails"
)]

use std::io::{Read, Write, stdin};
use std::net::{TcpListener, TcpStream};

/// Bytes of a hello: a record with nothing but its kind and zeroes.
const HELLO_BYTES: usize = 200;

/// RFC 8446 4 and 5.1: a record of a handshake, with a message of this kind.
fn hello(kind: u8) -> Vec<u8> {
    let length = u8::try_from(HELLO_BYTES - 5).unwrap();
    let mut bytes = vec![22, 3, 1, 0, length, kind, 0, 0, length - 4, 3, 3];
    bytes.resize(HELLO_BYTES, 0);
    bytes
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    to.read_exact(&mut vec![0; bytes.len()]).unwrap();
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut ends = None;
    for line in stdin().lines() {
        match (line.unwrap().as_str(), &mut ends) {
            ("open", _) => {
                let mut client = TcpStream::connect(address).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                pass(&mut client, &mut server, &hello(1));
                pass(&mut server, &mut client, &hello(2));
                ends = Some((client, server));
            }
            ("close", _) => ends = None,
            (count, Some((client, server))) => {
                let bytes = vec![0x17; count.parse().unwrap()];
                pass(client, server, &bytes);
                pass(server, client, &bytes);
            }
            (line, None) => panic!("`{line}` without a connection"),
        }
        println!("done");
    }
}
