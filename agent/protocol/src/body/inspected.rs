//! What was recognised in the content of a message.

use crate::Headers;
use crate::application::recognise::{Answers, Asked, Calls, Message};
use crate::media::Media;

/// What a half of an exchange holds of an application protocol: small, whatever the body was. It is given to
/// [`classify`](crate::classify) when the other half is complete too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub(crate) found: Option<Box<Found>>,
    /// The type of the content, where there was any.
    pub(super) media: Option<Media>,
}

impl Inspected {
    /// The media type of the message, which has these header fields.
    pub(crate) fn media(&self, headers: &Headers) -> Media {
        self.media.unwrap_or_else(|| Media::of(headers))
    }
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
