//! What a volume of a pod is made from.

use super::env;
use super::volume::{claim_name, file_path, items, local_path, mode};
use crate::kinds::frame::check::{in_range, one_of, refuse, required, required_because};
use crate::kinds::frame::{Fill, Object, View};
use crate::kinds::storage_system::{self, Of};
use crate::kinds::{labels, meta, persistent_volume_claim};
use crate::violation::{Violation, Violations};

/// Permission bits of files made from data, 0644.
const FILE_MODE: i64 = 0o644;

/// Defaults of one volume: an empty directory if nothing is said, and modes of files.
pub(super) fn default(volume: &mut Object) {
    if !volume.iter().any(|(field, value)| field != "name" && !value.is_null()) {
        volume.object("emptyDir");
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.object_if(source) {
            source.fill("defaultMode", FILE_MODE);
            downward_files(source);
        }
    }
    if let Some(projected) = volume.object_if("projected") {
        for source in projected.objects("sources") {
            if let Some(token) = source.object_if("serviceAccountToken") {
                token.fill("expirationSeconds", 3600);
            }
            if let Some(downward) = source.object_if("downwardAPI") {
                downward_files(downward);
            }
        }
    }
    if let Some(host) = volume.object_if("hostPath") {
        host.fill("type", "");
    }
    if let Some(claim) =
        volume.object_if("ephemeral").and_then(|source| source.object_if("volumeClaimTemplate"))
    {
        claim.object("metadata");
        persistent_volume_claim::default_spec(claim.object("spec"));
    }
    storage_system::default(volume);
}

fn downward_files(source: &mut Object) {
    for item in source.objects("items") {
        if let Some(field) = item.object_if("fieldRef") {
            field.fill_text("apiVersion", "v1");
        }
    }
}

/// Rules of one volume: exactly one source, and that one in order.
pub(super) fn validate(out: &mut Violations, volume: &View) {
    let mut count = 0;
    for (field, source) in volume.fields() {
        if field == "name" || !source.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            out.push(Violation::forbidden(source.path(), "may not specify more than 1 volume type"));
            continue;
        }
        one(out, field, &source);
    }
    if count == 0 {
        out.push(Violation::required(volume.path(), "must specify a volume type"));
    }
}

fn one(out: &mut Violations, field: &str, source: &View) {
    match field {
        "hostPath" => host_path(out, source),
        "secret" => {
            required(out, &source.get("secretName"));
            mode(out, &source.get("defaultMode"));
            items(out, &source.get("items"));
        }
        "configMap" => {
            required(out, &source.get("name"));
            mode(out, &source.get("defaultMode"));
            items(out, &source.get("items"));
        }
        "downwardAPI" => {
            mode(out, &source.get("defaultMode"));
            downward(out, source);
        }
        "projected" => {
            mode(out, &source.get("defaultMode"));
            for part in source.get("sources").items() {
                projection(out, &part);
            }
        }
        "persistentVolumeClaim" => claim_name(out, &source.get("claimName")),
        "ephemeral" => {
            let template = source.get("volumeClaimTemplate");
            if required(out, &template) {
                meta::only_labels_and_annotations(out, &template.get("metadata"));
                persistent_volume_claim::validate_spec(out, &template.get("spec"));
            }
        }
        "nfs" => {
            required(out, &source.get("server"));
            let path = source.get("path");
            if required(out, &path) && !path.text().starts_with('/') {
                refuse(out, &path, "must be an absolute path");
            }
        }
        "csi" => {
            required(out, &source.get("driver"));
        }
        "image" => {
            // Templates may leave the reference to be filled in later; a volume that names a policy must be whole.
            required(out, &source.get("reference"));
            one_of(out, &source.get("pullPolicy"), &["Always", "IfNotPresent", "Never"]);
        }
        "emptyDir" if super::resources::is_negative(&source.get("sizeLimit")) => {
            let detail = "SizeLimit field must be a valid resource quantity";
            out.push(Violation::forbidden(source.get("sizeLimit").path(), detail));
        }
        _ => storage_system::validate(out, field, source, Of::Pod),
    }
}

/// What may be asked of a path of the host.
pub(crate) const HOST_PATHS: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn host_path(out: &mut Violations, source: &View) {
    let path = source.get("path");
    if required(out, &path) {
        local_path(out, &path);
        one_of(out, &source.get("type"), &HOST_PATHS);
    }
}

fn downward(out: &mut Violations, source: &View) {
    for file in source.get("items").items() {
        let path = file.get("path");
        if required(out, &path) {
            file_path(out, &path);
        }
        let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
        if field.is_set() {
            env::file_field_ref(out, &field);
            if resource.is_set() {
                refuse(out, &file, "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        } else if resource.is_set() {
            env::resource_field_ref(out, &resource, true);
        } else {
            out.push(Violation::required(file.path(), "one of fieldRef and resourceFieldRef is required"));
        }
        mode(out, &file.get("mode"));
    }
}

fn projection(out: &mut Violations, part: &View) {
    let mut count = 0;
    for (field, source) in part.fields() {
        if !source.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            out.push(Violation::forbidden(
                source.path(),
                "may not specify more than 1 volume type per source",
            ));
            continue;
        }
        match field {
            "secret" | "configMap" => {
                required(out, &source.get("name"));
                items(out, &source.get("items"));
            }
            "downwardAPI" => downward(out, &source),
            "serviceAccountToken" => token(out, &source),
            "clusterTrustBundle" => trust_bundle(out, &source),
            "podCertificate" => certificate(out, &source),
            _ => (),
        }
    }
    if count == 0 {
        out.push(Violation::required(part.path(), "must specify a projected volume source"));
    }
}

fn trust_bundle(out: &mut Violations, source: &View) {
    let (by_name, by_signer) = (source.get("name"), source.get("signerName"));
    match (by_name.is_set(), by_signer.is_set()) {
        (true, true) => refuse(out, source, "only one of name and signerName may be used"),
        (true, false) => {
            required_because(out, &by_name, "must be a valid object name");
            let selector = source.get("labelSelector");
            if selector.is_set() {
                refuse(out, &selector, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            required_because(out, &by_signer, "must be a valid signer name");
            labels::selector(out, &source.get("labelSelector"));
        }
        (false, false) => {
            out.push(Violation::required(source.path(), "either name or signerName must be specified"));
        }
    }
    let path = source.get("path");
    if required(out, &path) {
        file_path(out, &path);
    }
}

fn certificate(out: &mut Violations, source: &View) {
    const KEYS: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    required(out, &source.get("signerName"));
    let kind = source.get("keyType");
    if !KEYS.contains(&kind.text()) {
        out.push(Violation::not_supported(kind.path(), kind.text(), &KEYS));
    }
}

fn token(out: &mut Violations, source: &View) {
    let seconds = source.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < 600) {
        refuse(out, &seconds, "may not specify a duration less than 10 minutes");
    }
    in_range(out, &seconds, i64::MIN, 1 << 32);
    let path = source.get("path");
    if required_because(out, &path, "") {
        file_path(out, &path);
    }
}
