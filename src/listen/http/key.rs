//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): which request this is, whoever
//! sends it again.
//!
//! The draft's text in quotes is taken, and a bare one as well, as many clients send it; both mean
//! the same key: 1 to 255 printable ASCII characters. It is the sender's, for one path and query:
//! with another query, content type or `Authorization` it is another request.

use std::borrow::Cow;

use axum::extract::Request;
use http::{HeaderMap, header};

use super::refusal::{Refusal, Why};

const NAME: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;

/// What identifies a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key([Vec<u8>; 5]);

impl Key {
    /// `None`: the request has no such header, and nothing is remembered of it.
    pub(super) fn of(request: &Request) -> Result<Option<Self>, Refusal> {
        let headers = request.headers();
        let Some(key) = given(headers)? else { return Ok(None) };
        let query = request.uri().query().unwrap_or_default();
        let of = |name| headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes).to_vec();
        Ok(Some(Self([
            key,
            request.uri().path().as_bytes().to_vec(),
            query.as_bytes().to_vec(),
            of(header::CONTENT_TYPE),
            of(header::AUTHORIZATION),
        ])))
    }

    pub(super) fn parts(&self) -> [&[u8]; 5] {
        self.0.each_ref().map(Vec::as_slice)
    }
}

fn given(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("there is more than one"));
    }
    let value = value.as_bytes().trim_ascii();
    let key = match value.strip_prefix(b"\"") {
        Some(quoted) => unquoted(quoted)?,
        None => value.to_vec(),
    };
    if key.is_empty() {
        return Err(wrong("it is empty"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(wrong(format!("it is longer than {KEY_BYTES_MAX} characters")));
    }
    if !key.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(wrong("only printable ASCII characters may stand in it"));
    }
    Ok(Some(key))
}

/// A string as in RFC 8941, 3.3.3, after its first quote: `\"` and `\\` stand for `"` and `\`.
fn unquoted(quoted: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut key = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.len() == 0 => return Ok(key),
            b'"' => return Err(wrong("something stands behind its closing quote")),
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => key.push(escaped),
                _ => return Err(wrong("a backslash in quotes goes before `\"` or `\\` only")),
            },
            byte => key.push(byte),
        }
    }
    Err(wrong("its closing quote is missing"))
}

fn wrong(what: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Why::Key, format!("the Idempotency-Key cannot be used: {}", what.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value).unwrap());
        }
        given(&headers).map_err(|refusal| {
            assert_eq!(refusal.why, Why::Key);
            refusal.text.into_owned()
        })
    }

    #[test]
    fn a_key_may_be_bare_or_in_quotes() {
        for (value, expected) in [
            (
                &b"8e03978e-40d5-43dd-bc93-6894a57f9324"[..],
                &b"8e03978e-40d5-43dd-bc93-6894a57f9324"[..],
            ),
            (b"\"8e03978e\"", b"8e03978e"),
            (b"  7\t", b"7"),
            (br#""a\"b\\c""#, br#"a"b\c"#),
            (b"a b", b"a b"),
            (b"a\"b\\", b"a\"b\\"),
            (&[b'k'; 255], &[b'k'; 255]),
        ] {
            assert_eq!(key(&[value]), Ok(Some(expected.to_vec())));
        }
        assert_eq!(key(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        for (value, reason) in [
            (&[&b""[..]][..], "empty"),
            (&[b"   "], "empty"),
            (&[b"\"\""], "empty"),
            (&[&[b'k'; 256]], "longer than 255"),
            (&[b"a", b"a"], "more than one"),
            (&[b"\"a"], "closing quote is missing"),
            (&[b"\""], "closing quote is missing"),
            (&[b"\"a\\\""], "closing quote is missing"),
            (&[b"\"a\\b\""], "backslash"),
            (&[b"\"a\\"], "backslash"),
            (&[b"\"a\";v=1"], "behind its closing quote"),
            (&[b"a\tb"], "printable"),
            (&["schlüssel".as_bytes()], "printable"),
        ] {
            let text = key(value).unwrap_err();
            assert!(text.contains(reason), "{value:?}: {text}");
        }
    }

    #[test]
    fn another_query_or_sender_is_another_request() {
        let request = |uri: &str, user: &str| {
            let request = http::Request::post(uri).header(NAME, "k").header("authorization", user);
            Key::of(&request.body(axum::body::Body::empty()).unwrap()).unwrap().unwrap()
        };
        let first = request("/write?precision=s", "Token a");
        assert_eq!(request("/write?precision=s", "Token a"), first);
        for other in [
            request("/write?precision=ms", "Token a"),
            request("/api/v2/write?precision=s", "Token a"),
            request("/write?precision=s", "Token b"),
        ] {
            assert_ne!(other, first);
        }
    }

    proptest! {
        #[test]
        fn any_key_in_quotes_is_the_key(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(key(&[quoted.as_bytes()]), Ok(Some(text.into_bytes())));
        }
    }
}
