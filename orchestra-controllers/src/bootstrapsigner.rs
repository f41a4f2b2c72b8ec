//! Signs the ConfigMap `kube-public/cluster-info`, which machines that join read before they can trust anybody: for each bootstrap token
//! that may sign, the kubeconfig's signature with the token as its key, as upstream's `bootstrap-signer` does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::runtime::watcher;
use sha2::{Digest, Sha256};

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const CONTENT: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// What the ConfigMap should hold, if it holds something else; without a kubeconfig there is nothing to sign.
pub fn plan(
    held: &BTreeMap<String, String>,
    tokens: &[Arc<Secret>],
    now: Timestamp,
) -> Option<BTreeMap<String, String>> {
    let content = held.get(CONTENT)?;
    let mut wanted: BTreeMap<String, String> = held
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    for token in tokens {
        if let Some((id, secret)) = signs(token, now) {
            wanted.insert(format!("{SIGNATURE}{id}"), signature(content, id, secret));
        }
    }
    (wanted != *held).then_some(wanted)
}

/// The parts of a token that may sign.
fn signs(token: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let text = |key: &str| std::str::from_utf8(&token.data.as_ref()?.get(key)?.0).ok();
    let (id, secret) = (text("token-id")?, text("token-secret")?);
    let is_plain = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_named = token.metadata.name.as_deref() == Some(&format!("bootstrap-token-{id}"));
    let is_over = crate::bootstraptoken::plan(token, now) == Some(Duration::ZERO);
    let may_sign = text("usage-bootstrap-signing") == Some("true");
    (is_named && is_plain(id, 6) && is_plain(secret, 16) && may_sign && !is_over).then_some((id, secret))
}

/// A JSON web signature (HS256) without what it signs.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(keyed_hash(secret.as_bytes(), signed.as_bytes())))
}

/// HMAC with SHA-256, for keys no longer than a block: tokens are.
fn keyed_hash(key: &[u8], text: &[u8]) -> impl AsRef<[u8]> + use<> {
    let pad = |byte: u8| -> [u8; 64] {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize()
}

pub(crate) struct Signer {
    world: Arc<World>,
}

/// Connects the controller to the world. The one key is the ConfigMap.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Signer>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let only = format!("metadata.namespace={NAMESPACE},metadata.name={NAME}");
    world.cluster_info.narrow(watcher::Config::default().fields(&only));
    crate::bootstraptoken::narrow(world);
    let again = |queue: &Arc<Queue<Key>>| {
        let queue = queue.clone();
        move || queue.add(Key::new(NAMESPACE, NAME))
    };
    let (changed, told) = (again(&queue), again(&queue));
    world.cluster_info.on_change(move |_| changed());
    world.bootstrap_tokens.on_change(move |_| told());
    (Arc::new(Signer { world: world.clone() }), queue)
}

impl Reconcile for Signer {
    type Key = Key;

    fn name(&self) -> &'static str {
        "bootstrap_signer_queue"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(held) = self.world.cluster_info.get(key) else { return Ok(Next::Wait) };
        let (tokens, now) = (self.world.bootstrap_tokens.all(), self.world.clock.now());
        let data = held.data.clone().unwrap_or_default();
        if let Some(wanted) = plan(&data, &tokens, now) {
            let mut next = (*held).clone();
            next.data = Some(wanted);
            let api: Api<ConfigMap> = Api::namespaced(self.world.client.clone(), NAMESPACE);
            if let Some(written) = unless_gone(api.replace(NAME, &post_params(), &next).await)? {
                self.world.cluster_info.observe(written);
            }
        }
        // A token that ends goes without being removed first, where nobody removes it.
        let ends = tokens.iter().filter_map(|token| crate::bootstraptoken::plan(token, now));
        let next = ends.filter(|left| !left.is_zero()).min();
        Ok(next.map_or(Next::Wait, Next::After))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn token(id: &str, secret: &str, more: &[(&str, &str)]) -> Arc<Secret> {
        let all = [("token-id", id), ("token-secret", secret), ("usage-bootstrap-signing", "true")];
        let data = all.iter().chain(more).map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
        let mut token = Secret { data: Some(data.collect()), ..Secret::default() };
        token.metadata.name = Some(format!("bootstrap-token-{id}"));
        token.type_ = Some("bootstrap.kubernetes.io/token".to_owned());
        Arc::new(token)
    }

    /// After RFC 4231, its second case.
    #[test]
    fn the_keyed_hash_is_that_of_the_standard() {
        let hash = keyed_hash(b"Jefe", b"what do ya want for nothing?");
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn tokens_that_may_sign_do_and_signatures_of_others_go() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let held = |keys: &[&str]| -> BTreeMap<String, String> {
            keys.iter().map(|key| ((*key).to_owned(), "old".to_owned())).collect()
        };
        let secret = "0123456789abcdef";
        let tokens = [
            token("abcdef", secret, &[]),
            token("silent", secret, &[("usage-bootstrap-signing", "false")]),
            token("ended0", secret, &[("expiration", "2025-01-01T00:00:00Z")]),
            token("short0", "short", &[]),
        ];
        let map = held(&["kubeconfig", "other", "jws-kubeconfig-gone00"]);
        let wanted = plan(&map, &tokens, now).unwrap();
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig", "other"]);
        let signed = &wanted["jws-kubeconfig-abcdef"];
        let parts: Vec<&str> = signed.split('.').collect();
        let header = URL_SAFE_NO_PAD.decode(parts[0]).unwrap();
        assert_eq!(header, br#"{"alg":"HS256","kid":"abcdef"}"#);
        assert!(parts[1].is_empty() && parts[2].len() == 43);
        assert_eq!(plan(&wanted, &tokens, now), None);
        assert_eq!(plan(&held(&["other"]), &tokens, now), None);
    }
}
