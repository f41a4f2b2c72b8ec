//! Syntax errors of JSON as Go words them, since clients print them.

use serde_json::error::Category;

/// What Go's scanner would say of `text` where `serde_json` found `error`.
pub(super) fn message(text: &str, error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".to_owned();
    }
    let found = error.to_string();
    let found = found.rsplit_once(" at line ").map_or(found.as_str(), |(reason, _)| reason);
    let Some(byte) = byte_at(text, error.line(), error.column()) else { return found.to_owned() };
    let context = match found {
        "expected value" => "looking for beginning of value",
        "trailing comma" if byte == b']' => "looking for beginning of value",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        "invalid number" => "in numeric literal",
        "invalid escape" => "in string escape code",
        "expected ident" => "in literal",
        "recursion limit exceeded" => "exceeded max depth",
        found if found.starts_with("control character") => "in string literal",
        found => return found.to_owned(),
    };
    format!("invalid character {} {context}", quote(byte))
}

fn byte_at(text: &str, line: usize, column: usize) -> Option<u8> {
    let line = text.split('\n').nth(line.checked_sub(1)?)?;
    match column.checked_sub(1) {
        Some(at) => line.as_bytes().get(at).copied().or(Some(b'\n')),
        None => Some(b'\n'),
    }
}

fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        0x80.. => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_those_of_go() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("apiVersion: v1", "invalid character 'a' looking for beginning of value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            ("{\"a\":1\n\"b\":2}", "invalid character '\"' after object key:value pair"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{}{}", "invalid character '{' after top-level value"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            (r#""\q""#, "invalid character 'q' in string escape code"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(message(text, &error), expected, "{text}");
        }
    }
}
