//! Field selectors: `metadata.name=x,status.phase!=Running`.

use std::fmt;

use super::{SelectorError, check_length};

/// How the value of a requirement relates to the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldOperator {
    /// `=` and `==`
    Equals,
    /// `!=`
    NotEquals,
}

/// One condition on one field. Which fields there are is up to the kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// The path of the field, such as `spec.nodeName`.
    pub field: String,
    /// How it relates to the value.
    pub operator: FieldOperator,
    /// The value, without escapes.
    pub value: String,
}

/// A selection of objects by their fields; all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Selects every object.
    pub const fn everything() -> Self {
        Self { requirements: Vec::new() }
    }

    /// Selects what meets all the requirements.
    pub fn new(requirements: Vec<FieldRequirement>) -> Self {
        Self { requirements }
    }

    /// Reads the text of a `fieldSelector` parameter. In values, `\`, `,` and `=` are escaped by a backslash.
    ///
    /// # Errors
    /// Text that is no selector, or is too long.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        check_length(text)?;
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, operator, value)) = split_term(term) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                operator,
                value: unescape(value)?,
            });
        }
        Ok(Self { requirements })
    }

    /// The requirements, in the order of their text.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is selected whose fields `field` tells; an absent field is the empty text.
    pub fn matches<V: AsRef<str>>(&self, mut field: impl FnMut(&str) -> V) -> bool {
        self.requirements.iter().all(|requirement| {
            let equal = field(&requirement.field).as_ref() == requirement.value;
            equal == (requirement.operator == FieldOperator::Equals)
        })
    }

    /// The only value the field may have, if the selector leaves it no other.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let wanted = |r: &&FieldRequirement| r.field == field && r.operator == FieldOperator::Equals;
        self.requirements.iter().find(wanted).map(|requirement| requirement.value.as_str())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut escaped = false;
    let at_comma = |c: char| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    };
    text.split(at_comma).collect()
}

// The first operator splits: the name of a field cannot be escaped, the value may have operators within.
fn split_term(term: &str) -> Option<(&str, FieldOperator, &str)> {
    for (i, _) in term.match_indices(['!', '=']) {
        let (field, rest) = term.split_at(i);
        if let Some(value) = rest.strip_prefix("!=") {
            return Some((field, FieldOperator::NotEquals, value));
        }
        if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
            return Some((field, FieldOperator::Equals, value));
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    let message = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(message));
                }
            },
            // Upstream shows the number of the character.
            ',' | '=' => {
                let number = u32::from(c);
                let message = format!("invalid field selector: unescaped character in value: {number}");
                return Err(SelectorError(message));
            }
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.operator == FieldOperator::Equals { "=" } else { "!=" };
        write!(f, "{}{operator}", self.field)?;
        for c in self.value.chars() {
            if matches!(c, '\\' | ',' | '=') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

/// As text that [`FieldSelector::parse`] reads.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(name: &str) -> &'static str {
        match name {
            "metadata.name" => "web",
            "x" => "a=b,c",
            _ => "",
        }
    }

    #[test]
    fn fields_are_compared_as_text() {
        for text in [
            "",
            "metadata.name=web",
            "metadata.name==web",
            "metadata.name!=db",
            "absent=",
            r"x=a\=b\,c",
            ",,",
        ] {
            assert!(FieldSelector::parse(text).unwrap().matches(fields), "{text}");
        }
        for text in ["metadata.name=db", "metadata.name!=web", "metadata.name=web,absent=x"] {
            assert!(!FieldSelector::parse(text).unwrap().matches(fields), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_selector_is_refused_with_upstreams_words() {
        for (text, message) in [
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            (r"a=\b", r"invalid field selector: invalid escape sequence: \b"),
            (r"a=\", r"invalid field selector: invalid escape sequence: \"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn the_value_a_field_must_have_is_told() {
        let selector = FieldSelector::parse("spec.nodeName=n1,a!=b").unwrap();
        assert_eq!(selector.exact("spec.nodeName"), Some("n1"));
        assert_eq!(selector.exact("a"), None);
    }

    proptest! {
        #[test]
        fn any_value_survives_being_written(value in "[a-c=,\\\\!]{0,8}") {
            let one = FieldRequirement { field: "f".into(), operator: FieldOperator::NotEquals, value };
            let selector = FieldSelector::new(vec![one]);
            prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,12}") {
            drop(FieldSelector::parse(&text));
        }
    }
}
