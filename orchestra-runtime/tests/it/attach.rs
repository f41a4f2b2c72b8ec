//! Clients that attach to containers of the process backend, supervised in both ways.

use std::path::Path;

use orchestra_runtime::backend::process::Supervision;
use orchestra_runtime::runtime::{ContainerConfig, ContainerRuntime, Streams, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use crate::process::{LONG, exit_of, log, open, shell, shim, start};

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
    input_reaches_the_program_and_its_end_does_where_it_is_read_once
    an_input_that_is_read_more_than_once_outlives_its_clients
    a_terminal_has_the_clients_size_and_one_output
    a_container_without_an_input_shows_what_it_writes
}

/// The client's ends of a container's streams.
struct Client {
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
}

fn streams() -> (Streams, Client) {
    let ((far_in, stdin), (far_out, stdout), (far_err, stderr)) = (duplex(4096), duplex(4096), duplex(4096));
    let mut streams = Streams::new();
    streams.stdin = Some(Box::new(far_in));
    streams.stdout = Some(Box::new(far_out));
    streams.stderr = Some(Box::new(far_err));
    (streams, Client { stdin, stdout, stderr })
}

fn interactive(dir: &Path, script: &str) -> ContainerConfig {
    ContainerConfig { stdin: true, stdin_once: true, ..shell(dir, script) }
}

/// Reads until `wanted` has come.
async fn until_read(from: &mut DuplexStream, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !text.contains(wanted) {
            let read = from.read(&mut buffer).await.unwrap();
            assert!(read > 0, "it ended: {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("it is written");
    text
}

async fn input_reaches_the_program_and_its_end_does_where_it_is_read_once(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    // Without a line end, so that what was read is seen at once or not at all.
    let script = "read line; printf \"got $line\"; cat >&2; echo over; exit 5";
    let id = start(&runtime, &interactive(dir.path(), script)).await.unwrap();
    let (streams, mut client) = streams();
    let talk = async {
        client.stdin.write_all(b"one\n").await.unwrap();
        until_read(&mut client.stdout, "got one").await;
        client.stdin.write_all(b"two").await.unwrap();
        until_read(&mut client.stderr, "two").await;
        client.stdin.shutdown().await.unwrap();
        until_read(&mut client.stdout, "over\n").await;
        client.stdout.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (attached, ()) = tokio::join!(runtime.attach(&id, streams), talk);
    attached.unwrap();
    assert_eq!(exit_of(&runtime, &id).await.code, 5);
    assert_eq!(log(dir.path()), ["stdout P got one", "stderr P two", "stdout F over"]);
    let why = runtime.attach(&id, Streams::new()).await.unwrap_err().to_string();
    assert!(why.contains("is not running"), "{why}");
}

async fn an_input_that_is_read_more_than_once_outlives_its_clients(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let config =
        ContainerConfig { stdin_once: false, ..interactive(dir.path(), "read a; read b; echo $a $b") };
    let id = start(&runtime, &config).await.unwrap();
    let (first, mut client) = streams();
    client.stdin.write_all(b"first\n").await.unwrap();
    client.stdin.shutdown().await.unwrap();
    // The end of this client's input is not that of the program's, which waits for another line.
    let left = tokio::time::timeout(std::time::Duration::from_millis(300), runtime.attach(&id, first)).await;
    assert!(left.is_err());
    let (second, mut client) = streams();
    let talk = async {
        client.stdin.write_all(b"second\n").await.unwrap();
        assert_eq!(until_read(&mut client.stdout, "\n").await, "first second\n");
    };
    let (attached, ()) = tokio::join!(runtime.attach(&id, second), talk);
    attached.unwrap();
}

async fn a_terminal_has_the_clients_size_and_one_output(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let script = "trap 'stty size' WINCH; test -t 0 && test -t 1 && test -t 2 && echo terminal >&2; \
        while :; do read line && break; done; exit 3";
    let config = ContainerConfig { tty: true, ..interactive(dir.path(), script) };
    let id = start(&runtime, &config).await.unwrap();
    let (mut streams, mut client) = streams();
    streams.stderr = None;
    let (size, terminal) = watch::channel(Some(TerminalSize { columns: 91, rows: 17 }));
    streams.terminal = Some(terminal);
    let talk = async {
        until_read(&mut client.stdout, "17 91").await;
        size.send_replace(Some(TerminalSize { columns: 120, rows: 40 }));
        until_read(&mut client.stdout, "40 120").await;
        client.stdin.write_all(b"bye\n").await.unwrap();
        client.stdout.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (attached, ()) = tokio::join!(runtime.attach(&id, streams), talk);
    attached.unwrap();
    assert_eq!(exit_of(&runtime, &id).await.code, 3);
    let written = log(dir.path());
    assert!(written.iter().any(|line| line.contains("terminal")), "{written:?}");
    assert!(written.iter().all(|line| line.starts_with("stdout ")), "{written:?}");
}

async fn a_container_without_an_input_shows_what_it_writes(supervision: Supervision) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), supervision);
    let script = format!(
        "until test -e {0}/go; do echo waiting; sleep 0.01; done; echo after; echo wrong >&2",
        dir.path().display()
    );
    let id = start(&runtime, &shell(dir.path(), &script)).await.unwrap();
    let (streams, mut client) = streams();
    let talk = async {
        // Nobody reads it, and nobody minds.
        client.stdin.write_all(b"ignored").await.unwrap_or_default();
        // Only once somebody listens is it to end.
        until_read(&mut client.stdout, "waiting\n").await;
        std::fs::write(dir.path().join("go"), "").unwrap();
        until_read(&mut client.stdout, "after\n").await;
        until_read(&mut client.stderr, "wrong\n").await;
    };
    let (attached, ()) = tokio::join!(runtime.attach(&id, streams), talk);
    attached.unwrap();
}
