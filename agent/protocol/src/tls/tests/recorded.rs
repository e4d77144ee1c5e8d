//! Handshakes of real programs over loopback. Their fingerprints were computed by another implementation, too, but for the hello in
//! several records, which that does not read.

use super::super::{Facts, Handshake};

struct Recorded {
    name: &'static str,
    text: &'static str,
    ja4: &'static str,
    version: &'static str,
    cipher: &'static str,
    server_name: Option<&'static str>,
    offered: &'static [&'static str],
    alpn: Option<&'static str>,
}

const SHOP: Option<&str> = Some("shop.test");
const TLS13: &str = "TLS 1.3";
const TLS12: &str = "TLS 1.2";

const RECORDED: &[Recorded] = &[
    Recorded {
        name: "chrome",
        text: include_str!("hellos/chrome.txt"),
        ja4: "t13d1516h2_8daaf6152771_02713d6af862",
        version: TLS13,
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: SHOP,
        offered: &["h2", "http/1.1"],
        alpn: None,
    },
    Recorded {
        name: "curl",
        text: include_str!("hellos/curl.txt"),
        ja4: "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &["h2", "http/1.1"],
        alpn: None,
    },
    Recorded {
        name: "curl_tls12",
        text: include_str!("hellos/curl_tls12.txt"),
        ja4: "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6",
        version: TLS12,
        cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &["h2", "http/1.1"],
        alpn: Some("http/1.1"),
    },
    Recorded {
        name: "gnutls",
        text: include_str!("hellos/gnutls.txt"),
        ja4: "t13d2914h2_723694b0fccc_2cc26d266019",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &["h2"],
        alpn: None,
    },
    Recorded {
        name: "go",
        text: include_str!("hellos/go.txt"),
        ja4: "t13d1910h2_9dc949149365_97f8aa674fd9",
        version: TLS13,
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: SHOP,
        offered: &["h2", "http/1.1"],
        alpn: None,
    },
    Recorded {
        name: "node",
        text: include_str!("hellos/node.txt"),
        ja4: "t13d5911h1_a33745022dd6_1f22a2ca17c4",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &["http/1.1"],
        alpn: None,
    },
    Recorded {
        name: "openssl",
        text: include_str!("hellos/openssl.txt"),
        ja4: "t13d311000_e8f1e7e78f70_1f22a2ca17c4",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &[],
        alpn: None,
    },
    Recorded {
        name: "openssl_tls12",
        text: include_str!("hellos/openssl_tls12.txt"),
        ja4: "t12i2807h1_d943125447b4_e7e480e5a997",
        version: TLS12,
        cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        server_name: None,
        offered: &["http/1.1"],
        alpn: Some("http/1.1"),
    },
    Recorded {
        name: "openssl_retry",
        text: include_str!("hellos/openssl_retry.txt"),
        ja4: "t13d311000_e8f1e7e78f70_1f22a2ca17c4",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &[],
        alpn: None,
    },
    Recorded {
        name: "python",
        text: include_str!("hellos/python.txt"),
        ja4: "t13d181100_85036bcba153_d41ae481755e",
        version: TLS13,
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: SHOP,
        offered: &[],
        alpn: None,
    },
];

/// The first bytes of client and server.
pub(super) fn directions(text: &str) -> [Vec<u8>; 2] {
    let (_, text) = text.split_once("client\n").unwrap();
    let (client, server) = text.split_once("server\n").unwrap();
    [client, server].map(|text| {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    })
}

/// All recorded ones.
pub(super) fn all() -> impl Iterator<Item = (&'static str, [Vec<u8>; 2])> {
    let several = ("openssl_records", include_str!("hellos/openssl_records.txt"));
    let listed = RECORDED.iter().map(|recorded| (recorded.name, recorded.text));
    listed
        .chain([several])
        .map(|(name, text)| (name, directions(text)))
}

#[test]
fn programs_are_told() {
    for recorded in RECORDED {
        let name = recorded.name;
        let [client, server] = directions(recorded.text);
        let mut handshake = Handshake::default();
        handshake.client(&client);
        handshake.server(&server);
        let facts = handshake.facts();
        assert_eq!(facts.ja4.as_deref(), Some(recorded.ja4), "{name}");
        assert_eq!(facts.version_name().as_deref(), Some(recorded.version), "{name}");
        assert_eq!(facts.cipher_name().as_deref(), Some(recorded.cipher), "{name}");
        assert_eq!(facts.server_name.as_deref(), recorded.server_name, "{name}");
        assert_eq!(facts.alpn_offered, recorded.offered, "{name}");
        assert_eq!(facts.alpn.as_deref(), recorded.alpn, "{name}");
        assert!(handshake.is_over() && !handshake.is_cut(), "{name}");
        assert_eq!(handshake.bytes(), 0, "{name}");
    }
}

#[test]
fn a_hello_in_several_records() {
    let [client, server] = directions(include_str!("hellos/openssl_records.txt"));
    let length = usize::from(u16::from_be_bytes([client[3], client[4]]));
    assert!(client.len() > length + 10, "it is in one record");
    let Facts {
        version,
        server_name,
        alpn_offered,
        ja4,
        ..
    } = super::facts(&client, &server);
    assert_eq!((version, server_name.as_deref()), (Some(0x0304), SHOP));
    // As many as are kept, of 60.
    assert_eq!(alpn_offered.len(), super::super::ALPN_OFFERED_MAX);
    assert_eq!(alpn_offered.first().map(String::as_str), Some("proto-000"));
    // One extension more than without protocols.
    assert_eq!(ja4.as_deref(), Some("t13d3111p0_e8f1e7e78f70_1f22a2ca17c4"));
}
