//! How conversion webhooks answer.

use std::fmt;

use orchestra_metrics::{Family, Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Duration;

const SECONDS: &[f64] =
    &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];
/// From a thousandth of a second, each twice the one before.
const SECONDS_OF_A_KIND: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
/// How many series of one metric there are: whoever writes definitions names them.
const MOST: usize = 512;

/// Why there are no converted objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Failure {
    Call,
    Malformed,
    Partial,
    Invalid,
}

impl Failure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Call => "conversion_webhook_call_failure",
            Self::Malformed => "conversion_webhook_malformed_response_failure",
            Self::Partial => "conversion_webhook_partial_response_failure",
            Self::Invalid => "conversion_webhook_invalid_converted_object_failure",
        }
    }
}

/// Which objects were to go from which version to which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Route {
    /// The name of the definition.
    pub(crate) definition: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Counts of all conversion webhooks. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct ConversionMetrics {
    requests: Family<Option<Failure>, Counter>,
    took: Family<Option<Failure>, Histogram>,
    kinds: Family<(Route, &'static str), Histogram>,
}

impl Default for ConversionMetrics {
    fn default() -> Self {
        let rest = Route { definition: "other".to_owned(), ..Route::default() };
        Self {
            requests: Family::new(MOST, None, Counter::default),
            took: Family::new(MOST, None, || Histogram::new(SECONDS)),
            kinds: Family::new(MOST, (rest, ""), || Histogram::new(SECONDS_OF_A_KIND)),
        }
    }
}

impl ConversionMetrics {
    /// Objects came back, or none for this reason.
    pub(crate) fn asked(&self, route: Route, took: Duration, failure: Option<Failure>) {
        self.requests.of(&failure).inc();
        self.took.of(&failure).observe_duration(took);
        let succeeded = if failure.is_none() { "true" } else { "false" };
        self.kinds.of(&(route, succeeded)).observe_duration(took);
    }
}

fn labels(failure: Option<Failure>) -> [(&'static str, &'static str); 2] {
    [
        ("failure_type", failure.map(Failure::as_str).unwrap_or_default()),
        ("result", if failure.is_none() { "success" } else { "failure" }),
    ]
}

impl Collector for ConversionMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help =
            "[ALPHA] Counter for conversion webhook requests with success/failure and failure error type";
        let requests = self.requests.all();
        let series = requests.iter().map(|(failure, n)| (labels(*failure), n.get()));
        write::counter(out, "apiserver_conversion_webhook_request_total", help, series)?;
        let help = "[ALPHA] Conversion webhook request latency";
        let took = self.took.all();
        let series = took.iter().map(|(failure, took)| (labels(*failure), &**took));
        write::histogram(out, "apiserver_conversion_webhook_duration_seconds", help, series)?;
        let help = "[ALPHA] CRD webhook conversion duration in seconds";
        let kinds = self.kinds.all();
        let series = kinds.iter().map(|((route, succeeded), took)| {
            let labels = [
                ("crd_name", route.definition.as_str()),
                ("from_version", route.from.as_str()),
                ("succeeded", *succeeded),
                ("to_version", route.to.as_str()),
            ];
            (labels, &**took)
        });
        write::histogram(out, "apiserver_crd_conversion_webhook_duration_seconds", help, series)
    }
}
