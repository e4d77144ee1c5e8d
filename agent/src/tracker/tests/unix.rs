//! UNIX connections.

use agent_common::UNIX_ADDRESS;

use super::*;

/// A conversation over a UNIX socket: the numbers of its ends follow from that of the connection.
fn talk(n: u16, name: &[u8]) -> Talk {
    let mut talk = Talk::new(n);
    let mut address = [0; 16];
    address[..8].copy_from_slice(&UNIX_ADDRESS);
    address[8..].copy_from_slice(&u64::from(n).to_ne_bytes());
    for (socket, end, peer_pid) in [(&mut talk.client, 1, 200), (&mut talk.server, 2, 100)] {
        socket.tuple = Tuple {
            local: address,
            remote: address,
            local_port: end,
            remote_port: 3 - end,
        };
        socket.unix = Some(Unix {
            name: name.to_vec(),
            peer_pid,
        });
    }
    // They may be in different networks and share a directory.
    talk.client.owner.netns = 2;
    talk
}

fn addresses(desk: &Desk) -> Vec<(String, String)> {
    let text = |call: &Call| (call.client.to_string(), call.server.to_string());
    desk.calls.iter().map(text).collect()
}

#[test]
fn both_ends_are_one_connection_and_named_by_the_servers_name() {
    for (name, address) in [
        (&b"/run/app.sock\0"[..], "unix:/run/app.sock"),
        (b"\0app", "unix:@app"),
        (b"", "unix:"),
    ] {
        let mut desk = Desk::new();
        let mut first = talk(1, name);
        let mut second = talk(2, name);
        first.call("a", 1).call("b", 2).close();
        second.call("c", 1).close();
        desk.play(&first.records).play(&second.records).finish();
        assert_eq!(
            desk.lines(),
            [
                "Server shop>stock /a 201",
                "Server shop>stock /b 201",
                "Server shop>stock /c 201"
            ]
        );
        for (client, server) in addresses(&desk) {
            assert_eq!((client.as_str(), server.as_str()), ("unix:", address));
        }
        assert_eq!(desk.tracker.counters().exchanges_joined, 3);
    }
}

#[test]
fn a_peer_that_says_nothing_is_known_by_its_credentials() {
    let mut talk = talk(1, b"/run/app.sock");
    talk.call("a", 1).close();
    for (socket, pid, file, expect) in [
        (&talk.server, 100, "/usr/bin/envoy", "Server envoy>stock /a 201"),
        (&talk.client, 200, "/usr/sbin/nginx", "Client shop>nginx /a 201"),
    ] {
        let mut desk = Desk::new();
        desk.exec(pid, file).play(&talk.of(socket)).finish();
        assert_eq!(desk.lines(), [expect]);
    }
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server)).finish();
    assert_eq!(
        desk.lines(),
        ["Server ->stock /a 201"],
        "nobody knows this process"
    );
}

#[test]
fn what_its_process_says_is_better_than_credentials() {
    // The socket was listened on by another process than the one that serves.
    let mut talk = talk(1, b"/run/app.sock");
    talk.call("a", 1).close();
    talk.client.unix = Some(Unix {
        name: b"/run/app.sock".to_vec(),
        peer_pid: 1,
    });
    let mut desk = Desk::new();
    desk.exec(1, "/sbin/init").play(&talk.records).finish();
    assert_eq!(desk.lines(), ["Server shop>stock /a 201"]);
}

#[test]
fn filters_of_ports_do_not_concern_it() {
    // Ends of it have such numbers where others have ports.
    let text = "[[filter.exclude]]\nport = 1\n[[filter.exclude]]\nport = 2\n";
    let filter = policy::CapturePolicy::parse(text).unwrap().filter;
    let mut talk = talk(1, b"/run/app.sock");
    talk.call("a", 1).close();
    let mut desk = Desk::with(10, filter);
    desk.play(&talk.records).finish();
    assert_eq!(desk.lines(), ["Server shop>stock /a 201"]);
}
