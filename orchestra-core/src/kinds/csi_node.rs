//! `CSINode`: which drivers of volumes a node has.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::frame::cells::{self, column, list};
use super::frame::check::{IMMUTABLE, not_negative, refuse, required};
use super::frame::{Builtin, View};
use super::meta;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{FieldPath, Violation, Violations};

/// The longest name a driver may give a node.
const MAX_NODE_ID: usize = 256;
/// The longest name of a driver.
const MAX_DRIVER_NAME: usize = 63;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("storage.k8s.io", "v1"), "CSINode", "csinodes", Scope::Cluster)
        .validate(|node, out| {
            let drivers = node.get("spec").get("drivers");
            let mut names = HashSet::new();
            for driver in drivers.items() {
                one_driver(out, &driver, &mut names);
            }
        })
        .validate_change(change)
        .columns(vec![
            cells::name(),
            column("Drivers", "integer", "How many drivers there are.", |node, _| {
                list(node, "/spec/drivers").len().into()
            }),
            cells::age(),
        ])
}

/// The name of a driver, as upstream's `ValidateCSIDriverName`.
pub(super) fn driver_name(out: &mut Violations, view: &View) {
    if required(out, view) {
        driver_name_of(out, view.path(), view.text());
    }
}

/// The same of a text that is not empty.
pub(super) fn driver_name_of(out: &mut Violations, path: &FieldPath, text: &str) {
    if text.len() > MAX_DRIVER_NAME {
        out.push(Violation::too_long(path, MAX_DRIVER_NAME));
    }
    for message in meta::subdomain(&text.to_lowercase()) {
        out.push(Violation::invalid(path, text, message));
    }
}

fn one_driver<'a>(out: &mut Violations, driver: &View<'a>, names: &mut HashSet<&'a str>) {
    let (own, id) = (driver.get("name"), driver.get("nodeID"));
    driver_name(out, &own);
    if required(out, &id) && id.text().len() > MAX_NODE_ID {
        refuse(out, &id, format!("must be {MAX_NODE_ID} characters or less"));
    }
    not_negative(out, &driver.get("allocatable").get("count"));
    if !names.insert(own.text()) {
        out.push(Violation::duplicate(own.path(), own.text()));
    }
    let mut keys = HashSet::new();
    // Upstream says all of the driver, not of the key.
    for key in driver.get("topologyKeys").items() {
        if key.is_empty() {
            out.push(Violation::required(driver.path(), ""));
        }
        if !keys.insert(key.text()) {
            out.push(Violation::duplicate(driver.path(), key.text()));
        }
        for message in name::is_qualified_name(key.text()) {
            out.push(Violation::invalid(driver.path(), key.text(), message));
        }
    }
}

/// What a driver said when it came stays; how many volumes it takes may change.
fn change(new: &View, old: &View, out: &mut Violations) {
    let said = |driver: &View| {
        let [name, id, keys] = ["name", "nodeID", "topologyKeys"].map(|field| driver.get(field).json());
        (name.to_string(), (id.to_string(), keys.to_string()))
    };
    let mut now = HashMap::<String, (Value, HashSet<(String, String)>)>::new();
    for driver in new.get("spec").get("drivers").items() {
        let (name, rest) = said(&driver);
        now.entry(name).or_insert_with(|| (driver.json(), HashSet::new())).1.insert(rest);
    }
    for before in old.get("spec").get("drivers").items() {
        let (name, rest) = said(&before);
        if let Some((first, _)) = now.get(&name).filter(|(_, known)| !known.contains(&rest)) {
            out.push(Violation::invalid(&FieldPath::new("CSINodeDriver"), first.clone(), IMMUTABLE));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    fn node(drivers: Value) -> Value {
        json!({"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"drivers": drivers}})
    }

    #[test]
    fn drivers_have_names_of_their_own() {
        let whole = json!({"name": "csi.example.com", "nodeID": "n1", "topologyKeys": ["example.com/zone"]});
        assert_eq!(said(kind(), node(json!([whole]))), [""; 0]);
        assert_eq!(served(kind()).row(&node(json!([whole])), 0)[1], 1);
        assert_eq!(
            said(kind(), node(json!([whole, whole, {"nodeID": "x"}]))),
            [
                r#"spec.drivers[1].name: Duplicate value: "csi.example.com""#,
                "spec.drivers[2].name: Required value",
            ]
        );
    }

    #[test]
    fn a_driver_stays_as_it_came() {
        let driver = |id: &str, count: i64| json!([{"name": "d", "nodeID": id, "topologyKeys": null, "allocatable": {"count": count}}]);
        let old = node(driver("a", 1));
        assert_eq!(said_of_change(kind(), &node(driver("a", 2)), &old), [""; 0]);
        assert_eq!(said_of_change(kind(), &node(json!([])), &old), [""; 0]);
        assert!(said_of_change(kind(), &node(driver("b", 1)), &old)[0].ends_with("field is immutable"));
    }
}
