use std::io::Write;

use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::clock::SystemClock;

/// One pod, whose containers are named after what becomes of them.
#[derive(Debug)]
struct OnePod {
    dir: TempDir,
    ended: watch::Sender<bool>,
}

#[async_trait]
impl LogSource for OnePod {
    async fn locate(&self, target: &LogTarget) -> Result<LogFile, Refusal> {
        if (target.namespace.as_str(), target.pod.as_str()) != ("default", "p") {
            return Err(Refusal::NoPod);
        }
        match (target.container.as_str(), target.instance) {
            ("ran", Instance::Current) => {
                Ok(LogFile { path: self.dir.path().join("0.log"), ended: self.ended.subscribe() })
            }
            ("ran", Instance::Previous) => Err(Refusal::NoPrevious),
            ("new", _) => Err(Refusal::Waiting("ContainerCreating".to_owned())),
            ("unpulled", _) => Err(Refusal::Waiting("ErrImagePull".to_owned())),
            _ => Err(Refusal::NoContainer),
        }
    }
}

fn pod() -> (AgentService, Arc<OnePod>) {
    let pod = Arc::new(OnePod { dir: TempDir::new().unwrap(), ended: watch::Sender::new(false) });
    (AgentService::new(pod.clone(), Arc::new(SystemClock)), pod)
}

impl OnePod {
    fn append(&self, line: &str) {
        let path = self.dir.path().join("0.log");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {line}").unwrap();
    }
}

async fn send(agent: &AgentService, method: Method, uri: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(uri).body(Bytes::new()).unwrap();
    agent.clone().oneshot(request).await.unwrap()
}

async fn get(agent: &AgentService, uri: &str) -> (u16, String) {
    let response = send(agent, Method::GET, uri).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_log_is_served_as_asked_for() {
    let (agent, pod) = pod();
    pod.append("one");
    pod.append("two");
    let uri = "/containerLogs/default/p/ran";
    assert_eq!(get(&agent, uri).await, (200, "one\ntwo\n".to_owned()));
    let query = "?tailLines=1&timestamps=true";
    let wanted = "2026-01-01T00:00:00.000000000Z two\n";
    assert_eq!(get(&agent, &format!("{uri}{query}")).await, (200, wanted.to_owned()));
}

#[tokio::test]
async fn a_followed_log_comes_line_by_line_and_ends_with_the_container() {
    let (agent, pod) = pod();
    let mut body = send(&agent, Method::GET, "/containerLogs/default/p/ran?follow=true").await.into_body();
    for text in ["one", "two"] {
        pod.append(text);
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("{text}\n"));
    }
    pod.append("three");
    pod.ended.send_replace(true);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "three\n");
}

#[tokio::test]
async fn refusals_are_told_in_the_words_of_the_kubelet() {
    let (agent, _pod) = pod();
    for (uri, code, text) in [
        ("/containerLogs/default/q/ran", 404, r#"pod "q" does not exist"#),
        ("/containerLogs/default/p/odd", 404, r#"container "odd" not found in pod "p""#),
        (
            "/containerLogs/default/p/new",
            400,
            r#"container "new" in pod "p" is waiting to start: ContainerCreating"#,
        ),
        (
            "/containerLogs/default/p/unpulled",
            400,
            r#"container "unpulled" in pod "p" is waiting to start: image can't be pulled"#,
        ),
        (
            "/containerLogs/default/p/ran?previous=true",
            400,
            r#"previous terminated container "ran" in pod "p" not found"#,
        ),
        ("/containerLogs/default/p/ran?tailLines=x", 400, r#"{"message": "Unable to decode query."}"#),
        ("/containerLogs/default/p/ran?tailLines=-1", 422, r#"{"message": "Invalid request."}"#),
        ("/containerLogs/default//ran", 400, r#"{"message": "Missing podID."}"#),
        ("/containerLogs/default/p", 404, "404: Page Not Found"),
        ("/", 404, "404: Page Not Found"),
    ] {
        assert_eq!(get(&agent, uri).await, (code, text.to_owned()), "{uri}");
    }
    let posted = send(&agent, Method::POST, "/containerLogs/default/p/ran").await;
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_healthy_agent_says_so() {
    let (agent, _pod) = pod();
    assert_eq!(get(&agent, "/healthz").await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn a_container_that_wrote_nothing_has_an_empty_log() {
    let (agent, _pod) = pod();
    assert_eq!(get(&agent, "/containerLogs/default/p/ran").await, (200, String::new()));
}

#[tokio::test(start_paused = true)]
async fn what_simulated_containers_say_they_use_is_served() {
    use crate::backend::sim::{Script, SimRuntime};
    use crate::clock::TokioClock;
    use crate::runtime::{ContainerConfig, ContainerRuntime, PodMeta, SandboxConfig};

    let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let runtime = SimRuntime::new(clock.clone(), |_| Script::forever().using(250_000_000, 64 << 20));
    let name = |name: &str| PodMeta { namespace: "default".into(), name: name.into(), uid: "u".into() };
    let sandbox = SandboxConfig { pod: name("web"), ..SandboxConfig::default() };
    let sandbox = runtime.run_sandbox(&sandbox).await.unwrap();
    for container in ["a", "b"] {
        let config = ContainerConfig { name: container.to_owned(), ..ContainerConfig::default() };
        let id = runtime.create_container(&sandbox, &config).await.unwrap();
        runtime.start_container(&id).await.unwrap();
    }
    tokio::time::advance(std::time::Duration::from_secs(4)).await;
    let usage = Usage::new("n".into(), Arc::new(runtime), clock, std::time::Duration::from_secs(10));
    let agent = pod().0.with_usage(Arc::new(usage));
    let (status, summary) = get(&agent, "/stats/summary").await;
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((status, &summary["node"]["nodeName"]), (200, &"n".into()));
    let pod = &summary["pods"][0];
    let wanted = serde_json::json!({
        "time": "2026-01-01T00:00:04Z", "usageNanoCores": 500_000_000, "usageCoreNanoSeconds": 2_000_000_000,
        "windowNanoSeconds": 10_000_000_000u64,
    });
    assert_eq!((&pod["cpu"], &summary["node"]["cpu"]), (&wanted, &wanted));
    assert_eq!((&pod["podRef"]["name"], &pod["containers"][1]["name"]), (&"web".into(), &"b".into()));
    assert_eq!(pod["containers"][0]["memory"]["workingSetBytes"], 64 << 20);
    let (status, text) = get(&agent, "/metrics/resource").await;
    assert_eq!(status, 200);
    for line in [
        r#"container_cpu_usage_seconds_total{container="a",namespace="default",pod="web"} 1.0"#,
        r#"pod_memory_working_set_bytes{namespace="default",pod="web"} 134217728"#,
        "resource_scrape_error 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    assert_eq!(send(&agent, Method::POST, "/stats/summary").await.status(), 405);
    assert_eq!(get(&pod_without_usage(), "/stats/summary").await.0, 404);
}

fn pod_without_usage() -> AgentService {
    pod().0
}
