//! Regular expressions of schemas: Go's syntax, matched without backtracking.

use std::fmt::Write as _;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// How much memory a compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;
/// How much memory its lazily built states may take.
const MAX_STATES: usize = 1 << 20;

/// A pattern, and its compiled form if it has one.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    compiled: Option<Regex>,
}

/// Patterns are the same when their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// Compiles a pattern. One that cannot be compiled matches nothing.
    pub fn new(source: &str) -> Self {
        Self { source: source.into(), compiled: compile(source).ok() }
    }

    /// The text it was made of.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether some part of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// What is wrong with a pattern, in the words of Go's `regexp`, as far as they can be known.
pub(super) fn problem(source: &str) -> Option<String> {
    let error = compile(source).err()?;
    Some(match &error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        _ => {
            // The last line of the message says what is wrong; those before it draw a picture.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default();
            let why = why.trim().trim_start_matches("error: ");
            format!("error parsing regexp: {why}: `{source}`")
        }
    })
}

fn compile(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(source)).size_limit(MAX_COMPILED).dfa_size_limit(MAX_STATES).build()
}

/// Writes a pattern of Go in the syntax of the `regex` crate: there `\d` and its kin mean all of Unicode, and brackets
/// and doubled signs within a class have a meaning.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut letters = source.chars().peekable();
    // Where the class began, so that a `]` in first place stands for itself.
    let mut class: Option<usize> = None;
    while let Some(letter) = letters.next() {
        match (letter, class) {
            ('\\', _) => {
                let Some(next) = letters.next() else {
                    out.push('\\');
                    break;
                };
                escape(next, class.is_some(), &mut out);
            }
            ('[', None) => {
                out.push('[');
                if letters.peek() == Some(&'^') {
                    letters.next();
                    out.push('^');
                }
                class = Some(out.len());
            }
            ('[', Some(_)) if letters.peek() == Some(&':') => {
                out.push('[');
                // A named class is the same in both; it ends with its own bracket.
                for letter in letters.by_ref() {
                    out.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            (']', Some(start)) if out.len() == start => out.push_str("\\]"),
            (']', Some(_)) => {
                out.push(']');
                class = None;
            }
            ('[' | '&' | '~', Some(_)) => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out
}

fn escape(letter: char, in_class: bool, out: &mut String) {
    let (set, negated) = match letter {
        'd' | 'D' => ("0-9", letter == 'D'),
        'w' | 'W' => ("0-9A-Za-z_", letter == 'W'),
        's' | 'S' => ("\\t\\n\\f\\r ", letter == 'S'),
        'b' | 'B' if !in_class => {
            // Writing to a string cannot fail.
            let _ = write!(out, "(?-u:\\b)");
            if letter == 'B' {
                out.truncate(out.len() - "(?-u:\\b)".len());
                out.push_str("\\B");
            }
            return;
        }
        _ => {
            out.push('\\');
            out.push(letter);
            return;
        }
    };
    match (in_class, negated) {
        (true, false) => out.push_str(set),
        (_, true) => {
            let _ = write!(out, "[^{set}]");
        }
        (false, false) => {
            let _ = write!(out, "[{set}]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "٣", false),
            (r"^\d+$", "42", true),
            (r"^[\w.-]+$", "a_b-c.d", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "a]", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\S+$", "xy", true),
        ] {
            assert_eq!(Pattern::new(pattern).is_match(text), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_that_would_backtrack_or_explode_does_neither() {
        let text = "a".repeat(100_000) + "!";
        assert!(!Pattern::new("^(a+)+$").is_match(&text));
        assert!(problem("((a{100}){100}){100}").unwrap().contains("too large"));
        assert!(problem("(").unwrap().starts_with("error parsing regexp: "));
        assert!(!Pattern::new("(").is_match("("));
    }
}
