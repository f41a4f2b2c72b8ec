//! From a container's record to a command that can be spawned: shared by both ways of supervising.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::layout::{ContainerDir, ContainerRecord};
use super::mount::{self, Host, Node};
use super::procfs::ProcessId;
use crate::sys::{self, Confinement, Namespaces, Terminal};

/// A container's program that runs, and the terminal that its streams are, if it has one.
pub(super) struct Launched {
    pub(super) child: Child,
    pub(super) terminal: Option<Terminal>,
}

/// Starts a container's program with its output piped. The error is for the user.
pub(super) fn spawn(
    record: &ContainerRecord,
    dir: &ContainerDir,
    die_with_parent: bool,
) -> Result<Launched, String> {
    let mut command = command(record)?;
    let terminal = if record.config.tty {
        command.env("TERM", term(record));
        Some(sys::with_terminal(&mut command).map_err(|e| format!("opening a terminal: {e}"))?)
    } else {
        let stdin = if record.config.stdin { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        None
    };
    let mut confinement = Confinement {
        mounts: None,
        user: other_user(record)?,
        working_dir: Some(mount::c_string(&working_dir(record))?),
        die_with_parent,
    };
    if !record.config.mounts.is_empty() {
        let staging = dir.staging();
        fs::create_dir_all(&staging).map_err(|e| format!("making {}: {e}", staging.display()))?;
        let planned = mount::plan(&record.config.mounts, &staging, &Host, own_ids())?;
        for (path, node) in &planned.prepare {
            prepare(path, node).map_err(|e| format!("making mount point {}: {e}", path.display()))?;
        }
        confinement.mounts = Some(planned.plan);
    }
    let child = sys::spawn(&mut command, confinement).map_err(|e| explain(record, &e))?;
    Ok(Launched { child, terminal })
}

/// The kind of terminal, unless the container says another.
fn term(record: &ContainerRecord) -> &str {
    let said = record.env.iter().rev().find(|(key, _)| key == "TERM");
    said.map_or("xterm", |(_, value)| value.as_str())
}

/// A command to execute beside a container's program.
pub(super) fn beside(
    record: &ContainerRecord,
    process: &ProcessId,
    line: &[String],
    terminal: bool,
) -> Result<Command, String> {
    let ended = || "the container is not running".to_owned();
    let fd = process.open().ok_or_else(ended)?;
    let differs = |kind: &str| {
        let own = fs::read_link(format!("/proc/self/ns/{kind}"));
        let its = fs::read_link(format!("/proc/{}/ns/{kind}", process.pid));
        matches!((own, its), (Ok(own), Ok(its)) if own != its)
    };
    let namespaces = Namespaces { process: fd, user: differs("user"), mount: differs("mnt") };
    let mut command = base(record, line)?;
    if terminal {
        command.env("TERM", "xterm");
    }
    sys::enter(&mut command, namespaces, other_user(record)?, mount::c_string(&working_dir(record))?);
    Ok(command)
}

fn command(record: &ContainerRecord) -> Result<Command, String> {
    base(record, &record.command_line)
}

fn base(record: &ContainerRecord, line: &[String]) -> Result<Command, String> {
    let (program, args) = line.split_first().ok_or("no command specified")?;
    let path = record.env.iter().rev().find(|(k, _)| k == "PATH").map(|(_, v)| v.as_str());
    let found = lookup(program, path, !record.config.mounts.is_empty())?;
    let mut command = Command::new(found);
    command.arg0(program).args(args).env_clear();
    command.envs(record.env.iter().map(|(k, v)| (k, v)));
    Ok(command)
}

/// Finds a program by name, as a shell would. With volumes, it may only be found once they are mounted.
fn lookup(program: &str, path: Option<&str>, with_volumes: bool) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let runs =
        |p: &PathBuf| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    match path.unwrap_or_default().split(':').map(|dir| Path::new(dir).join(program)).find(runs) {
        Some(found) => Ok(found),
        None if with_volumes => Ok(PathBuf::from(program)),
        None => Err(format!("exec: {program:?}: executable file not found in $PATH")),
    }
}

fn working_dir(record: &ContainerRecord) -> PathBuf {
    record.config.working_dir.clone().unwrap_or_else(|| PathBuf::from("/"))
}

/// The user to become, when it is another one.
fn other_user(record: &ContainerRecord) -> Result<Option<(u32, u32)>, String> {
    let Some(user) = record.config.user else { return Ok(None) };
    let own = own_ids();
    if (user.uid, user.gid) == own {
        return Ok(None);
    }
    if own.0 != 0 {
        return Err(format!(
            "cannot run as user {} and group {}: the node agent runs as user {} and group {}",
            user.uid, user.gid, own.0, own.1
        ));
    }
    Ok(Some((user.uid, user.gid)))
}

fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn prepare(path: &Path, node: &Node) -> io::Result<()> {
    match node {
        Node::Directory => fs::create_dir_all(path),
        _ => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::OpenOptions::new().create(true).append(true).open(path).map(drop)
        }
    }
}

fn explain(record: &ContainerRecord, error: &sys::SpawnError) -> String {
    match &error.step {
        Some(step) if step.contains("namespace") => format!(
            "cannot mount volumes: this machine does not let user {} have a mount namespace ({step}: {})",
            own_ids().0,
            error.source
        ),
        Some(step) => format!("{step}: {}", error.source),
        None => {
            let program = record.command_line.first().map(String::as_str).unwrap_or_default();
            format!("exec: {program:?}: {}", error.source)
        }
    }
}
