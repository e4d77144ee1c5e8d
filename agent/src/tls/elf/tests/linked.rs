//! Libraries that are known by linkers' symbols and by texts.

use object::elf::{
    DT_NULL, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMTAB, EM_AARCH64, NT_GNU_BUILD_ID, SHF_ALLOC, SHT_DYNSYM,
    SHT_NOTE, SHT_SYMTAB,
};

use super::build::{BASE, Build};
use super::look;
use crate::tls::elf::layout::Layout;
use crate::tls::elf::reader::Reader;
use crate::tls::elf::{Architecture, marks};
use crate::tls::library::{Function, Functions, Library, LibraryName, Linkage};

/// A file whose one section of instructions has a function every 16 bytes, with these symbols; and texts in its read-only data.
fn library(kind: u32, symbols: &[&str], texts: &str) -> Build {
    let mut build = Build::new();
    let text = build.address(0);
    build.text(&[0xc3; 512]);
    let symbols: Vec<(&str, u64)> = symbols
        .iter()
        .zip((text..).step_by(16))
        .map(|(name, at)| (*name, at))
        .collect();
    build.symbols(kind, &symbols);
    build.read_only(".rodata", texts.as_bytes());
    build
}

fn only(build: &Build) -> Library {
    let image = look(&build.file());
    assert_eq!(image.libraries.len(), 1, "{image:?}");
    image.libraries.into_iter().next().unwrap()
}

fn functions(library: &Library) -> Vec<Function> {
    library
        .functions
        .found()
        .iter()
        .map(|point| point.function)
        .collect()
}

#[test]
fn libraries_are_known_by_what_they_define() {
    let openssl = ["SSL_read", "SSL_write"];
    let texts = "ssl_lib.c\0OpenSSL 3.0 legacy\0OpenSSL 3.0.19 27 Jan 2026\0";
    for (symbols, texts, name, version) in [
        (&openssl[..], texts, LibraryName::OpenSsl, Some("3.0.19")),
        (&openssl[..], "", LibraryName::OpenSsl, None),
        (&openssl[..], "../ssl/ssl_lib.cc\0", LibraryName::BoringSsl, None),
        (
            &["SSL_read", "SSL_write", "SSL_CTX_set_grease_enabled"],
            "AWS-LC 1.60.0\0",
            LibraryName::BoringSsl,
            Some("1.60.0"),
        ),
        (
            &["SSL_read", "SSL_write", "SSL_CTX_use_certificate_chain_mem"],
            "",
            LibraryName::LibreSsl,
            None,
        ),
        (
            &openssl[..],
            "LibreSSL 3.9.2\0",
            LibraryName::LibreSsl,
            Some("3.9.2"),
        ),
        (
            &["gnutls_record_send", "gnutls_record_recv"],
            "Enabled GnuTLS 3.7.9 logging...\0",
            LibraryName::GnuTls,
            Some("3.7.9"),
        ),
        (&["PR_Read", "PR_Write"], "", LibraryName::Nss, None),
        (
            &["PR_Read", "PR_Write", "SSL_ImportFD"],
            "Version: NSS 3.87.1\0",
            LibraryName::Nss,
            Some("3.87.1"),
        ),
        (
            &["SSL_read_ex", "BIO_write", "BIO_read"],
            "OpenSSL 1.1.1w  11 Sep 2023\0",
            LibraryName::OpenSsl,
            Some("1.1.1w"),
        ),
    ] {
        for kind in [SHT_DYNSYM, SHT_SYMTAB] {
            let library = only(&library(kind, symbols, texts));
            assert_eq!(
                (library.name, library.version.as_deref()),
                (name, version),
                "{symbols:?}"
            );
            assert_eq!(library.linkage, Linkage::Static);
            let known = symbols
                .iter()
                .filter(|symbol| Function::ALL.iter().any(|known| known.symbol() == **symbol));
            assert_eq!(functions(&library).len(), known.count(), "{symbols:?}");
        }
    }
}

#[test]
fn offsets_are_those_of_the_file() {
    let build = library(
        SHT_DYNSYM,
        &["SSL_write", "xSSL_read", "SSL_read_ex", "SSL_read"],
        "",
    );
    let library = only(&build);
    let at = Build::new().offset(0);
    let mut found: Vec<_> = library
        .functions
        .found()
        .iter()
        .map(|point| (point.function, point.offset - at))
        .collect();
    found.sort_by_key(|(_, at)| *at);
    assert_eq!(
        found,
        [
            (Function::SslWrite, 0),
            (Function::SslReadEx, 32),
            (Function::SslRead, 48)
        ]
    );
    assert!(
        library
            .functions
            .found()
            .iter()
            .all(|point| point.returns.is_empty())
    );
}

#[test]
fn users_of_a_library_are_not_it() {
    let mut user = Build::new();
    user.text(&[0xc3; 16]);
    user.symbols(
        SHT_DYNSYM,
        &[
            ("SSL_read", 0),
            ("SSL_write", 0),
            ("gnutls_record_send", 0),
            ("PR_Read", 0),
        ],
    );
    user.read_only(".rodata", b"OpenSSL 3.0.19 27 Jan 2026\0");
    assert_eq!(look(&user.file()).libraries, []);
    // GnuTLS's library with OpenSSL's interface.
    let mut wrapper = Build::new();
    let text = wrapper.address(0);
    wrapper.text(&[0xc3; 64]);
    wrapper.symbols(
        SHT_DYNSYM,
        &[
            ("SSL_read", text),
            ("SSL_write", text + 16),
            ("gnutls_record_recv", 0),
        ],
    );
    assert_eq!(look(&wrapper.file()).libraries, []);
    // Something else with one such name, and libraries that serve those which carry plaintext.
    for symbols in [
        &["PR_Read"][..],
        &["gnutls_bye"],
        &["SSL_ImportFD"],
        &["SSL_free"],
        &["BIO_write", "BIO_read"],
    ] {
        assert_eq!(
            look(&library(SHT_DYNSYM, symbols, "").file()).libraries,
            [],
            "{symbols:?}"
        );
    }
}

#[test]
fn symbols_outside_of_instructions_are_not_probed() {
    let mut build = Build::new();
    build.text(&[0xc3; 16]);
    let data = build.address(0);
    build.writable(".data", &[0xc3; 64]);
    let beyond = BASE + (1 << 30);
    build.symbols(
        SHT_DYNSYM,
        &[("SSL_read", data), ("SSL_write", beyond), ("SSL_free", u64::MAX)],
    );
    let mut file = build.file();
    assert_eq!(look(&file).libraries, []);
    // A segment of instructions may say that it is longer than the file.
    let len_at = 64 + 32;
    file[len_at..][..8].copy_from_slice(&(2_u64 << 30).to_le_bytes());
    let library = look(&file).libraries.remove(0);
    assert_eq!(functions(&library), [Function::SslRead]);
}

/// A program with so many instructions that its read-only data is searched, and no symbols.
fn stripped(texts: &str) -> Build {
    let mut build = Build::new();
    build.read_only(".rodata", texts.as_bytes());
    build.text(&[0xc3; 512 << 10]);
    build
}

#[test]
fn libraries_without_symbols_are_named() {
    for (texts, name, version, functions) in [
        (
            "third_party/ssl/ssl_lib.cc\0",
            LibraryName::BoringSsl,
            None,
            Functions::NoSymbols,
        ),
        (
            "ssl/ssl_lib.c\0OpenSSL 3.3.1 4 Jun 2024\0",
            LibraryName::OpenSsl,
            Some("3.3.1"),
            Functions::NoSymbols,
        ),
        (
            "Enabled GnuTLS 3.8.9 logging",
            LibraryName::GnuTls,
            Some("3.8.9"),
            Functions::NoSymbols,
        ),
        (
            "/registry/rustls-webpki-0.103.4/src/\0/registry/rustls-0.23.37/src/conn.rs",
            LibraryName::Rustls,
            Some("0.23.37"),
            Functions::Unsupported,
        ),
    ] {
        let library = only(&stripped(texts));
        assert_eq!(
            (library.name, library.version.as_deref(), library.functions),
            (name, version, functions)
        );
    }
    for texts in [
        "OpenSSL 3.3.1",
        "/rustls-webpki-0.103.4/src/",
        "boringssl",
        "Enabled GnuTLS %s",
    ] {
        assert_eq!(look(&stripped(texts).file()).libraries, [], "{texts}");
    }
}

#[test]
fn small_programs_are_not_searched() {
    let mut build = stripped("ssl_lib.cc\0");
    build.sections[1].bytes.pop();
    let image = look(&build.file());
    assert_eq!(image.libraries, []);
}

#[test]
fn as_much_read_only_data_as_the_limit_is_searched() {
    let texts = "Enabled GnuTLS 3.8.9 logging";
    let file = stripped(texts).file();
    for (max, found, cut) in [
        (texts.len(), true, false),
        (14, false, true),
        (15, true, true),
        (0, false, true),
    ] {
        let mut reader = Reader::new(&file, u64::MAX);
        let layout = Layout::read(&mut reader).unwrap();
        let marks = marks::search(&mut reader, &layout, max as u64).unwrap();
        assert_eq!((!marks.here.is_empty(), marks.cut), (found, cut), "{max}");
    }
}

#[test]
fn a_library_name_makes_it_shared_and_the_dynamic_section_is_enough_to_find_symbols() {
    let mut build = Build::new();
    let text = build.address(0);
    build.text(&[0xc3; 64]);
    let (symbols, names) = (build.address(0), build.address(1));
    build.symbols(SHT_DYNSYM, &[("SSL_read", text), ("SSL_write", text + 16)]);
    let names_len = build.sections[2].bytes.len() as u64;
    build.dynamic(&[
        (DT_SONAME, 1),
        (DT_SYMTAB, symbols),
        (DT_STRTAB, names),
        (DT_STRSZ, names_len),
        (DT_NULL, 0),
    ]);
    let library = only(&build);
    assert_eq!(library.linkage, Linkage::Shared);
    build.bare = true;
    assert_eq!(only(&build), library);
}

#[test]
fn the_build_id_and_the_architecture_are_told() {
    let mut note = Vec::new();
    for number in [4, 20, NT_GNU_BUILD_ID] {
        note.extend(number.to_le_bytes());
    }
    note.extend(b"GNU\0");
    note.extend([7; 20]);
    let mut build = Build::new();
    build.machine = EM_AARCH64;
    build.add(".note.gnu.build-id", SHT_NOTE, SHF_ALLOC, note);
    for bare in [false, true] {
        build.bare = bare;
        let image = look(&build.file());
        assert_eq!(image.build_id.as_deref(), Some(&[7; 20][..]));
        assert_eq!(image.architecture, Architecture::Arm64);
    }
}
