//! The JSON that extenders are asked in and answer in: names as Go writes them, and in any letter case as Go reads them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Passed, Proposal};
use crate::view::{NodeName, PodKey, PodUid};

/// A question about nodes: whole, or by name for extenders that know them.
pub(crate) fn args(pod: Value, nodes: Nodes) -> Value {
    let (nodes, names) = match nodes {
        Nodes::Whole(items) => (json!({"metadata": {}, "items": items}), Value::Null),
        Nodes::Named(names) => (Value::Null, json!(names)),
    };
    json!({"Pod": pod, "Nodes": nodes, "NodeNames": names})
}

/// How nodes are named to an extender.
pub(crate) enum Nodes {
    Whole(Vec<Value>),
    Named(Vec<String>),
}

/// A question about victims. `whole` gives a pod as it is; without it they are named.
pub(crate) fn preemption(
    pod: Value,
    proposals: &[Proposal],
    whole: Option<&dyn Fn(&PodUid) -> Value>,
) -> Value {
    let victims = |one: &Proposal| {
        let pods: Vec<Value> = one
            .victims
            .iter()
            .map(|pod| match whole {
                Some(whole) => whole(&pod.uid),
                None => json!({"UID": &*pod.uid}),
            })
            .collect();
        (one.node.to_string(), json!({"Pods": pods, "NumPDBViolations": one.violations}))
    };
    let victims = Value::Object(proposals.iter().map(victims).collect());
    match whole {
        Some(_) => json!({"Pod": pod, "NodeNameToVictims": victims, "NodeNameToMetaVictims": null}),
        None => json!({"Pod": pod, "NodeNameToVictims": null, "NodeNameToMetaVictims": victims}),
    }
}

/// A pod to bind.
pub(crate) fn binding(pod: &PodKey, uid: &PodUid, node: &NodeName) -> Value {
    json!({"PodName": &*pod.name, "PodNamespace": &*pod.namespace, "PodUID": &**uid, "Node": &**node})
}

/// A field by its name in any letter case; null is none.
fn field<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = of.get(name);
    let found =
        exact.or_else(|| of.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is not an object"))
}

fn texts(of: &Map<String, Value>, name: &str) -> Result<BTreeMap<String, String>, String> {
    let Some(map) = field(of, name) else { return Ok(BTreeMap::new()) };
    let read = |(key, value): (&String, &Value)| {
        let text = value.as_str().ok_or_else(|| format!("{name}.{key} is not text"))?;
        Ok((key.clone(), text.to_owned()))
    };
    object(map, name)?.iter().map(read).collect()
}

/// The error that an answer states, if it does.
fn error(of: &Map<String, Value>) -> Result<(), String> {
    match field(of, "Error").and_then(Value::as_str) {
        Some(error) if !error.is_empty() => Err(error.to_owned()),
        _ => Ok(()),
    }
}

/// An answer about nodes that pass. `named`: the extender was asked by name.
pub(crate) fn passed(answer: &Value, named: bool) -> Result<Passed, String> {
    let answer = object(answer, "the answer")?;
    error(answer)?;
    let names = match (field(answer, "NodeNames").filter(|_| named), field(answer, "Nodes")) {
        (Some(names), _) => {
            names.as_array().ok_or("NodeNames is not a list")?.iter().map(Value::as_str).collect()
        }
        (None, Some(nodes)) => {
            let items = field(object(nodes, "Nodes")?, "items").and_then(Value::as_array);
            items.into_iter().flatten().map(|node| node.pointer("/metadata/name")?.as_str()).collect()
        }
        (None, None) => Some(Vec::new()),
    };
    let names: Vec<&str> = names.ok_or("a node without a name")?;
    Ok(Passed {
        nodes: names.into_iter().map(NodeName::from).collect(),
        failed: texts(answer, "FailedNodes")?,
        hopeless: texts(answer, "FailedAndUnresolvableNodes")?,
    })
}

/// An answer about points.
pub(crate) fn points(answer: &Value) -> Result<Vec<(String, i64)>, String> {
    let list = match answer {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err("the answer is not a list".to_owned()),
    };
    let read = |one: &Value| {
        let one = object(one, "an entry")?;
        let host = field(one, "Host").and_then(Value::as_str).ok_or("an entry has no Host")?;
        let score = match field(one, "Score") {
            None => 0,
            Some(score) => {
                score.as_i64().ok_or_else(|| format!("the Score of {host:?} is not a whole number"))?
            }
        };
        Ok((host.to_owned(), score))
    };
    list.iter().map(read).collect()
}

/// An answer about victims.
pub(crate) fn victims(answer: &Value) -> Result<Vec<(NodeName, Vec<PodUid>, usize)>, String> {
    let answer = object(answer, "the answer")?;
    let Some(nodes) = field(answer, "NodeNameToMetaVictims") else { return Ok(Vec::new()) };
    let read = |(node, victims): (&String, &Value)| {
        let victims = object(victims, "the victims of a node")?;
        let pods =
            field(victims, "Pods").map(|pods| pods.as_array().ok_or("Pods is not a list")).transpose()?;
        let uid = |pod: &Value| {
            let uid = pod.as_object().and_then(|pod| field(pod, "UID")).and_then(Value::as_str);
            uid.map(PodUid::from).ok_or_else(|| format!("a victim on {node:?} has no UID"))
        };
        let uids: Vec<PodUid> = pods.into_iter().flatten().map(uid).collect::<Result<_, String>>()?;
        let violations = field(victims, "NumPDBViolations").and_then(Value::as_u64).unwrap_or(0);
        Ok((NodeName::from(node.as_str()), uids, usize::try_from(violations).unwrap_or(usize::MAX)))
    };
    object(nodes, "NodeNameToMetaVictims")?.iter().map(read).collect()
}

/// An answer about a binding.
pub(crate) fn bound(answer: &Value) -> Result<(), String> {
    error(object(answer, "the answer")?)
}
