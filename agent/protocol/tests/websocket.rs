//! WebSocket as tokio-tungstenite speaks it, counted from the bytes that went over the wire.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod peer;

use futures::{SinkExt, StreamExt};
use peer::{Recording, read_every_way, wire};
use protocol::{Application, Exchange, Flags, Messages, WebSocket};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, coding::CloseCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

type Socket = WebSocketStream<DuplexStream>;

/// What a client says and a server that sends it back.
async fn echo(said: Vec<Message>, close: Option<CloseFrame>) -> Recording {
    let (client, server, recording) = wire();
    let server = tokio::spawn(serve(server));
    let mut request = "ws://chat.example/room?id=7".into_client_request().unwrap();
    let offered = HeaderValue::from_static("chat.v2");
    request.headers_mut().insert("sec-websocket-protocol", offered);
    let (client, _) = client_async(request, client).await.unwrap();
    let (mut sink, mut stream) = client.split();
    let say = async {
        for message in said {
            sink.send(message).await.unwrap();
        }
        sink.send(Message::Close(close)).await.unwrap();
    };
    // Neither side reads while it cannot write, so both have to go on at the same time.
    futures::join!(say, async { while let Some(Ok(_)) = stream.next().await {} });
    drop(sink.reunite(stream));
    server.await.unwrap();
    recording.await.unwrap()
}

async fn serve(stream: DuplexStream) {
    #[expect(clippy::result_large_err, reason = "the callback's type")]
    let choose = |request: &Request, mut response: Response| {
        let offered = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", offered);
        Ok(response)
    };
    let mut server: Socket = accept_hdr_async(stream, choose).await.unwrap();
    while let Some(Ok(message)) = server.next().await {
        if message.is_text() || message.is_binary() {
            server.send(message).await.unwrap();
        }
    }
}

fn only(recording: &Recording) -> (Exchange, WebSocket) {
    let [exchange] = <[Exchange; 1]>::try_from(read_every_way(recording)).unwrap();
    let Application::WebSocket(websocket) = exchange.application.clone() else {
        panic!("{:?}", exchange.application);
    };
    (exchange, *websocket)
}

fn fragment(data: Data, payload: &'static [u8], last: bool) -> Message {
    Message::Frame(Frame::message(payload, OpCode::Data(data), last))
}

#[tokio::test]
async fn an_echo() {
    let mut said: Vec<Message> = (0..50_usize)
        .map(|at| Message::text("x".repeat(at * at)))
        .collect();
    said.extend([125, 126, 127, 65_535, 65_536, 200_000].map(|len| Message::binary(vec![0x81; len])));
    said.insert(10, Message::Ping("are you there".into()));
    let (exchange, websocket) = only(&echo(said.clone(), None).await);
    assert_eq!(exchange.flags, Flags::default());
    assert_eq!(exchange.request.target, "/room?id=7");
    assert_eq!(
        (websocket.subprotocol.unwrap(), websocket.close_code),
        ("chat.v2".into(), None)
    );
    let sent = Messages {
        count: 56,
        bytes: said
            .iter()
            .filter(|message| !message.is_ping())
            .map(|message| message.len() as u64)
            .sum(),
        bytes_max: 200_000,
        compressed: 0,
        text: 50,
        // A ping and a close; the server answers both.
        control: 2,
        partial: false,
    };
    let response = exchange.response.unwrap();
    assert_eq!(
        (exchange.request.body.messages, response.body.messages),
        (sent, sent)
    );
    // A key of four bytes in each frame makes the difference between the directions.
    let keys = 4 * (sent.count + sent.control);
    assert_eq!(exchange.request.body.wire_bytes, response.body.wire_bytes + keys);
    assert_eq!(response.status, 101);
}

#[tokio::test]
async fn fragments_and_close_codes() {
    for code in [CloseCode::Normal, CloseCode::Away, CloseCode::Library(4321)] {
        let said = vec![
            fragment(Data::Text, b"one ", false),
            Message::Ping("".into()),
            fragment(Data::Continue, b"two ", false),
            Message::Pong("unasked".into()),
            fragment(Data::Continue, b"three", true),
            fragment(Data::Binary, b"", false),
            fragment(Data::Continue, b"", true),
        ];
        let close = CloseFrame {
            code,
            reason: Utf8Bytes::from_static("enough"),
        };
        let (exchange, websocket) = only(&echo(said, Some(close)).await);
        assert_eq!(websocket.close_code, Some(code.into()));
        let (sent, echoed) = (
            exchange.request.body.messages,
            exchange.response.unwrap().body.messages,
        );
        assert_eq!(
            (sent.count, sent.bytes, sent.bytes_max, sent.text),
            (2, 13, 13, 1)
        );
        assert_eq!((sent.control, sent.partial), (3, false));
        assert_eq!((echoed.count, echoed.bytes, echoed.control), (2, 13, 2));
        assert_eq!(exchange.flags, Flags::default());
    }
}

#[tokio::test]
async fn a_session_that_breaks_off() {
    let (client, server, recording) = wire();
    let server = tokio::spawn(serve(server));
    let mut request = "ws://chat.example/".into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static("chat"));
    let (mut client, _) = client_async(request, client).await.unwrap();
    client.send(Message::text("whole")).await.unwrap();
    client.send(fragment(Data::Text, b"half", false)).await.unwrap();
    drop(client);
    server.await.unwrap();
    let (exchange, websocket) = only(&recording.await.unwrap());
    let sent = exchange.request.body.messages;
    assert_eq!((sent.count, sent.partial, websocket.close_code), (1, true, None));
    assert_eq!(exchange.flags, Flags::TRUNCATED);
}
