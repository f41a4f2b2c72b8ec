//! One object in several versions: conversion webhooks.
//!
//! The objects of a custom kind lie in the store in the version that was the storage version when they were written. With
//! the strategy `None` every version is the same but for its name; with `Webhook` a program of the definition's author
//! is asked, on the way out of the store for readers of another version and on the way into it for writers. It is asked
//! about many objects at once where many are read. After upstream's
//! `k8s.io/apiextensions-apiserver/pkg/apiserver/conversion`.

mod review;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use orchestra_core::custom::CustomKind;
use orchestra_core::kind::Kind;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use self::review::{Flaw, Review};
use crate::clock::Chance;
use crate::metrics::{Failure, Route};
use crate::status::StatusError;
use crate::webhook::{Client, Endpoint};

/// How long a webhook has for an answer, as upstream.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many objects go into one question, and of about how many bytes together.
const MOST_OBJECTS: usize = 500;
const MOST_BYTES: usize = 4 << 20;

/// The versions of a definition, and what converts between them.
pub(crate) struct Family {
    kinds: Vec<Arc<CustomKind>>,
    webhook: Option<Webhook>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("kinds", &self.kinds.len()).finish_non_exhaustive()
    }
}

struct Webhook {
    /// What is wrong with it, if something is: then no object can be converted.
    endpoint: Result<Endpoint, String>,
    review: Option<Review>,
    client: Arc<Client>,
    chance: Arc<Chance>,
}

/// An object on its way, and about how long its JSON is.
pub(crate) struct Traveller {
    pub(crate) object: Value,
    pub(crate) length: usize,
}

impl Family {
    /// The versions of a definition.
    pub(crate) fn of_definition(definition: &Value, client: &Arc<Client>, chance: &Arc<Chance>) -> Self {
        let kinds = CustomKind::of_definition(definition).into_iter().map(Arc::new).collect();
        let conversion = definition.pointer("/spec/conversion");
        let is_asked = conversion.and_then(|c| c.get("strategy")).and_then(Value::as_str) == Some("Webhook");
        let webhook = conversion.filter(|_| is_asked).map(|conversion| Webhook {
            endpoint: endpoint(conversion, client),
            review: Review::first_of(
                conversion
                    .pointer("/webhook/conversionReviewVersions")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            ),
            client: client.clone(),
            chance: chance.clone(),
        });
        Self { kinds, webhook }
    }

    pub(crate) fn kinds(&self) -> &[Arc<CustomKind>] {
        &self.kinds
    }

    /// Whether objects of another version have to be sent away.
    pub(crate) fn asks(&self) -> bool {
        self.webhook.is_some()
    }

    /// The version objects are stored in.
    pub(crate) fn storage(&self) -> Option<&Arc<CustomKind>> {
        self.kinds.iter().find(|kind| kind.storage() == &kind.description().gv)
    }

    /// The version of that name.
    pub(crate) fn of_version(&self, api_version: &str) -> Option<&Arc<CustomKind>> {
        self.kinds.iter().find(|kind| kind.description().gv.to_string() == api_version)
    }

    /// A stored object in the form of the version it was written in. One of a version that the definition has no more
    /// stays as it is.
    pub(crate) fn revive(&self, object: &mut Value) {
        if let Some(kind) = self.of_version(version(object)) {
            kind.revive(object);
        }
    }

    /// Objects in the version of `kind`, in the same order.
    ///
    /// # Errors
    /// The webhook did not answer, or with something else.
    pub(crate) fn convert<'a>(
        &'a self,
        travellers: Vec<Traveller>,
        kind: &'a CustomKind,
    ) -> BoxFuture<'a, Result<Vec<Value>, StatusError>> {
        // Boxed: to find the webhook other objects are read, which might have to be converted, for all the compiler knows.
        Box::pin(self.converted(travellers, kind))
    }

    async fn converted(
        &self,
        travellers: Vec<Traveller>,
        kind: &CustomKind,
    ) -> Result<Vec<Value>, StatusError> {
        let desired = kind.description().gv.to_string();
        let mut out: Vec<Value> = Vec::with_capacity(travellers.len());
        let mut asked: Vec<usize> = Vec::new();
        let mut length = 0;
        for traveller in travellers {
            let from = version(&traveller.object);
            if from != desired {
                if self.of_version(from).is_none() {
                    return Err(StatusError::unforeseen(format!(
                        "request to convert CR from an invalid group/version: {from}"
                    )));
                }
                if !asked.is_empty()
                    && (asked.len() == MOST_OBJECTS || length + traveller.length > MOST_BYTES)
                {
                    self.ask(&mut out, &std::mem::take(&mut asked), kind, &desired).await?;
                    length = 0;
                }
                length += traveller.length;
                asked.push(out.len());
            }
            out.push(traveller.object);
        }
        if !asked.is_empty() {
            self.ask(&mut out, &asked, kind, &desired).await?;
        }
        Ok(out)
    }

    /// Puts the converted objects in the places `asked`.
    async fn ask(
        &self,
        objects: &mut [Value],
        asked: &[usize],
        kind: &CustomKind,
        desired: &str,
    ) -> Result<(), StatusError> {
        let originals: Vec<&Value> = asked.iter().filter_map(|&at| objects.get(at)).collect();
        let converted = match &self.webhook {
            Some(webhook) => {
                webhook.convert(&originals, kind, desired).await.map_err(StatusError::unforeseen)?
            }
            None => originals.into_iter().cloned().collect(),
        };
        for (&at, mut new) in asked.iter().zip(converted) {
            kind.adopt(&mut new);
            if let Some(slot) = objects.get_mut(at) {
                *slot = new;
            }
        }
        Ok(())
    }
}

impl Webhook {
    async fn convert(
        &self,
        originals: &[&Value],
        kind: &CustomKind,
        desired: &str,
    ) -> Result<Vec<Value>, String> {
        let started = Instant::now();
        let outcome = self.converted(originals, kind, desired).await;
        let description = kind.description();
        let of = |api_version: &str| api_version.rsplit('/').next().unwrap_or_default().to_owned();
        let route = Route {
            definition: format!("{}.{}", description.plural, description.gv.group),
            from: originals.first().map(|object| of(version(object))).unwrap_or_default(),
            to: of(desired),
        };
        let failure = outcome.as_ref().err().map(|(failure, _)| *failure);
        self.client.conversions.asked(route, started.elapsed(), failure);
        outcome.map_err(|(_, why)| why)
    }

    async fn converted(
        &self,
        originals: &[&Value],
        kind: &CustomKind,
        desired: &str,
    ) -> Result<Vec<Value>, (Failure, String)> {
        let first = originals.first().map(|object| version(object)).unwrap_or_default();
        let description = kind.description();
        let subject = match originals.len() {
            1 => format!("conversion webhook for {first}, Kind={}", description.kind),
            _ => format!("conversion webhook for {desired}, Kind={}", description.list_kind),
        };
        let review = self
            .review
            .ok_or_else(|| (Failure::Call, "no supported conversion review versions".to_owned()))?;
        let failed = |why: String| format!("{subject} failed: {why}");
        let uid = self.chance.uuid();
        let question = review::question(review, &uid, desired, originals).to_string();
        let no_call = |why: String| (Failure::Call, failed(why));
        let endpoint = self.endpoint.as_ref().map_err(|why| no_call(why.clone()))?;
        let body = self.client.post(endpoint, Bytes::from(question), PATIENCE).await.map_err(no_call)?;
        let answer = review::answer(review, &uid, &body).map_err(|why| (Failure::Malformed, failed(why)))?;
        if answer.len() != originals.len() {
            let why = format!("{subject} returned {} objects, expected {}", answer.len(), originals.len());
            return Err((Failure::Partial, why));
        }
        let is_list = originals.len() != 1;
        let taken = originals.iter().zip(answer).enumerate();
        let taken = taken.map(|(index, (original, converted))| {
            review::accept(original, converted, desired).map_err(|flaw| match (flaw, is_list) {
                (Flaw::Object(why), false) => format!("{subject} returned invalid object: {why}"),
                (Flaw::Kind(why), false) => format!("{subject} returned invalid object at index 0: {why}"),
                (Flaw::Metadata(why), false) => format!("{subject} returned invalid metadata: {why}"),
                (Flaw::Object(why) | Flaw::Kind(why), true) => {
                    format!("{subject} returned invalid converted object at index {index}: {why}")
                }
                (Flaw::Metadata(why), true) => {
                    format!("{subject} returned invalid metadata in object at index {index}: {why}")
                }
            })
        });
        taken.collect::<Result<_, _>>().map_err(|why| (Failure::Invalid, why))
    }
}

fn version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

fn endpoint(conversion: &Value, client: &Client) -> Result<Endpoint, String> {
    let mut config = conversion.pointer("/webhook/clientConfig").cloned().unwrap_or_default();
    // White space is no authority: then those of the machine are meant.
    let is_blank =
        |bundle: &str| STANDARD.decode(bundle).is_ok_and(|pem| pem.iter().all(u8::is_ascii_whitespace));
    if config.get("caBundle").and_then(Value::as_str).is_some_and(is_blank)
        && let Some(config) = config.as_object_mut()
    {
        config.remove("caBundle");
    }
    Endpoint::read(&config, client)
}
