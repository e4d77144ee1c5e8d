//! What HTTP/2 and the application protocols add to rows, edges and the inventory.

use prost::Message as _;

use super::flow_tests::{
    EPOCH_US, REQUEST, RESPONSE, attribution, call, exchange, holds, process, through, unlimited,
};
use super::*;

fn grpc(status: u32) -> protocol::Application {
    protocol::Application::Grpc(Box::new(protocol::Rpc {
        service: "shop.v1.Orders".into(),
        method: "GetOrder".into(),
        status: Some(status),
        streaming: protocol::Streaming::Server,
    }))
}

#[test]
fn an_application_is_in_the_row_and_in_the_edge() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    for (status, edge_errors) in [(0, 0), (5, 0), (13, 1)] {
        let mut exchange = exchange(REQUEST, RESPONSE);
        exchange.application = grpc(status);
        exchange.request.version = protocol::Version::Http2;
        exchange.request.authority = Some("stock.local:443".into());
        exchange.request.headers_unknown = 1;
        exchange.request.body.messages.count = 1;
        exchange.request.body.messages.bytes = 40;
        if let Some(response) = &mut exchange.response {
            response.headers_unknown = 2;
            response.body.messages.count = 3;
            response.body.messages.bytes = 500;
        }
        let payload = through(
            &call(exchange, Side::Server, Arc::clone(&stock), None),
            &unlimited(),
        );
        let row = &payload.calls[0];
        assert_eq!(row.api.as_ref().unwrap().host, "stock.local:443");
        assert_eq!(
            (
                row.protocol.as_str(),
                row.application.as_str(),
                row.operation.as_str()
            ),
            ("HTTP/2", "grpc", "shop.v1.Orders/GetOrder")
        );
        assert_eq!(
            (row.status, row.rpc_status, row.rpc_error),
            (201, Some(status as i32), status != 0)
        );
        assert_eq!(
            (
                row.request_messages,
                row.request_message_bytes,
                row.response_messages
            ),
            (1, 40, 3)
        );
        assert_eq!(
            (
                row.response_message_bytes,
                row.streaming.as_str(),
                row.headers_unknown
            ),
            (500, "server_streaming", 3)
        );
        let edge = &payload.edges[0];
        assert_eq!(
            (edge.protocol.as_str(), edge.application.as_str(), edge.errors),
            ("HTTP/2", "grpc", edge_errors)
        );
    }
}

#[test]
fn failures_of_applications_have_the_share_of_errors() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let tight = CapturePolicy::parse("[calls]\nbudget = 1\n").unwrap();
    for (status, class) in [(0, "other"), (5, "error"), (14, "error")] {
        let mut exchange = exchange(REQUEST, RESPONSE);
        exchange.application = grpc(status);
        let one = call(exchange, Side::Server, Arc::clone(&stock), None);
        let mut pipeline = Pipeline::new(&tight, "boot");
        for _ in 0..500 {
            pipeline.take(&one, EPOCH_US);
        }
        let drops = pipeline.drops();
        let most = drops
            .iter()
            .filter(|drop| drop.stage == "calls")
            .max_by_key(|drop| drop.events);
        assert_eq!(most.map(|drop| drop.name), Some(class), "{status}");
    }
}

#[test]
fn a_call_of_unknown_path_is_a_row_and_an_edge_and_no_endpoint() {
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let late = |method: &'static str, target: &'static str, status: u16| {
        let mut exchange = exchange(REQUEST, RESPONSE);
        exchange.request.version = protocol::Version::Http2;
        exchange.request.method = method.into();
        exchange.request.target = target.into();
        exchange.request.headers.clear();
        exchange.request.headers_unknown = 4;
        if let Some(response) = &mut exchange.response {
            response.status = status;
        }
        call(exchange, Side::Server, Arc::clone(&stock), None)
    };
    // What is known → the path of the row, and how many endpoints it makes.
    for (method, target, status, path, endpoints) in [
        ("POST", "", 200, "", 0),
        ("", "/orders", 200, "", 0),
        ("", "", 0, "", 0),
        ("CONNECT", "", 200, "/", 1),
        ("POST", "/orders", 0, "/orders", 1),
    ] {
        let mut pipeline = Pipeline::new(&unlimited(), "boot");
        pipeline.take(&late(method, target, status), EPOCH_US);
        let unknown = |pipeline: &Pipeline| {
            let drops = pipeline.drops();
            let drop = drops.iter().find(|drop| drop.name == "targets_unknown").unwrap();
            drop.events
        };
        assert_eq!(unknown(&pipeline), 1 - endpoints as u64, "{method} {target}");
        let payload = pipeline.take_payload();
        assert_eq!(payload.catalog.len(), endpoints, "{method} {target}");
        let row = &payload.calls[0];
        assert_eq!(
            (row.method.as_str(), row.path.as_str(), row.status),
            (method, path, u32::from(status))
        );
        assert_eq!(row.leaf.len(), 16 * endpoints);
        let api = row.api.as_ref().unwrap();
        assert_eq!((api.workload.as_str(), api.host.as_str()), ("stock", ""));
        let edge = &payload.edges[0];
        // A response of unknown status is an answer.
        assert_eq!((edge.host.as_str(), edge.calls, edge.errors), ("", 1, 0));
    }
}

#[test]
fn no_secret_leaves_through_an_application() {
    use protocol::{Application, GraphQlOperation, JsonRpcCall, Rpc, SoapCall, WebSocket};
    let secret = |place: usize| format!("k{place:02}x9f3Ae71Cd05b2");
    let bytes = |place: usize| bytes::Bytes::from(secret(place));
    let graphql = GraphQlOperation {
        kind: None,
        name: Some(bytes(0)),
        persisted: true,
    };
    let json_rpc = JsonRpcCall {
        method: bytes(1),
        ..JsonRpcCall::default()
    };
    let rpc = Rpc {
        service: format!("shop.{}.Orders", secret(2)).into(),
        method: bytes(3),
        ..Rpc::default()
    };
    let soap = SoapCall {
        action: Some(bytes(4)),
        operation: bytes(5),
        fault: true,
    };
    let socket = WebSocket {
        subprotocol: Some(bytes(6)),
        close_code: Some(1000),
    };
    let mut attribution = attribution();
    let stock = process(&mut attribution, 200, "/usr/bin/stock");
    let mut pipeline = Pipeline::new(&unlimited(), "boot");
    let applications = [
        Application::GraphQl(vec![graphql]),
        Application::JsonRpc(vec![json_rpc]),
        Application::Grpc(Box::new(rpc)),
        Application::Soap(Box::new(soap)),
        Application::WebSocket(Box::new(socket)),
        Application::XmlRpc(bytes(7)),
    ];
    // Often enough for a word to be learnt.
    for application in applications.iter().cycle().take(applications.len() * 10) {
        let mut exchange = exchange(REQUEST, RESPONSE);
        exchange.application = application.clone();
        exchange.request.version = protocol::Version::Http2;
        exchange.request.authority = Some(bytes(8));
        exchange.request.body.captured = bytes(9);
        exchange.request.headers.push(b"grpc-metadata-bin", &bytes(10));
        exchange.request.body.trailers.push(b"grpc-message", &bytes(11));
        pipeline.take(&call(exchange, Side::Server, Arc::clone(&stock), None), EPOCH_US);
    }
    let payload = pipeline.take_payload();
    let encoded = payload.encode_to_vec();
    assert!(holds(&encoded, "websocket") && holds(&encoded, "shop.{text}.Orders/{text}"));
    // The host is what clients call it by: a name, not masked, see `Hosts`.
    for place in (0..12).filter(|place| *place != 8) {
        assert!(
            !holds(&encoded, &secret(place)),
            "{} left: {payload:?}",
            secret(place)
        );
    }
}
