//! Starting where it cannot work: one clear line, exit code 1.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Cluster, orchestra, text};

fn up(arguments: &[&str], data: &Path) -> Output {
    orchestra().arg("up").arg("--data-dir").arg(data).args(arguments).output().expect("the program starts")
}

/// Exit code 1, nothing on standard output, one line on standard error that has every one of `words`.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(complaint.trim_end().lines().count(), 1, "{complaint}");
    for word in words {
        assert!(complaint.contains(word), "no {word:?} in {complaint}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    refused(&up(&["--listen", &address], data.path()), &[&address, "in use"]);
}

#[test]
fn a_data_directory_held_by_another_instance_is_named() {
    let cluster = Cluster::start();
    let path = cluster.folder.path();
    refused(
        &up(&["--listen", "127.0.0.1:0"], path),
        &[&path.display().to_string(), "locked", &cluster.pid().to_string()],
    );
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    refused(&up(&["--listen", "127.0.0.1:0"], &file), &["a-file"]);
}

#[test]
fn an_unreadable_data_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so give that up where the tests run as root.
    let mut command = as_ordinary_user(&folder);
    command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&closed);
    refused(&command.output().unwrap(), &["closed", "ermission denied"]);
}

#[test]
fn a_full_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A file size limit of nothing stands for a full disk: every write fails.
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" up --listen 127.0.0.1:0 --data-dir \"$1\""])
        .arg(env!("CARGO_BIN_EXE_orchestra"))
        .arg(folder.path())
        .output()
        .unwrap();
    refused(&output, &[&folder.path().display().to_string()]);
}

#[test]
fn a_disk_that_fills_up_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    // Files may grow to 200 KiB: twice what a start writes, and a third of what follows.
    let mut program = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 400; trap '' XFSZ; exec \"$0\" up --log off --listen 127.0.0.1:0 --data-dir \"$1\"",
        ])
        .arg(env!("CARGO_BIN_EXE_orchestra"))
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("ready"));
    let large = format!("--from-literal=text={}", "x".repeat(60_000));
    for number in 0..10 {
        // Those that come after the disk is full are refused.
        Command::new("kubectl")
            .args(["create", "configmap", &format!("m{number}"), &large])
            .env("KUBECONFIG", folder.path().join("admin.kubeconfig"))
            .env("HOME", folder.path())
            .output()
            .unwrap();
    }
    let output = program.wait_with_output().unwrap();
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let last = complaint.lines().last().unwrap_or_default();
    assert!(last.starts_with("orchestra: store: ") && last.contains("File too large"), "{complaint}");
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let output = orchestra().args(["up", "--nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--nonsense"));
}

#[test]
fn a_manifest_that_is_not_there_is_named_before_anything_starts() {
    let data = tempfile::tempdir().unwrap();
    let output = up(&["-f", "no/such/file.yaml", "--listen", "127.0.0.1:0"], data.path());
    refused(&output, &["no/such/file.yaml"]);
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "nothing was begun");
}

/// The program, run by nobody in particular, from a copy that nobody may read.
fn as_ordinary_user(folder: &tempfile::TempDir) -> Command {
    let program = folder.path().join("orchestra");
    fs::copy(env!("CARGO_BIN_EXE_orchestra"), &program).unwrap();
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}
