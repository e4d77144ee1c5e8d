//! GraphQL over HTTP (<https://graphql.github.io/graphql-over-http/>): the operations that a request asks for. A member
//! called `query` is no sign of it: the document must be one.

mod document;
mod lexer;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use super::classify::NAME_BYTES_MAX;
use super::json::Value;
use crate::{GraphQlKind, GraphQlOperation, Limits, memory};

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) operations: Vec<GraphQlOperation>,
    /// Nothing else is written like that. If not, the path or the answer has to tell.
    pub(crate) sure: bool,
}

impl Asked {
    /// Bytes of memory behind it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let name = |operation: &GraphQlOperation| memory::text(operation.name.as_ref());
        size_of_val(self.operations.as_slice()) + self.operations.iter().map(name).sum::<usize>()
    }
}

/// A JSON body, perhaps a batch.
pub(super) fn json(text: &Value<'_>, limits: &Limits) -> Option<Asked> {
    if !text.is_array() {
        let (operation, sure) = request(text)?;
        return Some(Asked {
            operations: vec![operation],
            sure,
        });
    }
    let mut asked = Asked {
        operations: Vec::new(),
        sure: true,
    };
    for element in text.elements().take(limits.operations) {
        match request(&element) {
            Some((operation, sure)) => {
                asked.operations.push(operation);
                asked.sure &= sure;
            }
            // What is cut off may lack what tells it.
            None if !element.whole() => break,
            None => return None,
        }
    }
    (!asked.operations.is_empty()).then_some(asked)
}

/// A body that is a document (`application/graphql`).
pub(super) fn document(text: &[u8], whole: bool) -> Option<Asked> {
    let found = document::operation(text, None, whole)?;
    Some(Asked {
        operations: vec![GraphQlOperation {
            kind: Some(found.kind),
            name: found.name.map(name),
            persisted: false,
        }],
        sure: true,
    })
}

/// The parameters of a request, wherever they come from.
#[derive(Debug, Default)]
struct Parameters<'a> {
    /// The document, and whether nothing of it is missing.
    query: Option<(Cow<'a, [u8]>, bool)>,
    operation_name: Option<Cow<'a, [u8]>>,
    /// Hash of a persisted document (Apollo).
    hash: bool,
    /// Name of a persisted document: `documentId` (Relay, and the draft of GraphQL over HTTP).
    document_id: bool,
    /// Members that servers of other kinds use as well.
    id: bool,
    variables: bool,
    /// The request is cut off.
    cut: bool,
}

fn request(object: &Value<'_>) -> Option<(GraphQlOperation, bool)> {
    let mut parameters = Parameters {
        cut: !object.whole(),
        ..Parameters::default()
    };
    for (name, value) in object.members() {
        match &*name {
            b"query" if !value.is_null() => parameters.query = Some((value.string()?, value.whole())),
            b"operationName" => parameters.operation_name = value.string().filter(|name| !name.is_empty()),
            b"variables" => parameters.variables = value.is_object() || value.is_null(),
            b"extensions" => parameters.hash |= persisted_hash(&value),
            b"documentId" => parameters.document_id |= value.string().is_some_and(|id| !id.is_empty()),
            b"id" | b"queryId" | b"doc_id" => {
                parameters.id |= !value.is_null() && !value.is_object() && !value.is_array()
            }
            // JSON-RPC.
            b"jsonrpc" => return None,
            _ => {}
        }
    }
    parameters.operation()
}

/// Whether `extensions` names a persisted document.
fn persisted_hash(extensions: &Value<'_>) -> bool {
    extensions
        .members()
        .any(|(name, value)| &*name == b"persistedQuery" && value.is_object())
}

/// The parameters of a query string, `application/x-www-form-urlencoded`.
pub(super) fn query_string(text: &[u8], limits: &Limits) -> Option<Asked> {
    let mut parameters = Parameters::default();
    for pair in text.split(|&byte| byte == b'&') {
        let Some((name, value)) = memchr::memchr(b'=', pair).and_then(|at| pair.split_at_checked(at)) else {
            continue;
        };
        let value = value.get(1..).unwrap_or_default();
        match name {
            b"query" if !value.is_empty() => {
                let seen = value.get(..limits.inspect_bytes);
                parameters.query = Some((
                    decode(seen.unwrap_or(value)),
                    seen.is_none_or(|seen| seen.len() == value.len()),
                ));
            }
            b"operationName" if !value.is_empty() => parameters.operation_name = Some(decode(value)),
            b"variables" => parameters.variables = true,
            b"extensions" => {
                let value = decode(value.get(..limits.inspect_bytes).unwrap_or(value));
                parameters.hash |= Value::of(&value, true).is_some_and(|value| persisted_hash(&value));
            }
            b"documentId" => parameters.document_id = true,
            b"id" | b"queryId" | b"doc_id" => parameters.id = true,
            _ => {}
        }
    }
    let (operation, sure) = parameters.operation()?;
    Some(Asked {
        operations: vec![operation],
        sure,
    })
}

impl Parameters<'_> {
    fn operation(self) -> Option<(GraphQlOperation, bool)> {
        let persisted = self.hash || self.document_id;
        let wanted = self.operation_name.as_deref();
        let named = wanted.is_some();
        let document = self.query.as_ref().filter(|(document, _)| !document.is_empty());
        if let Some((document, whole)) = document {
            if let Some(found) = document::operation(document, wanted, *whole) {
                let called = found.name.or(wanted.filter(|_| !whole));
                return Some((operation(Some(found.kind), called, persisted), true));
            }
            if *whole {
                return None;
            }
        } else if persisted {
            let sure = self.hash || named || self.variables;
            return Some((operation(None, wanted, true), sure));
        }
        // The document may come behind large variables.
        if self.cut && named && self.variables {
            return Some((operation(None, wanted, persisted), true));
        }
        if document.is_some() {
            return None;
        }
        (self.id && (self.variables || named))
            .then(|| (operation(None, wanted, true), named && self.variables))
    }
}

fn operation(kind: Option<GraphQlKind>, called: Option<&[u8]>, persisted: bool) -> GraphQlOperation {
    GraphQlOperation {
        kind,
        name: called.map(name),
        persisted,
    }
}

fn name(name: &[u8]) -> Bytes {
    Bytes::copy_from_slice(name.get(..NAME_BYTES_MAX).unwrap_or(name))
}

/// Resolves `+` and `%XX`; what is none stays as it is.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        out.push(match (byte, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => byte,
            },
            _ => byte,
        });
    }
    Cow::Owned(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
