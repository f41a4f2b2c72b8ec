//! What a claim was given.

use super::naming::{self, Requests};
use super::{binding, each, request};
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::View;
use crate::kinds::frame::check::required_one_of;
use crate::kinds::pod_spec::node_selector;
use crate::violation::Violations;

/// The most devices of a claim.
const MOST_RESULTS: usize = 32;
/// The most configurations: of the classes, and of the claim.
const MOST_CONFIGURATIONS: usize = 64;

/// `status.allocation` of a claim that had none.
pub(super) fn validate(out: &mut Violations, allocation: &View, requests: &Requests<'_>) {
    let devices = allocation.get("devices");
    each(out, &devices.get("results"), MOST_RESULTS, |out, result| {
        requests.refer(out, &result.get("request"));
        driver_name(out, &result.get("driver"));
        naming::pool(out, &result.get("pool"));
        naming::label(out, &result.get("device"));
        binding(out, result);
        naming::share(out, &result.get("shareID"));
    });
    each(out, &devices.get("config"), MOST_CONFIGURATIONS, |out, configuration| {
        required_one_of(out, &configuration.get("source"), &["FromClaim", "FromClass"]);
        requests.refer_all(out, &configuration.get("requests"));
        request::opaque(out, configuration, false);
    });
    if allocation.get("nodeSelector").is_set() {
        node_selector(out, &allocation.get("nodeSelector"));
    }
}
