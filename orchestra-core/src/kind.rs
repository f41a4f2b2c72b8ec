//! What the API server needs to know of a kind. It is generic over everything in here.

use std::borrow::Cow;
use std::fmt::Debug;

use serde_json::Value;

use crate::gvk::GroupVersion;
use crate::violation::Violations;

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each object lives in a namespace.
    Namespaced,
    /// Names are unique in the whole cluster.
    Cluster,
}

/// A subresource that the generic pipeline serves by itself. Others (log, binding, eviction …) are verbs of the
/// server, found by the resource they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: writes change `status` (and metadata) only.
    Status,
    /// `/scale`: an `autoscaling/v1` `Scale` over the fields named in [`ScalePaths`].
    Scale(ScalePaths),
    /// A part of the object that has a path of its own for writing.
    Part(ObjectPart),
}

/// A part of an object that is read and written below a path of its own, so that whoever may write it need not be allowed
/// to write the rest. The whole object is sent and returned; what is outside the part stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectPart {
    /// `/approval`: what was decided about a request for a certificate.
    Approval,
    /// `/ephemeralcontainers`: the containers added to a pod that runs.
    EphemeralContainers,
    /// `/resize`: what the containers of a pod ask for and may use.
    Resize,
}

impl ObjectPart {
    /// The last segment of the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
        }
    }
}

/// Where a kind keeps the numbers that `/scale` shows, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted replicas, such as `/spec/replicas`.
    pub spec: Cow<'static, str>,
    /// Observed replicas, such as `/status/replicas`.
    pub status: Cow<'static, str>,
    /// The selector: an object with `matchLabels`, a plain map of labels, or its text. Empty where there is none.
    pub selector: Cow<'static, str>,
    /// Whether an object without wanted replicas has no scale, as custom resources have it; others count it as 0.
    pub spec_is_required: bool,
}

/// The static description of a kind: what discovery says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Group and version it is served under.
    pub gv: GroupVersion,
    /// CamelCase, such as `ConfigMap`.
    pub kind: Cow<'static, str>,
    /// Lower-case plural, such as `configmaps`: the path segment.
    pub plural: Cow<'static, str>,
    /// Lower-case singular, such as `configmap`.
    pub singular: Cow<'static, str>,
    /// The kind of lists, such as `ConfigMapList`.
    pub list_kind: Cow<'static, str>,
    /// Such as `cm`.
    pub short_names: Vec<Cow<'static, str>>,
    /// Such as `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Namespaced or not.
    pub scope: Scope,
    /// What the generic pipeline serves below the object.
    pub subresources: Vec<Subresource>,
    /// Whether PUT to an absent object creates it, as a few kinds of upstream do (Lease, Service …).
    pub create_on_update: bool,
    /// Whether a PUT without resourceVersion overwrites unconditionally.
    pub unconditional_update: bool,
    /// Whether DELETE on the collection is served; namespaces refuse it.
    pub delete_collection: bool,
    /// The verbs that are served, where it is not all: of a kind without objects of its own.
    pub only: Option<&'static [&'static str]>,
}

/// A column of the kind's table, as `kubectl get` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading, such as `Ready`; clients print it in upper case.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: &'static str,
    /// `name` for the name column, otherwise mostly empty.
    pub format: &'static str,
    /// What the column shows.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Everything the API server asks of a kind, built-in or custom. Objects are JSON trees that have passed the kind's
/// schema: their types are right, unknown fields are gone.
///
/// The order of a write is: [`default`](Self::default) on the lean tree, admission, `default` again, the uid and the
/// generated name, [`complete`](crate::schema::complete), one of the `prepare` functions, `complete`, one of the
/// `validate` functions. Old and new tree are both complete when they are compared.
///
/// All functions are pure. `now` is passed where ages are shown.
pub trait Kind: Debug + Send + Sync + 'static {
    /// Names, scope and subresources.
    fn description(&self) -> &Description;

    /// Fills in what the user left out. Idempotent: a second run changes nothing.
    fn default(&self, object: &mut Value);

    /// Clears what a client may not set when creating (status, and the like) and sets generation 1 where the kind
    /// has generations.
    fn prepare_create(&self, object: &mut Value);

    /// Keeps what an update of the main resource may not change (status …) and raises `metadata.generation` when the
    /// spec changed, for kinds that have generations.
    fn prepare_update(&self, new: &mut Value, old: &Value);

    /// Keeps everything but status (and the metadata a status write may change).
    fn prepare_status_update(&self, new: &mut Value, old: &Value);

    /// What is wrong with an object about to be created. Metadata (names, labels, owners …) included.
    fn validate_create(&self, object: &Value) -> Violations;

    /// What is wrong with a change of the main resource, immutable fields included.
    fn validate_update(&self, new: &Value, old: &Value) -> Violations;

    /// What is wrong with a change through `/status`.
    fn validate_status_update(&self, new: &Value, old: &Value) -> Violations;

    /// Keeps everything but what a write of this part may change. Only asked for parts that the description names.
    fn prepare_part_update(&self, part: ObjectPart, new: &mut Value, old: &Value) {
        let _ = part;
        self.prepare_status_update(new, old);
    }

    /// What is wrong with a change of this part.
    fn validate_part_update(&self, part: ObjectPart, new: &Value, old: &Value) -> Violations {
        let _ = part;
        self.validate_status_update(new, old)
    }

    /// The fields, besides `metadata.name` and `metadata.namespace`, that field selectors may name.
    fn selectable_fields(&self) -> &[Cow<'static, str>];

    /// The value of a selectable field; absent ones read as the empty string.
    fn field_value<'a>(&self, object: &'a Value, field: &str) -> Cow<'a, str>;

    /// The columns of the kind's table, `Name` first.
    fn columns(&self) -> &[Column];

    /// The cells of one row, one for each column. `now` is Unix time in seconds, for ages.
    fn row(&self, object: &Value, now: i64) -> Vec<Value>;
}
