//! Reads a request body.

use std::borrow::Cow;
use std::cell::Cell;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use super::conform::{conform_tree, duplicates};
use super::model::ObjectType;
use super::problem::{DecodeError, Problem};
use super::syntax;
use super::tree::{Build, Tree};

/// How deep YAML may nest. Its reader takes far more stack for a level than that of JSON.
const MAX_DEPTH: usize = 64;
/// How many parts of a YAML document may come from aliases, and how much text there may be with them.
const MAX_REPLAYED: usize = 100_000;
const MAX_EXPANDED: usize = 16 << 20;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`. Documents behind the first are passed over, as upstream does.
    Yaml,
}

/// A body that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object, pruned and lean.
    pub value: Value,
    /// What strict validation refuses and `fieldValidation=Warn` warns of.
    pub problems: Vec<Problem>,
}

/// Reads a body as an object of type `ty`.
///
/// Nesting is limited to 128 levels in JSON and 64 in YAML; YAML aliases may not multiply a document. The caller limits its size.
pub fn decode(body: &[u8], format: Format, ty: &'static ObjectType) -> Result<Decoded, DecodeError> {
    let (value, problems) = conform_tree(parse(body, format)?, ty)?;
    Ok(Decoded { value, problems })
}

/// Reads a body that has no built-in type, such as a custom resource. Only duplicates can be found wrong with it.
pub fn decode_untyped(body: &[u8], format: Format) -> Result<Decoded, DecodeError> {
    let tree = parse(body, format)?;
    let problems = duplicates(&tree);
    Ok(Decoded { value: tree.into_value(), problems })
}

fn parse(body: &[u8], format: Format) -> Result<Tree, DecodeError> {
    // Go replaces what is not UTF-8. Nearly everything is, which is found out faster without looking for what is not.
    let text = match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(body),
    };
    match format {
        // The first thing upstream looks for in a body is its type.
        Format::Json => parse_json(&text).map_err(|error| {
            let error = syntax::message(&text, &error);
            DecodeError::Syntax(format!("couldn't get version/kind; json parse error: {error}"))
        }),
        Format::Yaml => {
            parse_yaml(first_document(&text)).map_err(|error| DecodeError::Syntax(format!("yaml: {error}")))
        }
    }
}

fn parse_json(text: &str) -> serde_json::Result<Tree> {
    let left = Cell::new(usize::MAX);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Build::new(&left).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(tree)
}

fn parse_yaml(text: &str) -> Result<Tree, serde_yaml::Error> {
    let left = Cell::new(MAX_EXPANDED);
    serde_yaml::with_deserializer_from_str_with_options(text, yaml_options(), |deserializer| {
        Build::new(&left).deserialize(deserializer)
    })
}

/// How YAML is read: all keys of a mapping, those that stand twice too.
pub(super) fn yaml_options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_events: 4_000_000,
            max_nodes: 4_000_000,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

/// What stands before the second `---`. No scalar can hold such a line.
pub(super) fn first_document(text: &str) -> &str {
    let mut at = 0;
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim_start().len() != rest.len() || rest.is_empty());
        if is_marker && has_content {
            return text.get(..at).unwrap_or(text);
        }
        at += line.len();
        // A marker may be followed by content on its own line; a second one then still ends the document.
        has_content |= is_marker || !(line.trim().is_empty() || line.starts_with(['#', '%']));
    }
    text
}

#[cfg(test)]
mod tests;
