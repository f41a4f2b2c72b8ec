//! Reads templates.

use serde_json::Value;

use super::{Comparison, Filter, JsonPathError, Node, Step};

// Filters and unions within one another.
const MAX_NESTING: usize = 16;

type Result<T, E = JsonPathError> = std::result::Result<T, E>;

fn wrong<T>(message: impl Into<String>) -> Result<T> {
    Err(JsonPathError(message.into()))
}

enum Action {
    Range(Vec<Step>),
    End,
    Node(Node),
}

pub(super) fn template(text: &str) -> Result<Vec<Node>> {
    // The nodes of the ranges that are open, outermost first, each with what it runs over; at the bottom the template.
    let mut open: Vec<(Vec<Step>, Vec<Node>)> = Vec::new();
    let mut nodes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, action) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        if !plain.is_empty() {
            nodes.push(Node::Text(plain.to_owned()));
        }
        let Some(inner) = action.strip_prefix('{') else { break };
        let mut cursor = Cursor { rest: inner, nesting: 0 };
        match cursor.action()? {
            Action::Node(node) => nodes.push(node),
            Action::Range(over) => open.push((over, std::mem::take(&mut nodes))),
            Action::End => {
                let Some((over, outer)) = open.pop() else { return wrong("not in range, nothing to end") };
                let body = std::mem::replace(&mut nodes, outer);
                nodes.push(Node::Range { over, body });
            }
        }
        rest = cursor.rest;
    }
    // A range that nothing ends goes on to the end of the template.
    while let Some((over, outer)) = open.pop() {
        let body = std::mem::replace(&mut nodes, outer);
        nodes.push(Node::Range { over, body });
    }
    Ok(nodes)
}

struct Cursor<'t> {
    rest: &'t str,
    nesting: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn action(&mut self) -> Result<Action> {
        self.skip_space();
        let action = if self.take_word("range") {
            self.skip_space();
            Action::Range(self.path()?)
        } else if self.take_word("end") {
            Action::End
        } else if matches!(self.peek(), Some('"' | '\'')) {
            Action::Node(Node::Text(self.quoted()?))
        } else {
            Action::Node(Node::Path(self.path()?))
        };
        self.skip_space();
        match self.peek() {
            Some('}') => {
                self.take("}");
                Ok(action)
            }
            Some(other) => wrong(format!("unrecognized character in action: {other:?}")),
            None => wrong("unclosed action"),
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let ends =
            |rest: &str| rest.starts_with(|c: char| c.is_whitespace() || matches!(c, '}' | '.' | '$' | '@'));
        let found = self.rest.strip_prefix(word).is_some_and(ends);
        if found {
            self.take(word);
        }
        found
    }

    fn quoted(&mut self) -> Result<String> {
        let (text, rest) = split_quoted(self.rest)?;
        self.rest = rest;
        Ok(unescape(text))
    }

    fn path(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.take("..") {
                steps.push(Step::Descendants);
                if !matches!(self.peek(), Some('[')) {
                    steps.extend(self.field());
                }
            } else if self.take(".") {
                steps.extend(self.field());
            } else if self.take("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && (self.take("$") || self.take("@")) {
                // Both mean what is at hand.
                if !matches!(self.peek(), Some('.' | '[')) {
                    return Ok(steps);
                }
            } else {
                return Ok(steps);
            }
        }
    }

    // The name behind a dot; none at all stands for what is at hand.
    fn field(&mut self) -> Option<Step> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => name.extend(chars.next().map(|(_, c)| c)),
                Some((i, c)) if c.is_whitespace() || ".,[]$@{}|()=!<>'\"".contains(c) => break i,
                Some((_, c)) => name.push(c),
                None => break self.rest.len(),
            }
        };
        self.rest = self.rest.get(end..).unwrap_or_default();
        match name.as_str() {
            "" => None,
            "*" => Some(Step::Wildcard),
            _ => Some(Step::Field(name)),
        }
    }

    // What stands behind an opening bracket, up to the closing one.
    fn bracket(&mut self) -> Result<Step> {
        if self.nesting >= MAX_NESTING {
            return wrong("template is nested too deeply");
        }
        if self.take("?(") {
            return self.filter();
        }
        let (inner, rest) =
            split_at_closing(self.rest, ']').ok_or(JsonPathError("unterminated array".to_owned()))?;
        self.rest = rest;
        let mut parts = split_unquoted(inner).into_iter().map(|part| self.bracket_part(part.trim()));
        match (parts.next(), parts.len()) {
            (Some(only), 0) => only,
            (first, _) => {
                let all: Vec<Step> = first.into_iter().chain(parts).collect::<Result<_>>()?;
                Ok(Step::Union(all.into_iter().map(|step| vec![step]).collect()))
            }
        }
    }

    fn bracket_part(&self, part: &str) -> Result<Step> {
        if part == "*" {
            return Ok(Step::Wildcard);
        }
        if part.starts_with(['\'', '"']) {
            let (key, rest) = split_quoted(part)?;
            if !rest.is_empty() {
                return wrong(format!("invalid array index {part}"));
            }
            // A quoted key may be a path by itself.
            let dotted = format!(".{key}");
            let mut cursor = Cursor { rest: &dotted, nesting: self.nesting + 1 };
            let steps = cursor.path()?;
            return if cursor.rest.is_empty() {
                Ok(Step::Union(vec![steps]))
            } else {
                Ok(Step::Field(unescape(key)))
            };
        }
        let number = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| JsonPathError(format!("invalid array index {part}"))),
        };
        match part.split(':').collect::<Vec<_>>()[..] {
            [only] => number(only)?
                .map(Step::Index)
                .ok_or_else(|| JsonPathError(format!("invalid array index {part}"))),
            [start, end] => Ok(Step::Slice { start: number(start)?, end: number(end)?, step: None }),
            [start, end, step] => {
                Ok(Step::Slice { start: number(start)?, end: number(end)?, step: number(step)? })
            }
            _ => wrong(format!("invalid array index {part}")),
        }
    }

    fn filter(&mut self) -> Result<Step> {
        let unterminated = || JsonPathError("unterminated filter".to_owned());
        let (inner, rest) = split_at_closing(self.rest, ')').ok_or_else(unterminated)?;
        self.rest = rest.trim_start().strip_prefix(']').ok_or_else(unterminated)?;
        let operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let filter = match inner.find(operator) {
            None => Filter::Exists(self.operand(inner)?),
            Some(at) => {
                let (left, rest) = inner.split_at(at);
                let (sign, right) = rest.split_at(rest.find(|c| !operator(c)).unwrap_or(rest.len()));
                let operator = comparison(sign)?;
                Filter::Compare { left: self.operand(left)?, operator, right: self.operand(right)? }
            }
        };
        Ok(Step::Filter(filter))
    }

    fn operand(&self, text: &str) -> Result<Vec<Step>> {
        let text = text.trim();
        if text.starts_with(['\'', '"']) {
            let (quoted, _) = split_quoted(text)?;
            return Ok(vec![Step::Literal(Value::String(unescape(quoted)))]);
        }
        if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | 't' | 'f')) {
            let plain = text.strip_prefix('+').unwrap_or(text);
            let literal = serde_json::from_str(plain)
                .ok()
                .filter(|value: &Value| value.is_number() || value.is_boolean());
            return match literal {
                Some(literal) => Ok(vec![Step::Literal(literal)]),
                None => wrong(format!("cannot parse {text}")),
            };
        }
        let mut cursor = Cursor { rest: text, nesting: self.nesting + 1 };
        let steps = cursor.path()?;
        if cursor.rest.is_empty() { Ok(steps) } else { wrong(format!("unrecognized filter operand {text}")) }
    }
}

fn comparison(sign: &str) -> Result<Comparison> {
    match sign {
        "==" => Ok(Comparison::Equal),
        "!=" => Ok(Comparison::NotEqual),
        "<" => Ok(Comparison::Less),
        "<=" => Ok(Comparison::LessOrEqual),
        ">" => Ok(Comparison::Greater),
        ">=" => Ok(Comparison::GreaterOrEqual),
        other => wrong(format!("unrecognized filter operator {other}")),
    }
}

// A text that begins with a quotation mark, as what is quoted and what follows.
fn split_quoted(text: &str) -> Result<(&str, &str)> {
    let mut chars = text.char_indices();
    let quote = chars.next().map(|(_, c)| c);
    while let Some((i, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if Some(c) == quote {
            return Ok((text.get(1..i).unwrap_or_default(), text.get(i + 1..).unwrap_or_default()));
        }
    }
    wrong("unterminated quoted string")
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            })),
            c => plain.push(c),
        }
    }
    plain
}

// Calls `visit` for each character that is neither quoted nor escaped, with its place, until it says stop.
fn unquoted(text: &str, mut visit: impl FnMut(usize, char) -> bool) {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => drop(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            (c, None) => {
                if visit(i, c) {
                    return;
                }
            }
        }
    }
}

// Splits at the bracket that closes one opened before the text.
fn split_at_closing(text: &str, closing: char) -> Option<(&str, &str)> {
    let opening = if closing == ')' { '(' } else { '[' };
    let (mut depth, mut found) = (0_usize, None);
    unquoted(text, |i, c| {
        if c == opening {
            depth += 1;
        } else if c == closing {
            if depth == 0 {
                found = Some(i);
                return true;
            }
            depth -= 1;
        }
        false
    });
    let at = found?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn split_unquoted(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    unquoted(text, |i, c| {
        if c == ',' {
            parts.extend(text.get(start..i));
            start = i + 1;
        }
        false
    });
    parts.extend(text.get(start..));
    parts
}
