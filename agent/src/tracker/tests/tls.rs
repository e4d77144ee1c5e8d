//! TLS sessions: connections over connections, whose calls say what the handshake said.

use agent_common::{TLS_SESSION, TlsFamily};

use super::*;

/// A record of a handshake, RFC 8446 4 and 5.1.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut bytes = vec![22, 3, 1];
    bytes.extend((length + 4).to_be_bytes());
    bytes.extend([kind, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn hello(ciphers: &[u8], extension: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session id.
    body.push(0);
    body.extend(ciphers);
    let length = u16::try_from(extension.len()).unwrap();
    body.extend(length.to_be_bytes());
    body.extend(extension);
    body
}

/// One cipher suite, and the name that is asked for.
pub fn client_hello(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let mut extension = vec![0, 0, 0, length + 5, 0, length + 3, 0, 0, length];
    extension.extend(name.as_bytes());
    record(1, &hello(&[0, 2, 0x13, 1, 1, 0], &extension))
}

/// TLS 1.3.
pub fn server_hello() -> Vec<u8> {
    record(2, &hello(&[0x13, 1, 0], &[0, 0x2b, 0, 2, 3, 4]))
}

/// A conversation in TLS of which both ends are on this node.
pub struct Tls {
    /// The sessions.
    pub talk: Talk,
    /// The sockets below them.
    pub client: Socket,
    pub server: Socket,
}

impl Tls {
    pub fn new(n: u16) -> Self {
        let mut talk = Talk::new(n);
        let (mut client, mut server) = (talk.client.clone(), talk.server.clone());
        // What one end sends first, the other receives first.
        let [first, second] = [7_000 * u32::from(n + 1), u32::MAX - 40];
        (client.base, client.next) = ([first, second], [first, second]);
        (server.base, server.next) = ([second, first], [second, first]);
        for (session, socket) in [(&mut talk.client, &client), (&mut talk.server, &server)] {
            session.id = TLS_SESSION | socket.id;
            (session.base, session.next) = ([0; 2], [0; 2]);
            session.session = Some(Session {
                socket: socket.id,
                family: TlsFamily::OpenSsl,
            });
        }
        Self { talk, client, server }
    }

    /// Announces the sockets.
    pub fn opens(&self) -> [Record; 2] {
        [&self.client, &self.server].map(|socket| match socket.open(self.talk.time_ns) {
            Record::Open(open) => Record::TlsOpen(open),
            other => other,
        })
    }

    /// What the hellos are at both ends, `pieces` of each.
    pub fn hellos(&mut self, pieces: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for (from_client, bytes) in [(true, client_hello("Shop.Local")), (false, server_hello())] {
            let (writer, reader) = if from_client {
                (&mut self.client, &mut self.server)
            } else {
                (&mut self.server, &mut self.client)
            };
            for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                for (socket, way) in [(&mut *writer, Way::Out), (&mut *reader, Way::In)] {
                    let chunk = socket.chunk(way, piece, piece.len(), 0, self.talk.time_ns);
                    records.push(match chunk {
                        Record::Chunk(chunk, data) => Record::TlsHello(chunk, data),
                        other => other,
                    });
                }
            }
        }
        records
    }

    /// Calls over the sessions.
    pub fn calls(&mut self, names: &[&str]) -> Vec<Record> {
        for name in names {
            self.talk.call(name, 1);
        }
        self.talk.records.clone()
    }

    /// Ends of the sessions, and of the sockets.
    pub fn closes(&self) -> Vec<Record> {
        let time_ns = self.talk.time_ns + 1;
        [&self.talk.client, &self.talk.server, &self.client, &self.server]
            .iter()
            .map(|socket| closed(socket, time_ns))
            .collect()
    }
}

/// The end of a socket, with its own counts.
pub fn closed(socket: &Socket, time_ns: u64) -> Record {
    match socket.close(time_ns) {
        Record::Close(close) => Record::Close(Close {
            moved: [Way::In, Way::Out].map(|way| socket.moved(way)),
            ..close
        }),
        other => other,
    }
}

fn of<'a>(records: &'a [Record], sockets: &[&Socket]) -> Vec<&'a Record> {
    let is_of = |record: &&Record| sockets.iter().any(|socket| socket.id == record.connection());
    records.iter().filter(is_of).collect()
}

/// In which order both ends come out of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// As the bytes went: who says something comes before who hears it.
    AsSaid,
    /// The server's session is announced first.
    ServerOpensFirst,
    /// All of the server's comes first.
    ServerFirst,
}

#[test]
fn a_call_over_tls_is_told_once_with_what_the_handshake_said() {
    for pieces in [1, 3, 40] {
        for order in [Order::AsSaid, Order::ServerOpensFirst, Order::ServerFirst] {
            let mut tls = Tls::new(1);
            let opens = tls.opens();
            let hellos = tls.hellos(pieces);
            let mut calls = tls.calls(&["a", "b"]);
            calls.sort_by_key(|record| {
                let is_server = record.connection() == tls.talk.server.id;
                match order {
                    Order::AsSaid => false,
                    Order::ServerOpensFirst => !(is_server && matches!(record, Record::Open(_))),
                    Order::ServerFirst => !is_server,
                }
            });
            let mut desk = Desk::new();
            desk.play(&opens).play(&hellos).play(&calls).play(&tls.closes());
            desk.tick(10 * CLOSE_LINGER_NS).finish();
            // Who calls is known of the handshake, whatever is told first.
            let expect = ["a", "b"].map(|name| format!("Server shop>stock /{name} 201"));
            assert_eq!(desk.lines(), expect, "{pieces} {order:?}");
            for call in &desk.calls {
                let told = call.tls.as_ref().unwrap();
                assert_eq!(&*told.library, "openssl");
                assert_eq!(told.facts.server_name.as_deref(), Some("shop.local"));
                assert_eq!(
                    (told.facts.version, told.facts.cipher),
                    (Some(0x304), Some(0x1301))
                );
                assert_eq!(call.server.to_string(), "10.0.0.2:80");
            }
            let counters = desk.tracker.counters();
            assert_eq!((counters.exchanges, counters.exchanges_joined), (2, 2));
            assert_eq!((counters.tls_sockets_opened, counters.tls_hellos_cut), (2, 0));
            assert_eq!((desk.tracker.connections(), desk.tracker.tls_sockets()), (0, 0));
            assert_eq!(desk.tracker.tls.hello_bytes(), 0);
        }
    }
}

#[test]
fn the_end_that_is_decrypted_tells() {
    for server_tells in [true, false] {
        let mut tls = Tls::new(1);
        let opens = tls.opens();
        let hellos = tls.hellos(1);
        let calls = tls.calls(&["a"]);
        let session = if server_tells {
            &tls.talk.server
        } else {
            &tls.talk.client
        };
        let mut desk = Desk::new();
        desk.play(&opens).play(&hellos);
        desk.play(of(&calls, &[session])).play(&tls.closes());
        // Whose the other end is, is known of its handshake.
        let expect = if server_tells {
            "Server shop>stock /a 201"
        } else {
            "Client shop>stock /a 201"
        };
        assert_eq!(desk.lines(), [expect]);
        assert!(desk.calls[0].tls.is_some());
    }
}

#[test]
fn who_says_hello_first_is_the_client() {
    // Of sockets that are older than their roles' announcement, or that are used the other way round.
    for (at_client, at_server) in [
        (Role::Unknown, Role::Unknown),
        (Role::Server, Role::Client),
        (Role::Client, Role::Server),
    ] {
        let mut tls = Tls::new(1);
        (tls.client.role, tls.server.role) = (at_client, at_server);
        let opens = tls.opens();
        let hellos = tls.hellos(2);
        let calls = tls.calls(&["a"]);
        let mut desk = Desk::new();
        desk.play(&opens).play(&hellos).play(&calls);
        let facts = &desk.calls[0].tls.as_ref().unwrap().facts;
        assert_eq!(facts.server_name.as_deref(), Some("shop.local"));
        assert_eq!(facts.version, Some(0x304));
    }
}

#[test]
fn what_is_not_known_of_a_handshake_is_told_as_soon_as_it_is() {
    let mut tls = Tls::new(1);
    let opens = tls.opens();
    let hellos = tls.hellos(1);
    let first = tls.calls(&["a"]);
    let second = tls.calls(&["b"]);
    let mut desk = Desk::new();
    desk.play(&opens).play(&first).play(&hellos);
    desk.play(&second[first.len()..]);
    let names: Vec<_> = (desk.calls.iter())
        .map(|call| call.tls.as_ref().unwrap().facts.server_name.clone())
        .collect();
    assert_eq!(names, [None, Some("shop.local".to_owned())]);
}

#[test]
fn a_hello_with_a_hole_is_read_up_to_it() {
    let mut tls = Tls::new(1);
    let opens = tls.opens();
    let mut hellos = tls.hellos(3);
    let is_of_server = |record: &Record| record.connection() == tls.server.id;
    let middle = hellos
        .iter()
        .enumerate()
        .filter(|(_, record)| is_of_server(record))
        .nth(1);
    let (middle, _) = middle.unwrap();
    hellos.remove(middle);
    let calls = tls.calls(&["a"]);
    let mut desk = Desk::new();
    desk.play(&opens).play(&hellos).play(&calls);
    let told = desk.calls[0].tls.as_ref().unwrap();
    assert_eq!(told.facts.server_name, None);
    assert_eq!(told.facts.version, Some(0x304), "the other way is whole");
    assert_eq!(desk.tracker.counters().tls_hellos_cut, 1);
}

#[test]
fn a_session_between_addresses_that_are_used_again_is_another() {
    let mut desk = Desk::new();
    let mut first = Tls::new(1);
    let opens = first.opens();
    let calls = first.calls(&["a"]);
    desk.play(&opens).play(&calls).play(&first.closes());
    // The same ports again at once; the server's end is not decrypted this time.
    let mut second = Tls::new(2);
    second.talk.time_ns = first.talk.time_ns + 1_000;
    for (new, old) in [
        (&mut second.client, &first.client),
        (&mut second.server, &first.server),
        (&mut second.talk.client, &first.client),
        (&mut second.talk.server, &first.server),
    ] {
        new.tuple = old.tuple;
    }
    let opens = second.opens();
    let calls = second.calls(&["b"]);
    desk.play(&opens).play(of(&calls, &[&second.talk.client]));
    desk.play(&second.closes()).tick(10 * CLOSE_LINGER_NS).finish();
    assert_eq!(
        desk.lines(),
        ["Server shop>stock /a 201", "Client shop>stock /b 201"]
    );
}

#[test]
fn a_session_within_a_tunnel_is_not_the_connection_that_asked_for_it() {
    let mut tls = Tls::new(1);
    // The client's socket speaks HTTP to a proxy first, which is on this node too.
    let mut plain = Talk::new(1);
    plain.say(
        true,
        "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n",
        1,
    );
    plain.say(false, "HTTP/1.1 200 OK\r\n\r\n", 1);
    let calls = tls.calls(&["a"]);
    let mut desk = Desk::new();
    desk.play(&plain.records);
    desk.play(of(&calls, &[&tls.talk.client])).finish();
    assert_eq!(
        desk.lines(),
        ["Server shop>stock far.example:443 200", "Client shop>- /a 201"]
    );
    assert_eq!(desk.tracker.counters().tls_sockets_unannounced, 1);
}

#[test]
fn hellos_that_never_end_keep_no_more_than_there_is_room_for() {
    use crate::tracker::tls::HELLOS_BYTES_MAX;
    // A hello that says it is longer than what comes of it.
    let mut begin = vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb];
    begin.resize(4_000, 3);
    let mut desk = Desk::new();
    let sockets = 2 * HELLOS_BYTES_MAX / begin.len();
    for n in 0..sockets {
        let mut tls = Tls::new(n as u16);
        let [open, _] = tls.opens();
        let Record::Chunk(chunk, data) = tls.client.chunk(Way::Out, &begin, begin.len(), 0, 1) else {
            panic!("no chunk")
        };
        desk.play(&[open, Record::TlsHello(chunk, data)]);
        assert!(desk.tracker.tls.hello_bytes() <= HELLOS_BYTES_MAX);
    }
    let cut = desk.tracker.counters().tls_hellos_cut;
    assert!(cut > 0 && cut < sockets as u64, "{cut} of {sockets}");
    desk.finish();
    assert_eq!(desk.tracker.tls.hello_bytes(), 0);
}
