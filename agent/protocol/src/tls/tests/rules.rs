//! Single rules of hellos and records.

use super::super::{Facts, Handshake};
use super::build::*;
use super::facts;

/// `random` of a hello that asks for another try (RFC 8446 4.1.3): the SHA-256 of "HelloRetryRequest".
fn retry() -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(b"HelloRetryRequest").into()
}

fn named(name: &[u8]) -> Option<String> {
    let hello = client_hello(0x0303, &[1], Some(&[server_name(name)]));
    facts(&records(&hello, 1 << 14), b"").server_name
}

#[test]
fn names_of_servers() {
    let label = "a".repeat(63);
    let longest = [label.as_str(), &label, &label, &label[..61]].join(".");
    assert_eq!(longest.len(), 253);
    for (name, expect) in [
        ("shop.test", Some("shop.test")),
        ("Shop.TEST", Some("shop.test")),
        ("shop.test.", Some("shop.test")),
        ("localhost", Some("localhost")),
        ("_sip.shop-1.test", Some("_sip.shop-1.test")),
        ("xn--bcher-kva.test", Some("xn--bcher-kva.test")),
        (longest.as_str(), Some(longest.as_str())),
        (&format!("{longest}x"), None),
        (&format!("{label}a.test"), None),
        ("", None),
        (".", None),
        ("shop..test", None),
        ("shop test", None),
        ("shop.test:443", None),
        ("10.0.0.1", None),
        ("2001:db8::1", None),
        ("bücher.test", None),
        ("a\nb", None),
    ] {
        assert_eq!(named(name.as_bytes()).as_deref(), expect, "{name:?}");
    }
    assert_eq!(named(b"\xff\xfe"), None);
    // Of another type: not a host's.
    let other = extension(0, &vector(2, &[vec![1], vector(2, b"shop.test")].concat()));
    let hello = records(&client_hello(0x0303, &[1], Some(&[other])), 1 << 14);
    assert_eq!(facts(&hello, b"").server_name, None);
}

#[test]
fn only_text_is_a_protocol() {
    let hello = client_hello(
        0x0303,
        &[1],
        Some(&[alpn(&[b"h2", b"", b"a b", b"\xc3\xa4", b"http/1.1"])]),
    );
    assert_eq!(
        facts(&records(&hello, 1 << 14), b"").alpn_offered,
        ["h2", "http/1.1"]
    );
}

#[test]
fn the_server_chooses() {
    let chosen = |version, extensions: &[Vec<u8>]| {
        let hello = server_hello(version, [5; 32], 0x1301, extensions);
        let facts = facts(b"", &records(&hello, 1 << 14));
        (facts.version, facts.cipher, facts.alpn)
    };
    let h2 = || alpn(&[b"h2"]);
    let version = |version: u16| extension(43, &shorts(&[version]));
    let cipher = Some(0x1301);
    for (legacy, extensions, expect) in [
        (0x0301, vec![], (Some(0x0301), cipher, None)),
        (0x0303, vec![h2()], (Some(0x0303), cipher, Some("h2"))),
        (0x0303, vec![version(0x0304)], (Some(0x0304), cipher, None)),
        // It would be encrypted there: whoever says it here is no server of TLS 1.3.
        (0x0303, vec![h2(), version(0x0304)], (Some(0x0304), cipher, None)),
        (0x0303, vec![version(0x7f1c), h2()], (Some(0x7f1c), cipher, None)),
        // Malformed: half a version.
        (0x0303, vec![extension(43, &[3])], (None, None, None)),
    ] {
        let (version, cipher, alpn) = chosen(legacy, &extensions);
        assert_eq!((version, cipher, alpn.as_deref()), expect, "{extensions:?}");
    }
}

#[test]
fn numbers_have_names() {
    let names = |version, cipher| {
        let facts = Facts {
            version: Some(version),
            cipher: Some(cipher),
            ..Facts::default()
        };
        [facts.version_name(), facts.cipher_name()].map(|name| name.unwrap().into_owned())
    };
    for (version, cipher, expect) in [
        (0x0304, 0x1301, ["TLS 1.3", "TLS_AES_128_GCM_SHA256"]),
        (
            0x0303,
            0xc02f,
            ["TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        ),
        (
            0x0302,
            0xcca8,
            ["TLS 1.1", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"],
        ),
        (0x0301, 0x002f, ["TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA"]),
        (0x0300, 0x000a, ["SSL 3.0", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"]),
        (0x7f1c, 0x4a4a, ["0x7f1c", "0x4a4a"]),
    ] {
        assert_eq!(names(version, cipher), expect);
    }
    assert_eq!(Facts::default().version_name(), None);
    assert_eq!(Facts::default().cipher_name(), None);
}

#[test]
fn after_another_try_the_first_hello_of_the_client_counts_and_the_last_of_the_server() {
    let client = |name: &[u8]| {
        let extensions = [server_name(name), versions(&[0x0304])];
        records(&client_hello(0x0303, &[0x1301], Some(&extensions)), 100)
    };
    let server = |random, cipher| {
        let version = extension(43, &shorts(&[0x0304]));
        records(&server_hello(0x0303, random, cipher, &[version]), 100)
    };
    let change = record(20, &[1]);
    let mut handshake = Handshake::default();
    handshake.client(&client(b"first.test"));
    handshake.server(&server(retry(), 0x1301));
    assert_eq!(handshake.facts().cipher, Some(0x1301));
    assert!(!handshake.is_over());
    let first = handshake.facts().ja4.clone();
    handshake.client(&[change.clone(), client(b"second.test")].concat());
    handshake.server(&[change, server([5; 32], 0x1302)].concat());
    let facts = handshake.facts();
    assert_eq!(facts.server_name.as_deref(), Some("first.test"));
    assert_eq!((facts.cipher, &facts.ja4), (Some(0x1302), &first));
    assert!(handshake.is_over());
}

#[test]
fn warnings_may_come_first() {
    // The name that was asked for is not known (RFC 6066 3).
    let server = [record(21, &[1, 112]), usual_server()].concat();
    assert_eq!(facts(b"", &server), facts(b"", &usual_server()));
    assert_eq!(facts(b"", &server).version, Some(0x0303));
}

#[test]
fn what_is_no_tls_says_nothing() {
    for prefix in [
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".as_slice(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"EHLO shop.test\r\nSTARTTLS\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        // SSL 2.
        b"\x80\x2e\x01\x03\x01",
        // Encrypted already.
        b"\x17\x03\x03\0\x05hello",
        // No version, a fragment of nothing, one that is too long.
        b"\x16\x02\0\0\x05",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
        // Other messages than hellos.
        b"\x16\x03\x01\0\x04\x0b\0\0\0",
    ] {
        let mut handshake = Handshake::default();
        handshake.client(&[prefix, &usual_client()].concat());
        handshake.server(&[prefix, &usual_server()].concat());
        assert!(handshake.is_over(), "{prefix:?}");
        assert_eq!(*handshake.facts(), Facts::default(), "{prefix:?}");
    }
}

#[test]
fn a_hello_without_extensions() {
    let said = facts(&records(&client_hello(0x0301, &[0x002f], None), 7), b"");
    // SHA-256 of "002f".
    assert_eq!(said.ja4.as_deref(), Some("t10i010000_ba72b8082249_000000000000"));
}

#[test]
fn what_a_cut_hello_says_up_to_there_is_known() {
    let client = usual_client();
    let known = |len: usize| facts(&client[..len], b"");
    let whole = known(client.len());
    assert!(whole.ja4.is_some());
    let mut seen = 0;
    for len in 0..client.len() {
        let cut = known(len);
        assert_eq!(cut.ja4, None, "{len}");
        assert!(cut.server_name.is_none() || cut.server_name == whole.server_name);
        assert!(cut.alpn_offered.is_empty() || cut.alpn_offered == whole.alpn_offered);
        let now = usize::from(cut.server_name.is_some()) + cut.alpn_offered.len();
        assert!(now >= seen, "{len}");
        seen = now;
    }
    assert_eq!(seen, 3);
}

#[test]
fn an_extension_that_comes_twice_counts_once() {
    let extensions = [server_name(b"first.test"), server_name(b"second.test")];
    let hello = records(&client_hello(0x0303, &[1], Some(&extensions)), 1 << 14);
    assert_eq!(facts(&hello, b"").server_name.as_deref(), Some("first.test"));
}
