//! `PersistentVolume`.

use serde_json::{Value, json};

use super::frame::cells::{self, column, list, or, text};
use super::frame::check::{IMMUTABLE, one_of, optional_name, refuse, required, required_because};
use super::frame::{Builtin, Fill, Object, View};
use super::persistent_volume_claim::{access_modes, class, positive, validate_access_modes};
use super::pod_spec::{HOST_PATHS, node_selector, resources};
use super::storage_system::{self, Of};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Fields of the specification that are no source of storage.
const PLAIN: [&str; 10] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
    "resources",
];

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "PersistentVolume", "persistentvolumes", Scope::Cluster)
        .short_names(&["pv"])
        .status(|| json!({"phase": "Pending"}))
        .default(default)
        .validate(|volume, out| validate(out, &volume.get("spec")))
        .validate_change(|new, old, out| change(out, &new.get("spec"), &old.get("spec")))
        .columns(vec![
            cells::name(),
            column("Capacity", "string", "The size.", |volume, _| {
                text(volume, "/spec/capacity/storage").into()
            }),
            column("Access Modes", "string", "How it can be mounted.", |volume, _| {
                access_modes(list(volume, "/spec/accessModes")).into()
            }),
            column("Reclaim Policy", "string", "What becomes of it when released.", |volume, _| {
                text(volume, "/spec/persistentVolumeReclaimPolicy").into()
            }),
            column("Status", "string", "Whether it is free, bound or released.", |volume, _| {
                match text(volume, "/metadata/deletionTimestamp") {
                    "" => text(volume, "/status/phase").into(),
                    _ => "Terminating".into(),
                }
            }),
            column("Claim", "string", "The claim it is bound to.", |volume, _| {
                match volume.pointer("/spec/claimRef") {
                    Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
                    None => "".into(),
                }
            }),
            column("StorageClass", "string", "The class of the volume.", |volume, _| class(volume).into()),
            column("VolumeAttributesClass", "string", "The class of attributes in use.", |volume, _| {
                or(text(volume, "/spec/volumeAttributesClassName"), "<unset>").into()
            }),
            column("Reason", "string", "Why it is in its status.", |volume, _| {
                text(volume, "/status/reason").into()
            }),
            cells::age(),
            column("VolumeMode", "string", "Block or Filesystem.", |volume, _| {
                or(text(volume, "/spec/volumeMode"), "<unset>").into()
            })
            .wide(),
        ])
}

fn default(volume: &mut Object) {
    let spec = volume.object("spec");
    spec.fill_text("persistentVolumeReclaimPolicy", "Retain");
    spec.fill("volumeMode", "Filesystem");
    if let Some(capacity) = spec.object_if("capacity") {
        resources::canonical(capacity);
    }
    default_source(spec);
    volume.object("status").fill_text("phase", "Pending");
}

/// Defaults of what the volume is made from, also where it stands in an attachment.
pub(super) fn default_source(spec: &mut Object) {
    if let Some(host) = spec.object_if("hostPath") {
        host.fill("type", "");
    }
    storage_system::default(spec);
}

/// After `ValidatePersistentVolumeSpec`.
fn validate(out: &mut Violations, spec: &View) {
    let modes = spec.get("accessModes");
    required(out, &modes);
    validate_access_modes(out, &modes);
    let capacity = spec.get("capacity");
    if required(out, &capacity) {
        if !capacity.get("storage").is_set() || capacity.len() > 1 {
            out.push(Violation::not_supported(capacity.path(), capacity.json(), &["storage"]));
        }
        for (_, size) in capacity.entries() {
            positive(out, &size);
        }
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    one_of(out, &policy, &["Delete", "Recycle", "Retain"]);
    let affinity = spec.get("nodeAffinity");
    node_affinity(out, &affinity);
    source(out, spec, policy.text(), affinity.is_set());
    optional_name(out, &spec.get("storageClassName"), name::is_dns1123_subdomain);
    one_of(out, &spec.get("volumeMode"), &["Block", "Filesystem"]);
}

fn node_affinity(out: &mut Violations, affinity: &View) {
    let needed = affinity.get("required");
    if affinity.is_set() && required_because(out, &needed, "must specify required node constraints") {
        node_selector(out, &needed);
    }
}

/// After the same function, of a volume that stands in an attachment and not by itself.
pub(super) fn validate_inline(out: &mut Violations, spec: &View) {
    const CONTEXT: &str = "may not be specified in the context of inline volumes";
    for field in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        let view = spec.get(field);
        if !view.is_empty() {
            out.push(Violation::forbidden(view.path(), CONTEXT));
        }
    }
    node_affinity(out, &spec.get("nodeAffinity"));
    let csi = spec.get("csi");
    if !csi.is_set() {
        out.push(Violation::required(csi.path(), "has to be specified in the context of inline volumes"));
    }
    let modes = spec.get("accessModes");
    required(out, &modes);
    validate_access_modes(out, &modes);
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if !matches!(policy.text(), "" | "Retain") {
        let detail = "may only be Retain in the context of inline volumes";
        out.push(Violation::forbidden(policy.path(), detail));
    }
    let mode = spec.get("volumeMode");
    if !matches!(mode.text(), "" | "Filesystem") {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        out.push(Violation::forbidden(mode.path(), detail));
    }
    source(out, spec, policy.text(), true);
}

fn source(out: &mut Violations, spec: &View, policy: &str, has_affinity: bool) {
    let mut sources = spec.fields().filter(|(field, value)| !PLAIN.contains(field) && value.is_set());
    let Some((kind, source)) = sources.next() else {
        out.push(Violation::required(spec.path(), "must specify a volume type"));
        return;
    };
    for (_, other) in sources {
        out.push(Violation::forbidden(other.path(), "may not specify more than 1 volume type"));
    }
    match kind {
        "hostPath" | "local" => {
            let path = source.get("path");
            if required(out, &path) && path.text().split('/').any(|part| part == "..") {
                refuse(out, &path, "must not contain '..'");
            }
            if kind == "hostPath" {
                one_of(out, &source.get("type"), &HOST_PATHS);
            }
            if kind == "local" && !has_affinity {
                let detail = "Local volume requires node affinity";
                out.push(Violation::required(spec.get("nodeAffinity").path(), detail));
            }
            if policy == "Recycle" && path.text() == "/" {
                let detail = "may not be 'recycle' for a hostPath mount of '/'";
                out.push(Violation::forbidden(spec.get("persistentVolumeReclaimPolicy").path(), detail));
            }
        }
        "nfs" => {
            required(out, &source.get("server"));
            required(out, &source.get("path"));
        }
        "csi" => {
            required(out, &source.get("driver"));
            required(out, &source.get("volumeHandle"));
        }
        _ => storage_system::validate(out, kind, &source, Of::PersistentVolume),
    }
}

fn change(out: &mut Violations, new: &View, old: &View) {
    let sources = |spec: &View| -> Vec<(String, Value)> {
        spec.entries()
            .filter(|(field, value)| !PLAIN.contains(field) && value.is_set())
            .map(|(field, value)| (field.to_owned(), value.json()))
            .collect()
    };
    if sources(new) != sources(old) {
        let place = new.path().child("persistentvolumesource");
        out.push(Violation::forbidden(&place, "spec.persistentvolumesource is immutable after creation"));
    }
    let mode = new.get("volumeMode");
    if mode != old.get("volumeMode") {
        refuse(out, &mode, IMMUTABLE);
    }
    let affinity = new.get("nodeAffinity");
    if old.get("nodeAffinity").is_set() && affinity != old.get("nodeAffinity") {
        refuse(out, &affinity, IMMUTABLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    fn volume() -> Value {
        json!({
            "metadata": {"name": "v", "resourceVersion": "1"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"},
                "claimRef": {"namespace": "n", "name": "c"},
            },
        })
    }

    #[test]
    fn a_bare_volume_is_kept_when_released() {
        let object = defaulted(kind(), volume());
        assert_eq!(object["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(object["spec"]["volumeMode"], "Filesystem");
        assert_eq!(object["spec"]["hostPath"]["type"], "");
        assert_eq!(said(kind(), object.clone()), [""; 0]);
        let row = served(kind()).row(&object, 0);
        assert_eq!(row[1..7], ["1Gi", "RWO", "Retain", "Pending", "n/c", ""].map(Value::from));
    }

    #[test]
    fn what_it_is_made_of_must_be_said_and_stays() {
        let mut object = volume();
        object["spec"].as_object_mut().unwrap().remove("hostPath");
        assert_eq!(said(kind(), object), ["spec: Required value: must specify a volume type"]);
        let old = defaulted(kind(), volume());
        let mut new = old.clone();
        new["spec"]["hostPath"]["path"] = "/other".into();
        assert_eq!(
            said_of_change(kind(), &new, &old),
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
            ]
        );
    }
}
