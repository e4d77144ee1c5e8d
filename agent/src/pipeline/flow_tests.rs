//! From an exchange to the payload: what is in it, and what is never in it.

use prost::Message as _;
use protocol::Direction;
use protocol::http1::Connection;
use protocol::{Boundary, Start};

use super::*;
use crate::attribution::{Attribution, ExecFacts, Options, ProcessHint};
use crate::status::Fate;

pub(super) const EPOCH_US: i64 = 1_700_000_000_000_000;

pub(super) fn attribution() -> Attribution {
    Attribution::new(Options {
        proc_root: "/nowhere".into(),
        cgroup_root: "/nowhere".into(),
        state_root: "/nowhere".into(),
        passwd: "/nowhere".into(),
        ..Options::default()
    })
}

pub(super) fn process(attribution: &mut Attribution, pid: u32, args: &str) -> Arc<Process> {
    let hint = ProcessHint {
        pid,
        start_ns: u64::from(pid) * 1_000_000_000,
        ..ProcessHint::default()
    };
    let filename = args.split(' ').next().unwrap_or_default();
    attribution.exec(&ExecFacts {
        hint,
        filename: filename.as_bytes().to_vec(),
        args: args.replace(' ', "\0").into_bytes(),
    });
    attribution.process(&hint, 1)
}

/// An exchange of a connection that has just begun; the answer comes 3 ms after the request.
pub(super) fn exchange(request: &str, response: &str) -> Exchange {
    let limits = protocol::Limits {
        body_bytes: 4096,
        ..protocol::Limits::default()
    };
    let mut connection = Connection::new(limits, Start::Fresh);
    let turn = Boundary::TurnStart;
    connection.segment(Direction::Request, 0, 1_000_000, request.as_bytes(), turn);
    connection.segment(Direction::Response, 0, 4_000_000, response.as_bytes(), turn);
    connection.close(5_000_000);
    connection.poll().expect("an exchange")
}

pub(super) fn call(
    exchange: Exchange,
    side: Side,
    process: Arc<Process>,
    peer: Option<Arc<Process>>,
) -> Call {
    Call {
        exchange,
        connection: 7,
        weight: 1,
        again: false,
        side,
        read_at: side,
        process,
        peer,
        client: Address::Ip("10.0.0.1:40000".parse().unwrap()),
        server: Address::Ip("10.0.0.2:80".parse().unwrap()),
        tls: None,
    }
}

pub(super) fn unlimited() -> CapturePolicy {
    CapturePolicy::parse("[calls]\nbudget = \"unlimited\"\n").unwrap()
}

pub(super) const REQUEST: &str =
    "POST /orders/17?page=2 HTTP/1.1\r\nHost: stock.local\r\nContent-Length: 3\r\n\r\nabc";
pub(super) const RESPONSE: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";

pub(super) fn through(call: &Call, policy: &CapturePolicy) -> Payload {
    let mut pipeline = Pipeline::new(policy, "boot");
    pipeline.take(call, EPOCH_US);
    pipeline.take_payload()
}

#[test]
fn a_call_becomes_a_delta_a_row_and_an_edge_of_the_right_side() {
    let mut attribution = attribution();
    let shop = process(&mut attribution, 100, "/usr/bin/shop");
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    // Side and who is known of each end → API's workload, names and addresses of the edge's ends.
    let cases = [
        (
            Side::Server,
            &stock,
            Some(&shop),
            "stock",
            ["shop", "stock", "", ""],
        ),
        (Side::Server, &stock, None, "stock", ["", "stock", "10.0.0.1", ""]),
        (Side::Client, &shop, None, "", ["shop", "", "", "10.0.0.2"]),
        (Side::Client, &shop, Some(&stock), "", ["shop", "stock", "", ""]),
    ];
    for (side, here, there, workload, ends) in cases {
        let call = call(
            exchange(REQUEST, RESPONSE),
            side,
            Arc::clone(here),
            there.cloned(),
        );
        let payload = through(&call, &unlimited());
        let wire_side = match side {
            Side::Server => wire::v1::Side::Server,
            Side::Client => wire::v1::Side::Client,
        };
        let api = wire::v1::ApiKey {
            workload: workload.to_owned(),
            host: "stock.local".to_owned(),
            side: wire_side.into(),
        };

        let [delta] = payload.catalog.as_slice() else {
            panic!("one delta")
        };
        assert_eq!(delta.api.as_ref(), Some(&api));
        let minutes: Vec<_> = catalog::ApiDelta::decode(&delta.delta)
            .unwrap()
            .minutes()
            .collect();
        let [minute] = minutes.as_slice() else {
            panic!("one minute")
        };
        assert_eq!(minute.method, catalog::Method::from_token("POST"));
        assert_eq!(minute.counts.duration_us_sum, 3000);

        let [row] = payload.calls.as_slice() else {
            panic!("one row")
        };
        assert_eq!(row.api.as_ref(), Some(&api));
        assert_eq!(
            (row.method.as_str(), row.path.as_str(), row.status),
            ("POST", "/orders/{integer}", 201)
        );
        assert_eq!(row.leaf, minute.leaf.0);
        assert_eq!(row.query_names, ["page"]);
        assert_eq!((row.request_body_bytes, row.response_body_bytes), (3, 2));
        assert_eq!(row.request_bytes, REQUEST.len() as u64);
        assert_eq!(row.response_bytes, RESPONSE.len() as u64);
        assert_eq!(
            (row.ts_us, row.duration_us, row.ttfb_us),
            (EPOCH_US + 1000, 3000, 3000)
        );
        assert_eq!(
            [row.client_workload.as_str(), row.server_workload.as_str()],
            [ends[0], ends[1]]
        );
        assert_eq!(
            [row.client_address.as_str(), row.server_address.as_str()],
            ["10.0.0.1:40000", "10.0.0.2:80"]
        );
        assert_eq!((row.pid, row.weight, row.flags), (here.key.pid, 0, 0));

        let [edge] = payload.edges.as_slice() else {
            panic!("one edge")
        };
        assert_eq!(
            [
                edge.client_workload.as_str(),
                edge.server_workload.as_str(),
                edge.client_address.as_str(),
                edge.server_address.as_str()
            ],
            ends
        );
        assert_eq!((edge.side, edge.server_port), (wire_side.into(), 80));
        assert_eq!((edge.calls, edge.errors, edge.duration_us_sum), (1, 0, 3000));
    }
}

#[test]
fn without_an_answer_it_is_an_error_without_times() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let payload = through(
        &call(exchange(REQUEST, ""), Side::Server, stock, None),
        &unlimited(),
    );
    let row = &payload.calls[0];
    assert_eq!((row.status, row.duration_us, row.response_bytes), (0, 0, 0));
    assert_eq!(row.flags, protocol::Flags::UNPAIRED.0);
    assert_eq!((payload.edges[0].calls, payload.edges[0].errors), (1, 1));
}

#[test]
fn ids_of_calls_differ_even_when_a_connection_counts_from_0_again() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let first = call(
        exchange(REQUEST, RESPONSE),
        Side::Server,
        Arc::clone(&stock),
        None,
    );
    let mut again = call(exchange(REQUEST, RESPONSE), Side::Server, stock, None);
    again.exchange.request.first_byte += 1;
    let ids = [first, again].map(|call| through(&call, &unlimited()).calls[0].id);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn under_any_budget_minutes_and_edges_are_exact() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let one = call(exchange(REQUEST, RESPONSE), Side::Server, stock, None);
    let tight = CapturePolicy::parse("[calls]\nbudget = 1\n").unwrap();
    let mut pipeline = Pipeline::new(&tight, "boot");
    for _ in 0..500 {
        pipeline.take(&one, EPOCH_US);
    }
    let not_sent: u64 = pipeline
        .drops()
        .iter()
        .filter(|drop| drop.stage == "calls")
        .map(|drop| drop.events)
        .sum();
    assert!(pipeline.drops().iter().all(|drop| drop.fate != Fate::Lost));
    let payload = pipeline.take_payload();
    assert!(payload.calls.len() < 500);
    assert_eq!(not_sent + payload.calls.len() as u64, 500);
    assert_eq!(payload.edges[0].calls, 500);
    let delta = catalog::ApiDelta::decode(&payload.catalog[0].delta).unwrap();
    let sum: u64 = delta.minutes().map(|minute| minute.counts.duration_us_sum).sum();
    assert_eq!(sum, 500 * 3000);
}

/// Whether `needle` is anywhere in `hay`, in any case.
pub(super) fn holds(hay: &[u8], needle: &str) -> bool {
    hay.to_ascii_lowercase()
        .windows(needle.len())
        .any(|window| window == needle.to_ascii_lowercase().as_bytes())
}

#[test]
fn no_secret_leaves_whatever_place_it_is_planted_in() {
    let secret = |place: usize| format!("k{place:02}x9f3Ae71Cd05b2");
    let [
        segment,
        value,
        bare,
        fragment,
        bearer,
        cookie,
        key,
        odd_header,
        agent,
        referer,
        body,
        trailer,
        set_cookie,
        location,
        answer,
        reason,
        flag,
        positional,
        userinfo,
        host_label,
    ]: [String; 20] = std::array::from_fn(secret);
    let request = format!(
        "POST http://me:{userinfo}@stock.local/users/{segment}/orders?token={value}&{bare}#{fragment} HTTP/1.1\r\n\
         Host: stock.local\r\nAuthorization: Bearer {bearer}\r\nCookie: sid={cookie}\r\nX-Api-Key: {key}\r\n\
         X-{odd_header}: 1\r\nUser-Agent: app/1 (token={agent})\r\nReferer: http://a/{referer}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: {trailer}\r\n\r\n",
        body.len()
    );
    let response = format!(
        "HTTP/1.1 302 {reason}\r\nSet-Cookie: sid={set_cookie}\r\nLocation: /next/{location}\r\n\
         Content-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    let mut attribution = attribution();
    let shop = process(
        &mut attribution,
        100,
        &format!("/usr/bin/shop --password={flag} {positional}"),
    );
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let mut pipeline = Pipeline::new(&unlimited(), "boot");
    let one = call(
        exchange(&request, &response),
        Side::Server,
        Arc::clone(&stock),
        Some(Arc::clone(&shop)),
    );
    assert!(
        holds(&one.exchange.request.body.captured, &body),
        "the secrets did come in"
    );
    assert_eq!(one.exchange.request.body.trailers.len(), 1);
    pipeline.take(&one, EPOCH_US);
    pipeline.take(
        &call(exchange(&request, ""), Side::Client, shop, Some(stock)),
        EPOCH_US,
    );
    // Method and host are text of the client's choice too.
    let odd = format!("{host_label} / HTTP/1.1\r\nHost: {host_label}:{host_label}\r\n\r\n");
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    pipeline.take(
        &call(exchange(&odd, RESPONSE), Side::Server, stock, None),
        EPOCH_US,
    );

    let mut payload = pipeline.take_payload();
    assert_eq!(payload.calls.len(), 3);
    payload.workloads = attribution
        .take_changed_workloads()
        .iter()
        .map(|workload| workload.to_wire(EPOCH_US))
        .collect();
    assert_eq!(payload.workloads.len(), 2);
    let encoded = payload.encode_to_vec();
    assert!(holds(&encoded, "stock.local") && holds(&encoded, "/users/{"));
    for place in 0..20 {
        assert!(
            !holds(&encoded, &secret(place)),
            "{} left: {payload:?}",
            secret(place)
        );
    }
}
