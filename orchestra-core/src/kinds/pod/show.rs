//! A pod's row: its one-word status comes from everything its containers report.
//!
//! After `printPod` of `pkg/printers/internalversion/printers.go`.

use serde_json::Value;

use crate::kinds::frame::cells::{self, Show, column, human, list, number, or_none, seconds_since, text};

/// What a row tells of a pod's containers.
struct Summary {
    ready: i64,
    total: i64,
    reason: String,
    restarts: i64,
    /// Seconds since the last restart.
    restarted: Option<i64>,
}

pub(super) fn columns() -> Vec<Show> {
    vec![
        cells::name(),
        column("Ready", "string", "How many of the containers are ready.", |pod, now| {
            let summary = summary(pod, now);
            format!("{}/{}", summary.ready, summary.total).into()
        }),
        column("Status", "string", "What the containers are doing, in one word.", |pod, now| {
            summary(pod, now).reason.into()
        }),
        column(
            "Restarts",
            "string",
            "How often containers were started again, and when last.",
            |pod, now| {
                let summary = summary(pod, now);
                match summary.restarted.filter(|_| summary.restarts != 0) {
                    Some(seconds) => format!("{} ({} ago)", summary.restarts, human(seconds)).into(),
                    None => summary.restarts.to_string().into(),
                }
            },
        ),
        cells::age(),
        column("IP", "string", "The address of the pod.", |pod, _| {
            let ip = match text(pod, "/status/podIPs/0/ip") {
                "" => text(pod, "/status/podIP"),
                ip => ip,
            };
            or_none(ip).into()
        })
        .wide(),
        column("Node", "string", "The node the pod is bound to.", |pod, _| {
            or_none(text(pod, "/spec/nodeName")).into()
        })
        .wide(),
        column("Nominated Node", "string", "The node that is being cleared for the pod.", |pod, _| {
            or_none(text(pod, "/status/nominatedNodeName")).into()
        })
        .wide(),
        column("Readiness Gates", "string", "How many readiness gates are met.", |pod, _| gates(pod).into())
            .wide(),
    ]
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met =
        gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType")) == Some("True")).count();
    format!("{met}/{}", gates.len())
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    list(pod, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
        .map(|condition| text(condition, "/status"))
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status.get("state")?.get(name).filter(|state| !state.is_null())
}

fn summary(pod: &Value, now: i64) -> Summary {
    let sidecars = Sidecars(list(pod, "/spec/initContainers"));
    let mut summary = Summary {
        ready: 0,
        total: (list(pod, "/spec/containers").len() + sidecars.count()) as i64,
        reason: phase(pod),
        restarts: 0,
        restarted: None,
    };
    let side = initialisation(pod, now, &sidecars, &mut summary);
    if !side.initialising || condition(pod, "Initialized") == Some("True") {
        summary.restarts = side.restarts;
        summary.restarted = side.restarted;
        containers(pod, now, &mut summary);
    }
    if !text(pod, "/metadata/deletionTimestamp").is_empty() {
        if text(pod, "/status/reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

fn phase(pod: &Value) -> String {
    let gated = list(pod, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
    });
    match text(pod, "/status/reason") {
        _ if gated => "SchedulingGated".to_owned(),
        "" => text(pod, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    }
}

/// Init containers that run on beside the others.
struct Sidecars<'a>(&'a [Value]);

impl Sidecars<'_> {
    fn count(&self) -> usize {
        self.0.iter().filter(|container| text(container, "/restartPolicy") == "Always").count()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|container| {
            text(container, "/name") == name && text(container, "/restartPolicy") == "Always"
        })
    }
}

/// What the init containers leave for the rest of the row.
struct Side {
    initialising: bool,
    restarts: i64,
    restarted: Option<i64>,
}

fn initialisation(pod: &Value, now: i64, sidecars: &Sidecars, summary: &mut Summary) -> Side {
    let mut side = Side { initialising: false, restarts: 0, restarted: None };
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let restarts = number(status, "/restartCount");
        summary.restarts += restarts;
        summary.restarted = latest(summary.restarted, last_end(status, now));
        let sidecar = sidecars.has(text(status, "/name"));
        if sidecar {
            side.restarts += restarts;
            side.restarted = latest(side.restarted, last_end(status, now));
        }
        let ended = state(status, "terminated");
        if ended.is_some_and(|ended| number(ended, "/exitCode") == 0) {
            continue;
        }
        if sidecar && status.get("started").and_then(Value::as_bool) == Some(true) {
            if status.get("ready").and_then(Value::as_bool) == Some(true) {
                summary.ready += 1;
            }
            continue;
        }
        let waiting = state(status, "waiting").map(|waiting| text(waiting, "/reason")).unwrap_or_default();
        summary.reason = match ended {
            Some(ended) => format!("Init:{}", end_reason(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", sidecars.0.len()),
        };
        side.initialising = true;
        break;
    }
    side
}

fn containers(pod: &Value, now: i64, summary: &mut Summary) {
    let mut running = false;
    // Backwards, so that the first container has the last word.
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        summary.restarts += number(status, "/restartCount");
        summary.restarted = latest(summary.restarted, last_end(status, now));
        let waiting = state(status, "waiting").map(|waiting| text(waiting, "/reason")).unwrap_or_default();
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(ended) = state(status, "terminated") {
            summary.reason = end_reason(ended);
        } else if status.get("ready").and_then(Value::as_bool) == Some(true)
            && state(status, "running").is_some()
        {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let ready = condition(pod, "Ready") == Some("True");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn end_reason(ended: &Value) -> String {
    match text(ended, "/reason") {
        "" => match number(ended, "/signal") {
            0 => format!("ExitCode:{}", number(ended, "/exitCode")),
            signal => format!("Signal:{signal}"),
        },
        reason => reason.to_owned(),
    }
}

/// Seconds since the run before the present one ended.
fn last_end(status: &Value, now: i64) -> Option<i64> {
    seconds_since(text(status, "/lastState/terminated/finishedAt"), now)
}

fn latest(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    [one, other].into_iter().flatten().min()
}
