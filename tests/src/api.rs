//! The collector's API as tests read it.

use std::net::SocketAddr;

use serde_json::Value;

use crate::http;

/// A stored call, with what tests compare.
#[derive(Clone, Debug)]
pub struct Call {
    /// The row.
    pub row: Value,
    /// Method.
    pub method: String,
    /// Redacted path.
    pub path: String,
    /// Status; 0 for no response.
    pub status: u16,
    /// `server` or `client`.
    pub side: String,
    /// Size of the request on the wire.
    pub request_bytes: u64,
    /// Size of the response on the wire.
    pub response_bytes: u64,
    /// Bytes of the request's body.
    pub request_body_bytes: u64,
    /// Bytes of the response's body.
    pub response_body_bytes: u64,
    /// Latency, microseconds.
    pub duration_us: u64,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: String,
    /// What speaks on top of it.
    pub application: String,
    /// What is called in terms of the application.
    pub operation: String,
    /// `grpc-status`, code of a Close frame.
    pub rpc_status: Option<i64>,
    /// How messages of gRPC flowed.
    pub streaming: String,
    /// Messages of the client, of the server.
    pub messages: [u64; 2],
    /// Bytes of their payloads.
    pub message_bytes: [u64; 2],
    /// Completeness flags.
    pub flags: Vec<String>,
    /// Who called.
    pub client_workload: String,
    /// Who was called.
    pub server_workload: String,
    /// Client's address; unspecified of a UNIX connection, whose address is in the row alone.
    pub client: SocketAddr,
    /// Server's address, likewise.
    pub server: SocketAddr,
}

impl Call {
    fn parse(row: &Value) -> Self {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| row[name].as_u64().unwrap_or_default();
        let address = |name: &str| match text(name) {
            unix if unix.starts_with("unix:") => SocketAddr::from(([0, 0, 0, 0], 0)),
            network => network.parse().unwrap_or_else(|_| panic!("{name} of {row}")),
        };
        Self {
            method: text("method"),
            path: text("path"),
            status: u16::try_from(number("status")).unwrap(),
            side: text("side"),
            request_bytes: number("request_bytes"),
            response_bytes: number("response_bytes"),
            request_body_bytes: number("request_body_bytes"),
            response_body_bytes: number("response_body_bytes"),
            duration_us: number("duration_us"),
            protocol: text("protocol"),
            application: text("application"),
            operation: text("operation"),
            rpc_status: row["rpc_status"].as_i64(),
            streaming: text("streaming"),
            messages: [number("request_messages"), number("response_messages")],
            message_bytes: [number("request_message_bytes"), number("response_message_bytes")],
            flags: row["flags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|flag| flag.as_str().map(str::to_owned))
                .collect(),
            client_workload: text("client_workload"),
            server_workload: text("server_workload"),
            client: address("client_address"),
            server: address("server_address"),
            row: row.clone(),
        }
    }

    /// Whether one of the completeness flags is set.
    #[must_use]
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|set| set == flag)
    }

    /// Value of a header field of the response that the policy lets through.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&str> {
        self.row["response_headers"]
            .as_array()?
            .iter()
            .find(|header| header["name"] == name)?["value"]
            .as_str()
    }
}

/// A client of the API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    address: SocketAddr,
}

impl Api {
    /// Of the collector at this address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// An answer of the API.
    ///
    /// # Panics
    /// It is not 200 with JSON.
    #[must_use]
    pub fn get(&self, target: &str) -> Value {
        let response = http::get(self.address, target).unwrap();
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// All rows of a list, with a filter after `?` if any, page by page.
    #[must_use]
    pub fn all(&self, list: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if list.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("/api/v1/{list}{joint}limit=1000{cursor}"));
            rows.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// Calls whose server listens on this port, oldest first.
    #[must_use]
    pub fn calls(&self, port: u16) -> Vec<Call> {
        let mut calls = self.all_calls();
        calls.retain(|call| call.server.port() == port);
        calls
    }

    /// Calls of all servers, oldest first.
    #[must_use]
    pub fn all_calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.all("calls").iter().map(Call::parse).collect();
        calls.reverse();
        calls
    }

    /// Number of calls of a server, by the edges that end there.
    #[must_use]
    pub fn call_count(&self, port: u16) -> u64 {
        self.edges(port)
            .iter()
            .map(|edge| edge["calls"].as_u64().unwrap())
            .sum()
    }

    /// Edges to a server.
    #[must_use]
    pub fn edges(&self, port: u16) -> Vec<Value> {
        let mut edges = self.all("edges");
        edges.retain(|edge| edge["server_port"] == port);
        edges
    }

    /// What the agent reported as dropped: stage and reason.
    #[must_use]
    pub fn drops(&self) -> Vec<(String, String, u64)> {
        let agents = self.all("agents");
        let drops = agents[0]["drops"].as_array().cloned().unwrap_or_default();
        drops
            .iter()
            .map(|drop| {
                let text = |name: &str| drop[name].as_str().unwrap_or_default().to_owned();
                (
                    text("stage"),
                    text("reason"),
                    drop["events"].as_u64().unwrap_or_default(),
                )
            })
            .collect()
    }
}
