//! Reads a request body.

use serde_json::Value;

use super::conform::{conform_tree, duplicates};
use super::model::ObjectType;
use super::problem::{DecodeError, Problem};
use super::syntax;
use super::tree::Tree;

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
/// Nesting is limited to 128 levels; YAML aliases may not multiply a document. The caller limits its size.
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
    // Go replaces what is not UTF-8.
    let text = String::from_utf8_lossy(body);
    match format {
        Format::Json => {
            serde_json::from_str(&text).map_err(|error| DecodeError::Syntax(syntax::message(&text, &error)))
        }
        Format::Yaml => parse_yaml(&text),
    }
}

fn parse_yaml(text: &str) -> Result<Tree, DecodeError> {
    let mut options = serde_yaml::Options::default();
    options.legacy_octal_numbers = true;
    options.duplicate_keys = serde_yaml::DuplicateKeyPolicy::LastWins;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = 100_000;
    serde_yaml::from_str_with_options(text, options)
        .map_err(|error| DecodeError::Syntax(format!("yaml: {error}")))
}

#[cfg(test)]
mod tests;
