//! Which names a definition may have, and what its status says of it. Pure.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::storage::meta;

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Condition {
    pub(super) fn new(
        kind: &'static str,
        holds: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, holds, reason, message: message.into() }
    }
}

/// Names that are taken in a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) resources: HashSet<String>,
    pub(super) kinds: HashSet<String>,
}

impl Taken {
    /// Adds the names of a definition, or what discovery says of a built-in kind.
    pub(super) fn add(&mut self, names: &Value) {
        for field in ["plural", "singular"] {
            self.resources.insert(text(names, field).to_owned());
        }
        self.resources.extend(short_names(names).map(str::to_owned));
        for field in ["kind", "listKind"] {
            self.kinds.insert(text(names, field).to_owned());
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn short_names(names: &Value) -> impl Iterator<Item = &str> {
    names.get("shortNames").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What a definition comes to.
#[derive(Debug)]
pub(super) struct Decision {
    /// The definition with the status it should have.
    pub(super) definition: Value,
    /// Whether that is another than it has.
    pub(super) changed: bool,
    /// Whether its objects are served, under the names of its status.
    pub(super) is_served: bool,
}

/// Decides about the definitions of a cluster. `builtin` says which names the built-in kinds of a group have.
pub(super) fn decide(definitions: &[Value], builtin: impl Fn(&str) -> Taken, now: &str) -> Vec<Decision> {
    let accepted =
        |definition: &Value| definition.pointer("/status/acceptedNames").cloned().unwrap_or_default();
    let mut names: Vec<Value> = definitions.iter().map(accepted).collect();
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    // Who came first has the names.
    order.sort_by_key(|&at| {
        definitions.get(at).map(|d| (meta::text(d, "creationTimestamp").to_owned(), meta::name(d).to_owned()))
    });
    let mut decisions: Vec<(usize, Decision)> = Vec::with_capacity(definitions.len());
    for at in order {
        let Some(definition) = definitions.get(at) else { continue };
        let group = group(definition);
        let mut taken = builtin(group);
        for (other, names) in names.iter().enumerate() {
            if other != at && definitions.get(other).is_some_and(|d| self::group(d) == group) {
                taken.add(names);
            }
        }
        let decision = one(definition, &taken, now);
        if let Some(slot) = names.get_mut(at) {
            *slot = accepted(&decision.definition);
        }
        decisions.push((at, decision));
    }
    decisions.sort_by_key(|(at, _)| *at);
    decisions.into_iter().map(|(_, decision)| decision).collect()
}

pub(super) fn group(definition: &Value) -> &str {
    definition.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default()
}

fn one(definition: &Value, taken: &Taken, now: &str) -> Decision {
    let mut new = definition.clone();
    let (names, names_accepted) = accept(definition, taken);
    if let Some(status) = new.as_object_mut().map(|o| o.entry("status").or_insert_with(|| json!({}))) {
        status["acceptedNames"] = names;
    }
    let are_accepted = names_accepted.holds;
    set_condition(&mut new, names_accepted, now);
    let was_established = condition_holds(definition, "Established");
    if are_accepted && !was_established {
        let why = "the initial names have been accepted";
        set_condition(&mut new, Condition::new("Established", true, "InitialNamesAccepted", why), now);
    } else if !was_established {
        let why = "not all names are accepted";
        set_condition(&mut new, Condition::new("Established", false, "NotAccepted", why), now);
    }
    if let Some(approval) = approval(definition) {
        set_condition(&mut new, approval, now);
    }
    Decision { changed: new != *definition, is_served: are_accepted || was_established, definition: new }
}

/// The names it has from now on, and whether those are all it wants.
fn accept(definition: &Value, taken: &Taken) -> (Value, Condition) {
    let none = Value::Null;
    let wanted = definition.pointer("/spec/names").unwrap_or(&none);
    let has = definition.pointer("/status/acceptedNames").unwrap_or(&none);
    let mut names = has.as_object().cloned().unwrap_or_default();
    let mut refusal: Option<(&'static str, String)> = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, used, reason) in [
        ("plural", &taken.resources, "PluralConflict"),
        ("singular", &taken.resources, "SingularConflict"),
        ("shortNames", &taken.resources, "ShortNamesConflict"),
        ("kind", &taken.kinds, "KindConflict"),
        ("listKind", &taken.kinds, "ListKindConflict"),
    ] {
        let clashes: Vec<String> = if field == "shortNames" {
            let own: HashSet<&str> = short_names(has).collect();
            let fresh = short_names(wanted).filter(|name| !own.contains(name));
            fresh.filter(|name| used.contains(*name)).map(in_use).collect()
        } else {
            let name = text(wanted, field);
            let clash = name != text(has, field) && used.contains(name);
            clash.then(|| in_use(name)).into_iter().collect()
        };
        if clashes.is_empty() {
            take(&mut names, wanted, field);
        } else {
            let message =
                if clashes.len() == 1 { clashes.concat() } else { format!("[{}]", clashes.join(", ")) };
            refusal = Some((reason, message));
        }
    }
    take(&mut names, wanted, "categories");
    let condition = match refusal {
        Some((reason, message)) => Condition::new("NamesAccepted", false, reason, message),
        None => Condition::new("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    // As the type writes it: these two are always there.
    for field in ["kind", "plural"] {
        names.entry(field).or_insert_with(|| "".into());
    }
    (names.into(), condition)
}

fn take(names: &mut Map<String, Value>, wanted: &Value, field: &str) {
    match wanted.get(field) {
        Some(value) => names.insert(field.to_owned(), value.clone()),
        None => names.remove(field),
    };
}

/// Groups of the Kubernetes project say whether the project agreed.
fn approval(definition: &Value) -> Option<Condition> {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    let group = group(definition);
    if !["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")))
    {
        return None;
    }
    let annotation =
        meta::metadata(definition)?.get("annotations")?.get("api-approved.kubernetes.io")?.as_str()?;
    Some(if annotation.starts_with("unapproved") {
        Condition::new(KIND, false, "UnapprovedAnnotation", format!("not approved: {annotation:?}"))
    } else {
        Condition::new(KIND, true, "ApprovedAnnotation", format!("approved in {annotation}"))
    })
}

fn conditions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// Whether a condition is there and true.
pub(super) fn condition_holds(definition: &Value, kind: &str) -> bool {
    conditions(definition)
        .any(|condition| text(condition, "type") == kind && text(condition, "status") == "True")
}

/// Sets a condition; its time moves when its status does.
pub(super) fn set_condition(definition: &mut Value, condition: Condition, now: &str) {
    let status = if condition.holds { "True" } else { "False" };
    let Some(object) = definition.as_object_mut() else { return };
    let slot = object.entry("status").or_insert_with(|| json!({}));
    let Some(list) = slot.as_object_mut().map(|s| s.entry("conditions").or_insert(Value::Null)) else {
        return;
    };
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let mut new = json!({
        "type": condition.kind, "status": status, "lastTransitionTime": now,
        "reason": condition.reason, "message": condition.message,
    });
    match list.iter_mut().find(|old| text(old, "type") == condition.kind) {
        Some(old) => {
            if text(old, "status") == status && !text(old, "lastTransitionTime").is_empty() {
                new["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = new;
        }
        None => list.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, names: &Value) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())},
            "spec": {"group": "example.com", "names": names}})
    }

    fn names(plural: &str, kind: &str) -> Value {
        json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            "shortNames": ["s"]})
    }

    fn condition<'a>(decision: &'a Decision, kind: &str) -> &'a Value {
        conditions(&decision.definition).find(|condition| condition["type"] == kind).unwrap()
    }

    #[test]
    fn names_that_are_free_are_accepted_and_the_definition_is_established() {
        let made = decide(&[definition("a", &names("lamps", "Lamp"))], |_| Taken::default(), "now");
        assert!(made[0].changed && made[0].is_served);
        assert_eq!(made[0].definition["status"]["acceptedNames"], names("lamps", "Lamp"));
        assert_eq!(
            condition(&made[0], "Established"),
            &json!({"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "lastTransitionTime": "now",
                "message": "the initial names have been accepted"})
        );
        let again = decide(&[made[0].definition.clone()], |_| Taken::default(), "later");
        assert!(!again[0].changed);
    }

    #[test]
    fn who_came_later_does_not_get_names_in_use_until_they_are_free() {
        let (first, second) =
            (definition("a", &names("lamps", "Lamp")), definition("bb", &names("lights", "Lamp")));
        let made = decide(&[second.clone(), first], |_| Taken::default(), "now");
        assert!(made[1].is_served && !made[0].is_served);
        let refused = condition(&made[0], "NamesAccepted");
        assert_eq!(refused["reason"], "ListKindConflict");
        assert_eq!(refused["message"], "\"LampList\" is already in use");
        assert_eq!(condition(&made[0], "Established")["reason"], "NotAccepted");
        assert_eq!(made[0].definition["status"]["acceptedNames"], json!({"plural": "lights", "kind": ""}));
        let alone = decide(&[made[0].definition.clone()], |_| Taken::default(), "now");
        assert!(alone[0].is_served);
    }

    #[test]
    fn the_names_of_built_in_kinds_of_the_group_are_taken() {
        let mut taken = Taken::default();
        taken.add(&json!({"plural": "ingresses", "kind": "Ingress"}));
        let made = decide(&[definition("a", &names("ingresses", "Other"))], |_| taken.clone(), "now");
        assert!(!made[0].is_served);
        assert_eq!(condition(&made[0], "NamesAccepted")["reason"], "PluralConflict");
    }

    #[test]
    fn what_was_established_is_served_under_its_old_names_when_new_ones_clash() {
        let other =
            decide(&[definition("bb", &names("lights", "Light"))], |_| Taken::default(), "now").remove(0);
        let mut made = decide(
            &[definition("a", &json!({"plural": "lamps", "kind": "Lamp", "shortNames": ["l"]}))],
            |_| Taken::default(),
            "now",
        )
        .remove(0);
        made.definition["spec"]["names"]["shortNames"] = json!(["s"]);
        let changed = decide(&[made.definition, other.definition], |_| Taken::default(), "later");
        assert!(changed[0].is_served);
        assert_eq!(changed[0].definition["status"]["acceptedNames"]["shortNames"], json!(["l"]));
        assert_eq!(condition(&changed[0], "NamesAccepted")["status"], "False");
        assert_eq!(condition(&changed[0], "Established")["status"], "True");
    }
}
