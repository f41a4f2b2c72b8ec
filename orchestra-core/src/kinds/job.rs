//! `Job`, and the specification that `CronJob` holds as a template.

use serde_json::{Value, json};

use super::frame::cells::{self, Show, column, human, list, number, seconds_since, text};
use super::frame::check::{one_of, unchanged};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::workload::{self, counts};
use super::{job_policy, labels};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// How often a pod is tried again.
const BACKOFF_LIMIT: i64 = 6;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("batch", "v1"), "Job", "jobs", Scope::Namespaced)
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({}))
        .default(default)
        .prepare_create(generate_selector)
        .validate(|job, out| validate(out, &job.get("spec")))
        .validate_create(|job, out| {
            let spec = job.get("spec");
            let held = spec.get("template").get("metadata").get("labels");
            if !labels::says_something(&spec.get("selector")) {
                out.push(Violation::required(spec.get("selector").path(), ""));
            } else if !labels::matches(&spec.get("selector"), &held) {
                workload::refuse_labels(out, &held);
            }
            job_policy::hostnames(out, job);
        })
        .validate_change(change)
        .validate_status(|new, _, out| {
            counts(out, &new.get("status"), &["active", "succeeded", "failed", "ready", "terminating"]);
        })
        .fields(&["status.successful"])
        .field_value(|job, _| Some(number(job, "/status/succeeded").to_string().into()))
        .columns(columns())
}

/// After `SetDefaults_Job`.
fn default(job: &mut Object) {
    let spec = job.object("spec");
    default_template(spec);
    if !spec.has("completions") && !spec.has("parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    spec.fill("parallelism", 1);
    let each = spec.has("backoffLimitPerIndex");
    spec.fill("backoffLimit", if each { i64::from(i32::MAX) } else { BACKOFF_LIMIT });
    spec.fill("completionMode", "NonIndexed");
    spec.fill("suspend", false);
    spec.fill("manualSelector", false);
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    spec.fill("podReplacementPolicy", replacement);
    default_labels(job);
}

/// A job without labels has those of its pods.
fn default_labels(job: &mut Object) {
    let template = job.object("spec").object("template");
    let held = template.object("metadata").get("labels").filter(|labels| labels.is_object()).cloned();
    let metadata = job.object("metadata");
    if !metadata.has("labels") {
        held.into_iter().for_each(|held| {
            metadata.insert("labels".to_owned(), held);
        });
    }
    job.object("status");
}

/// Defaults of the pods of a job.
pub(crate) fn default_template(spec: &mut Object) {
    workload::default_template(spec, "template");
    let rules = spec.object_if("podFailurePolicy");
    for rule in rules.into_iter().flat_map(|policy| policy.objects("rules")) {
        for condition in rule.objects("onPodConditions") {
            condition.fill_text("status", "True");
        }
    }
}

/// Pods of a job are told from those of all others by the job's own uid, unless the user takes care of that.
fn generate_selector(job: &mut Object) {
    let manual = job.object("spec").get("manualSelector") == Some(&true.into());
    let (uid, name) = {
        let metadata = job.object("metadata");
        (metadata.text("uid").to_owned(), metadata.text("name").to_owned())
    };
    if manual || uid.is_empty() {
        return;
    }
    let spec = job.object("spec");
    let held = spec.object("template").object("metadata").object("labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        held.insert(key.to_owned(), value.as_str().into());
    }
    let own = spec.object("selector").object("matchLabels");
    own.insert("batch.kubernetes.io/controller-uid".to_owned(), uid.into());
    // As upstream, where what was stored is given its defaults when it is read.
    default_labels(job);
}

/// After `validateJobSpec`.
pub(crate) fn validate(out: &mut Violations, spec: &View) {
    let numbers =
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];
    counts(out, spec, &numbers);
    counts(out, spec, &["backoffLimitPerIndex", "maxFailedIndexes"]);
    one_of(out, &spec.get("completionMode"), &["Indexed", "NonIndexed"]);
    job_policy::indexes(out, spec);
    job_policy::managed_by(out, &spec.get("managedBy"));
    job_policy::failure(out, spec);
    job_policy::success(out, spec);
    job_policy::replacement(out, spec);
    labels::selector(out, &spec.get("selector"));
    let template = spec.get("template");
    workload::template(out, &template);
    let policy = template.get("spec").get("restartPolicy");
    if !matches!(policy.text(), "OnFailure" | "Never") {
        out.push(Violation::not_supported(policy.path(), policy.text(), &["OnFailure", "Never"]));
    }
}

fn change(new: &View, old: &View, out: &mut Violations) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let indexed = before.get("completionMode").text() == "Indexed";
    let elastic = indexed
        && spec.get("completions").int() == spec.get("parallelism").int()
        && before.get("completions").is_set();
    if !elastic {
        unchanged(out, &spec.get("completions"), &before.get("completions"));
    }
    for field in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "successPolicy",
        "backoffLimitPerIndex",
        "managedBy",
    ] {
        unchanged(out, &spec.get(field), &before.get(field));
    }
    // A suspended job that never ran may still be told where its pods go.
    let waiting = before.get("suspend").flag() && !old.get("status").get("startTime").is_set();
    if !waiting {
        unchanged(out, &spec.get("template"), &before.get("template"));
    }
}

fn columns() -> Vec<Show> {
    let mut columns = vec![
        cells::name(),
        column("Status", "string", "How the job stands, in one word.", |job, _| status(job).into()),
        column("Completions", "string", "How many pods ended well, of how many.", |job, _| {
            completions(job).into()
        }),
        column("Duration", "string", "How long it took, or runs.", |job, now| duration(job, now).into()),
        cells::age(),
    ];
    columns.extend(workload::wide_columns());
    columns.push(workload::selector_column());
    columns
}

fn status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        list(job, "/status/conditions")
            .iter()
            .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
    };
    let deleted = !text(job, "/metadata/deletionTimestamp").is_empty();
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if deleted => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let done = number(job, "/status/succeeded");
    match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(job, "/spec/parallelism") {
            pods if pods > 1 => format!("{done}/1 of {pods}"),
            _ => format!("{done}/1"),
        },
    }
}

fn duration(job: &Value, now: i64) -> String {
    let Some(start) = seconds_since(text(job, "/status/startTime"), now) else { return String::new() };
    let end = seconds_since(text(job, "/status/completionTime"), now).unwrap_or_default();
    human(start - end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn job() -> Value {
        json!({
            "metadata": {"name": "j", "namespace": "n", "uid": "u"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
        })
    }

    #[test]
    fn a_bare_job_runs_once_and_tries_six_times() {
        let object = defaulted(kind(), job());
        let spec = &object["spec"];
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
        assert_eq!((&spec["completionMode"], &spec["suspend"]), (&json!("NonIndexed"), &json!(false)));
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
    }

    #[test]
    fn a_new_job_selects_its_own_pods() {
        let kind = served(kind());
        let mut object = job();
        kind.default(&mut object);
        kind.prepare_create(&mut object);
        assert_eq!(
            object["spec"]["selector"]["matchLabels"],
            json!({"batch.kubernetes.io/controller-uid": "u"})
        );
        assert_eq!(object["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
        assert_eq!(kind.validate_create(&object), []);
    }

    #[test]
    fn pods_of_a_job_end() {
        let mut object = job();
        object["spec"]["template"]["spec"].as_object_mut().unwrap().remove("restartPolicy");
        object["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
        object["spec"]["template"]["metadata"] = json!({"labels": {"a": "b"}});
        assert_eq!(
            said(kind(), object),
            [
                r#"spec.template.spec.restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never""#
            ]
        );
    }

    #[test]
    fn a_row_tells_how_far_it_is() {
        let mut object = job();
        object["spec"]["completions"] = 3.into();
        object["status"] = json!({"succeeded": 1, "startTime": "1970-01-01T00:00:00Z"});
        assert_eq!(served(kind()).row(&object, 30)[1..4], ["Running", "1/3", "30s"].map(Value::from));
    }
}
