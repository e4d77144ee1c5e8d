//! What speaks on top of HTTP, in a line of `calls.jsonl`.

use detect::Operation;
use protocol::{Application, GraphQlOperation, JsonRpcCall, Rpc, SoapCall, WebSocket};

use super::json;

/// Writes `,"application":{…}` where there is one, with its names as they were sent.
pub fn write(out: &mut Vec<u8>, application: &Application) {
    if *application == Application::Http {
        return;
    }
    let mut object = begin(out, application);
    match application {
        Application::Http | Application::EventStream => {}
        Application::Grpc(rpc) | Application::GrpcWeb(rpc) => grpc(&mut object, rpc),
        Application::WebSocket(socket) => web_socket(&mut object, socket),
        Application::GraphQl(operations) => object.array("operations", operations, graphql),
        Application::JsonRpc(calls) => object.array("calls", calls, json_rpc),
        Application::Soap(call) => soap(&mut object, call),
        Application::XmlRpc(method) => object.text("method", Some(method)),
    }
    object.end();
}

/// As [`write`], of what may leave a node: the names in one, without values.
pub fn write_redacted(out: &mut Vec<u8>, application: &Application, operation: &Operation) {
    if *application == Application::Http {
        return;
    }
    let mut object = begin(out, application);
    object.text("operation", none_if_empty(&operation.name));
    object.number("status", operation.status.map(i64::from));
    object.text("streaming", none_if_empty(operation.streaming));
    object.end();
}

fn none_if_empty(text: &str) -> Option<&[u8]> {
    Some(text.as_bytes()).filter(|text| !text.is_empty())
}

fn begin<'a>(out: &'a mut Vec<u8>, application: &Application) -> Object<'a> {
    out.extend_from_slice(b",\"application\":");
    let mut object = Object::begin(out);
    object.text("type", Some(application.name().as_bytes()));
    object
}

fn grpc(object: &mut Object<'_>, rpc: &Rpc) {
    object.text("service", Some(&rpc.service));
    object.text("method", Some(&rpc.method));
    object.number("status", rpc.status.map(i64::from));
    object.text("streaming", Some(rpc.streaming.name().as_bytes()));
}

fn web_socket(object: &mut Object<'_>, socket: &WebSocket) {
    object.text("subprotocol", socket.subprotocol.as_deref());
    object.number("close_code", socket.close_code.map(i64::from));
}

fn graphql(object: &mut Object<'_>, operation: &GraphQlOperation) {
    object.text("type", operation.kind.map(|kind| kind.name().as_bytes()));
    object.text("name", operation.name.as_deref());
    object.flag("persisted", operation.persisted);
}

fn json_rpc(object: &mut Object<'_>, call: &JsonRpcCall) {
    object.text("method", Some(&call.method));
    object.flag("notification", call.notification);
    object.number("error", call.error);
}

fn soap(object: &mut Object<'_>, call: &SoapCall) {
    object.text("action", call.action.as_deref());
    object.text("operation", Some(&call.operation));
    object.flag("fault", call.fault);
}

/// An object that is being written. Members without a value are left out.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        json::string(self.out, name.as_bytes());
        self.out.push(b':');
    }

    fn text(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.name(name);
            json::string(self.out, value);
        }
    }

    fn number(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.name(name);
            if value < 0 {
                self.out.push(b'-');
            }
            json::number(self.out, value.unsigned_abs());
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.name(name);
            self.out.extend_from_slice(b"true");
        }
    }

    fn array<T>(&mut self, name: &str, items: &[T], write: impl Fn(&mut Object<'_>, &T)) {
        self.name(name);
        self.out.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            let mut object = Object::begin(self.out);
            write(&mut object, item);
            object.end();
        }
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{GraphQlKind, Streaming};

    #[test]
    fn all_kinds() {
        for (application, expect) in [
            (Application::Http, ""),
            (Application::EventStream, r#","application":{"type":"sse"}"#),
            (
                Application::Grpc(Box::new(Rpc {
                    service: "shop.Cart".into(),
                    method: "Add".into(),
                    status: Some(5),
                    streaming: Streaming::Server,
                })),
                r#","application":{"type":"grpc","service":"shop.Cart","method":"Add","status":5,"streaming":"server_streaming"}"#,
            ),
            (
                Application::WebSocket(Box::new(WebSocket {
                    subprotocol: Some("mqtt".into()),
                    close_code: Some(1000),
                })),
                r#","application":{"type":"websocket","subprotocol":"mqtt","close_code":1000}"#,
            ),
            (
                Application::GraphQl(vec![
                    GraphQlOperation {
                        kind: Some(GraphQlKind::Mutation),
                        name: Some("A".into()),
                        persisted: false,
                    },
                    GraphQlOperation {
                        kind: None,
                        name: None,
                        persisted: true,
                    },
                ]),
                r#","application":{"type":"graphql","operations":[{"type":"mutation","name":"A"},{"persisted":true}]}"#,
            ),
            (
                Application::JsonRpc(vec![JsonRpcCall {
                    method: "a\"b".into(),
                    notification: true,
                    error: Some(-32_601),
                }]),
                r#","application":{"type":"json-rpc","calls":[{"method":"a\"b","notification":true,"error":-32601}]}"#,
            ),
            (
                Application::Soap(Box::new(SoapCall {
                    action: None,
                    operation: "Get".into(),
                    fault: true,
                })),
                r#","application":{"type":"soap","operation":"Get","fault":true}"#,
            ),
            (
                Application::XmlRpc("m".into()),
                r#","application":{"type":"xml-rpc","method":"m"}"#,
            ),
        ] {
            let mut out = Vec::new();
            write(&mut out, &application);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
}
