//! What recognising an application protocol needs of a body, and what it finds there.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::inspected::{Found, Inspected};
use crate::application::recognise;
use crate::media::Media;
use crate::{Limits, Request};

/// What the begin of a body is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inspect {
    /// A call in JSON: GraphQL, JSON-RPC.
    Json,
    /// A GraphQL document.
    Document,
    /// A call in XML: SOAP, XML-RPC.
    Xml,
    /// The same in the first part of several.
    Related,
    /// GraphQL in the first field of a form.
    FormData,
    /// The answer to a call of JSON-RPC.
    JsonAnswer,
    /// The answer to a call of SOAP.
    XmlAnswer,
}

/// Whether the first byte that is no white space speaks for what is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstByte {
    /// There is none yet.
    None,
    Fits,
    Misfits,
}

impl Inspect {
    /// Of a request with this method, which is empty where it is not known. Calls are posted.
    pub(super) fn request(method: &[u8], media: Media) -> Option<Self> {
        if !posted(method) {
            return None;
        }
        match media {
            Media::Json | Media::Text => Some(Self::Json),
            Media::GraphQl => Some(Self::Document),
            Media::Xml | Media::Soap => Some(Self::Xml),
            Media::Related => Some(Self::Related),
            Media::FormData => Some(Self::FormData),
            _ => None,
        }
    }

    /// Of the response to `request`, whose content was `inspected` if it is complete.
    pub(super) fn response(request: &Request, inspected: Option<&Inspected>, media: Media) -> Option<Self> {
        let answer = match media {
            Media::Json | Media::Text => Self::JsonAnswer,
            Media::Xml | Media::Soap | Media::Related => Self::XmlAnswer,
            _ => return None,
        };
        let awaited = match inspected {
            Some(inspected) => match inspected.found.as_deref()? {
                Found::JsonRpc(_) => Self::JsonAnswer,
                Found::Xml(_) => Self::XmlAnswer,
                _ => return None,
            },
            None if !posted(&request.method) => return None,
            None => match Self::request(&request.method, Media::of(&request.headers))? {
                Self::Json => Self::JsonAnswer,
                Self::Xml | Self::Related => Self::XmlAnswer,
                _ => return None,
            },
        };
        (awaited == answer).then_some(answer)
    }

    /// Judges the first bytes of a body, or those that follow nothing but white space.
    pub(super) fn first_byte(self, data: &[u8]) -> FirstByte {
        // Bytes of a byte order mark count as white space.
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf);
        match data.iter().find(|byte| !blank(byte)) {
            None => FirstByte::None,
            Some(byte) => {
                let fits = match self {
                    Self::Json | Self::JsonAnswer => matches!(byte, b'{' | b'['),
                    Self::Xml => *byte == b'<',
                    Self::Related | Self::FormData => *byte == b'-',
                    Self::Document | Self::XmlAnswer => true,
                };
                if fits { FirstByte::Fits } else { FirstByte::Misfits }
            }
        }
    }

    /// Looks at the begin of a body. `whole`: it is all of it.
    pub(super) fn inspect(self, content: &[u8], whole: bool, limits: &Limits) -> Option<Found> {
        match self {
            Self::Json if !may_be_call(content) => None,
            Self::Json => recognise::json(content, whole, limits),
            Self::Document => recognise::document(content, whole),
            Self::Xml => recognise::xml(content),
            Self::Related => recognise::related(content),
            Self::FormData => recognise::form_data(content, limits),
            Self::JsonAnswer => recognise::json_answer(content, whole, limits),
            Self::XmlAnswer => recognise::xml_answer(content),
        }
    }
}

/// Whether calls may be made by this method. Empty: it is not known.
fn posted(method: &[u8]) -> bool {
    matches!(method, b"POST" | b"")
}

/// Whether one of the members stands somewhere that calls are told by; most JSON has none, and that is found out fast.
fn may_be_call(content: &[u8]) -> bool {
    static MEMBERS: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| {
        [
            "\"method\"",
            "\"query\"",
            "\"variables\"",
            "\"operationName\"",
            "\"persistedQuery\"",
            "\"documentId\"",
        ]
        .map(|member| Finder::new(member.as_bytes()))
    });
    MEMBERS.iter().any(|member| member.find(content).is_some())
}
