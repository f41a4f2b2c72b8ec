use std::cell::Cell;

use http_body_util::BodyExt as _;
use serde_json::json;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_800_000_000, 5);

struct Asked {
    swagger: Swagger,
    built: Cell<u32>,
}

impl Asked {
    fn new() -> Self {
        Self { swagger: Swagger::default(), built: Cell::new(0) }
    }

    async fn ask(&self, headers: &[(&str, &str)]) -> (http::response::Parts, Vec<u8>) {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<header::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let build = || {
            self.built.set(self.built.get() + 1);
            json!({"swagger": "2.0", "definitions": {"A": {"type": "object"}}})
        };
        let (parts, body) = self.swagger.answer(&headers.collect(), NOON, build).into_parts();
        (parts, body.collect().await.unwrap().to_bytes().to_vec())
    }
}

#[tokio::test]
async fn the_form_is_the_first_that_is_accepted() {
    let asked = Asked::new();
    for (accept, media) in [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/json"),
        (PROTOBUF_OF_OLD, PROTOBUF),
        (PROTOBUF, PROTOBUF),
        ("text/plain, application/com.github.proto-openapi.spec.v2@v1.0+protobuf;q=0.3", PROTOBUF),
    ] {
        let (parts, bytes) = asked.ask(&[("accept", accept)]).await;
        assert_eq!(parts.headers["content-type"], media, "{accept}");
        assert_eq!(bytes.starts_with(b"{"), media == "application/json", "{accept}");
    }
    let (parts, bytes) = asked.ask(&[("accept", "text/plain, application/yaml")]).await;
    assert_eq!((parts.status.as_u16(), bytes.len()), (406, 0));
    assert_eq!(parts.headers["vary"], "Accept-Encoding, Accept");
}

#[tokio::test]
async fn who_has_the_document_gets_it_not_again() {
    let asked = Asked::new();
    let (parts, bytes) = asked.ask(&[]).await;
    let tag = parts.headers["etag"].to_str().unwrap();
    let digest: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(tag, format!("\"{digest}\""), "upstream's tag is the digest of the text, too");
    assert_eq!(parts.headers["last-modified"], "Fri, 15 Jan 2027 08:00:00 GMT");
    let weak = format!("\"x\", W/{tag}");
    let cases = [
        ("if-none-match", tag, 304),
        ("if-none-match", &weak, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"x\"", 200),
        ("if-modified-since", "Fri, 15 Jan 2027 08:00:00 GMT", 304),
        ("if-modified-since", "Fri, 15 Jan 2027 07:59:59 GMT", 200),
        ("if-modified-since", "noon", 200),
    ];
    for (name, value, code) in cases {
        for accept in ["application/json", PROTOBUF] {
            let (parts, bytes) = asked.ask(&[(name, value), ("accept", accept)]).await;
            assert_eq!((parts.status.as_u16(), bytes.is_empty()), (code, code == 304), "{name}: {value}");
            assert_eq!(parts.headers["etag"], tag);
        }
    }
    let both = [("if-none-match", "\"x\""), ("if-modified-since", "Fri, 15 Jan 2027 08:00:00 GMT")];
    assert_eq!(asked.ask(&both).await.0.status, 200, "the tag counts");
}

#[tokio::test]
async fn nothing_is_built_twice_for_one_form() {
    let asked = Asked::new();
    let accept = ("accept", PROTOBUF);
    let (parts, packed) = asked.ask(&[accept, ("accept-encoding", "gzip")]).await;
    assert_eq!(parts.headers["content-encoding"], "gzip");
    let (_, bytes) = asked.ask(&[accept]).await;
    assert_eq!(plain(&packed.into()), bytes);
    assert_eq!(bytes, b"\x0a\x032.0\x4a\x12\x0a\x10\x0a\x01A\x12\x0b\xb2\x01\x08\x0a\x06object");
    asked.ask(&[]).await;
    assert_eq!(asked.built.get(), 1, "the other form was made of the same tree");
    let other = Asked::new();
    other.ask(&[]).await;
    other.ask(&[accept]).await;
    other.ask(&[accept]).await;
    assert_eq!(other.built.get(), 2, "no tree is held for who may never ask");
}
