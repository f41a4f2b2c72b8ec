//! Streams to containers with kube's own client, which speaks the channels of WebSocket, also to forward ports; kubectl has others for that.

use futures::SinkExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE, text};
use crate::watchers::client;

/// A cluster with a pod `p` that is ready.
async fn with_pod(container: serde_json::Value) -> (Cluster, Api<Pod>) {
    let cluster = Cluster::start();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    });
    let created = cluster.kubectl_with(&["create", "-f", "-"], pod.to_string().as_bytes());
    assert!(created.status.success(), "{}", text(&created.stderr));
    cluster.kubectl(&["wait", "pod/p", "--for=condition=Ready", "--timeout=60s"]);
    let pods = Api::default_namespaced(client(&cluster, None).await);
    (cluster, pods)
}

/// Everything until the end, which must come.
async fn all(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut read = Vec::new();
    timeout(PATIENCE, from.read_to_end(&mut read)).await.expect("an end").unwrap();
    read
}

/// How a command ended: the exit code, as its `Status` tells it.
fn exit_code(status: &Status) -> Option<&str> {
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"), "{status:?}");
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_deref()
}

#[tokio::test]
async fn a_command_gets_its_input_and_gives_its_outputs_and_its_status() {
    let (_cluster, pods) =
        with_pod(json!({"name": "c", "image": "host", "command": ["sleep", "1000"]})).await;
    let wanted = AttachParams::default().stdin(true).stdout(true).stderr(true);
    let script = "cat; echo wrong >&2; exit 7";
    let mut process = pods.exec("p", ["sh", "-c", script], &wanted).await.unwrap();
    let (mut input, output, errors) =
        (process.stdin().unwrap(), process.stdout().unwrap(), process.stderr().unwrap());
    let status = process.take_status().unwrap();
    let much: Vec<u8> = (0..1_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let given = much.clone();
    let giver = async move {
        input.write_all(&given).await.unwrap();
        // Its end reaches the command.
        input.shutdown().await.unwrap();
    };
    let ((), output, errors) = tokio::join!(giver, all(output), all(errors));
    assert!(output == much, "{} bytes came back", output.len());
    assert_eq!(text(&errors), "wrong\n");
    let status = timeout(PATIENCE, status).await.expect("a status").unwrap();
    assert_eq!((status.status.as_deref(), exit_code(&status)), (Some("Failure"), Some("7")));
    assert_eq!(
        status.message.as_deref(),
        Some("command terminated with non-zero exit code: exit status 7"),
        "{status:?}"
    );
    timeout(PATIENCE, process.join()).await.expect("the end").unwrap();

    let mut done = pods.exec("p", ["true"], &AttachParams::default()).await.unwrap();
    let status = timeout(PATIENCE, done.take_status().unwrap()).await.expect("a status").unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));
    let Err(refused) = pods.exec("absent", ["true"], &AttachParams::default()).await else {
        panic!("a pod that is not there runs a command")
    };
    assert!(refused.to_string().contains("404"), "{refused}");
}

#[tokio::test]
async fn a_terminal_has_the_size_it_is_told() {
    let (_cluster, pods) =
        with_pod(json!({"name": "c", "image": "host", "command": ["sleep", "1000"]})).await;
    let script = "while [ \"$(stty size)\" != '31 97' ]; do sleep 0.05; done; stty size";
    let wanted = AttachParams::interactive_tty();
    let mut process = pods.exec("p", ["sh", "-c", script], &wanted).await.unwrap();
    process.terminal_size().unwrap().send(TerminalSize { width: 97, height: 31 }).await.unwrap();
    let output = process.stdout().unwrap();
    assert_eq!(text(&all(output).await), "31 97\r\n");
}

#[tokio::test]
async fn who_attaches_talks_to_the_containers_program() {
    let (cluster, pods) = with_pod(json!({
        "name": "c", "image": "host", "stdin": true, "stdinOnce": true,
        "command": ["sh", "-c", "read line; echo got $line; cat; echo over"],
    }))
    .await;
    let wanted = AttachParams::default().stdin(true).stdout(true).stderr(false);
    let mut process = pods.attach("p", &wanted).await.unwrap();
    let (mut input, output) = (process.stdin().unwrap(), process.stdout().unwrap());
    input.write_all(b"one\ntwo\n").await.unwrap();
    input.shutdown().await.unwrap();
    assert_eq!(text(&all(output).await), "got one\ntwo\nover\n");
    cluster.eventually(&["get", "pod", "p", "-o", "jsonpath={.status.phase}"], |phase| phase == "Succeeded");
}

/// Answers what it is sent, backwards and line by line.
const BACKWARDS: &str = "
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line[:-1][::-1] + b'\\n')
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((os.environ['POD_IP'], 8080), Handler).serve_forever()
";

#[tokio::test]
async fn ports_are_forwarded_and_one_where_nobody_listens_says_so() {
    let (_cluster, pods) = with_pod(json!({
        "name": "c", "image": "host", "command": ["python3", "-c", BACKWARDS],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }))
    .await;
    let mut forwarded = pods.portforward("p", &[8080, 8081]).await.unwrap();
    let mut open = forwarded.take_stream(8080).unwrap();
    let (long, mut answer) = ("ab".repeat(50_000), Vec::new());
    open.write_all(format!("{long}\nend\n").as_bytes()).await.unwrap();
    answer.resize(long.len() + 1 + 4, 0);
    timeout(PATIENCE, open.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer == format!("{}\ndne\n", "ba".repeat(50_000)).as_bytes());

    let error = forwarded.take_error(8081).unwrap();
    let error = timeout(PATIENCE, error).await.expect("an error").unwrap();
    assert!(error.contains("error forwarding port 8081 to pod p"), "{error}");
}
