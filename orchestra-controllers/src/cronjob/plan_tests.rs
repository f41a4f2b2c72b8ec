use serde_json::{Value, json};

use super::*;

fn cron(spec: Value) -> CronJob {
    let mut whole = json!({"schedule": "0 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
        "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
        "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "tick", "namespace": "default", "uid": "c",
        "creationTimestamp": "2026-01-01T00:30:00Z"}, "spec": whole}))
    .unwrap()
}

fn job(name: &str, condition: Option<&str>, started: &str) -> Arc<Job> {
    let conditions: Vec<Value> = condition
        .into_iter()
        .map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": started}))
        .collect();
    let done = (condition == Some("Complete")).then_some(started);
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default", "uid": name},
            "status": {"startTime": started, "completionTime": done, "conditions": conditions}}))
        .unwrap(),
    )
}

fn active(cron: &mut CronJob, names: &[&str], last: &str) {
    let active: Vec<Value> = names.iter().map(|name| json!({"name": name, "uid": name})).collect();
    let status = json!({"active": active, "lastScheduleTime": last});
    cron.status = Some(serde_json::from_value(status).unwrap());
}

fn look(cron: &CronJob, jobs: &[Arc<Job>], gone: &[&str], now: &str) -> Vec<Action> {
    let gone = gone.iter().map(|uid| (*uid).to_owned()).collect();
    plan(&Observed { cron, jobs, gone: &gone, now: now.parse().unwrap() })
}

fn started(actions: &[Action]) -> Option<(&str, &CronJobStatus)> {
    actions.iter().find_map(|action| match action {
        Action::Start(job, status) => Some((job.name(), &**status)),
        _ => None,
    })
}

fn told(actions: &[Action]) -> Vec<&News> {
    let mut all = Vec::new();
    for action in actions {
        if let Action::Tell(news) = action {
            all.push(news);
        }
    }
    all
}

fn deleted(actions: &[Action]) -> Vec<&str> {
    let mut all = Vec::new();
    for action in actions {
        if let Action::Delete(job) = action {
            all.push(job.name());
        }
    }
    all
}

#[test]
fn nothing_happens_before_its_time_and_then_a_job_named_after_it() {
    let cron = cron(json!({"timeZone": "Europe/Berlin"}));
    let wait = Duration::from_millis(60 * 1000 + 100);
    assert_eq!(look(&cron, &[], &[], "2026-01-01T00:59:00Z"), [Action::LookAgain(wait)]);
    let actions = look(&cron, &[], &[], "2026-01-01T01:00:00.1Z");
    let [Action::LookAgain(wait), Action::Start(job, status)] = &actions[..] else { panic!("{actions:#?}") };
    assert_eq!(job.name(), format!("tick-{}", 1767229200 / 60));
    assert_eq!(job.metadata.annotations.as_ref().unwrap()[SCHEDULED], "2026-01-01T02:00:00+01:00");
    assert_eq!(job.metadata.labels.as_ref().unwrap()["a"], "b");
    assert_eq!(status.last_schedule_time, Some(Time("2026-01-01T01:00:00Z".parse().unwrap())));
    assert_eq!(*wait, Duration::from_secs(3600));
}

#[test]
fn a_time_that_was_used_is_not_used_again() {
    let mut cron = cron(json!({}));
    active(&mut cron, &[], "2026-01-01T01:00:00Z");
    assert_eq!(started(&look(&cron, &[], &[], "2026-01-01T01:00:30Z")), None);
    assert!(started(&look(&cron, &[], &[], "2026-01-01T02:00:30Z")).is_some());
}

#[test]
fn only_the_latest_of_the_missed_times_is_made_up_for() {
    let late = look(&cron(json!({})), &[], &[], "2026-01-01T05:59:00Z");
    let last =
        |actions: &[Action]| started(actions).and_then(|(_, status)| status.last_schedule_time.clone());
    assert_eq!(last(&late), Some(Time("2026-01-01T05:00:00Z".parse().unwrap())));
    assert!(told(&late).is_empty());
    let very_late = look(&cron(json!({})), &[], &[], "2026-01-08T05:59:00Z");
    assert_eq!(last(&very_late), Some(Time("2026-01-08T05:00:00Z".parse().unwrap())));
    assert_eq!(told(&very_late), [&News::TooManyMissed]);
    // With a deadline the starts before it do not count as missed.
    let limited = look(&cron(json!({"startingDeadlineSeconds": 600})), &[], &[], "2026-01-08T05:05:00Z");
    assert!(started(&limited).is_some() && told(&limited).is_empty());
    let over = look(&cron(json!({"startingDeadlineSeconds": 600})), &[], &[], "2026-01-08T05:15:00Z");
    assert_eq!(started(&over), None);
}

#[test]
fn an_earlier_job_lets_stops_or_yields_to_the_next() {
    for (policy, starts, deletes) in
        [("Allow", true, false), ("Forbid", false, false), ("Replace", true, true)]
    {
        let mut cron = cron(json!({"concurrencyPolicy": policy}));
        active(&mut cron, &["tick-1"], "2026-01-01T01:00:00Z");
        let actions =
            look(&cron, &[job("tick-1", None, "2026-01-01T01:00:00Z")], &[], "2026-01-01T02:00:00Z");
        assert_eq!(started(&actions).is_some(), starts, "{policy}");
        assert_eq!(!deleted(&actions).is_empty(), deletes, "{policy}");
        assert_eq!(told(&actions).contains(&&News::AlreadyActive), policy == "Forbid");
        if let Some((_, status)) = started(&actions) {
            assert_eq!(status.active.is_none(), deletes, "{policy}");
        }
    }
}

#[test]
fn jobs_that_ended_or_vanished_leave_the_list() {
    let mut cron = cron(json!({}));
    active(&mut cron, &["a", "b", "c"], "2026-01-01T01:00:00Z");
    let jobs = [job("a", Some("Complete"), "2026-01-01T01:05:00Z"), job("b", None, "2026-01-01T01:00:00Z")];
    let actions = look(&cron, &jobs, &["c"], "2026-01-01T01:10:00Z");
    let complete = News::Completed("a".into(), "Complete".into());
    assert_eq!(told(&actions), [&complete, &News::Missing("c".into())]);
    let status = actions.iter().find_map(|action| match action {
        Action::SetStatus(status) => Some(status),
        _ => None,
    });
    let status = status.unwrap();
    assert_eq!(status.active.as_ref().unwrap().len(), 1);
    assert_eq!(status.last_successful_time, Some(Time("2026-01-01T01:05:00Z".parse().unwrap())));
}

#[test]
fn the_history_keeps_the_youngest() {
    let mut cron = cron(json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}));
    active(&mut cron, &[], "2026-01-01T01:00:00Z");
    let jobs = [
        job("new", Some("Complete"), "2026-01-01T01:03:00Z"),
        job("old", Some("Complete"), "2026-01-01T01:01:00Z"),
        job("bad", Some("Failed"), "2026-01-01T01:02:00Z"),
    ];
    assert_eq!(deleted(&look(&cron, &jobs, &[], "2026-01-01T01:10:00Z")), ["old", "bad"]);
}

#[test]
fn suspended_deleted_or_unreadable_ones_start_nothing() {
    let at = "2026-01-01T05:00:00Z";
    assert_eq!(look(&cron(json!({"suspend": true})), &[], &[], at), []);
    let zone = look(&cron(json!({"timeZone": "Mars/Olympus"})), &[], &[], at);
    assert_eq!(told(&zone), [&News::UnknownZone("Mars/Olympus".into())]);
    let never = look(&cron(json!({"schedule": "0 0 31 2 *"})), &[], &[], at);
    assert!(matches!(told(&never)[..], [News::Invalid(..)]) && never.len() == 1);
    let mut going = cron(json!({}));
    going.metadata.deletion_timestamp = Some(Time(at.parse().unwrap()));
    assert_eq!(look(&going, &[], &[], at), []);
}

#[test]
fn a_job_that_runs_unasked_is_told_and_one_of_a_life_before_taken_in() {
    let mut cron = cron(json!({}));
    active(&mut cron, &[], "2026-01-01T01:00:00Z");
    let strange = [job("strange", None, "2026-01-01T01:00:00Z")];
    assert_eq!(
        told(&look(&cron, &strange, &[], "2026-01-01T01:10:00Z")),
        [&News::Unexpected("strange".into())]
    );
    let name = format!("tick-{}", 1767232800 / 60);
    let mut made = Job::clone(&job(&name, None, "2026-01-01T02:00:00Z"));
    made.metadata.annotations = Some([(SCHEDULED.to_owned(), "2026-01-01T02:00:00Z".to_owned())].into());
    let actions = look(&cron, &[Arc::new(made)], &[], "2026-01-01T02:00:01Z");
    let [Action::LookAgain(_), Action::SetStatus(status)] = &actions[..] else { panic!("{actions:#?}") };
    assert_eq!(status.active.as_ref().unwrap()[0].name.as_ref(), Some(&name));
    assert_eq!(status.last_schedule_time, Some(Time("2026-01-01T02:00:00Z".parse().unwrap())));
}
