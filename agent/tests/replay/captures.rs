//! Captures of raw IP packets, alone and among archives.

use serde_json::Value;

use super::run::{Run, gzip, some};

/// A capture of raw IP packets (link type 101): microseconds, and what they carry.
struct Capture(Vec<(u64, Vec<u8>)>);

#[derive(Clone, Copy)]
struct Flow {
    client_port: u16,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
}

const SYN: u8 = 2;
const ACK: u8 = 16;

impl Capture {
    /// The head of every file.
    const HEAD: [u8; 24] = [
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0,
    ];

    /// A connection to port 80 of 10.0.0.2, with its handshake.
    fn connect(&mut self, us: u64, client_port: u16) -> Flow {
        let mut flow = Flow {
            client_port,
            next: [1000, 5000],
        };
        self.packet(us, &mut flow, 0, SYN, b"");
        self.packet(us + 1, &mut flow, 1, SYN | ACK, b"");
        self.packet(us + 2, &mut flow, 0, ACK, b"");
        flow
    }

    /// A segment of the client (0) or the server (1).
    fn packet(&mut self, us: u64, flow: &mut Flow, from: usize, flags: u8, data: &[u8]) {
        let addresses = [[10u8, 0, 0, 1], [10, 0, 0, 2]];
        let ports = [flow.client_port, 80];
        let mut ip = vec![0x45, 0];
        ip.extend(u16::try_from(40 + data.len()).unwrap().to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(addresses[from]);
        ip.extend(addresses[1 - from]);
        ip.extend(ports[from].to_be_bytes());
        ip.extend(ports[1 - from].to_be_bytes());
        ip.extend(flow.next[from].to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { flow.next[1 - from] };
        ip.extend(acknowledged.to_be_bytes());
        ip.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        ip.extend(data);
        flow.next[from] += data.len() as u32 + u32::from(flags & SYN != 0);
        self.0.push((us, ip));
    }

    fn get(&mut self, us: u64, flow: &mut Flow, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        self.packet(us, flow, 0, ACK, request.as_bytes());
    }

    fn answer(&mut self, us: u64, flow: &mut Flow) {
        self.packet(
            us,
            flow,
            1,
            ACK,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        );
    }

    /// Files of these packets, cut before each of `cuts`.
    fn files(&self, cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut files = vec![Self::HEAD.to_vec()];
        for (at, (us, packet)) in self.0.iter().enumerate() {
            if cuts.contains(&at) {
                files.push(Self::HEAD.to_vec());
            }
            let file = files.last_mut().unwrap();
            let length = u32::try_from(packet.len()).unwrap();
            for number in [
                u32::try_from(us / 1_000_000).unwrap(),
                (us % 1_000_000) as u32,
                length,
                length,
            ] {
                file.extend(number.to_le_bytes());
            }
            file.extend(packet);
        }
        files
    }
}

/// Three connections whose exchanges end in another order than they begin.
fn capture() -> Capture {
    capture_of(1_750_744_800_000_000, 4001)
}

fn capture_of(begin: u64, port: u16) -> Capture {
    let mut capture = Capture(Vec::new());
    let mut slow = capture.connect(begin, port);
    let mut quick = capture.connect(begin + 10, port + 1);
    capture.get(begin + 1000, &mut slow, "/slow");
    for round in 0..5 {
        let now = begin + 2000 + round * 100;
        capture.get(now, &mut quick, &format!("/users/{round}"));
        capture.answer(now + 50, &mut quick);
    }
    let mut late = capture.connect(begin + 3000, port + 2);
    capture.get(begin + 4000, &mut late, "/late");
    capture.answer(begin + 5000, &mut slow);
    capture.answer(begin + 6000, &mut late);
    capture.get(begin + 7000, &mut slow, "/last");
    capture
}

#[test]
fn captures_in_the_order_of_requests() {
    let files = capture().files(&[]);
    let run = Run::of(&[("a.pcap", &files[0])], &["--reveal"]);
    assert_eq!(run.code(), 0, "{}", run.errors());
    let calls = run.calls();
    let targets: Vec<&str> = calls
        .iter()
        .map(|call| call["request"]["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        targets,
        [
            "/slow", "/users/0", "/users/1", "/users/2", "/users/3", "/users/4", "/late", "/last"
        ]
    );
    let slow = &calls[0];
    assert_eq!(
        (&slow["client"], &slow["server"]),
        (&"10.0.0.1:4001".into(), &"10.0.0.2:80".into())
    );
    assert_eq!(
        (&slow["duration_us"], &slow["ts"]),
        (&4000.into(), &1_750_744_800.001.into())
    );
    assert_eq!(calls[1]["endpoint"], "GET /users/{user_id}");
    assert_eq!(
        (&calls[7]["flags"][0], &calls[7]["response"]),
        (&"unpaired".into(), &Value::Null)
    );
    assert!(
        calls
            .iter()
            .enumerate()
            .all(|(at, call)| call["entry_index"] == at)
    );
}

#[test]
fn captures_go_on_in_the_next_file() {
    let capture = capture();
    let whole = Run::of(&[("a.pcap", &capture.files(&[])[0])], &[]);
    for cut in 1..capture.0.len() {
        let files = capture.files(&[cut]);
        let parts = Run::of(&[("a.pcap", &files[0]), ("b.pcap", &files[1])], &[]);
        assert_eq!(parts.code(), 0, "{}", parts.errors());
        let in_second = |call: &Value| call["file"] == "b.pcap";
        for (whole, part) in whole.calls().iter().zip(parts.calls()) {
            let begun_us = (part["ts"].as_f64().unwrap() * 1e6).round() as u64;
            assert_eq!(
                in_second(&part),
                begun_us >= capture.0[cut].0,
                "cut before packet {cut}: {part}"
            );
            let mut whole = whole.clone();
            whole["file"] = part["file"].clone();
            assert_eq!(whole, part, "cut before packet {cut}");
        }
        assert_eq!(whole.text("inventory.json"), parts.text("inventory.json"));
    }
}

#[test]
fn captures_and_archives_of_other_times_in_one_sequence() {
    let file = &capture().files(&[])[0];
    let older = &capture_of(1_750_000_000_000_000, 5001).files(&[])[0];
    let files: [(&str, &[u8]); 4] = [
        ("a.pcap", file),
        ("x.har", &some(0..2)),
        ("b.pcap", file),
        ("c.pcap", &gzip(older)),
    ];
    let run = Run::of(&files, &[]);
    assert_eq!(run.code(), 0, "{}", run.errors());
    let calls = run.calls();
    let found: Vec<&str> = calls.iter().map(|call| call["file"].as_str().unwrap()).collect();
    let expect = [
        ["a.pcap"; 8].as_slice(),
        &["x.har"; 2],
        &["b.pcap"; 8],
        &["c.pcap"; 8],
    ]
    .concat();
    assert_eq!(found, expect);
    assert!(
        calls
            .iter()
            .enumerate()
            .all(|(at, call)| call["entry_index"] == at)
    );
}
