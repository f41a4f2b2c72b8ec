//! Bugs that are planted, each where a controller of that kind once had one, and that storms must find.
//!
//! They cost the product nothing: each is somebody who tampers with what one component reads or writes.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use kube::client::Body;
use orchestra::world::storm::{Kind, Recipe, Storms};
use orchestra::world::{CONTROLLERS, Tamper, Tampered, WriteLog};
use serde_json::json;

/// Within so many storms a bug must be found.
const SEEDS: u64 = 1_000;

/// The controllers read other texts than stand there, in what is below a path.
struct Misread {
    path: &'static str,
    words: &'static [(&'static str, &'static str)],
}

impl Tamper for Misread {
    fn request(&self, _: &str, request: Request<Body>, _: &WriteLog) -> Tampered {
        Tampered::Pass(request)
    }

    fn said(&self, component: &str, path: &str, piece: Bytes) -> Bytes {
        if !component.starts_with(CONTROLLERS) || !path.ends_with(self.path) {
            return piece;
        }
        let text = String::from_utf8_lossy(&piece);
        let misread = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        self.words.iter().fold(text.into_owned(), misread).into()
    }
}

/// What becomes of a write.
enum Slip {
    /// It is made twice.
    Twice,
    /// It is not made, and taken to be.
    Skipped,
}

/// Some writes of the controllers slip.
struct Slips {
    method: Method,
    is_meant: fn(&str) -> bool,
    slip: Slip,
}

impl Tamper for Slips {
    fn request(&self, component: &str, request: Request<Body>, _: &WriteLog) -> Tampered {
        if !component.starts_with(CONTROLLERS)
            || request.method() != self.method
            || !(self.is_meant)(request.uri().path())
        {
            return Tampered::Pass(request);
        }
        match self.slip {
            Slip::Twice => Tampered::Twice(request),
            Slip::Skipped => Tampered::json(
                StatusCode::OK,
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
            ),
        }
    }

    fn said(&self, _: &str, _: &str, piece: Bytes) -> Bytes {
        piece
    }
}

/// What is done once a bug is found.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Shrink,
}

/// Finds the bug by storms in which users favour a kind.
fn is_found(
    invariant: &str,
    favours: Option<Kind>,
    then: Then,
    plant: impl Fn() -> Box<dyn Tamper> + 'static,
) {
    is_found_from(0, invariant, favours, then, plant);
}

/// The same for a bug that shows late: all storms are there to find it, and the search begins where it was found before.
fn is_found_from(
    first: u64,
    invariant: &str,
    favours: Option<Kind>,
    then: Then,
    plant: impl Fn() -> Box<dyn Tamper> + 'static,
) {
    let mut recipe = Recipe::default();
    recipe.favours = favours;
    let storms = Storms::new(recipe).world(move |world| world.tamper(plant()));
    let found = (first..SEEDS)
        .chain(0..first)
        .map(|seed| storms.run(seed))
        .find(|report| report.violations.first().is_some_and(|violation| violation.invariant == invariant));
    let found = found.unwrap_or_else(|| panic!("not found within {SEEDS} storms"));
    eprintln!("found by storm {}: {}", found.seed, found.violations[0]);
    if then == Then::Shrink {
        let steps = found.steps.len();
        let least = storms.shrink(found);
        eprintln!("{steps} steps shrank to {}:\n{least}", least.steps.len());
        assert!(least.steps.len() <= 3);
    }
}

fn misread(
    path: &'static str,
    words: &'static [(&'static str, &'static str)],
) -> impl Fn() -> Box<dyn Tamper> {
    move || Box::new(Misread { path, words })
}

fn slip(method: Method, is_meant: fn(&str) -> bool, slip: fn() -> Slip) -> impl Fn() -> Box<dyn Tamper> {
    move || Box::new(Slips { method: method.clone(), is_meant, slip: slip() })
}

const ROLLOUTS: &str = "rollouts stay within maxSurge and maxUnavailable";

#[test]
fn a_deployment_that_takes_more_surge_than_it_has_is_found() {
    is_found(
        ROLLOUTS,
        Some(Kind::Deployment),
        Then::Shrink,
        misread("/deployments", &[(r#""maxSurge":1"#, r#""maxSurge":3"#)]),
    );
}

#[test]
fn a_deployment_that_gives_up_more_than_it_may_is_found() {
    is_found(
        ROLLOUTS,
        Some(Kind::Deployment),
        Then::Nothing,
        misread("/deployments", &[(r#""maxUnavailable":0"#, r#""maxUnavailable":2"#)]),
    );
}

#[test]
fn a_recreation_that_does_not_wait_is_found() {
    is_found_from(
        16,
        ROLLOUTS,
        Some(Kind::Deployment),
        Then::Nothing,
        misread(
            "/deployments",
            &[(
                r#""strategy":{"type":"Recreate"}"#,
                r#""strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":1},"type":"RollingUpdate"}"#,
            )],
        ),
    );
}

#[test]
fn pods_that_are_made_twice_are_found() {
    is_found(
        "no more pods than asked for",
        None,
        Then::Shrink,
        slip(Method::POST, |path| path.ends_with("/pods"), || Slip::Twice),
    );
}

#[test]
fn a_stateful_set_that_does_not_wait_is_found() {
    is_found(
        "StatefulSets keep their order",
        Some(Kind::StatefulSet),
        Then::Nothing,
        misread("/statefulsets", &[("OrderedReady", "Parallel")]),
    );
}

#[test]
fn a_budget_that_is_read_as_a_smaller_one_is_found() {
    is_found_from(
        120,
        "evictions keep to budgets",
        Some(Kind::PodDisruptionBudget),
        Then::Nothing,
        misread(
            "/poddisruptionbudgets",
            &[
                (r#""minAvailable":1"#, r#""minAvailable":0"#),
                (r#""minAvailable":2"#, r#""minAvailable":0"#),
                (r#""maxUnavailable":1"#, r#""maxUnavailable":9"#),
                (r#""maxUnavailable":2"#, r#""maxUnavailable":9"#),
            ],
        ),
    );
}

#[test]
fn collections_that_are_skipped_are_found() {
    let is_set = |path: &str| path.contains("/replicasets/");
    is_found(
        "nothing outlives its owner",
        None,
        Then::Nothing,
        slip(Method::DELETE, is_set, || Slip::Skipped),
    );
}

#[test]
fn a_success_that_is_taken_for_a_failure_is_found() {
    is_found(
        "each completion of a Job once",
        Some(Kind::Job),
        Then::Nothing,
        misread("/pods", &[(r#""phase":"Succeeded""#, r#""phase":"Running""#)]),
    );
}

#[test]
fn slices_that_are_not_kept_up_are_found() {
    let is_slice = |path: &str| path.contains("/endpointslices/");
    is_found(
        "what was asked for comes to be",
        Some(Kind::Service),
        Then::Nothing,
        slip(Method::PUT, is_slice, || Slip::Skipped),
    );
}

#[test]
fn a_quota_that_forgets_what_is_used_is_found() {
    is_found(
        "quotas are not exceeded",
        Some(Kind::ResourceQuota),
        Then::Nothing,
        misread("/pods", &[(r#""namespace":"shop""#, r#""namespace":"elsewhere""#)]),
    );
}

#[test]
fn a_daemon_set_that_passes_over_a_node_is_found() {
    is_found(
        "one pod of a DaemonSet on each node",
        Some(Kind::DaemonSet),
        Then::Nothing,
        misread("/nodes", &[(r#""name":"node-2""#, r#""name":"node-9""#)]),
    );
}

#[test]
fn an_autoscaler_that_takes_its_bound_for_a_greater_one_is_found() {
    is_found(
        "autoscalers keep to their bounds",
        Some(Kind::HorizontalPodAutoscaler),
        Then::Nothing,
        misread("/horizontalpodautoscalers", &[(r#""maxReplicas":"#, r#""maxReplicas":1"#)]),
    );
}

#[test]
fn a_stateful_set_that_does_not_keep_its_claims_is_found() {
    is_found_from(
        24,
        "claims keep their volumes",
        Some(Kind::StatefulSet),
        Then::Nothing,
        misread("/statefulsets", &[(r#""Retain""#, r#""Delete""#)]),
    );
}
