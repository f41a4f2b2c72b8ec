//! Whether a node is one that a node selector means.

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

/// Whether any term of the selector matches. A selector without terms matches nothing.
pub(crate) fn matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Whether all requirements of a term hold. An empty term matches nothing, as upstream.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    let label =
        |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| (key == "metadata.name").then_some(node.metadata.name.as_deref()).flatten();
    labels.iter().all(|wanted| holds(wanted, label(&wanted.key)))
        && fields.iter().all(|wanted| holds(wanted, field(&wanted.key)))
}

fn holds(wanted: &NodeSelectorRequirement, held: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let among = |held: &str| values.iter().any(|value| value == held);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|value| number(value));
    match wanted.operator.as_str() {
        "In" => held.is_some_and(among),
        "NotIn" => !held.is_some_and(among),
        "Exists" => held.is_some(),
        "DoesNotExist" => held.is_none(),
        "Gt" => held.and_then(number).zip(bound).is_some_and(|(held, bound)| held > bound),
        "Lt" => held.and_then(number).zip(bound).is_some_and(|(held, bound)| held < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(requirement: serde_json::Value) -> bool {
        let node = json!({"metadata": {"name": "n1", "labels": {"zone": "a", "cores": "8"}}});
        let selector = json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]});
        matches(&serde_json::from_value(selector).unwrap(), &serde_json::from_value(node).unwrap())
    }

    #[test]
    fn every_operator_means_what_upstream_means() {
        assert!(says(json!({"key": "zone", "operator": "In", "values": ["a", "b"]})));
        assert!(!says(json!({"key": "zone", "operator": "NotIn", "values": ["a"]})));
        assert!(says(json!({"key": "gone", "operator": "NotIn", "values": ["a"]})));
        assert!(says(json!({"key": "gone", "operator": "DoesNotExist"})));
        assert!(says(json!({"key": "cores", "operator": "Gt", "values": ["4"]})));
        assert!(!says(json!({"key": "cores", "operator": "Lt", "values": ["8"]})));
    }

    #[test]
    fn an_empty_term_matches_nothing() {
        let selector: NodeSelector = serde_json::from_value(json!({"nodeSelectorTerms": [{}]})).unwrap();
        assert!(!matches(&selector, &Node::default()));
    }
}
