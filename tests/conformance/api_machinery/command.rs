//! kubectl against a cluster that listens.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::world::World;

/// Runs kubectl in the test's namespace with this on its standard input.
pub(super) async fn kubectl(world: &World, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("kubectl")
        .env("KUBECONFIG", world.cluster.kubeconfig().expect("a cluster that listens"))
        .env("HOME", world.cluster.data_dir())
        .env_remove("KUBECACHEDIR")
        .arg("--namespace=conformance")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl is on the PATH");
    let mut stdin = child.stdin.take().expect("a pipe");
    // kubectl may end before it has read all.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    child.wait_with_output().await.expect("kubectl ends")
}

/// Runs kubectl, which must succeed, and returns what it printed.
pub(super) async fn succeed(world: &World, arguments: &[&str], input: &str) -> String {
    let output = kubectl(world, arguments, input).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {complaint}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs kubectl, which must fail, and returns what it complained of.
pub(super) async fn fail(world: &World, arguments: &[&str], input: &str) -> String {
    let output = kubectl(world, arguments, input).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "kubectl {}: {printed}", arguments.join(" "));
    String::from_utf8(output.stderr).expect("text")
}
