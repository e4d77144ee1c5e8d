//! Connections of real peers: client and server of the `h2` crate over an in-memory pipe, every byte noted.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::JoinSet;

use super::script::{Item, Script};
use crate::Direction;

/// One request of a conversation. What is asked for stands in the path: `/kind/number`; the number comes back in a
/// header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// No bodies.
    None,
    /// A body of so many bytes, which comes back.
    Echo(usize),
    /// A body of so many bytes comes, then trailers; the request has some, too.
    Trailers(usize),
    /// Two interim responses come first.
    Interim,
    /// The server answers without reading the body.
    Early(usize),
    /// The server breaks off inside of its body.
    Broken,
    /// The server refuses.
    Refused,
    /// The client gives up inside of the response's body.
    Cancelled,
    /// The server pushes another response.
    Push,
    /// Both heads are as long as three frames.
    Long,
}

impl Ask {
    fn path(self, number: usize) -> String {
        match self {
            Self::None => format!("/none/{number}"),
            Self::Echo(_) => format!("/echo/{number}"),
            Self::Trailers(len) => format!("/trailers/{number}/{len}"),
            Self::Interim => format!("/interim/{number}"),
            Self::Early(_) => format!("/early/{number}"),
            Self::Broken => format!("/broken/{number}"),
            Self::Refused => format!("/refused/{number}"),
            Self::Cancelled => format!("/cancelled/{number}"),
            Self::Push => format!("/push/{number}"),
            Self::Long => format!("/long/{number}"),
        }
    }
}

/// What went over a pipe, in order.
type Log = Vec<(Direction, Vec<u8>)>;

/// Notes what the client writes and reads.
struct Tap {
    pipe: DuplexStream,
    log: Arc<Mutex<Log>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.pipe).poll_read(context, buffer);
        let read = buffer.filled()[before..].to_vec();
        if !read.is_empty() {
            self.log.lock().unwrap().push((Direction::Response, read));
        }
        result
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.pipe).poll_write(context, data);
        if let Poll::Ready(Ok(len)) = result {
            self.log
                .lock()
                .unwrap()
                .push((Direction::Request, data[..len].to_vec()));
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

/// Holds a conversation: all of each row at once, one row after the other.
pub(crate) fn record(rows: &[&[Ask]]) -> Vec<Item> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (client, server) = tokio::io::duplex(4096);
    let log = Arc::new(Mutex::new(Log::new()));
    let tap = Tap {
        pipe: client,
        log: Arc::clone(&log),
    };
    let rows: Vec<Vec<Ask>> = rows.iter().map(|row| row.to_vec()).collect();
    runtime.block_on(async {
        let server = tokio::spawn(serve(server));
        ask_all(tap, rows).await;
        server.await.unwrap();
    });
    let log = std::mem::take(&mut *log.lock().unwrap());
    log.iter()
        .fold(Script::default(), |script, (direction, data)| {
            script.say(*direction, data)
        })
        .end()
        .items
}

async fn ask_all(tap: Tap, rows: Vec<Vec<Ask>>) {
    let (sender, connection) = h2::client::Builder::new()
        .max_header_list_size(1 << 20)
        .handshake::<_, Bytes>(tap)
        .await
        .unwrap();
    let connection = tokio::spawn(async move {
        connection.await.unwrap();
    });
    let mut number = 0;
    for row in rows {
        let mut tasks = JoinSet::new();
        for ask in row {
            let sender = sender.clone().ready().await.unwrap();
            tasks.spawn(ask_one(sender, ask, number));
            number += 1;
        }
        tasks.join_all().await;
    }
    drop(sender);
    connection.await.unwrap();
}

async fn ask_one(mut sender: SendRequest<Bytes>, ask: Ask, number: usize) {
    let mut request = Request::post(format!("http://host{}", ask.path(number)))
        .header("user-agent", "h2 tests")
        .header(format!("x-{}", number % 3), "some value");
    if ask == Ask::Long {
        request = request.header("long", "l".repeat(40_000));
    }
    let request = request.body(()).unwrap();
    let empty = matches!(
        ask,
        Ask::None | Ask::Interim | Ask::Push | Ask::Refused | Ask::Long
    );
    let (response, mut body) = sender.send_request(request, empty).unwrap();
    match ask {
        Ask::Echo(len) => body.send_data(content(len), true).unwrap(),
        Ask::Trailers(len) => {
            body.send_data(content(len), false).unwrap();
            body.send_trailers(trailers()).unwrap();
        }
        Ask::Early(len) => body.send_data(content(len), false).unwrap(),
        Ask::Broken | Ask::Cancelled => body.send_data(content(5), true).unwrap(),
        _ => {}
    }
    drop(sender);
    receive(ask, response).await;
}

async fn receive(ask: Ask, mut response: ResponseFuture) {
    let mut pushes = response.push_promises();
    let response = match (ask, response.await) {
        (Ask::Refused, Err(error)) => {
            assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
            return;
        }
        (_, response) => response.unwrap(),
    };
    if ask == Ask::Push {
        let (_, pushed) = pushes.push_promise().await.unwrap().unwrap().into_parts();
        read(pushed.await.unwrap().into_body()).await.unwrap();
    }
    let mut body = response.into_body();
    match ask {
        Ask::Cancelled => {
            let first = body.data().await.unwrap().unwrap();
            assert!(!first.is_empty());
        }
        Ask::Broken => assert!(read(body).await.is_err()),
        _ => read(body).await.unwrap(),
    }
}

async fn read(mut body: RecvStream) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let len = data?.len();
        body.flow_control().release_capacity(len)?;
    }
    body.trailers().await?;
    Ok(())
}

async fn serve(pipe: DuplexStream) {
    let mut connection = h2::server::Builder::new()
        .max_header_list_size(1 << 20)
        .handshake::<_, Bytes>(pipe)
        .await
        .unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.unwrap();
        tokio::spawn(answer(request, respond));
    }
}

fn head(status: u16, number: &str) -> Response<()> {
    Response::builder()
        .status(status)
        .header("id", number)
        .header("server", "h2 tests")
        .body(())
        .unwrap()
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let (kind, number) = (parts.next().unwrap(), parts.next().unwrap());
    let mut body = request.into_body();
    match kind {
        "none" => drop(respond.send_response(head(204, number), true).unwrap()),
        "echo" => {
            let mut stream = respond.send_response(head(200, number), false).unwrap();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
        "trailers" => {
            read(body).await.unwrap();
            let len = parts.next().unwrap().parse().unwrap();
            let mut stream = respond.send_response(head(200, number), false).unwrap();
            stream.send_data(content(len), false).unwrap();
            stream.send_trailers(trailers()).unwrap();
        }
        "interim" => {
            for _ in 0..2 {
                let interim = Response::builder()
                    .status(103)
                    .header("link", "</style>")
                    .body(())
                    .unwrap();
                respond.send_informational(interim).unwrap();
            }
            drop(respond.send_response(head(200, number), true).unwrap());
        }
        "early" => {
            drop(respond.send_response(head(413, number), true).unwrap());
        }
        "broken" => {
            read(body).await.unwrap();
            let mut stream = respond.send_response(head(200, number), false).unwrap();
            stream.send_data(content(10), false).unwrap();
            // What was sent has to be on its way before the stream is cut.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "refused" => respond.send_reset(Reason::REFUSED_STREAM),
        "cancelled" => {
            read(body).await.unwrap();
            let mut stream = respond.send_response(head(200, number), false).unwrap();
            stream.send_data(content(1000), false).unwrap();
            std::future::poll_fn(|context| stream.poll_reset(context))
                .await
                .unwrap();
        }
        "push" => {
            let pushed = Request::get(format!("http://host/pushed/{number}"))
                .body(())
                .unwrap();
            let mut pushed = respond.push_request(pushed).unwrap();
            let mut stream = pushed.send_response(head(200, number), false).unwrap();
            stream.send_data(content(20), true).unwrap();
            drop(respond.send_response(head(200, number), true).unwrap());
        }
        "long" => {
            let mut head = head(200, number);
            head.headers_mut()
                .insert("long", "m".repeat(40_000).parse().unwrap());
            drop(respond.send_response(head, true).unwrap());
        }
        _ => panic!("{path}"),
    }
}

fn content(len: usize) -> Bytes {
    (0..len).map(|at| b'a' + (at % 26) as u8).collect()
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "abc".parse().unwrap());
    trailers.insert("x-trailer", "def".parse().unwrap());
    trailers
}

/// Every kind, at once and one after the other.
pub(crate) fn everything() -> Vec<Item> {
    record(&[
        &[
            Ask::None,
            Ask::Echo(100),
            Ask::Interim,
            Ask::Trailers(50),
            Ask::Refused,
        ],
        &[
            Ask::Cancelled,
            Ask::Early(300),
            Ask::Broken,
            Ask::Push,
            Ask::Echo(3000),
        ],
        &[Ask::Echo(10)],
        &[Ask::Trailers(0), Ask::None],
    ])
}

/// Short, so that everything can be tried on it.
pub(crate) fn short() -> Vec<Item> {
    record(&[
        &[Ask::Echo(30), Ask::None, Ask::Trailers(20)],
        &[Ask::Interim, Ask::Echo(40)],
        &[Ask::Echo(5)],
        &[Ask::None, Ask::Echo(5)],
    ])
}
