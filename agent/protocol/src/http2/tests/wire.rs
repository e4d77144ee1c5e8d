//! Frames made by hand.

/// The client's preface.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITY: u8 = 0x20;
/// Of a message without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn data(flags: u8, stream: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0, flags, stream, content)
}

/// HEADERS with fields in the form of [`block`].
pub(crate) fn headers(flags: u8, stream: u32, fields: &str) -> Vec<u8> {
    frame(1, flags, stream, block(fields))
}

pub(crate) fn continuation(flags: u8, stream: u32, fragment: &[u8]) -> Vec<u8> {
    frame(9, flags, stream, fragment)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, code.to_be_bytes())
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in values {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(4, 0, 0, payload)
}

pub(crate) fn promise(stream: u32, promised: u32, fields: &str) -> Vec<u8> {
    let mut payload = promised.to_be_bytes().to_vec();
    payload.extend(block(fields));
    frame(5, END_HEADERS, stream, payload)
}

pub(crate) fn goaway(last: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend([0; 4]);
    payload.extend(b"bye");
    frame(7, 0, 0, payload)
}

pub(crate) fn window(stream: u32) -> Vec<u8> {
    frame(8, 0, stream, 1000_u32.to_be_bytes())
}

/// A header block of `name=value` fields between `|`; `+name=value` goes into the table, `#62` refers to it.
pub(crate) fn block(fields: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields.split('|').filter(|field| !field.is_empty()) {
        if let Some(index) = field.strip_prefix('#') {
            block.push(0x80 | index.parse::<u8>().unwrap());
            continue;
        }
        let (first, field) = match field.strip_prefix('+') {
            Some(field) => (0x40, field),
            None => (0, field),
        };
        let (name, value) = field.rsplit_once('=').unwrap();
        block.push(first);
        for string in [name, value] {
            integer(&mut block, string.len());
            block.extend(string.as_bytes());
        }
    }
    block
}

/// RFC 7541 5.1, with a prefix of seven bits.
fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        out.push(value as u8);
        return;
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// Fields of a request.
pub(crate) fn get(path: &str) -> String {
    format!(":method=GET|:scheme=http|:authority=a|:path={path}")
}

pub(crate) fn post(path: &str) -> String {
    format!(":method=POST|:scheme=http|:authority=a|:path={path}")
}

pub(crate) fn concat(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}
