//! Against the running kernel: real connections, real namespaces.

use std::io::Write;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    socket as new_socket,
};

use super::*;

const PROC: &str = "/proc";

fn own_netns() -> u32 {
    u32::try_from(std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()).unwrap()
}

fn inode_of_socket(fd: &impl AsRawFd) -> u64 {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    let text = link.to_str().unwrap();
    text["socket:[".len()..text.len() - 1].parse().unwrap()
}

/// Only one end of a connection has a given local address.
fn find(snapshot: &Snapshot, netns: u32, local: SocketAddr, remote: SocketAddr) -> Option<&ExistingSocket> {
    let (local, remote) = (canonical(local), canonical(remote));
    snapshot
        .sockets
        .iter()
        .find(|s| s.netns == netns && s.local == local && s.remote == remote)
}

/// A connection to a listener: the client's end and the server's.
fn connect(listen: &str, to: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(listen).unwrap();
    let client = TcpStream::connect((to, listener.local_addr().unwrap().port())).unwrap();
    let server = listener.accept().unwrap().0;
    (listener, client, server)
}

fn check_both_ends(snapshot: &Snapshot, netns: u32, client: &TcpStream, server: &TcpStream) {
    for (stream, role) in [(client, Role::Client), (server, Role::Server)] {
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let socket =
            find(snapshot, netns, local, remote).unwrap_or_else(|| panic!("{local} → {remote} not found"));
        assert_eq!(socket.inode, inode_of_socket(stream));
        assert_eq!(socket.state, TcpState::ESTABLISHED);
        assert_eq!(socket.uid, nix::unistd::geteuid().as_raw());
        assert_ne!(socket.cookie, 0);
        assert_eq!(role_of(socket, &snapshot.listeners), role, "{local} → {remote}");
    }
}

#[test]
fn both_ends_of_connections_in_every_family() {
    for (listen, to) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "::1"),
        ("[::]:0", "127.0.0.1"),
    ] {
        let (_listener, client, server) = connect(listen, to);
        let mut snapshot = Snapshot::default();
        snapshot.add_current(own_netns(), &SocketLimits::default());
        assert_eq!(snapshot.counters.dumps_failed, 0);
        check_both_ends(&snapshot, own_netns(), &client, &server);
        let local = server.local_addr().unwrap();
        let mapped = matches!(local.ip(), IpAddr::V6(ip) if ip != Ipv6Addr::LOCALHOST);
        assert_eq!(mapped, listen == "[::]:0", "the third case is a v4-mapped one");
    }
}

#[test]
fn cookies_are_those_of_the_kernel() {
    let (_listener, client, _server) = connect("127.0.0.1:0", "127.0.0.1");
    let mut snapshot = Snapshot::default();
    snapshot.add_current(own_netns(), &SocketLimits::default());
    let socket = find(
        &snapshot,
        own_netns(),
        client.local_addr().unwrap(),
        client.peer_addr().unwrap(),
    )
    .unwrap();
    assert_eq!(socket.cookie, cookie_of(&client));
}

/// `SO_COOKIE`, which programs in the kernel see too.
fn cookie_of(socket: &impl AsRawFd) -> u64 {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap();
    let fd = socket.as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes, the size of `cookie`, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0);
    cookie
}

#[test]
fn own_sockets_have_this_process_as_their_owner() {
    let (_listener, client, server) = connect("127.0.0.1:0", "127.0.0.1");
    let mut snapshot = Snapshot::default();
    snapshot.add_current(own_netns(), &SocketLimits::default());
    let owners = SocketOwners::scan(Path::new(PROC), &snapshot.sockets, &OwnerLimits::default());
    for stream in [&client, &server] {
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let socket = find(&snapshot, own_netns(), local, remote).unwrap();
        assert!(owners.holders(socket).contains(&std::process::id()));
    }
}

#[test]
fn sockets_beyond_the_limit_are_counted() {
    let connections: Vec<_> = (0..4).map(|_| connect("127.0.0.1:0", "127.0.0.1")).collect();
    let mut snapshot = Snapshot::default();
    let limits = SocketLimits {
        sockets: 3,
        listeners: 1,
        namespaces: 1,
    };
    snapshot.add_current(own_netns(), &limits);
    assert_eq!((snapshot.sockets.len(), snapshot.listeners.len()), (3, 1));
    assert!(snapshot.counters.sockets_beyond_limit >= 5 + 3);
    drop(connections);
}

/// A thread in a namespace of its own and a process that keeps the namespace visible; `None` without the privilege.
fn in_new_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "network namespaces must be tested in CI, as root"
        );
        eprintln!("skipped: only root can make a network namespace");
        return None;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            bring_loopback_up();
            let mut keeper = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdin = keeper.stdin.take().unwrap();
            let result = body();
            drop(stdin);
            keeper.wait().unwrap();
            result
        });
        Some(thread.join().unwrap())
    })
}

/// `RTM_NEWLINK` for interface 1 with `IFF_UP` (rtnetlink(7)).
fn bring_loopback_up() {
    let route = new_socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .unwrap();
    let mut message = 32_u32.to_ne_bytes().to_vec();
    message.extend_from_slice(&16_u16.to_ne_bytes());
    message.extend_from_slice(&5_u16.to_ne_bytes());
    message.extend_from_slice(&[0; 8 + 4]);
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    sendto(
        route.as_raw_fd(),
        &message,
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )
    .unwrap();
    let mut answer = [0; 4096];
    let received = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    assert_eq!(
        answer[16..received.min(20)],
        [0; 4],
        "the kernel refused to bring the loopback up"
    );
}

#[test]
fn every_namespace_is_looked_into() {
    let (_listener, outer_client, outer_server) = connect("127.0.0.1:0", "127.0.0.1");
    let outer = own_netns();
    in_new_namespace(|| {
        let inner = own_netns();
        assert_ne!(inner, outer);
        let (_listener, client, server) = connect("[::]:0", "127.0.0.1");
        let snapshot = existing_sockets(Path::new(PROC), &SocketLimits::default());
        assert!(snapshot.counters.namespaces >= 2);
        check_both_ends(&snapshot, inner, &client, &server);
        check_both_ends(&snapshot, outer, &outer_client, &outer_server);
        assert_eq!(own_netns(), inner, "the caller stays where it is");
        // The same port in another namespace says nothing of the role.
        let client = find(
            &snapshot,
            inner,
            client.local_addr().unwrap(),
            client.peer_addr().unwrap(),
        )
        .unwrap();
        let elsewhere = ExistingSocket {
            netns: outer,
            local: server.local_addr().unwrap(),
            ..*client
        };
        assert_eq!(role_of(&elsewhere, &snapshot.listeners), Role::Client);
    });
}

#[test]
fn namespaces_beyond_the_limit_are_counted() {
    in_new_namespace(|| {
        let limits = SocketLimits {
            namespaces: 1,
            ..SocketLimits::default()
        };
        let counters = existing_sockets(Path::new(PROC), &limits).counters;
        assert_eq!(counters.namespaces, 1);
        assert!(counters.namespaces_beyond_limit >= 1);
    });
}

#[test]
fn namespaces_that_cannot_be_entered_are_skipped() {
    let root = tempfile::tempdir().unwrap();
    for (pid, target) in [
        ("1", "net:[1]"),
        ("2", "net:[2]"),
        ("3", "mnt:[3]"),
        ("4x", "net:[4]"),
    ] {
        let ns = root.path().join(pid).join("ns");
        std::fs::create_dir_all(&ns).unwrap();
        std::os::unix::fs::symlink(target, ns.join("net")).unwrap();
    }
    let snapshot = existing_sockets(root.path(), &SocketLimits::default());
    assert_eq!(
        (snapshot.sockets.len(), snapshot.counters),
        (0, SocketCounters::default())
    );
}

#[test]
fn roles_by_listener() {
    let mut listeners = Listeners::default();
    listeners.insert(1, "0.0.0.0:80".parse().unwrap());
    listeners.insert(1, "[::1]:81".parse().unwrap());
    listeners.insert(1, "[::ffff:127.0.0.1]:82".parse().unwrap());
    listeners.insert(1, "[::]:83".parse().unwrap());
    for (netns, local, expected) in [
        (1, "10.0.0.1:80", Role::Server),
        (2, "10.0.0.1:80", Role::Client),
        (1, "[::1]:81", Role::Server),
        (1, "127.0.0.1:81", Role::Client),
        (1, "127.0.0.1:82", Role::Server),
        (1, "127.0.0.1:83", Role::Server),
        (1, "127.0.0.1:40000", Role::Client),
    ] {
        let socket = ExistingSocket {
            cookie: 1,
            local: local.parse().unwrap(),
            remote: "10.0.0.9:80".parse().unwrap(),
            netns,
            inode: 1,
            state: TcpState::ESTABLISHED,
            uid: 0,
        };
        assert_eq!(role_of(&socket, &listeners), expected, "{local}");
    }
}

#[test]
fn a_busy_dump_is_complete_for_what_stays() {
    let staying: Vec<_> = (0..300).map(|_| connect("127.0.0.1:0", "127.0.0.1")).collect();
    let mut snapshot = Snapshot::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                let (_listener, mut client, _server) = connect("127.0.0.1:0", "127.0.0.1");
                client.write_all(b"x").unwrap();
            }
        });
        snapshot.add_current(own_netns(), &SocketLimits::default());
    });
    for (_listener, client, server) in &staying {
        check_both_ends(&snapshot, own_netns(), client, server);
    }
}
