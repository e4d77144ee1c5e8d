//! The targets, one file each.

mod application;
mod attribution;
mod body;
mod catalog;
mod connection;
mod elf;
mod har;
mod hpack;
mod pcap;
mod policy;
mod record;
mod tls;
mod websocket;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directories in `corpus/` and `regressions/`.
    pub name: &'static str,
    /// Longest input that is worth trying, bytes.
    pub bytes_max: usize,
    /// Panics when a law is broken.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, bytes_max: usize, run: fn(&[u8])) -> Target {
    Target { name, bytes_max, run }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("attribution", 2048, attribution::run),
    target("body", 4096, body::run),
    target("catalog_delta", 2048, catalog::delta),
    target("catalog_paths", 1024, catalog::paths),
    target("connection", 4096, connection::any),
    target("elf", 4096, elf::run),
    target("graphql", 2048, application::graphql),
    target("har", 4096, har::run),
    target("hpack", 2048, hpack::run),
    target("http1", 4096, connection::http1),
    target("http2", 4096, connection::http2),
    target("json_rpc", 2048, application::json_rpc),
    target("pcap", 4096, pcap::run),
    target("policy", 2048, policy::run),
    target("proxy", 512, connection::proxy),
    target("record", 1024, record::run),
    target("soap", 2048, application::soap),
    target("tls", 4096, tls::run),
    target("websocket", 2048, websocket::run),
    target("wire", 2048, catalog::payload),
    target("xml_rpc", 2048, application::xml_rpc),
];
