//! Volumes of storage systems that upstream's API still carries, in pods and as persistent volumes.
//!
//! Their drivers have left upstream's tree, most are served by CSI drivers today, but the fields are part of the API: they
//! are defaulted and checked as upstream does, so that a manifest that is wrong is told so when it is written.

use super::frame::check::{in_range, one_of, refuse, refuse_all, required};
use super::frame::{Fill, Object, View};
use super::pod_spec::{descending_path, local_path};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The volumes that have `volumeID` or another single name, and what it is called.
const NAMED: [(&str, &str); 7] = [
    ("awsElasticBlockStore", "volumeID"),
    ("cinder", "volumeID"),
    ("flexVolume", "driver"),
    ("gcePersistentDisk", "pdName"),
    ("photonPersistentDisk", "pdID"),
    ("portworxVolume", "volumeID"),
    ("vsphereVolume", "volumePath"),
];
/// What a managed disk of Azure is named like, and one that is a blob.
const DISK_NAMES: [(&str, &str, &str); 2] = [
    (
        "Managed",
        "/subscriptions/",
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
    ),
    (
        "Dedicated",
        "https://",
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
    ),
];

/// Who has the source; a persistent volume is of no namespace, so it names that of what it refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Pod,
    PersistentVolume,
}

/// Fills in what upstream fills in, in whatever of these the volume is made from.
pub(super) fn default(volume: &mut Object) {
    if let Some(iscsi) = volume.object_if("iscsi") {
        iscsi.fill_text("iscsiInterface", "default");
    }
    if let Some(rbd) = volume.object_if("rbd") {
        rbd.fill_text("pool", "rbd");
        rbd.fill_text("user", "admin");
        rbd.fill_text("keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = volume.object_if("azureDisk") {
        disk.fill_text("cachingMode", "ReadWrite");
        disk.fill_text("kind", "Shared");
        disk.fill_text("fsType", "ext4");
        disk.fill("readOnly", false);
    }
    if let Some(scale) = volume.object_if("scaleIO") {
        scale.fill_text("storageMode", "ThinProvisioned");
        scale.fill_text("fsType", "xfs");
    }
}

/// Checks the source that stands in `field`; sources of other sorts are not this function's business.
pub(super) fn validate(out: &mut Violations, field: &str, source: &View, of: Of) {
    if let Some((_, name)) = NAMED.iter().find(|(own, _)| *own == field) {
        required(out, &source.get(name));
    }
    let secret = source.get("secretRef");
    match field {
        "awsElasticBlockStore" | "gcePersistentDisk" => in_range(out, &source.get("partition"), 0, 255),
        "azureDisk" => azure_disk(out, source),
        "azureFile" => {
            required(out, &source.get("secretName"));
            required(out, &source.get("shareName"));
            let namespace = source.get("secretNamespace");
            if of == Of::PersistentVolume && namespace.is_set() {
                required(out, &namespace);
            }
        }
        "cephfs" => {
            required(out, &source.get("monitors"));
        }
        "cinder" if secret.is_set() => {
            required(out, &secret.get("name"));
            if of == Of::PersistentVolume {
                required(out, &secret.get("namespace"));
            }
        }
        "flexVolume" => flex(out, &source.get("options")),
        "gitRepo" => {
            required(out, &source.get("repository"));
            descending_path(out, &source.get("directory"));
        }
        "glusterfs" => {
            required(out, &source.get("endpoints"));
            let path = source.get("path");
            if required(out, &path) {
                local_path(out, &path);
            }
        }
        "iscsi" => iscsi(out, source),
        "quobyte" => quobyte(out, source),
        "rbd" => {
            required(out, &source.get("monitors"));
            required(out, &source.get("image"));
        }
        "scaleIO" => {
            for name in ["gateway", "system", "volumeName"] {
                required(out, &source.get(name));
            }
        }
        "storageos" => {
            let name = source.get("volumeName");
            let messages = name::is_dns1123_label(name.text());
            // A claim's own name serves where a pod gives none; a persistent volume may leave it out for good.
            if !name.is_empty() || (of == Of::Pod && required(out, &name)) {
                refuse_all(out, &name, messages);
            }
            if secret.is_set() {
                required(out, &secret.get("name"));
            }
        }
        _ => (),
    }
}

fn azure_disk(out: &mut Violations, source: &View) {
    required(out, &source.get("diskName"));
    let uri = source.get("diskURI");
    required(out, &uri);
    one_of(out, &source.get("cachingMode"), &["None", "ReadOnly", "ReadWrite"]);
    let kind = source.get("kind");
    one_of(out, &kind, &["Dedicated", "Managed", "Shared"]);
    let managed = kind.text() == "Managed";
    let (_, start, shown) = if managed { DISK_NAMES[0] } else { DISK_NAMES[1] };
    if !uri.is_empty() && kind.is_set() && !uri.text().starts_with(start) {
        out.push(Violation::not_supported(uri.path(), uri.text(), &[shown]));
    }
}

fn flex(out: &mut Violations, options: &View) {
    for (key, value) in options.entries() {
        let domain = key.split('/').next().unwrap_or_default();
        let is_reserved = key.contains('/')
            && ["kubernetes.io", "k8s.io"].iter().any(|own| {
                domain.eq_ignore_ascii_case(own) || domain.to_lowercase().ends_with(&format!(".{own}"))
            });
        if is_reserved {
            refuse(out, &value, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn iscsi(out: &mut Violations, source: &View) {
    required(out, &source.get("targetPortal"));
    let iqn = source.get("iqn");
    if required(out, &iqn) && !["iqn", "eui", "naa"].iter().any(|start| iqn.text().starts_with(start)) {
        refuse(out, &iqn, "must be valid format starting with iqn, eui, or naa");
    }
    in_range(out, &source.get("lun"), 0, 255);
    let secret = source.get("secretRef");
    let by_secret = source.get("chapAuthDiscovery").flag() || source.get("chapAuthSession").flag();
    if secret.is_set() {
        required(out, &secret.get("name"));
    } else if by_secret {
        out.push(Violation::required(secret.path(), ""));
    }
}

fn quobyte(out: &mut Violations, source: &View) {
    let registry = source.get("registry");
    if required(out, &registry) {
        let is_pair = |host: &str| {
            host.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && !port.is_empty())
        };
        if !registry.text().split(',').all(is_pair) {
            refuse(out, &registry, "must be a host:port pair or multiple pairs separated by commas");
        }
    }
    let tenant = source.get("tenant");
    if tenant.text().len() >= 65 {
        out.push(Violation::required(
            tenant.path(),
            "must be a UUID and may not exceed a length of 64 characters",
        ));
    }
    required(out, &source.get("volume"));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(field: &'static str, source: Value, of: Of) -> Vec<String> {
        let mut volume = json!({field: source});
        default(volume.as_object_mut().unwrap());
        let mut out = Violations::new();
        validate(&mut out, field, &View::root(&volume).get(field), of);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_disk_is_named_as_its_kind_names_disks() {
        let disk = |kind: &str, uri: &str| json!({"diskName": "d", "diskURI": uri, "kind": kind});
        assert_eq!(said("azureDisk", disk("Managed", "/subscriptions/1/x"), Of::Pod), [""; 0]);
        assert_eq!(said("azureDisk", disk("", "https://a.blob"), Of::Pod), [""; 0]);
        let wrong = said("azureDisk", disk("Managed", "https://a.blob"), Of::Pod);
        assert!(
            wrong[0].starts_with(r#"azureDisk.diskURI: Unsupported value: "https://a.blob""#),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_target_has_a_name_of_one_of_three_forms() {
        let target = |iqn: &str| json!({"targetPortal": "10.0.0.1:3260", "iqn": iqn, "lun": 0});
        assert_eq!(said("iscsi", target("iqn.2001-04.com.example:x"), Of::Pod), [""; 0]);
        assert_eq!(
            said("iscsi", target("disk"), Of::Pod),
            [r#"iscsi.iqn: Invalid value: "disk": must be valid format starting with iqn, eui, or naa"#]
        );
        let mut bad = target("iqn.x");
        bad["lun"] = 256.into();
        bad["chapAuthSession"] = true.into();
        assert_eq!(
            said("iscsi", bad, Of::Pod),
            [
                "iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "iscsi.secretRef: Required value"
            ]
        );
    }

    #[test]
    fn options_of_a_driver_leave_kubernetes_names_alone() {
        let options = json!({"driver": "a/b", "options": {"fsType": "x", "kubernetes.io/fsType": "y", "a.k8s.io/z": "z"}});
        assert_eq!(said("flexVolume", options, Of::Pod).len(), 2);
    }

    #[test]
    fn a_volume_of_the_cluster_names_the_namespace_of_its_secret() {
        let cinder = json!({"volumeID": "v", "secretRef": {"name": "s"}});
        assert_eq!(said("cinder", cinder.clone(), Of::Pod), [""; 0]);
        assert_eq!(
            said("cinder", cinder, Of::PersistentVolume),
            ["cinder.secretRef.namespace: Required value"]
        );
    }
}
