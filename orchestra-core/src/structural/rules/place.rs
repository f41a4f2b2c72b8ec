//! The `fieldPath` of a rule: names with dots, or in brackets and quotes, that lead to a field of the schema.

use crate::structural::{Additional, Structural};
use crate::violation::FieldPath;

/// The path, or why it leads nowhere.
pub(crate) fn place(path: &str, schema: &Structural) -> Result<FieldPath, String> {
    let mut at = FieldPath::root();
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('[') {
            Some(inside) => bracketed(inside)?,
            None => {
                let name =
                    rest.strip_prefix('.').ok_or_else(|| format!("expected [ or . but got: {rest}"))?;
                let end = name.find(['.', '[', ']']).unwrap_or(name.len());
                let (name, after) = name.split_at(end);
                if name.is_empty() {
                    return Err("unexpected end of JSON path".to_owned());
                }
                (name.to_owned(), after)
            }
        };
        let nowhere = || "does not refer to a valid field".to_owned();
        if schema.properties.is_empty() {
            schema = schema.additional.as_ref().and_then(Additional::schema).ok_or_else(nowhere)?;
            at = at.key(&name);
        } else {
            schema = schema.properties.get(&name).ok_or_else(nowhere)?;
            at = at.child(&name);
        }
        rest = after;
    }
    Ok(at)
}

/// `'name']` and what follows.
fn bracketed(inside: &str) -> Result<(String, &str), String> {
    let mut chars = inside.char_indices();
    if chars.next().is_none_or(|(_, c)| c != '\'') {
        return Err(format!("expected single quoted string but got {inside}"));
    }
    let mut name = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let after = inside.get(at + 1..).and_then(|rest| rest.strip_prefix(']'));
                return after
                    .map(|after| (name, after))
                    .ok_or_else(|| "unexpected end of JSON path".to_owned());
            }
            '\\' => name.push(match chars.next() {
                Some((_, 'a')) => '\u{7}',
                Some((_, 'b')) => '\u{8}',
                Some((_, 'f')) => '\u{c}',
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, 'v')) => '\u{b}',
                Some((_, c @ ('\'' | '\\'))) => c,
                _ => return Err("invalid string literal".to_owned()),
            }),
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}
