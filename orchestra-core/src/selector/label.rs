//! Label selectors: requirements on the labels of an object, all of which must hold.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde_json::{Map, Value};

use super::{SelectorError, check_length, parse};
use crate::meta::name;
use crate::violation::{FieldPath, Violation};

/// How the values of a requirement relate to the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`: also when there is no such label.
    NotIn,
    /// `key=a`
    Equals,
    /// `key==a`, the same with another spelling.
    DoubleEquals,
    /// `key!=a`: also when there is no such label.
    NotEquals,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// A selection of objects by their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    // `None` selects nothing, which an absent metav1.LabelSelector means; an empty list selects everything.
    requirements: Option<Vec<Requirement>>,
}

/// Something that has labels.
pub trait Labels {
    /// The value of the label `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

/// The value of `metadata.labels`, whatever it is.
impl Labels for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl<T: Labels> Labels for Option<T> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

impl<T: Labels + ?Sized> Labels for &T {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

impl Requirement {
    /// A requirement, refused when the key or a value cannot be that of a label or their number does not fit.
    ///
    /// # Errors
    /// The violations as upstream's `labels.NewRequirement` words them.
    pub fn new(
        key: impl Into<String>,
        operator: Operator,
        values: Vec<String>,
    ) -> Result<Self, SelectorError> {
        let requirement = Self { key: key.into(), operator, values };
        let violations = requirement.violations();
        match &violations[..] {
            [] => Ok(requirement),
            [one] => Err(SelectorError(one.to_string())),
            more => {
                let all: Vec<String> = more.iter().map(Violation::to_string).collect();
                Err(SelectorError(format!("[{}]", all.join(", "))))
            }
        }
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let messages = name::is_qualified_name(&self.key);
        if !messages.is_empty() {
            found.push(Violation::invalid(&FieldPath::new("key"), self.key.as_str(), messages.join("; ")));
        }
        let path = FieldPath::new("values");
        let count = self.values.len();
        let wrong = match self.operator {
            Operator::In | Operator::NotIn if count == 0 => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if count != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist if count != 0 => {
                Some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan if count != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        };
        found.extend(wrong.map(|detail| Violation::invalid(&path, self.values.clone(), detail)));
        let ordered = matches!(self.operator, Operator::GreaterThan | Operator::LessThan);
        for (i, value) in self.values.iter().enumerate().filter(|_| ordered) {
            if value.parse::<i64>().is_err() {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                found.push(Violation::invalid(&path.index(i), value.as_str(), detail));
            }
        }
        for (i, value) in self.values.iter().enumerate() {
            let messages = name::is_label_value(value);
            if !messages.is_empty() {
                let path = path.index(i).key(&self.key);
                found.push(Violation::invalid(&path, value.as_str(), messages.join("; ")));
            }
        }
        found
    }

    /// The label it is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How the label relates to the values.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted when they came as text.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether an object with these labels meets it.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let label = labels.label(&self.key);
        let listed = |label: &str| self.values.iter().any(|value| value == label);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label, |label, bound| label > bound),
            Operator::LessThan => self.compare(label, |label, bound| label < bound),
        }
    }

    fn compare(&self, label: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
        match (number(label), number(self.values.first().map(String::as_str))) {
            (Some(label), Some(bound)) => holds(label, bound),
            _ => false,
        }
    }
}

impl LabelSelector {
    /// Selects every object.
    pub const fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects no object.
    pub const fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Selects what meets all the requirements.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Reads the text of a `labelSelector` parameter.
    ///
    /// # Errors
    /// Text that is no selector, or is too long.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        check_length(text)?;
        Ok(Self::new(parse::requirements(text)?))
    }

    /// Selects what has all these labels, as the selectors of Services and ReplicationControllers do. Nothing is
    /// checked: what cannot be a label matches nothing.
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self { requirements: Some(labels.iter().map(equals).collect()) }
    }

    /// Takes over a `metav1.LabelSelector`; an absent one selects nothing, an empty one everything.
    ///
    /// # Errors
    /// An unknown operator, or a key or value that cannot be that of a label.
    pub fn from_typed(selector: Option<&v1::LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = operator_of_expression(&expression.operator)?;
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// Takes over a `metav1.LabelSelector` from JSON; `null` selects nothing, an empty object everything.
    ///
    /// # Errors
    /// Parts of another type than a selector has, and what [`LabelSelector::from_typed`] refuses.
    pub fn from_json(selector: &Value) -> Result<Self, SelectorError> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let typed: v1::LabelSelector = serde::Deserialize::deserialize(selector)
            .map_err(|error| SelectorError(format!("not a label selector: {error}")))?;
        Self::from_typed(Some(&typed))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.requirements
            .as_ref()
            .is_some_and(|all| all.iter().all(|requirement| requirement.matches(labels)))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether no object can be selected.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The requirements, sorted by key; none both for everything and for nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    /// The only value the label may have, if the selector leaves it no other.
    pub fn exact(&self, key: &str) -> Option<&str> {
        let requirement = self.requirements().iter().find(|requirement| requirement.key == key)?;
        match (requirement.operator, &requirement.values[..]) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => Some(value),
            _ => None,
        }
    }
}

fn operator_of_expression(operator: &str) -> Result<Operator, SelectorError> {
    match operator {
        "In" => Ok(Operator::In),
        "NotIn" => Ok(Operator::NotIn),
        "Exists" => Ok(Operator::Exists),
        "DoesNotExist" => Ok(Operator::DoesNotExist),
        other => Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone();
        values.sort();
        let values = values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// As text that [`LabelSelector::parse`] reads; empty for everything, and for nothing, which has no text.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements().iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn select(text: &str, labels: Value) -> bool {
        LabelSelector::parse(text).unwrap().matches(&labels)
    }

    #[test]
    fn every_operator_matches_as_upstream() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for text in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "other!=x",
            "app in (db, web)",
            "app notin (db)",
            "x notin (y)",
            "app",
            "!x",
            "n>4",
            "n<6",
            "app=web,tier=front",
            " app = web , ! x ",
        ] {
            assert!(select(text, labels.clone()), "{text}");
        }
        for text in [
            "app=db",
            "app!=web",
            "app in (db)",
            "app notin (web)",
            "x",
            "!app",
            "n>5",
            "n<5",
            "app>1",
            "app=",
        ] {
            assert!(!select(text, labels.clone()), "{text}");
        }
    }

    #[test]
    fn a_keyword_can_be_a_value_and_a_key() {
        assert!(select("a in (in,notin)", json!({"a": "in"})));
        assert!(select("in=notin", json!({"in": "notin"})));
    }

    #[test]
    fn the_empty_value_can_be_listed() {
        for text in ["a in ()", "a in (,)", "a in (x,)", "a in (,x)", "a in (x,,y)", "a="] {
            assert!(select(text, json!({"a": ""})), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_selector_is_refused_with_upstreams_words() {
        for (text, message) in [
            ("a,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=)", "unable to parse requirement: found ')', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), message, "{text}");
        }
        let message = LabelSelector::parse("a=b$").unwrap_err().to_string();
        assert!(
            message.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"b$\": a valid label must"
            ),
            "{message}"
        );
        let message = LabelSelector::parse("a/b/c=d").unwrap_err().to_string();
        assert!(
            message.starts_with(
                "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key"
            ),
            "{message}"
        );
        assert!(LabelSelector::parse(&"a".repeat(MAX)).is_err());
    }
    const MAX: usize = super::super::MAX_TEXT + 1;

    #[test]
    fn a_metav1_selector_selects_as_its_text_does() {
        let selector = LabelSelector::from_json(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,!old,tier in (back,front)");
        assert!(selector.matches(&json!({"app": "web", "tier": "back"})));
        assert!(!selector.matches(&json!({"app": "web"})));
        assert_eq!(selector.exact("app"), Some("web"));
        assert_eq!(selector.exact("tier"), None);
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(!LabelSelector::from_json(&Value::Null).unwrap().matches(&json!({})));
        assert!(LabelSelector::from_json(&json!({})).unwrap().matches(&json!({})));
        assert!(LabelSelector::from_typed(None).unwrap().is_nothing());
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]});
        let message = LabelSelector::from_json(&wrong).unwrap_err().to_string();
        assert_eq!(message, "\"Gt\" is not a valid label selector operator");
    }

    proptest! {
        #[test]
        fn a_selector_survives_being_written(text in "(!?[a-c](=[x-z]?| in \\([x-z],[x-z]?\\)|!=z)?,?){0,4}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let again = LabelSelector::parse(&selector.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), selector.to_string());
                prop_assert_eq!(again, selector);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-c!=<>(), \\t\\x00ä]{0,12}") {
            drop(LabelSelector::parse(&text));
        }
    }
}
