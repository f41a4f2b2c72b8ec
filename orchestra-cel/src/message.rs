//! Messages: values of a type with a name, written out as `Type{field: value}`.
//!
//! Kubernetes knows them in the expressions of mutating policies only: what they make of an object.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::Opaque;

use crate::declared::{Object, Others};

/// A value of a message type.
#[derive(Debug)]
pub struct Message {
    /// The name of its type.
    pub name: Arc<str>,
    /// The fields that are set.
    pub fields: BTreeMap<Arc<str>, Value>,
}

impl Message {
    /// The message that a value is, if it is one.
    pub fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Opaque(opaque) => opaque.downcast_ref(),
            _ => None,
        }
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.fields == other.fields
    }
}

impl Eq for Message {}

impl Opaque for Message {
    fn runtime_type_name(&self) -> &str {
        &self.name
    }
}

/// The types of which expressions may write values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    types: HashMap<String, Arc<Object>>,
    /// Names that, with all names below them, are types with any fields.
    families: Vec<String>,
}

impl Messages {
    pub(crate) fn add(&mut self, object: Object) {
        self.types.insert(object.name.clone(), Arc::new(object));
    }

    pub(crate) fn add_family(&mut self, name: &str) {
        self.families.push(name.to_owned());
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Object>> {
        if let Some(known) = self.types.get(name) {
            return Some(known.clone());
        }
        let is_of = |family: &String| {
            name.strip_prefix(family.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.families.iter().any(is_of).then(|| {
            Arc::new(Object { name: name.to_owned(), fields: BTreeMap::new(), others: Others::Allowed })
        })
    }
}
