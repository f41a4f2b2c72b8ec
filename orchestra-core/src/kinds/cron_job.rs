//! `CronJob`.

use serde_json::{Value, json};

use super::frame::cells::{self, Show, column, list, or_none, since, text};
use super::frame::check::{refuse, required, required_one_of};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::workload::{self, counts};
use super::{job, labels};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// A job's name has eleven characters more than its cron job's.
const MAX_NAME: usize = 52;
/// Each part of a schedule: its name in messages, least and most, and names for its numbers.
const PARTS: [(i64, i64, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

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
        } else if let Err(detail) = readable(schedule.text()) {
            refuse(out, &schedule, detail);
        }
    }
    let zone = spec.get("timeZone");
    if zone.is_set() {
        if zone.text().is_empty() {
            refuse(out, &zone, "timeZone must be nil or non-empty string");
        } else if zone.text().eq_ignore_ascii_case("local") {
            refuse(
                out,
                &zone,
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            );
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

/// Whether a schedule can be read: five parts, or one of the words that stand for them.
fn readable(schedule: &str) -> Result<(), String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let known =
            ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        return match known || word.starts_with("every ") {
            true => Ok(()),
            false => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if parts.len() != PARTS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    for (part, (least, most, names)) in parts.iter().zip(PARTS) {
        for range in part.split(',') {
            in_range(range, least, most, names)?;
        }
    }
    Ok(())
}

fn in_range(range: &str, least: i64, most: i64, names: &[&str]) -> Result<(), String> {
    let (span, step) = match range.split_once('/') {
        Some((span, step)) => (span, Some(step)),
        None => (range, None),
    };
    if step.is_some_and(|step| !step.parse::<u32>().is_ok_and(|step| step > 0)) {
        return Err(format!(
            "failed to parse int from {}: step of range should be a positive number: {range}",
            step.unwrap_or_default()
        ));
    }
    if matches!(span, "*" | "?") {
        return Ok(());
    }
    let value = |text: &str| -> Result<i64, String> {
        let named =
            names.iter().position(|name| text.eq_ignore_ascii_case(name)).map(|index| index as i64 + least);
        named.or_else(|| text.parse().ok()).ok_or_else(|| {
            format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
        })
    };
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (value(first)?, value(last)?),
        None => (value(span)?, value(span)?),
    };
    if first < least {
        return Err(format!("beginning of range ({first}) below minimum ({least}): {range}"));
    }
    if last > most {
        return Err(format!("end of range ({last}) above maximum ({most}): {range}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {range}"));
    }
    Ok(())
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
    fn schedules_are_read_as_cron_reads_them() {
        for schedule in ["* * * * *", "*/5 0-6 1,15 jan-jun mon", "@daily", "0 0 * * 7"] {
            assert_eq!(readable(schedule), Ok(()), "{schedule}");
        }
        for schedule in
            ["* * * *", "60 * * * *", "* * * * mondays", "*/0 * * * *", "@sometimes", "5-1 * * * *"]
        {
            assert!(readable(schedule).is_err(), "{schedule}");
        }
        assert_eq!(readable("60 * * * *"), Err("end of range (60) above maximum (59): 60".to_owned()));
    }

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
