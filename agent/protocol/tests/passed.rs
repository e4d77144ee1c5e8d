//! Bytes that went by unseen: what was left out on purpose must not delay or lose an exchange.

use protocol::Direction::{Request, Response};
use protocol::http1::Connection;
use protocol::{Boundary, Start};
use protocol::{Flags, Limits};

fn connection() -> Connection {
    let mut connection = Connection::new(Limits::default(), Start::Fresh);
    connection.segment(
        Request,
        0,
        1,
        b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        Boundary::TurnStart,
    );
    connection
}

#[test]
fn a_body_that_passed_is_over_at_once() {
    let mut connection = connection();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    connection.segment(Response, 0, 2, head, Boundary::TurnStart);
    assert!(connection.poll().is_none());
    connection.passed(Response, head.len() as u64 + 400, 3);
    assert!(connection.poll().is_none());
    connection.passed(Response, head.len() as u64 + 1000, 7);
    let exchange = connection.poll().unwrap();
    let response = exchange.response.unwrap();
    assert_eq!((response.body.wire_bytes, response.last_byte), (1000, 7));
    assert!(exchange.flags.contains(Flags::TRUNCATED) && !exchange.flags.contains(Flags::GAP));
}

#[test]
fn the_next_exchange_follows_a_body_that_passed() {
    let mut connection = connection();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n";
    connection.segment(Response, 0, 2, head, Boundary::TurnStart);
    let end = head.len() as u64 + 5000;
    connection.passed(Response, end, 3);
    connection.segment(
        Request,
        30,
        4,
        b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        Boundary::TurnStart,
    );
    connection.segment(
        Response,
        end,
        5,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        Boundary::TurnStart,
    );
    // What is paired after a loss is certain once the requests show that none of them is missing.
    connection.close(9);
    let statuses: Vec<u16> = std::iter::from_fn(|| connection.poll())
        .map(|exchange| exchange.response.unwrap().status)
        .collect();
    assert_eq!(statuses, [200, 204]);
}
