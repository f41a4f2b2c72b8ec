//! Text into tokens, each with its place, because compile errors point at it.

use std::sync::Arc;

use kube_cel::cel::Value;

/// One token and the character it begins at.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    /// As it stands in the source.
    pub(crate) text: String,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Ident,
    Literal(Value),
    /// An operator or a bracket.
    Sign,
    End,
}

/// What cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) at: usize,
    pub(crate) why: String,
}

const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}", "=", "&",
];

/// The tokens of an expression.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Unreadable> {
    let mut lexer = Lexer { text: source.chars().collect(), at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip();
        let at = lexer.at;
        let Some(first) = lexer.peek(0) else {
            out.push(Token { at, kind: Kind::End, text: "<EOF>".to_owned() });
            return Ok(out);
        };
        let kind = lexer.token(first)?;
        out.push(Token { at, kind, text: lexer.text.get(at..lexer.at).unwrap_or_default().iter().collect() });
    }
}

struct Lexer {
    text: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn fail<T>(&self, at: usize, why: impl Into<String>) -> Result<T, Unreadable> {
        Err(Unreadable { at, why: why.into() })
    }

    fn skip(&mut self) {
        while let Some(c) = self.peek(0) {
            if c.is_ascii_whitespace() {
                self.at += 1;
            } else if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, Unreadable> {
        if let Some((raw, bytes, skip)) = self.string_prefix() {
            self.at += skip;
            return self.string(raw, bytes);
        }
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let start = self.at;
            while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
            let word: String = self.text.get(start..self.at).unwrap_or_default().iter().collect();
            return Ok(match word.as_str() {
                "true" => Kind::Literal(Value::Bool(true)),
                "false" => Kind::Literal(Value::Bool(false)),
                "null" => Kind::Literal(Value::Null),
                "in" => Kind::Sign,
                _ => Kind::Ident,
            });
        }
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c)) && sign != "&" && sign != "=" {
                self.at += sign.len();
                return Ok(Kind::Sign);
            }
        }
        self.fail(self.at, format!("Syntax error: token recognition error at: '{first}'"))
    }

    /// Whether a string begins here: raw, of bytes, and how long its prefix is.
    fn string_prefix(&self) -> Option<(bool, bool, usize)> {
        let (mut raw, mut bytes, mut length) = (false, false, 0);
        while let Some(c) = self.peek(length) {
            match c {
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                '\'' | '"' => return Some((raw, bytes, length)),
                _ => return None,
            }
            length += 1;
        }
        None
    }

    fn string(&mut self, raw: bool, is_bytes: bool) -> Result<Kind, Unreadable> {
        let start = self.at;
        let quote = self.peek(0).unwrap_or('"');
        let is_long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if is_long { 3 } else { 1 };
        let mut text = String::new();
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.peek(0) else {
                return self.fail(start, "Syntax error: token recognition error: unterminated string");
            };
            if c == quote && (!is_long || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.at += if is_long { 3 } else { 1 };
                break;
            }
            if !is_long && (c == '\n' || c == '\r') {
                return self.fail(start, "Syntax error: token recognition error: unterminated string");
            }
            self.at += 1;
            if c != '\\' || raw {
                text.push(c);
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                if raw && c == '\\' && self.peek(0) == Some(quote) {
                    // A raw string may hold its quote behind a backslash, and keeps both.
                    text.push(quote);
                    bytes.push(quote as u8);
                    self.at += 1;
                }
                continue;
            }
            self.escape(is_bytes, &mut text, &mut bytes)?;
        }
        Ok(Kind::Literal(if is_bytes {
            Value::Bytes(Arc::new(bytes))
        } else {
            Value::String(Arc::new(text))
        }))
    }

    fn escape(&mut self, is_bytes: bool, text: &mut String, bytes: &mut Vec<u8>) -> Result<(), Unreadable> {
        let at = self.at;
        let bad = |at: usize| Unreadable { at, why: "Syntax error: invalid escape sequence".to_owned() };
        let Some(c) = self.peek(0) else { return Err(bad(at)) };
        self.at += 1;
        let simple = match c {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Some(c),
            _ => None,
        };
        if let Some(simple) = simple {
            text.push(simple);
            bytes.push(simple as u8);
            return Ok(());
        }
        let (digits, radix) = match c {
            'x' | 'X' => (2, 16),
            'u' if !is_bytes => (4, 16),
            'U' if !is_bytes => (8, 16),
            '0'..='3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => return Err(bad(at)),
        };
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.peek(0).and_then(|c| c.to_digit(radix)).ok_or_else(|| bad(at))?;
            code = code * radix + digit;
            self.at += 1;
        }
        text.push(char::from_u32(code).ok_or_else(|| bad(at))?);
        bytes.push(u8::try_from(code).unwrap_or_default());
        Ok(())
    }

    fn number(&mut self) -> Result<Kind, Unreadable> {
        let start = self.at;
        let is_hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        let mut is_float = false;
        if is_hex {
            self.at += 2;
        }
        let begin = self.at;
        while let Some(c) = self.peek(0) {
            let next_is_digit = self.peek(1).is_some_and(|c| c.is_ascii_digit());
            match c {
                _ if is_hex && c.is_ascii_hexdigit() => {}
                '0'..='9' => {}
                '.' if !is_hex && !is_float && next_is_digit => is_float = true,
                'e' | 'E' if !is_hex => {
                    let signed = matches!(self.peek(1), Some('+' | '-'));
                    if !(next_is_digit || signed && self.peek(2).is_some_and(|c| c.is_ascii_digit())) {
                        break;
                    }
                    is_float = true;
                    self.at += usize::from(signed);
                }
                _ => break,
            }
            self.at += 1;
        }
        let digits: String = self.text.get(begin..self.at).unwrap_or_default().iter().collect();
        if is_float {
            return match digits.parse() {
                Ok(number) => Ok(Kind::Literal(Value::Float(number))),
                Err(_) => self.fail(start, "invalid double literal"),
            };
        }
        let radix = if is_hex { 16 } else { 10 };
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return match u64::from_str_radix(&digits, radix) {
                Ok(number) => Ok(Kind::Literal(Value::UInt(number))),
                Err(_) => self.fail(start, "invalid uint literal"),
            };
        }
        // The smallest number is written with its sign, which stands before the token: the parser puts them together.
        match u64::from_str_radix(&digits, radix) {
            Ok(number) if number == 1 << 63 => Ok(Kind::Literal(Value::Int(i64::MIN))),
            Ok(number) => match i64::try_from(number) {
                Ok(number) => Ok(Kind::Literal(Value::Int(number))),
                Err(_) => self.fail(start, "invalid int literal"),
            },
            Err(_) => self.fail(start, "invalid int literal"),
        }
    }
}
