//! A client that knows every byte it sends and receives, so that sizes can be compared exactly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for bytes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A response as it came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code; 0 for a connection that closed without any.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, decoded.
    pub body: Vec<u8>,
    /// All bytes of the response, framing included.
    pub wire_bytes: u64,
}

impl Response {
    /// Value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            pending: Vec::new(),
        })
    }

    /// This end's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// Writes bytes as they are.
    ///
    /// # Panics
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request and reads its response.
    pub fn ask(&mut self, request: &str) -> Response {
        self.send(request.as_bytes());
        self.response(request.starts_with("HEAD "))
    }

    /// Reads exactly so many bytes, whatever they are.
    pub fn read_raw(&mut self, buffer: &mut [u8]) {
        let bytes = self.exactly(buffer.len());
        buffer.copy_from_slice(&bytes);
    }

    /// Half-closes: nothing more is sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Reads one response, interim ones included in its size.
    pub fn response(&mut self, to_head: bool) -> Response {
        let mut interim = 0;
        loop {
            let mut response = self.message(to_head);
            if (100..200).contains(&response.status) && response.status != 101 {
                interim += response.wire_bytes;
                continue;
            }
            response.wire_bytes += interim;
            return response;
        }
    }

    /// Reads what is left until the other end closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.pending)
    }

    fn message(&mut self, to_head: bool) -> Response {
        let end = loop {
            if let Some(at) = find(&self.pending, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                return Response::default();
            }
        };
        let head: Vec<u8> = self.pending.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status: status.and_then(|code| code.parse().ok()).unwrap_or(0),
            headers,
            body: Vec::new(),
            wire_bytes: end as u64,
        };
        if to_head || response.status < 200 || response.status == 204 || response.status == 304 {
            return response;
        }
        if response.header("transfer-encoding") == Some("chunked") {
            self.chunked(&mut response);
        } else if let Some(length) = response
            .header("content-length")
            .and_then(|value| value.parse().ok())
        {
            response.body = self.exactly(length);
            response.wire_bytes += length as u64;
        } else {
            response.body = self.rest();
            response.wire_bytes += response.body.len() as u64;
        }
        response
    }

    fn chunked(&mut self, response: &mut Response) {
        loop {
            let line = self.line();
            response.wire_bytes += line.len() as u64;
            let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or(""), 16).unwrap();
            let data = self.exactly(size + 2);
            response.wire_bytes += data.len() as u64;
            if size == 0 {
                return;
            }
            response.body.extend_from_slice(&data[..size]);
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n") {
                let line: Vec<u8> = self.pending.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            assert!(self.more(), "the connection ended within a line");
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length {
            assert!(self.more(), "the connection ended within a body");
        }
        self.pending.drain(..length).collect()
    }

    /// False at the end.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.pending.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading a response: {error}"),
        }
    }
}

/// A request by itself.
///
/// # Errors
/// Nobody listens.
pub fn get(address: SocketAddr, target: &str) -> std::io::Result<Response> {
    let mut client = Client::connect(address)?;
    Ok(client.ask(&format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
