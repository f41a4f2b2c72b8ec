//! Containers that somebody talks to, with the unmodified kubectl: attach, run, debug, and terminals.

use std::process::{Command, Output};

use crate::harness::{Cluster, text};
use crate::streams::{PROTOCOLS, fed, kubectl};

fn create(cluster: &Cluster, manifest: &serde_json::Value) {
    let created = cluster.kubectl_with(&["create", "-f", "-"], manifest.to_string().as_bytes());
    assert!(created.status.success(), "{}", text(&created.stderr));
}

fn pod(name: &str, script: &str) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "host", "command": ["sh", "-c", script],
            "stdin": true, "stdinOnce": true,
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}, "limits": {"cpu": "20m", "memory": "20Mi"}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "NotRequired"}]}]}})
}

fn running(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]);
}

/// A command whose terminal is one that `script` makes.
fn on_terminal(cluster: &Cluster, web_socket: &str, line: &str, input: &str) -> Output {
    let mut command = Command::new("script");
    let inner = kubectl(cluster, web_socket, &[]);
    for (name, value) in inner.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    // Wide enough that nothing is wrapped; the terminal shows what is typed as well.
    command.args(["-qec", &format!("stty cols 100 rows 30; kubectl {line}"), "/dev/null"]);
    fed(command, input.as_bytes().to_vec())
}

#[test]
fn who_attaches_talks_to_the_containers_program() {
    let cluster = Cluster::start();
    for (name, web_socket) in PROTOCOLS {
        let pod_name = name.to_lowercase();
        create(&cluster, &pod(&pod_name, "read line; echo got $line; cat; echo over; echo wrong >&2"));
        running(&cluster, &pod_name);
        let attach = kubectl(&cluster, web_socket, &["attach", "-i", &pod_name]);
        let output = fed(attach, b"one\ntwo\n".to_vec());
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "got one\ntwo\nover\n", "{name}");
        assert!(text(&output.stderr).contains("wrong\n"), "{name}: {}", text(&output.stderr));
        let phase = ["get", "pod", &pod_name, "-o", "jsonpath={.status.phase}"];
        cluster.eventually(&phase, |phase| phase == "Succeeded");
        let over = kubectl(&cluster, web_socket, &["attach", "-i", &pod_name]).output().unwrap();
        assert!(!over.status.success());
    }
    // Nobody reads this container's input, and its output goes on.
    let quiet = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "quiet"}, "spec": {"containers": [
        {"name": "main", "image": "host", "command": ["sh", "-c", "while :; do echo tick; sleep 0.2; done"]}]}});
    create(&cluster, &quiet);
    running(&cluster, "quiet");
    for (name, web_socket) in PROTOCOLS {
        let mut attach = kubectl(&cluster, web_socket, &["attach", "quiet"]);
        let mut attach = attach.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(attach.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "tick", "{name}");
        attach.kill().unwrap();
        attach.wait().unwrap();
    }
}

#[test]
fn a_pod_is_run_talked_to_and_removed() {
    let cluster = Cluster::start();
    for (name, web_socket) in PROTOCOLS {
        // kubectl does not wait until the pod is gone, so each has a name of its own.
        let run = |pod: &str, script: &str| {
            let pod = format!("{pod}-{}", name.to_lowercase());
            let line = [
                "run",
                &pod,
                "-i",
                "--rm",
                "--image=host",
                "--restart=Never",
                "--command",
                "--",
                "sh",
                "-c",
                script,
            ];
            fed(kubectl(&cluster, web_socket, &line), b"word\n".to_vec())
        };
        let output = run("well", "read line; echo \"got $line\"");
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("got word\n"), "{name}: {}", text(&output.stdout));
        assert!(text(&output.stdout).contains("deleted"), "{name}: {}", text(&output.stdout));
        let output = run("badly", "read line; exit 3");
        assert_eq!(output.status.code(), Some(3), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn a_command_and_a_container_have_the_terminal_of_the_client() {
    let cluster = Cluster::start();
    create(&cluster, &pod("p", "sleep 1000"));
    running(&cluster, "p");
    for (name, web_socket) in PROTOCOLS {
        // The size may come a moment after the shell.
        let typed = "while test \"$(stty size)\" = '0 0'; do :; done; stty size; test -t 1 && echo ter''minal; echo $TERM; exit 5\n";
        let output = on_terminal(&cluster, web_socket, "exec -it p -- sh", typed);
        let seen = text(&output.stdout);
        assert_eq!(output.status.code(), Some(5), "{name}: {seen}");
        assert!(
            seen.contains("30 100") && seen.contains("terminal") && seen.contains("xterm"),
            "{name}: {seen}"
        );
        let typed = "test -t 0 && echo ter''minal; exit 0\n";
        let line =
            format!("run t-{} -it --rm --image=host --restart=Never --command -- sh", name.to_lowercase());
        let output = on_terminal(&cluster, web_socket, &line, typed);
        let seen = text(&output.stdout);
        assert!(seen.contains("terminal") && seen.contains("deleted"), "{name}: {seen}");
    }
}

#[test]
fn a_container_is_added_to_a_pod_that_runs() {
    let cluster = Cluster::start();
    create(&cluster, &pod("p", "sleep 1000"));
    running(&cluster, "p");
    let debug = [
        "debug",
        "p",
        "-i",
        "--image=host",
        "--container=look",
        "--target=main",
        "--",
        "sh",
        "-c",
        "read a; echo saw $a",
    ];
    let output = fed(kubectl(&cluster, "true", &debug), b"it\n".to_vec());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("saw it"), "{}", text(&output.stdout));
    let status = "jsonpath={.status.ephemeralContainerStatuses[0].name} \
        {.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    cluster.eventually(&["get", "pod", "p", "-o", status], |seen| seen == "look 0");
    // It is of no account for the pod, and its log is there like any other's.
    assert_eq!(cluster.kubectl(&["get", "pod", "p", "-o", "jsonpath={.status.phase}"]), "Running");
    assert_eq!(cluster.kubectl(&["logs", "p", "-c", "look"]), "saw it\n");
    let again = cluster.kubectl(&[
        "get",
        "pod",
        "p",
        "-o",
        "jsonpath={.status.ephemeralContainerStatuses[0].restartCount}",
    ]);
    assert_eq!(again, "0");
}

#[test]
fn a_pod_has_more_or_less_while_it_runs() {
    let cluster = Cluster::start();
    create(&cluster, &pod("p", "sleep 1000"));
    running(&cluster, "p");
    let resize = |resources: &str| {
        let patch =
            format!(r#"{{"spec": {{"containers": [{{"name": "main", "resources": {resources}}}]}}}}"#);
        let mut command = cluster.kubectl_command();
        command.args(["patch", "pod", "p", "--subresource", "resize", "--patch", &patch]).output().unwrap()
    };
    let done = resize(r#"{"requests": {"cpu": "15m"}, "limits": {"cpu": "30m"}}"#);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let given = "jsonpath={.status.containerStatuses[0].resources.requests.cpu} \
        {.status.containerStatuses[0].resources.limits.cpu} {.status.containerStatuses[0].restartCount}";
    cluster.eventually(&["get", "pod", "p", "-o", given], |seen| seen == "15m 30m 0");
    let refused = resize(r#"{"limits": {"cpu": null}}"#);
    assert!(text(&refused.stderr).contains("resource limits cannot be removed"), "{}", text(&refused.stderr));
    let done = resize(r#"{"requests": {"cpu": "9000"}, "limits": {"cpu": "9001"}}"#);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let pending = r#"jsonpath={.status.conditions[?(@.type=="PodResizePending")].reason}"#;
    cluster.eventually(&["get", "pod", "p", "-o", pending], |seen| seen == "Infeasible");
    assert_eq!(cluster.kubectl(&["get", "pod", "p", "-o", given]), "15m 30m 0");
    let done = resize(r#"{"requests": {"cpu": "15m"}, "limits": {"cpu": "30m"}}"#);
    assert!(done.status.success(), "{}", text(&done.stderr));
    cluster.eventually(&["get", "pod", "p", "-o", pending], str::is_empty);
}
