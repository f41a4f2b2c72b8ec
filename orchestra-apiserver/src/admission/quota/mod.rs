//! `ResourceQuota`: what is new fits into the quotas of its namespace, or is refused.
//!
//! The last rule of all, for it charges: the quotas that speak of an object are read from the store, and written with what
//! the object adds in one transaction that fails if anybody wrote one of them meanwhile; then all is read and weighed
//! again. So however many objects are made at once, through however many servers, no quota is exceeded. What is
//! charged for an object that is then not stored comes back when the controller counts afresh, as upstream.

mod charge;
mod device;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::{Outcome, RangeOptions, Store, Txn};
use serde_json::Value;
use tokio::sync::Mutex;

use self::charge::{Charge, Subject};
use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::status::StatusError;
use crate::storage::resource::Resource;

const CORE: GroupVersion = GroupVersion::new("", "v1");
/// How often a quota that others write is tried again. Requests of one server wait for each other, so only the
/// controller and other servers are in the way.
const TRIES: usize = 64;
/// Namespaces wait for themselves, and for the few others that share a lock.
const LOCKS: usize = 64;
/// What quotas do not count.
const IGNORED: &[(&str, &str)] = &[("", "events"), ("events.k8s.io", "events"), ("", "bindings")];

pub(crate) struct ResourceQuota {
    feed: Arc<Feed>,
    quotas: Arc<Resource>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    locks: [Mutex<()>; LOCKS],
}

impl std::fmt::Debug for ResourceQuota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResourceQuota")
    }
}

impl ResourceQuota {
    pub(crate) fn new(
        feed: &Arc<Feed>,
        catalog: &Catalog,
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        let quotas = catalog.find(&CORE, "resourcequotas")?;
        let locks = std::array::from_fn(|_| Mutex::new(()));
        Some(Self { feed: feed.clone(), quotas, store: store.clone(), clock: clock.clone(), locks })
    }

    async fn has_quota(&self, namespace: &str) -> Result<bool, StatusError> {
        Ok(self.feed.collection(&self.quotas).await?.has_any(namespace))
    }

    fn lock(&self, namespace: &str) -> Option<&Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or_default();
        self.locks.get(at)
    }

    /// Charges all quotas of the namespace, or none; `false` when one of them was written meanwhile.
    async fn attempt(&self, request: &AdmissionRequest<'_>, subject: &Subject) -> Result<bool, StatusError> {
        let range = self.quotas.range(Some(request.namespace));
        let page = self.store.range(range, RangeOptions::new()).await?.value;
        let mut txn = Txn::new();
        let mut charged = false;
        for entry in &page.entries {
            let mut quota = self.quotas.tree(entry)?;
            match charge::charge(&quota, subject).map_err(|why| request.refuse(why))? {
                Charge::Nothing => {}
                Charge::Used(used) => {
                    charged = true;
                    quota["status"]["used"] = used;
                    let key = entry.key.clone();
                    txn = txn.when(key.clone(), entry.mod_revision).put(key, self.quotas.encode(&quota));
                }
            }
        }
        if !charged || request.dry_run {
            return Ok(true);
        }
        Ok(self.store.commit(txn).await?.outcome == Outcome::Applied)
    }
}

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &str {
        "ResourceQuota"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let (group, plural) = (request.request.gv.group.as_ref(), request.request.resource.as_str());
        let below = request.request.subresource.as_deref().unwrap_or_default();
        let is_counted = match (group, plural, below, request.operation) {
            (_, _, "", Operation::Create) => !IGNORED.contains(&(group, plural)),
            ("", "pods", "resize", Operation::Update)
            | ("", "services", "", Operation::Update)
            | ("", "persistentvolumeclaims", "" | "status", Operation::Update) => true,
            _ => false,
        };
        if !is_counted || request.namespace.is_empty() || !self.has_quota(request.namespace).await? {
            return Ok(());
        }
        let now = self.clock.now();
        let subject = match (group, plural) {
            ("resource.k8s.io", "resourceclaims") => device::subject(request, object, now).await?,
            _ => Subject::read(&request.group_resource().to_string(), below, object, request.old, now)
                .map_err(StatusError::internal)?,
        };
        let _turn = match self.lock(request.namespace) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        for _ in 0..TRIES {
            if self.attempt(request, &subject).await? {
                return Ok(());
            }
        }
        Err(StatusError::modified(&self.quotas.gr, ""))
    }
}
