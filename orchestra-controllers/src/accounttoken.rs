//! Secrets that hold the token of a ServiceAccount: they go with it. The token itself is the API server's work.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::runtime::watcher;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, exactly};

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// Whether a token is of this ServiceAccount, by its name and, once it is known, by its uid.
pub fn belongs_to(token: &ObjectMeta, account: &ObjectMeta) -> bool {
    let said =
        |key: &str| token.annotations.as_ref().and_then(|held| held.get(key)).filter(|said| !said.is_empty());
    said(NAME) == account.name.as_ref() && said(UID).is_none_or(|uid| Some(uid) == account.uid.as_ref())
}

fn account_of(token: &Secret) -> Option<Key> {
    let name = token.metadata.annotations.as_ref()?.get(NAME)?;
    Some(Key::new(token.metadata.namespace.clone()?, name))
}

pub(crate) struct Tokens {
    world: Arc<World>,
}

/// Connects the controller to the world. Keys are Secrets.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Tokens>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.account_tokens.narrow(watcher::Config::default().fields(&format!("type={TYPE}")));
    world.account_tokens.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(token) = change.new {
                queue.add(Key::of(&token.metadata));
            }
        }
    });
    world.service_accounts.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(account)) = (weak.upgrade(), change.old) else { return };
            if change.new.is_some_and(|new| new.metadata.uid == account.metadata.uid) {
                return;
            }
            let key = Key::of(&account.metadata);
            for token in world.account_tokens.in_namespace(&key.namespace) {
                if account_of(&token).as_ref() == Some(&key) {
                    queue.add(Key::of(&token.metadata));
                }
            }
        }
    });
    (Arc::new(Tokens { world: world.clone() }), queue)
}

impl Reconcile for Tokens {
    type Key = Key;

    fn name(&self) -> &'static str {
        "serviceaccount-token"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(token) = self.world.account_tokens.get(key) else { return Ok(Next::Wait) };
        let Some(account) = account_of(&token) else { return Ok(Next::Wait) };
        let is_its = |held: &ServiceAccount| belongs_to(&token.metadata, &held.metadata);
        if self.world.service_accounts.get(&account).is_some_and(|held| is_its(&held)) {
            return Ok(Next::Wait);
        }
        // The copy may be behind a new account: the server's own word counts.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.world.client.clone(), &account.namespace);
        if accounts.get_opt(&account.name).await?.is_some_and(|held| is_its(&held)) {
            return Ok(Next::Wait);
        }
        let api: Api<Secret> = Api::namespaced(self.world.client.clone(), &key.namespace);
        let uid = token.metadata.uid.as_deref().unwrap_or_default();
        unless_gone(api.delete(&key.name, &exactly(uid)).await).map(|_| Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_belongs_to_one_account_and_not_to_the_next_of_its_name() {
        let account = ObjectMeta { name: Some("bot".into()), uid: Some("1".into()), ..ObjectMeta::default() };
        let token = |name: &str, uid: &str| -> ObjectMeta {
            serde_json::from_value(json!({"annotations": {NAME: name, UID: uid}})).unwrap()
        };
        assert!(belongs_to(&token("bot", "1"), &account));
        assert!(belongs_to(&token("bot", ""), &account));
        assert!(!belongs_to(&token("bot", "2"), &account));
        assert!(!belongs_to(&token("other", ""), &account));
        assert!(!belongs_to(&ObjectMeta::default(), &account));
    }
}
