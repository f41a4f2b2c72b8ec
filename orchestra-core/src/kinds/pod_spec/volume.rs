//! Volumes of a pod, and where its containers mount them.

use std::collections::{HashMap, HashSet};

use super::volume_source;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{one_of, refuse, refuse_all, required, required_name};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The volumes a pod has, by name; true for those that are a claim.
pub(crate) type Declared<'a> = HashMap<&'a str, bool>;

/// Checks every volume and collects their names.
pub(super) fn validate_all<'a>(out: &mut Violations, volumes: &View<'a>) -> Declared<'a> {
    let mut declared = Declared::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        required_name(out, &name, name::is_dns1123_label);
        let is_claim = volume.get("persistentVolumeClaim").is_set() || volume.get("ephemeral").is_set();
        if !name.is_empty() && declared.insert(name.text(), is_claim).is_some() {
            out.push(Violation::duplicate(name.path(), name.text()));
        }
        volume_source::validate(out, &volume);
    }
    declared
}

/// `volumeMounts` and `volumeDevices` of a container.
pub(super) fn mounts(out: &mut Violations, container: &View, declared: &Declared) {
    let devices = container.get("volumeDevices");
    let device_paths: HashSet<&str> = devices.items().map(|device| device.get("devicePath").text()).collect();
    let device_names: HashSet<&str> = devices.items().map(|device| device.get("name").text()).collect();
    let mut paths = HashSet::new();
    let privileged = container.get("securityContext").get("privileged").flag();
    for mount in container.get("volumeMounts").items() {
        let volume = mount.get("name");
        if required(out, &volume) && !declared.contains_key(volume.text()) {
            out.push(Violation::not_found(volume.path(), volume.text()));
        }
        let path = mount.get("mountPath");
        required(out, &path);
        if !paths.insert(path.text()) {
            refuse(out, &path, "must be unique");
        }
        if device_names.contains(volume.text()) {
            refuse(out, &volume, "must not already exist in volumeDevices");
        }
        if device_paths.contains(path.text()) {
            refuse(out, &path, "must not already exist as a path in volumeDevices");
        }
        sub_paths(out, &mount);
        propagation(out, &mount.get("mountPropagation"), privileged);
        recursive_read_only(out, &mount);
    }
    let mut paths = HashSet::new();
    for device in devices.items() {
        let volume = device.get("name");
        if required(out, &volume) {
            match declared.get(volume.text()) {
                None => out.push(Violation::not_found(volume.path(), volume.text())),
                Some(true) => (),
                Some(false) => refuse(
                    out,
                    &volume,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                ),
            }
        }
        let path = device.get("devicePath");
        if required(out, &path) {
            local_path(out, &path);
            if !paths.insert(path.text()) {
                refuse(out, &path, "must be unique");
            }
        }
    }
}

fn sub_paths(out: &mut Violations, mount: &View) {
    let (plain, expanded) = (mount.get("subPath"), mount.get("subPathExpr"));
    if !plain.is_empty() {
        descending_path(out, &plain);
    }
    if !expanded.is_empty() {
        if !plain.is_empty() {
            refuse(out, &expanded, "subPathExpr and subPath are mutually exclusive");
        }
        descending_path(out, &expanded);
    }
}

fn propagation(out: &mut Violations, mode: &View, privileged: bool) {
    one_of(out, mode, &["Bidirectional", "HostToContainer", "None"]);
    if mode.text() == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        out.push(Violation::forbidden(mode.path(), detail));
    }
}

fn recursive_read_only(out: &mut Violations, mount: &View) {
    let mode = mount.get("recursiveReadOnly");
    one_of(out, &mode, &["Disabled", "Enabled", "IfPossible"]);
    if matches!(mode.text(), "Enabled" | "IfPossible") {
        if !mount.get("readOnly").flag() {
            out.push(Violation::forbidden(mode.path(), "may only be specified when readOnly is true"));
        }
        if !matches!(mount.get("mountPropagation").text(), "" | "None") {
            let detail = "may only be specified when mountPropagation is None or not specified";
            out.push(Violation::forbidden(mode.path(), detail));
        }
    }
}

/// A path that stays below where it starts.
pub(crate) fn descending_path(out: &mut Violations, path: &View) {
    if path.text().starts_with('/') {
        refuse(out, path, "must be a relative path");
    }
    local_path(out, path);
}

/// A path that does not climb.
pub(crate) fn local_path(out: &mut Violations, path: &View) {
    if path.text().split('/').any(|part| part == "..") {
        refuse(out, path, "must not contain '..'");
    }
}

/// A path of a file that a volume makes: it stays below, and clear of the names the node agent uses.
pub(super) fn file_path(out: &mut Violations, path: &View) {
    descending_path(out, path);
    if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
        refuse(out, path, "must not start with '..'");
    }
}

/// Permission bits of files.
pub(super) fn mode(out: &mut Violations, mode: &View) {
    if mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        refuse(out, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// Which keys become which files.
pub(super) fn items(out: &mut Violations, items: &View) {
    for item in items.items() {
        required(out, &item.get("key"));
        let path = item.get("path");
        if required(out, &path) {
            file_path(out, &path);
        }
        mode(out, &item.get("mode"));
    }
}

/// The name of a claim.
pub(super) fn claim_name(out: &mut Violations, view: &View) {
    if required(out, view) {
        refuse_all(out, view, name::is_dns1123_subdomain(view.text()));
    }
}
