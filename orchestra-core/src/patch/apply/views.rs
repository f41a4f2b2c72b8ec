//! Objects in the other versions of their kind.
//!
//! Fields are managed in the version they were set through. Whether a write changes what somebody set through another
//! version is seen in that version, so the object has to be converted to it. Whoever converts may be a program far away:
//! [`apply`](super::apply) and [`track`](super::track) say which objects they have to see ([`Unseen`]), and are called again
//! with the answer. What they do depends on nothing else, so they come to the same question or past it.

use std::borrow::Cow;

use serde_json::Value;

use super::field_set::FieldSet;
use super::node::Node;
use super::{Author, Schema, Target};

/// How the versions of a kind differ.
#[derive(Clone, Copy, Debug, Default)]
pub enum Versions<'a> {
    /// Each has fields of its own, and there is nobody to convert: what was set through another one stays whose it is.
    #[default]
    Apart,
    /// By their names only.
    Alike,
    /// Each has fields of its own, and these are what is known of them. What was set through a version that is not among
    /// them is nobody's any more.
    Seen(&'a Views<'a>),
}

/// The versions of a kind, and the objects that were converted to them so far.
#[derive(Debug, Default)]
pub struct Views<'a> {
    schemas: Vec<(String, Schema<'a>)>,
    known: Vec<View>,
}

#[derive(Debug)]
struct View {
    original: Value,
    api_version: String,
    converted: Value,
}

/// Objects that have to be seen in another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody has converted the object to {api_version}")]
pub struct Unseen {
    /// What is to be converted, without the account of who set what; each may be in any version.
    pub objects: Vec<Value>,
    /// The version that is wanted, such as `apps/v1`.
    pub api_version: String,
    /// What upstream puts before the reason when it cannot be done; may be empty.
    pub context: String,
}

impl<'a> Views<'a> {
    /// The versions of a kind, the one that is written through among them, with nothing seen yet.
    pub fn new(schemas: Vec<(String, Schema<'a>)>) -> Self {
        Self { schemas, known: Vec::new() }
    }

    /// Takes the objects that were asked for, in the same order.
    pub fn add(&mut self, question: Unseen, converted: Vec<Value>) {
        let Unseen { objects, api_version, .. } = question;
        let answers = objects.into_iter().zip(converted);
        self.known.extend(answers.map(|(original, converted)| View {
            original,
            api_version: api_version.clone(),
            converted,
        }));
    }

    fn find(&self, original: &Value, api_version: &str) -> Option<&Value> {
        let mut known = self.known.iter();
        known
            .find(|view| view.api_version == api_version && view.original == *original)
            .map(|view| &view.converted)
    }

    fn schema(&self, api_version: &str) -> Option<Schema<'a>> {
        self.schemas.iter().find(|(known, _)| known == api_version).map(|(_, schema)| *schema)
    }
}

/// How a version looks from the one that is written through.
pub(super) enum Sight<'a> {
    /// It has the same fields.
    Same,
    /// It has fields of its own, of this schema.
    Other(Node<'a>),
    /// It has fields of its own; nobody can say what they are.
    Hidden,
    /// There is no such version.
    Gone,
}

/// The version a write goes through, and what can be seen of the others from there.
#[derive(Clone, Copy)]
pub(super) struct Lens<'a> {
    pub(super) api_version: &'a str,
    pub(super) root: Node<'a>,
    /// Whether sets have to be looked through for what has become one value.
    pub(super) gathers: bool,
    versions: Versions<'a>,
}

impl<'a> Lens<'a> {
    pub(super) fn new(author: Author<'a>, target: Target<'a>) -> Self {
        Self {
            api_version: author.api_version,
            root: Node::root(target.schema),
            gathers: matches!(target.schema, Schema::Custom(_)),
            versions: target.versions,
        }
    }

    pub(super) fn at(&self, api_version: &str) -> Sight<'a> {
        if api_version == self.api_version {
            return Sight::Same;
        }
        match self.versions {
            Versions::Alike => Sight::Same,
            Versions::Apart => Sight::Hidden,
            Versions::Seen(views) => {
                views.schema(api_version).map_or(Sight::Gone, |schema| Sight::Other(Node::root(schema)))
            }
        }
    }

    /// Whether what is known of one version goes for the other.
    pub(super) fn are_same(&self, one: &str, other: &str) -> bool {
        one == other || matches!(self.versions, Versions::Alike)
    }

    /// Objects in the version `api_version`.
    pub(super) fn see<'v>(
        &self,
        objects: &[&'v Value],
        api_version: &str,
        context: &str,
    ) -> Result<Vec<Cow<'v, Value>>, Unseen>
    where
        'a: 'v,
    {
        let is_there = |object: &Value| {
            object.get("apiVersion").and_then(Value::as_str).is_none_or(|own| own == api_version)
        };
        let Versions::Seen(views) = self.versions else {
            return Ok(objects.iter().map(|object| Cow::Borrowed(*object)).collect());
        };
        let mut seen = Vec::with_capacity(objects.len());
        let mut unseen = Vec::new();
        for &object in objects {
            match views.find(object, api_version) {
                _ if is_there(object) => seen.push(Cow::Borrowed(object)),
                Some(converted) => seen.push(Cow::Borrowed(converted)),
                None => unseen.push(object.clone()),
            }
        }
        if unseen.is_empty() {
            return Ok(seen);
        }
        Err(Unseen { objects: unseen, api_version: api_version.to_owned(), context: context.to_owned() })
    }
}

/// What a write does to the fields of one version.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) taken: FieldSet<'static>,
    pub(super) removed: FieldSet<'static>,
}

/// What a write does to the fields of every version in which somebody manages some.
pub(super) struct Effects<'a> {
    lens: Lens<'a>,
    pub(super) own: Effect,
    others: Vec<(String, Effect)>,
}

impl<'a> Effects<'a> {
    /// Compares both states in the version that is written through, and in the `managed` ones.
    pub(super) fn between<'m>(
        old: &Value,
        new: &Value,
        managed: impl Iterator<Item = &'m str>,
        lens: Lens<'a>,
        ignored: &[&[&str]],
    ) -> Result<Self, Unseen> {
        let own = Effect::between(old, new, lens.root, ignored);
        let mut effects = Self { lens, own, others: Vec::new() };
        if effects.own.is_empty() {
            return Ok(effects);
        }
        let mut plain = None;
        for version in managed {
            let Sight::Other(root) = lens.at(version) else { continue };
            if effects.others.iter().any(|(known, _)| known == version) {
                continue;
            }
            let (old, new) = &*plain.get_or_insert_with(|| (without_account(old), without_account(new)));
            let old = lens.see(&[old], version, "")?;
            let new = lens.see(&[new], version, "failed to convert new object: ")?;
            if let (Some(old), Some(new)) = (old.first(), new.first()) {
                let effect = Effect::between(old, new, root, ignored);
                effects.others.push((version.to_owned(), effect));
            }
        }
        Ok(effects)
    }

    /// What becomes of the fields of a version; `None` where nothing does, as far as can be seen.
    pub(super) fn of(&self, api_version: &str) -> Option<&Effect> {
        match self.lens.at(api_version) {
            Sight::Same => Some(&self.own),
            Sight::Other(_) => {
                self.others.iter().find(|(known, _)| known == api_version).map(|(_, effect)| effect)
            }
            Sight::Hidden | Sight::Gone => None,
        }
    }
}

impl Effect {
    fn between(old: &Value, new: &Value, root: Node<'_>, ignored: &[&[&str]]) -> Self {
        let mut changes = super::compare::compare(Some(old), Some(new), root);
        changes.strip(ignored);
        let (taken, removed) = changes.split();
        Self { taken, removed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.removed.is_empty()
    }
}

fn without_account(object: &Value) -> Value {
    let mut object = object.clone();
    super::without_account(&mut object);
    object
}
