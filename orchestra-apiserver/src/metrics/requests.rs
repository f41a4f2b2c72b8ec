//! Requests about objects: how many, how long, how large; under way, and open.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use orchestra_core::kind::Description;
use orchestra_metrics::{Family, Histogram, exponential, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::inflight::{Inflight, Underway};
use super::measured::measured;
use super::route::Route;
use crate::body::Body;
use crate::query::Query;
use crate::request::ResourceRequest;

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
const SLI_SECONDS: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const BYTES: &[f64] = &exponential::<7>(1000.0, 10.0);

/// More than all verbs of all built-in resources; what is left is for custom ones.
const MOST_ROUTES: usize = 5000;

/// What requests came to. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics {
    routes: Family<Route, Counts>,
    reading: Inflight,
    writing: Inflight,
}

/// Of one route.
#[derive(Debug)]
pub(super) struct Counts {
    took: Histogram,
    took_sli: Histogram,
    sizes: Histogram,
    codes: Codes,
    /// Requests that the server ended for its own sake.
    terminations: Codes,
    open: Gauge,
}

impl Counts {
    fn new() -> Self {
        Self {
            took: Histogram::new(SECONDS),
            took_sli: Histogram::new(SLI_SECONDS),
            sizes: Histogram::new(BYTES),
            codes: Codes::default(),
            terminations: Codes::default(),
            open: Gauge::default(),
        }
    }
}

/// How often each code was answered: a route sees few different ones.
#[derive(Debug, Default)]
struct Codes(Mutex<Vec<(u16, u64)>>);

impl Codes {
    fn count(&self, code: u16) {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => codes.push((code, 1)),
        }
    }

    fn all(&self) -> Vec<(String, u64)> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        codes.sort_unstable();
        codes.into_iter().map(|(code, count)| (code.to_string(), count)).collect()
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            routes: Family::new(MOST_ROUTES, Route::rest(), Counts::new),
            reading: Inflight::default(),
            writing: Inflight::default(),
        }
    }
}

impl RequestMetrics {
    /// A request about objects of a resource begins to be handled.
    pub(crate) fn begin(
        &self,
        parts: &Parts,
        query: &Query,
        request: &ResourceRequest,
        description: &Description,
        received: Instant,
    ) -> Run {
        self.run(Route::of_object(parts, query, request, description), received)
    }

    /// A review begins to be answered; `resource` is its plural.
    pub(crate) fn begin_review(
        &self,
        parts: &Parts,
        request: &ResourceRequest,
        resource: String,
        received: Instant,
    ) -> Run {
        self.run(Route::of_review(parts, request, resource), received)
    }

    /// A plain path begins to be answered.
    pub(crate) fn begin_plain(&self, parts: &Parts, received: Instant) -> Run {
        self.run(Route::of_path(&parts.method, parts.uri.path()), received)
    }

    fn run(&self, route: Option<Route>, received: Instant) -> Run {
        let Some(mut route) = route else { return Run(None) };
        let counts = self.routes.of(&route);
        // Some metrics do not tell dry runs apart; what they count is with the route of earnest ones.
        let is_dry = !route.dry_run.is_empty();
        let earnest = match is_dry {
            true => {
                route.dry_run = "";
                self.routes.of(&route)
            }
            false => Arc::clone(&counts),
        };
        let held = if route.is_long() {
            earnest.open.inc();
            Held::Open(earnest.open.clone())
        } else {
            let inflight = if route.is_read_only() { &self.reading } else { &self.writing };
            Held::Underway { _until_dropped: inflight.enter() }
        };
        let (is_sized, is_long) = (route.is_sized(), route.is_long());
        Run(Some(Counted { counts, earnest, is_dry, is_sized, is_long, received, _held: held }))
    }
}

/// What a request occupies while it is handled.
#[derive(Debug)]
enum Held {
    Open(Gauge),
    Underway { _until_dropped: Underway },
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Open(open) = self {
            open.dec();
        }
    }
}

/// A request that is handled; if it is of those that are counted.
#[derive(Debug)]
#[must_use = "a request is counted when it ends"]
pub(crate) struct Run(Option<Counted>);

/// A request that is counted when its answer has ended.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    earnest: Arc<Counts>,
    is_dry: bool,
    is_sized: bool,
    is_long: bool,
    received: Instant,
    _held: Held,
}

impl Run {
    /// The server gives the request up for its own sake, with this code.
    pub(crate) fn terminated(&self, code: StatusCode) {
        if let Some(counted) = &self.0 {
            counted.earnest.terminations.count(code.as_u16());
        }
    }

    /// The request is answered: it is counted now if the answer is there as a whole, else when its last piece is gone.
    pub(crate) fn end(self, response: Response<Body>) -> Response<Body> {
        let Some(counted) = self.0 else { return response };
        let code = response.status().as_u16();
        match response.body().size_hint().exact() {
            Some(bytes) if !counted.is_long => {
                counted.answered(code, bytes);
                response
            }
            _ => response.map(|body| measured(body, code, counted)),
        }
    }
}

impl Counted {
    pub(super) fn answered(&self, code: u16, bytes: u64) {
        let took: Duration = self.received.elapsed();
        self.counts.codes.count(code);
        self.counts.took.observe_duration(took);
        if !self.is_dry {
            // Upstream subtracts the time in webhooks and in queues; there are none here yet.
            self.counts.took_sli.observe_duration(took);
        }
        if self.is_sized {
            self.earnest.sizes.observe(bytes);
        }
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let all = self.routes.all();
        let help = "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.";
        let codes: Vec<_> = all.iter().map(|(route, counts)| (route, counts.codes.all())).collect();
        let requests = codes.iter().flat_map(|(route, codes)| {
            let [component, dry_run, group, resource, scope, subresource, verb, version] =
                route.labels_with_dry_run();
            codes.iter().map(move |(code, count)| {
                let code = ("code", code.as_str());
                ([code, component, dry_run, group, resource, scope, subresource, verb, version], *count)
            })
        });
        write::counter(out, "apiserver_request_total", help, requests)?;
        let help = "[ALPHA] Number of requests which apiserver terminated in self-defense.";
        let codes: Vec<_> = all.iter().map(|(route, counts)| (route, counts.terminations.all())).collect();
        let terminated = codes.iter().flat_map(|(route, codes)| {
            let [component, group, resource, scope, subresource, verb, version] = route.labels();
            codes.iter().map(move |(code, count)| {
                let code = ("code", code.as_str());
                ([code, component, group, resource, scope, subresource, verb, version], *count)
            })
        });
        write::counter(out, "apiserver_request_terminations_total", help, terminated)?;
        let help = "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.";
        let took = all.iter().map(|(route, counts)| (route.labels_with_dry_run(), &counts.took));
        let took = took.filter(|(_, took)| took.count() > 0);
        write::histogram(out, "apiserver_request_duration_seconds", help, took)?;
        let help = "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.";
        let took = all.iter().map(|(route, counts)| (route.labels(), &counts.took_sli));
        let took = took.filter(|(_, took)| took.count() > 0);
        write::histogram(out, "apiserver_request_sli_duration_seconds", help, took)?;
        let help = "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.";
        let sizes = all.iter().map(|(route, counts)| (route.labels(), &counts.sizes));
        let sizes = sizes.filter(|(_, sizes)| sizes.count() > 0);
        write::histogram(out, "apiserver_response_sizes", help, sizes)?;
        let help = "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.";
        let open = all.iter().filter(|(route, _)| route.is_long() && route.dry_run.is_empty());
        let open = open.map(|(route, counts)| (route.labels(), counts.open.get()));
        write::gauge(out, "apiserver_longrunning_requests", help, open)?;
        let help = "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.";
        let most = [("mutating", &self.writing), ("readOnly", &self.reading)];
        let most = most.map(|(kind, inflight)| ([("request_kind", kind)], inflight.most()));
        write::gauge(out, "apiserver_current_inflight_requests", help, most)
    }
}
