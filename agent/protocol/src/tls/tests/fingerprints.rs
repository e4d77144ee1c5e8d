//! The published examples of JA4.

use super::super::ja4::Client;
use super::build::{alpn, client_hello, records};
use super::facts;

const CIPHERS: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
const EXTENSIONS: [u16; 16] = [
    0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
    0x000b, 0x000a, 0x0015,
];
const ALGORITHMS: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

fn example() -> Client {
    Client {
        version: 0x0303,
        supported_versions: Some(vec![0x0304, 0x0303]),
        ciphers: CIPHERS.to_vec(),
        extensions: EXTENSIONS.to_vec(),
        alpn: Some((*b"h2").into()),
        signature_algorithms: ALGORITHMS.to_vec(),
    }
}

#[test]
fn of_the_description() {
    assert_eq!(example().fingerprint(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let without_algorithms = Client {
        signature_algorithms: Vec::new(),
        ..example()
    };
    assert_eq!(
        without_algorithms.fingerprint(),
        "t13d1516h2_8daaf6152771_6d807ffa2a79"
    );
}

#[test]
fn order_and_grease_change_nothing() {
    let mut shuffled = example();
    shuffled.ciphers.reverse();
    shuffled.ciphers.insert(0, 0x0a0a);
    shuffled.extensions.reverse();
    shuffled.extensions.insert(3, 0xfafa);
    assert_eq!(shuffled.fingerprint(), example().fingerprint());
    // The order of the algorithms tells programs apart.
    shuffled.signature_algorithms.reverse();
    assert_ne!(shuffled.fingerprint(), example().fingerprint());
}

#[test]
fn nothing_has_its_own_digits() {
    let bare = Client {
        version: 0x0301,
        ..Client::default()
    };
    assert_eq!(bare.fingerprint(), "t10i000000_000000000000_000000000000");
    // Only what stands in the first part already.
    let named = Client {
        extensions: vec![0, 16],
        ..bare
    };
    assert_eq!(named.fingerprint(), "t10d000200_000000000000_000000000000");
}

#[test]
fn counts_end_at_99() {
    for (count, expect) in [(98, "98"), (99, "99"), (100, "99"), (120, "99")] {
        let many: Vec<u16> = (0x2000..).take(count).collect();
        let client = Client {
            ciphers: many.clone(),
            extensions: many,
            ..example()
        };
        assert_eq!(&client.fingerprint()[4..8], expect.repeat(2), "{count}");
    }
}

#[test]
fn versions() {
    for (version, supported, expect) in [
        (0x0303, None, "12"),
        (0x0302, None, "11"),
        (0x0300, None, "s3"),
        (0x0002, None, "s2"),
        (0x0305, None, "00"),
        (0x0303, Some(vec![0x0301, 0x0304, 0x0303]), "13"),
        // An extension that names none that means anything.
        (0x0303, Some(Vec::new()), "00"),
    ] {
        let client = Client {
            version,
            supported_versions: supported,
            ..example()
        };
        assert_eq!(&client.fingerprint()[1..3], expect, "{version:#06x}");
    }
}

#[test]
fn ends_of_the_first_protocol() {
    for (name, expect) in [
        (b"h2".as_slice(), "h2"),
        (b"http/1.1", "h1"),
        (b"", "00"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ] {
        let hello = client_hello(0x0303, &[1], Some(&[alpn(&[name])]));
        let ja4 = facts(&records(&hello, 1 << 14), b"").ja4.unwrap();
        assert_eq!(&ja4[8..10], expect, "{name:?}");
    }
    // One that means nothing comes first.
    let hello = client_hello(0x0303, &[1], Some(&[alpn(&[b"\x5a\x5a", b"h2"])]));
    let said = facts(&records(&hello, 1 << 14), b"");
    assert_eq!(&said.ja4.unwrap()[8..10], "h2");
    assert_eq!(said.alpn_offered, ["h2"]);
}
