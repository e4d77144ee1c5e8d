//! Application protocols in the begin of a body.

pub(crate) use super::graphql::Asked;
use super::json::Value;
pub(crate) use super::json_rpc::{Answers, Calls};
pub(crate) use super::soap::Message;
use super::{graphql, json_rpc, soap};
use crate::Limits;
use crate::body::Found;

/// A request in JSON. `whole`: nothing of it is missing.
pub(crate) fn json(text: &[u8], whole: bool, limits: &Limits) -> Option<Found> {
    let value = Value::of(text, whole)?;
    json_rpc::calls(&value, limits)
        .map(Found::JsonRpc)
        .or_else(|| graphql::json(&value, limits).map(Found::GraphQl))
}

/// A request that is a GraphQL document.
pub(crate) fn document(text: &[u8], whole: bool) -> Option<Found> {
    graphql::document(text, whole).map(Found::GraphQl)
}

/// A request in XML.
pub(crate) fn xml(text: &[u8]) -> Option<Found> {
    soap::message(text).map(Found::Xml)
}

/// A request of several parts, the first of them in XML.
pub(crate) fn related(text: &[u8]) -> Option<Found> {
    soap::message_in_part(text).map(Found::Xml)
}

/// A form whose first field is called `operations` and holds a request of GraphQL; files follow
/// (<https://github.com/jaydenseric/graphql-multipart-request-spec>).
pub(crate) fn form_data(text: &[u8], limits: &Limits) -> Option<Found> {
    let head = memchr::memmem::find(text, b"\r\n\r\n")?;
    memchr::memmem::find(text.get(..head)?, b"name=\"operations\"")?;
    let field = text.get(head + 4..)?;
    let end = memchr::memmem::find(field, b"\r\n--");
    let value = Value::of(field.get(..end.unwrap_or(field.len()))?, end.is_some())?;
    graphql::json(&value, limits).map(Found::GraphQl)
}

/// The answer to a call of JSON-RPC.
pub(crate) fn json_answer(text: &[u8], whole: bool, limits: &Limits) -> Option<Found> {
    let value = Value::of(text, whole)?;
    Some(Found::JsonRpcAnswer(json_rpc::answers(&value, limits)))
}

/// The answer to a call of SOAP, perhaps with attachments.
pub(crate) fn xml_answer(text: &[u8]) -> Option<Found> {
    let message = if text.starts_with(b"--") {
        soap::message_in_part(text)
    } else {
        soap::message(text)
    };
    message.map(Found::XmlAnswer)
}
