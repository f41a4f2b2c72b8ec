//! Streams to containers, with the unmodified kubectl, over WebSocket and over SPDY.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{Cluster, processes_with, text, until};

/// What makes kubectl take one protocol or the other.
pub(crate) const PROTOCOLS: [(&str, &str); 2] = [("WebSocket", "true"), ("SPDY", "false")];

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
    {"name": "main", "image": "host", "command": ["sh", "-c", "while :; do sleep 1; done"],
     "env": [{"name": "WHO", "value": "main"}]},
    {"name": "side", "image": "host", "command": ["sh", "-c", "while :; do sleep 1; done"],
     "env": [{"name": "WHO", "value": "side"}]}]}}"#;

fn with_pod(manifest: &str) -> Cluster {
    let cluster = Cluster::start();
    let created = cluster.kubectl_with(&["create", "-f", "-"], manifest.as_bytes());
    assert!(created.status.success(), "{}", text(&created.stderr));
    cluster.kubectl(&["wait", "pod/p", "--for=condition=Ready", "--timeout=60s"]);
    cluster
}

/// kubectl with one of the protocols.
pub(crate) fn kubectl(cluster: &Cluster, web_socket: &str, arguments: &[&str]) -> Command {
    let mut command = cluster.kubectl_command();
    command
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", web_socket)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", web_socket)
        .args(arguments);
    command
}

pub(crate) fn fed(mut command: Command, input: Vec<u8>) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn a_command_gets_its_input_and_gives_its_outputs_and_its_exit_code() {
    let cluster = with_pod(POD);
    for (name, web_socket) in PROTOCOLS {
        let run = |arguments: &[&str]| kubectl(&cluster, web_socket, arguments);
        let output =
            run(&["exec", "p", "-c", "side", "--", "sh", "-c", "echo out $WHO; echo err >&2; exit 7"])
                .output()
                .unwrap();
        assert_eq!(output.status.code(), Some(7), "{name}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "out side\n", "{name}");
        assert!(text(&output.stderr).contains("err\n"), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("command terminated with exit code 7"), "{name}");

        // The end of the input reaches the command, and what it makes of megabytes comes back whole.
        let much: Vec<u8> = (0..4_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let output = fed(run(&["exec", "-i", "p", "-c", "main", "--", "cat"]), much.clone());
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(output.stdout == much, "{name}: {} bytes came back", output.stdout.len());

        // A command that does not read its input ends all the same.
        let output = fed(run(&["exec", "-i", "p", "-c", "main", "--", "true"]), much);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_run_is_refused_in_upstreams_words() {
    let cluster = with_pod(
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "done", "image": "host", "command": ["true"]}],
            "containers": [{"name": "main", "image": "host", "command": ["sleep", "1000"]}]}}"#,
    );
    for (name, web_socket) in PROTOCOLS {
        let refused = |arguments: &[&str]| {
            let output = kubectl(&cluster, web_socket, arguments).output().unwrap();
            assert!(!output.status.success(), "{name}: {}", text(&output.stdout));
            text(&output.stderr)
        };
        let why = refused(&["exec", "absent", "--", "true"]);
        assert!(why.contains(r#"pods "absent" not found"#), "{name}: {why}");
        let why = refused(&["exec", "p", "-c", "other", "--", "true"]);
        assert!(
            why.contains("container other not found in pod p")
                || why.contains("container other is not valid for pod p"),
            "{name}: {why}"
        );
        let why = refused(&["exec", "p", "-c", "done", "--", "true"]);
        assert!(
            why.contains(
                r#"Internal error occurred: unable to upgrade connection: container not found ("done")"#
            ),
            "{name}: {why}"
        );
        let why = refused(&["exec", "p", "--", "no-such-program"]);
        assert!(why.contains("no-such-program"), "{name}: {why}");
    }
}

/// Ends a kubectl that would go on for ever.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process has written so far, by its command line.
fn written_by(mark: &str) -> Option<u64> {
    let pid = processes_with(mark).into_iter().find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "head")
    })?;
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
}

#[test]
fn a_client_that_does_not_read_makes_the_command_wait_and_takes_it_along_when_it_goes() {
    const MUCH: &str = "3000000017";
    let cluster = with_pod(POD);
    for (name, web_socket) in PROTOCOLS {
        let mut client = kubectl(
            &cluster,
            web_socket,
            &["exec", "p", "-c", "main", "--", "head", "-c", MUCH, "/dev/zero"],
        );
        let mut client = Ended(client.stdout(Stdio::piped()).spawn().unwrap());
        // It stands still when it has written the same for ten looks.
        let (mut last, mut same) = (0, 0);
        until(
            "the command stands still",
            || {
                let now = written_by(MUCH).unwrap_or_default();
                same = if now == last && now > 0 { same + 1 } else { 0 };
                last = now;
                same == 10
            },
            || name,
        );
        let written = written_by(MUCH).unwrap();
        assert!(written < 32 << 20, "{name}: {written} bytes are on the way");
        client.0.kill().unwrap();
        client.0.wait().unwrap();
        until("the command ends", || written_by(MUCH).is_none(), || name);
    }
}

#[test]
fn ports_of_a_pod_are_forwarded() {
    let script = "import os, socket, threading\n\
        def serve(c):\n\
        \x20data = b''\n\
        \x20while True:\n\
        \x20 piece = c.recv(65536)\n\
        \x20 if not piece: break\n\
        \x20 data += piece\n\
        \x20c.sendall(data[::-1])\n\
        \x20c.close()\n\
        s = socket.create_server((os.environ['POD_IP'], 8080))\n\
        while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()\n";
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "main", "image": "host", "command": ["python3", "-c", script],
         "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}});
    let cluster = with_pod(&pod.to_string());
    for (name, web_socket) in PROTOCOLS {
        let mut forward = kubectl(&cluster, web_socket, &["port-forward", "pod/p", ":8080", ":8081"]);
        let mut forward = Ended(forward.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(forward.0.stdout.take().unwrap()));
        let mut port = |remote: &str| loop {
            let line = lines.next().unwrap_or_else(|| panic!("{name}: it ended")).unwrap();
            if line.starts_with("Forwarding from 127.0.0.1:") && line.ends_with(remote) {
                let from = line.trim_start_matches("Forwarding from 127.0.0.1:");
                break from.split_whitespace().next().unwrap().parse::<u16>().unwrap();
            }
        };
        let (open, closed) = (port("8080"), port("8081"));
        // Several at once, and the half that is closed does not close the other.
        let mut connections: Vec<TcpStream> =
            (0..5).map(|_| TcpStream::connect(("127.0.0.1", open)).unwrap()).collect();
        for (at, connection) in connections.iter_mut().enumerate() {
            connection.write_all(&vec![u8::try_from(at).unwrap(); 100_000]).unwrap();
            connection.write_all(b"end").unwrap();
            connection.shutdown(std::net::Shutdown::Write).unwrap();
        }
        for (at, connection) in connections.iter_mut().enumerate() {
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).unwrap();
            assert_eq!(answer.len(), 100_003, "{name}");
            assert!(answer.starts_with(b"dne") && answer.ends_with(&[u8::try_from(at).unwrap()]), "{name}");
        }
        // Nobody listens there, which is told as an error.
        let mut nobody = TcpStream::connect(("127.0.0.1", closed)).unwrap();
        assert_eq!(nobody.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "{name}");
        let mut complaint = String::new();
        let mut stderr = forward.0.stderr.take().unwrap();
        until(
            "an error about port 8081",
            || {
                let mut buffer = [0; 4096];
                let read = stderr.read(&mut buffer).unwrap();
                complaint.push_str(&text(&buffer[..read]));
                read == 0 || complaint.contains("error forwarding port 8081 to pod p")
            },
            || name,
        );
        assert!(complaint.contains("error forwarding port 8081 to pod p"), "{name}: {complaint}");
    }
}

#[test]
fn pods_services_and_nodes_are_proxied() {
    let script = "import os, http.server\n\
        class H(http.server.BaseHTTPRequestHandler):\n\
        \x20def do_GET(self):\n\
        \x20 if self.path == '/old':\n\
        \x20  self.send_response(302); self.send_header('Location', '/new'); self.end_headers(); return\n\
        \x20 if self.headers.get('Upgrade'):\n\
        \x20  self.protocol_version = 'HTTP/1.1'; self.send_response(101); self.send_header('Connection', 'Upgrade')\n\
        \x20  self.send_header('Upgrade', 'echo'); self.end_headers(); self.wfile.write(self.rfile.readline().upper())\n\
        \x20  self.close_connection = True; return\n\
        \x20 if self.path == '/page':\n\
        \x20  self.send_response(200); self.send_header('Content-Type', 'text/html'); self.end_headers()\n\
        \x20  self.wfile.write(b'<a href=\"/rewriteme\">test</a>'); return\n\
        \x20 n = int(self.headers.get('Content-Length') or 0)\n\
        \x20 said = self.rfile.read(n).decode()\n\
        \x20 self.send_response(200); self.end_headers()\n\
        \x20 told = [self.command, self.path, said, str(self.headers.get('Authorization'))]\n\
        \x20 self.wfile.write(' '.join(told).encode())\n\
        \x20do_POST = do_PUT = do_DELETE = do_PATCH = do_GET\n\
        http.server.ThreadingHTTPServer((os.environ['POD_IP'], 8080), H).serve_forever()\n";
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app": "p"}},
        "spec": {"containers": [{"name": "main", "image": "host", "command": ["python3", "-c", script],
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}});
    let cluster = with_pod(&pod.to_string());
    cluster.kubectl(&["expose", "pod", "p", "--name=s", "--port=80", "--target-port=8080"]);
    let pods = "/api/v1/namespaces/default/pods";
    let services = "/api/v1/namespaces/default/services";
    let seen = cluster.kubectl(&["get", "--raw", &format!("{pods}/p/proxy/ab?x=12")]);
    assert_eq!(seen, "GET /ab?x=12  None");
    for path in [format!("{pods}/p:8080/proxy/"), format!("{pods}/http:p:8080/proxy/")] {
        assert_eq!(cluster.kubectl(&["get", "--raw", &path]), "GET /  None");
    }
    cluster.eventually(&["get", "--raw", &format!("{services}/s:80/proxy/")], |seen| seen == "GET /  None");
    assert_eq!(cluster.kubectl(&["get", "--raw", &format!("{services}/s/proxy/y")]), "GET /y  None");
    // Links of pages lead through the proxy.
    let page = cluster.kubectl(&["get", "--raw", &format!("{services}/s/proxy/page")]);
    assert_eq!(page, format!("<a href=\"{services}/s/proxy/rewriteme\">test</a>"));
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    assert_eq!(cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/healthz")]), "ok");
    let why = cluster.kubectl_fails(&["get", "--raw", &format!("{pods}/p:1/proxy/")]);
    assert!(why.contains("error trying to reach service: dial tcp"), "{why}");
    let why = cluster.kubectl_fails(&["get", "--raw", &format!("{services}/s:81/proxy/")]);
    assert!(why.contains(r#"no service port 81 found for service "s""#), "{why}");

    let mut proxy = cluster.kubectl_command();
    let mut proxy = Ended(proxy.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(proxy.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} {pods}/p/proxy{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(method, "/m", "body");
        assert!(answer.contains(&format!("{method} /m body None")), "{answer}");
    }
    // Another protocol through pod and service.
    for path in [format!("{pods}/p/proxy/up"), format!("{services}/s:80/proxy/up")] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(text(&head).starts_with("HTTP/1.1 101"), "{}", text(&head));
        stream.write_all(b"through and back\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "THROUGH AND BACK\n");
    }
    let answer = ask("GET", "", "");
    assert!(answer.starts_with("HTTP/1.1 301") && answer.contains(&format!("{pods}/p/proxy/")), "{answer}");
    let answer = ask("GET", "/old", "");
    assert!(
        answer.starts_with("HTTP/1.1 302") && answer.contains(&format!("{pods}/p/proxy/new")),
        "{answer}"
    );
}
