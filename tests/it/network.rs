//! Two pods, one port.

use crate::harness::{Cluster, get, text};

fn pod(name: &str, command: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  \
         terminationGracePeriodSeconds: 1\n  containers:\n  - name: c\n    image: host\n    \
         command: [python3, -c, '{command}']\n    ports: [{{containerPort: {port}}}]\n---\n"
    )
}

/// A web server on the pod's own address, or on every address.
fn server(address: &str, port: u16) -> String {
    format!(
        "import os, http.server as h; h.HTTPServer(({address}, {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    )
}

#[test]
fn two_pods_listen_on_the_same_port_each_on_its_own_address() {
    let cluster = Cluster::start();
    let own = server("os.environ[\"POD_IP\"]", 18_080);
    let manifest = pod("one", &own, 18_080) + &pod("two", &own, 18_080);
    let output = cluster.kubectl_with(&["apply", "-f", "-"], manifest.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/one", "pod/two", "--timeout=60s"]);
    for name in ["one", "two"] {
        let address = cluster.kubectl(&["get", "pod", name, "-o", "jsonpath={.status.podIP}"]);
        let address = format!("{address}:18080");
        crate::harness::until(
            "an answer",
            || get(&address, &address, "/").is_ok_and(|(status, _)| status == 200),
            || (),
        );
    }
}

#[test]
fn a_pod_that_cannot_have_its_port_says_so_in_its_status() {
    let cluster = Cluster::start();
    let greedy = pod("greedy", &server("\"\"", 18_081), 18_081);
    assert!(cluster.kubectl_with(&["apply", "-f", "-"], greedy.as_bytes()).status.success());
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s"]);
    crate::harness::until("it listens", || std::net::TcpStream::connect("127.0.0.1:18081").is_ok(), || ());
    let late = pod("late", &server("os.environ[\"POD_IP\"]", 18_081), 18_081);
    assert!(cluster.kubectl_with(&["apply", "-f", "-"], late.as_bytes()).status.success());
    let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}: {.status.containerStatuses[0].state.waiting.message}";
    let status =
        cluster.eventually(&["get", "pod", "late", "-o", path], |status| status.contains("PortUnavailable"));
    assert!(status.contains("18081"), "{status}");
    // Once the port is free the pod gets it.
    cluster.kubectl(&["delete", "pod", "greedy"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/late", "--timeout=80s"]);
}
