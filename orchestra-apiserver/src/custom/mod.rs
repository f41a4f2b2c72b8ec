//! Custom resources: from a `CustomResourceDefinition` to resources that are served.
//!
//! Upstream has a controller for each step and an endpoint handler that looks for definitions by itself. Here one task
//! follows the definitions: [`plan`] decides, purely, which names each may have and what its status says; [`controller`]
//! serves what may be served, first, and only then writes that it is established; [`cleanup`] removes the objects of a
//! definition that is to go. What a client does to definitions through this server is in force when it gets its answer,
//! and what it did through another one before it asks here: a resource that is not found, and every document of
//! discovery, is looked for again once the task has caught up with the store.

mod cleanup;
mod controller;
pub(crate) mod conversion;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use jiff::Timestamp;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;
use serde_json::Value;

use crate::body::Body;
use crate::catalog::Catalog;
use crate::clock::stamp;
use crate::request::{ResourceRequest, Verb};
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::resource::Resource;
use crate::warning;
use crate::watched;
use crate::webhook::Client;

pub(crate) use controller::start;

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// Keeps a definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How long a request waits for definitions to come into force; then it goes on without.
const PATIENCE: Duration = Duration::from_secs(3);

/// How far definitions are in force.
#[derive(Debug)]
pub(crate) struct Definitions {
    /// The resource of definitions; `None` where a registry of one's own leaves them out.
    resource: Option<Arc<Resource>>,
    /// The last change of a definition that is in force.
    in_force: watched::Sender<Revision>,
    /// Asks those who convert between versions.
    webhooks: Arc<Client>,
}

impl Definitions {
    pub(crate) fn new(catalog: &Catalog, webhooks: Arc<Client>) -> Self {
        let resource = catalog.find(&GroupVersion::new(GROUP, "v1"), PLURAL);
        Self { resource, in_force: watched::Sender::new(Revision::NONE), webhooks }
    }
}

/// The resource a request is about.
pub(crate) async fn resource(state: &State, request: &ResourceRequest) -> Result<Arc<Resource>, StatusError> {
    let find = || state.catalog.find(&request.gv, &request.resource);
    if let Some(found) = find() {
        return Ok(found);
    }
    settle(state).await?;
    find().ok_or_else(StatusError::no_such_resource)
}

/// Waits until every change of definitions that the store has acknowledged is in force.
pub(crate) async fn settle(state: &State) -> Result<(), StatusError> {
    let Some(resource) = &state.definitions.resource else { return Ok(()) };
    let (collection, _) = state.feed.fresh(resource).await?;
    let wanted = collection.last();
    let mut in_force = state.definitions.in_force.subscribe();
    // A task that is late must not stop everybody else.
    let _ = tokio::time::timeout(PATIENCE, in_force.wait_for(|at| *at >= wanted)).await;
    Ok(())
}

/// What follows a request that was answered: a change of a definition comes into force, and a client that uses an old
/// version of a custom resource is told.
pub(crate) async fn after(state: &State, call: &Call, response: &mut Response<Body>) {
    let is_write = !matches!(call.request.verb, Verb::Get | Verb::List | Verb::Watch);
    if is_write
        && call.resource.is(GROUP, PLURAL)
        && let Err(error) = settle(state).await
    {
        tracing::warn!(%error, "it is not known whether definitions are in force");
    }
    if let Some(deprecation) = call.resource.custom().and_then(|kind| kind.deprecation()) {
        warning::add(response, &[deprecation.to_owned()]);
    }
}

/// A definition whose removal is asked for: it stays until its objects are gone. `None` when that has begun already.
pub(crate) fn begin_removal(definition: &Value, now: Timestamp) -> Option<Value> {
    if meta::is_terminating(definition) || definition.get("spec").is_none() {
        return None;
    }
    let mut going = definition.clone();
    let mut finalizers: Vec<String> = meta::finalizers(definition).map(str::to_owned).collect();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    meta::set_finalizers(&mut going, finalizers);
    let now = stamp(now);
    meta::set(&mut going, "deletionTimestamp", now.as_str());
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    plan::set_condition(
        &mut going,
        plan::Condition::new("Terminating", true, "InstanceDeletionPending", why),
        &now,
    );
    Some(going)
}
