//! What every namespace is given: the ServiceAccount `default`, and the cluster's root certificate in the ConfigMap
//! `kube-root-ca.crt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::Patch;
use kube::runtime::watcher;
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, patch_params, post_params};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const EXPLANATION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

/// One thing to do for a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the ServiceAccount `default`.
    CreateAccount,
    /// Create the ConfigMap `kube-root-ca.crt`.
    CreateRootCa,
    /// Put the certificate back into the ConfigMap.
    RestoreRootCa,
}

/// What is known when a namespace's gifts are planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// Whether its ServiceAccount `default` exists.
    pub has_account: bool,
    /// The ConfigMap `kube-root-ca.crt`, if it exists.
    pub root_ca: Option<&'a ConfigMap>,
    /// The certificate of the cluster, if it is known.
    pub certificate: Option<&'a str>,
}

/// What a namespace lacks. Nothing, once it is on its way out.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let status = observed.namespace.status.as_ref();
    let terminating = status.and_then(|status| status.phase.as_deref()) == Some("Terminating");
    if terminating || observed.namespace.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if !observed.has_account {
        actions.push(Action::CreateAccount);
    }
    if let Some(certificate) = observed.certificate {
        match observed.root_ca {
            None => actions.push(Action::CreateRootCa),
            Some(held) if held.data.as_ref() != Some(&data(certificate)) => {
                actions.push(Action::RestoreRootCa)
            }
            Some(_) => {}
        }
    }
    actions
}

fn data(certificate: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("ca.crt".to_owned(), certificate.to_owned())])
}

pub(crate) struct Gifts {
    world: Arc<World>,
    certificate: Option<String>,
}

/// Connects the controller to the world. Keys are namespaces.
pub(crate) fn setup(world: &Arc<World>, certificate: Option<String>) -> (Arc<Gifts>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let add = |queue: &Arc<Queue<Key>>, namespace: Option<&String>| {
        queue.add(Key::new("", namespace.cloned().unwrap_or_default()));
    };
    world.namespaces.on_change({
        let queue = queue.clone();
        move |change| add(&queue, change.new.and_then(|namespace| namespace.metadata.name.as_ref()))
    });
    world.service_accounts.on_change({
        let queue = queue.clone();
        move |change| {
            if let (Some(gone), None) = (change.old, change.new)
                && gone.metadata.name.as_deref() == Some(ACCOUNT)
            {
                add(&queue, gone.metadata.namespace.as_ref());
            }
        }
    });
    if certificate.is_some() {
        world.config_maps.narrow(watcher::Config::default().fields("metadata.name=kube-root-ca.crt"));
        world.config_maps.on_change({
            let queue = queue.clone();
            move |change| add(&queue, change.object().and_then(|map| map.metadata.namespace.as_ref()))
        });
    }
    (Arc::new(Gifts { world: world.clone(), certificate }), queue)
}

impl Reconcile for Gifts {
    type Key = Key;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(namespace) = self.world.namespaces.get(key) else { return Ok(Next::Wait) };
        let root_ca = self.world.config_maps.get(&Key::new(&key.name, ROOT_CA));
        let observed = Observed {
            namespace: &namespace,
            has_account: self.world.service_accounts.get(&Key::new(&key.name, ACCOUNT)).is_some(),
            root_ca: root_ca.as_deref(),
            certificate: self.certificate.as_deref(),
        };
        for action in plan(&observed) {
            match self.perform(&key.name, action).await {
                Err(Error::AlreadyExists(_)) => {}
                Err(error) if error.is_namespace_terminating() => {}
                other => other?,
            }
        }
        Ok(Next::Wait)
    }
}

impl Gifts {
    async fn perform(&self, namespace: &str, action: Action) -> Result<()> {
        let client = self.world.client.clone();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let data = data(self.certificate.as_deref().unwrap_or_default());
        match action {
            Action::CreateAccount => {
                let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
                let metadata = ObjectMeta { name: Some(ACCOUNT.into()), ..ObjectMeta::default() };
                accounts
                    .create(&post_params(), &ServiceAccount { metadata, ..ServiceAccount::default() })
                    .await?;
            }
            Action::CreateRootCa => {
                let metadata = ObjectMeta {
                    name: Some(ROOT_CA.into()),
                    annotations: Some(BTreeMap::from([(DESCRIPTION.to_owned(), EXPLANATION.to_owned())])),
                    ..ObjectMeta::default()
                };
                maps.create(
                    &post_params(),
                    &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() },
                )
                .await?;
            }
            Action::RestoreRootCa => {
                let patch = Patch::Merge(json!({"data": data}));
                unless_gone(maps.patch(ROOT_CA, &patch_params(), &patch).await)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_for(terminating: bool, has_account: bool, root_ca: Option<&ConfigMap>) -> Vec<Action> {
        let phase = if terminating { "Terminating" } else { "Active" };
        let namespace = serde_json::from_value(json!({"status": {"phase": phase}})).unwrap();
        plan(&Observed { namespace: &namespace, has_account, root_ca, certificate: Some("PEM") })
    }

    #[test]
    fn a_new_namespace_gets_both() {
        assert_eq!(plan_for(false, false, None), [Action::CreateAccount, Action::CreateRootCa]);
    }

    #[test]
    fn a_changed_certificate_is_put_back_and_a_right_one_left_alone() {
        let right = ConfigMap { data: Some(data("PEM")), ..ConfigMap::default() };
        assert_eq!(plan_for(false, true, Some(&right)), []);
        assert_eq!(plan_for(false, true, Some(&ConfigMap::default())), [Action::RestoreRootCa]);
    }

    #[test]
    fn a_namespace_on_its_way_out_gets_nothing() {
        assert_eq!(plan_for(true, false, None), []);
    }
}
