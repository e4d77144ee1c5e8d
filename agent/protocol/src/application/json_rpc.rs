//! JSON-RPC: 2.0 (<https://www.jsonrpc.org/specification>), 1.0 and what lies between. A request is one by its `jsonrpc`
//! member; without it by having `method`, `params` as an array and `id`, as 1.0 has them.

use bytes::Bytes;

use super::classify::NAME_BYTES_MAX;
use super::json::Value;
use crate::{JsonRpcCall, Limits, memory};

/// Longest id that is compared, bytes as sent.
const ID_BYTES_MAX: usize = 128;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    /// Nothing else is written like that. If not, the answer has to tell.
    sure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    call: JsonRpcCall,
    id: Option<Bytes>,
}

impl Calls {
    /// Bytes of memory behind them.
    pub(crate) fn memory_bytes(&self) -> usize {
        let call = |call: &Call| {
            let texts = memory::text(Some(&call.call.method)) + memory::text(call.id.as_ref());
            size_of::<Call>() + texts
        };
        self.calls.iter().map(call).sum()
    }
}

impl Answers {
    /// Bytes of memory behind them.
    pub(crate) fn memory_bytes(&self) -> usize {
        let failure = |failure: &Failure| size_of::<Failure>() + memory::text(failure.id.as_ref());
        self.errors.iter().map(failure).sum()
    }
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// It says that it is JSON-RPC.
    versioned: bool,
    errors: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    /// `None`: it was not told which call failed.
    id: Option<Bytes>,
    code: i64,
}

/// The calls of a body, perhaps a batch.
pub(super) fn calls(text: &Value<'_>, limits: &Limits) -> Option<Calls> {
    if !text.is_array() {
        let (call, sure) = call(text)?;
        return Some(Calls {
            calls: vec![call],
            sure,
        });
    }
    let mut calls = Calls {
        calls: Vec::new(),
        sure: true,
    };
    for element in text.elements().take(limits.operations) {
        let Some((call, sure)) = call(&element) else {
            // What is cut off may lack what tells it; an answer of the client's may stand among its calls.
            if !element.whole() || !calls.calls.is_empty() {
                continue;
            }
            return None;
        };
        calls.calls.push(call);
        calls.sure &= sure;
    }
    (!calls.calls.is_empty()).then_some(calls)
}

fn call(object: &Value<'_>) -> Option<(Call, bool)> {
    let mut method = None;
    let mut id = None;
    let mut version = None;
    let mut list = false;
    let mut parameters = false;
    for (name, value) in object.members() {
        match &*name {
            b"jsonrpc" => version = value.string(),
            b"method" if value.whole() => method = value.string().filter(|method| !method.is_empty()),
            b"id" => id = Some(value),
            b"params" => {
                list = value.is_array();
                parameters = list || value.is_object();
            }
            _ => {}
        }
    }
    let method = method?;
    let cut = !object.whole();
    let versioned = version.is_some_and(|version| version.starts_with(b"1.") || version.starts_with(b"2."));
    let oldest = list && id.is_some();
    let sure = versioned || oldest;
    let perhaps = cut && parameters;
    if !sure && !perhaps {
        return None;
    }
    let notification = match &id {
        None => !cut,
        // In 1.0 a notification has an id of null; later it is bad style, but asks for an answer.
        Some(id) => !versioned && id.is_null(),
    };
    let call = Call {
        call: JsonRpcCall {
            method: Bytes::copy_from_slice(method.get(..NAME_BYTES_MAX).unwrap_or(&method)),
            notification,
            error: None,
        },
        id: id.as_ref().and_then(token),
    };
    Some((call, sure))
}

/// An id as it was sent; `None`: none that could be compared.
fn token(id: &Value<'_>) -> Option<Bytes> {
    let raw = id.raw();
    (id.whole() && !id.is_null() && raw.len() <= ID_BYTES_MAX).then(|| Bytes::copy_from_slice(raw))
}

/// The errors of an answer, perhaps to a batch.
pub(super) fn answers(text: &Value<'_>, limits: &Limits) -> Answers {
    let mut answers = Answers::default();
    if text.is_array() {
        for element in text.elements() {
            answers.add(&element, limits);
        }
    } else {
        answers.add(text, limits);
    }
    answers
}

impl Answers {
    fn add(&mut self, object: &Value<'_>, limits: &Limits) {
        let mut id = None;
        let mut code = None;
        for (name, value) in object.members() {
            match &*name {
                b"jsonrpc" => self.versioned = true,
                b"id" => id = token(&value),
                b"error" => {
                    code = value
                        .members()
                        .find(|(name, _)| &**name == b"code")
                        .and_then(|(_, code)| code.integer());
                }
                _ => {}
            }
        }
        if let Some(code) = code
            && self.errors.len() < limits.operations
        {
            self.errors.push(Failure { id, code });
        }
    }
}

impl Calls {
    /// The calls with the errors that answered them; `None`: it was another protocol.
    pub(super) fn answered(self, answers: Option<&Answers>) -> Option<Vec<JsonRpcCall>> {
        if !self.sure && !answers.is_some_and(|answers| answers.versioned) {
            return None;
        }
        let errors = answers.map_or(&[][..], |answers| &answers.errors);
        let error = |id: Option<&Bytes>| {
            let its = errors
                .iter()
                .find(|error| error.id.is_some() && error.id.as_ref() == id);
            // A request that could not be read is answered as a whole, without an id.
            let whole = || {
                errors
                    .iter()
                    .find(|error| error.id.is_none() && errors.len() == 1)
            };
            its.or_else(whole).map(|error| error.code)
        };
        let calls = self.calls.into_iter().map(|Call { call, id }| JsonRpcCall {
            error: if call.notification {
                None
            } else {
                error(id.as_ref())
            },
            ..call
        });
        Some(calls.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(request: &str, answer: &str) -> String {
        let limits = Limits::default();
        let parse = |text: &'static str| Value::of(text.as_bytes(), true);
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let Some(calls) = parse(leak(request)).and_then(|text| calls(&text, &limits)) else {
            return "none".into();
        };
        let answers = parse(leak(answer)).map(|text| super::answers(&text, &limits));
        let Some(calls) = calls.answered(answers.as_ref()) else {
            return "perhaps".into();
        };
        let calls: Vec<_> = calls
            .iter()
            .map(|call| {
                let mut line = call.method.escape_ascii().to_string();
                if call.notification {
                    line += " notification";
                }
                if let Some(error) = call.error {
                    line += &format!(" {error}");
                }
                line
            })
            .collect();
        calls.join(", ")
    }

    #[test]
    fn calls_and_their_errors() {
        let cases = [
            // The specification's examples.
            (
                r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
                r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#,
                "subtract",
            ),
            (
                r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
                "",
                "update notification",
            ),
            (
                r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
                r#"{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}"#,
                "foobar -32601",
            ),
            (
                r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
                    {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
                    {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
                    {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]"#,
                r#"[{"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
                    {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
                    {"jsonrpc": "2.0", "result": 7, "id": "1"}]"#,
                "sum, notify_hello notification, foo.get -32601, get_data",
            ),
            // Ethereum.
            (
                r#"[{"method":"eth_chainId","params":[],"id":42,"jsonrpc":"2.0"},{"method":"eth_call","params":[{"to":"0x6b","data":"0x"},"latest"],"id":43,"jsonrpc":"2.0"}]"#,
                r#"[{"jsonrpc":"2.0","id":42,"result":"0x1"},{"jsonrpc":"2.0","id":43,"error":{"code":3,"message":"execution reverted","data":"0x08c379a0"}}]"#,
                "eth_chainId, eth_call 3",
            ),
            // A language server, and a tool server's client.
            (
                r#"{"jsonrpc":"2.0","id":0,"method":"textDocument/hover","params":{"textDocument":{"uri":"file:///a.rs"}}}"#,
                "",
                "textDocument/hover",
            ),
            (
                r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#,
                "",
                "notifications/initialized notification",
            ),
            // Bitcoin, and 1.0 itself.
            (
                r#"{"jsonrpc": "1.0", "id": "curltest", "method": "getblockcount", "params": []}"#,
                r#"{"result":null,"error":{"code":-28,"message":"Loading block index"},"id":"curltest"}"#,
                "getblockcount -28",
            ),
            (
                r#"{"method": "echo", "params": ["Hello JSON-RPC"], "id": 1}"#,
                r#"{"result": "Hello JSON-RPC", "error": null, "id": 1}"#,
                "echo",
            ),
            (
                r#"{"method": "handleMessage", "params": ["user1", "hi"], "id": null}"#,
                "",
                "handleMessage notification",
            ),
            // What could not be read at all.
            (
                r#"{"jsonrpc":"2.0","method":"a","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#,
                "a -32700",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"a","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":5},"id":2}"#,
                "a",
            ),
            (r#"{"jsonrpc":"2.0","method":"a","id":1}"#, "<html>", "a"),
            // Cut off.
            (r#"{"jsonrpc":"2.0","method":"big","params":["aaaa"#, "", "big"),
            (
                r#"{"method":"big","params":["aaaa"#,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#,
                "big",
            ),
            (r#"{"method":"big","params":["aaaa"#, r#"{"ok":true}"#, "perhaps"),
            (r#"{"jsonrpc":"2.0","method":"bi"#, "", "none"),
            (r#"[{"jsonrpc":"2.0","method":"a","id":1},{"jsonrp"#, "", "a"),
            // Other APIs.
            (r#"{"method":"card","amount":5}"#, "", "none"),
            (r#"{"method":"card","params":{"a":1}}"#, "", "none"),
            (r#"{"id":1,"method":"x"}"#, "", "none"),
            (r#"{"jsonrpc":"2.0","result":1,"id":1}"#, "", "none"),
            (r#"{"jsonrpc":"2.0","method":7,"id":1}"#, "", "none"),
            (r#"{"jsonrpc":"3.0","method":"x"}"#, "", "none"),
            (r#"[{"a":1},{"jsonrpc":"2.0","method":"a","id":1}]"#, "", "none"),
            ("[1,2,3]", "", "none"),
            ("[]", "", "none"),
            ("{}", "", "none"),
        ];
        for (request, answer, want) in cases {
            assert_eq!(show(request, answer), want, "{request}");
        }
    }

    #[test]
    fn limits() {
        let limits = Limits {
            operations: 2,
            ..Limits::default()
        };
        let count = |len: usize| {
            let text = format!(
                "[{}]",
                vec![r#"{"jsonrpc":"2.0","method":"a","id":1}"#; len].join(",")
            );
            calls(&Value::of(text.as_bytes(), true).unwrap(), &limits)
                .unwrap()
                .calls
                .len()
        };
        assert_eq!([count(1), count(2), count(3)], [1, 2, 2]);
        let errors = |len: usize| {
            let text = format!("[{}]", vec![r#"{"id":1,"error":{"code":1}}"#; len].join(","));
            answers(&Value::of(text.as_bytes(), true).unwrap(), &limits)
                .errors
                .len()
        };
        assert_eq!([errors(2), errors(3)], [2, 2]);
        let id = |len: usize| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"{}","id":{}}}"#,
                "m".repeat(300),
                "1".repeat(len)
            );
            calls(&Value::of(text.as_bytes(), true).unwrap(), &limits)
                .unwrap()
                .calls
                .remove(0)
        };
        assert!(id(ID_BYTES_MAX).id.is_some() && id(ID_BYTES_MAX + 1).id.is_none());
        assert_eq!(id(1).call.method.len(), NAME_BYTES_MAX);
    }
}
