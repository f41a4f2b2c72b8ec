//! The Kubernetes API as a [`tower::Service`] over any [`Store`](orchestra_store::Store).
//!
//! A request becomes a verb on a resource, passes authentication, authorization, admission and the rules of its kind,
//! and ends in one transaction of the store. Reads and watches come out of memory: an object is encoded once when it
//! changes, and every list and every watcher shares its bytes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::Api;
//! use orchestra_apiserver::ApiServer;
//! use orchestra_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await?;
//! let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
//! let mut map = ConfigMap::default();
//! map.metadata.name = Some("greeting".into());
//! maps.create(&Default::default(), &map).await?;
//! assert_eq!(maps.list(&Default::default()).await?.items.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Extension points
//! [`Authenticator`], [`Authorizer`], [`Admission`] (or a closure, see [`IntoAdmission`]), [`NodeTransport`], [`Projection`], [`Clock`],
//! and the kinds themselves through a [`Registry`](orchestra_core::kinds::Registry).
//!
//! # Invariants
//! * The store is the only state: a server may be killed at any instant, and several may run on one store.
//! * A list shows every write that was acknowledged before it was asked for.
//! * Only this crate turns errors into `metav1.Status`.

mod admission;
mod aggregate;
mod audit;
mod auth;
mod body;
mod bootstrap;
mod builder;
mod cache;
mod catalog;
mod client;
mod clock;
mod cluster_info;
mod custom;
mod discovery;
mod duration;
pub mod encryption;
mod error;
mod filter;
mod flow;
mod front;
mod health;
mod limits;
mod metrics;
mod negotiate;
mod node;
mod openapi;
pub mod pki;
mod policy;
mod projection;
mod query;
mod request;
mod reviews;
mod serve;
mod server;
mod service_network;
mod snapshot;
mod state;
mod status;
mod storage;
mod stream;
mod subresource;
pub mod tls;
mod verbs;
mod warning;
mod watched;
mod webhook;

pub use admission::{
    Admission, AdmissionRequest, IntoAdmission, Operation, Phases, PodSecurityLevel, PodSecurityOptions,
    Reader, TypedAdmission, form,
};
pub use aggregate::RequestHeaderAuthenticator;
pub use audit::{AuditLevel, AuditLog, AuditLogOptions, AuditPolicy, AuditRefused, AuditSink, AuditStage};
pub use auth::{
    AccessRequest, Authenticator, Authorizer, CertificateAuthenticator, Decision, DenyAll, PeerCertificate,
    RuleSet, TokenKey, User,
};
pub use body::Body;
pub use builder::ApiServerBuilder;
pub use clock::{Clock, RuntimeClock, WallClock};
pub use error::{Error, Result};
pub use health::VERSION;
pub use limits::Limits;
pub use node::NodeTransport;
pub use projection::{Projection, Subject};
pub use query::Query;
pub use request::{RequestInfo, ResourceRequest, Verb};
pub use server::ApiServer;
pub use status::{Cause, GroupResource, StatusError};
pub use webhook::WebhookTargets;

/// The guide, so that its code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/admission.md")]
mod guide {}
