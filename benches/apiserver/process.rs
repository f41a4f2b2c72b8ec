//! The server as a process, and what the system says of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::floor;

/// How often the kernel counts CPU time in /proc, for each second. Fixed by its interface to programs.
const TICKS: u64 = 100;

/// `orchestra server` without controllers and scheduler; ended when dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    ready_after: Duration,
}

/// The program to be measured: what stands behind `--server`, another build of it for a comparison, or that of this build.
fn program() -> PathBuf {
    let given = std::env::args_os().skip_while(|argument| argument != "--server").nth(1);
    given.map_or_else(|| env!("CARGO_BIN_EXE_orchestra").into(), PathBuf::from)
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut command = Command::new(program());
        command.args(["server", "--components", "apiserver", "--listen", "127.0.0.1:0", "--data-dir"]);
        Self::ready(command.arg(folder), folder)
    }

    /// This program as a server that does nothing.
    pub(crate) fn floor(folder: &Path) -> Self {
        let program = std::env::current_exe().expect("a program");
        Self::ready(Command::new(program).arg(floor::SERVE).arg(folder), folder)
    }

    /// Started, and waited for.
    fn ready(command: &mut Command, folder: &Path) -> Self {
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(
            lines.any(|line| line.is_ok_and(|line| line.starts_with("ready"))),
            "it did not become ready"
        );
        Self { child, folder: folder.to_owned(), ready_after: begin.elapsed() }
    }

    /// A scheduler beside the server behind `kubeconfig`.
    pub(crate) fn scheduler(kubeconfig: &Path) -> Self {
        let begin = Instant::now();
        let child = Command::new(program())
            .args(["server", "--components", "scheduler", "--kubeconfig"])
            .arg(kubeconfig)
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let folder = kubeconfig.parent().map(Path::to_owned).unwrap_or_default();
        Self { child, folder, ready_after: begin.elapsed() }
    }

    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// CPU time used since it started, in user and kernel mode.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the program's name in brackets and may hold blanks; the two times are the 14th and 15th.
        let after_name = stat.rsplit(')').next().expect("a name in brackets");
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: f64 =
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
        kib / 1024.0
    }

    pub(crate) fn stop(mut self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("it ends");
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("/proc")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A run that failed leaves nothing behind; after `stop` there is nothing left to end.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
