//! `CronJob`.

use serde_json::{Value, json};

use super::frame::cells::{self, Show, column, list, or_none, since, text};
use super::frame::check::{refuse, required, required_one_of};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::workload::{self, counts};
use super::{job, labels};
use crate::cron::{Schedule, zone};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// A job's name has eleven characters more than its cron job's.
const MAX_NAME: usize = 52;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("batch", "v1"), "CronJob", "cronjobs", Scope::Namespaced)
        .short_names(&["cj"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({}))
        .default(default)
        .validate(|cron, out| validate(out, &cron.get("spec")))
        .validate_create(|cron, out| {
            let name = cron.get("metadata").get("name");
            if name.text().len() > MAX_NAME {
                refuse(out, &name, format!("must be no more than {MAX_NAME} characters"));
            }
        })
        .columns(columns())
}

fn default(cron: &mut Object) {
    let spec = cron.object("spec");
    spec.fill_text("concurrencyPolicy", "Allow");
    spec.fill("suspend", false);
    spec.fill("successfulJobsHistoryLimit", 3);
    spec.fill("failedJobsHistoryLimit", 1);
    let template = spec.object("jobTemplate");
    template.object("metadata");
    job::default_template(template.object("spec"));
    cron.object("status");
}

fn validate(out: &mut Violations, spec: &View) {
    let schedule = spec.get("schedule");
    if required(out, &schedule) {
        if schedule.text().contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            refuse(out, &schedule, detail);
        } else if let Err(detail) = Schedule::parse(schedule.text()) {
            refuse(out, &schedule, detail);
        }
    }
    let named = spec.get("timeZone");
    if named.is_set() {
        if named.text().is_empty() {
            refuse(out, &named, "timeZone must be nil or non-empty string");
        } else if named.text().eq_ignore_ascii_case("local") {
            refuse(
                out,
                &named,
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            );
        } else if zone(named.text()).is_none() {
            refuse(out, &named, format!("unknown time zone {}", named.text()));
        }
    }
    counts(out, spec, &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
    required_one_of(out, &spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let template = spec.get("jobTemplate").get("spec");
    if template.get("manualSelector").flag() {
        let place = template.get("manualSelector");
        out.push(Violation::not_supported(place.path(), true, &["nil", "false"]));
    }
    job::validate(out, &template);
}

fn columns() -> Vec<Show> {
    vec![
        cells::name(),
        column("Schedule", "string", "When jobs are made.", |cron, _| text(cron, "/spec/schedule").into()),
        column("Timezone", "string", "Whose clock is meant.", |cron, _| {
            or_none(text(cron, "/spec/timeZone")).into()
        }),
        column("Suspend", "boolean", "Whether no jobs are made.", |cron, _| {
            let suspended = cron.pointer("/spec/suspend").and_then(Value::as_bool);
            suspended.map_or("<unset>", |suspended| if suspended { "True" } else { "False" }).into()
        }),
        column("Active", "integer", "How many jobs run.", |cron, _| {
            list(cron, "/status/active").len().into()
        }),
        column("Last Schedule", "string", "When a job was last made.", |cron, now| {
            match text(cron, "/status/lastScheduleTime") {
                "" => "<none>".into(),
                time => since(time, now).into(),
            }
        }),
        cells::age(),
        column("Containers", "string", "The names of the containers.", |cron, _| {
            workload::containers(cron, "/spec/jobTemplate/spec/template", "/name").into()
        })
        .wide(),
        column("Images", "string", "The images of the containers.", |cron, _| {
            workload::containers(cron, "/spec/jobTemplate/spec/template", "/image").into()
        })
        .wide(),
        column("Selector", "string", "The labels of the pods.", |cron, _| {
            labels::show_selector(cron.pointer("/spec/jobTemplate/spec/selector")).into()
        })
        .wide(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::said;

    #[test]
    fn the_pods_of_its_jobs_are_checked_too() {
        let spec = json!({
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}},
        });
        assert_eq!(
            said(kind(), json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec})),
            ["spec.jobTemplate.spec.template.spec.containers[0].image: Required value"]
        );
    }
}
