//! What an answer that is none means, in the words of upstream's client.

use http::StatusCode;

/// How much of a strange answer is shown.
const SHOWN: usize = 1024;

/// What a code other than success says.
pub(super) fn refusal(code: StatusCode, body: &[u8]) -> String {
    let fixed = match code.as_u16() {
        400 => "the server rejected our request for an unknown reason",
        401 => "the server has asked for the client to provide credentials",
        404 => "the server could not find the requested resource",
        405 => "the server does not allow this method on the requested resource",
        406 => "the server was unable to respond with a content type that the client supports",
        409 => "the server reported a conflict",
        422 => "the server rejected our request due to an error in our request",
        429 => "the server has received too many requests and has asked us to try again later",
        503 => "the server is currently unable to handle the request",
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
        }
        403 => return shown(body).unwrap_or_else(|| "unknown".to_owned()),
        500.. => {
            let said = shown(body).unwrap_or_else(|| "unknown".to_owned());
            return format!("an error on the server ({said:?}) has prevented the request from succeeding");
        }
        code => {
            return format!(
                "the server responded with the status code {code} but did not return more information"
            );
        }
    };
    fixed.to_owned()
}

/// The beginning of a text, if it is one.
pub(super) fn shown(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_upstreams_client_words_them() {
        let said = |code: u16, body: &str| refusal(StatusCode::from_u16(code).unwrap(), body.as_bytes());
        assert_eq!(said(404, "x"), "the server could not find the requested resource");
        assert_eq!(
            said(500, "oh \"no\"\n"),
            "an error on the server (\"oh \\\"no\\\"\") has prevented the request from succeeding"
        );
        assert_eq!(
            said(302, ""),
            "the server responded with the status code 302 but did not return more information"
        );
        assert!(said(500, &"x".repeat(9000)).len() < 2000);
    }
}
