//! Nobody makes more pods than were asked for.

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, Recent, Unanswered, is_active, named, pods_of};

/// ReplicaSets never have more active pods than they were told to have, but for those whose making was not answered.
#[derive(Debug, Default)]
pub struct NoSurplus {
    sizes: ByUid<Recent<i64>>,
    unanswered: Unanswered,
}

impl Invariant for NoSurplus {
    fn name(&self) -> &'static str {
        "no more pods than asked for"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        match happening {
            Happening::Done(deed) => {
                self.unanswered.note(deed);
                Ok(())
            }
            Happening::Changed(change) => match change.resource() {
                "replicasets.apps" => {
                    if let Some(new) = &change.new {
                        let size = new.number("/spec/replicas").unwrap_or(0);
                        self.sizes.entry(new.uid().into()).or_default().set(change.at, size);
                    }
                    Ok(())
                }
                "pods" if change.old.is_none() => self.made(change, log),
                _ => Ok(()),
            },
            Happening::AtRest => Ok(()),
        }
    }
}

impl NoSurplus {
    fn made(&mut self, change: &Change, log: &WriteLog) -> Result<(), String> {
        let Some(owner) = change.object().and_then(Object::controller) else { return Ok(()) };
        let Some(sizes) = self.sizes.get_mut(owner) else { return Ok(()) };
        let most = sizes.seen(change.at).max().copied().unwrap_or(0);
        let allowed = most + i64::try_from(self.unanswered.count(change.at)).unwrap_or(i64::MAX);
        let active =
            i64::try_from(pods_of(log, owner).filter(|pod| is_active(pod)).count()).unwrap_or(i64::MAX);
        if active > allowed {
            let pod = change.object().map(named).unwrap_or_default();
            return Err(format!("{pod} is the {active}th of a set of {most}"));
        }
        Ok(())
    }
}
