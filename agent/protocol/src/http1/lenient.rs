//! Heads that break the grammar in ways that real servers and clients let pass: folded lines and white space before
//! the colon (RFC 9112 5.1, 5.2), odd bytes in the target, lines of a response without a colon. Slow path.

use bytes::Bytes;

use super::head::{Bad, RequestHead, ResponseHead, method_of};
use crate::detect::{Line, is_token, request_line, status_line};
use crate::{Headers, Limits, Version};

/// `data` is one head, its empty line included.
pub(super) fn request(data: &[u8], limits: &Limits) -> Result<RequestHead, Bad> {
    let mut lines = lines(data);
    let start = lines.next().unwrap_or_default();
    if request_line(data) != Line::Whole {
        return Err(Bad::StartLine);
    }
    let mut words = start.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(Bad::StartLine);
    };
    Ok(RequestHead {
        method: method_of(method),
        target: Bytes::copy_from_slice(target),
        version: if version == b"HTTP/1.0" {
            Version::Http10
        } else {
            Version::Http11
        },
        headers: fields(lines, limits, OnBadLine::Refuse)?,
    })
}

/// `data` is one head, its empty line included.
pub(super) fn response(data: &[u8], limits: &Limits) -> Result<ResponseHead, Bad> {
    let mut lines = lines(data);
    let start = lines.next().unwrap_or_default();
    if status_line(data) != Line::Whole {
        return Err(Bad::StartLine);
    }
    let digits = start.get(9..12).unwrap_or_default();
    let status = digits.iter().fold(0, |status, &digit| {
        status * 10 + u16::from(digit.wrapping_sub(b'0'))
    });
    Ok(ResponseHead {
        status,
        version: if start.starts_with(b"HTTP/1.0") {
            Version::Http10
        } else {
            Version::Http11
        },
        headers: fields(lines, limits, OnBadLine::Ignore)?,
    })
}

/// Clients ignore what is no header field, servers refuse it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnBadLine {
    Refuse,
    Ignore,
}

fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn fields<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
    on_bad: OnBadLine,
) -> Result<Headers, Bad> {
    let mut fields: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        let field = if folded { None } else { field(line) };
        match (folded, field, fields.last_mut()) {
            (true, _, Some((_, value))) if sane(line) => {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            (false, Some((name, value)), _) => fields.push((name, value.to_vec())),
            _ if on_bad == OnBadLine::Refuse => return Err(Bad::Field),
            _ => {}
        }
        if fields.len() > limits.headers.min(Limits::HEADERS_MAX) {
            return Err(Bad::TooManyFields);
        }
    }
    Ok(fields.into_iter().collect())
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?.trim_ascii_end();
    let value = line.get(colon + 1..)?.trim_ascii();
    let valid = !name.is_empty() && name.iter().all(|&byte| is_token(byte)) && sane(value);
    valid.then_some((name, value))
}

/// CR, LF and NUL are invalid and dangerous in a value (RFC 9110 5.5); other control bytes may stay.
fn sane(value: &[u8]) -> bool {
    memchr::memchr2(b'\r', 0, value).is_none()
}
