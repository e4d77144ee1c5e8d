//! A small fast HTTP/1.1 server for tests of volume, on one thread. It answers each request with 200 and the request's `x-seq`, so
//! that a stored row names the request that it belongs to.
//!
//! `loadserver [ADDRESS]` prints `ready PORT` and ends with its standard input.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    writeln!(io::stdout(), "ready {}", listener.local_addr()?.port())?;
    let (ended, mut end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever its end is like, it is the end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                // A client that goes away is no failure.
                tokio::spawn(async move { drop(serve(stream).await) });
            }
        }
    }
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let (mut sequence, mut length) = (String::new(), 0);
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let field = line.trim_end();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("x-seq: ") {
                value.clone_into(&mut sequence);
            }
            if let Some(value) = field.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
        }
        let mut body = (&mut stream).take(length);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
        let answer = format!("HTTP/1.1 200 OK\r\nx-seq: {sequence}\r\ncontent-length: 3\r\n\r\nok\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}
