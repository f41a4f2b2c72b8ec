//! What every request handler works with.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kinds::is_loopback_violation;
use orchestra_core::violation::Violations;
use orchestra_store::Store;
use orchestra_store::encryption::Encryption;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::admission::chain::Chain;
use crate::admission::notes::{Notes, Rounds};
use crate::admission::{AdmissionRequest, Asked, Operation, Reader};
use crate::aggregate::Aggregated;
use crate::audit::Trails;
use crate::auth::token::TokenIssuer;
use crate::auth::{Authenticator, Authorizer, User};
use crate::cache::feed::Feed;
use crate::catalog::{Catalog, Derived};
use crate::clock::{Chance, Clock, stamp};
use crate::custom::Definitions;
use crate::discovery::Discovery;
use crate::flow::{Classes, Flow};
use crate::health::StoreHealth;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::negotiate::accept::Output;
use crate::negotiate::render::Renderer;
use crate::node::NodeTransport;
use crate::openapi::OpenApi;
use crate::projection::Projections;
use crate::query::{Query, WriteOptions};
use crate::request::ResourceRequest;
use crate::service_network::ServiceNetwork;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::storage::writer::Writer;
use crate::stream::Tunnels;
use crate::verbs::delete::DeleteOptions;

/// The server behind its handles.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Arc<dyn Store>,
    /// How `store` is encrypted, if it is.
    pub(crate) encryption: Option<Arc<Encryption>>,
    pub(crate) store_health: StoreHealth,
    pub(crate) metrics: Metrics,
    pub(crate) feed: Arc<Feed>,
    pub(crate) writer: Writer,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) reader: Reader,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    /// One of them, which also makes tokens.
    pub(crate) tokens: Arc<TokenIssuer>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) admission: Chain,
    pub(crate) nodes: Option<Arc<dyn NodeTransport>>,
    /// Resources that are made of others.
    pub(crate) projections: Projections,
    pub(crate) network: ServiceNetwork,
    /// Whether endpoints may have loopback addresses.
    pub(crate) loopback_endpoints: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<Chance>,
    /// What definitions of custom resources have come to.
    pub(crate) definitions: Definitions,
    pub(crate) discovery: Derived<Discovery>,
    pub(crate) openapi: Derived<OpenApi>,
    /// How long requests may take, and how many there may be.
    pub(crate) limits: Limits,
    /// Which groups other servers serve.
    pub(crate) aggregated: Aggregated,
    pub(crate) flow: Flow,
    /// What flow schemas make of requests, where they are served.
    pub(crate) classes: Option<Classes>,
    /// Where it is written down who asks for what, if it is.
    pub(crate) audit: Option<Arc<Trails>>,
    pub(crate) streams: Tunnels,
    /// Told when the server is about to go: it is not ready any more.
    pub(crate) leaving: CancellationToken,
    /// Ends watches and background tasks when the server goes.
    pub(crate) shutdown: CancellationToken,
}

impl Drop for State {
    fn drop(&mut self) {
        self.end_watches();
    }
}

impl State {
    /// Ends watches and background tasks.
    pub(crate) fn end_watches(&self) {
        self.shutdown.cancel();
        self.feed.wake();
    }

    /// What is served, for clients that ask.
    pub(crate) fn discovery(&self) -> Arc<Discovery> {
        self.discovery
            .get(&self.catalog, |catalog| Discovery::new(catalog, &self.aggregated.table().versions()))
    }

    /// How it is described.
    pub(crate) fn openapi(&self) -> Arc<OpenApi> {
        self.openapi.get(&self.catalog, |catalog| OpenApi::new(catalog, &self.aggregated.table()))
    }

    /// Now, as objects show it.
    pub(crate) fn stamp(&self) -> String {
        stamp(self.clock.now())
    }
}

/// One request about objects, read and authorized.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: ResourceRequest,
    pub(crate) resource: Arc<Resource>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
    pub(crate) output: Output,
    pub(crate) options: WriteOptions,
    pub(crate) body: Bytes,
    /// What admission has to say beside its decision.
    pub(crate) notes: Notes,
}

impl Call {
    /// The namespace of the path; `None` for kinds of the whole cluster.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.request.namespace.as_deref().filter(|_| self.resource.namespaced())
    }

    /// The object's name; routes without one never get here.
    pub(crate) fn name(&self) -> &str {
        self.request.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn not_found(&self) -> StatusError {
        self.resource.not_found(self.name())
    }

    pub(crate) fn renderer(&self, state: &State) -> Renderer {
        Renderer { resource: self.resource.clone(), output: self.output, clock: state.clock.clone() }
    }

    /// Lets admission change an object of the call's own kind.
    pub(crate) async fn admit(
        &self,
        state: &State,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        self.admit_as(state, operation, self.own_kind(), object, old).await
    }

    /// Lets admission refuse what is about to be stored.
    pub(crate) async fn check(
        &self,
        state: &State,
        operation: Operation,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        self.check_as(state, operation, self.own_kind(), object, old).await
    }

    /// Lets admission refuse that an object is removed.
    pub(crate) async fn check_removal(
        &self,
        state: &State,
        options: &DeleteOptions,
        object: &Value,
    ) -> Result<(), StatusError> {
        let rounds = Rounds::default();
        let mut request = self.admission_request(state, Operation::Delete, self.own_kind(), &rounds);
        request.old = Some(object);
        request.asked = Asked::Removal(options);
        request.dry_run |= options.is_dry_run();
        request.name = self.named(object);
        state.admission.remove(&request, object).await
    }

    /// Lets admission change an object of another kind, as subresources have it.
    pub(crate) async fn admit_as(
        &self,
        state: &State,
        operation: Operation,
        kind: (&GroupVersion, &str),
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let rounds = Rounds::default();
        let mut request = self.admission_request(state, operation, kind, &rounds);
        let name = self.named(object).to_owned();
        (request.old, request.name) = (old, &name);
        state.admission.mutate(&request, object).await
    }

    /// Lets admission refuse an object of another kind.
    pub(crate) async fn check_as(
        &self,
        state: &State,
        operation: Operation,
        kind: (&GroupVersion, &str),
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let rounds = Rounds::default();
        let mut request = self.admission_request(state, operation, kind, &rounds);
        (request.old, request.name) = (old, self.named(object));
        state.admission.validate(&request, object).await
    }

    /// Whether rules that are not the server's own have a say in a change of an object.
    pub(crate) fn concerns_outsiders(&self, state: &State, old: &Value) -> bool {
        let rounds = Rounds::default();
        let mut request = self.admission_request(state, Operation::Update, self.own_kind(), &rounds);
        request.old = Some(old);
        state.admission.concerns_outsiders(&request)
    }

    fn own_kind(&self) -> (&GroupVersion, &str) {
        let description = self.resource.description();
        (&description.gv, &description.kind)
    }

    /// The name of the path, or else the object's own.
    fn named<'a>(&'a self, object: &'a Value) -> &'a str {
        if self.name().is_empty() { crate::storage::meta::name(object) } else { self.name() }
    }

    fn admission_request<'a>(
        &'a self,
        state: &'a State,
        operation: Operation,
        (kind_version, kind): (&'a GroupVersion, &'a str),
        rounds: &'a Rounds,
    ) -> AdmissionRequest<'a> {
        AdmissionRequest {
            operation,
            request: &self.request,
            kind_version,
            kind,
            namespace: self.namespace().unwrap_or_default(),
            name: self.name(),
            user: &self.user,
            old: None,
            dry_run: self.options.dry_run,
            reader: &state.reader,
            asked: Asked::Write(&self.options),
            notes: &self.notes,
            rounds,
        }
    }

    /// 422 with what is wrong, or nothing.
    pub(crate) fn refuse_invalid(
        &self,
        state: &State,
        object: &Value,
        mut violations: Violations,
    ) -> Result<(), StatusError> {
        if state.loopback_endpoints && self.holds_endpoints() {
            violations.retain(|violation| !is_loopback_violation(violation));
        }
        if violations.is_empty() {
            return Ok(());
        }
        let description = self.resource.description();
        let name = crate::storage::meta::name(object);
        Err(StatusError::invalid(&description.gv.group, &description.kind, name, &violations))
    }

    fn holds_endpoints(&self) -> bool {
        self.resource.is("", "endpoints") || self.resource.is("discovery.k8s.io", "endpointslices")
    }
}
