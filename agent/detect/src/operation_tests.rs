use bytes::Bytes;
use protocol::{GraphQlKind, Streaming};

use super::*;
use crate::redact::tests::exchange;

fn named(application: Application) -> Operation {
    Operations::new().of(&Exchange {
        application,
        ..exchange()
    })
}

fn rpc(service: &str, method: &str, status: Option<u32>) -> Application {
    Application::Grpc(Box::new(Rpc {
        service: Bytes::copy_from_slice(service.as_bytes()),
        method: Bytes::copy_from_slice(method.as_bytes()),
        status,
        streaming: Streaming::Server,
    }))
}

fn graphql(kind: Option<GraphQlKind>, name: Option<&str>, persisted: bool) -> GraphQlOperation {
    GraphQlOperation {
        kind,
        name: name.map(|name| Bytes::copy_from_slice(name.as_bytes())),
        persisted,
    }
}

fn json_rpc(methods: &[(&str, Option<i64>)]) -> Application {
    let call = |(method, error): &(&str, Option<i64>)| JsonRpcCall {
        method: Bytes::copy_from_slice(method.as_bytes()),
        notification: false,
        error: *error,
    };
    Application::JsonRpc(methods.iter().map(call).collect())
}

fn soap(action: Option<&str>, operation: &str, fault: bool) -> Application {
    Application::Soap(Box::new(SoapCall {
        action: action.map(|action| Bytes::copy_from_slice(action.as_bytes())),
        operation: Bytes::copy_from_slice(operation.as_bytes()),
        fault,
    }))
}

fn socket(subprotocol: Option<&str>, close_code: Option<u16>) -> Application {
    Application::WebSocket(Box::new(WebSocket {
        subprotocol: subprotocol.map(|name| Bytes::copy_from_slice(name.as_bytes())),
        close_code,
    }))
}

const SECRET: &str = "k7x9f3Ae71Cd05b2";

#[test]
fn names_of_every_application() {
    let query = Some(GraphQlKind::Query);
    let text = |bytes: &str| Bytes::copy_from_slice(bytes.as_bytes());
    for (application, expect) in [
        (Application::Http, ""),
        (Application::EventStream, ""),
        (rpc("shop.v1.Orders", "GetOrder", None), "shop.v1.Orders/GetOrder"),
        (
            rpc("grpc.health.v1.Health", "Check", None),
            "grpc.health.v1.Health/Check",
        ),
        (rpc("shop.k9x2m4q7.Orders", "Get", None), "shop.{text}.Orders/Get"),
        (rpc("", "", None), ""),
        (
            Application::GraphQl(vec![graphql(query, Some("GetUser"), false)]),
            "query GetUser",
        ),
        (Application::GraphQl(vec![graphql(query, None, false)]), "query"),
        (Application::GraphQl(vec![graphql(None, None, true)]), "persisted"),
        (
            Application::GraphQl(vec![graphql(None, Some("GetUser"), true)]),
            "persisted GetUser",
        ),
        (
            Application::GraphQl(vec![
                graphql(query, Some("GetUser"), false),
                graphql(Some(GraphQlKind::Mutation), Some("UpdateUser"), false),
                graphql(query, Some("GetUser"), false),
            ]),
            "query GetUser, mutation UpdateUser",
        ),
        (
            Application::GraphQl(vec![graphql(query, Some("Get-User"), false)]),
            "query {text}",
        ),
        (json_rpc(&[("orders.list", None)]), "orders.list"),
        (
            json_rpc(&[("eth_getBlockByNumber", None)]),
            "{text}_getBlockByNumber",
        ),
        (
            json_rpc(&[("tools/call", None), ("tools/list", None)]),
            "tools/call, tools/list",
        ),
        (json_rpc(&[("$/cancelRequest", None)]), "$/cancelRequest"),
        (json_rpc(&[("list users", None)]), "{text}"),
        (json_rpc(&[("", None)]), ""),
        (soap(Some("urn:x#y"), "GetOrder", false), "GetOrder"),
        (
            soap(Some("http://shop.test/orders/GetOrder"), "", false),
            "GetOrder",
        ),
        (soap(Some("urn:orders#ListOrders"), "", false), "ListOrders"),
        (soap(Some("urn:orders:UpdateOrder"), "", false), "UpdateOrder"),
        (soap(None, "", false), ""),
        (
            Application::XmlRpc(text("system.listMethods")),
            "system.listMethods",
        ),
        (socket(Some("graphql-transport-ws"), None), "graphql-transport-ws"),
        (socket(Some("orders.v1"), None), "orders.v1"),
        (socket(None, None), ""),
    ] {
        let seen = named(application.clone()).name;
        assert_eq!(seen, expect, "{application:?}");
    }
}

#[test]
fn values_are_masked_in_every_place() {
    let secret = Bytes::copy_from_slice(SECRET.as_bytes());
    let long = "orders.".repeat(40);
    let longest = "o".repeat(10_000);
    for application in [
        rpc(SECRET, SECRET, None),
        rpc(&format!("shop.{SECRET}.Orders"), &format!("Get{SECRET}"), None),
        Application::GraphQl(vec![graphql(Some(GraphQlKind::Query), Some(SECRET), false)]),
        Application::GraphQl(vec![graphql(None, Some(&format!("Get_{SECRET}")), true)]),
        json_rpc(&[(SECRET, None), (&format!("orders.{SECRET}"), None)]),
        json_rpc(&[(&format!("a b {SECRET}"), None)]),
        soap(Some(&format!("urn:x#{SECRET}")), "", false),
        soap(Some(&format!("http://h/?token={SECRET}")), "", false),
        soap(None, SECRET, false),
        Application::XmlRpc(secret),
        socket(
            Some(&format!("base64url.bearer.authorization.k8s.io.{SECRET}")),
            None,
        ),
        socket(Some(SECRET), None),
        json_rpc(&[(&long, None), (&longest, None)]),
    ] {
        let call = Exchange {
            application: application.clone(),
            ..exchange()
        };
        let mut operations = Operations::new();
        // However often.
        for _ in 0..10 {
            let seen = operations.of(&call).name;
            assert!(
                seen.contains("{text}") && !seen.contains(SECRET) && !seen.contains("oooo"),
                "{application:?}: {seen}"
            );
            assert!(seen.len() <= OPERATION_BYTES_MAX);
        }
        // On the node they are seen, within the same bound and without anything that a terminal would obey.
        let shown = revealed(&call);
        assert!(shown.contains(SECRET) || shown.contains("orders."), "{shown}");
        assert!(shown.len() <= OPERATION_BYTES_MAX);
    }
}

#[test]
fn a_plausible_name_is_text_from_its_third_call_that_went_well() {
    let call = |status| Exchange {
        application: rpc("shop.v1.Flurbs", "Get", Some(status)),
        ..exchange()
    };
    let mut operations = Operations::new();
    for status in [0, 12, 12, 12, 0] {
        assert_eq!(operations.of(&call(status)).name, "shop.v1.{text}/Get");
    }
    assert_eq!(operations.of(&call(0)).name, "shop.v1.Flurbs/Get");
}

#[test]
fn a_batch_is_cut_at_its_limit_and_counted() {
    // 16 bytes each with the comma: 15 fit beside the mark of what is left out.
    let words = ["user", "item", "cart", "list"];
    let methods: Vec<String> = (0..16)
        .map(|at| format!("orders.{}.{}x", words[at / 4], words[at % 4]).replace('x', "s"))
        .collect();
    let batch = |count: usize| {
        let methods: Vec<_> = methods
            .iter()
            .take(count)
            .map(|method| (method.as_str(), None))
            .collect();
        Exchange {
            application: json_rpc(&methods),
            ..exchange()
        }
    };
    let mut operations = Operations::new();
    let fits = operations.of(&batch(13)).name;
    assert_eq!((fits.split(", ").count(), operations.cut()), (13, 0), "{fits}");
    let cut = operations.of(&batch(16)).name;
    assert!(cut.ends_with(", …") && cut.len() <= OPERATION_BYTES_MAX, "{cut}");
    assert_eq!(operations.cut(), 1);
}

#[test]
fn how_it_ended() {
    use Outcome::{Failed, ServerFailed, Unknown};
    for (application, status, outcome) in [
        (rpc("a", "b", None), None, Unknown),
        (rpc("a", "b", Some(0)), Some(0), Unknown),
        (rpc("a", "b", Some(1)), Some(1), Failed),
        (rpc("a", "b", Some(2)), Some(2), ServerFailed),
        (rpc("a", "b", Some(5)), Some(5), Failed),
        (rpc("a", "b", Some(14)), Some(14), ServerFailed),
        (rpc("a", "b", Some(16)), Some(16), Failed),
        (rpc("a", "b", Some(u32::MAX)), None, Failed),
        (json_rpc(&[("a", None)]), None, Unknown),
        (json_rpc(&[("a", Some(-32_601))]), Some(-32_601), Failed),
        (
            json_rpc(&[("a", None), ("b", Some(7)), ("c", Some(-32_000))]),
            Some(7),
            ServerFailed,
        ),
        (json_rpc(&[("a", Some(i64::MAX))]), None, Failed),
        (socket(None, Some(1000)), Some(1000), Unknown),
        (socket(None, Some(1009)), Some(1009), Failed),
        (socket(None, Some(1011)), Some(1011), ServerFailed),
        (socket(None, Some(4000)), Some(4000), Unknown),
        (soap(None, "Get", true), None, Failed),
        (Application::Http, None, Unknown),
    ] {
        let seen = named(application.clone());
        assert_eq!((seen.status, seen.outcome), (status, outcome), "{application:?}");
    }
}

#[test]
fn messages_are_counted_each_way() {
    let mut call = Exchange {
        application: rpc("shop.v1.Orders", "List", Some(0)),
        ..exchange()
    };
    call.request.body.messages.count = 1;
    if let Some(response) = &mut call.response {
        response.body.messages.count = 3;
        response.body.messages.bytes = 300;
    }
    let seen = Operations::new().of(&call);
    assert_eq!(
        (seen.request.count, seen.response.count, seen.response.bytes),
        (1, 3, 300)
    );
    assert_eq!(seen.streaming, "server_streaming");
}
