//! The real kubectl over TLS. Where there is none, each test says so and passes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use orchestra_apiserver::ApiServer;
use orchestra_apiserver::pki::Pki;
use orchestra_store::MemoryStore;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server on a socket, and a kubectl that knows it.
struct Cluster {
    dir: TempDir,
    kubectl: PathBuf,
    url: String,
    _stop: DropGuard,
}

/// The answer of a kubectl that ended.
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

pub(crate) fn find_kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}

impl Cluster {
    async fn start() -> Option<Self> {
        let Some(kubectl) = find_kubectl() else {
            eprintln!("not run: there is no kubectl on the PATH");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let pki = Pki::load_or_create(
            &dir.path().join("pki"),
            &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
            Timestamp::now(),
        )
        .unwrap();
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        std::fs::write(dir.path().join("config"), pki.kubeconfig(&url)).unwrap();
        let stop = CancellationToken::new();
        let tls = pki.server_config().unwrap();
        let token = stop.clone();
        tokio::spawn(async move { server.serve(listener, Some(tls), token).await });
        Some(Self { dir, kubectl, url, _stop: stop.drop_guard() })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .args(args)
            .env("KUBECONFIG", self.dir.path().join("config"))
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .env("HOME", self.dir.path())
            .env("EDITOR", "false")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Answer {
        let Output { status, stdout, stderr } = self.command(args).output().await.unwrap();
        Answer {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn ok<'a>(&'a self, args: &'a [&'a str]) -> impl Future<Output = String> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.run(args).await;
            assert_eq!(answer.code, Some(0), "{place}: {args:?}: {}", answer.err);
            answer.out
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn follow(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).spawn().unwrap()
    }
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: c
        image: nginx:1
        ports:
        - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
  - port: 80
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applies_and_reads_back() {
    let Some(cluster) = Cluster::start().await else { return };
    cluster.write("web.yaml", WEB);
    let out = cluster.ok(&["apply", "-f", "web.yaml"]).await;
    assert_eq!(out, "deployment.apps/web created\nservice/web created\n");
    let out = cluster.ok(&["apply", "-f", "web.yaml"]).await;
    assert_eq!(out, "deployment.apps/web unchanged\nservice/web unchanged\n");
    cluster.write("web.yaml", &WEB.replace("nginx:1", "nginx:2"));
    let out = cluster.ok(&["apply", "-f", "web.yaml"]).await;
    assert_eq!(out, "deployment.apps/web configured\nservice/web unchanged\n");
    let image = cluster
        .ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"])
        .await;
    assert_eq!(image, "nginx:2");
    let table = cluster.ok(&["get", "deploy"]).await;
    assert!(
        table.starts_with(
            "NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2     0            0           "
        ),
        "{table}"
    );
    let described = cluster.ok(&["describe", "deploy", "web"]).await;
    assert!(described.contains("Selector:               app=web"), "{described}");
    let described = cluster.ok(&["describe", "service", "web"]).await;
    assert!(described.contains("Port:"), "{described}");
    let out = cluster.ok(&["delete", "-f", "web.yaml"]).await;
    assert!(out.contains("deployment.apps \"web\" deleted"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applies_on_the_server() {
    let Some(cluster) = Cluster::start().await else { return };
    cluster.write("web.yaml", WEB);
    let apply = &["apply", "--server-side", "-f", "web.yaml"][..];
    let applied = "deployment.apps/web serverside-applied\nservice/web serverside-applied\n";
    assert_eq!(cluster.ok(apply).await, applied);
    let version = &["get", "deploy", "web", "-o", "jsonpath={.metadata.resourceVersion}"][..];
    let before = cluster.ok(version).await;
    assert_eq!(cluster.ok(apply).await, applied);
    assert_eq!(cluster.ok(version).await, before);

    cluster.ok(&["scale", "deploy/web", "--replicas=5"]).await;
    let refused = cluster.run(apply).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.starts_with(
            "error: Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using \
             apps/v1: .spec.replicas\nPlease review the fields above--they currently have other managers."
        ),
        "{}",
        refused.err
    );
    let forced = cluster.ok(&["apply", "--server-side", "--force-conflicts", "-f", "web.yaml"]).await;
    assert_eq!(forced, applied);
    let replicas = cluster.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await;
    assert_eq!(replicas, "2");

    cluster.write("web.yaml", &WEB.replace("  labels: {app: web}\nspec:\n  replicas", "spec:\n  replicas"));
    cluster.ok(apply).await;
    assert_eq!(cluster.ok(&["get", "deploy", "web", "-o", "jsonpath={.metadata.labels}"]).await, "");
    assert!(!cluster.ok(&["get", "deploy", "web", "-o", "yaml"]).await.contains("managedFields"));
    let shown = cluster.ok(&["get", "deploy", "web", "-o", "yaml", "--show-managed-fields"]).await;
    assert!(shown.contains("manager: kubectl\n    operation: Apply"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_over_from_its_own_apply_to_the_servers() {
    let Some(cluster) = Cluster::start().await else { return };
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: '1'\n  b: '2'\n";
    cluster.write("map.yaml", map);
    cluster.ok(&["apply", "-f", "map.yaml"]).await;
    cluster.write("map.yaml", &map.replace("  b: '2'\n", "").replace("'1'", "'3'"));
    cluster.ok(&["apply", "--server-side", "-f", "map.yaml"]).await;
    cluster.ok(&["apply", "--server-side", "-f", "map.yaml"]).await;
    assert_eq!(cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.data.a}"]).await, "3");
    let managers =
        cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.metadata.managedFields[*].manager}"]).await;
    assert!(managers.split(' ').any(|manager| manager == "kubectl"), "{managers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_what_it_is_told_to() {
    let Some(cluster) = Cluster::start().await else { return };
    // These send protobuf.
    cluster.ok(&["create", "deployment", "web", "--image=nginx", "--replicas=1"]).await;
    cluster.ok(&["create", "configmap", "c", "--from-literal=a=b"]).await;
    cluster.ok(&["create", "namespace", "n"]).await;
    cluster.ok(&["create", "secret", "generic", "s", "--from-literal=k=v"]).await;
    assert_eq!(cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.data.a}"]).await, "b");
    assert_eq!(cluster.ok(&["get", "secret", "s", "-o", "jsonpath={.data.k}"]).await, "dg==");
    for (kind, patch) in [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"nginx","env":[{"name":"A","value":"1"}]}]}}}}"#,
        ),
        ("merge", r#"{"spec":{"paused":true}}"#),
        ("json", r#"[{"op":"add","path":"/metadata/annotations","value":{"x":"y"}}]"#),
    ] {
        let out = cluster.ok(&["patch", "deploy", "web", "--type", kind, "-p", patch]).await;
        assert_eq!(out, "deployment.apps/web patched\n");
    }
    let out = cluster.ok(&["patch", "deploy", "web", "-p", r#"{"spec":{"paused":true}}"#]).await;
    assert_eq!(out, "deployment.apps/web patched (no change)\n");
    assert_eq!(cluster.ok(&["scale", "deploy/web", "--replicas=3"]).await, "deployment.apps/web scaled\n");
    assert_eq!(cluster.ok(&["label", "deploy", "web", "a=b"]).await, "deployment.apps/web labeled\n");
    assert_eq!(cluster.ok(&["annotate", "deploy", "web", "a=b"]).await, "deployment.apps/web annotated\n");
    cluster.ok(&["set", "image", "deploy/web", "nginx=nginx:3"]).await;
    cluster.ok(&["rollout", "resume", "deploy/web"]).await;
    let got = cluster
        .ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas} {.metadata.labels.a} {.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[0].value} {.metadata.annotations.x}"])
        .await;
    assert_eq!(got, "3 b nginx:3 1 y");
    cluster.write("edit.sh", "#!/bin/sh\nsed -i 's/replicas: 3/replicas: 4/' \"$1\"\n");
    let edited =
        cluster.command(&["edit", "deploy", "web"]).env("KUBE_EDITOR", "sh edit.sh").output().await.unwrap();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    assert_eq!(cluster.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await, "4");
    cluster.ok(&["delete", "deploy", "web"]).await;
    let gone = cluster.run(&["get", "deploy", "web"]).await;
    assert_eq!(
        (gone.code, gone.err.as_str()),
        (Some(1), "Error from server (NotFound): deployments.apps \"web\" not found\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_a_node() {
    let Some(cluster) = Cluster::start().await else { return };
    cluster.write("node.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    cluster.ok(&["apply", "-f", "node.yaml"]).await;
    let ended = r#"{"status":{"phase":"Succeeded"}}"#;
    for (pod, how) in [("p", "--disable-eviction=true"), ("q", "--disable-eviction=false")] {
        let overrides = r#"{"spec":{"nodeName":"n1"}}"#;
        cluster.ok(&["run", pod, "--image=i", "--restart=Never", "--overrides", overrides]).await;
        cluster.ok(&["patch", "pod", pod, "--subresource=status", "-p", ended]).await;
        let out = cluster.ok(&["drain", "n1", "--force", how]).await;
        assert!(out.contains("node/n1 drained"), "{out}");
        assert_eq!(cluster.ok(&["get", "pods", "-o", "name"]).await, "");
        cluster.ok(&["uncordon", "n1"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knows_what_is_served() {
    let Some(cluster) = Cluster::start().await else { return };
    let resources = cluster.ok(&["api-resources"]).await;
    let words: Vec<Vec<&str>> = resources.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(words.contains(&vec!["deployments", "deploy", "apps/v1", "true", "Deployment"]), "{resources}");
    let versions = cluster.ok(&["api-versions"]).await;
    assert!(versions.contains("apps/v1\n"), "{versions}");
    let explained = cluster.ok(&["explain", "deployment.spec.strategy"]).await;
    assert!(explained.contains("rollingUpdate"), "{explained}");
    let version = cluster.ok(&["version", "-o", "json"]).await;
    assert!(version.contains("\"minor\": \"36\""), "{version}");
    assert_eq!(cluster.ok(&["auth", "can-i", "delete", "pods"]).await, "yes\n");
    let me = cluster.ok(&["auth", "whoami"]).await;
    assert!(me.contains("kubernetes-admin") && me.contains("system:masters"), "{me}");
    let all = cluster.ok(&["get", "all", "-A"]).await;
    assert!(all.contains("service/kubernetes"), "{all}");
    assert_eq!(cluster.ok(&["get", "--raw", "/healthz"]).await, "ok");
    assert!(cluster.ok(&["get", "--raw", "/readyz?verbose"]).await.contains("[+]etcd ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut child = cluster.follow(&["get", "cm", "-w"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    cluster.ok(&["create", "configmap", "c", "--from-literal=a=b"]).await;
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "NAME   DATA   AGE");
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("c      1      "));
    cluster.ok(&["patch", "cm", "c", "-p", r#"{"data":{"x":"y"}}"#]).await;
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("c      2      "));
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_as_upstream_does() {
    let Some(cluster) = Cluster::start().await else { return };
    let refused = async |name: &str, text: &str| {
        cluster.write(name, text);
        let answer = cluster.run(&["apply", "-f", name]).await;
        assert_eq!(answer.code, Some(1), "{name}: {}", answer.out);
        answer.err
    };
    let unknown = refused("unknown.yaml", &WEB.replace("replicas: 2", "replica: 2")).await;
    assert!(unknown.contains("unknown field \"spec.replica\""), "{unknown}");
    let selector =
        refused("selector.yaml", &WEB.replace("matchLabels: {app: web}", "matchLabels: {app: other}")).await;
    assert!(selector.contains("`selector` does not match template `labels`"), "{selector}");
    let name = refused("name.yaml", &WEB.replace("name: web\n  labels", "name: We_b\n  labels")).await;
    assert!(name.contains("metadata.name: Invalid value: \"We_b\""), "{name}");
    let kind = refused("kind.yaml", "apiVersion: apps/v1\nkind: Deploymen\nmetadata: {name: x}\n").await;
    assert!(kind.contains("no matches for kind \"Deploymen\" in version \"apps/v1\""), "{kind}");
    assert_eq!(cluster.ok(&["get", "deploy", "-o", "name"]).await, "");
}

#[tokio::test]
async fn a_token_made_by_kubectl_lets_its_account_in() {
    let Some(cluster) = Cluster::start().await else { return };
    cluster.ok(&["create", "serviceaccount", "bot"]).await;
    let token = cluster.ok(&["create", "token", "bot", "--duration", "10m"]).await;
    let mut command = cluster.command(&[
        "auth",
        "whoami",
        "--server",
        &cluster.url,
        "--insecure-skip-tls-verify",
        "--token",
        token.trim(),
        "-o",
        "jsonpath={.status.userInfo.username}",
    ]);
    let answer = command.env("KUBECONFIG", "/dev/null").output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "system:serviceaccount:default:bot", "{answer:?}");
}
