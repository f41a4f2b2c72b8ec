//! The controllers are killed at every write of a story, and the world ends up the same: nothing lost, nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use orchestra_apiserver::{ApiServer, RuntimeClock};
use orchestra_controllers::{Clock, Controller, Controllers};
use orchestra_store::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cluster::{kubelet, until, until_within};
use crate::cronjob::every_minute;
use crate::daemonset::{agent, on_every_node};
use crate::deployment::{image, rolled_out, web};
use crate::disruption::{allowed, budget, evict_all};
use crate::job::{ended, has, job};
use crate::mortal::{Death, Deeds, Fate, live};
use crate::nodes::{LONG, beat, say_ready};
use crate::picture::picture;
use crate::service::ready;
use crate::statefulset::{db, updated};

/// In virtual time: nothing that controllers do waits longer.
const REST: Duration = Duration::from_secs(60);

/// In writes.
const LONG_STORY: usize = 30;

/// What happens in a cluster, step by step, each begun when the one before is done.
pub(crate) type Story = fn(Told) -> BoxFuture<'static, ()>;

#[derive(Clone)]
pub(crate) struct Told(Client);

#[derive(Debug, PartialEq)]
struct Outcome {
    created: BTreeMap<String, usize>,
    end: Vec<String>,
}

impl Told {
    pub(crate) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.0.clone(), "default")
    }

    fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.0.clone())
    }
}

pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn change<K>(api: &Api<K>, name: &str, patch: Value)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Tells the story once in a world of its own; returns how many writes it took, and what came of it.
fn tell(controllers: &[Controller], story: Story, fate: Fate) -> (usize, Outcome) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let directory = TempDir::new().unwrap();
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).clock(RuntimeClock::starting_at(start));
        let server = server.build().await.unwrap();
        let client = server.client("default");
        if Api::<Namespace>::all(client.clone()).get_opt("default").await.unwrap().is_none() {
            create::<Namespace>(&Api::all(client.clone()), json!({"metadata": {"name": "default"}})).await;
        }
        let controllers = Controllers::only(controllers.iter().copied())
            .clock(Clock::ticking_from(start))
            .provision_volumes_in(directory.path());
        let deeds = Arc::new(Deeds::default());
        let stop = CancellationToken::new();
        let end = async {
            story(Told(client.clone())).await;
            tokio::time::sleep(REST).await;
            picture(&client).await
        };
        let end = tokio::select! {
            end = end => end,
            () = live(controllers, client.clone(), fate, deeds.clone()) => unreachable!("it lives or panics"),
            () = kubelet(client.clone(), stop) => unreachable!("nobody stops it"),
        };
        let created = deeds.created.lock().unwrap().clone();
        (deeds.writes.load(Ordering::SeqCst), Outcome { created, end })
    })
}

/// Tells the story undisturbed, then with a death at each of its writes, then with one death after another.
pub(crate) fn survives(controllers: &[Controller], story: Story) {
    let (writes, calm) = tell(controllers, story, Fate::Spared);
    for line in &calm.end {
        assert!(!line.contains(" ORPHAN ") && !line.contains(" BEHIND "), "{line}");
    }
    // A long story alternates: what either death leaves behind differs little, and the time grows with the square.
    let is_long = writes > LONG_STORY;
    let once = (0..writes).flat_map(|n| [(n, Death::After(n)), (n + 1, Death::At(n + 1))]);
    let once = once.filter(|(n, _)| !is_long || n % 2 == 0).map(|(_, death)| Fate::Once(death));
    let always = (1..4).flat_map(|n| [Fate::Always(Death::After(n)), Fate::Always(Death::At(n))]);
    for fate in once.chain(always) {
        let (_, outcome) = tell(controllers, story, fate);
        let only = |a: &Outcome, b: &Outcome| -> Vec<String> {
            a.end.iter().filter(|line| !b.end.contains(line)).cloned().collect()
        };
        let (more, less) = (only(&outcome, &calm), only(&calm, &outcome));
        assert!(more.is_empty() && less.is_empty(), "{fate:?} of {writes}: got {more:#?} and not {less:#?}");
        assert_eq!(outcome, calm, "{fate:?} of {writes} writes");
    }
}

#[test]
fn a_deployment_is_scaled_rolled_and_undone() {
    survives(&[Controller::Deployment, Controller::ReplicaSet], |told| {
        Box::pin(async move {
            let deployments = told.api::<Deployment>();
            create(&deployments, web(1, "a")).await;
            rolled_out(&deployments, 1).await;
            for (wanted, replicas) in [("b", 2), ("a", 1)] {
                let mut both = image(wanted);
                both["spec"]["replicas"] = replicas.into();
                change(&deployments, "web", both).await;
                rolled_out(&deployments, replicas).await;
            }
        })
    });
}

#[test]
fn the_slices_of_a_service_follow_its_pods() {
    survives(&[Controller::EndpointSlice, Controller::GarbageCollector], |told| {
        Box::pin(async move {
            let (services, pods) = (told.api::<Service>(), told.api::<Pod>());
            let slices = told.api::<EndpointSlice>();
            for name in ["web", "gone"] {
                let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
                create(&services, json!({"metadata": {"name": name}, "spec": spec})).await;
            }
            // A slice without endpoints has no ports, and is not the one that the first endpoint gets.
            let is_owned = |slice: &&EndpointSlice| slice.metadata.owner_references.is_some();
            until(&slices, "a slice each", |slices| slices.iter().filter(is_owned).count() == 2).await;
            for name in ["a", "b"] {
                let spec = json!({"containers": [{"name": "c", "image": "i"}]});
                create(&pods, json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}))
                    .await;
            }
            until(&slices, "two endpoints each", |slices| ready(slices) == 4).await;
            pods.delete("a", &DeleteParams::default()).await.unwrap();
            services.delete("gone", &DeleteParams::default()).await.unwrap();
            until(&slices, "one endpoint", |slices| ready(slices) == 1).await;
        })
    });
}

#[test]
fn a_stateful_set_is_rolled_and_shrunk() {
    survives(&[Controller::StatefulSet, Controller::Volume], |told| {
        Box::pin(async move {
            let sets = told.api::<StatefulSet>();
            create(&sets, db(2)).await;
            updated(&sets, 2).await;
            change(&sets, "db", image("b")).await;
            updated(&sets, 2).await;
            change(&sets, "db", json!({"spec": {"replicas": 1}})).await;
            updated(&sets, 1).await;
        })
    });
}

#[test]
fn a_daemon_set_follows_the_nodes_and_is_rolled() {
    survives(&[Controller::DaemonSet], |told| {
        Box::pin(async move {
            let (nodes, sets) = (told.all::<Node>(), told.api::<DaemonSet>());
            create(&nodes, json!({"metadata": {"name": "n1"}})).await;
            create(&sets, agent()).await;
            on_every_node(&sets, 1).await;
            create(&nodes, json!({"metadata": {"name": "n2"}})).await;
            on_every_node(&sets, 2).await;
            change(&sets, "agent", image("b")).await;
            on_every_node(&sets, 2).await;
        })
    });
}

#[test]
fn a_claim_gets_its_volume_and_both_go() {
    survives(&[Controller::Volume], |told| {
        Box::pin(async move {
            let claims = told.api::<PersistentVolumeClaim>();
            let volumes = told.all::<PersistentVolume>();
            let spec =
                json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
            let is_bound = |claim: &PersistentVolumeClaim| {
                claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"))
            };
            for name in ["kept", "gone"] {
                create(&claims, json!({"metadata": {"name": name}, "spec": spec})).await;
            }
            until(&claims, "bound claims", |all| all.len() == 2 && all.iter().all(is_bound)).await;
            claims.delete("gone", &DeleteParams::default()).await.unwrap();
            until(&volumes, "one volume", |all| all.len() == 1).await;
        })
    });
}

const CASCADE: &[Controller] =
    &[Controller::Deployment, Controller::ReplicaSet, Controller::GarbageCollector];

async fn nothing_left(told: &Told) {
    until(&told.api::<Deployment>(), "no deployment", <[_]>::is_empty).await;
    until(&told.api::<ReplicaSet>(), "no sets", <[_]>::is_empty).await;
    until(&told.api::<Pod>(), "no pods", <[_]>::is_empty).await;
}

#[test]
fn a_deployment_deleted_in_the_background_takes_everything_along() {
    survives(CASCADE, |told| {
        Box::pin(async move {
            let deployments = told.api::<Deployment>();
            create(&deployments, web(2, "a")).await;
            rolled_out(&deployments, 2).await;
            deployments.delete("web", &DeleteParams::background()).await.unwrap();
            nothing_left(&told).await;
        })
    });
}

#[test]
fn a_deployment_deleted_in_the_foreground_goes_last() {
    survives(CASCADE, |told| {
        Box::pin(async move {
            let deployments = told.api::<Deployment>();
            create(&deployments, web(2, "a")).await;
            rolled_out(&deployments, 2).await;
            deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
            nothing_left(&told).await;
        })
    });
}

#[test]
fn orphans_stay_and_are_adopted() {
    survives(CASCADE, |told| {
        Box::pin(async move {
            let deployments = told.api::<Deployment>();
            create(&deployments, web(2, "a")).await;
            rolled_out(&deployments, 2).await;
            deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
            until(&deployments, "no deployment", <[_]>::is_empty).await;
            create(&deployments, web(2, "a")).await;
            rolled_out(&deployments, 2).await;
        })
    });
}

#[test]
fn a_namespace_goes_with_all_it_holds() {
    let all = [
        Controller::Deployment,
        Controller::GarbageCollector,
        Controller::Namespace,
        Controller::ReplicaSet,
        Controller::ServiceAccount,
    ];
    survives(&all, |told| {
        Box::pin(async move {
            let namespaces = told.all::<Namespace>();
            create(&namespaces, json!({"metadata": {"name": "shop"}})).await;
            let accounts: Api<ServiceAccount> = Api::namespaced(told.0.clone(), "shop");
            until(&accounts, "the account", |all| all.len() == 1).await;
            let maps: Api<ConfigMap> = Api::namespaced(told.0.clone(), "shop");
            create(&maps, json!({"metadata": {"name": "settings"}})).await;
            let deployments: Api<Deployment> = Api::namespaced(told.0.clone(), "shop");
            create(&deployments, web(2, "a")).await;
            rolled_out(&deployments, 2).await;
            namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
            let is_shop = |namespace: &Namespace| namespace.metadata.name.as_deref() == Some("shop");
            until(&namespaces, "no shop", |all| !all.iter().any(is_shop)).await;
        })
    });
}

#[test]
fn a_silent_node_loses_its_pods() {
    survives(&[Controller::NodeLifecycle, Controller::TaintEviction], |told| {
        Box::pin(async move {
            let (nodes, pods) = (told.all::<Node>(), told.api::<Pod>());
            for name in ["alive", "silent"] {
                create(&nodes, json!({"metadata": {"name": name}})).await;
                say_ready(&told.0, name).await;
                let spec = json!({"nodeName": name, "containers": [{"name": "c", "image": "i"}]});
                create(&pods, json!({"metadata": {"name": name}, "spec": spec})).await;
            }
            tokio::spawn(beat(told.0.clone(), "alive"));
            until_within(LONG, &pods, "one pod", |pods| pods.len() == 1).await;
        })
    });
}

#[test]
fn every_index_of_a_job_with_retries_is_counted_once() {
    survives(&[Controller::Job], |told| {
        Box::pin(async move {
            let jobs = told.api::<Job>();
            let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
            create(&jobs, job("sum", "1,0", spec)).await;
            ended(&jobs, "sum", "Complete").await;
        })
    });
}

#[test]
fn a_job_that_fails_takes_its_pods_along() {
    survives(&[Controller::Job], |told| {
        Box::pin(async move {
            let (jobs, pods) = (told.api::<Job>(), told.api::<Pod>());
            let spec = json!({"completions": 2, "parallelism": 2, "backoffLimit": 0});
            let mut stuck = job("sum", "0", spec);
            stuck["spec"]["template"]["metadata"]["annotations"] = json!({"test/stuck": ""});
            create(&jobs, stuck).await;
            let held = until(&pods, "two pods", |pods| pods.len() == 2).await;
            let name = held[0].metadata.name.as_deref().unwrap();
            let failed = json!({"status": {"phase": "Failed"}});
            pods.patch_status(name, &PatchParams::default(), &Patch::Merge(failed)).await.unwrap();
            ended(&jobs, "sum", "Failed").await;
        })
    });
}

#[test]
fn a_job_is_suspended_resumed_and_deleted() {
    survives(&[Controller::Job, Controller::GarbageCollector], |told| {
        Box::pin(async move {
            let (jobs, pods) = (told.api::<Job>(), told.api::<Pod>());
            let mut stuck = job("sum", "0", json!({}));
            stuck["spec"]["template"]["metadata"]["annotations"] = json!({"test/stuck": ""});
            create(&jobs, stuck).await;
            let active = |all: &[Job]| all[0].status.as_ref().and_then(|status| status.active);
            until(&jobs, "a pod", |all| !all.is_empty() && active(all) == Some(1)).await;
            change(&jobs, "sum", json!({"spec": {"suspend": true}})).await;
            until(&jobs, "no pod", |all| {
                !all.is_empty() && has(&all[0], "Suspended") && active(all).is_none()
            })
            .await;
            change(&jobs, "sum", json!({"spec": {"suspend": false}})).await;
            until(&jobs, "a pod again", |all| !all.is_empty() && active(all) == Some(1)).await;
            jobs.delete("sum", &DeleteParams::background()).await.unwrap();
            until(&pods, "no pods", <[_]>::is_empty).await;
        })
    });
}

#[test]
fn each_time_of_a_cron_job_gets_one_job() {
    survives(&[Controller::CronJob, Controller::Job, Controller::GarbageCollector], |told| {
        Box::pin(async move {
            let (crons, jobs) = (told.api::<CronJob>(), told.api::<Job>());
            create(&crons, every_minute("tick", json!({"successfulJobsHistoryLimit": 1}))).await;
            until_within(LONG, &jobs, "the second job", |jobs| {
                jobs.iter().any(|job| {
                    has(job, "Complete")
                        && job.metadata.name.as_deref().is_some_and(|name| name.ends_with("2"))
                })
            })
            .await;
            change(&crons, "tick", json!({"spec": {"suspend": true}})).await;
        })
    });
}

#[test]
fn pods_are_drained_as_their_budget_allows() {
    survives(&[Controller::ReplicaSet, Controller::Disruption], |told| {
        Box::pin(async move {
            let (sets, budgets) = (told.api::<ReplicaSet>(), told.api::<PodDisruptionBudget>());
            let template = json!({"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "a"}]}});
            let selector = json!({"matchLabels": {"app": "web"}});
            let spec = json!({"replicas": 2, "selector": selector, "template": template});
            create(&sets, json!({"metadata": {"name": "web"}, "spec": spec})).await;
            create(&budgets, budget("web", json!({"maxUnavailable": 1}))).await;
            allowed(&budgets, 1).await;
            evict_all(&told.api(), &budgets).await;
            allowed(&budgets, 1).await;
        })
    });
}

#[test]
fn a_replication_controller_is_scaled() {
    survives(&[Controller::ReplicationController], |told| {
        Box::pin(async move {
            let controllers = told.api::<ReplicationController>();
            let template = json!({"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "a"}]}});
            create(
                &controllers,
                json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "template": template}}),
            )
            .await;
            let has = |count: i32| {
                move |all: &[ReplicationController]| {
                    let status = all.first().and_then(|controller| controller.status.as_ref());
                    status.is_some_and(|status| {
                        status.replicas == count && status.available_replicas == Some(count)
                    })
                }
            };
            until(&controllers, "three replicas", has(3)).await;
            change(&controllers, "web", json!({"spec": {"replicas": 1}})).await;
            until(&controllers, "one replica", has(1)).await;
        })
    });
}

#[test]
fn the_endpoints_of_a_service_follow_its_pods() {
    survives(&[Controller::Endpoints], |told| {
        Box::pin(async move {
            let (services, pods) = (told.api::<Service>(), told.api::<Pod>());
            let endpoints = told.api::<Endpoints>();
            for name in ["web", "gone"] {
                let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
                create(&services, json!({"metadata": {"name": name}, "spec": spec})).await;
            }
            // Nobody's Service: it stays.
            let by_hand =
                json!({"metadata": {"name": "alone"}, "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]});
            create(&endpoints, by_hand).await;
            for name in ["a", "b"] {
                let spec = json!({"containers": [{"name": "c", "image": "i"}]});
                create(&pods, json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}))
                    .await;
            }
            let addresses = |all: &[Endpoints]| {
                let subsets = all.iter().flat_map(|endpoints| endpoints.subsets.iter().flatten());
                subsets.map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum::<usize>()
            };
            until(&endpoints, "two addresses each", |all| addresses(all) == 5).await;
            pods.delete("a", &DeleteParams::default()).await.unwrap();
            services.delete("gone", &DeleteParams::default()).await.unwrap();
            until(&endpoints, "one address", |all| all.len() == 2 && addresses(all) == 2).await;
        })
    });
}

#[test]
fn endpoints_kept_by_hand_are_mirrored_in_slices() {
    survives(&[Controller::EndpointSliceMirroring, Controller::GarbageCollector], |told| {
        Box::pin(async move {
            let (services, endpoints) = (told.api::<Service>(), told.api::<Endpoints>());
            let slices = told.api::<EndpointSlice>();
            for name in ["db", "gone", "chosen"] {
                create(&services, json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}))
                    .await;
                let subset = json!({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]});
                create(&endpoints, json!({"metadata": {"name": name}, "subsets": [subset]})).await;
            }
            until(&slices, "a slice each", |slices| ready(slices) == 3).await;
            let two =
                json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]);
            change(&endpoints, "db", json!({"subsets": two})).await;
            endpoints.delete("gone", &DeleteParams::default()).await.unwrap();
            change(&services, "chosen", json!({"spec": {"selector": {"app": "web"}}})).await;
            until(&slices, "one slice", |slices| slices.len() == 1 && ready(slices) == 2).await;
        })
    });
}

#[test]
fn a_cluster_role_gathers_the_rules_of_others() {
    survives(&[Controller::ClusterRoleAggregation], |told| {
        Box::pin(async move {
            let roles = told.all::<ClusterRole>();
            let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"to-mine": "true"}}]});
            create(&roles, json!({"metadata": {"name": "mine"}, "aggregationRule": selectors})).await;
            for resource in ["pods", "nodes"] {
                let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
                create(
                    &roles,
                    json!({"metadata": {"name": resource, "labels": {"to-mine": "true"}}, "rules": rules}),
                )
                .await;
            }
            let has = |name: &'static str, count: usize| {
                move |all: &[ClusterRole]| {
                    let role = all.iter().find(|role| role.metadata.name.as_deref() == Some(name));
                    role.is_some_and(|role| role.rules.as_ref().map_or(0, Vec::len) == count)
                }
            };
            until(&roles, "both rules", has("mine", 2)).await;
            roles.delete("nodes", &DeleteParams::default()).await.unwrap();
            until(&roles, "one rule", has("mine", 1)).await;
            let view = |all: &[ClusterRole]| !has("view", 0)(all) && !has("admin", 0)(all);
            until(&roles, "the rules of the roles that every cluster has", view).await;
        })
    });
}

#[test]
fn a_quota_is_given_back_what_is_gone() {
    survives(&[Controller::ResourceQuota], |told| {
        Box::pin(async move {
            let (quotas, pods) = (told.api::<ResourceQuota>(), told.api::<Pod>());
            let (maps, services) = (told.api::<ConfigMap>(), told.api::<Service>());
            let hard =
                json!({"pods": "9", "requests.cpu": "4", "count/configmaps": "9", "services.nodeports": "5"});
            create(&quotas, json!({"metadata": {"name": "all"}, "spec": {"hard": hard}})).await;
            let scoped = json!({"hard": {"pods": "9"}, "scopes": ["BestEffort"]});
            create(&quotas, json!({"metadata": {"name": "modest"}, "spec": scoped})).await;
            let used = |name: &'static str, wanted: Value| {
                move |all: &[ResourceQuota]| {
                    let quota = all.iter().find(|quota| quota.metadata.name.as_deref() == Some(name));
                    quota.is_some_and(|quota| {
                        quota.status.as_ref().is_some_and(|status| json!(status.used) == wanted)
                    })
                }
            };
            for (name, requests) in
                [("a", json!({"cpu": "250m"})), ("b", json!({"cpu": "500m"})), ("c", json!({}))]
            {
                let spec =
                    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]});
                create(&pods, json!({"metadata": {"name": name}, "spec": spec})).await;
            }
            for name in ["x", "y"] {
                create(&maps, json!({"metadata": {"name": name}})).await;
            }
            create(
                &services,
                json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
            )
            .await;
            let full = json!({"pods": "3", "requests.cpu": "750m", "count/configmaps": "2", "services.nodeports": "1"});
            until(&quotas, "everything counted", used("all", full)).await;
            until(&quotas, "one pod counted", used("modest", json!({"pods": "1"}))).await;
            pods.delete("b", &DeleteParams::default()).await.unwrap();
            pods.delete("c", &DeleteParams::default()).await.unwrap();
            maps.delete("x", &DeleteParams::default()).await.unwrap();
            change(&services, "s", json!({"spec": {"type": "ClusterIP"}})).await;
            let less = json!({"pods": "1", "requests.cpu": "250m", "count/configmaps": "1", "services.nodeports": "0"});
            until(&quotas, "what is gone given back", used("all", less)).await;
            until(&quotas, "no pod counted", used("modest", json!({"pods": "0"}))).await;
        })
    });
}

#[test]
fn the_tokens_of_an_account_go_with_it() {
    survives(&[Controller::ServiceAccountToken], |told| {
        Box::pin(async move {
            let (accounts, secrets) = (told.api::<ServiceAccount>(), told.api::<Secret>());
            for name in ["kept", "gone"] {
                create(&accounts, json!({"metadata": {"name": name}})).await;
                for secret in [format!("{name}-a"), format!("{name}-b")] {
                    let annotations = json!({"kubernetes.io/service-account.name": name});
                    let metadata = json!({"name": secret, "annotations": annotations});
                    let token = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
                    create(&secrets, token).await;
                }
            }
            create(&secrets, json!({"metadata": {"name": "other"}})).await;
            accounts.delete("gone", &DeleteParams::default()).await.unwrap();
            until(&secrets, "the tokens of one account", |all| all.len() == 3).await;
        })
    });
}

#[test]
fn bootstrap_tokens_go_when_their_time_is_over() {
    survives(&[Controller::BootstrapToken], |told| {
        Box::pin(async move {
            let secrets: Api<Secret> = Api::namespaced(told.0.clone(), "kube-system");
            for (id, expiration) in
                [("aaaaaa", "2026-01-01T00:00:40Z"), ("bbbbbb", "2026-01-01T00:00:50Z"), ("cccccc", "")]
            {
                let data =
                    json!({"token-id": id, "token-secret": "0123456789abcdef", "expiration": expiration});
                let metadata = json!({"name": format!("bootstrap-token-{id}")});
                let token = json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "stringData": data});
                create(&secrets, token).await;
            }
            until_within(LONG, &secrets, "the token without an end", |all| all.len() == 1).await;
        })
    });
}
