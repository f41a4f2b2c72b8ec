//! The creating and deleting of an owner's pods: many at a time, noted as orders, told in events.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use serde::Deserialize;

use crate::batch::slow_start;
use crate::error::{Error, Result};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::family::Known;
use crate::world::{World, exactly, post_params};

/// What is read of the answer to a creation.
#[derive(Deserialize)]
struct Made {
    metadata: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn pods_of(namespace: &str) -> Request {
    Request::new(Pod::url_path(&(), Some(namespace)))
}

/// How a controller orders pods.
pub(crate) struct PodControl {
    pub(crate) world: Arc<World>,
    pub(crate) expectations: Arc<Expectations>,
    /// Who reports the events.
    pub(crate) component: &'static str,
}

impl PodControl {
    /// Creates `count` pods, each as `pod` says; after a batch with a failure no more are begun.
    pub(crate) async fn create<'a, O: Known>(
        &self,
        owner: &O,
        count: usize,
        pod: impl Fn(usize) -> Option<&'a Pod>,
    ) -> Result<()> {
        let (key, pod) = (&owner.key(), &pod);
        let pods = &pods_of(&key.namespace);
        self.expectations.expect_creations(key, count);
        let outcome = slow_start(count, 1, |number| async move {
            let Some(pod) = pod(number) else { return Ok(()) };
            match self.made(pods, pod).await {
                Ok(name) => {
                    self.tell(owner, Mood::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                    Ok(())
                }
                Err(error) => {
                    self.expectations.creation_seen(key);
                    if error.is_namespace_terminating() {
                        return Ok(());
                    }
                    self.tell(
                        owner,
                        Mood::Warning,
                        "FailedCreate",
                        format!("Error creating: {}", error.said()),
                    );
                    Err(error)
                }
            }
        })
        .await;
        for _ in 0..outcome.skipped {
            self.expectations.creation_seen(key);
        }
        outcome.failure.map_or(Ok(()), Err)
    }

    /// Deletes these pods, all at once, as upstream. That one has gone already is no failure.
    pub(crate) async fn delete<O: Known>(&self, owner: &O, doomed: &[Arc<Pod>]) -> Result<()> {
        let key = &owner.key();
        let pods = &pods_of(&key.namespace);
        self.expectations.expect_deletions(key, doomed.iter().map(|pod| pod.uid().to_owned()));
        let outcome = slow_start(doomed.len(), doomed.len(), |number| async move {
            let Some(pod) = doomed.get(number) else { return Ok(()) };
            match self.deleted(pods, pod).await {
                Ok(()) => {
                    let message = format!("Deleted pod: {}", pod.name());
                    self.tell(owner, Mood::Normal, "SuccessfulDelete", message);
                    Ok(())
                }
                Err(error) => {
                    self.expectations.deletion_seen(key, pod.uid());
                    if matches!(error, Error::NotFound(_) | Error::Conflict(_)) {
                        return Ok(());
                    }
                    self.tell(
                        owner,
                        Mood::Warning,
                        "FailedDelete",
                        format!("Error deleting: {}", error.said()),
                    );
                    Err(error)
                }
            }
        })
        .await;
        for pod in doomed.iter().rev().take(outcome.skipped) {
            self.expectations.deletion_seen(key, pod.uid());
        }
        outcome.failure.map_or(Ok(()), Err)
    }

    /// Creates a pod, of which the server's answer says the name. The rest of the answer is not read: the pod comes by the
    /// watch.
    async fn made(&self, pods: &Request, pod: &Pod) -> Result<String> {
        let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
        let request = pods.create(&post_params(), body).map_err(kube::Error::BuildRequest)?;
        Ok(self.world.client.request::<Made>(request).await?.metadata.name)
    }

    async fn deleted(&self, pods: &Request, pod: &Pod) -> Result<()> {
        let request = pods.delete(pod.name(), &exactly(pod.uid())).map_err(kube::Error::BuildRequest)?;
        self.world.client.request_text(request).await?;
        Ok(())
    }

    fn tell<O: Known>(&self, owner: &O, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(self.component, owner, mood, reason, message);
    }
}
