//! Bootstrap tokens, by which nodes join: they go when their time is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::watcher;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, exactly};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-system";

/// How long a token still lives; nothing if that is for ever, zero if its time is over or cannot be read, as upstream.
pub fn plan(token: &Secret, now: Timestamp) -> Option<Duration> {
    let expiration = token.data.as_ref()?.get("expiration")?;
    if token.type_.as_deref() != Some(TYPE) || expiration.0.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(&expiration.0).ok();
    let left = text.and_then(|text| text.trim().parse::<Timestamp>().ok()).map(|end| end.duration_since(now));
    Some(left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(Duration::ZERO))
}

pub(crate) struct Tokens {
    world: Arc<World>,
}

/// Lets the world hold bootstrap tokens and no other Secrets.
pub(crate) fn narrow(world: &World) {
    let only = watcher::Config::default().fields(&format!("metadata.namespace={NAMESPACE},type={TYPE}"));
    world.bootstrap_tokens.narrow(only);
}

/// Connects the controller to the world.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Tokens>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    narrow(world);
    world.bootstrap_tokens.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(token) = change.new {
                queue.add(Key::of(&token.metadata));
            }
        }
    });
    (Arc::new(Tokens { world: world.clone() }), queue)
}

impl Reconcile for Tokens {
    type Key = Key;

    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(token) = self.world.bootstrap_tokens.get(key) else { return Ok(Next::Wait) };
        match plan(&token, self.world.clock.now()) {
            None => Ok(Next::Wait),
            Some(Duration::ZERO) => {
                let api: Api<Secret> = Api::namespaced(self.world.client.clone(), &key.namespace);
                let uid = token.metadata.uid.as_deref().unwrap_or_default();
                unless_gone(api.delete(&key.name, &exactly(uid)).await).map(|_| Next::Wait)
            }
            Some(left) => Ok(Next::After(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_until_its_expiration() {
        let token = |type_: &str, expiration: Option<&str>| -> Secret {
            let data = expiration.map(|text| k8s_openapi::ByteString(text.as_bytes().to_vec()));
            Secret {
                type_: Some(type_.into()),
                data: data.map(|data| [("expiration".to_owned(), data)].into()),
                ..Secret::default()
            }
        };
        let now: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let left = |expiration| plan(&token(TYPE, expiration), now);
        assert_eq!(left(Some("2026-01-01T00:01:00Z")), Some(Duration::from_secs(30)));
        assert_eq!(left(Some("2026-01-01T01:01:00+01:00")), Some(Duration::from_secs(30)));
        assert_eq!(left(Some("2026-01-01T00:00:30Z")), Some(Duration::ZERO));
        assert_eq!(left(Some("soon")), Some(Duration::ZERO));
        assert_eq!((left(Some("")), left(None)), (None, None));
        assert_eq!(plan(&token("Opaque", Some("2020-01-01T00:00:00Z")), now), None);
    }
}
