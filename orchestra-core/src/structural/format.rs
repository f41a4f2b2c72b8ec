//! The formats that schemas may name, those of upstream's `strfmt` registry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use jiff::Timestamp;
use jiff::civil::Date;

use super::model::Type;
use crate::meta::name;
use crate::schema::BASE64;

/// Formats of text that upstream checks, without dashes.
const TEXT: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// Whether upstream checks this format for values of this type; others are passed over.
pub(super) fn is_known(format: &str, ty: Option<Type>) -> bool {
    match ty {
        None | Some(Type::String) => TEXT.contains(&format.replace('-', "").as_str()),
        Some(Type::Integer) => matches!(format, "int32" | "int64"),
        Some(Type::Number) => matches!(format, "float" | "double"),
        Some(Type::Boolean | Type::Array | Type::Object) => false,
    }
}

/// Whether a text follows a format. Formats that nobody knows let everything pass.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_ssn(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && is_hex(digits)
        }
        "rgbcolor" => is_rgb(text),
        "byte" => BASE64.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<Date>().is_ok(),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "k8sshortname" => name::is_dns1123_label(text).is_empty(),
        "k8slongname" => name::is_dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// As Go's `url.ParseRequestURI`: absolute, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|letter| letter.is_ascii_control() || letter == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

fn is_email(text: &str) -> bool {
    let address = match (text.find('<'), text.strip_suffix('>')) {
        (Some(at), Some(rest)) => rest.get(at + 1..).unwrap_or_default(),
        _ => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let fine = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    let dots = |part: &str| part.starts_with('.') || part.ends_with('.') || part.contains("..");
    fine(local) && fine(domain) && !dots(local) && !dots(domain) && !domain.contains(['<', '>', ',', ';'])
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    !text.is_empty() && text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    !bits.is_empty()
        && bits.bytes().all(|b| b.is_ascii_digit())
        && bits.parse::<u8>().is_ok_and(|bits| bits <= widest)
}

fn is_mac(text: &str) -> bool {
    let groups = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| part.len() == width && is_hex(part))
    };
    groups(':', 2, &[6, 8, 20]) || groups('-', 2, &[6, 8, 20]) || groups('.', 4, &[3, 4, 10])
}

/// Groups of 8, 4, 4, 4 and 12 hexadecimal digits; each dash may be left out.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    let mut groups = Vec::new();
    for width in [8, 4, 4, 4, 12] {
        let Some((group, after)) = rest.split_at_checked(width) else { return false };
        groups.push(group);
        rest = after.strip_prefix('-').unwrap_or(after);
    }
    let variant = |group: &str| group.starts_with(['8', '9', 'a', 'b', 'A', 'B']);
    rest.is_empty()
        && !text.ends_with('-')
        && groups.iter().all(|group| is_hex(group))
        && version.is_none_or(|version| {
            groups.get(2).is_some_and(|group| group.starts_with(version))
                && (version == '3' || groups.get(3).is_some_and(|group| variant(group)))
        })
}

fn digits(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits(text);
    if digits.len() != 10 {
        return false;
    }
    let sum: Option<u32> = digits
        .chars()
        .enumerate()
        .map(|(at, digit)| {
            let value = if at == 9 && matches!(digit, 'X' | 'x') { Some(10) } else { digit.to_digit(10) };
            value.map(|value| value * (10 - u32::try_from(at).unwrap_or(0)))
        })
        .sum();
    sum.is_some_and(|sum| sum.is_multiple_of(11))
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits(text);
    if digits.len() != 13 {
        return false;
    }
    let value = |(at, digit): (usize, char)| {
        digit.to_digit(10).map(|value| if at % 2 == 0 { value } else { value * 3 })
    };
    digits.chars().enumerate().map(value).sum::<Option<u32>>().is_some_and(|sum| sum.is_multiple_of(10))
}

/// A plausible length, and the check digit of Luhn.
fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ if digit * 2 > 9 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    (13..=16).contains(&digits.len()) && sum.is_multiple_of(10)
}

fn is_ssn(text: &str) -> bool {
    let plain: String = text.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect();
    plain.len() == 9 && plain.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 11
}

fn is_rgb(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

fn is_date_time(text: &str) -> bool {
    let shaped = matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b't', ..]);
    shaped && text.parse::<Timestamp>().is_ok()
}

/// Numbers with units, as Go writes durations (`1h30m`) or Scala does (`22 ns`, `3 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 29] = [
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "w",
        "nano",
        "nanos",
        "nanosecond",
        "nanoseconds",
        "micro",
        "micros",
        "milli",
        "millis",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "minute",
        "minutes",
        "hour",
        "hours",
        "day",
        "days",
    ];
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, after) = rest.split_at(number);
        if digits.parse::<f64>().is_err() {
            return false;
        }
        let after = after.trim_start();
        let unit = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(unit);
        if !UNITS.contains(&unit) && !matches!(unit, "week" | "weeks") {
            return false;
        }
        rest = after.trim_start();
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_upstream_takes() {
        for (format, good, bad) in [
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
            ("date", "2006-01-02", "2006-13-02"),
            ("duration", "1h30m", "1 parsec"),
            ("duration", "22 ns", ""),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
            ("byte", "aGk=", "a"),
            ("uri", "https://example.com/x", "example"),
            ("email", "a@example.com", "a@"),
            ("hostname", "a.example.com", "-a"),
            ("mac", "01:23:45:67:89:ab", "01:23"),
            ("hexcolor", "#FFF", "#FFFF"),
            ("rgbcolor", "rgb(1, 2, 3)", "rgb(256,0,0)"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("creditcard", "4111-1111-1111-1111", "4111"),
            ("ssn", "111-11-1111", "1"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "x"),
            ("k8s-short-name", "abc", "a.b"),
        ] {
            assert!(fits(format, good), "{format}: {good}");
            assert!(!fits(format, bad), "{format}: {bad}");
        }
        assert!(fits("no-such-format", "x"));
    }
}
