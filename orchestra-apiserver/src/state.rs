//! What every request handler works with.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use orchestra_core::kinds::is_loopback_violation;
use orchestra_core::violation::Violations;
use orchestra_store::Store;
use orchestra_store::encryption::Encryption;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, AdmissionRequest, Operation, Reader};
use crate::auth::token::TokenIssuer;
use crate::auth::{Authenticator, Authorizer, User};
use crate::cache::feed::Feed;
use crate::catalog::{Catalog, Derived};
use crate::clock::{Chance, Clock, stamp};
use crate::custom::Definitions;
use crate::discovery::Discovery;
use crate::flow::Flow;
use crate::health::StoreHealth;
use crate::limits::Limits;
use crate::metrics::{Metrics, Phase};
use crate::negotiate::accept::Output;
use crate::negotiate::render::Renderer;
use crate::node::NodeTransport;
use crate::openapi::OpenApi;
use crate::query::{Query, WriteOptions};
use crate::request::ResourceRequest;
use crate::service_network::ServiceNetwork;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::storage::writer::Writer;
use crate::stream::Tunnels;

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
    pub(crate) admission: Vec<Arc<dyn Admission>>,
    pub(crate) nodes: Option<Arc<dyn NodeTransport>>,
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
    pub(crate) flow: Flow,
    pub(crate) streams: Tunnels,
    /// Told when the server is about to go: it is not ready any more.
    pub(crate) leaving: CancellationToken,
    /// Ends watches and background tasks when the server goes.
    pub(crate) shutdown: CancellationToken,
}

impl Drop for State {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl State {
    /// What is served, for clients that ask.
    pub(crate) fn discovery(&self) -> Arc<Discovery> {
        self.discovery.get(&self.catalog, Discovery::new)
    }

    /// How it is described.
    pub(crate) fn openapi(&self) -> Arc<OpenApi> {
        self.openapi.get(&self.catalog, OpenApi::new)
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

    fn admission_request<'a>(
        &'a self,
        state: &'a State,
        operation: Operation,
        old: Option<&'a Value>,
    ) -> AdmissionRequest<'a> {
        AdmissionRequest {
            operation,
            request: &self.request,
            kind: self.resource.kind_name(),
            namespace: self.namespace().unwrap_or_default(),
            name: self.name(),
            user: &self.user,
            old,
            dry_run: self.options.dry_run,
            reader: &state.reader,
        }
    }

    /// Lets admission change an object.
    pub(crate) async fn admit(
        &self,
        state: &State,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let mut request = self.admission_request(state, operation, old);
        let name = crate::storage::meta::name(object).to_owned();
        if request.name.is_empty() {
            request.name = &name;
        }
        let mut laps = state.metrics.admission.laps(Phase::Admit, operation);
        for admission in &state.admission {
            laps.said(admission.mutate(&request, object).await)?;
        }
        Ok(())
    }

    /// Lets admission refuse what is about to be stored or removed.
    pub(crate) async fn check(
        &self,
        state: &State,
        operation: Operation,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let mut request = self.admission_request(state, operation, old);
        if request.name.is_empty() {
            request.name = crate::storage::meta::name(object);
        }
        let mut laps = state.metrics.admission.laps(Phase::Validate, operation);
        for admission in &state.admission {
            laps.said(admission.validate(&request, object).await)?;
        }
        Ok(())
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
