//! Manifests: objects written down as YAML or JSON, many in one text.
//!
//! Reads what `kubectl apply -f` reads, the way it does: documents are parted by `---`, JSON objects may simply follow
//! one another, lists are taken apart, and YAML is that of version 1.1 (`yes` is true, `0644` is octal, `<<` merges).
//! Stricter than kubectl in one thing: a key that stands twice in a map is an error, as it is for the server.
//! Texts come from outside, so size, depth, number of documents and what aliases may grow to are limited.

mod build;
mod write;

use std::cell::Cell;
use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use self::build::Build;
pub use self::write::to_yaml;

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 32 * 1024 * 1024;
/// The most documents and list items in one text.
pub const MAX_DOCUMENTS: usize = 10_000;
/// The deepest nesting of an object.
pub const MAX_DEPTH: usize = 100;
/// The most bytes of values in one document once its aliases are replaced.
pub const MAX_EXPANDED: usize = 64 * 1024 * 1024;
// The most parser events that aliases may repeat.
const MAX_REPEATED: usize = 100_000;
// The parser of YAML recurses with large frames; this is several times what the deepest nesting takes.
const STACK: usize = 16 * 1024 * 1024;

/// An object and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file or other source the text is of.
    pub origin: Arc<str>,
    /// The line its document begins at, counted from 1. Items of a list have the line of the list.
    pub line: usize,
    /// The object; `apiVersion` and `kind` are there.
    pub value: Value,
}

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// The file or other source the text is of.
    pub origin: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads all objects of a text. `origin` names it in errors. Empty documents are passed over.
///
/// # Errors
/// Text that is neither YAML nor JSON, holds something else than objects with `apiVersion` and `kind`, or is beyond
/// a limit.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Document>, ManifestError> {
    let source = Source::new(text, origin)?;
    source.on_deep_stack(|| {
        let mut documents = Vec::new();
        for (line, value) in source.values()? {
            source.collect(value, line, &mut documents)?;
        }
        Ok(documents)
    })
}

/// Reads the first object of a text, whatever it is, as an API server reads the body of a request: further documents
/// are not looked at.
///
/// # Errors
/// Text that is neither YAML nor JSON, or is beyond a limit.
pub fn parse_first(text: &str, origin: &str) -> Result<Value, ManifestError> {
    let source = Source::new(text, origin)?;
    let first = source.chunks()?.into_iter().find(|(_, chunk)| !is_blank(chunk));
    let Some((line, chunk)) = first else { return Ok(Value::Null) };
    if is_json(chunk) {
        let mut values = source.json(line, chunk, 1)?;
        return Ok(values.pop().map_or(Value::Null, |(_, value)| value));
    }
    source.on_deep_stack(|| source.yaml(line, chunk))
}

struct Source<'t> {
    text: &'t str,
    origin: Arc<str>,
}

impl<'t> Source<'t> {
    fn new(text: &'t str, origin: &str) -> Result<Self, ManifestError> {
        let source = Self { text: text.strip_prefix('\u{feff}').unwrap_or(text), origin: Arc::from(origin) };
        if text.len() > MAX_TEXT {
            let length = text.len();
            return Err(source.error(
                1,
                1,
                format!("text of {length} bytes is too long, at most {MAX_TEXT} are read"),
            ));
        }
        Ok(source)
    }

    // Callers may have little stack left, as the workers of a server do; a nested text must not abort them.
    fn on_deep_stack<T: Send>(
        &self,
        read: impl FnOnce() -> Result<T, ManifestError> + Send,
    ) -> Result<T, ManifestError> {
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
            let reader = reader
                .map_err(|error| self.error(1, 1, format!("cannot start a thread to read: {error}")))?;
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn error(&self, line: usize, column: usize, message: impl Into<String>) -> ManifestError {
        ManifestError { origin: Arc::clone(&self.origin), line, column, message: message.into() }
    }

    // The texts between lines of `---`, with the number of their first line.
    fn chunks(&self) -> Result<Vec<(usize, &'t str)>, ManifestError> {
        let mut chunks = Vec::new();
        let (mut start, mut first_line, mut offset) = (0, 1, 0);
        for (i, line) in self.text.split_inclusive('\n').enumerate() {
            if let Some(rest) = line.strip_prefix("---") {
                let rest = rest.trim();
                if !rest.is_empty() && !rest.starts_with('#') {
                    return Err(self.error(i + 1, 4, format!("invalid document separator: {rest}")));
                }
                chunks.push((first_line, &self.text[start..offset]));
                start = offset + line.len();
                first_line = i + 2;
            }
            offset += line.len();
        }
        chunks.push((first_line, &self.text[start..]));
        if chunks.len() > MAX_DOCUMENTS {
            return Err(self.error(first_line, 1, format!("more than {MAX_DOCUMENTS} documents")));
        }
        Ok(chunks)
    }

    fn values(&self) -> Result<Vec<(usize, Value)>, ManifestError> {
        let mut values = Vec::new();
        for (line, chunk) in self.chunks()? {
            if is_blank(chunk) {
                continue;
            }
            if is_json(chunk) {
                values.extend(self.json(line, chunk, MAX_DOCUMENTS)?);
            } else {
                let begin = chunk.lines().take_while(|text| is_blank(text)).count();
                values.push((line + begin, self.yaml(line, chunk)?));
            }
        }
        Ok(values)
    }

    fn json(&self, line: usize, chunk: &str, most: usize) -> Result<Vec<(usize, Value)>, ManifestError> {
        let mut values = Vec::new();
        let mut rest = chunk;
        let mut at = line;
        while values.len() < most {
            let text = rest.trim_start();
            at += newlines(&rest[..rest.len() - text.len()]);
            if text.is_empty() {
                break;
            }
            let expanded = Cell::new(0);
            let mut stream = serde_json::Deserializer::from_str(text);
            let value = Build::new(&expanded).deserialize(&mut stream).map_err(|error| {
                self.error(at + error.line().saturating_sub(1), error.column(), json_message(&error))
            })?;
            // The deserializer tells how far it came only as an iterator.
            let end = stream.into_iter::<Value>().byte_offset();
            values.push((at, value));
            at += newlines(text.get(..end).unwrap_or_default());
            rest = text.get(end..).unwrap_or_default();
        }
        Ok(values)
    }

    fn yaml(&self, line: usize, chunk: &str) -> Result<Value, ManifestError> {
        let expanded = Cell::new(0);
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! {
                max_depth: MAX_DEPTH,
                max_documents: 1,
                max_events: 4_000_000,
                max_nodes: 4_000_000,
                max_total_scalar_bytes: MAX_EXPANDED,
            },
            alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_REPEATED },
            legacy_octal_numbers: true,
            with_snippet: false,
        };
        serde_yaml::with_deserializer_from_str_with_options(chunk, options, |deserializer| {
            Build::new(&expanded).deserialize(deserializer)
        })
        .map_err(|error| {
            let (at, column) =
                error.location().map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
            let message = yaml_message(&error.to_string());
            // The scanner stops where the line before the tab began: lead to the tab itself.
            match tab_indent(chunk, at).filter(|_| message.contains("tab")) {
                Some(tab) => self.error(line + tab - 1, 1, "a tab cannot indent, use spaces"),
                None => self.error(line + at.max(1) - 1, column, message),
            }
        })
    }

    fn collect(&self, value: Value, line: usize, documents: &mut Vec<Document>) -> Result<(), ManifestError> {
        let Value::Object(mut object) = value else {
            return match value {
                Value::Null => Ok(()),
                _ => Err(self.error(line, 1, "an object is expected: a map with apiVersion and kind")),
            };
        };
        for field in ["apiVersion", "kind"] {
            let text = object.get(field).and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() {
                return Err(self.error(line, 1, format!("{field} is missing or no text")));
            }
        }
        if let Some(items) = take_items(&mut object) {
            let (version, kind) = (object.get("apiVersion").cloned(), item_kind(&object));
            for mut item in items {
                if let Value::Object(item) = &mut item {
                    // Items of a typed list, such as a PodList, need not say what they are.
                    if let (Some(version), Some(kind)) = (&version, &kind) {
                        item.entry("apiVersion").or_insert_with(|| version.clone());
                        item.entry("kind").or_insert_with(|| kind.clone());
                    }
                }
                self.collect(item, line, documents)?;
            }
            return Ok(());
        }
        if documents.len() >= MAX_DOCUMENTS {
            return Err(self.error(line, 1, format!("more than {MAX_DOCUMENTS} objects")));
        }
        documents.push(Document { origin: Arc::clone(&self.origin), line, value: Value::Object(object) });
        Ok(())
    }
}

fn take_items(object: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    if !is_list || !object.get("items").is_some_and(|items| items.is_array() || items.is_null()) {
        return None;
    }
    match object.remove("items") {
        Some(Value::Array(items)) => Some(items),
        _ => Some(Vec::new()),
    }
}

fn item_kind(list: &Map<String, Value>) -> Option<Value> {
    let kind = list.get("kind")?.as_str()?.strip_suffix("List")?;
    (!kind.is_empty()).then(|| Value::from(kind))
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

fn is_json(chunk: &str) -> bool {
    chunk.trim_start().starts_with('{')
}

// Nothing but empty lines and comments.
fn is_blank(chunk: &str) -> bool {
    chunk.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

// The first line at or behind `from` that is indented with a tab.
fn tab_indent(chunk: &str, from: usize) -> Option<usize> {
    let indented = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    chunk
        .lines()
        .enumerate()
        .skip(from.saturating_sub(1))
        .find(|(_, line)| indented(line))
        .map(|(i, _)| i + 1)
}

fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}

// Without the place, which stands before the message already.
fn yaml_message(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let message = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message,
        None => line,
    };
    let message = message.split_once(", set DuplicateKeyPolicy").map_or(message, |(message, _)| message);
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}

#[cfg(test)]
mod tests;
