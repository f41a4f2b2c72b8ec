//! The process backend, supervised in both ways.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use orchestra_runtime::backend::process::{ProcessOptions, ProcessRuntime, Supervision};
use orchestra_runtime::runtime::{
    ContainerConfig, ContainerId, ContainerRuntime, ContainerState, Error, Exit, PodMeta, SandboxConfig,
};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn shim() -> Supervision {
    Supervision::Shim { program: PathBuf::from(env!("CARGO_BIN_EXE_orchestra-shim")), args: Vec::new() }
}

pub(crate) fn open(dir: &Path, supervision: Supervision) -> ProcessRuntime {
    ProcessRuntime::open(ProcessOptions::new(dir.join("state")).with_supervision(supervision)).unwrap()
}

pub(crate) fn shell(dir: &Path, script: &str) -> ContainerConfig {
    ContainerConfig {
        name: "main".into(),
        image: "host:latest".into(),
        command: ["sh", "-c", script].map(String::from).to_vec(),
        log_path: dir.join("logs/main/0.log"),
        ..Default::default()
    }
}

fn sandbox() -> SandboxConfig {
    SandboxConfig {
        pod: PodMeta { namespace: "ns".into(), name: "pod".into(), uid: "u".into() },
        hostname: "pod".into(),
        addresses: vec!["127.64.0.9".parse().unwrap()],
        ..Default::default()
    }
}

pub(crate) async fn start(runtime: &ProcessRuntime, config: &ContainerConfig) -> Result<ContainerId, Error> {
    let sandbox = runtime.run_sandbox(&sandbox()).await?;
    let id = runtime.create_container(&sandbox, config).await?;
    runtime.start_container(&id).await?;
    Ok(id)
}

pub(crate) async fn exit_of(runtime: &ProcessRuntime, id: &ContainerId) -> Exit {
    let mut events = runtime.events();
    let wait = async {
        loop {
            if let ContainerState::Exited(exit) = runtime.container_status(id).await.unwrap().state {
                return exit;
            }
            events.next().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the container ends")
}

pub(crate) fn log(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("logs/main/0.log")).unwrap();
    text.lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect()
}

/// Waits until a file holds a line.
pub(crate) async fn until_written(path: &Path) -> String {
    let wait = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the file appears")
}

macro_rules! both_ways {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test]
            async fn with_a_shim() {
                super::$name(super::shim()).await;
            }
            #[tokio::test]
            async fn as_a_child() {
                super::$name(orchestra_runtime::backend::process::Supervision::Child).await;
            }
        }
    )*};
}

both_ways! {
    output_environment_and_exit_code_are_the_containers_own
    a_container_that_ignores_the_request_to_stop_is_killed_after_its_grace
    a_container_that_obeys_ends_within_its_grace
    what_a_container_leaves_behind_ends_with_it
    commands_run_beside_a_container
    programs_that_cannot_start_are_named
    a_container_starts_once
    what_was_removed_is_gone
}

async fn output_environment_and_exit_code_are_the_containers_own(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let mut config =
        shell(dir.path(), "echo $A $POD_IP; echo oops >&2; pwd; env | wc -l; printf end; exit 3");
    config.env = vec![("A".into(), "1".into()), ("A".into(), "2".into())];
    config.working_dir = Some("/tmp".into());
    let id = start(&runtime, &config).await.unwrap();
    let exit = exit_of(&runtime, &id).await;
    assert_eq!((exit.code, exit.signal), (3, None));
    assert!(exit.started_at.unwrap() <= exit.finished_at);
    let mut log = log(dir.path());
    let stderr: Vec<String> = log.extract_if(.., |l| l.starts_with("stderr")).collect();
    assert_eq!(stderr, ["stderr F oops"]);
    // PATH, HOSTNAME, POD_IP and A, and what the shell adds itself.
    assert_eq!(log[..2], ["stdout F 2 127.64.0.9", "stdout F /tmp"]);
    assert!(log[2].rsplit(' ').next().unwrap().parse::<u32>().unwrap() <= 7, "{log:?}");
    assert_eq!(log[3], "stdout P end");
}

async fn a_container_that_ignores_the_request_to_stop_is_killed_after_its_grace(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let file = dir.path().join("up");
    let script = format!("trap '' TERM; echo up > {}; while :; do sleep 1; done", file.display());
    let id = start(&runtime, &shell(dir.path(), &script)).await.unwrap();
    until_written(&file).await;
    runtime.stop_container(&id, Duration::from_millis(50)).await.unwrap();
    let exit = exit_of(&runtime, &id).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    runtime.stop_container(&id, LONG).await.unwrap();
}

async fn a_container_that_obeys_ends_within_its_grace(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let id = start(&runtime, &shell(dir.path(), "exec sleep 1000")).await.unwrap();
    tokio::time::timeout(LONG, runtime.stop_container(&id, LONG * 2)).await.expect("it obeys").unwrap();
    assert_eq!(exit_of(&runtime, &id).await.code, 143);
}

async fn what_a_container_leaves_behind_ends_with_it(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let file = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}", file.display());
    let id = start(&runtime, &shell(dir.path(), &script)).await.unwrap();
    exit_of(&runtime, &id).await;
    let pid = std::fs::read_to_string(&file).unwrap();
    until_gone(pid.trim()).await;
}

async fn commands_run_beside_a_container(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let mut config = shell(dir.path(), "exec sleep 1000");
    config.env = vec![("A".into(), "1".into())];
    config.working_dir = Some("/tmp".into());
    let id = start(&runtime, &config).await.unwrap();
    let command = |script: &str| ["sh", "-c", script].map(String::from).to_vec();
    let done = runtime.exec_sync(&id, &command("echo $A; pwd; echo e >&2; exit 4"), LONG).await.unwrap();
    assert_eq!((done.code, &done.stdout[..], &done.stderr[..]), (4, &b"1\n/tmp\n"[..], &b"e\n"[..]));
    let flood = runtime.exec_sync(&id, &command("head -c 100000 /dev/zero"), LONG).await.unwrap();
    assert_eq!((flood.code, flood.stdout.len()), (0, 16 * 1024));
    let late = runtime.exec_sync(&id, &command("sleep 1000"), Duration::from_millis(30)).await;
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    let ended = runtime.exec_sync(&id, &command("true"), LONG).await;
    assert!(matches!(ended, Err(Error::State(_))), "{ended:?}");
}

async fn programs_that_cannot_start_are_named(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let mut config = shell(dir.path(), "");
    for (command, want) in [
        ("no-such-program", "exec: \"no-such-program\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": No such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": Permission denied"),
    ] {
        config.command = vec![command.into()];
        let error = start(&runtime, &config).await.unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
    config.command = vec!["true".into()];
    config.working_dir = Some("/no/such".into());
    let error = start(&runtime, &config).await.unwrap_err().to_string();
    assert!(error.contains("working directory \"/no/such\": No such file"), "{error}");
    config.image = "nginx".into();
    assert!(matches!(start(&runtime, &config).await, Err(Error::Image(_))));
}

async fn a_container_starts_once(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let id = start(&runtime, &shell(dir.path(), "true")).await.unwrap();
    assert!(matches!(runtime.start_container(&id).await, Err(Error::State(_))));
    exit_of(&runtime, &id).await;
    assert!(matches!(runtime.start_container(&id).await, Err(Error::State(_))));
}

async fn what_was_removed_is_gone(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let id = start(&runtime, &shell(dir.path(), "exec sleep 1000")).await.unwrap();
    assert!(matches!(runtime.remove_container(&id).await, Err(Error::State(_))));
    let sandbox = runtime.container_status(&id).await.unwrap().sandbox;
    runtime.remove_sandbox(&sandbox).await.unwrap();
    runtime.remove_sandbox(&sandbox).await.unwrap();
    runtime.remove_container(&id).await.unwrap();
    assert!(matches!(runtime.container_status(&id).await, Err(Error::NotFound { .. })));
    assert!(runtime.list_containers().await.unwrap().is_empty());
    assert!(runtime.list_sandboxes().await.unwrap().is_empty());
    let left = std::fs::read_dir(dir.path().join("state/containers")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_new_runtime_adopts_what_runs_and_learns_what_ended_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), shim());
    let go = dir.path().join("go");
    rustix_fifo(&go);
    let running = start(&runtime, &shell(dir.path(), "exec sleep 1000")).await.unwrap();
    let ended = start(&runtime, &shell(dir.path(), &format!("cat {}; exit 7", go.display()))).await.unwrap();
    let sandbox = runtime.container_status(&running).await.unwrap().sandbox;
    let created = runtime.create_container(&sandbox, &shell(dir.path(), "true")).await.unwrap();
    let before = runtime.container_status(&running).await.unwrap();
    drop(runtime);
    // Lets the second one end while nobody looks, and waits for that by its exit file.
    std::fs::write(&go, "x").unwrap();
    until_exists(&dir.path().join("state/containers").join(&ended.0).join("exit.json")).await;

    let runtime = open(dir.path(), shim());
    assert_eq!(runtime.container_status(&running).await.unwrap(), before);
    assert_eq!(exit_of(&runtime, &ended).await.code, 7);
    // What was made and never started is forgotten: nobody can tell any more whether it was about to be.
    assert!(matches!(runtime.container_status(&created).await, Err(Error::NotFound { .. })));
    assert_eq!(runtime.list_sandboxes().await.unwrap().len(), 2);
    runtime.stop_container(&running, LONG).await.unwrap();
    assert_eq!(exit_of(&runtime, &running).await.code, 143);
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), shim());
    let id = start(&runtime, &shell(dir.path(), "exec sleep 1000")).await.unwrap();
    let text = std::fs::read_to_string(dir.path().join("state/containers").join(&id.0).join("process.json"))
        .unwrap();
    let process: serde_json::Value = serde_json::from_str(&text).unwrap();
    let pid = |of: &str| process[of]["pid"].as_i64().unwrap();
    kill(pid("shim"));
    let exit = exit_of(&runtime, &id).await;
    assert_eq!((exit.code, exit.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    until_gone(&pid("process").to_string()).await;
}

#[tokio::test]
async fn children_die_with_the_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), Supervision::Child);
    let id = start(&runtime, &shell(dir.path(), "exec sleep 1000")).await.unwrap();
    drop(runtime);
    let exit = dir.path().join("state/containers").join(&id.0).join("process.json");
    let process: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(exit).unwrap()).unwrap();
    until_gone(&process["process"]["pid"].to_string()).await;
    let runtime = open(dir.path(), Supervision::Child);
    assert_eq!(exit_of(&runtime, &id).await.code, 137);
}

fn rustix_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

fn kill(pid: i64) {
    let done = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(done.success());
}

async fn until_exists(path: &Path) {
    let wait = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the file appears");
}

/// Waits until a killed process is dead, which takes the kernel a moment.
async fn until_gone(pid: &str) {
    let stat = PathBuf::from(format!("/proc/{pid}/stat"));
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|s| !s.contains(") Z")) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("it is killed");
}

#[tokio::test]
async fn what_a_busy_container_and_its_children_use_is_told() {
    for supervision in [shim(), Supervision::Child] {
        let dir = tempfile::tempdir().unwrap();
        let runtime = open(dir.path(), supervision);
        let busy = start(&runtime, &shell(dir.path(), "(while :; do :; done) & wait")).await.unwrap();
        let mut config = shell(dir.path(), "exec sleep 1000");
        config.name = "idle".into();
        config.log_path = dir.path().join("logs/idle/0.log");
        let idle = start(&runtime, &config).await.unwrap();
        let worked = async {
            loop {
                let stats = runtime.container_stats().await.unwrap();
                let of = |id: &ContainerId| stats.iter().find(|stats| stats.id == *id).unwrap();
                if of(&busy).cpu >= Duration::from_millis(50) {
                    return (of(&busy).clone(), of(&idle).clone());
                }
                tokio::task::yield_now().await;
            }
        };
        let (busy_stats, idle_stats) = tokio::time::timeout(LONG, worked).await.expect("it works");
        assert!(idle_stats.cpu < busy_stats.cpu && idle_stats.memory > 0, "{idle_stats:?}");
        assert_eq!((busy_stats.name.as_str(), busy_stats.pod.name.as_str()), ("main", "pod"));
        for id in [busy, idle] {
            runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        }
        assert_eq!(runtime.container_stats().await.unwrap(), []);
    }
}
