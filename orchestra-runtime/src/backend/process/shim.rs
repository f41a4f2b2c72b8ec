//! The shim: a small process of its own beside each container.
//!
//! It starts the container's program, writes its output to the log, waits for its end and leaves the exit on disk. It
//! shares nothing with the agent but files, so the agent may be killed at any moment and its successor finds everything.
//! A program whose shim is killed is killed too, by the kernel. The shim is the parent of every orphan of its program
//! and ends them with it, as the end of process 1 does in any container.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use super::input;
use super::launch::{self, Launched};
use super::layout::{ContainerDir, ContainerRecord, ProcessRecord, read_json, write_json};
use super::procfs::ProcessId;
use super::supervisor::exit_of;
use crate::logs::{Encoder, LogWriter, Stream};
use crate::sys::Terminal;

/// The verb that starts a container.
pub(super) const RUN: &str = "run";
/// The verb that executes a command beside a container.
pub(super) const EXEC: &str = "exec";
/// The same with a terminal.
pub(super) const EXEC_ON_TERMINAL: &str = "exec-on-terminal";

/// What the shim writes to its standard output, in one line, once the program runs or could not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Handshake {
    Started(ProcessRecord),
    Failed(String),
}

/// The shim's whole life. The binary named in [`Supervision::Shim`](super::Supervision) calls this with the arguments
/// after the configured ones, before it starts any thread.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(verb), Some(dir)) = (args.next(), args.next()) else {
        eprintln!("this verb is for the node agent");
        return ExitCode::from(2);
    };
    let dir = ContainerDir(PathBuf::from(dir));
    if verb == RUN {
        return match run(&dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                say(&Handshake::Failed(message));
                ExitCode::FAILURE
            }
        };
    }
    if verb == EXEC || verb == EXEC_ON_TERMINAL {
        let line = args.map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>();
        // Returns only when it failed; 126 is what container runtimes give then.
        eprintln!("{}", exec(&dir, &line, verb == EXEC_ON_TERMINAL));
        return ExitCode::from(126);
    }
    eprintln!("unknown verb");
    ExitCode::from(2)
}

fn exec(dir: &ContainerDir, line: &[String], terminal: bool) -> String {
    let record = match read_json::<ContainerRecord>(&dir.record()) {
        Ok(Some(record)) => record,
        Ok(None) => return "the container is gone".to_owned(),
        Err(error) => return error.to_string(),
    };
    let process = match read_json::<ProcessRecord>(&dir.process()) {
        Ok(Some(process)) => process,
        Ok(None) => return "the container is not running".to_owned(),
        Err(error) => return error.to_string(),
    };
    match launch::beside(&record, &process.process, line, terminal) {
        Ok(mut command) => {
            let error = command.exec();
            format!("exec: {:?}: {error}", line.first().map(String::as_str).unwrap_or_default())
        }
        Err(message) => message,
    }
}

fn run(dir: &ContainerDir) -> Result<(), String> {
    // Out of the agent's session: its terminal's signals are not for us.
    rustix::process::setsid().map_err(|e| format!("starting a session: {e}"))?;
    let _lock = lock(dir)?;
    let record: ContainerRecord =
        read_json(&dir.record()).map_err(|e| e.to_string())?.ok_or("the container is gone")?;
    if dir.process().exists() || dir.exit().exists() {
        return Err("the container was started before".to_owned());
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("becoming a reaper: {e}"))?;
    let log = open_log(&record)?;
    let Launched { mut child, terminal } = launch::spawn(&record, dir, true)?;
    let started_at = Timestamp::now();
    let process = match identify(&child, started_at) {
        Ok(process) => process,
        Err(message) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(message);
        }
    };
    // Clients connect once the process is known, so its input has to be there before.
    let opened = input::open(&record, dir, child.stdin.take(), terminal.as_ref());
    let written = write_json(&dir.process(), &process);
    let written = written.map_err(|e| format!("writing {}: {e}", dir.process().display()));
    let output = terminal.as_ref().map(Terminal::another).transpose();
    let output = output.map_err(|e| format!("opening a terminal: {e}"));
    let (_input, output) = match (opened, written, output) {
        (Ok(input), Ok(()), Ok(output)) => (input, output),
        (Err(message), _, _) | (_, Err(message), _) | (_, _, Err(message)) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(message);
        }
    };
    say(&Handshake::Started(process));
    let outputs = Outputs { child: &mut child, terminal: output, by_line: !is_interactive(&record) };
    let (pumps, pumped) = outputs.pump(&log);
    let (code, signal) = wait(&child);
    // The end of the first process is the end of all: leftovers would keep the pipes open.
    end_descendants(&child);
    let exit = exit_of(code, signal, started_at);
    for _ in 0..pumps {
        // Ends at once when every writer ended; a writer elsewhere on the machine must not hold us up.
        let _ = pumped.recv_timeout(Duration::from_secs(2));
    }
    write_json(&dir.exit(), &exit).map_err(|e| format!("writing {}: {e}", dir.exit().display()))
}

fn lock(dir: &ContainerDir) -> Result<File, String> {
    let file = OpenOptions::new().create(true).append(true).open(dir.lock()).map_err(|e| e.to_string())?;
    file.try_lock().map_err(|_| "the container is being started".to_owned())?;
    Ok(file)
}

/// A container's log, which both of its outputs go to.
pub(super) type Log = Mutex<LogWriter>;

/// Opens a container's log, making its directory.
pub(super) fn open_log(record: &ContainerRecord) -> Result<Arc<Log>, String> {
    let limit = record.config.log_limit.unwrap_or_default();
    LogWriter::open(&record.config.log_path, limit).map(|log| Arc::new(Mutex::new(log)))
}

/// Writes lines to a log. A writer that failed left it as it was.
pub(super) fn write_log(log: &Log, lines: &[u8]) {
    log.lock().unwrap_or_else(PoisonError::into_inner).write(Timestamp::now(), lines);
}

fn identify(child: &Child, started_at: Timestamp) -> Result<ProcessRecord, String> {
    let own = ProcessId::of(std::process::id().cast_signed()).ok_or("/proc is not readable")?;
    let pid = child.id().cast_signed();
    // A program that ended already has no start time any more; it cannot be found again, and need not be.
    let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, start: 0, boot: String::new() });
    Ok(ProcessRecord { shim: Some(own), process, started_at })
}

fn say(handshake: &Handshake) {
    if let Ok(mut line) = serde_json::to_vec(handshake) {
        line.push(b'\n');
        // The agent may be gone already; the files tell its successor the same.
        let _ = io::stdout().write_all(&line);
        let _ = io::stdout().flush();
    }
}

/// Whether somebody may wait for what has no line end yet.
pub(super) fn is_interactive(record: &ContainerRecord) -> bool {
    record.config.stdin || record.config.tty
}

/// What a program writes to.
struct Outputs<'a> {
    child: &'a mut Child,
    terminal: Option<OwnedFd>,
    by_line: bool,
}

impl Outputs<'_> {
    /// Copies everything to the log: how many do that, each of which tells when it is done.
    fn pump(self, log: &Arc<Log>) -> (usize, mpsc::Receiver<()>) {
        let (done, pumped) = mpsc::channel();
        let outputs: [(Option<Box<dyn Read + Send>>, Stream); 3] = [
            (self.child.stdout.take().map(|o| Box::new(o) as _), Stream::Stdout),
            (self.child.stderr.take().map(|o| Box::new(o) as _), Stream::Stderr),
            (self.terminal.map(|o| Box::new(File::from(o)) as _), Stream::Stdout),
        ];
        let mut pumps = 0;
        for (output, stream) in outputs {
            let Some(output) = output else { continue };
            pumps += 1;
            let (log, done, by_line) = (log.clone(), done.clone(), self.by_line);
            let spare = log.clone();
            let pump = move || {
                pump(output, stream, by_line, &log);
                let _ = done.send(());
            };
            if let Err(error) = std::thread::Builder::new().stack_size(128 * 1024).spawn(pump) {
                let lost = format!("{:.9} stderr F orchestra: output is lost: {error}\n", Timestamp::now());
                write_log(&spare, lost.as_bytes());
            }
        }
        (pumps, pumped)
    }
}

fn pump(mut from: Box<dyn Read + Send>, stream: Stream, by_line: bool, log: &Log) {
    let mut encoder = Encoder::new(stream);
    let mut buffer = vec![0; 8 * 1024];
    let mut out = Vec::new();
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        encoder.push(Timestamp::now(), &buffer[..read], &mut out);
        if !by_line {
            encoder.finish(Timestamp::now(), &mut out);
        }
        write_log(log, &out);
        out.clear();
    }
    encoder.finish(Timestamp::now(), &mut out);
    write_log(log, &out);
}

/// Waits for the program, and buries orphans until then.
fn wait(child: &Child) -> (Option<i32>, Option<i32>) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == child.id().cast_signed() => {
                return (status.exit_status(), status.terminating_signal());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return (None, None),
        }
    }
}

fn end_descendants(child: &Child) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        // No such group: nobody is left in it.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    // Ending one makes its children ours, so this goes on until none is left.
    while let Some(children) = children() {
        for pid in children.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Our children; `None` when there are none or the kernel does not tell.
fn children() -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let listed = fs::read_to_string(thread.ok()?.path().join("children")).unwrap_or_default();
        found.extend(listed.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok()));
    }
    (!found.is_empty()).then_some(found)
}
