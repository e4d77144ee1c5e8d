//! Bodies of archives: text, Base64, or the fields of a form.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Oddities;
use super::entry::{RawContent, RawPair, RawPostData};
use super::text::Text;

/// RFC 4648 section 4, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The content of a request; `None` when the archive has none.
pub(super) fn of_request<'a>(body: &'a RawPostData<'_>, oddities: &mut Oddities) -> Option<Cow<'a, [u8]>> {
    if let Some(text) = &body.text
        && (!text.0.is_empty() || body.params.items.is_empty())
    {
        return Some(decoded(text, body.encoding.as_ref(), oddities));
    }
    oddities.params_too_many += body.params.more;
    let mime_type = body.mime_type.as_ref().map_or(&b""[..], |text| &text.0);
    let is_form = mime_type
        .get(..FORM.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(FORM));
    (is_form && !body.params.items.is_empty()).then(|| Cow::Owned(form(&body.params.items)))
}

/// The content of a response; `None` when the archive has none.
pub(super) fn of_response<'a>(content: &'a RawContent<'_>, oddities: &mut Oddities) -> Option<Cow<'a, [u8]>> {
    let text = content.text.as_ref()?;
    Some(decoded(text, content.encoding.as_ref(), oddities))
}

fn decoded<'a>(text: &'a Text<'_>, encoding: Option<&Text<'_>>, oddities: &mut Oddities) -> Cow<'a, [u8]> {
    let is_base64 = encoding.is_some_and(|encoding| encoding.0.eq_ignore_ascii_case(b"base64"));
    if !is_base64 {
        return Cow::Borrowed(&text.0);
    }
    // Some tools break lines.
    let text: Cow<'_, [u8]> = if text.0.iter().any(u8::is_ascii_whitespace) {
        let kept = text.0.iter().filter(|byte| !byte.is_ascii_whitespace());
        Cow::Owned(kept.copied().collect())
    } else {
        Cow::Borrowed(&text.0)
    };
    if let Ok(bytes) = BASE64.decode(&text) {
        return Cow::Owned(bytes);
    }
    oddities.base64_broken += 1;
    let good = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
        .count();
    let whole = text.get(..good / 4 * 4).unwrap_or_default();
    Cow::Owned(BASE64.decode(whole).unwrap_or_default())
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Fields as a form sends them (URL Standard, application/x-www-form-urlencoded serialising).
fn form(fields: &[RawPair<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        escape(&mut out, field.name.as_ref());
        out.push(b'=');
        escape(&mut out, field.value.as_ref());
    }
    out
}

fn escape(out: &mut Vec<u8>, text: Option<&Text<'_>>) {
    for byte in text.map_or(&b""[..], |text| &text.0) {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'-' | b'.' | b'_' => out.push(*byte),
            _ if byte.is_ascii_alphanumeric() => out.push(*byte),
            _ => {
                let digit = |nibble: u8| {
                    b"0123456789ABCDEF"
                        .get(usize::from(nibble))
                        .copied()
                        .unwrap_or(b'0')
                };
                out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> (Option<Vec<u8>>, Oddities) {
        let body: RawPostData<'_> = serde_json::from_str(json).unwrap();
        let mut oddities = Oddities::default();
        (of_request(&body, &mut oddities).map(Cow::into_owned), oddities)
    }

    #[test]
    fn texts_and_forms() {
        for (json, expect) in [
            (r#"{"text":"a"}"#, Some("a")),
            (r#"{"text":""}"#, Some("")),
            (r#"{}"#, None),
            (r#"{"text":"YWI=","encoding":"base64"}"#, Some("ab")),
            (r#"{"text":"YW\nI","_encoding":"BASE64"}"#, Some("ab")),
            (
                r#"{"mimeType":"application/x-www-form-urlencoded; charset=utf-8","params":[{"name":"a b","value":"\u00e9&"},{"name":"c"}]}"#,
                Some("a+b=%C3%A9%26&c="),
            ),
            (
                r#"{"mimeType":"multipart/form-data","params":[{"name":"a","value":"b"}]}"#,
                None,
            ),
        ] {
            let (body, oddities) = request(json);
            assert_eq!(body.as_deref(), expect.map(str::as_bytes), "{json}");
            assert_eq!(oddities, Oddities::default(), "{json}");
        }
    }

    #[test]
    fn broken_base64_is_read_up_to_there() {
        let (body, oddities) = request(r#"{"text":"YWJjZGV!mZw==","encoding":"base64"}"#);
        assert_eq!(body.as_deref(), Some(&b"abc"[..]));
        assert_eq!(oddities.base64_broken, 1);
    }

    #[test]
    fn fields_at_the_limit() {
        let json = |count| {
            let fields = vec![r#"{"name":"a","value":"b"}"#; count].join(",");
            format!(r#"{{"mimeType":"application/x-www-form-urlencoded","params":[{fields}]}}"#)
        };
        let max = super::super::PARAMS_MAX;
        let (body, oddities) = request(&json(max));
        assert_eq!(
            (body.map(|body| body.len()), oddities.params_too_many),
            (Some(max * 4 - 1), 0)
        );
        let (body, oddities) = request(&json(max + 1));
        assert_eq!(
            (body.map(|body| body.len()), oddities.params_too_many),
            (Some(max * 4 - 1), 1)
        );
    }
}
