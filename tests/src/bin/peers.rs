//! Servers on the crates that most Rust services are built of: `peers http` (hyper, HTTP/1 and HTTP/2), `peers grpc` (tonic),
//! `peers websocket` (tokio-tungstenite). Each prints `ready PORT` and ends with its standard input.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;

use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::echo::Note;
use tests::echo::echo_server::{Echo, EchoServer};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status, Streaming};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "ready {}", listener.local_addr()?.port())?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever its end is like, it is the end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    tokio::select! {
        _ = end => Ok(()),
        result = serve(&kind, listener) => result,
    }
}

async fn serve(kind: &str, listener: TcpListener) -> Result<(), AnyError> {
    if kind == "grpc" {
        let router = tonic::transport::Server::builder().add_service(EchoServer::new(Notes));
        router
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await?;
        return Ok(());
    }
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no failure.
        match kind {
            "http" => drop(tokio::spawn(http(stream))),
            "websocket" => drop(tokio::spawn(websocket(stream))),
            _ => return Err(format!("no such kind of server: {kind}").into()),
        }
    }
}

async fn http(stream: TcpStream) -> Result<(), AnyError> {
    let service = hyper::service::service_fn(answer);
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The routes of `services/README.md` that these tests use.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let content = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let (status, content) = match head.uri.path().strip_prefix("/status/") {
        Some(code) => (code.parse().unwrap_or(StatusCode::BAD_REQUEST), Bytes::new()),
        None if head.uri.path() == "/echo" => (StatusCode::OK, content),
        None => (StatusCode::NOT_FOUND, Bytes::from_static(b"{\"error\": 404}")),
    };
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    if let Some(sequence) = head.headers.get("x-seq") {
        response.headers_mut().insert("x-seq", sequence.clone());
    }
    Ok(response)
}

async fn websocket(stream: TcpStream) -> Result<(), AnyError> {
    let mut session = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = session.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            session.send(message).await?;
        }
    }
    Ok(())
}

/// See `services/grpc/echo.proto`.
struct Notes;

type Answers = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Notes {
    async fn send(&self, request: tonic::Request<Note>) -> Result<tonic::Response<Note>, Status> {
        let note = request.into_inner();
        if note.text == "missing" {
            return Err(Status::new(Code::NotFound, "no such note"));
        }
        Ok(tonic::Response::new(note))
    }

    async fn upload(
        &self,
        request: tonic::Request<Streaming<Note>>,
    ) -> Result<tonic::Response<Note>, Status> {
        let mut notes = request.into_inner();
        let mut last = Note::default();
        while let Some(note) = notes.message().await? {
            last = note;
        }
        Ok(tonic::Response::new(last))
    }

    type ListStream = Answers;

    async fn list(&self, request: tonic::Request<Note>) -> Result<tonic::Response<Answers>, Status> {
        let note = request.into_inner();
        let notes = tokio_stream::iter([note.clone(), note.clone(), note].map(Ok));
        Ok(tonic::Response::new(Box::pin(notes)))
    }

    type ChatStream = Answers;

    async fn chat(
        &self,
        request: tonic::Request<Streaming<Note>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        Ok(tonic::Response::new(Box::pin(request.into_inner())))
    }
}
