//! Events as kube-scheduler words them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::feed::Refused;
use crate::view::PodView;

/// The longest note, in bytes; longer ones end in ` ...`.
const LONGEST_NOTE: usize = 1024;

/// What an event tells of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening<'a> {
    Scheduled,
    FailedScheduling,
    Preempted { by: &'a PodView },
    Announced { reason: &'static str },
}

/// The event of something that happened to a pod; `serial` tells apart what happened at one instant.
pub(super) fn compose(
    pod: &PodView,
    happening: Happening<'_>,
    note: &str,
    now: Timestamp,
    serial: u64,
) -> Event {
    let (kind, reason, action) = match happening {
        Happening::Scheduled => ("Normal", "Scheduled", "Binding"),
        Happening::FailedScheduling => ("Warning", "FailedScheduling", "Scheduling"),
        Happening::Preempted { .. } => ("Normal", "Preempted", "Preempting"),
        Happening::Announced { reason } => ("Normal", reason, "Scheduling"),
    };
    // Whoever decided speaks, and that is the scheduler of the pod that something was decided for.
    let (reporter, related) = match happening {
        Happening::Preempted { by } => (by, Some(reference(by))),
        Happening::Scheduled | Happening::FailedScheduling | Happening::Announced { .. } => (pod, None),
    };
    let text = |text: &str| Some(text.to_owned());
    let instant = now.as_nanosecond().saturating_add(i128::from(serial % 1000));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{instant:x}", pod.key.name)),
            namespace: text(&pod.key.namespace),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: text(kind),
        reason: text(reason),
        action: text(action),
        note: Some(shortened(note)),
        reporting_controller: text(&reporter.scheduler),
        reporting_instance: text(&reporter.scheduler),
        regarding: Some(reference(pod)),
        related,
        ..Event::default()
    }
}

/// The event of an object that cannot be scheduled with. Those without a namespace have theirs in the default one.
pub(super) fn refusal(refused: &Refused, now: Timestamp, serial: u64) -> Event {
    let text = |text: &str| Some(text.to_owned());
    let instant = now.as_nanosecond().saturating_add(i128::from(serial % 1000));
    let namespace = if refused.namespace.is_empty() { "default" } else { &refused.namespace };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{instant:x}", refused.name)),
            namespace: text(namespace),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: text("Warning"),
        reason: text("CannotBeScheduledWith"),
        action: text("Scheduling"),
        note: Some(shortened(&refused.problem)),
        reporting_controller: text(crate::DEFAULT_NAME),
        reporting_instance: text(crate::DEFAULT_NAME),
        regarding: Some(ObjectReference {
            api_version: text(&refused.version),
            kind: text(&refused.kind),
            namespace: (!refused.namespace.is_empty()).then(|| refused.namespace.clone()),
            name: text(&refused.name),
            uid: text(&refused.uid),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

fn reference(pod: &PodView) -> ObjectReference {
    let text = |text: &str| Some(text.to_owned());
    ObjectReference {
        api_version: text("v1"),
        kind: text("Pod"),
        namespace: text(&pod.key.namespace),
        name: text(&pod.key.name),
        uid: text(&pod.uid),
        ..ObjectReference::default()
    }
}

fn shortened(note: &str) -> String {
    const END: &str = " ...";
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let mut end = LONGEST_NOTE - END.len();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{END}", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;
    use serde_json::json;

    #[test]
    fn scheduled_event_is_upstreams() {
        let pod = pod(json!({"metadata": {"name": "x", "uid": "u"}}));
        let event = compose(
            &pod,
            Happening::Scheduled,
            "Successfully assigned default/x to n",
            Timestamp::UNIX_EPOCH,
            1,
        );
        let json = serde_json::to_value(event).unwrap();
        assert_eq!(json["metadata"], json!({"name": "x.1", "namespace": "default"}));
        assert_eq!(json["type"], "Normal");
        assert_eq!(json["reason"], "Scheduled");
        assert_eq!(json["action"], "Binding");
        assert_eq!(json["reportingController"], "default-scheduler");
        assert_eq!(json["regarding"]["uid"], "u");
    }

    #[test]
    fn notes_are_cut_to_1024_bytes_at_a_character() {
        let short = shortened(&"é".repeat(600));
        assert!(short.len() <= 1024 && short.ends_with("é ..."));
        assert_eq!(shortened("fine"), "fine");
    }

    #[test]
    fn types_actions_and_sides_of_events_are_upstreams() {
        let named = |name: &str| pod(json!({"metadata": {"name": name}, "spec": {"schedulerName": "mine"}}));
        let (victim, preemptor) = (named("victim"), named("preemptor"));
        for (happening, kind, reason, action, related) in [
            (Happening::Scheduled, "Normal", "Scheduled", "Binding", None),
            (Happening::FailedScheduling, "Warning", "FailedScheduling", "Scheduling", None),
            (Happening::Preempted { by: &preemptor }, "Normal", "Preempted", "Preempting", Some("preemptor")),
            (
                Happening::Announced { reason: "BindingConditionsPending" },
                "Normal",
                "BindingConditionsPending",
                "Scheduling",
                None,
            ),
        ] {
            let event = compose(&victim, happening, "note", Timestamp::UNIX_EPOCH, 1);
            let said = [event.type_, event.reason, event.action, event.reporting_controller];
            assert_eq!(said.map(Option::unwrap_or_default), [kind, reason, action, "mine"]);
            assert_eq!(event.regarding.and_then(|object| object.name).as_deref(), Some("victim"));
            assert_eq!(event.related.and_then(|object| object.name).as_deref(), related);
        }
    }
}
