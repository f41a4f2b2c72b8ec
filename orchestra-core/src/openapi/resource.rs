//! What a document has to say of a resource.

use std::sync::Arc;

use crate::gvk::GroupVersion;
use crate::kind::{Description, Scope, Subresource};

/// What can be done with a resource, as discovery lists it. Watching is a parameter of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET of one object.
    Get,
    /// GET of all of them.
    List,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of all of them.
    DeleteCollection,
}

impl Verb {
    /// As discovery spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// All verbs.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::List,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];

    /// The verb of that name in discovery documents; `None` for `watch` and verbs of no path.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "get" => Self::Get,
            "list" => Self::List,
            "create" => Self::Create,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "deletecollection" => Self::DeleteCollection,
            _ => return None,
        })
    }
}

/// A resource or subresource of a group and version, as its paths are described.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourcePaths {
    /// The path segment, such as `deployments`.
    pub plural: String,
    /// The segment behind the name, such as `scale`.
    pub subresource: Option<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The group and version of the kind that is sent and returned: that of the document, except for some subresources.
    pub gv: GroupVersion,
    /// The kind that is sent and returned.
    pub kind: String,
    /// What can be done.
    pub verbs: Vec<Verb>,
    /// The schema of a custom kind, as JSON; built-in kinds have theirs in the table of types.
    pub schema: Option<Arc<str>>,
}

impl ResourcePaths {
    /// The paths of a kind that is served with every verb, and of the subresources its description names.
    pub fn of(description: &Description) -> Vec<Self> {
        let main = Self {
            plural: description.plural.to_string(),
            subresource: None,
            namespaced: description.scope == Scope::Namespaced,
            gv: description.gv.clone(),
            kind: description.kind.to_string(),
            verbs: Verb::ALL
                .into_iter()
                .filter(|verb| description.only.is_none_or(|only| only.contains(&verb.name())))
                .collect(),
            schema: None,
        };
        let below = |name: &str, gv: GroupVersion, kind: &str| Self {
            subresource: Some(name.to_owned()),
            gv,
            kind: kind.to_owned(),
            verbs: vec![Verb::Get, Verb::Update, Verb::Patch],
            ..main.clone()
        };
        let mut all = vec![main.clone()];
        all.extend(description.subresources.iter().map(|subresource| match subresource {
            Subresource::Status => below("status", description.gv.clone(), &description.kind),
            Subresource::Part(part) => below(part.name(), description.gv.clone(), &description.kind),
            Subresource::Scale(_) => below("scale", GroupVersion::new("autoscaling", "v1"), "Scale"),
        }));
        all
    }
}
