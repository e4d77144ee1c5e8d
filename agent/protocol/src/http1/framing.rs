//! Where a body ends (RFC 9112 6).

use bytes::Bytes;

use crate::{Counters, Headers, Version};

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// As many bytes, more than none.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Until the connection ends.
    UntilClose,
    /// It cannot be told; the peers may disagree about it.
    Unknown,
}

/// What a response's framing depends on besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Head,
    Connect,
    Other,
}

impl Asked {
    pub(super) fn by(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ContentLength {
    Absent,
    Value(u64),
    Invalid,
}

#[derive(Debug, PartialEq, Eq)]
enum Coding {
    Absent,
    Chunked,
    Other,
}

/// The header fields that matter to the connection.
#[derive(Debug)]
pub(super) struct Facts {
    length: ContentLength,
    coding: Coding,
    connection_upgrade: bool,
    upgrade: Option<Bytes>,
}

impl Facts {
    pub(super) fn of(headers: &Headers) -> Self {
        let mut facts = Self {
            length: ContentLength::Absent,
            coding: Coding::Absent,
            connection_upgrade: false,
            upgrade: None,
        };
        for (name, value) in headers {
            match name.len() {
                7 if name.eq_ignore_ascii_case(b"upgrade") => {
                    facts.upgrade = Some(Bytes::copy_from_slice(value))
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    facts.connection_upgrade |=
                        tokens(value).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => facts.content_length(value),
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => facts.transfer_encoding(value),
                _ => {}
            }
        }
        facts
    }

    /// RFC 9112 6.3: several values are one if they are equal, else the framing is invalid.
    fn content_length(&mut self, value: &[u8]) {
        for number in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.length = match (decimal(number), &self.length) {
                (Some(number), ContentLength::Absent) => ContentLength::Value(number),
                (Some(number), ContentLength::Value(same)) if number == *same => ContentLength::Value(number),
                _ => ContentLength::Invalid,
            };
        }
    }

    /// The last coding decides. `identity` was one until RFC 7230 and says nothing.
    fn transfer_encoding(&mut self, value: &[u8]) {
        for coding in tokens(value) {
            let name = coding
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            if name.eq_ignore_ascii_case(b"chunked") {
                self.coding = Coding::Chunked;
            } else if !name.eq_ignore_ascii_case(b"identity") {
                self.coding = Coding::Other;
            }
        }
    }

    /// The protocols that a request offers to switch to.
    pub(super) fn upgrade(&self) -> Option<&Bytes> {
        self.upgrade.as_ref().filter(|_| self.connection_upgrade)
    }

    /// The protocol that a 101 switches to; empty if it does not say.
    pub(super) fn upgrade_to(&self) -> Bytes {
        self.upgrade.clone().unwrap_or_default()
    }

    /// Framing of a request.
    pub(super) fn request(&self, version: Version, counters: &mut Counters) -> Framing {
        self.count_conflicts(version, counters);
        match (&self.coding, &self.length) {
            (Coding::Chunked, _) => Framing::Chunked,
            (Coding::Other, _) => {
                counters.transfer_encoding_not_chunked += 1;
                Framing::Unknown
            }
            (Coding::Absent, ContentLength::Invalid) => Framing::Unknown,
            (Coding::Absent, ContentLength::Absent | ContentLength::Value(0)) => Framing::None,
            (Coding::Absent, ContentLength::Value(length)) => Framing::Length(*length),
        }
    }

    /// Framing of a response with this status to such a request. That of a 2xx to CONNECT is the caller's matter.
    pub(super) fn response(
        &self,
        status: u16,
        asked: Asked,
        version: Version,
        counters: &mut Counters,
    ) -> Framing {
        self.count_conflicts(version, counters);
        if asked == Asked::Head || matches!(status, 100..=199 | 204 | 304) {
            return Framing::None;
        }
        match (&self.coding, &self.length) {
            (Coding::Chunked, _) => Framing::Chunked,
            (Coding::Other, _) => Framing::UntilClose,
            (Coding::Absent, ContentLength::Invalid) => Framing::Unknown,
            (Coding::Absent, ContentLength::Absent) => Framing::UntilClose,
            (Coding::Absent, ContentLength::Value(0)) => Framing::None,
            (Coding::Absent, ContentLength::Value(length)) => Framing::Length(*length),
        }
    }

    fn count_conflicts(&self, version: Version, counters: &mut Counters) {
        if self.length == ContentLength::Invalid {
            counters.invalid_content_length += 1;
        }
        if self.coding != Coding::Absent {
            counters.content_length_with_transfer_encoding += u64::from(self.length != ContentLength::Absent);
            counters.transfer_encoding_in_http10 += u64::from(version == Version::Http10);
        }
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
