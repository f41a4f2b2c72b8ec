//! Strategic merge patches: merge patches that know which lists are sets or maps.
//!
//! Semantics are those of `k8s.io/apimachinery/pkg/util/strategicpatch`, directives included: `$patch` (`replace`,
//! `delete`; `merge` is refused there and here), `$deleteFromPrimitiveList/x`, `$setElementOrder/x`, `$retainKeys`.
//! What a field's list is, a [`PatchSchema`] tells.

mod diff;
mod directive;
mod list;
mod order;

use serde_json::{Map, Value};

pub use self::diff::diff;
use self::directive::{Directive, PATCH};
use super::PatchError;

/// How a field is merged, from `x-kubernetes-patch-strategy` of the API's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// Nothing said: objects are merged, lists replaced.
    #[default]
    Default,
    /// `merge`: lists are merged too.
    Merge,
    /// `replace`: objects are replaced as well.
    Replace,
}

/// What a patch needs to know of one field.
#[derive(Clone, Copy)]
pub struct FieldRule<'s> {
    /// How the field is merged.
    pub strategy: MergeStrategy,
    /// For merged lists of objects, the member that tells items apart.
    pub merge_key: Option<&'s str>,
    /// Whether `retainKeys` is among the strategies: those who make patches then name the members to be kept.
    pub retain_keys: bool,
    /// What the field is made of; its items if it is a list.
    pub child: Child<'s>,
}

/// What a value is made of.
#[derive(Clone, Copy)]
pub enum Child<'s> {
    /// Fields.
    Object(&'s dyn PatchSchema),
    /// Entries by any name. As upstream, a patch sets and removes entries but merges none of them with what it finds.
    Map,
    /// Nothing a patch knows of, under the name that Go has for the type.
    Opaque(&'s str),
}

/// The type of an object, as far as patches must know it.
pub trait PatchSchema {
    /// The name of the type without its package, for error messages.
    fn name(&self) -> &str;

    /// The rule of the field `name`; `None` if the type has no such field.
    fn field(&self, name: &str) -> Option<FieldRule<'_>>;
}

/// Applies `patch` to `target`, an object of the type `schema`.
///
/// # Errors
/// As upstream, most mistakes are [`PatchError::Internal`]: an item without its merge key, an unknown directive, an
/// order that misses an item of the patch. A directive of the wrong type is malformed, a list of lists unprocessable.
pub fn apply(target: &Value, patch: &Value, schema: &dyn PatchSchema) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        let found = super::json::type_name(patch);
        let message =
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
        return Err(PatchError::Malformed(message));
    };
    let target = target.as_object().cloned().unwrap_or_default();
    merge_objects(target, patch.clone(), Child::Object(schema)).map(Value::Object)
}

fn merge_objects(
    mut target: Map<String, Value>,
    mut patch: Map<String, Value>,
    kind: Child<'_>,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive::read(&directive, &patch)? {
            Directive::Replace => Ok(patch),
            Directive::Delete => Ok(Map::new()),
            Directive::Merge => Err(directive::unknown(&directive, &patch)),
        };
    }
    directive::retain_keys(&mut target, &mut patch)?;
    order::merge_ordered_lists(&mut target, &mut patch, kind)?;
    for (key, change) in patch {
        let (key, deletes) = directive::deletion_key(key)?;
        if change.is_null() {
            target.remove(&key);
            continue;
        }
        let merged = match (target.remove(&key), change) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let rule = rule_of(kind, &key)?;
                if rule.strategy == MergeStrategy::Replace {
                    Some(Value::Object(new))
                } else {
                    Some(Value::Object(merge_objects(old, new, rule.child)?))
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let rule = rule_of(kind, &key)?;
                Some(Value::Array(list::merge(old, new, &rule, deletes)?))
            }
            // What is to be deleted from something else, or from nothing, changes nothing.
            (old, _) if deletes => old,
            (_, new) => directive::brought_anew(new),
        };
        if let Some(merged) = merged {
            target.insert(key, merged);
        }
    }
    Ok(target)
}

/// The rule of a field in which two objects or two lists are to be merged.
fn rule_of<'s>(kind: Child<'s>, key: &str) -> Result<FieldRule<'s>, PatchError> {
    let unknown = |name: &str| {
        PatchError::Internal(format!("unable to find api field in struct {name} for the json field {key:?}"))
    };
    match kind {
        Child::Object(schema) => schema.field(key).ok_or_else(|| unknown(schema.name())),
        Child::Opaque(name) => Err(unknown(name)),
        Child::Map => {
            let message = "merging an object in json but data type is not struct, instead is: map";
            Err(PatchError::Internal(message.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
