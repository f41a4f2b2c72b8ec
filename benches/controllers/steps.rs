//! What is measured, one after another.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use serde_json::json;

use crate::count::{Writes, Written};
use crate::objects;
use crate::plant::Plant;
use crate::requests::{self, Asked};
use crate::usage;

/// Who asks at the same time.
const AT_ONCE: usize = 32;
/// How often is looked where nothing tells.
const LOOK: Duration = Duration::from_millis(20);
const MANY: usize = 1_000;
const OBJECTS: usize = 10_000;
const NAME: &str = "web";

/// What happened since it began.
struct Step<'a> {
    plant: &'a Plant,
    begin: Instant,
    cpu: Duration,
    threads: std::collections::BTreeMap<String, Duration>,
    writes: Writes,
    asked: Asked,
}

impl<'a> Step<'a> {
    async fn begin(plant: &'a Plant) -> Self {
        let asked = requests::asked(&plant.client()).await;
        let (cpu, threads) = (usage::cpu(), usage::cpu_by_thread());
        Self { plant, begin: Instant::now(), cpu, threads, writes: plant.store.writes(), asked }
    }

    /// Prints a row for what has happened so far, for each of `count`.
    fn row(&self, what: &str, count: usize) {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e3 / count as f64;
        let took = self.begin.elapsed();
        println!(
            "{what:<58} {:>9.2} s {:>9.3} ms of CPU each {:>8.1} MiB",
            took.as_secs_f64(),
            each(usage::cpu() - self.cpu),
            usage::resident_mib(),
        );
        for (name, cpu) in usage::cpu_by_thread() {
            let spent = each(cpu - self.threads.get(&name).copied().unwrap_or_default());
            if spent >= 0.001 {
                println!("    {name:<54} {:>11} {spent:>9.3} ms", "");
            }
        }
    }

    /// Prints what was asked and what was written, for each of `count`.
    async fn traffic(&self, count: usize) {
        for (what, now) in requests::asked(&self.plant.client()).await {
            let each = (now - self.asked.get(&what).copied().unwrap_or_default()) / count as f64;
            if each >= 0.005 {
                println!("    {what:<54} {each:>11.3} asked each");
            }
        }

        for (resource, now) in self.plant.store.writes() {
            let before = self.writes.get(&resource).copied().unwrap_or_default();
            let done = Written {
                puts: now.puts - before.puts,
                removals: now.removals - before.removals,
                refused: now.refused - before.refused,
            };
            if done != Written::default() {
                let each = |writes: u64| writes as f64 / count as f64;
                println!(
                    "    writes of {resource:<44} {:>7.3} put, {:.3} removed, {:.3} refused each ({} + {})",
                    each(done.puts),
                    each(done.removals),
                    each(done.refused),
                    done.puts,
                    done.removals,
                );
            }
        }
    }

    /// Waits until nothing but signs of life is written for a second.
    async fn quiet(&self) {
        let work = || -> u64 {
            let writes = self.plant.store.writes();
            writes
                .iter()
                .filter(|(name, _)| !["leases", "nodes"].contains(&name.as_str()))
                .map(|(_, w)| w.puts + w.removals)
                .sum()
        };
        let (mut last, mut since) = (work(), Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(LOOK).await;
            let now = work();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

/// All pods of one Deployment from apply to Ready.
pub(crate) async fn deployment(plant: &Plant) {
    let pods = plant.size.pods;
    let step = Step::begin(plant).await;
    make(plant.client(), pods).await;
    step.row(&format!("{pods} pods of one Deployment, apply to all Ready"), pods);
    step.quiet().await;
    step.row("  and until everything about them is written", pods);
    step.traffic(pods).await;
}

/// Makes a Deployment, and waits until all its pods are Ready.
pub(crate) async fn make(client: Client, pods: usize) {
    let wanted = i32::try_from(pods).expect("not so many");
    let api: Api<Deployment> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &objects::deployment(NAME, pods)).await.expect("created");
    await_condition(api, NAME, move |found: Option<&Deployment>| {
        found.and_then(|found| found.status.as_ref()?.ready_replicas) == Some(wanted)
    })
    .await
    .expect("Ready");
}

/// Every one of them replaced.
pub(crate) async fn rollout(plant: &Plant) {
    let pods = plant.size.pods;
    let wanted = i32::try_from(pods).expect("not so many");
    let api: Api<Deployment> = Api::default_namespaced(plant.client());
    if api.get_opt(NAME).await.expect("an answer").is_none() {
        return;
    }
    let step = Step::begin(plant).await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.example/web:1.28"}]}}}});
    let patched = api.patch(NAME, &PatchParams::default(), &Patch::Strategic(patch)).await.expect("patched");
    let generation = patched.metadata.generation;
    await_condition(api.clone(), NAME, move |found: Option<&Deployment>| {
        found.and_then(|found| found.status.as_ref()).is_some_and(|status| {
            status.observed_generation >= generation
                && status.updated_replicas == Some(wanted)
                && status.replicas == Some(wanted)
                && status.available_replicas == Some(wanted)
        })
    })
    .await
    .expect("rolled out");
    step.row("its rolling update, every pod replaced", pods);
    step.quiet().await;
    step.row("  and until everything about them is written", pods);
    step.traffic(pods).await;
}

/// What the cluster uses when nobody asks for anything.
pub(crate) async fn idle(plant: &Plant, what: &str) {
    let wait = Duration::from_secs(10);
    let step = Step::begin(plant).await;
    let cpu = usage::cpu();
    tokio::time::sleep(wait).await;
    let busy = (usage::cpu() - cpu).as_secs_f64() / wait.as_secs_f64();
    println!("{what:<58} {:>9.1} % of a processor {:>21.1} MiB", busy * 100.0, usage::resident_mib());
    step.traffic(wait.as_secs() as usize).await;
}

/// A manager that begins over all the pods, until it has done what was left for it.
pub(crate) async fn start_of_a_manager(plant: &mut Plant) {
    let api: Api<Deployment> = Api::default_namespaced(plant.client());
    if api.get_opt(NAME).await.expect("an answer").is_none() {
        return;
    }
    plant.stop_manager().await;
    let before = usage::resident_mib();
    let one_more = plant.size.pods + 1;
    let patch = Patch::Merge(json!({"spec": {"replicas": one_more}}));
    api.patch(NAME, &PatchParams::default(), &patch).await.expect("patched");
    let (begin, cpu) = (Instant::now(), usage::cpu());
    plant.start_manager();
    let sets: Api<ReplicaSet> = Api::default_namespaced(plant.client());
    loop {
        let listed = sets.list(&ListParams::default()).await.expect("a list").items;
        let wanted = i32::try_from(one_more).ok();
        if listed.iter().any(|set| set.spec.as_ref().and_then(|spec| spec.replicas) == wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!(
        "{:<58} {:>9.3} s {:>9.1} ms of CPU {:>17.1} MiB more",
        "start of a manager over them, until its first deed",
        begin.elapsed().as_secs_f64(),
        (usage::cpu() - cpu).as_secs_f64() * 1e3,
        usage::resident_mib() - before,
    );
}

/// The Deployment deleted, until its last pod is gone.
pub(crate) async fn removal(plant: &Plant) {
    let api: Api<Deployment> = Api::default_namespaced(plant.client());
    if api.get_opt(NAME).await.expect("an answer").is_none() {
        return;
    }
    let step = Step::begin(plant).await;
    api.delete(NAME, &DeleteParams::default()).await.expect("deleted");
    let pods: Api<Pod> = Api::default_namespaced(plant.client());
    let one = ListParams::default().limit(1);
    while !pods.list_metadata(&one).await.expect("a list").items.is_empty() {
        tokio::time::sleep(LOOK).await;
    }
    step.row("the Deployment deleted, until no pod is left", plant.size.pods);
    step.quiet().await;
    step.traffic(plant.size.pods).await;
}

/// Many Deployments of one pod each, created at once, until each is available.
pub(crate) async fn many_deployments(plant: &Plant) {
    let api: Api<Deployment> = Api::default_namespaced(plant.client());
    let step = Step::begin(plant).await;
    let create = |number: usize| {
        let api = api.clone();
        async move {
            let object = objects::deployment(&format!("app-{number:04}"), 1);
            api.create(&PostParams::default(), &object).await.expect("created");
        }
    };
    stream::iter((0..MANY).map(create)).buffer_unordered(AT_ONCE).collect::<()>().await;
    step.row(&format!("{MANY} Deployments of one pod, created"), MANY);
    let available =
        |one: &Deployment| one.status.as_ref().and_then(|status| status.available_replicas) == Some(1);
    while !api.list(&ListParams::default()).await.expect("a list").items.iter().all(available) {
        tokio::time::sleep(LOOK).await;
    }
    step.row("  until each is available", MANY);
    step.quiet().await;
    step.row("  and until everything about them is written", MANY);
    step.traffic(MANY).await;
}

/// A namespace with many objects, deleted until it is gone.
pub(crate) async fn namespace(plant: &Plant) {
    const FULL: &str = "full";
    let namespaces: Api<Namespace> = Api::all(plant.client());
    let object = Namespace {
        metadata: ObjectMeta { name: Some(FULL.into()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    namespaces.create(&PostParams::default(), &object).await.expect("created");
    let maps: Api<ConfigMap> = Api::namespaced(plant.client(), FULL);
    let step = Step::begin(plant).await;
    let create = |number: usize| {
        let maps = maps.clone();
        async move {
            let metadata = ObjectMeta { name: Some(format!("map-{number}")), ..ObjectMeta::default() };
            let data = Some([("settings".to_owned(), "x".repeat(700))].into());
            let object = ConfigMap { metadata, data, ..ConfigMap::default() };
            maps.create(&PostParams::default(), &object).await.expect("created");
        }
    };
    stream::iter((0..OBJECTS).map(create)).buffer_unordered(AT_ONCE).collect::<()>().await;
    step.row(&format!("{OBJECTS} ConfigMaps created"), OBJECTS);
    step.quiet().await;

    let step = Step::begin(plant).await;
    let created = namespaces.delete(FULL, &DeleteParams::default()).await.expect("deleted");
    let uid = created.left().and_then(|namespace| namespace.metadata.uid).expect("it goes in its own time");
    await_condition(namespaces, FULL, conditions::is_deleted(&uid)).await.expect("gone");
    step.row(&format!("a namespace with {OBJECTS} ConfigMaps deleted"), OBJECTS);
    step.quiet().await;
    step.traffic(OBJECTS).await;
}
