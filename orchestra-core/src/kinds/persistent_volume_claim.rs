//! `PersistentVolumeClaim`, and the claims that other kinds hold as templates.

use serde_json::{Value, json};

use super::frame::cells::{self, list, or, text};
use super::frame::check::{IMMUTABLE, one_of, optional_name, refuse, required};
use super::frame::{Builtin, Fill, Object, View, column};
use super::labels;
use super::pod_spec::resources;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::quantity::Quantity;
use crate::violation::{Violation, Violations};

/// The access modes a volume can be asked for.
pub(crate) const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// The old way to name a class.
const CLASS_ANNOTATION: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("", "v1"),
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Scope::Namespaced,
    )
    .short_names(&["pvc"])
    .status(|| json!({"phase": "Pending"}))
    .default(|claim| {
        default_spec(claim.object("spec"));
        let status = claim.object("status");
        status.fill_text("phase", "Pending");
        if let Some(capacity) = status.object_if("capacity") {
            resources::canonical(capacity);
        }
    })
    .validate(|claim, out| validate_spec(out, &claim.get("spec")))
    .validate_change(change)
    .columns(vec![
        cells::name(),
        column("Status", "string", "The phase of the claim.", |claim, _| phase(claim).into()),
        column("Volume", "string", "The volume bound to the claim.", |claim, _| {
            text(claim, "/spec/volumeName").into()
        }),
        column("Capacity", "string", "The size of the bound volume.", |claim, _| {
            bound(claim, capacity).into()
        }),
        column("Access Modes", "string", "The access modes of the bound volume.", |claim, _| {
            bound(claim, |claim| access_modes(list(claim, "/status/accessModes"))).into()
        }),
        column("StorageClass", "string", "The class of the claim.", |claim, _| class(claim).into()),
        column("VolumeAttributesClass", "string", "The class of attributes in use.", |claim, _| {
            or(text(claim, "/spec/volumeAttributesClassName"), "<unset>").into()
        }),
        cells::age(),
        column("VolumeMode", "string", "Block or Filesystem.", |claim, _| {
            or(text(claim, "/spec/volumeMode"), "<unset>").into()
        })
        .wide(),
    ])
}

/// Defaults of a claim's specification.
pub(crate) fn default_spec(spec: &mut Object) {
    spec.fill("volumeMode", "Filesystem");
    let wanted = spec.object("resources");
    for field in ["limits", "requests"] {
        if let Some(list) = wanted.object_if(field) {
            resources::canonical(list);
        }
    }
    // The two names of a claim's source are kept equal where the source is of this namespace.
    for (from, to) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        let Some(source) = spec.object_if(from).cloned() else { continue };
        if !spec.has(to) && !source.has("namespace") {
            spec.insert(to.to_owned(), source.into());
        }
    }
}

/// Rules of a claim's specification.
pub(crate) fn validate_spec(out: &mut Violations, spec: &View) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        out.push(Violation::required(modes.path(), "at least 1 access mode is required"));
    }
    validate_access_modes(out, &modes);
    labels::selector(out, &spec.get("selector"));
    let storage = spec.get("resources").get("requests").get("storage");
    if storage.is_set() {
        let place = View::at(storage.value(), spec.get("resources").path().key("storage"));
        positive(out, &place);
    } else {
        out.push(Violation::required(&spec.get("resources").path().key("storage"), ""));
    }
    optional_name(out, &spec.get("storageClassName"), name::is_dns1123_subdomain);
    one_of(out, &spec.get("volumeMode"), &["Block", "Filesystem"]);
    for field in ["dataSource", "dataSourceRef"] {
        data_source(out, &spec.get(field));
    }
    optional_name(out, &spec.get("volumeAttributesClassName"), name::is_dns1123_subdomain);
}

fn data_source(out: &mut Violations, source: &View) {
    if !source.is_set() {
        return;
    }
    required(out, &source.get("name"));
    let (kind, group) = (source.get("kind"), source.get("apiGroup"));
    required(out, &kind);
    if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        out.push(Violation::invalid(source.path(), kind.text(), detail));
    }
    optional_name(out, &group, name::is_dns1123_subdomain);
}

/// A size must be above zero.
pub(crate) fn positive(out: &mut Violations, size: &View) {
    resources::amount(out, size, "storage");
    let zero = size.value().and_then(resources::parse).is_some_and(Quantity::is_zero);
    if zero {
        refuse(out, size, "must be greater than zero");
    }
}

/// Access modes are known ones, and `ReadWriteOncePod` stands alone.
pub(crate) fn validate_access_modes(out: &mut Violations, modes: &View) {
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            out.push(Violation::not_supported(modes.path(), mode.text(), &ACCESS_MODES));
        }
    }
    let alone = modes.items().any(|mode| mode.text() == "ReadWriteOncePod");
    if alone && modes.len() > 1 {
        let detail = "may not use ReadWriteOncePod with other access modes";
        out.push(Violation::forbidden(modes.path(), detail));
    }
}

/// After `ValidatePersistentVolumeClaimUpdate`.
fn change(new: &View, old: &View, out: &mut Violations) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let bound = new.get("status").get("phase").text() == "Bound";
    if fixed(&spec, &before, bound) != fixed(&before, &before, bound) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        out.push(Violation::forbidden(spec.path(), detail));
    }
    let size = |holder: View| holder.get("storage").value().and_then(resources::parse);
    let requests = spec.get("resources").get("requests");
    if let Some((after, earlier)) = size(requests.clone()).zip(size(before.get("resources").get("requests")))
    {
        let held = size(old.get("status").get("capacity")).unwrap_or_default();
        if after < earlier && after <= held {
            let detail = "field can not be less than status.capacity";
            out.push(Violation::forbidden(requests.get("storage").path(), detail));
        }
    }
    let mode = spec.get("volumeMode");
    if mode != before.get("volumeMode") {
        refuse(out, &mode, IMMUTABLE);
    }
}

/// What of a specification must stay: a claim may be bound once, given the class of a default that came later, and
/// asked to grow once it is bound.
fn fixed(spec: &View, before: &View, bound: bool) -> Object {
    let mut fields = spec.value().and_then(Value::as_object).cloned().unwrap_or_default();
    fields.remove("volumeAttributesClassName");
    for field in ["volumeName", "storageClassName"] {
        if before.get(field).is_empty() {
            fields.remove(field);
        }
    }
    let requests = fields.object_if("resources").and_then(|wanted| wanted.object_if("requests"));
    if let Some(requests) = requests.filter(|_| bound) {
        requests.remove("storage");
    }
    fields
}

fn phase(claim: &Value) -> &str {
    match cells::text(claim, "/metadata/deletionTimestamp") {
        "" => text(claim, "/status/phase"),
        _ => "Terminating",
    }
}

fn bound(claim: &Value, show: impl Fn(&Value) -> String) -> String {
    if text(claim, "/spec/volumeName").is_empty() { String::new() } else { show(claim) }
}

fn capacity(claim: &Value) -> String {
    text(claim, "/status/capacity/storage").to_owned()
}

/// The class of a claim or volume, wherever it is named.
pub(crate) fn class(object: &Value) -> String {
    match text(object, CLASS_ANNOTATION) {
        "" => text(object, "/spec/storageClassName").to_owned(),
        old => old.to_owned(),
    }
}

/// Access modes in the short form of `kubectl`, each once, in a fixed order.
pub(crate) fn access_modes(modes: &[Value]) -> String {
    let held = |mode: &str| modes.iter().any(|held| held.as_str() == Some(mode));
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .iter()
    .filter(|(mode, _)| held(mode))
    .map(|(_, short)| *short)
    .collect::<Vec<_>>()
    .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    fn claim() -> Value {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
        let metadata = json!({"name": "c", "namespace": "n", "resourceVersion": "1"});
        defaulted(kind(), json!({"metadata": metadata, "spec": spec}))
    }

    #[test]
    fn a_claim_needs_a_mode_and_a_size() {
        assert_eq!(said(kind(), claim()), [""; 0]);
        let said = said(kind(), json!({"metadata": {"name": "c", "namespace": "n"}}));
        assert_eq!(
            said,
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        );
    }

    #[test]
    fn a_claim_is_bound_once_and_grows_when_bound() {
        let old = claim();
        let mut bound = old.clone();
        bound["spec"]["volumeName"] = "v".into();
        assert_eq!(said_of_change(kind(), &bound, &old), [""; 0]);
        let mut larger = old.clone();
        larger["spec"]["resources"]["requests"]["storage"] = "3Gi".into();
        let said = said_of_change(kind(), &larger, &old);
        assert!(said[0].starts_with("spec: Forbidden: spec is immutable after creation except"), "{said:?}");
        bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
        let mut grown = bound.clone();
        grown["spec"]["resources"]["requests"]["storage"] = "3Gi".into();
        assert_eq!(said_of_change(kind(), &grown, &bound), [""; 0]);
        grown["spec"]["resources"]["requests"]["storage"] = "1Gi".into();
        assert_eq!(
            said_of_change(kind(), &grown, &bound),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
    }

    #[test]
    fn a_row_shows_the_bound_volume() {
        let mut claim = claim();
        claim["spec"]["volumeName"] = "v".into();
        claim["spec"]["storageClassName"] = "fast".into();
        claim["status"] =
            json!({"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"]});
        let row = served(kind()).row(&claim, 0);
        assert_eq!(row[..7], ["c", "Bound", "v", "2Gi", "RWO", "fast", "<unset>"].map(Value::from));
    }
}
