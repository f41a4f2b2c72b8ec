//! Resources whose objects are not stored but made, when somebody asks, of those of another resource.
//!
//! Which objects there are, and which of them a selector chooses, the other resource decides: they have its objects' names,
//! namespaces and labels. So a projection is asked only for what is wanted, and reads nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kind::Kind;
use orchestra_store::{Entry, ReadAt, Revision};
use serde_json::{Map, Value, json};
use tower::BoxError;

use crate::body::Body;
use crate::cache::object::Object;
use crate::filter::Filter;
use crate::negotiate::render::ListMeta;
use crate::query::ListOptions;
use crate::request::Verb;
use crate::state::{Call, State};
use crate::status::{GroupResource, StatusError};
use crate::storage::resource::Resource;

/// An object of the resource that a projection is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The values of [`Projection::fields`], in their order.
    pub fields: Vec<String>,
}

/// Makes the objects of a resource of those of another. Given to
/// [`ApiServerBuilder::projection`](crate::ApiServerBuilder::projection).
///
/// # Contract
/// 1. The description of [`kind`](Self::kind) names no verbs but `get` and `list`, and the scope of the resource it is made of.
/// 2. [`project`](Self::project) answers for each subject, in their order; what it knows nothing of is `None`, and the client
///    sees no object of that name.
/// 3. An object is given without `apiVersion`, `kind` and `metadata`, which the server writes.
///
/// # Cancellation
/// Dropping the future changes nothing.
///
/// # Errors
/// Clients see an internal error with its text.
///
/// # Implementing
/// ```
/// use std::sync::Arc;
///
/// use orchestra_apiserver::{ApiServer, Projection, Subject};
/// use orchestra_core::gvk::GroupVersion;
/// use orchestra_core::kind::Kind;
/// use orchestra_core::kinds::resource_metrics;
/// use orchestra_store::MemoryStore;
/// use serde_json::{Value, json};
///
/// /// Every node uses half of a processor.
/// #[derive(Debug)]
/// struct Half;
///
/// #[async_trait::async_trait]
/// impl Projection for Half {
///     fn kind(&self) -> Arc<dyn Kind> {
///         resource_metrics::nodes()
///     }
///     fn source(&self) -> (GroupVersion, &'static str) {
///         (GroupVersion::new("", "v1"), "nodes")
///     }
///     fn fields(&self) -> &'static [&'static str] {
///         &[]
///     }
///     async fn project(&self, subjects: &[Subject]) -> Result<Vec<Option<Value>>, tower::BoxError> {
///         let used = json!({"window": "1m0s", "usage": {"cpu": "500m"}});
///         Ok(subjects.iter().map(|_| Some(used.clone())).collect())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ApiServer::builder(Arc::new(MemoryStore::new())).projection(Half).build().await?;
/// let request = http::Request::get("/apis/metrics.k8s.io/v1beta1/nodes").body(Vec::new())?;
/// let list: Value = server.client("default").request(request).await?;
/// assert_eq!(list["kind"], "NodeMetricsList");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Projection: Debug + Send + Sync + 'static {
    /// What is served.
    fn kind(&self) -> Arc<dyn Kind>;

    /// What it is made of: the plural of a built-in resource.
    fn source(&self) -> (GroupVersion, &'static str);

    /// Which selectable fields of it [`project`](Self::project) wants to see.
    fn fields(&self) -> &'static [&'static str];

    /// Makes the objects of these subjects.
    async fn project(&self, subjects: &[Subject]) -> Result<Vec<Option<Value>>, BoxError>;
}

/// The projections of a server, by what they serve.
#[derive(Debug, Default)]
pub(crate) struct Projections(BTreeMap<(String, String), Arc<dyn Projection>>);

impl Projections {
    pub(crate) fn new(all: Vec<Arc<dyn Projection>>) -> Self {
        let place = |projection: &Arc<dyn Projection>| {
            let kind = projection.kind();
            let description = kind.description();
            (description.gv.to_string(), description.plural.to_string())
        };
        Self(all.into_iter().map(|projection| (place(&projection), projection)).collect())
    }

    /// Who makes the objects of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> Option<&Arc<dyn Projection>> {
        let description = resource.description();
        self.0.get(&(description.gv.to_string(), description.plural.to_string()))
    }
}

/// An object to make, with what it takes over of its source.
struct Origin {
    subject: Subject,
    labels: Map<String, Value>,
    revision: Revision,
}

/// GET of one object, or of all.
pub(crate) async fn read(
    state: &State,
    call: &Call,
    projection: &dyn Projection,
) -> Result<Response<Body>, StatusError> {
    let (gv, plural) = projection.source();
    let fields = projection.fields();
    let source = state.catalog.find(&gv, plural);
    let source = source.ok_or_else(|| StatusError::internal(format!("{gv} {plural} is not served")))?;
    if call.request.verb == Verb::Get {
        let namespace = call.namespace();
        let found = state.store.get(&source.key(namespace, call.name()), ReadAt::Latest).await?.value;
        let entry = found.ok_or_else(|| source.not_found(call.name()))?;
        let origin = origin(&source, &Object::of(&source, &entry)?, fields, entry.mod_revision);
        let made = made(state, &call.resource, projection, vec![origin]).await?;
        let Some(object) = made.into_iter().next() else { return Err(unknown(call)) };
        return call.renderer(state).object(StatusCode::OK, object.encoded.json());
    }
    let options = ListOptions::parse(&call.query, false)?;
    let filter = Filter::parse(&call.resource, &options, None)?;
    let prefix = call.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let (collection, applied) = state.feed.fresh(&source).await?;
    let matches = |object: &Object| filter.matches(&source, object);
    let snapshot = collection.snapshot(&prefix, "", usize::MAX, Some(&matches));
    let revision = applied.max(snapshot.last);
    let found = snapshot.objects.iter();
    let origins = found.map(|object| origin(&source, object, fields, revision)).collect();
    let objects = made(state, &call.resource, projection, origins).await?;
    let meta = ListMeta { revision: revision.0, ..ListMeta::default() };
    call.renderer(state).list(objects.into_iter().map(Arc::new).collect(), &meta)
}

/// As metrics-server words it when a pod is there and its metrics are not.
fn unknown(call: &Call) -> StatusError {
    let description = call.resource.description();
    let gr = GroupResource::new(description.gv.group.as_ref(), description.kind.to_ascii_lowercase());
    let path = call.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    StatusError::not_found(&gr, &format!("{path}{}", call.name()))
}

fn origin(source: &Resource, object: &Object, fields: &[&str], revision: Revision) -> Origin {
    let subject = Subject {
        namespace: object.namespace.as_deref().unwrap_or_default().to_owned(),
        name: object.name.to_string(),
        fields: fields.iter().map(|field| object.field(source, field).to_owned()).collect(),
    };
    Origin { subject, labels: object.labels(source).cloned().unwrap_or_default(), revision }
}

async fn made(
    state: &State,
    resource: &Resource,
    projection: &dyn Projection,
    origins: Vec<Origin>,
) -> Result<Vec<Object>, StatusError> {
    let subjects: Vec<Subject> = origins.iter().map(|origin| origin.subject.clone()).collect();
    let answers = projection.project(&subjects).await.map_err(StatusError::internal)?;
    if answers.len() != origins.len() {
        return Err(StatusError::internal("a projection did not answer for each of its subjects"));
    }
    let stamp = state.stamp();
    let known = origins.into_iter().zip(answers).filter_map(|(origin, answer)| Some((origin, answer?)));
    known.map(|(origin, answer)| whole(resource, origin, answer, &stamp)).collect()
}

/// The object with its metadata.
fn whole(resource: &Resource, origin: Origin, mut object: Value, stamp: &str) -> Result<Object, StatusError> {
    let Origin { subject, labels, revision } = origin;
    let Some(fields) = object.as_object_mut() else {
        return Err(StatusError::internal("a projection made something that is no object"));
    };
    let mut metadata = json!({"name": subject.name, "creationTimestamp": stamp});
    if !subject.namespace.is_empty() {
        metadata["namespace"] = subject.namespace.clone().into();
    }
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    fields.insert("metadata".to_owned(), metadata);
    let namespace = Some(subject.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let entry = Entry {
        key: resource.key(namespace, &subject.name),
        value: resource.encode(&object),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
    };
    Object::of(resource, &entry)
}
