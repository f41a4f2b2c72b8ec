//! Reads the text of a label selector: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.

use std::collections::BTreeSet;

use super::SelectorError;
use super::label::{Operator, Requirement};
use crate::meta::name;
use crate::violation::{FieldPath, Violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    // Keywords `in` and `notin` are words too: where a value may stand they are one.
    Word(&'t str),
    Symbol(&'t str),
    End,
}

impl<'t> Token<'t> {
    fn text(self) -> &'t str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Token<'t> {
        self.rest = self.rest.trim_start_matches(is_space);
        let Some(first) = self.rest.chars().next() else { return Token::End };
        let symbol = is_symbol(first);
        let length = if symbol {
            if self.rest.starts_with("==") || self.rest.starts_with("!=") { 2 } else { 1 }
        } else {
            self.rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(self.rest.len())
        };
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        if symbol { Token::Symbol(text) } else { Token::Word(text) }
    }

    fn peek(&self) -> Token<'t> {
        Reader { rest: self.rest }.next()
    }
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}', expected: {expected}", token.text()))
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut reader = Reader { rest: text };
    let mut all = Vec::new();
    loop {
        match reader.peek() {
            Token::Word(_) | Token::Symbol("!") => {}
            Token::End => return Ok(all),
            other => return Err(found(other, "!, identifier, or 'end of string'")),
        }
        let one = requirement(&mut reader)
            .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?;
        all.push(one);
        match reader.next() {
            Token::End => return Ok(all),
            Token::Symbol(",") => match reader.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(found(other, "identifier after ','")),
            },
            other => return Err(found(other, "',' or 'end of string'")),
        }
    }
}

fn requirement(reader: &mut Reader<'_>) -> Result<Requirement, SelectorError> {
    let negated = reader.peek() == Token::Symbol("!");
    if negated {
        reader.next();
    }
    let key = match reader.next() {
        Token::Word(key) => key,
        other => return Err(found(other, "identifier")),
    };
    let messages = name::is_qualified_name(key);
    if !messages.is_empty() {
        let violation = Violation::invalid(&FieldPath::root(), key, messages.join("; "));
        return Err(SelectorError(violation.to_string()));
    }
    if negated {
        return Requirement::new(key, Operator::DoesNotExist, Vec::new());
    }
    if matches!(reader.peek(), Token::End | Token::Symbol(",")) {
        return Requirement::new(key, Operator::Exists, Vec::new());
    }
    let operator = match reader.next() {
        Token::Word("in") => Operator::In,
        Token::Word("notin") => Operator::NotIn,
        Token::Symbol("=") => Operator::Equals,
        Token::Symbol("==") => Operator::DoubleEquals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        other => return Err(found(other, "in, notin, =, ==, !=, gt, lt")),
    };
    let values = match operator {
        Operator::In | Operator::NotIn => listed(reader)?,
        _ => vec![single(reader)?.to_owned()],
    };
    Requirement::new(key, operator, values)
}

fn single<'t>(reader: &mut Reader<'t>) -> Result<&'t str, SelectorError> {
    match reader.peek() {
        Token::End | Token::Symbol(",") => Ok(""),
        Token::Word(value) => {
            reader.next();
            Ok(value)
        }
        other => Err(found(other, "identifier")),
    }
}

// The values between parentheses, sorted, each once. Nothing before, between or after commas is the empty value.
fn listed(reader: &mut Reader<'_>) -> Result<Vec<String>, SelectorError> {
    let open = reader.next();
    if open != Token::Symbol("(") {
        return Err(SelectorError(format!("found '{}' expected: '('", open.text())));
    }
    let mut values = BTreeSet::new();
    loop {
        match reader.peek() {
            Token::Word(value) => {
                reader.next();
                values.insert(value.to_owned());
            }
            Token::Symbol("," | ")") => {
                values.insert(String::new());
            }
            other if values.is_empty() => return Err(found(other, "',', ')' or identifier")),
            other => return Err(found(other, "',', or identifier")),
        }
        match reader.next() {
            Token::Symbol(")") => return Ok(values.into_iter().collect()),
            Token::Symbol(",") => {}
            other => return Err(found(other, "',' or ')'")),
        }
    }
}
