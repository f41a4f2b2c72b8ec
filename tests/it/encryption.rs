//! Secrets on disk: only cipher text, with keys that can be changed while the cluster runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::harness::{Cluster, orchestra, text};

const PASSWORD: &str = "correct horse battery staple";
/// As it stands in an object.
const ENCODED: &str = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==";

fn encryption(cluster: &Cluster, verb: &str) -> String {
    let kubeconfig = cluster.folder.path().join("admin.kubeconfig");
    let output = orchestra()
        .args(["encryption", verb, "--kubeconfig"])
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// The files below a folder that hold `mark`.
fn holding(folder: &Path, mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, mark));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(mark.len()).any(|part| part == mark.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn create_secret(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["create", "secret", "generic", name, &format!("--from-literal=password={PASSWORD}")]);
}

fn read_secret(cluster: &Cluster, name: &str) -> String {
    cluster.kubectl(&["get", "secret", name, "-o", "jsonpath={.data.password}"])
}

#[test]
fn no_secret_is_on_disk_in_the_clear() {
    let mut cluster = Cluster::start();
    create_secret(&cluster, "s");
    cluster.kubectl(&["create", "configmap", "m", "--from-literal=seen=indeed-it-is-plain"]);
    let file = cluster.folder.path().join("saved");
    let kubeconfig = cluster.folder.path().join("admin.kubeconfig");
    let saved = orchestra()
        .args(["snapshot", "save"])
        .arg(&file)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .output()
        .unwrap();
    assert!(saved.status.success(), "{saved:?}");
    assert_eq!(read_secret(&cluster, "s"), ENCODED);
    let store = cluster.folder.path().join("store");
    assert!(!holding(&store, "indeed-it-is-plain").is_empty(), "the scan would find it");
    for mark in [PASSWORD, ENCODED] {
        assert_eq!(holding(cluster.folder.path(), mark), Vec::<String>::new());
    }
    cluster.kill();
    let inspected = orchestra().args(["snapshot", "inspect"]).arg(&file).output().unwrap();
    assert!(inspected.status.success(), "a file can be checked without its keys: {inspected:?}");
    cluster.start_again();
    assert_eq!(read_secret(&cluster, "s"), ENCODED);
    let keys = cluster.folder.path().join("encryption.keys");
    assert_eq!(fs::metadata(keys).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn keys_rotate_while_the_cluster_runs() {
    let mut cluster = Cluster::start();
    for name in ["a", "b", "c"] {
        create_secret(&cluster, name);
    }
    let before = encryption(&cluster, "status");
    assert!(
        before.contains("/registry/core/secrets/  encrypted\n") && before.contains("plain     0 values"),
        "{before}"
    );
    let rotated = encryption(&cluster, "rotate");
    assert!(rotated.starts_with("new key ") && rotated.contains("rewrote 4 of 4 values"), "{rotated}");
    assert_eq!(encryption(&cluster, "rewrite"), "rewrote 0 of 4 values\n");
    let pruned = encryption(&cluster, "prune");
    assert!(pruned.starts_with("dropped key "), "{pruned}");
    assert_eq!(encryption(&cluster, "prune"), "dropped no key\n");
    create_secret(&cluster, "d");
    assert_eq!(cluster.stop(), Some(0));
    cluster.start_again();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(read_secret(&cluster, name), ENCODED);
    }
    let after = encryption(&cluster, "status");
    assert_eq!(after.lines().filter(|line| line.starts_with("key ")).count(), 1, "{after}");
}

#[test]
fn keys_of_a_cluster_that_does_not_run_are_changed_in_its_directory() {
    let mut cluster = Cluster::start();
    create_secret(&cluster, "a");
    let folder = cluster.folder.path().to_owned();
    let offline = |verb: &str, folder: &Path| {
        orchestra()
            .args(["encryption", verb, "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    complains(&offline("rotate", &folder), 1, &["is in use by process", "without --data-dir"]);
    // The key of the next rotation, which then is the one.
    let prepared = encryption(&cluster, "prepare");
    let next = prepared.strip_prefix("next key ").and_then(|rest| rest.split(':').next()).unwrap().to_owned();
    assert!(encryption(&cluster, "status").contains(&format!("{next}  0 values  next\n")));
    assert_eq!(cluster.stop(), Some(0));
    let told = |verb: &str| {
        let output = offline(verb, &folder);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let before = told("status");
    assert!(before.contains("/registry/core/secrets/  encrypted\n"), "{before}");
    let rotated = told("rotate");
    assert!(
        rotated.starts_with(&format!("new key {next}\n")) && rotated.contains("rewrote 2 of 2"),
        "{rotated}"
    );
    assert_eq!(told("rewrite"), "rewrote 0 of 2 values\n");
    assert!(told("prune").starts_with("dropped key "));
    assert_eq!(told("status").lines().filter(|line| line.starts_with("key ")).count(), 1);
    cluster.start_again();
    assert_eq!(read_secret(&cluster, "a"), ENCODED);
    let empty = tempfile::tempdir().unwrap();
    complains(&offline("status", empty.path()), 1, &["there is no store in it"]);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made");
}

/// Starts where it cannot work.
fn refused(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = orchestra();
    command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn complains(output: &Output, code: i32, words: &[&str]) {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    for word in words {
        assert!(complaint.contains(word), "no {word:?} in {complaint}");
    }
    assert!(code == 2 || complaint.trim_end().lines().count() == 1, "{complaint}");
}

#[test]
fn keys_that_are_lost_open_to_others_or_damaged_are_named() {
    let mut cluster = Cluster::start();
    create_secret(&cluster, "s");
    cluster.stop();
    let (folder, keys) = (cluster.folder.path(), cluster.folder.path().join("encryption.keys"));
    let mode = |mode| fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    complains(&refused(folder, &[]), 1, &["encryption.keys", "mode 0644", "chmod 600"]);
    mode(0o600);
    let good = fs::read(&keys).unwrap();
    let mut flipped = good.clone();
    flipped[120] ^= 1;
    fs::write(&keys, flipped).unwrap();
    complains(&refused(folder, &[]), 1, &["encryption.keys", "is damaged"]);
    fs::remove_file(&keys).unwrap();
    complains(&refused(folder, &[]), 1, &["encryption.keys", "is missing", "is sealed with key"]);
    complains(&refused(folder, &["--encrypt", "none"]), 1, &["is missing"]);
    fs::write(&keys, good).unwrap();
    mode(0o600);
    cluster.start_again();
    assert_eq!(read_secret(&cluster, "s"), ENCODED);
}

#[test]
fn resources_that_are_none_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    complains(&refused(&data, &["--encrypt", "Secrets"]), 2, &["--encrypt", "names no resource"]);
    complains(
        &refused(&data, &["--encrypt", "secrets", "--encryption-provider-config", "x"]),
        2,
        &["cannot be used with"],
    );
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn an_upstream_configuration_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let provider = "aesgcm: {keys: [{name: k, secret: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=}]}";
    let write = |resources: &str| {
        let entry =
            format!("- resources: [{resources}]\n  providers: [{{{provider}}}, {{identity: {{}}}}]\n");
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n";
        fs::write(&config, format!("{head}{entry}")).unwrap();
    };
    write("Configmaps");
    let flags = ["--encryption-provider-config", config.to_str().unwrap()];
    complains(&refused(folder.path(), &flags), 1, &["config.yaml", "resources[0].resources[0]"]);
    write("configmaps");
    let cluster = Cluster::start_with(&flags);
    cluster.kubectl(&["create", "configmap", "m", "--from-literal=a=not-to-be-seen"]);
    create_secret(&cluster, "s");
    let store = cluster.folder.path().join("store");
    assert_eq!(holding(&store, "not-to-be-seen"), Vec::<String>::new());
    assert!(!holding(&store, ENCODED).is_empty(), "only what is named is encrypted");
    assert!(!cluster.folder.path().join("encryption.keys").exists());
    assert!(encryption(&cluster, "status").contains("config.yaml"));
    let kubeconfig = cluster.folder.path().join("admin.kubeconfig");
    let rotated =
        orchestra().args(["encryption", "rotate", "--kubeconfig"]).arg(kubeconfig).output().unwrap();
    assert_eq!(rotated.status.code(), Some(1));
    assert!(text(&rotated.stderr).contains("put a new key first"), "{rotated:?}");
}

#[test]
fn a_cluster_from_before_is_encrypted_when_it_starts_again() {
    let mut cluster = Cluster::start_with(&["--encrypt", "none"]);
    create_secret(&cluster, "s");
    let keys = cluster.folder.path().join("encryption.keys");
    assert!(!keys.exists());
    assert_eq!(cluster.stop(), Some(0));
    cluster.start_again();
    assert!(keys.exists());
    let status = encryption(&cluster, "status");
    assert!(status.contains("secrets/  encrypted\n") && status.contains("plain     0 values"), "{status}");
    assert_eq!(read_secret(&cluster, "s"), ENCODED);
}
