//! The table of facts, read.

use std::collections::BTreeMap;

const DATA: &str = include_str!("facts-1.36.tsv");

/// What the server states of one type.
pub(super) struct Type {
    pub(super) is_atomic: bool,
    /// The facts of each field, as the table has them.
    pub(super) fields: BTreeMap<&'static str, Facts>,
}

/// What the server states of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts(&'static str);

impl Facts {
    pub(super) fn text(self) -> &'static str {
        self.0
    }

    pub(super) fn is_required(self) -> bool {
        self.0.split(' ').any(|word| word == "required")
    }

    /// What follows `name=`, up to the next fact.
    pub(super) fn value(self, name: &str) -> Option<&'static str> {
        let (_, rest) = self.0.split_once(&format!(" {name}="))?;
        let names = ["enum", "item-enum", "list-type", "map-type", "patch", "merge-key", "keys"];
        let end = names.iter().filter_map(|name| rest.find(&format!(" {name}="))).min();
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

/// All types, by the name they have in OpenAPI documents.
pub(super) fn types() -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    let mut current = String::new();
    for line in DATA.lines().filter(|line| !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('@') {
            let (name, marks) = header.split_once(' ').unwrap_or((header, ""));
            let is_full = name.starts_with("io.k8s.");
            current = if is_full { name.to_owned() } else { format!("io.k8s.api.{name}") };
            let ty = Type { is_atomic: marks == "map-type=atomic", fields: BTreeMap::new() };
            types.insert(current.clone(), ty);
        } else {
            let (name, facts) = line.split_once('\t').unwrap();
            types.get_mut(&current).unwrap().fields.insert(name, Facts(facts));
        }
    }
    types
}
