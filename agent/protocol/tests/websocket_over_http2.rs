//! WebSocket over HTTP/2 (RFC 8441): the `h2` crate carries what tokio-tungstenite says, on two streams at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod peer;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, Version};
use peer::{Recording, read_every_way, wire};
use protocol::{Application, Flags, Messages};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};

/// Carries a byte stream over an HTTP/2 stream.
async fn carry(pipe: DuplexStream, mut send: SendStream<Bytes>, mut receive: RecvStream) {
    let (mut from, mut to) = split(pipe);
    let out = async {
        let mut buffer = vec![0; 4096];
        loop {
            let len = from.read(&mut buffer).await.unwrap_or_default();
            let said = Bytes::copy_from_slice(&buffer[..len]);
            if send.send_data(said, len == 0).is_err() || len == 0 {
                return;
            }
        }
    };
    let back = async {
        while let Some(Ok(data)) = receive.data().await {
            receive.flow_control().release_capacity(data.len()).unwrap();
            if to.write_all(&data).await.is_err() {
                return;
            }
        }
        // The other end may be gone already.
        let _ = to.shutdown().await;
    };
    futures::join!(out, back);
}

async fn serve(stream: DuplexStream) {
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.enable_connect_protocol().handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut answer = Response::new(());
        if request.extensions().get::<Protocol>().is_none() {
            *answer.status_mut() = http::StatusCode::NO_CONTENT;
            respond.send_response(answer, true).unwrap();
            continue;
        }
        let chosen = request.headers()["sec-websocket-protocol"].clone();
        answer.headers_mut().insert("sec-websocket-protocol", chosen);
        let send = respond.send_response(answer, false).unwrap();
        let (near, far) = duplex(1 << 16);
        tokio::spawn(carry(far, send, request.into_body()));
        tokio::spawn(async move {
            let mut socket = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        });
    }
}

/// Sends `count` messages on a stream of its own and waits for all to come back.
async fn chat(mut client: SendRequest<Bytes>, count: usize) {
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(format!("http://chat.example/room/{count}"))
        .header("sec-websocket-protocol", format!("chat.{count}"))
        .extension(Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, send) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    let (near, far) = duplex(1 << 16);
    let carried = tokio::spawn(carry(far, send, response.into_body()));
    let mut socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    for at in 0..count {
        let message = Message::text("x".repeat(at * 7));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let close = CloseFrame {
        code: CloseCode::Library(4000 + count as u16),
        reason: "done".into(),
    };
    socket.close(Some(close)).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    carried.await.unwrap();
}

async fn record() -> Recording {
    let (client, server, recording) = wire();
    let server = tokio::spawn(serve(server));
    let (mut client, connection) = h2::client::handshake(client).await.unwrap();
    let driven = tokio::spawn(connection);
    // Behind its answer the server's settings are known.
    let request = Request::builder().uri("http://chat.example/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 204);
    assert!(client.is_extended_connect_protocol_enabled());
    futures::join!(chat(client.clone(), 5), chat(client.clone(), 30));
    drop(client);
    driven.await.unwrap().unwrap();
    server.await.unwrap();
    recording.await.unwrap()
}

#[tokio::test]
async fn sessions_are_streams() {
    let exchanges = read_every_way(&record().await);
    assert_eq!(exchanges.len(), 3);
    assert_eq!(exchanges[0].application, Application::Http);
    for (exchange, count) in exchanges[1..].iter().zip([5_u16, 30]) {
        assert_eq!(exchange.flags, Flags::default());
        assert_eq!(exchange.request.target, format!("/room/{count}"));
        let Application::WebSocket(websocket) = &exchange.application else {
            panic!("{:?}", exchange.application);
        };
        assert_eq!(
            websocket.subprotocol.as_deref(),
            Some(format!("chat.{count}").as_bytes())
        );
        assert_eq!(websocket.close_code, Some(4000 + count));
        let count = u64::from(count);
        let messages = Messages {
            count,
            bytes: 7 * (0..count).sum::<u64>(),
            bytes_max: 7 * (count - 1),
            text: count,
            control: 1,
            ..Messages::default()
        };
        let response = exchange.response.as_ref().unwrap();
        assert_eq!(
            (exchange.request.body.messages, response.body.messages),
            (messages, messages)
        );
    }
}
