//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: rules that users of the API write, and bindings that put them in
//! force.
//!
//! What a policy says of a request is decided purely, in [`orchestra_core::policy`]; here it is found out which policies are
//! meant and with which parameters, and what follows.

pub(crate) mod about;
pub(crate) mod access;
mod binding;
mod constraints;
mod mutating;
mod params;
mod validating;

use orchestra_core::gvk::GroupVersion;

pub(crate) use mutating::MutatingPolicies;
pub(crate) use validating::ValidatingPolicies;

use crate::admission::AdmissionRequest;

const GROUP: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");

/// Whether a request is about policies, of which policies say nothing: a bad one could not be taken away again.
fn is_exempt(request: &AdmissionRequest<'_>) -> bool {
    const KEPT: [&str; 4] = [
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    ];
    request.request.gv.group == GROUP.group && KEPT.contains(&request.request.resource.as_str())
}
