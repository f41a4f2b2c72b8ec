//! What single writes take: those that a pod's life is made of, and those of the table.

use hyper::Method;

use crate::load::Load;
use crate::objects;
use crate::report::Report;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Each write `count` times.
pub(crate) async fn measure(report: &mut Report, load: &Load<'_>, count: usize) {
    let maps = "/api/v1/namespaces/default/configmaps";
    let made = load.run(count, |at| (Method::POST, maps.into(), objects::config_map(at))).await;
    report.row("create ConfigMap", &made);
    let made = load.run(count, |at| (Method::POST, PODS.into(), objects::pod(at))).await;
    report.row("create Pod", &made);
    let below = |at, part| format!("{PODS}/{}/{part}", objects::pod_name(at));
    let bound = load.run(count, |at| (Method::POST, below(at, "binding"), objects::binding(at))).await;
    report.row("bind a pod", &bound);
    let events = "/api/v1/namespaces/default/events";
    let told = load.run(count, |at| (Method::POST, events.into(), objects::event(at))).await;
    report.row("create Event", &told);
    let patched = load.run(count, |at| (Method::PATCH, below(at, "status"), objects::running(at))).await;
    report.row("patch the status of a pod", &patched);
}
