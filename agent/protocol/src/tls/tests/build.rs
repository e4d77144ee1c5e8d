//! Hellos made by hand.

/// Bytes behind their length, which has so many bytes.
pub(super) fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - length_bytes..], content].concat()
}

pub(super) fn shorts(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

pub(super) fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector(2, content)].concat()
}

pub(super) fn server_name(name: &[u8]) -> Vec<u8> {
    let entry = [vec![0], vector(2, name)].concat();
    extension(0, &vector(2, &entry))
}

pub(super) fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| vector(1, name)).collect();
    extension(16, &vector(2, &list))
}

pub(super) fn versions(values: &[u16]) -> Vec<u8> {
    extension(43, &vector(1, &shorts(values)))
}

pub(super) fn algorithms(values: &[u16]) -> Vec<u8> {
    extension(13, &vector(2, &shorts(values)))
}

/// A client's hello; without a list of extensions when there is none.
pub(super) fn client_hello(version: u16, ciphers: &[u16], extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let mut body = [shorts(&[version]), vec![7; 32], vector(1, &[9; 32])].concat();
    body.extend(vector(2, &shorts(ciphers)));
    body.extend(vector(1, &[0]));
    if let Some(extensions) = extensions {
        body.extend(vector(2, &extensions.concat()));
    }
    message(1, &body)
}

/// A server's hello.
pub(super) fn server_hello(version: u16, random: [u8; 32], cipher: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [
        shorts(&[version]),
        random.to_vec(),
        vector(1, b""),
        shorts(&[cipher]),
        vec![0],
    ]
    .concat();
    if !extensions.is_empty() {
        body.extend(vector(2, &extensions.concat()));
    }
    message(2, &body)
}

/// A handshake message.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], vector(3, body)].concat()
}

pub(super) fn record(content: u8, fragment: &[u8]) -> Vec<u8> {
    [vec![content, 3, 1], vector(2, fragment)].concat()
}

/// Handshake messages in records of at most so many bytes.
pub(super) fn records(messages: &[u8], fragment_bytes: usize) -> Vec<u8> {
    let fragments = messages.chunks(fragment_bytes);
    fragments.flat_map(|fragment| record(22, fragment)).collect()
}

/// A client's hello in one record that asks for `shop.test` and offers two protocols.
pub(super) fn usual_client() -> Vec<u8> {
    let extensions = [
        extension(0x2a2a, b""),
        server_name(b"shop.test"),
        alpn(&[b"h2", b"http/1.1"]),
        versions(&[0x3a3a, 0x0304, 0x0303]),
        algorithms(&[0x0403, 0x0804]),
    ];
    records(
        &client_hello(0x0303, &[0x1a1a, 0x1301, 0x1302, 0xc02f], Some(&extensions)),
        1 << 14,
    )
}

/// Its answer, of TLS 1.2 with a protocol.
pub(super) fn usual_server() -> Vec<u8> {
    records(&server_hello(0x0303, [5; 32], 0xc02f, &[alpn(&[b"h2"])]), 1 << 14)
}
