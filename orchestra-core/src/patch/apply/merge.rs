//! Lays a configuration over an object.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::node::Node;

/// The value after `config` is laid over `live`. `config` has passed [`super::typed::check`].
pub(super) fn merge(live: Option<&Value>, config: &Value, node: Node<'_>) -> Value {
    match (live, config) {
        (Some(Value::Array(live)), Value::Array(config)) if node.is_list() => {
            Value::Array(items(live, config, node))
        }
        (Some(live @ Value::Array(items)), Value::Null) if node.is_list() && !items.is_empty() => {
            live.clone()
        }
        (Some(live @ Value::Object(map)), Value::Null) if node.is_object(Some(live)) && !map.is_empty() => {
            live.clone()
        }
        (Some(Value::Object(live)), Value::Object(config))
            if node.is_object(Some(&Value::Null)) || is_untyped(node) =>
        {
            Value::Object(fields(live, config, node))
        }
        (_, config) => config.clone(),
    }
}

fn is_untyped(node: Node<'_>) -> bool {
    match node {
        Node::Untyped => true,
        Node::Fields(place) => place.is_any(),
        _ => false,
    }
}

fn fields(live: &Map<String, Value>, config: &Map<String, Value>, node: Node<'_>) -> Map<String, Value> {
    let mut out = live.clone();
    for (name, value) in config {
        let merged = match node.field(name) {
            Some(node) => merge(live.get(name), value, node),
            None => value.clone(),
        };
        out.insert(name.clone(), merged);
    }
    out
}

fn items(live: &[Value], config: &[Value], node: Node<'_>) -> Vec<Value> {
    let (Ok(ours), Ok(theirs)) = (node.names(live), node.names(config)) else { return config.to_vec() };
    order(&ours, &theirs)
        .into_iter()
        .filter_map(|slot| match slot {
            Slot::Live(at) => live.get(at).cloned(),
            Slot::Config { at, live: Some(below) } => {
                Some(merge(live.get(below), config.get(at)?, node.item()))
            }
            Slot::Config { at, live: None } => config.get(at).cloned(),
        })
        .collect()
}

/// One item of a merged list, by its place in the lists it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Only the live list has it.
    Live(usize),
    /// The configuration has it, and perhaps the live list.
    Config { at: usize, live: Option<usize> },
}

/// The order of a merged list. Items of the configuration come in its order; the others stay before and after the
/// neighbours they had.
fn order(live: &[String], config: &[String]) -> Vec<Slot> {
    let mut in_live = HashMap::new();
    for (at, name) in live.iter().enumerate() {
        // An item that occurs twice has no counterpart; the configuration's takes the place of all.
        in_live.entry(name.as_str()).and_modify(|slot| *slot = None).or_insert(Some(at));
    }
    let in_config: HashMap<&str, usize> =
        config.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let take = |at: usize, name: &str| Slot::Config { at, live: in_live.get(name).copied().flatten() };
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    // How many items of the configuration are out.
    let mut next = 0;
    for (at, name) in live.iter().enumerate() {
        let Some(&wanted) = in_config.get(name.as_str()) else {
            out.push(Slot::Live(at));
            continue;
        };
        // A shared item is due when no other shared item of the configuration comes before it.
        let is_due = wanted >= next
            && !config.iter().take(wanted).skip(next).any(|name| in_live.contains_key(name.as_str()));
        if is_due {
            out.extend(
                config.iter().enumerate().take(wanted + 1).skip(next).map(|(at, name)| take(at, name)),
            );
            next = wanted + 1;
        }
    }
    out.extend(config.iter().enumerate().skip(next).map(|(at, name)| take(at, name)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(live: &str, config: &str) -> String {
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let (live, config) = (names(live), names(config));
        order(&live, &config)
            .into_iter()
            .map(|slot| match slot {
                Slot::Live(at) => live[at].clone(),
                Slot::Config { at, .. } => config[at].clone(),
            })
            .collect()
    }

    #[test]
    fn the_configuration_decides_the_order_of_its_items() {
        for (live, config, merged) in [
            ("abc", "abc", "abc"),
            ("abc", "cba", "cba"),
            ("abc", "x", "abcx"),
            ("abc", "xb", "axbc"),
            ("xay", "ba", "xbay"),
            ("", "ab", "ab"),
            ("ab", "", "ab"),
            ("aab", "a", "ab"),
            ("1a2b3", "ba", "123ba"),
        ] {
            let found = ordered(live, config);
            let mut sorted: Vec<char> = found.chars().collect();
            sorted.sort_unstable();
            let mut all: Vec<char> = merged.chars().collect();
            all.sort_unstable();
            assert_eq!(sorted, all, "{live} {config}");
            if merged != "123ba" {
                assert_eq!(found, merged, "{live} {config}");
            }
        }
    }
}
