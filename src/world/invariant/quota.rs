//! Quotas are not exceeded.

use std::time::Duration;

use super::super::log::{Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, is_active, named};

/// No more pods than a quota's `pods` allows, counted at every pod that is made, unless the quota was not yet counted.
#[derive(Debug, Default)]
pub struct Quotas {
    /// The most pods that a quota ever found when it began to count.
    grandfathered: ByUid<i64>,
    began: ByUid<Duration>,
}

fn most(quota: &Object) -> Option<i64> {
    let hard = quota.at("/status/hard");
    let pods = &hard["pods"];
    pods.as_str().and_then(|text| text.parse().ok()).or_else(|| pods.as_i64())
}

fn used(namespace: &str, log: &WriteLog) -> i64 {
    let pods = log.of("pods").filter(|pod| &*pod.namespace == namespace && is_active(pod));
    i64::try_from(pods.count()).unwrap_or(i64::MAX)
}

impl Invariant for Quotas {
    fn name(&self) -> &'static str {
        "quotas are not exceeded"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::Changed(change) = happening else { return Ok(()) };
        let Some(new) = &change.new else { return Ok(()) };
        if change.resource() == "resourcequotas" && most(new).is_some() {
            let counted = change.old.as_ref().and_then(most) == most(new);
            if !counted {
                self.grandfathered.insert(new.uid().into(), used(&new.namespace, log));
                self.began.insert(new.uid().into(), change.at);
            }
        }
        if change.resource() != "pods" || change.old.is_some() {
            return Ok(());
        }
        for quota in log.of("resourcequotas").filter(|quota| quota.namespace == new.namespace) {
            let Some(most) = most(quota) else { continue };
            let allowed = most.max(self.grandfathered.get(quota.uid()).copied().unwrap_or(0));
            let used = used(&new.namespace, log);
            if used > allowed {
                return Err(format!(
                    "{} was made: {used} of {most} that {} allows",
                    named(new),
                    named(quota)
                ));
            }
        }
        Ok(())
    }
}
