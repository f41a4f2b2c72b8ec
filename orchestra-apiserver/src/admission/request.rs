//! A write, as admission sees it.

use orchestra_core::gvk::GroupVersion;
use orchestra_core::schema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Reader;
use super::notes::{Notes, Rounds};
use crate::auth::User;
use crate::query::WriteOptions;
use crate::request::ResourceRequest;
use crate::status::{GroupResource, StatusError};
use crate::verbs::delete::DeleteOptions;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, also through a subresource.
    Update,
    /// It is removed.
    Delete,
    /// Somebody connects to it: exec, attach, port-forward, proxy.
    Connect,
}

impl Operation {
    /// As rules of webhooks and policies spell it: `CREATE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The options that came with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Write(&'a WriteOptions),
    Removal(&'a DeleteOptions),
}

/// A write, as admission sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AdmissionRequest<'a> {
    /// What happens.
    pub operation: Operation,
    /// The request: group, version, resource, namespace, name, subresource.
    pub request: &'a ResourceRequest,
    /// Group and version of the object. Below a subresource they may differ from those of the resource, as with `Scale`.
    pub kind_version: &'a GroupVersion,
    /// The kind of the object, such as `Pod`.
    pub kind: &'a str,
    /// The namespace, empty for objects of the whole cluster.
    pub namespace: &'a str,
    /// The object's name; empty while a name is still to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// The object as it is stored; `None` when it is made, and when somebody connects to it.
    pub old: Option<&'a Value>,
    /// Whether nothing will be stored in the end.
    pub dry_run: bool,
    /// The rest of the cluster.
    pub reader: &'a Reader,
    pub(crate) asked: Asked<'a>,
    pub(crate) notes: &'a Notes,
    pub(crate) rounds: &'a Rounds,
}

impl AdmissionRequest<'_> {
    /// Whether this writes the main resource `plural` of `group`.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.request.subresource.is_none() && self.is_below(group, plural)
    }

    /// Whether this writes `subresource` of the resource `plural` of `group`.
    pub fn is_subresource(&self, group: &str, plural: &str, subresource: &str) -> bool {
        self.request.subresource.as_deref() == Some(subresource) && self.is_below(group, plural)
    }

    fn is_below(&self, group: &str, plural: &str) -> bool {
        self.request.gv.group == group && self.request.resource == plural
    }

    /// The resource, for refusals.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.request.gv.group.as_ref(), self.request.resource.as_str())
    }

    /// A refusal: 403 with a reason.
    pub fn refuse(&self, why: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.group_resource(), self.name, why)
    }

    /// The object as it is stored, as a value of its type.
    ///
    /// # Errors
    /// 500 when the object is not of that type.
    pub fn old_as<K: DeserializeOwned>(&self) -> Result<Option<K>, StatusError> {
        self.old.map(|old| K::deserialize(old).map_err(StatusError::internal)).transpose()
    }

    /// The options of the request with their kind, such as `CreateOptions`; nothing for a connection.
    pub fn options(&self) -> Option<Value> {
        if self.operation == Operation::Connect {
            return None;
        }
        match self.asked {
            Asked::Removal(options) => Some(options.to_json(self.dry_run)),
            // A removal that is no request of its own, as of what an eviction removes.
            Asked::Write(_) if self.operation == Operation::Delete => {
                Some(json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"}))
            }
            Asked::Write(options) => Some(options.to_json(self.operation, self.request.verb)),
        }
    }

    /// Fits what somebody else made of the object to its kind, as what a client sends: types are checked, unknown fields go.
    pub(crate) fn fit(&self, object: &mut Value) -> Result<(), StatusError> {
        if let Some(ty) = schema::of_kind(self.kind_version, self.kind) {
            schema::conform(object, ty).map_err(StatusError::internal)?;
        } else if let Some(kind) = self.reader.custom(&self.request.gv, &self.request.resource) {
            kind.conform(object).map_err(StatusError::internal)?;
        }
        Ok(())
    }

    /// Tells whoever asked, in a `Warning` header, whatever becomes of the request. The same text goes out once.
    pub fn warn(&self, text: impl Into<String>) {
        self.notes.warn(text);
    }

    /// Adds an annotation to the audit event of the request. Keys have the form `plugin.example.com/what`.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.notes.annotate(key, value);
    }
}
