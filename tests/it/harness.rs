//! Starting clusters, asking kubectl, and waiting for things to become true.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before a test gives up. Generous: machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// How often a condition is looked at again.
const GLANCE: Duration = Duration::from_millis(50);

/// The program under test.
pub(crate) fn orchestra() -> Command {
    Command::new(env!("CARGO_BIN_EXE_orchestra"))
}

/// The guestbook's manifest.
pub(crate) fn guestbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guestbook.yaml")
}

/// A running `orchestra up` and where it keeps its data. Dropped, it is told to stop and waited for.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    process: Child,
    /// The line it printed when it was ready.
    pub(crate) ready: String,
}

impl Cluster {
    /// A cluster without content.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A cluster with the guestbook, ready to be read and written.
    pub(crate) fn with_guestbook() -> Self {
        let manifest = guestbook();
        Self::start_with(&["-f", manifest.to_str().expect("a path in UTF-8")])
    }

    /// A cluster started with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (process, ready) = up(folder.path(), arguments);
        Self { folder, process, ready }
    }

    /// What this verb starts, in a folder of its own that may hold something already.
    pub(crate) fn run(verb: &str, folder: TempDir, arguments: &[&str]) -> Self {
        let (process, ready) = launch(verb, folder.path(), arguments);
        Self { folder, process, ready }
    }

    /// A cluster on data that is there.
    pub(crate) fn start_in(folder: TempDir) -> Self {
        let (process, ready) = up(folder.path(), &[]);
        Self { folder, process, ready }
    }

    /// Ends the program without any warning, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the program runs");
        self.process.wait().expect("the program ends");
    }

    /// Tells the program to stop and returns its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        signal(self.process.id(), "TERM");
        self.process.wait().expect("the program ends").code()
    }

    /// Starts the program again on the same data.
    pub(crate) fn start_again(&mut self) {
        (self.process, self.ready) = up(self.folder.path(), &[]);
    }

    /// The id of the program's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The value of `key=value` in the ready line.
    pub(crate) fn said(&self, key: &str) -> String {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key} in {:?}", self.ready)).to_owned()
    }

    /// `HOST:PORT` of a service that the ready line names.
    pub(crate) fn service(&self, name: &str) -> String {
        self.said(name).trim_start_matches("http://").to_owned()
    }

    /// kubectl, set up for this cluster.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("KUBECONFIG", self.folder.path().join("admin.kubeconfig"))
            .env("HOME", self.folder.path())
            .env_remove("KUBECACHEDIR")
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns what it printed; it must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_output(arguments);
        assert!(output.status.success(), "kubectl {} failed: {}", arguments.join(" "), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs kubectl, which must fail, and returns what it complained of.
    pub(crate) fn kubectl_fails(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_output(arguments);
        assert!(
            !output.status.success(),
            "kubectl {} succeeded: {}",
            arguments.join(" "),
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// Runs kubectl with `input` on its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .kubectl_command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A refusal may come before all was read.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("kubectl ends");
        writer.join().expect("the writer ends");
        output
    }

    fn kubectl_output(&self, arguments: &[&str]) -> Output {
        self.kubectl_command().args(arguments).output().expect("kubectl is on the PATH")
    }

    /// Waits until kubectl prints what `wanted` accepts.
    pub(crate) fn eventually(&self, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        until(
            &format!("kubectl {}", arguments.join(" ")),
            || {
                let output = self.kubectl_output(arguments);
                last = text(&output.stdout) + &text(&output.stderr);
                output.status.success() && wanted(&text(&output.stdout))
            },
            || self.kubectl_output(arguments),
        );
        last
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.stop();
        }
        // Pods outlive a program that was killed: end what is left of this cluster.
        for pid in processes_with(&self.folder.path().display().to_string()) {
            signal(pid, "KILL");
        }
    }
}

fn up(folder: &Path, arguments: &[&str]) -> (Child, String) {
    launch("up", folder, arguments)
}

fn launch(verb: &str, folder: &Path, arguments: &[&str]) -> (Child, String) {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("test.log")).expect("a log");
    let mut process = orchestra()
        .args([verb, "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    loop {
        match lines.next() {
            Some(Ok(line)) if line.starts_with("ready") => {
                // Keep the pipe open: the program may print again when it stops.
                std::thread::spawn(move || lines.for_each(drop));
                return (process, line);
            }
            Some(Ok(_)) => {}
            other => {
                let log = fs::read_to_string(folder.join("test.log")).unwrap_or_default();
                panic!("orchestra ended before it was ready ({other:?}):\n{log}");
            }
        }
    }
}

/// Looks again and again until `condition` holds; fails with `state` when patience ends.
pub(crate) fn until<S: std::fmt::Debug>(
    what: &str,
    mut condition: impl FnMut() -> bool,
    state: impl Fn() -> S,
) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting for: {what}\n{:?}", state());
        std::thread::sleep(GLANCE);
    }
}

/// Sends a signal to a process that this test started or that belongs to its cluster.
pub(crate) fn signal(pid: u32, name: &str) {
    // It may have ended by itself meanwhile, so the exit status says nothing.
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output().expect("kill runs");
}

/// Processes that have `mark` in their command line or environment.
pub(crate) fn processes_with(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let carries = |file: &str| {
            fs::read(entry.path().join(file))
                .is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
        };
        if pid != own && (carries("cmdline") || carries("environ")) {
            found.push(pid);
        }
    }
    found
}

/// One HTTP request over a connection of its own: status and body.
pub(crate) fn http(host: &str, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {answer:?}")))?;
    Ok((status, body.to_owned()))
}

/// GET with a host name of one's own.
pub(crate) fn get(address: &str, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// POST of a form.
pub(crate) fn post(address: &str, path: &str, form: &str) -> std::io::Result<(u16, String)> {
    let length = form.len();
    http(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        ),
    )
}

/// Bytes as text, for messages and comparisons.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
