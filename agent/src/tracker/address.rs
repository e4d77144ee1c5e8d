//! Addresses of a connection's ends.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Address of an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Of a TCP connection.
    Ip(SocketAddr),
    /// Of a UNIX connection, in the form of [`Address::unix`].
    Unix(Arc<str>),
}

impl Address {
    /// Of the UNIX socket of this name, as the kernel has it (`sun_path`): `unix:/run/app.sock` of a path, `unix:@name` of an abstract
    /// name, `unix:` of none. What is not printable, or not UTF-8, is escaped: names are their owner's to choose.
    #[must_use]
    pub fn unix(name: &[u8]) -> Self {
        let (mark, name) = match name {
            [0, name @ ..] => ("@", name),
            path => ("", path.split(|byte| *byte == 0).next().unwrap_or_default()),
        };
        let mut text = format!("unix:{mark}");
        for chunk in name.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character == '\\' {
                    text.extend(character.escape_default());
                } else {
                    text.push(character);
                }
            }
            for byte in chunk.invalid() {
                // Writing to a string does not fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        Self::Unix(text.into())
    }

    /// The network address, if it has one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port, if it has one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_unix_sockets() {
        for (name, text) in [
            (&b"/run/app.sock\0"[..], "unix:/run/app.sock"),
            (b"/run/app.sock", "unix:/run/app.sock"),
            (b"relative.sock\0rest", "unix:relative.sock"),
            (b"\0app", "unix:@app"),
            (b"\0app\0two", "unix:@app\\u{0}two"),
            (b"", "unix:"),
            (b"/tmp/\x1b[31mred\0", "unix:/tmp/\\u{1b}[31mred"),
            (b"/tmp/a\nb\0", "unix:/tmp/a\\nb"),
            (b"/tmp/a\\nb\0", "unix:/tmp/a\\\\nb"),
            ("/tmp/für\0".as_bytes(), "unix:/tmp/für"),
            (b"/tmp/\xff\xfe\0", "unix:/tmp/\\xff\\xfe"),
        ] {
            assert_eq!(Address::unix(name).to_string(), text);
        }
    }
}
