//! What others write over what this node has said of a pod: it is said again, as the kubelet's status manager reconciles
//! (`pkg/kubelet/status`).
//!
//! The pod that a watch brings may be older than the node's last word, and then tells nothing. So the versions are compared.

use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// What the API server has of a node's word.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The version of the pod that the last report made.
    said: u64,
    /// The version of the pod that was seen last, and its conditions.
    seen: u64,
    conditions: Vec<PodCondition>,
}

fn version(resource_version: Option<&str>) -> Option<u64> {
    resource_version?.parse().ok()
}

impl Heard {
    /// A report made the pod be of this version.
    pub(super) fn said(&mut self, resource_version: Option<&str>) {
        self.said = version(resource_version).unwrap_or(self.said);
    }

    /// The pod as a watch brings it.
    pub(super) fn seen(&mut self, pod: &Pod) {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone());
        let seen = version(pod.metadata.resource_version.as_deref());
        (self.seen, self.conditions) = (seen.unwrap_or(0), conditions.unwrap_or_default());
    }

    /// Puts what somebody else made of `ours` since the last report in its place, so that it differs from what is to be said.
    pub(super) fn overwrite(&self, ours: &mut Vec<PodCondition>) {
        if self.seen <= self.said {
            return;
        }
        ours.retain_mut(|own| {
            let Some(theirs) = self.conditions.iter().find(|theirs| theirs.type_ == own.type_) else {
                return false;
            };
            if said(own) != said(theirs) {
                own.clone_from(theirs);
            }
            true
        });
    }
}

fn said(condition: &PodCondition) -> (&str, &str, &str) {
    let PodCondition { status, reason, message, .. } = condition;
    (status, reason.as_deref().unwrap_or_default(), message.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(version: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "resourceVersion": version},
            "status": {"conditions": [{"type": "Ready", "status": ready, "reason": ""}]},
        }))
        .unwrap()
    }

    fn ready(heard: &Heard) -> String {
        let mut ours = pod("1", "True").status.unwrap().conditions.unwrap();
        ours[0].reason = None;
        heard.overwrite(&mut ours);
        ours.pop().unwrap().status
    }

    #[test]
    fn only_what_came_after_the_last_report_has_overwritten_it() {
        let mut heard = Heard::default();
        heard.said(Some("10"));
        heard.seen(&pod("9", "False"));
        assert_eq!(ready(&heard), "True");
        heard.seen(&pod("10", "True"));
        assert_eq!(ready(&heard), "True");
        heard.seen(&pod("11", "False"));
        assert_eq!(ready(&heard), "False");
        // Its answer comes after the event of what it overwrote.
        heard.said(Some("12"));
        assert_eq!(ready(&heard), "True");
    }
}
