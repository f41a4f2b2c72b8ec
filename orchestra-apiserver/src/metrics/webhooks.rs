//! How webhooks of admission answer.

use std::fmt;

use orchestra_metrics::{Family, Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Duration;

const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// How many series of one metric there are: whoever configures webhooks names them.
const MOST: usize = 512;
/// Codes above are one.
const LARGEST_CODE: u16 = 600;

/// Which webhook was asked, how, about what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) name: String,
    /// `admit` or `validating`.
    pub(crate) type_: &'static str,
    pub(crate) operation: &'static str,
}

type Rejected = &'static str;

fn rejected(is_rejected: bool) -> Rejected {
    if is_rejected { "true" } else { "false" }
}

/// Counts of all webhooks. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct WebhookMetrics {
    took: Family<(Asked, Rejected), Histogram>,
    requests: Family<(Asked, Rejected, u16), Counter>,
    rejections: Family<(Asked, &'static str, u16), Counter>,
    open: Family<(String, &'static str), Counter>,
}

impl Default for WebhookMetrics {
    fn default() -> Self {
        let rest = || Asked { name: "other".to_owned(), ..Asked::default() };
        Self {
            took: Family::new(MOST, (rest(), ""), || Histogram::new(SECONDS)),
            requests: Family::new(MOST, (rest(), "", 0), Counter::default),
            rejections: Family::new(MOST, (rest(), "", 0), Counter::default),
            open: Family::new(MOST, ("other".to_owned(), ""), Counter::default),
        }
    }
}

impl WebhookMetrics {
    /// An answer, or that there was none and the request was therefore refused; `error_type` says what kind of refusal.
    pub(crate) fn answered(&self, asked: Asked, took: Duration, code: u16, error_type: Option<&'static str>) {
        let code = code.min(LARGEST_CODE);
        if let Some(error_type) = error_type {
            self.rejections.of(&(asked.clone(), error_type, code)).inc();
        }
        self.observe(asked, took, code, error_type.is_some());
    }

    /// There was no answer, and the request went on.
    pub(crate) fn failed_open(&self, asked: Asked, took: Duration, code: u16) {
        self.open.of(&(asked.name.clone(), asked.type_)).inc();
        self.observe(asked, took, code.min(LARGEST_CODE), false);
    }

    fn observe(&self, asked: Asked, took: Duration, code: u16, is_rejected: bool) {
        self.requests.of(&(asked.clone(), rejected(is_rejected), code)).inc();
        self.took.of(&(asked, rejected(is_rejected))).observe_duration(took);
    }
}

impl Collector for WebhookMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).";
        let took = self.took.all();
        let took = took.iter().map(|((asked, rejected), took)| {
            let labels = [
                ("name", asked.name.as_str()),
                ("operation", asked.operation),
                ("rejected", *rejected),
                ("type", asked.type_),
            ];
            (labels, &**took)
        });
        write::histogram(out, "apiserver_admission_webhook_admission_duration_seconds", help, took)?;
        let help = "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.";
        let requests = self.requests.all();
        let shown: Vec<_> = requests
            .iter()
            .map(|((asked, rejected, code), n)| (asked, *rejected, code.to_string(), n.get()))
            .collect();
        let series = shown.iter().map(|(asked, rejected, code, n)| {
            let labels = [
                ("code", code.as_str()),
                ("name", asked.name.as_str()),
                ("operation", asked.operation),
                ("rejected", *rejected),
                ("type", asked.type_),
            ];
            (labels, *n)
        });
        write::counter(out, "apiserver_admission_webhook_request_total", help, series)?;
        let help = "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.";
        let rejections = self.rejections.all();
        let shown: Vec<_> = rejections
            .iter()
            .map(|((asked, error, code), n)| (asked, *error, code.to_string(), n.get()))
            .collect();
        let series = shown.iter().map(|(asked, error, code, n)| {
            let labels = [
                ("error_type", *error),
                ("name", asked.name.as_str()),
                ("operation", asked.operation),
                ("rejection_code", code.as_str()),
                ("type", asked.type_),
            ];
            (labels, *n)
        });
        write::counter(out, "apiserver_admission_webhook_rejection_count", help, series)?;
        let help = "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit).";
        let open = self.open.all();
        let series =
            open.iter().map(|((name, type_), n)| ([("name", name.as_str()), ("type", *type_)], n.get()));
        write::counter(out, "apiserver_admission_webhook_fail_open_count", help, series)
    }
}
