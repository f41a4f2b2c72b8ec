//! How many pods find a node in a second, in process, with all default plugins. Guards the table in docs/scheduler.md.
//!
//! `cargo bench -p orchestra-scheduler --bench scheduler [-- ROW…]`
//!
//! A row is run if its name contains one of the words given; `million` needs some 6 GiB of memory and runs only when
//! it is asked for. Each row is decided by the fast engine and, for as many pods as fit into a second, by the
//! reference engine on a cluster just alike; the ratio of the two is the last column. Pods that make room for themselves
//! are counted once they have their node, or its promise; percentiles are of single decisions.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestra_scheduler::Profile;
use orchestra_scheduler::engine::{Engine, FastEngine, ReferenceEngine};
use orchestra_scheduler::outcome::Outcome;
use orchestra_scheduler::plugin::Cycle;
use orchestra_scheduler::view::{
    ClaimReference, ClaimView, ClassView, ClusterView, CsiNodeView, Mounts, NodeFacts, NodeName, PodKey,
    PodUid, PodView, ServiceView, VolumeView,
};
use serde_json::{Value, json};

/// One workload.
struct Row {
    name: &'static str,
    nodes: usize,
    pods: usize,
    /// The pod of each class; pods take turns.
    classes: Vec<PodView>,
    services: Vec<ServiceView>,
    /// Whether a daemon pod is placed on each node first.
    daemons: bool,
    /// What each pod mounts, if anything.
    volumes: Option<Volumes>,
    /// How important the pods are that fill every node first, if any do, and how long those of them stay that are evicted.
    full: Option<(i32, Victims)>,
}

/// What a pod has a claim of its own to. Every node takes 39 volumes of the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Volumes {
    /// A volume that one of three zones can reach.
    Bound,
    /// A volume that is made once the pod has its node.
    ToBeMade,
}

/// What becomes of evicted pods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victims {
    /// They are gone before the next decision, which gives the pod its node.
    Leave,
    /// They are there till the end: room is promised to one pod after the other.
    Linger,
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    println!(
        "{:<34} {:>8} {:>8} {:>9} {:>9} {:>8} {:>9} {:>8} {:>8} {:>7} {:>7}",
        "row",
        "nodes",
        "pods",
        "pods/s",
        "pods/cpu",
        "seconds",
        "p50 us",
        "p99 us",
        "ref/cpu",
        "ratio",
        "MiB"
    );
    for row in rows() {
        let named = asked.iter().any(|word| row.name.contains(word.as_str()));
        if named || (asked.is_empty() && row.nodes < 1_000_000) {
            run(&row);
        }
    }
}

fn rows() -> Vec<Row> {
    let plain = || vec![pod(json!({}))];
    let row = |name, nodes, pods, classes| Row {
        name,
        nodes,
        pods,
        classes,
        services: Vec::new(),
        daemons: false,
        volumes: None,
        full: None,
    };
    let spread = |when: &str, key: &str| {
        pod(
            json!({"topologySpreadConstraints": [{"maxSkew": 5, "topologyKey": key, "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"app": "web"}}}]}),
        )
    };
    let service =
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}}});
    const ZONE: &str = "topology.kubernetes.io/zone";
    const HOST: &str = "kubernetes.io/hostname";
    let near = |kind: &str, key: &str, preferred: bool| {
        let mut term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}},
            "namespaceSelector": {"matchLabels": {"team": "devops"}}, "namespaces": ["default"]});
        let mut when = "requiredDuringSchedulingIgnoredDuringExecution";
        if preferred {
            (term, when) = (
                json!({"weight": 1, "podAffinityTerm": term}),
                "preferredDuringSchedulingIgnoredDuringExecution",
            );
        }
        vec![pod(json!({"affinity": {kind: {when: [term]}}}))]
    };
    vec![
        row("plain", 5_000, 50_000, plain()),
        Row { daemons: true, ..row("daemons", 15_000, 30_000, plain()) },
        row("mix of 10 classes", 5_000, 50_000, mix(10)),
        row("mix of 100 classes", 5_000, 50_000, mix(100)),
        row("mix of 1000 classes", 5_000, 50_000, mix(1000)),
        row("spread, hard, by zone", 5_000, 10_000, vec![spread("DoNotSchedule", ZONE)]),
        row("spread, preferred, by zone", 5_000, 10_000, vec![spread("ScheduleAnyway", ZONE)]),
        Row {
            services: serde_json::from_value(service)
                .map(|it| ServiceView::from_api(&it))
                .into_iter()
                .collect(),
            ..row("spread, by default", 5_000, 10_000, plain())
        },
        Row { volumes: Some(Volumes::Bound), ..row("volumes, bound, by zone", 5_000, 10_000, plain()) },
        Row { volumes: Some(Volumes::ToBeMade), ..row("volumes, to be made", 5_000, 10_000, plain()) },
        row("affinity, required, by zone", 5_000, 10_000, near("podAffinity", ZONE, false)),
        row("affinity, preferred, by host", 5_000, 10_000, near("podAffinity", HOST, true)),
        row("anti-affinity, required, by host", 5_000, 5_000, near("podAntiAffinity", HOST, false)),
        row("anti-affinity, preferred, by host", 5_000, 10_000, near("podAntiAffinity", HOST, true)),
        Row {
            full: Some((0, Victims::Leave)),
            ..row("preemption, victims leave at once", 5_000, 5_000, vec![preemptor()])
        },
        Row {
            full: Some((0, Victims::Linger)),
            ..row("preemption, victims linger", 5_000, 5_000, vec![preemptor()])
        },
        Row { full: Some((10, Victims::Leave)), ..row("no room anywhere", 5_000, 20_000, vec![preemptor()]) },
        row("large", 100_000, 100_000, plain()),
        row("million", 1_000_000, 1_000_000, plain()),
    ]
}

/// Asks for most of a node, and comes before pods of a lower priority than ten.
fn preemptor() -> PodView {
    pod(json!({"priority": 10, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "3", "memory": "500Mi"}}}]}))
}

/// Four pods that fill a node.
fn fill(cluster: &mut ClusterView, nodes: usize, priority: i32) {
    let filler = pod(json!({"priority": priority, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "900m", "memory": "500Mi"}}}]}));
    for number in 0..4 * nodes {
        let node = NodeName::from(format!("node-{}", number % nodes).as_str());
        cluster.place(named(&filler, 2_000_000_000 + number), &node);
    }
}

/// Pods that differ in what they ask for.
fn mix(classes: usize) -> Vec<PodView> {
    let asking = |index: usize| {
        json!({"containers": [{"name": "c", "resources": {"requests": {
            "cpu": format!("{}m", 50 + index % 40 * 5), "memory": format!("{}Mi", 100 + index)}}}]})
    };
    (0..classes).map(|index| pod(asking(index))).collect()
}

fn pod(mut spec: Value) -> PodView {
    if spec.get("containers").is_none() {
        spec["containers"] =
            json!([{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]);
    }
    let metadata = json!({"name": "pod", "namespace": "default", "uid": "", "labels": {"app": "web"}});
    let pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod");
    PodView::from_api(&pod).expect("a pod that can be read")
}

/// The `number`th pod made after a template, sharing nothing with others that pods off a wire would not share.
fn named(template: &PodView, number: usize) -> Arc<PodView> {
    let mut pod = template.clone();
    let name = format!("pod-{number}");
    (pod.uid, pod.key) = (PodUid::from(name.as_str()), PodKey::new("default", &name));
    pod.rules = Arc::new((*template.rules).clone());
    Arc::new(pod)
}

fn cluster(row: &Row) -> ClusterView {
    let mut cluster = ClusterView::default();
    for index in 0..row.nodes {
        let name = format!("node-{index}");
        let node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        });
        let node = serde_json::from_value(node).expect("a node");
        cluster.set_node(Arc::new(NodeFacts::from_api(&node).expect("a node that can be read")));
    }
    if let Some(volumes) = row.volumes {
        store(&mut cluster, row, volumes);
    }
    for service in &row.services {
        cluster.keep(Arc::new(service.clone()));
    }
    cluster
}

/// Claims of all pods, and what stands behind them.
fn store(cluster: &mut ClusterView, row: &Row, volumes: Volumes) {
    const DRIVER: &str = "disk.example.com";
    let class = json!({"metadata": {"name": "disks"}, "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer"});
    cluster.keep(Arc::new(ClassView::from_api(&serde_json::from_value(class).expect("a class"))));
    for index in 0..row.nodes {
        let name = format!("node-{index}");
        let node = json!({"metadata": {"name": name}, "spec": {"drivers": [
            {"name": DRIVER, "nodeID": name, "allocatable": {"count": 39}}]}});
        let node = serde_json::from_value(node).expect("a CSINode");
        cluster.keep(Arc::new(CsiNodeView::from_api(&node)));
    }
    for number in 0..row.pods {
        let name = format!("pod-{number}");
        let mut claim = json!({"metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"storageClassName": "disks", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}});
        if volumes == Volumes::Bound {
            claim["spec"]["volumeName"] = json!(name);
            claim["status"]["phase"] = json!("Bound");
            let zone = json!({"key": "topology.kubernetes.io/zone", "operator": "In",
                "values": [format!("zone-{}", number % 3)]});
            let volume = json!({"metadata": {"name": name}, "spec": {"storageClassName": "disks",
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": DRIVER, "volumeHandle": name},
                "claimRef": {"namespace": "default", "name": name, "uid": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}}}});
            let volume = serde_json::from_value(volume).expect("a volume");
            cluster.keep(Arc::new(VolumeView::from_api(&volume).expect("a volume that can be read")));
        }
        let claim = serde_json::from_value(claim).expect("a claim");
        cluster.keep(Arc::new(ClaimView::from_api(&claim).expect("a claim that can be read")));
    }
}

/// The pod with a claim that is called like it.
fn mounting(pod: Arc<PodView>) -> Arc<PodView> {
    let claims = vec![ClaimReference { name: (&*pod.key.name).into(), ephemeral: false }];
    let mut pod = Arc::unwrap_or_clone(pod);
    pod.mounts = Arc::new(Mounts { claims, disks: Vec::new() });
    Arc::new(pod)
}

/// What one engine did.
struct Measured {
    pods: usize,
    took: Duration,
    /// The time on a processor, which others that compete for it do not lengthen.
    cpu: Duration,
    each: Vec<Duration>,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.pods as f64 / self.took.as_secs_f64()
    }

    fn rate_of_cpu(&self) -> f64 {
        self.pods as f64 / self.cpu.as_secs_f64()
    }

    fn percentile(&mut self, share: f64) -> f64 {
        self.each.sort_unstable();
        let index = ((self.each.len() as f64 * share) as usize).min(self.each.len() - 1);
        self.each[index].as_secs_f64() * 1e6
    }
}

/// Places pods until they are all placed or time is over.
fn decide(
    engine: &mut dyn Engine,
    cluster: &mut ClusterView,
    pods: &[Arc<PodView>],
    limit: Duration,
    victims: Victims,
) -> Measured {
    let profile = Profile::default();
    let (begin, cpu) = (Instant::now(), on_processor());
    let (mut each, mut placed) = (Vec::with_capacity(pods.len()), 0);
    for pod in pods {
        let mut decide = |cluster: &ClusterView| {
            let asked = Instant::now();
            let outcome = engine.place(&profile, &mut Cycle::new(cluster), pod);
            each.push(asked.elapsed());
            black_box(outcome)
        };
        match decide(cluster) {
            Outcome::Chosen(choice) => cluster.place(pod.clone(), &choice.node),
            Outcome::Rejected(diagnosis) => {
                if let Some(node) = &diagnosis.nominated {
                    cluster.nominate(pod.clone(), node);
                    if victims == Victims::Leave {
                        diagnosis.victims.iter().for_each(|victim| drop(cluster.take(&victim.uid)));
                        let Outcome::Chosen(choice) = decide(cluster) else {
                            panic!("{}: no room was made", pod.key)
                        };
                        cluster.withdraw(pod);
                        cluster.place(pod.clone(), &choice.node);
                    }
                }
            }
            other => panic!("{}: {other:?}", pod.key),
        }
        placed += 1;
        if begin.elapsed() > limit {
            break;
        }
    }
    Measured { pods: placed, took: begin.elapsed(), cpu: on_processor() - cpu, each }
}

fn run(row: &Row) {
    let mut cluster = cluster(row);
    let victims = row.full.map_or(Victims::Leave, |(_, victims)| victims);
    if let Some((priority, _)) = row.full {
        fill(&mut cluster, row.nodes, priority);
    }
    let (mut fast, mut reference) = (FastEngine::seeded(1), ReferenceEngine::seeded(1));
    if row.daemons {
        let daemons: Vec<_> = (0..row.nodes).map(daemon).collect();
        let fork = &mut cluster.clone();
        let slow = decide(&mut reference, fork, &daemons, Duration::from_secs(1), victims);
        let quick = decide(&mut fast, &mut cluster, &daemons, Duration::MAX, victims);
        print("daemons themselves", row, quick, &slow);
    }
    let pod = |number: usize| named(&row.classes[number % row.classes.len()], number);
    let pods = (0..row.pods).map(pod).map(|pod| if row.volumes.is_some() { mounting(pod) } else { pod });
    let pods: Vec<_> = pods.collect();
    let slow = decide(&mut reference, &mut cluster.clone(), &pods, Duration::from_secs(1), victims);
    let quick = decide(&mut fast, &mut cluster, &pods, Duration::MAX, victims);
    print(row.name, row, quick, &slow);
}

fn daemon(index: usize) -> Arc<PodView> {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [format!("node-{index}")]});
    let daemon =
        pod(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [field]}]}}},
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "50m"}}}]}));
    named(&daemon, 1_000_000_000 + index)
}

fn print(name: &str, row: &Row, mut quick: Measured, slow: &Measured) {
    let (half, most) = (quick.percentile(0.5), quick.percentile(0.99));
    println!(
        "{:<34} {:>8} {:>8} {:>9.0} {:>9.0} {:>8.2} {:>9.1} {:>8.1} {:>8.1} {:>7.0} {:>7}",
        name,
        row.nodes,
        quick.pods,
        quick.rate(),
        quick.rate_of_cpu(),
        quick.took.as_secs_f64(),
        half,
        most,
        slow.rate_of_cpu(),
        quick.rate_of_cpu() / slow.rate_of_cpu(),
        peak_mib(),
    );
}

/// How long this process has been on a processor.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// The most memory this process ever had.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
