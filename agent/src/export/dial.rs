//! Reaching the collector.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tonic::codegen::{BoxFuture, Service};

use super::status::Shared;
use super::watched::{End, Watched};

/// A byte stream to the collector.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, and this end's address where it has one.
pub(super) struct Dialed {
    pub(super) io: Box<dyn Io>,
    pub(super) local: Option<SocketAddr>,
}

/// Makes a connection each time it is called.
pub(super) type Dial = Arc<dyn Fn() -> BoxFuture<Dialed, io::Error> + Send + Sync>;

/// Why a URL does not name a collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("collector URL {url:?}: {reason}; write it as http://HOST:PORT")]
pub struct UrlError {
    /// As configured.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Host and port of `http://HOST:PORT`.
pub(super) fn parse_url(url: &str) -> Result<(Uri, String, u16), UrlError> {
    let wrong = |reason: &str| UrlError {
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    let uri: Uri = url.trim().parse().map_err(|error| wrong(&format!("{error}")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some(other) => return Err(wrong(&format!("the scheme {other:?} is not supported"))),
        None => return Err(wrong("the scheme is missing")),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("a path or query has no meaning there"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("user and password have no meaning there"));
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if host.is_empty() {
        return Err(wrong("the host is missing"));
    }
    let port = authority
        .port_u16()
        .filter(|&port| port > 0)
        .ok_or_else(|| wrong("the port is missing"))?;
    Ok((uri, host, port))
}

/// Over TCP. Names are looked up anew for every connection.
pub(super) fn tcp(host: String, port: u16) -> Dial {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr().ok();
            Ok(Dialed {
                io: Box::new(stream),
                local,
            })
        })
    })
}

/// [`Dial`] as tonic wants it.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) dial: Dial,
    pub(super) shared: Arc<Shared>,
    pub(super) end: End,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Watched<Box<dyn Io>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (connecting, shared, end) = ((self.dial)(), Arc::clone(&self.shared), self.end.clone());
        Box::pin(async move {
            let Dialed { io, local } = connecting.await?;
            shared.update(|status| status.local_address = local);
            Ok(TokioIo::new(Watched { io, end }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, expect) in [
            ("http://collector:4470", Ok(("collector", 4470))),
            ("http://127.0.0.1:80/", Ok(("127.0.0.1", 80))),
            ("http://[::1]:4470", Ok(("::1", 4470))),
            ("https://collector:4470", Err("\"https\" is not supported")),
            ("collector:4470", Err("")),
            ("http://collector", Err("port is missing")),
            ("http://collector:0", Err("port is missing")),
            ("http://c:1/path", Err("path")),
            ("http://c:1/?q", Err("query")),
            ("http://user@c:1", Err("user")),
            ("", Err("")),
            ("http://:1", Err("")),
        ] {
            match (parse_url(url), expect) {
                (Ok((_, host, port)), Ok(wanted)) => assert_eq!((host.as_str(), port), wanted),
                (Err(error), Err(part)) => {
                    let text = error.to_string();
                    assert!(text.contains(part) && text.contains("http://HOST:PORT"), "{text}");
                }
                (got, wanted) => panic!("{url}: {got:?}, wanted {wanted:?}"),
            }
        }
    }
}
