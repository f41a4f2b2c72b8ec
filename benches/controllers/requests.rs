//! What the API server was asked, by its own count.

use std::collections::BTreeMap;

use http::Request;
use kube::Client;

/// How often it was asked something and answered so: verb, resource with subresource, code.
pub(crate) type Asked = BTreeMap<String, f64>;

const COUNTER: &str = "apiserver_request_total{";

pub(crate) async fn asked(client: &Client) -> Asked {
    let request = Request::get("/metrics").body(Vec::new()).expect("a request");
    let text = client.request_text(request).await.expect("metrics");
    let mut asked = Asked::new();
    for line in text.lines() {
        let Some((labels, count)) = line.strip_prefix(COUNTER).and_then(|rest| rest.split_once("} ")) else {
            continue;
        };
        let label = |name: &str| {
            let value = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
            value.map(|value| value.trim_end_matches('"')).unwrap_or_default()
        };
        let below = label("subresource");
        let dash = if below.is_empty() { "" } else { "/" };
        let what = format!("{} {}{dash}{below}: {}", label("verb"), label("resource"), label("code"));
        *asked.entry(what).or_default() += count.parse::<f64>().expect("a number");
    }
    asked
}
