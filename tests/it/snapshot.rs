//! Saving a cluster's objects while it runs, and starting another with them.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Cluster, orchestra, text, until};

fn run(arguments: &[&str]) -> Output {
    orchestra().arg("snapshot").args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What is complained of, by a program that ends with 1.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn save(cluster: &Cluster, file: &Path) -> String {
    let kubeconfig = cluster.folder.path().join("admin.kubeconfig");
    said(&["save", utf8(file), "--kubeconfig", utf8(&kubeconfig)])
}

fn names(list: &str) -> Vec<&str> {
    list.split_whitespace().collect()
}

/// How far a cluster's numbers have come.
fn revision(cluster: &Cluster) -> u64 {
    let list = cluster.kubectl(&["get", "--raw", "/api/v1/configmaps?limit=1"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Makes config maps one after the other while `work` goes on.
fn while_writing(cluster: &Cluster, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                cluster.kubectl(&["create", "configmap", &format!("during-{n:03}"), "--from-literal=a=b"]);
                n += 1;
            }
        });
        cluster.eventually(&["get", "cm", "-o", "name"], |list| list.contains("during-000"));
        work();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_was_saved_while_writes_ran_is_there_in_a_new_cluster() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "namespace", "kept"]);
    cluster.kubectl(&["create", "secret", "generic", "s", "-n", "kept", "--from-literal=password=hunter2"]);
    cluster.kubectl(&["create", "deployment", "web", "-n", "kept", "--image=unknown", "--replicas=2"]);
    let file = cluster.folder.path().join("a.snapshot");
    let of = ["get", "secret", "s", "-n", "kept", "-o"];
    let identity =
        [&of[..], &["jsonpath={.metadata.uid} {.metadata.resourceVersion} {.data.password}"]].concat();
    let before = cluster.kubectl(&identity);
    while_writing(&cluster, || {
        let line = save(&cluster, &file);
        assert!(line.starts_with("saved ") && line.contains(" keys at revision "), "{line}");
    });
    let after: Vec<String> =
        names(&cluster.kubectl(&["get", "cm", "-o", "name"])).iter().map(|n| (*n).to_owned()).collect();
    let old = revision(&cluster);

    let other = tempfile::tempdir().unwrap();
    let keys = cluster.folder.path().join("encryption.keys");
    let line =
        said(&["restore", utf8(&file), "--data-dir", utf8(other.path()), "--encryption-keys", utf8(&keys)]);
    assert!(line.contains("goes on from revision"), "{line}");
    let restored = Cluster::start_in(other);
    assert_eq!(restored.kubectl(&identity), before, "uid, version and content are what they were");
    let list = restored.kubectl(&["get", "cm", "-o", "name"]);
    let kept: Vec<&str> = names(&list).into_iter().filter(|name| name.contains("during-")).collect();
    assert!(kept.contains(&"configmap/during-000"));
    let all: Vec<&String> = after.iter().filter(|name| name.contains("during-")).collect();
    assert!(kept.iter().zip(&all).all(|(a, b)| a == b), "{kept:?} is not how {all:?} began");
    assert!(revision(&restored) > old);
    restored.eventually(&["get", "deployment", "web", "-n", "kept"], |row| row.contains("0/2"));
    restored.kubectl(&["delete", "namespace", "kept"]);
    // An old number is refused, not continued.
    let path = format!("/api/v1/configmaps?watch=1&resourceVersion={old}&timeoutSeconds=5");
    let ended = restored.kubectl(&["get", "--raw", &path]);
    assert!(ended.contains("\"code\":410"), "{ended}");
}

#[test]
fn a_snapshot_tells_what_it_is() {
    let cluster = Cluster::start();
    let file = cluster.folder.path().join("a.snapshot");
    save(&cluster, &file);
    let told = said(&["inspect", utf8(&file)]);
    let words: Vec<&str> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["revision", "keys", "leases", "bytes", "taken", "identity", "sealed"]);
    assert!(told.contains(&format!("bytes     {}\n", fs::metadata(&file).unwrap().len())), "{told}");
    assert!(told.contains("identity  sha256:"), "{told}");
    let again = refused(&["save", utf8(&file)]);
    assert_eq!(again, format!("orchestra: {} already holds data\n", file.display()));
}

#[test]
fn what_cannot_be_restored_is_named_and_nothing_is_touched() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("a.snapshot"), folder.path().join("data"));
    save(&cluster, &file);
    let full = refused(&["restore", utf8(&file), "--data-dir", utf8(cluster.folder.path())]);
    assert!(full.ends_with("/store already holds data\n"), "{full}");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let named = |what: &str| format!("orchestra: not a good snapshot: {}: {what}", file.display());
    for (bytes, what) in [
        (&flipped[..], "damaged or cut short at byte"),
        (&good[..good.len() - 10], "damaged or cut short at byte"),
        (b"apiVersion: v1\n", "is not a snapshot"),
        (&[b'x'; 100], "is not a snapshot"),
    ] {
        fs::write(&file, bytes).unwrap();
        for arguments in [&["inspect", utf8(&file)][..], &["restore", utf8(&file), "--data-dir", utf8(&data)]]
        {
            let complaint = refused(arguments);
            assert!(complaint.starts_with(&named(what)), "{complaint}");
        }
    }
    let missing = refused(&["inspect", utf8(&data)]);
    assert_eq!(
        missing,
        format!("orchestra: cannot open {}: No such file or directory (os error 2)\n", data.display())
    );
    assert!(!data.exists());
    assert_eq!(run(&["restore", utf8(&file)]).status.code(), Some(2), "a data directory must be named");
}

#[test]
fn only_administrators_get_a_snapshot() {
    let cluster = Cluster::start();
    let path = "/orchestra/v1/snapshot";
    let server = cluster.said("api");
    let mut nobody = cluster.kubectl_command();
    nobody.env("KUBECONFIG", "/dev/null").args([
        "get",
        "--raw",
        path,
        "--insecure-skip-tls-verify",
        "--server",
        &server,
    ]);
    let refused = nobody.args(["--token", "x"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused.stderr).contains("Unauthorized"), "{refused:?}");
    let unsupported = cluster.kubectl_fails(&["delete", "--raw", path]);
    assert!(unsupported.contains("does not allow this method"), "{unsupported}");
}

#[test]
fn snapshots_on_a_schedule_are_kept_up_to_a_number_and_can_be_restored() {
    let mut cluster = Cluster::start_with(&["--snapshot-every", "1s", "--snapshot-keep", "2"]);
    let dir = cluster.folder.path().join("snapshots");
    let saved = || -> Vec<String> {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| text(entry.file_name().as_encoded_bytes())).collect();
        names.retain(|name| name.ends_with(".snapshot"));
        names.sort();
        names
    };
    until("a first snapshot", || !saved().is_empty(), saved);
    let first = saved().remove(0);
    cluster.kubectl(&["create", "configmap", "one"]);
    until("a second", || saved().last().is_some_and(|last| *last > first), saved);
    cluster.kubectl(&["create", "configmap", "two"]);
    until("the first to go", || !saved().contains(&first), saved);
    assert_eq!(cluster.stop(), Some(0));
    assert!(saved().len() <= 3, "the two that are kept, and at most one that is about to go");
    let other = tempfile::tempdir().unwrap();
    let newest = dir.join(saved().pop().unwrap());
    let line = said(&["restore", utf8(&newest), "--data-dir", utf8(other.path())]);
    assert!(line.contains("is sealed with encryption key"), "{line}");
    fs::copy(cluster.folder.path().join("encryption.keys"), other.path().join("encryption.keys")).unwrap();
    let restored = Cluster::start_in(other);
    assert!(restored.kubectl(&["get", "cm", "-o", "name"]).contains("configmap/one"));
}

#[test]
fn a_schedule_without_sense_is_wrong_usage() {
    for arguments in
        [&["--snapshot-every", "soon"][..], &["--snapshot-every", "0s"], &["--snapshot-keep", "3"]]
    {
        let output = orchestra().arg("up").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("--snapshot-"), "{output:?}");
    }
}
