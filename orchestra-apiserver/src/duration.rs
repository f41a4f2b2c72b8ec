//! Spans of time as Go's `time.ParseDuration` reads them, which query parameters and upstream's files are written in.

use std::time::Duration;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A span such as `1h30m`, `1.5s` or `-3ms`; `None` for one below zero. Errors are worded as Go's.
pub(crate) fn parse_go(text: &str) -> Result<Option<Duration>, String> {
    let bad = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(bad());
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        // More digits than that are less than a nanosecond of an hour.
        let digits = fraction.get(..fraction.len().min(18)).unwrap_or_default();
        let part: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| bad())? };
        let part = part * scale / 10_u128.pow(u32::try_from(digits.len()).unwrap_or_default());
        nanos = whole
            .checked_mul(*scale)
            .and_then(|whole| nanos.checked_add(whole)?.checked_add(part))
            .filter(|nanos| *nanos <= i64::MAX as u128)
            .ok_or_else(bad)?;
        rest = behind;
    }
    if negative && nanos > 0 {
        return Ok(None);
    }
    u64::try_from(nanos).map(|nanos| Some(Duration::from_nanos(nanos))).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("1s", 1000),
            ("1.5s", 1500),
            ("1h2m3s", 3_723_000),
            (".5m", 30_000),
            ("+3ms", 3),
            ("1.s", 1000),
        ] {
            assert_eq!(parse_go(text), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        assert_eq!(parse_go("-1s"), Ok(None));
        for (text, problem) in [
            ("", "time: invalid duration \"\""),
            ("s", "time: invalid duration \"s\""),
            ("3", "time: missing unit in duration \"3\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
        ] {
            assert_eq!(parse_go(text), Err(problem.to_owned()), "{text}");
        }
    }
}
