//! Packets and captures, built byte by byte.

use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// 2026-01-01, nanoseconds.
pub const BEGIN_NS: u64 = 1_767_225_600_000_000_000;
/// Time between two packets.
pub const STEP_NS: u64 = 100_000;

/// A TCP segment to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub time_ns: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub acknowledged: u32,
    pub bits: u8,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

impl Tcp {
    /// Header and payload.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.from.port().to_be_bytes());
        bytes.extend(self.to.port().to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledged.to_be_bytes());
        let words = 5 + self.options.len().div_ceil(4);
        bytes.push((words as u8) << 4);
        bytes.push(self.bits);
        // Window; a checksum that is wrong, as offloading leaves it.
        bytes.extend([0x20, 0, 0xba, 0xad, 0, 0]);
        bytes.extend(&self.options);
        bytes.resize(words * 4, 0);
        bytes.extend(&self.data);
        bytes
    }

    /// In an IP packet.
    pub fn ip(&self) -> Vec<u8> {
        ip(self.from.ip(), self.to.ip(), 6, &self.bytes())
    }
}

/// An IP packet of either version.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x45, 0]);
            bytes.extend((20 + payload.len() as u16).to_be_bytes());
            bytes.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => panic!("{from} to {to}"),
    }
    bytes.extend(payload);
    bytes
}

/// In an Ethernet frame, padded to the shortest there is.
pub fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(if ip[0] >> 4 == 4 { [0x08, 0] } else { [0x86, 0xdd] });
    bytes.extend(ip);
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

/// A packet as a capture has it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub time_ns: u64,
    pub data: Vec<u8>,
    pub wire_bytes: u32,
}

impl Packet {
    pub fn new(time_ns: u64, data: Vec<u8>) -> Self {
        let wire_bytes = data.len() as u32;
        Self {
            time_ns,
            data,
            wire_bytes,
        }
    }

    /// Cut after so many bytes.
    pub fn cut(mut self, snap: usize) -> Self {
        self.data.truncate(snap);
        self
    }
}

/// A pcap file: little-endian, nanoseconds.
pub fn pcap(link: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 1 << 18, link] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let (seconds, nanos) = (packet.time_ns / 1_000_000_000, packet.time_ns % 1_000_000_000);
        for word in [
            seconds as u32,
            nanos as u32,
            packet.data.len() as u32,
            packet.wire_bytes,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&packet.data);
    }
    file
}

/// A conversation: both ends, and the segments so far.
#[derive(Clone, Debug)]
pub struct Talk {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// Next sequence numbers: client's, server's.
    pub next: [u32; 2],
    pub time_ns: u64,
    pub segments: Vec<Tcp>,
}

impl Talk {
    /// Not yet opened.
    pub fn between(client: &str, server: &str) -> Self {
        Self {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
            // They wrap early.
            next: [u32::MAX - 30, u32::MAX - 50],
            time_ns: BEGIN_NS,
            segments: Vec::new(),
        }
    }

    /// The usual one.
    pub fn new() -> Self {
        Self::between("10.0.0.1:40000", "10.0.0.2:8080")
    }

    /// A segment of `from` (0: client).
    pub fn send(&mut self, from: usize, bits: u8, data: &[u8]) -> &mut Self {
        self.time_ns += STEP_NS;
        let ends = [self.client, self.server];
        self.segments.push(Tcp {
            time_ns: self.time_ns,
            from: ends[from],
            to: ends[1 - from],
            sequence: self.next[from],
            acknowledged: if bits & ACK == 0 { 0 } else { self.next[1 - from] },
            bits,
            options: Vec::new(),
            data: data.to_vec(),
        });
        let more = data.len() as u32 + u32::from(bits & (SYN | FIN) != 0);
        self.next[from] = self.next[from].wrapping_add(more);
        self
    }

    pub fn open(&mut self) -> &mut Self {
        self.send(0, SYN, b"").send(1, SYN | ACK, b"").send(0, ACK, b"")
    }

    /// Bytes in pieces of at most `mss`, each acknowledged.
    pub fn say(&mut self, from: usize, data: &[u8], mss: usize) -> &mut Self {
        for piece in data.chunks(mss) {
            self.send(from, ACK, piece).send(1 - from, ACK, b"");
        }
        self
    }

    /// A request with a body, and its response.
    pub fn call(&mut self, name: &str, mss: usize) -> &mut Self {
        let body = name.repeat(10);
        let length = body.len();
        let request = format!("POST /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        let response = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{body}");
        self.say(0, request.as_bytes(), mss)
            .say(1, response.as_bytes(), mss)
    }

    pub fn close(&mut self) -> &mut Self {
        self.send(0, FIN | ACK, b"")
            .send(1, FIN | ACK, b"")
            .send(0, ACK, b"")
    }

    /// In Ethernet frames.
    pub fn packets(&self) -> Vec<Packet> {
        packets(&self.segments)
    }

    /// A capture of it.
    pub fn pcap(&self) -> Vec<u8> {
        pcap(1, &self.packets())
    }
}

/// In Ethernet frames.
pub fn packets(segments: &[Tcp]) -> Vec<Packet> {
    let packet = |tcp: &Tcp| Packet::new(tcp.time_ns, ethernet(&tcp.ip()));
    segments.iter().map(packet).collect()
}
