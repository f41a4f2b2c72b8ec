//! Probes and lifecycle hooks: what the node agent does to a container from outside.

use super::Context;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{
    not_negative, one_of, port_number, port_number_or_name, refuse, refuse_all, required, required_one_of,
};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Which probe; their rules differ a little.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    Liveness,
    Readiness,
    Startup,
}

/// A probe, if there is one.
pub(super) fn probe(out: &mut Violations, probe: &View, which: Probe) {
    if !probe.is_set() {
        return;
    }
    handler(out, probe, &["exec", "httpGet", "tcpSocket", "grpc"], None);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        not_negative(out, &probe.get(field));
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        refuse(out, &grace, "must be greater than 0");
    }
    let successes = probe.get("successThreshold");
    match which {
        Probe::Readiness if grace.is_set() => refuse(out, &grace, "must not be set for readinessProbes"),
        Probe::Liveness | Probe::Startup if successes.int() != Some(1) => {
            refuse(out, &successes, "must be 1")
        }
        _ => (),
    }
}

/// The hooks of a container. A hook cannot sleep longer than the pod has time to end.
pub(super) fn lifecycle(out: &mut Violations, lifecycle: &View, context: &Context) {
    for field in ["postStart", "preStop"] {
        let hook = lifecycle.get(field);
        if hook.is_set() {
            handler(out, &hook, &["exec", "httpGet", "tcpSocket", "sleep"], Some(context.grace_seconds));
        }
    }
    stop_signal(out, &lifecycle.get("stopSignal"), context.os);
}

/// The signal a container is stopped with, which depends on what it runs on.
fn stop_signal(out: &mut Violations, signal: &View, os: &str) {
    if !signal.is_set() {
        return;
    }
    if os.is_empty() {
        let detail = "may not be set for containers with empty `spec.os.name`";
        out.push(Violation::forbidden(signal.path(), detail));
    } else if os == "windows" {
        one_of(out, signal, &["SIGKILL", "SIGTERM"]);
    } else if !is_linux_signal(signal.text()) {
        let known: Vec<String> = linux_signals().collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        out.push(Violation::not_supported(signal.path(), signal.text(), &known));
    }
}

fn is_linux_signal(signal: &str) -> bool {
    linux_signals().any(|known| known == signal)
}

/// Signals by name, and those for programs' own use, counted up from the lowest and down from the highest.
fn linux_signals() -> impl Iterator<Item = String> {
    const PLAIN: [&str; 33] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
    ];
    let plain = PLAIN.iter().map(|name| format!("SIG{name}"));
    let low = (1..=15).map(|number| format!("SIGRTMIN+{number}"));
    let high = (1..=14).map(|number| format!("SIGRTMAX-{number}"));
    let ends = ["SIGRTMIN", "SIGRTMAX", "SIGXFSZ"].map(str::to_owned);
    let mut all: Vec<String> = plain.chain(low).chain(high).chain(ends).collect();
    all.sort_unstable();
    all.into_iter()
}

fn handler(out: &mut Violations, holder: &View, kinds: &[&'static str], grace_seconds: Option<i64>) {
    let mut count = 0;
    for &kind in kinds {
        let action = holder.get(kind);
        if !action.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            out.push(Violation::forbidden(action.path(), "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" => {
                required(out, &action.get("command"));
            }
            "httpGet" => http_get(out, &action),
            "tcpSocket" => port_number_or_name(out, &action.get("port")),
            "grpc" => port_number(out, &action.get("port")),
            _ => sleep(out, &action, grace_seconds.unwrap_or_default()),
        }
    }
    if count == 0 {
        out.push(Violation::required(holder.path(), "must specify a handler type"));
    }
}

fn http_get(out: &mut Violations, get: &View) {
    required(out, &get.get("path"));
    port_number_or_name(out, &get.get("port"));
    required_one_of(out, &get.get("scheme"), &["HTTP", "HTTPS"]);
    for header in get.get("httpHeaders").items() {
        let own = header.get("name");
        let messages = name::is_http_header_name(own.text());
        refuse_all(out, &own, messages);
    }
}

fn sleep(out: &mut Violations, sleep: &View, grace_seconds: i64) {
    let seconds = sleep.get("seconds").int().unwrap_or_default();
    if seconds < 0 || seconds > grace_seconds {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
        out.push(Violation::invalid(sleep.path(), seconds, detail));
    }
}
