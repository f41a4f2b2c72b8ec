//! Volumes of processes, at mount paths the host does not have, as root and as an ordinary user.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use orchestra_runtime::backend::process::Supervision;
use orchestra_runtime::runtime::{ContainerRuntime, Mount, SandboxConfig};

use crate::process::{LONG, exit_of, log, open, shell, shim, start, until_written};

/// A shim that first becomes an ordinary user; `None` where that cannot be done, because this is one already.
fn as_nobody(dir: &Path) -> Option<Supervision> {
    if !rustix_root() {
        return None;
    }
    // The user must be able to execute the shim and to write what the agent would own.
    let program = dir.join("shim");
    std::fs::copy(env!("CARGO_BIN_EXE_orchestra-shim"), &program).unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let args = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"].map(String::from);
    let args = args.into_iter().chain([program.to_string_lossy().into_owned()]).collect();
    Some(Supervision::Shim { program: PathBuf::from("setpriv"), args })
}

fn rustix_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn hand_over(dir: &Path) {
    let done = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(dir).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn volumes_appear_at_their_mount_paths_with_a_shim() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), shim(), false).await;
}

#[tokio::test]
async fn volumes_appear_at_their_mount_paths_as_a_child() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), Supervision::Child, false).await;
}

#[tokio::test]
async fn volumes_appear_at_their_mount_paths_for_an_ordinary_user() {
    let dir = tempfile::tempdir().unwrap();
    if let Some(nobody) = as_nobody(dir.path()) {
        check(dir.path(), nobody, true).await;
    }
}

async fn check(dir: &Path, supervision: Supervision, hand: bool) {
    let volume = dir.join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("greeting"), "hello\n").unwrap();
    let file = dir.join("single");
    std::fs::write(&file, "alone\n").unwrap();
    let mount = |host: &Path, at: &str, read_only| Mount {
        host_path: host.to_owned(),
        container_path: at.into(),
        read_only,
    };
    let runtime = open(dir, supervision);
    // A new directory at the top, one below an existing directory, a file, and one inside another volume.
    let script = "
        cat /orchestra-test/config/greeting /etc/orchestra-test/greeting /orchestra-test.conf /srv/inner/greeting
        echo more > /orchestra-test/config/written || exit 11
        cat /etc/orchestra-test/written || exit 12
        (echo no > /etc/orchestra-test/no) 2>/dev/null && exit 13
        test -r /etc/passwd -a -x /bin/sh -a -r /proc/self/stat -a -c /dev/null || exit 14
        id -u; pwd; echo up > /orchestra-test/config/up; sleep 1000 & wait";
    let mut config = shell(dir, script);
    config.mounts = vec![
        mount(&volume, "/orchestra-test/config", false),
        mount(&volume, "/etc/orchestra-test", true),
        mount(&file, "/orchestra-test.conf", false),
        mount(&volume, "/srv/inner", true),
        mount(&dir.join("outer"), "/srv", false),
    ];
    std::fs::create_dir(dir.join("outer")).unwrap();
    config.working_dir = Some("/orchestra-test".into());
    let sandbox = runtime.run_sandbox(&SandboxConfig::default()).await.unwrap();
    let id = runtime.create_container(&sandbox, &config).await.unwrap();
    if hand {
        hand_over(dir);
    }
    runtime.start_container(&id).await.unwrap();
    until_written(&volume.join("up")).await;
    let command = |script: &str| ["sh", "-c", script].map(String::from).to_vec();
    let beside = runtime.exec_sync(&id, &command("cat greeting config/greeting 2>&1"), LONG).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&beside.stdout), "cat: greeting: No such file or directory\nhello\n");
    // The volume goes on living: what is changed outside shows inside.
    std::fs::write(volume.join("greeting"), "changed\n").unwrap();
    let again = runtime.exec_sync(&id, &command("cat /etc/orchestra-test/greeting"), LONG).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), "changed\n");
    runtime.stop_container(&id, LONG).await.unwrap();
    assert_eq!(exit_of(&runtime, &id).await.code, 143);
    let uid = if hand { "65534".to_owned() } else { own_uid() };
    let said = ["hello", "hello", "alone", "hello", "more", &uid, "/orchestra-test"];
    let said: Vec<String> = said.iter().map(|l| format!("stdout F {l}")).collect();
    assert_eq!(log(dir), said);
    // And nothing is left on the host.
    for path in ["/orchestra-test", "/orchestra-test.conf", "/etc/orchestra-test", "/srv/inner"] {
        assert!(!Path::new(path).exists(), "{path} was left behind");
    }
    let staging = dir.join("state/containers").join(&id.0).join("root");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*dir.to_string_lossy()), "mounts were left behind");
}

fn own_uid() -> String {
    std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m).to_string()).unwrap()
}

#[tokio::test]
async fn a_volume_that_cannot_be_mounted_stops_the_start() {
    for supervision in [shim(), Supervision::Child] {
        let dir = tempfile::tempdir().unwrap();
        let runtime = open(dir.path(), supervision);
        let mut config = shell(dir.path(), "true");
        config.mounts =
            vec![Mount { host_path: "/no/such".into(), container_path: "/srv".into(), read_only: false }];
        let error = start(&runtime, &config).await.unwrap_err().to_string();
        assert_eq!(error, "volume /no/such does not exist");
    }
}
