//! Files of this machine, as their makers left them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tls::elf::{Image, read};
use crate::tls::library::{Function, Functions, Library, LibraryName, Linkage};

/// Where Debian has libraries, and other distributions.
const DIRECTORIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
];

fn image(path: &Path) -> Image {
    read(&File::open(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn library(name: &str) -> PathBuf {
    let mut paths = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name));
    paths
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: cargo xtask setup"))
}

fn only(image: Image) -> Library {
    assert_eq!(image.libraries.len(), 1, "{image:?}");
    image.libraries.into_iter().next().unwrap()
}

fn has(library: &Library, functions: &[Function]) {
    let found = library.functions.found();
    for function in functions {
        assert!(
            found.iter().any(|point| point.function == *function),
            "{function:?} of {library:?}"
        );
    }
}

#[test]
fn libssl_of_the_system() {
    let image = image(&library("libssl.so.3"));
    assert!(image.build_id.is_some());
    let library = only(image);
    assert_eq!(
        (library.name, library.linkage),
        (LibraryName::OpenSsl, Linkage::Shared)
    );
    has(
        &library,
        &[
            Function::SslRead,
            Function::SslReadEx,
            Function::SslPeek,
            Function::SslPeekEx,
            Function::SslWrite,
            Function::SslWriteEx,
            Function::SslSendfile,
            Function::SslReadEarlyData,
            Function::SslWriteEarlyData,
            Function::SslDoHandshake,
            Function::SslShutdown,
            Function::SslFree,
        ],
    );
}

#[test]
fn node_of_the_system_or_its_library() {
    // Debian's links libssl; the one of nodejs.org has it within.
    let path = Command::new("node").args(["-p", "process.execPath"]).output();
    let path = path.expect("node is not installed: cargo xtask setup");
    let path = String::from_utf8(path.stdout).unwrap();
    let image = image(Path::new(path.trim()));
    let versions = Command::new("node")
        .args(["-p", "process.config.variables.node_shared_openssl"])
        .output();
    let shared = String::from_utf8(versions.unwrap().stdout).unwrap();
    if shared.trim() == "true" {
        assert_eq!(image.libraries, []);
        return;
    }
    let library = only(image);
    assert_eq!(
        (library.name, library.linkage),
        (LibraryName::OpenSsl, Linkage::Static)
    );
    let version = Command::new("node")
        .args(["-p", "process.versions.openssl"])
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let known = library.version.as_deref().unwrap_or_default();
    assert!(
        version.trim().starts_with(known) && !known.is_empty(),
        "{known} {version}"
    );
    has(
        &library,
        &[Function::SslRead, Function::SslWrite, Function::BioWrite],
    );
}

#[test]
fn other_libraries_and_this_test_have_no_symbols_of_one() {
    for name in ["libc.so.6", "libcrypto.so.3"] {
        assert_eq!(image(&library(name)).libraries, [], "{name}");
    }
    // What the tests write into files is in here too.
    let this = image(&std::env::current_exe().unwrap());
    assert!(
        this.libraries
            .iter()
            .all(|library| library.functions.found().is_empty()),
        "{this:?}"
    );
}

const GO_CLIENT: &str = r#"package main

import (
	"crypto/tls"
	"io"
	"os"
)

func main() {
	conn, err := tls.Dial("tcp", os.Args[1], nil)
	if err != nil {
		os.Exit(1)
	}
	defer conn.Close()
	io.Copy(conn, os.Stdin)
	io.Copy(os.Stdout, conn)
}
"#;

/// Address of the first byte of a function and its length, as `go tool nm` says.
fn listed(program: &Path, function: Function) -> (u64, u64) {
    let output = Command::new("go")
        .args(["tool", "nm", "-size"])
        .arg(program)
        .output()
        .unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let line = listing
        .lines()
        .find(|line| line.ends_with(&format!(" {}", function.symbol())));
    let line = line.unwrap_or_else(|| panic!("{function:?} is not in the listing"));
    let mut fields = line.split_whitespace();
    let address = u64::from_str_radix(fields.next().unwrap(), 16).unwrap();
    (address, fields.next().unwrap().parse().unwrap())
}

#[test]
fn go_programs_of_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("main.go");
    std::fs::write(&source, GO_CLIENT).unwrap();
    let version = Command::new("go").args(["env", "GOVERSION"]).output();
    let version = version.expect("go is not installed: cargo xtask setup");
    let version = String::from_utf8(version.stdout).unwrap();
    let mut kinds = vec![
        ("plain", vec![], "amd64", "0"),
        ("stripped", vec!["-ldflags=-s -w"], "amd64", "0"),
        (
            "position-independent, stripped",
            vec!["-buildmode=pie", "-ldflags=-s -w"],
            "amd64",
            "0",
        ),
        ("arm64", vec!["-ldflags=-s -w"], "arm64", "0"),
    ];
    // With C parts, and linked by the system's linker.
    if cfg!(target_arch = "x86_64") && Command::new("gcc").arg("--version").output().is_ok() {
        kinds.push((
            "external",
            vec!["-ldflags=-linkmode=external -s -w"],
            "amd64",
            "1",
        ));
        kinds.push((
            "external, position-independent",
            vec!["-buildmode=pie", "-ldflags=-linkmode=external -s -w"],
            "amd64",
            "1",
        ));
    }
    for (kind, arguments, architecture, cgo) in kinds {
        let program = directory.path().join("program");
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .args(&arguments)
            .arg(&source)
            .env("GOARCH", architecture)
            .env("CGO_ENABLED", cgo)
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{kind}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let library = only(image(&program));
        assert_eq!(library.name, LibraryName::Go, "{kind}");
        assert_eq!(library.version.as_deref(), Some(version.trim()), "{kind}");
        let Functions::Found(points) = &library.functions else {
            panic!("{kind}: {library:?}");
        };
        has(
            &library,
            &[Function::GoRead, Function::GoWrite, Function::GoClose],
        );
        for point in points {
            assert!(
                point.returns.first().is_some_and(|first| *first > point.offset),
                "{kind}: {point:?}"
            );
            assert!(point.returns.is_sorted(), "{kind}: {point:?}");
        }
        if kind == "plain" {
            // The linker lays the first segment from the begin of the file to its base.
            let base = 0x40_0000;
            for point in points {
                let (address, len) = listed(&program, point.function);
                assert_eq!(point.offset, address - base, "{kind}: {point:?}");
                assert!(
                    point
                        .returns
                        .iter()
                        .all(|at| (point.offset..point.offset + len).contains(at))
                );
            }
        }
    }
}
