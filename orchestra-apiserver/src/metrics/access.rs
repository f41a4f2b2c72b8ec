//! Who asked, and whether they might: how often, and how long it took to find out.

use std::fmt;

use orchestra_metrics::{Family, Histogram, exponential, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::auth::{Decision, User};
use crate::status::StatusError;

const SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);

/// How many names of users are told apart: those of [`class_of`].
const MOST_CLASSES: usize = 8;

const AUTHENTICATED: [&str; 3] = ["success", "failure", "error"];
const AUTHORIZED: [&str; 3] = ["allowed", "no-opinion", "error"];

/// Authentication and authorization. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct AccessMetrics {
    authenticated: [Histogram; AUTHENTICATED.len()],
    authorized: [Histogram; AUTHORIZED.len()],
    users: Family<&'static str, Counter>,
}

impl Default for AccessMetrics {
    fn default() -> Self {
        Self {
            authenticated: AUTHENTICATED.map(|_| Histogram::new(SECONDS)),
            authorized: AUTHORIZED.map(|_| Histogram::new(SECONDS)),
            users: Family::new(MOST_CLASSES, "other", Counter::default),
        }
    }
}

impl AccessMetrics {
    /// A search for who asks, begun at `begun`, ended with this.
    pub(crate) fn authenticated(&self, begun: Instant, outcome: &Result<User, StatusError>) {
        let [success, failure, error] = &self.authenticated;
        let result = match outcome {
            Ok(user) => {
                self.users.of(&class_of(&user.name)).inc();
                success
            }
            Err(problem) if problem.code() == http::StatusCode::UNAUTHORIZED => failure,
            Err(_) => error,
        };
        result.observe_duration(begun.elapsed());
    }

    /// A decision, begun at `begun`, came to this.
    pub(crate) fn authorized(&self, begun: Instant, outcome: &Result<Decision, StatusError>) {
        let [allowed, no_opinion, error] = &self.authorized;
        let result = match outcome {
            Ok(Decision::Allow(_)) => allowed,
            // That nobody allowed it is what upstream's authorizers say, too; none of them ever forbids.
            Ok(Decision::Deny(_)) => no_opinion,
            Err(_) => error,
        };
        result.observe_duration(begun.elapsed());
    }
}

/// The few names that upstream shows; all others are of one class, so that nobody's name is told and none makes a series.
fn class_of(name: &str) -> &'static str {
    match name {
        "admin" => "admin",
        "client" => "client",
        "kube_proxy" => "kube_proxy",
        "kubelet" => "kubelet",
        "system:serviceaccount:kube-system:default" => "system:serviceaccount:kube-system:default",
        name if name.contains('@') => "email_id",
        _ => "other",
    }
}

impl Collector for AccessMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[ALPHA] Counter of authenticated requests broken out by username.";
        let users = self.users.all();
        let requests = users.iter().map(|(class, counter)| ([("username", *class)], counter.get()));
        write::counter(out, "authenticated_user_requests", help, requests)?;
        let help = "[ALPHA] Counter of authenticated attempts.";
        write::counter(out, "authentication_attempts", help, counts(AUTHENTICATED, &self.authenticated))?;
        let help = "[ALPHA] Authentication duration in seconds broken out by result.";
        let took = times(AUTHENTICATED, &self.authenticated);
        write::histogram(out, "authentication_duration_seconds", help, took)?;
        let help = "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.";
        write::counter(out, "authorization_attempts_total", help, counts(AUTHORIZED, &self.authorized))?;
        let help = "[ALPHA] Authorization duration in seconds broken out by result.";
        let took = times(AUTHORIZED, &self.authorized);
        write::histogram(out, "authorization_duration_seconds", help, took)
    }
}

type Sample<V> = ([write::Label<'static>; 1], V);

fn times<'a, const N: usize>(
    results: [&'static str; N],
    took: &'a [Histogram; N],
) -> impl Iterator<Item = Sample<&'a Histogram>> + use<'a, N> {
    let samples = results.into_iter().map(|result| [("result", result)]).zip(took);
    samples.filter(|(_, took)| took.count() > 0)
}

fn counts<'a, const N: usize>(
    results: [&'static str; N],
    took: &'a [Histogram; N],
) -> impl Iterator<Item = Sample<u64>> + use<'a, N> {
    times(results, took).map(|(labels, took)| (labels, took.count()))
}
