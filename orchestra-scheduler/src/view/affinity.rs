//! Node selectors: which nodes a pod or a volume accepts.

use k8s_openapi::api::core::v1 as api;

use super::{Labels, NodeName};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is a whole number above the value.
    Gt,
    /// The label is a whole number below the value.
    Lt,
}

/// One comparison of a label or field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label or field compared.
    pub key: Box<str>,
    /// How.
    pub operator: SelectorOperator,
    /// With what.
    pub values: Box<[Box<str>]>,
}

impl Requirement {
    /// Reads a requirement; `None` when it does not parse, as upstream decides that.
    fn from_api(requirement: &api::NodeSelectorRequirement) -> Option<Self> {
        let values: Box<[Box<str>]> =
            requirement.values.iter().flatten().map(|value| value.as_str().into()).collect();
        let operator = match requirement.operator.as_str() {
            "In" => SelectorOperator::In,
            "NotIn" => SelectorOperator::NotIn,
            "Exists" => SelectorOperator::Exists,
            "DoesNotExist" => SelectorOperator::DoesNotExist,
            "Gt" => SelectorOperator::Gt,
            "Lt" => SelectorOperator::Lt,
            _ => return None,
        };
        let well_formed = match operator {
            SelectorOperator::In | SelectorOperator::NotIn => !values.is_empty(),
            SelectorOperator::Exists | SelectorOperator::DoesNotExist => values.is_empty(),
            SelectorOperator::Gt | SelectorOperator::Lt => {
                values.len() == 1 && values.iter().all(|value| value.parse::<i64>().is_ok())
            }
        };
        well_formed.then(|| Self { key: requirement.key.as_str().into(), operator, values })
    }

    fn matches(&self, actual: Option<&str>) -> bool {
        let among = |actual: &str| self.values.iter().any(|value| **value == *actual);
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = || self.values.first().and_then(|value| number(value));
        match self.operator {
            SelectorOperator::In => actual.is_some_and(among),
            SelectorOperator::NotIn => !actual.is_some_and(among),
            SelectorOperator::Exists => actual.is_some(),
            SelectorOperator::DoesNotExist => actual.is_none(),
            SelectorOperator::Gt => actual.and_then(number).zip(bound()).is_some_and(|(a, b)| a > b),
            SelectorOperator::Lt => actual.and_then(number).zip(bound()).is_some_and(|(a, b)| a < b),
        }
    }
}

/// A conjunction of requirements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SelectorTerm {
    /// Requirements on the node's labels.
    pub expressions: Vec<Requirement>,
    /// Requirements on the node's fields; `metadata.name` is the only one there is.
    pub fields: Vec<Requirement>,
}

impl SelectorTerm {
    /// Reads a term; `None` when a part does not parse (such a term is ignored if another matches, so it
    /// simply never matches).
    pub(super) fn from_api(term: &api::NodeSelectorTerm) -> Option<Self> {
        let read = |list: &Option<Vec<api::NodeSelectorRequirement>>| {
            list.iter().flatten().map(Requirement::from_api).collect::<Option<Vec<_>>>()
        };
        let (expressions, fields) = (read(&term.match_expressions)?, read(&term.match_fields)?);
        let fields_known = fields.iter().all(|field| {
            &*field.key == "metadata.name"
                && matches!(field.operator, SelectorOperator::In | SelectorOperator::NotIn)
                && field.values.len() == 1
        });
        fields_known.then_some(Self { expressions, fields })
    }

    /// Whether a node with these labels and this name fulfils every requirement; an empty term matches nothing.
    #[must_use]
    pub fn matches(&self, labels: &Labels, name: &NodeName) -> bool {
        !(self.expressions.is_empty() && self.fields.is_empty())
            && self.expressions.iter().all(|one| one.matches(labels.get(&*one.key).map(String::as_str)))
            && self.fields.iter().all(|one| one.matches(Some(name)))
    }
}

/// A disjunction of terms; without terms it matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeSelector {
    /// The terms, of which one has to match. A term that did not parse is `None`.
    pub terms: Vec<Option<SelectorTerm>>,
}

impl NodeSelector {
    pub(crate) fn from_api(selector: &api::NodeSelector) -> Self {
        Self { terms: selector.node_selector_terms.iter().map(SelectorTerm::from_api).collect() }
    }

    /// Whether any term matches.
    #[must_use]
    pub fn matches(&self, labels: &Labels, name: &NodeName) -> bool {
        self.terms.iter().flatten().any(|term| term.matches(labels, name))
    }
}

/// A term that earns a node points instead of admitting it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreferredTerm {
    /// What a match is worth.
    pub weight: i32,
    /// The term.
    pub term: SelectorTerm,
}

impl PreferredTerm {
    /// Reads a preference; a weight of 0 or an empty or broken term never counts, and is `None`.
    pub(crate) fn from_api(term: &api::PreferredSchedulingTerm) -> Option<Self> {
        let read = SelectorTerm::from_api(&term.preference)?;
        let empty = read.expressions.is_empty() && read.fields.is_empty();
        (term.weight != 0 && !empty).then_some(Self { weight: term.weight, term: read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> Option<Requirement> {
        Requirement::from_api(&api::NodeSelectorRequirement {
            key: "k".into(),
            operator: operator.into(),
            values: Some(values.iter().map(ToString::to_string).collect()),
        })
    }

    #[test]
    fn operators_treat_absent_and_unparsable_labels_as_stated() {
        for (operator, values, label, expected) in [
            ("In", &["a", "b"][..], Some("b"), true),
            ("In", &["a"], None, false),
            ("NotIn", &["a"], Some("a"), false),
            ("NotIn", &["a"], None, true),
            ("Exists", &[], Some(""), true),
            ("DoesNotExist", &[], None, true),
            ("Gt", &["5"], Some("6"), true),
            ("Gt", &["5"], Some("5"), false),
            ("Gt", &["5"], Some("many"), false),
            ("Gt", &["5"], None, false),
            ("Lt", &["5"], Some("-1"), true),
        ] {
            let requirement = requirement(operator, values).unwrap();
            assert_eq!(requirement.matches(label), expected, "{requirement:?} {label:?}");
        }
    }

    #[test]
    fn malformed_requirements_do_not_parse() {
        for (operator, values) in
            [("In", &[][..]), ("Exists", &["a"]), ("Gt", &["x"]), ("Gt", &["1", "2"]), ("Near", &["a"])]
        {
            assert_eq!(requirement(operator, values), None, "{operator}");
        }
    }

    #[test]
    fn empty_terms_and_selectors_match_nothing() {
        let (labels, name) = (Labels::new(), NodeName::from("n"));
        assert!(!SelectorTerm::default().matches(&labels, &name));
        assert!(!NodeSelector::default().matches(&labels, &name));
    }

    #[test]
    fn a_term_that_fails_to_parse_is_ignored_if_another_matches() {
        let good =
            SelectorTerm { expressions: vec![requirement("DoesNotExist", &[]).unwrap()], fields: vec![] };
        let selector = NodeSelector { terms: vec![None, Some(good)] };
        assert!(selector.matches(&Labels::new(), &NodeName::from("n")));
    }
}
