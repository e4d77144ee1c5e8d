//! What was recognised in the content of a message.

use crate::application::recognise::{Answers, Asked, Calls, Message};

/// What a half of an exchange holds of an application protocol: small, whatever the body was. It is given to
/// [`classify`](crate::classify) when the other half is complete too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub(crate) found: Option<Box<Found>>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// In a request.
    GraphQl(Asked),
    JsonRpc(Calls),
    Xml(Message),
    /// In an answer.
    JsonRpcAnswer(Answers),
    XmlAnswer(Message),
}
