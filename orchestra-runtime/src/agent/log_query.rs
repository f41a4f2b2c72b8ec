//! The query of `/containerLogs`, read as the kubelet reads it.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::service::Instance;
use crate::logs::{LogOptions, Stream};

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogQuery {
    pub(super) instance: Instance,
    pub(super) options: LogOptions,
}

/// Why a query cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadQuery {
    /// A value that is none of its type.
    Undecodable,
    /// Values that contradict each other, or are out of range.
    Invalid,
}

impl BadQuery {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Undecodable => StatusCode::BAD_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// The kubelet's words.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Undecodable => r#"{"message": "Unable to decode query."}"#,
            Self::Invalid => r#"{"message": "Invalid request."}"#,
        }
    }
}

/// Reads a query; unknown parameters are ignored, of repeated ones the first counts.
pub(super) fn parse(query: &str, now: Timestamp) -> Result<LogQuery, BadQuery> {
    let pairs = pairs(query)?;
    let first = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    // Go reads a parameter without a value as true.
    let flag = |key: &str| first(key).is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0");
    let number = |key: &str, least: i64| match first(key).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(text) => {
            let number: i64 = text.parse().map_err(|_| BadQuery::Undecodable)?;
            if number < least { Err(BadQuery::Invalid) } else { Ok(Some(number)) }
        }
    };

    let (seconds, time) = (number("sinceSeconds", 1)?, first("sinceTime").filter(|time| !time.is_empty()));
    let since = match (seconds, time) {
        (Some(_), Some(_)) => return Err(BadQuery::Invalid),
        (Some(seconds), None) => {
            // Earlier than the first moment that can be told is no bound at all.
            Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN))
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| BadQuery::Undecodable)?),
        (None, None) => None,
    };
    let tail = number("tailLines", 0)?;
    let stream = match first("stream").filter(|stream| !stream.is_empty()) {
        None | Some("All") => None,
        // Which lines are the last is counted over both streams.
        Some(_) if tail.is_some() => return Err(BadQuery::Invalid),
        Some("Stdout") => Some(Stream::Stdout),
        Some("Stderr") => Some(Stream::Stderr),
        Some(_) => return Err(BadQuery::Invalid),
    };
    let options = LogOptions {
        follow: flag("follow"),
        tail_lines: tail.and_then(|lines| u64::try_from(lines).ok()),
        since,
        limit_bytes: number("limitBytes", 1)?.and_then(|bytes| u64::try_from(bytes).ok()),
        timestamps: flag("timestamps"),
        stream,
    };
    let instance = if flag("previous") { Instance::Previous } else { Instance::Current };
    Ok(LogQuery { instance, options })
}

/// The parameters of a query, decoded.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, BadQuery> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    });
    pairs.collect()
}

/// Undoes the encoding of a form's value.
fn decode(text: &str) -> Result<String, BadQuery> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(BadQuery::Undecodable);
                };
                u8::try_from(high * 16 + low).map_err(|_| BadQuery::Undecodable)?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).map_err(|_| BadQuery::Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<LogQuery, BadQuery> {
        parse(query, Timestamp::from_second(1000).unwrap())
    }

    #[test]
    fn every_parameter_is_understood() {
        let query =
            read("follow=true&previous=1&tailLines=0&limitBytes=5&timestamps&sinceSeconds=10").unwrap();
        let options = query.options;
        assert_eq!(query.instance, Instance::Previous);
        assert!(options.follow && options.timestamps);
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(0), Some(5)));
        assert_eq!(options.since, Some(Timestamp::from_second(990).unwrap()));
        let query = read("sinceTime=2026-01-01T02%3A00%3A00%2B02:00&stream=Stderr&follow=False&x=y").unwrap();
        assert_eq!(query.options.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!((query.options.follow, query.options.stream), (false, Some(Stream::Stderr)));
        assert_eq!(read("").unwrap().options, LogOptions::default());
    }

    #[test]
    fn bad_values_are_refused() {
        for query in ["tailLines=x", "limitBytes=1e3", "sinceTime=noon", "x=%zz", "x=%ff", "x=%4"] {
            assert_eq!(read(query), Err(BadQuery::Undecodable), "{query}");
        }
        for query in [
            "tailLines=-1",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            "stream=stdout",
            "stream=Stdout&tailLines=1",
        ] {
            assert_eq!(read(query), Err(BadQuery::Invalid), "{query}");
        }
        let ages = read("sinceSeconds=9223372036854775807").unwrap();
        assert_eq!(ages.options.since, Some(Timestamp::MIN));
    }
}
