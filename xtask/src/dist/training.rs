//! What the program is trained with: both ways it runs, and what most clusters see most of.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{succeed, told};

const PODS: usize = 2_000;
const CONFIG_MAPS: usize = 1_000;
const NODES: usize = 100;
/// How long pods may take to get where they should be.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);

/// How long a server that has nothing to do is watched at that.
const IDLE: Duration = Duration::from_secs(12);

/// Trains `program`, which keeps what it keeps in `folder`, and what it counts in `counts`: each part it can have in a file of its
/// own.
pub(super) fn run(program: &Path, folder: &Path, counts: &Path) -> Result<(), String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|problem| format!("{}: {problem}", folder.display()))?;
    }
    println!("\n-- training: nothing to do");
    idle(&Training::of(program, folder.join("idle"), counts)?)?;
    println!("\n-- training: a whole cluster");
    whole(&Training::of(program, folder.join("whole"), counts)?)?;
    println!("\n-- training: a server and a scheduler");
    apart(&Training::of(program, folder.join("apart"), counts)?)
}

/// A control plane that nobody asks for anything.
fn idle(training: &Training) -> Result<(), String> {
    let _server = training.serve("idle", &["server"])?;
    sleep(IDLE);
    Ok(())
}

/// A Deployment comes, changes and goes on nodes whose containers are made up.
fn whole(training: &Training) -> Result<(), String> {
    let nodes = NODES.to_string();
    let _cluster = training.serve("whole", &["up", "--nodes", &nodes, "--runtime", "sim"])?;
    let (all, ready) = (PODS.to_string(), format!("{PODS}/{PODS}"));
    for image in ["web:1", "web:2"] {
        training.apply(&deployment(image))?;
        training.until(
            &["get", "pods", "--output", "jsonpath={.items[*].spec.containers[*].image}"],
            |images| images.split_whitespace().filter(|one| *one == image).count() == PODS,
        )?;
        training.until(&["get", "deployment", "web", "--no-headers"], |web| {
            web.split_whitespace().skip(1).take(3).eq([&*ready, &*all, &*all])
        })?;
    }
    for output in ["wide", "yaml", "json"] {
        training.told(&["get", "pods", "--output", output])?;
    }
    training.told(&["delete", "deployment", "web"])?;
    training.until(&["get", "pods"], |pods| !pods.contains("web"))
}

/// Clients and a scheduler that reach the server through a socket.
fn apart(training: &Training) -> Result<(), String> {
    let _server = training.serve("apiserver", &["server", "--components", "apiserver"])?;
    training.apply(&objects())?;
    let _scheduler = training.start("scheduler", &["server", "--components", "scheduler"])?;
    training.until(&["get", "pods", "--output", "jsonpath={.items[*].spec.nodeName}"], |nodes| {
        nodes.split_whitespace().count() == PODS
    })?;
    training.told(&["get", "pods,configmaps", "--output", "json"])?;
    training.told(&["delete", "configmaps", "--all"]).map(drop)
}

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {PODS}\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: \
         {{containers: [{CONTAINER}, image: \"{image}\"}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n\
         spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}\n"
    )
}

/// A container but for its image and the end.
const CONTAINER: &str =
    "{name: web, ports: [{containerPort: 80}], resources: {requests: {cpu: 10m, memory: 16Mi}}";

fn objects() -> String {
    let mut text = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}\n".to_owned();
    let settings = "x".repeat(700);
    let size = "{cpu: \"32\", memory: 128Gi, pods: \"110\"}";
    // Writing to a string cannot fail.
    for at in 0..CONFIG_MAPS {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{at}}}\ndata: {{settings: {settings}}}\n"
        );
    }
    for at in 0..NODES {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{at}}}\nstatus: {{capacity: {size}, allocatable: {size}}}\n"
        );
    }
    for at in 0..PODS {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{at}, labels: {{app: web}}}}\nspec: {{containers: [{CONTAINER}, image: web}}]}}\n"
        );
    }
    text
}

/// The program, and a folder of its own.
struct Training<'a> {
    program: &'a Path,
    folder: PathBuf,
    counts: &'a Path,
}

impl<'a> Training<'a> {
    fn of(program: &'a Path, folder: PathBuf, counts: &'a Path) -> Result<Self, String> {
        std::fs::create_dir_all(&folder).map_err(|problem| format!("{}: {problem}", folder.display()))?;
        Ok(Self { program, folder, counts })
    }

    fn command(&self, part: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments).env("KUBECONFIG", self.folder.join("admin.kubeconfig"));
        // `%m` stands for the program, so that each run adds to the counts of those before.
        command.env("LLVM_PROFILE_FILE", self.counts.join(format!("{part}-%m.profraw")));
        command
    }

    /// Something that serves, once it does.
    fn serve(&self, part: &str, arguments: &[&str]) -> Result<Serving, String> {
        let mut command = self.command(part, arguments);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&self.folder).stdout(Stdio::piped());
        let mut serving = Serving::of(&mut command)?;
        let lines = serving.0.stdout.take().map(|out| BufReader::new(out).lines()).into_iter().flatten();
        for line in lines {
            if line.is_ok_and(|line| line.starts_with("ready")) {
                return Ok(serving);
            }
        }
        Err(format!("{command:?} did not become ready"))
    }

    /// Something that runs beside it.
    fn start(&self, part: &str, arguments: &[&str]) -> Result<Serving, String> {
        Serving::of(self.command(part, arguments).stdout(Stdio::null()))
    }

    fn apply(&self, manifest: &str) -> Result<(), String> {
        let file = self.folder.join("manifest.yaml");
        std::fs::write(&file, manifest).map_err(|problem| format!("{}: {problem}", file.display()))?;
        succeed(self.command("client", &["apply", "--filename"]).arg(&file).stdout(Stdio::null()))
    }

    fn told(&self, arguments: &[&str]) -> Result<String, String> {
        told(&mut self.command("client", arguments))
    }

    /// Asks until the answer is as it should be.
    fn until(&self, arguments: &[&str], is_so: impl Fn(&str) -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !is_so(&self.told(arguments)?) {
            if begin.elapsed() > PATIENCE {
                return Err(format!(
                    "not as it should be after {PATIENCE:?}: orchestra {}",
                    arguments.join(" ")
                ));
            }
            sleep(LOOK);
        }
        Ok(())
    }
}

/// A program that serves until it is dropped.
struct Serving(Child);

impl Serving {
    fn of(command: &mut Command) -> Result<Self, String> {
        command.spawn().map(Self).map_err(|problem| format!("cannot run {command:?}: {problem}"))
    }
}

impl Drop for Serving {
    /// It is asked to end, because it writes its counts only then.
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            // Without counts, but not left behind.
            let _ended = self.0.kill();
        }
        let _waited = self.0.wait();
    }
}
