//! SOAP 1.1 (<https://www.w3.org/TR/2000/NOTE-SOAP-20000508/>) and 1.2 (<https://www.w3.org/TR/soap12-part1/>), and XML-RPC
//! (<http://xmlrpc.com/spec.md>).

use bytes::Bytes;

use super::classify::NAME_BYTES_MAX;
use super::xml::{Part, Reader};
use crate::media::content_type;
use crate::{Headers, memory};

/// What an XML body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Soap {
        /// Local name of the first element of the body; empty: not seen.
        operation: Bytes,
        /// Its namespace is SOAP's. If not, a header field has to tell.
        sure: bool,
    },
    /// Method name of XML-RPC; empty: not seen.
    XmlRpc(Bytes),
}

impl Message {
    /// Bytes of memory behind it.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Soap { operation: name, .. } | Self::XmlRpc(name) => memory::text(Some(name)),
        }
    }
}

/// Reads the begin of a document.
pub(super) fn message(text: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(text);
    let Part::Open(root) = reader.tag()? else {
        return None;
    };
    match root.local_name() {
        b"Envelope" => Some(Message::Soap {
            operation: first_of_body(&mut reader).unwrap_or_default(),
            sure: [&b"/soap/envelope"[..], b"/soap-envelope"]
                .iter()
                .any(|namespace| memchr::memmem::find(root.attributes, namespace).is_some()),
        }),
        b"methodCall" => Some(Message::XmlRpc(method_name(&mut reader).unwrap_or_default())),
        _ => None,
    }
}

/// The same of the first part of a body with attachments (SOAP Messages with Attachments, MTOM).
pub(super) fn message_in_part(text: &[u8]) -> Option<Message> {
    let head = memchr::memmem::find(text, b"\r\n\r\n")? + 4;
    message(text.get(head..)?)
}

/// Behind the start tag of an envelope.
fn first_of_body(reader: &mut Reader<'_>) -> Option<Bytes> {
    loop {
        let Part::Open(child) = reader.tag()? else {
            return None;
        };
        if child.local_name() != b"Body" {
            reader.leave(&child)?;
            continue;
        }
        return match (child.empty, reader.tag()?) {
            (false, Part::Open(first)) => Some(name(first.local_name())),
            _ => None,
        };
    }
}

/// Behind the start tag of a call.
fn method_name(reader: &mut Reader<'_>) -> Option<Bytes> {
    loop {
        let Part::Open(child) = reader.tag()? else {
            return None;
        };
        if child.local_name() != b"methodName" {
            reader.leave(&child)?;
            continue;
        }
        return match reader.next()? {
            Part::Text(text) => Some(name(text.trim_ascii())),
            _ => None,
        };
    }
}

fn name(name: &[u8]) -> Bytes {
    Bytes::copy_from_slice(name.get(..NAME_BYTES_MAX).unwrap_or(name))
}

/// `SOAPAction` of 1.1, or the `action` parameter of the content type of 1.2, without quotes; `None` where there is none or
/// it is empty.
pub(super) fn action(headers: &Headers) -> Option<Bytes> {
    let action = match headers.get(b"soapaction") {
        Some(action) => unquoted(action),
        None => parameter(content_type(headers)?, b"action")?,
    };
    (!action.is_empty()).then(|| name(action))
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// Value of a parameter of a media type (RFC 9110 5.6.6).
fn parameter<'a>(media_type: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = media_type.get(memchr::memchr(b';', media_type)?..)?;
    loop {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        let (name, behind) = rest.split_at_checked(memchr::memchr2(b'=', b';', rest)?)?;
        let Some(value) = behind.strip_prefix(b"=") else {
            rest = behind;
            continue;
        };
        let end = match value.strip_prefix(b"\"") {
            Some(quoted) => memchr::memchr(b'"', quoted)? + 2,
            None => memchr::memchr(b';', value).unwrap_or(value.len()),
        };
        let (value, behind) = value.split_at_checked(end)?;
        if name.trim_ascii().eq_ignore_ascii_case(wanted) {
            return Some(unquoted(value));
        }
        rest = behind.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match message(text.as_bytes()) {
            None => "none".into(),
            Some(Message::XmlRpc(method)) => format!("xml-rpc {}", method.escape_ascii()),
            Some(Message::Soap { operation, sure }) => {
                let perhaps = if sure { "" } else { " perhaps" };
                format!("soap {}{perhaps}", operation.escape_ascii())
            }
        }
    }

    const ENVELOPE: &str = "<?xml version=\"1.0\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
        xmlns:web=\"http://www.dataaccess.com/webservicesserver/\">\n <soapenv:Header><wsse:Security soapenv:mustUnderstand='1'>\
        <wsse:Password Type=\"a>b\">x</wsse:Password><Body/></wsse:Security></soapenv:Header>\n <soapenv:Body wsu:Id=\"b\">\n \
        <!-- call --> <web:NumberToWords><web:ubiNum>500</web:ubiNum></web:NumberToWords></soapenv:Body></soapenv:Envelope>";

    #[test]
    fn messages() {
        let soap12 = "<env:Envelope xmlns:env='http://www.w3.org/2003/05/soap-envelope'><env:Body>";
        let cases = [
            (ENVELOPE.to_owned(), "soap NumberToWords"),
            (format!("{soap12}<m:GetStockPrice xmlns:m='x'/>"), "soap GetStockPrice"),
            (format!("{soap12}<env:Fault><env:Code>"), "soap Fault"),
            (format!("{soap12}</env:Body></env:Envelope>"), "soap "),
            (format!("{soap12} text <a/>"), "soap a"),
            ("<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Body/></S:Envelope>".into(), "soap "),
            ("<gesmes:Envelope xmlns:gesmes='http://www.gesmes.org/xml/2002-08-01'><Cube/></gesmes:Envelope>".into(), "soap  perhaps"),
            ("\u{feff}<?xml version='1.0'?><methodCall>\n<methodName> system.listMethods </methodName><params/></methodCall>".into(), "xml-rpc system.listMethods"),
            ("<methodCall><params><param/></params><methodName>late".into(), "xml-rpc "),
            ("<methodCall>".into(), "xml-rpc "),
            ("<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><methodCall><methodName>&lol2;</methodName>".into(), "xml-rpc &lol2;"),
            ("<rss><channel/></rss>".into(), "none"),
            ("</Envelope>".into(), "none"),
            ("{\"json\": 1}".into(), "none"),
            (String::new(), "none"),
        ];
        for (text, want) in cases {
            assert_eq!(show(&text), want, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_gives_what_it_holds() {
        let name = ENVELOPE.find("<web:NumberToWords>").unwrap() + "<web:NumberToWords>".len();
        for cut in 0..ENVELOPE.len() {
            let got = show(&ENVELOPE[..cut]);
            let want = if cut >= name {
                got == "soap NumberToWords"
            } else {
                got == "none" || got == "soap "
            };
            assert!(want, "{got}: {}", &ENVELOPE[..cut]);
        }
    }

    #[test]
    fn depth_and_length_cost_nothing() {
        let deep = format!("<Envelope><Header>{}", "<a>".repeat(1 << 20));
        assert_eq!(show(&deep), "soap  perhaps");
        let long = format!("<Envelope><Body><{}>", "n".repeat(1000));
        let Some(Message::Soap { operation, .. }) = message(long.as_bytes()) else {
            panic!()
        };
        assert_eq!(operation.len(), NAME_BYTES_MAX);
        // Quotes that never close.
        let quotes = format!("<Envelope {}", "a='\"' b=\"".repeat(1 << 18));
        assert_eq!(show(&quotes), "none");
    }

    #[test]
    fn attachments() {
        let body =
            "--uuid:1\r\nContent-Type: application/xop+xml; type=\"text/xml\"\r\nContent-ID: <root>\r\n\r\n";
        let whole = format!("{body}{ENVELOPE}\r\n--uuid:1--");
        assert!(
            matches!(message_in_part(whole.as_bytes()), Some(Message::Soap { operation, sure: true }) if operation == "NumberToWords")
        );
        assert_eq!(message_in_part(body.as_bytes()), None);
    }

    #[test]
    fn actions() {
        let action = |fields: &[(&str, &str)]| {
            let headers = fields.iter().copied().collect();
            action(&headers).map(|action| String::from_utf8(action.to_vec()).unwrap())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            action(&[("SOAPAction", "\"urn:GetPrice\"")]),
            some("urn:GetPrice")
        );
        assert_eq!(action(&[("soapaction", "urn:GetPrice")]), some("urn:GetPrice"));
        assert_eq!(action(&[("SOAPAction", "\"\"")]), None);
        assert_eq!(action(&[]), None);
        let cases = [
            (
                "application/soap+xml; charset=utf-8; action=\"urn:a;b\"",
                some("urn:a;b"),
            ),
            ("application/soap+xml;action=urn:a ; charset=utf-8", some("urn:a")),
            ("application/soap+xml; x=\"action=\"; Action=\"b\"", some("b")),
            ("application/soap+xml; action=\"open", None),
            ("application/soap+xml; action", None),
            ("application/soap+xml; flag; action=a", some("a")),
            ("application/soap+xml", None),
        ];
        for (value, want) in cases {
            assert_eq!(action(&[("Content-Type", value)]), want, "{value}");
        }
    }
}
