//! Writes JSON trees as YAML the way `kubectl get -o yaml` does: sorted keys, lists not indented below their key,
//! texts in quotes only where they would be read as something else, long ones folded at 80 columns.

use serde_json::{Map, Value};

const WIDTH: usize = 80;
// Longer keys are written with a question mark before them.
const LONGEST_KEY: usize = 128;

/// The value as YAML, with a line break at the end.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0 };
    writer.node(value, 0, Place::Line);
    writer.text("\n");
    writer.out
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    // At the beginning of a line, or behind `- `: a map or list starts right here.
    Line,
    // Behind the colon of a key.
    Value,
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        self.out.push_str(text);
        match text.rfind('\n') {
            Some(end) => self.column = text[end + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    fn line(&mut self, indent: usize) {
        self.text("\n");
        self.text(&" ".repeat(indent));
    }

    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, indent, place),
            Value::Array(items) if !items.is_empty() => self.list(items, indent, place),
            scalar => {
                if place == Place::Value {
                    self.text(" ");
                }
                match scalar {
                    Value::Object(_) => self.text("{}"),
                    Value::Array(_) => self.text("[]"),
                    Value::String(text) => self.string(text, indent + 2, false),
                    other => self.text(&other.to_string()),
                }
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, indent: usize, place: Place) {
        for (i, (key, value)) in map.iter().enumerate() {
            if i > 0 || place == Place::Value {
                self.line(indent);
            }
            if key.len() > LONGEST_KEY || key.contains('\n') {
                self.text("? ");
                self.string(key, indent + 2, false);
                self.line(indent);
            } else {
                self.string(key, indent + 2, true);
            }
            self.text(":");
            // Lists stand at the column of their key, maps two behind it.
            let deeper = if value.is_array() { indent } else { indent + 2 };
            match value {
                Value::Object(map) if !map.is_empty() => self.map(map, deeper, Place::Value),
                Value::Array(items) if !items.is_empty() => self.list(items, deeper, Place::Value),
                scalar => self.node(scalar, indent, Place::Value),
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize, place: Place) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 || place == Place::Value {
                self.line(indent);
            }
            self.text("- ");
            match item {
                Value::Object(_) | Value::Array(_) => self.node(item, indent + 2, Place::Line),
                scalar => self.node(scalar, indent, Place::Line),
            }
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        let shape = Shape::of(text);
        if text.contains('\n')
            && !key
            && !shape.only_escaped
            && !shape.space_before_break
            && !text.ends_with(' ')
        {
            self.literal(text, indent);
        } else if text.contains('\n')
            || reads_as_something_else(text)
            || (key && text == "<<")
            || shape.only_escaped
            || shape.space_before_break
        {
            self.double_quoted(text, indent, key);
        } else if shape.plain {
            self.folded(text, indent, key, |c, out| out.push(c));
        } else {
            self.text("'");
            self.folded(text, indent, key, |c, out| {
                out.push(c);
                if c == '\'' {
                    out.push(c);
                }
            });
            self.text("'");
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.text("|");
        if text.starts_with([' ', '\n']) {
            self.text("2");
        }
        if !text.ends_with('\n') {
            self.text("-");
        } else if text == "\n" || text.ends_with("\n\n") {
            self.text("+");
        }
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if line.is_empty() {
                self.text("\n");
            } else {
                self.line(indent);
                self.text(line);
            }
        }
    }

    // A line breaks in place of a single space once it is longer than the width.
    fn folded(&mut self, text: &str, indent: usize, key: bool, put: impl Fn(char, &mut String)) {
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (i, &c) in chars.iter().enumerate() {
            let next_is_space = chars.get(i + 1).is_none_or(|next| *next == ' ');
            if c == ' ' && !key && !after_space && self.column > WIDTH && i > 0 && !next_is_space {
                self.line(indent);
            } else {
                let mut written = String::new();
                put(c, &mut written);
                self.text(&written);
            }
            after_space = c == ' ';
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, key: bool) {
        self.text("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (i, &c) in chars.iter().enumerate() {
            let inside = i > 0 && i + 1 < chars.len();
            if c == ' ' && !key && !after_space && self.column > WIDTH && inside {
                self.line(indent);
                if chars.get(i + 1) == Some(&' ') {
                    self.text("\\");
                }
            } else {
                self.text(&escaped(c));
            }
            after_space = c == ' ';
        }
        self.text("\"");
    }
}

fn escaped(c: char) -> String {
    match c {
        '\0' => "\\0".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        c if is_printable(c) => c.to_string(),
        c if u32::from(c) < 0x100 => format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) < 0x10000 => format!("\\u{:04X}", u32::from(c)),
        c => format!("\\U{:08X}", u32::from(c)),
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

struct Shape {
    // Stands for itself without quotes.
    plain: bool,
    // Has characters that only double quotes can hold.
    only_escaped: bool,
    space_before_break: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut plain = !text.starts_with(' ')
            && !text.ends_with(' ')
            && !text.starts_with("---")
            && !text.starts_with("...");
        let (mut only_escaped, mut space_before_break) = (false, false);
        for (i, &c) in chars.iter().enumerate() {
            let blank_next = chars.get(i + 1).is_none_or(|next| matches!(next, ' ' | '\t' | '\n' | '\r'));
            let blank_before = i == 0 || matches!(chars.get(i - 1), Some(' ' | '\t' | '\n' | '\r'));
            let indicator = match c {
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    i == 0
                }
                '#' => blank_before,
                '-' | '?' => i == 0 && blank_next,
                ':' => blank_next,
                _ => false,
            };
            plain &= !indicator && c != '\n';
            only_escaped |= !is_printable(c) || matches!(c, '\u{2028}' | '\u{2029}');
            space_before_break |= c == ' ' && chars.get(i + 1) == Some(&'\n');
        }
        Self { plain, only_escaped, space_before_break }
    }
}

// Whether YAML 1.1 would read it as null, a boolean, a number or a time if it stood without quotes.
fn reads_as_something_else(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "+.inf", "-.inf"];
    if text.is_empty() {
        return true;
    }
    // In any case of letters: Go's reader takes `tRUE` for a word, others for true.
    if WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    is_number(text) || is_base60(text) || is_time(text)
}

fn is_number(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let based = |prefixes: [&str; 2], base: u32| {
        let digits = prefixes.iter().find_map(|prefix| unsigned.strip_prefix(prefix));
        digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base)))
    };
    based(["0x", "0X"], 16) || based(["0o", "0O"], 8) || based(["0b", "0B"], 2) || is_float(unsigned)
}

fn is_float(unsigned: &str) -> bool {
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && digits(whole) && digits(fraction) && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

// Numbers of base 60, such as 1:30, which older readers know.
fn is_base60(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && !rest.is_empty()
        && rest
            .iter()
            .all(|part| digits(part) && part.parse::<u8>().is_ok_and(|number| number < 60) && part.len() <= 2)
}

// A date, alone or with a time behind `T` or a space.
fn is_time(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text.get(at + 1..)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let number = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())
    };
    let [year, month, day] = parts[..] else { return false };
    let dated = year.len() == 4 && number(year, 4) && number(month, 2) && number(day, 2);
    dated
        && time.is_none_or(|time| {
            time.matches(':').count() >= 2
                && time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'Z' | b'+' | b'-'))
        })
}
