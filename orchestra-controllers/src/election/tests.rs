use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::plan::given_up;
use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn held_by(holder: &str, renewed: &str) -> LeaseSpec {
    let time = |text: &str| Some(MicroTime(text.parse().unwrap()));
    LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(15),
        acquire_time: time("2026-01-01T00:00:00Z"),
        renew_time: time(renewed),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    }
}

fn plan_for(lease: Option<&LeaseSpec>, unchanged_for: u64) -> Step {
    plan(&Observed {
        identity: "me",
        lease,
        unchanged_for: Duration::from_secs(unchanged_for),
        timing: Timing::default(),
        now: NOW.parse().unwrap(),
    })
}

#[test]
fn the_first_candidate_makes_the_lease() {
    let Step::Create(spec) = plan_for(None, 0) else { panic!() };
    let time = Some(MicroTime(NOW.parse().unwrap()));
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert_eq!((&spec.acquire_time, &spec.renew_time), (&time, &time));
}

#[test]
fn a_holder_renews_without_a_transition() {
    let held = held_by("me", NOW);
    let Step::Update(spec) = plan_for(Some(&held), 100) else { panic!() };
    assert_eq!(spec.acquire_time, held.acquire_time);
    assert_eq!(spec.lease_transitions, Some(3));
}

/// The holder's clock may be an hour behind or a year ahead; only how long the Lease has not changed counts.
#[test]
fn how_old_a_lease_is_goes_by_the_candidates_own_clock() {
    for renewed in ["2026-01-01T00:00:00Z", NOW, "2027-01-01T00:00:00Z"] {
        let held = held_by("other", renewed);
        assert_eq!(plan_for(Some(&held), 0), Step::Wait(Duration::from_secs(15)));
        assert_eq!(plan_for(Some(&held), 14), Step::Wait(Duration::from_secs(1)));
        let Step::Update(spec) = plan_for(Some(&held), 15) else { panic!() };
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!(spec.acquire_time, Some(MicroTime(NOW.parse().unwrap())));
        assert_eq!(spec.lease_transitions, Some(4));
    }
}

/// Each says in the Lease how long it is to last, and the others abide by that.
#[test]
fn a_lease_lasts_as_long_as_its_holder_says() {
    let held = LeaseSpec { lease_duration_seconds: Some(60), ..held_by("other", NOW) };
    assert_eq!(plan_for(Some(&held), 20), Step::Wait(Duration::from_secs(40)));
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let left = given_up(&held_by("other", NOW), NOW.parse().unwrap());
    assert_eq!((left.holder_identity.as_deref(), left.lease_duration_seconds), (Some(""), Some(1)));
    let Step::Update(spec) = plan_for(Some(&left), 0) else { panic!() };
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(4), Some(15)));
}

#[test]
fn times_that_would_let_two_lead_are_refused() {
    let said = |lease, deadline, retry| {
        let timing = Timing::new(
            Duration::from_millis(lease),
            Duration::from_millis(deadline),
            Duration::from_millis(retry),
        );
        timing.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(said(15_000, 10_000, 2_000), Ok(()));
    let wrong = |text: &str| Err(text.to_owned());
    assert_eq!(
        said(10_000, 10_000, 2_000),
        wrong("the lease duration must be greater than the renew deadline")
    );
    assert_eq!(
        said(15_000, 2_400, 2_000),
        wrong("the renew deadline must be greater than 1.2 times the retry period")
    );
    assert_eq!(said(15_500, 10_000, 2_000), wrong("the lease duration must be a number of whole seconds"));
    assert_eq!(said(15_000, 10_000, 0), wrong("the retry period must be greater than zero"));
}
