//! The PROXY protocol header that a load balancer sends ahead of the first request (haproxy's `proxy-protocol.txt`,
//! versions 1 and 2): skipped, and the client's address kept.

use std::net::{IpAddr, SocketAddr};

use crate::detect::{PROXY_V1, PROXY_V2};

/// Longest version 1 header, CRLF included (section 2.1).
const V1_BYTES_MAX: usize = 107;
/// Fixed part of a version 2 header (section 2.2).
const V2_FIXED_BYTES: usize = 16;

/// Addresses of the original connection, as a PROXY header tells them. Whoever connects can send one: it is a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Client and server, unless the header says `UNKNOWN` or `LOCAL`, or names no internet addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A header of so many bytes.
    Header(ProxyHeader, usize),
    /// Perhaps one.
    Incomplete,
    /// None.
    No,
}

/// Looks at the first bytes of a stream.
pub(crate) fn find(data: &[u8]) -> Found {
    if data.starts_with(PROXY_V2) {
        return v2(data);
    }
    if data.starts_with(PROXY_V1) {
        return v1(data);
    }
    if PROXY_V1.starts_with(data) || PROXY_V2.starts_with(data) {
        Found::Incomplete
    } else {
        Found::No
    }
}

fn v1(data: &[u8]) -> Found {
    let window = data.get(..V1_BYTES_MAX).unwrap_or(data);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < V1_BYTES_MAX {
            Found::Incomplete
        } else {
            Found::No
        };
    };
    let line = window
        .get(PROXY_V1.len()..end)
        .unwrap_or_default()
        .trim_ascii_end();
    let Ok(line) = std::str::from_utf8(line) else {
        return Found::No;
    };
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let mut ip = || words.next()?.parse::<IpAddr>().ok();
    let ips = (ip(), ip());
    let mut port = || words.next()?.parse::<u16>().ok();
    let ports = (port(), port());
    let addresses = match (family, ips, ports) {
        ("UNKNOWN", _, _) => None,
        ("TCP4" | "TCP6", (Some(client), Some(server)), (Some(from), Some(to))) => {
            Some((SocketAddr::new(client, from), SocketAddr::new(server, to)))
        }
        _ => return Found::No,
    };
    Found::Header(ProxyHeader { addresses }, end + 1)
}

fn v2(data: &[u8]) -> Found {
    let Some(&[command, family, high, low]) = data
        .get(PROXY_V2.len()..V2_FIXED_BYTES)
        .and_then(|rest| rest.as_array())
    else {
        return Found::Incomplete;
    };
    if command >> 4 != 2 {
        return Found::No;
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    let Some(body) = data.get(V2_FIXED_BYTES..V2_FIXED_BYTES + len) else {
        return Found::Incomplete;
    };
    let proxied = command & 0xf == 1;
    let addresses = match family >> 4 {
        1 if proxied => addresses::<4>(body),
        2 if proxied => addresses::<16>(body),
        _ => None,
    };
    Found::Header(ProxyHeader { addresses }, V2_FIXED_BYTES + len)
}

fn addresses<const N: usize>(body: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (client, rest) = body.split_first_chunk::<N>()?;
    let (server, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    let address =
        |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port));
    Some((address(client, from), address(server, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(client: &str, server: &str, len: usize) -> Found {
        Found::Header(
            ProxyHeader {
                addresses: Some((client.parse().unwrap(), server.parse().unwrap())),
            },
            len,
        )
    }

    #[test]
    fn table() {
        let none = |len| Found::Header(ProxyHeader { addresses: None }, len);
        let v2 = |rest: &[u8]| [PROXY_V2, rest].concat();
        let v4 = v2(&[0x21, 0x11, 0, 12, 10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80]);
        let v6 = v2(&[
            &[0x21, 0x21, 0, 36][..],
            &[0; 15],
            &[1],
            &[0; 15],
            &[2],
            &[0, 1, 0, 2],
        ]
        .concat());
        let cases: Vec<(Vec<u8>, Found)> = vec![
            (
                b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\nGET".to_vec(),
                found("1.2.3.4:9", "5.6.7.8:80", 33),
            ),
            (
                b"PROXY TCP6 ::1 ::2 9 80\r\n".to_vec(),
                found("[::1]:9", "[::2]:80", 25),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), none(15)),
            (b"PROXY UNKNOWN ff::1 whatever\r\n".to_vec(), none(30)),
            (b"PROXY TCP4 1.2.3.4\r\n".to_vec(), Found::No),
            (b"PROXY /x HTTP/1.1\r\n".to_vec(), Found::No),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8".to_vec(), Found::Incomplete),
            ([b"PROXY ".as_slice(), &[b'x'; 120]].concat(), Found::No),
            (b"PRO".to_vec(), Found::Incomplete),
            (b"POST".to_vec(), Found::No),
            (b"\r\n".to_vec(), Found::Incomplete),
            (b"\r\nGET".to_vec(), Found::No),
            (v4.clone(), found("10.0.0.1:8080", "10.0.0.2:80", 28)),
            (v4[..20].to_vec(), Found::Incomplete),
            (v6, found("[::1]:1", "[::2]:2", 52)),
            (v2(&[0x20, 0, 0, 0]), none(16)),
            (v2(&[0x21, 0x31, 0, 2, 1, 2]), none(18)),
            (v2(&[0x31, 0x11, 0, 0]), Found::No),
        ];
        for (data, want) in cases {
            assert_eq!(find(&data), want, "{}", data.escape_ascii());
        }
    }
}
