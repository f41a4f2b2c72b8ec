//! Watching a cluster and keeping a service proxy and an ingress in step with it.

mod ingress_status;
mod report;

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::ingress::server::Table;
use crate::ingress::{IngressServer, Routes};
use crate::metrics::NetworkMetrics;
use crate::proxy::{ServiceProxy, plan};

/// How soon a port that could not be opened is tried again when nothing else happens.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps the services and ingresses of a cluster reachable: watch, plan, act.
pub struct NetworkDriver {
    client: Client,
    proxy: Arc<dyn ServiceProxy>,
    node_address: IpAddr,
    ingress: Option<IngressServer>,
    metrics: NetworkMetrics,
}

impl NetworkDriver {
    /// Keeps `proxy` in step with the cluster behind `client`; node ports answer on `node_address`.
    pub fn new(client: Client, proxy: Arc<dyn ServiceProxy>, node_address: IpAddr) -> Self {
        Self { client, proxy, node_address, ingress: None, metrics: NetworkMetrics::default() }
    }

    /// Serves ingresses as well.
    #[must_use]
    pub fn ingress(mut self, server: IngressServer) -> Self {
        self.ingress = Some(server);
        self
    }

    /// Counts into `metrics` what the proxy and the ingress do.
    #[must_use]
    pub fn metrics(mut self, metrics: NetworkMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let ingress = self.ingress.and_then(|server| {
            let address =
                server.address().inspect_err(|problem| tracing::warn!(%problem, "no ingress")).ok()?;
            let table = server.table();
            let server = server.counted_by(self.metrics.clone());
            let task = tokio::spawn(server.run(shutdown.clone()));
            Some((address, table, task))
        });
        let (services, service_changes) = watch::<Service>(&self.client);
        let (slices, slice_changes) = watch::<EndpointSlice>(&self.client);
        let (ingresses, ingress_changes) = watch::<Ingress>(&self.client);
        let world = World { services, slices, ingresses };
        let mut changes = futures::stream::select_all([service_changes, slice_changes]);
        if let Some((address, _, _)) = &ingress {
            changes.push(ingress_changes);
            ingress_status::ensure_class(&self.client).await;
            tracing::info!(%address, "ingress listens");
        }
        let mut reporter = report::Reporter::new(self.client.clone());
        let mut changes = changes.ready_chunks(1_024);
        loop {
            let next = tokio::select! {
                () = shutdown.cancelled() => break,
                next = tokio::time::timeout(RETRY, changes.next()) => next,
            };
            if next.is_err() && !reporter.has_problems() {
                continue;
            }
            let begun = tokio::time::Instant::now();
            let problems = self.proxy.sync(world.ports(self.node_address)).await;
            self.metrics.synced(begun.elapsed());
            reporter.report(problems).await;
            if let Some((address, table, _)) = &ingress {
                world.route(table);
                ingress_status::publish(&self.client, &world.ingresses.state(), *address).await;
            }
        }
        self.proxy.sync(Vec::new()).await;
        if let Some((_, _, task)) = ingress
            && let Err(problem) = task.await
        {
            tracing::error!(%problem, "the ingress server ended badly");
        }
    }
}

/// What is known of the cluster.
struct World {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    ingresses: Store<Ingress>,
}

impl World {
    fn ports(&self, node_address: IpAddr) -> Vec<crate::proxy::VirtualPort> {
        let (services, slices) = (self.services.state(), self.slices.state());
        let slices = plan::by_service(slices.iter().map(Arc::as_ref));
        plan::ports(services.iter().map(Arc::as_ref), &slices, node_address)
    }

    fn route(&self, table: &Table) {
        let (services, slices, ingresses) =
            (self.services.state(), self.slices.state(), self.ingresses.state());
        let find = |namespace: &str, name: &str| {
            services.iter().map(Arc::as_ref).find(|service| {
                service.metadata.name.as_deref() == Some(name)
                    && service.metadata.namespace.as_deref() == Some(namespace)
            })
        };
        let slices = plan::by_service(slices.iter().map(Arc::as_ref));
        table.replace(Routes::new(ingresses.iter().map(Arc::as_ref), find, &slices));
    }
}

/// A reflected kind and a stream that yields whenever the reflection has changed as a whole.
fn watch<K>(client: &Client) -> (Store<K>, BoxStream<'static, ()>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    ObjectRef<K>: Hash,
{
    let (reader, writer) = store();
    let changes = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .filter_map(|event| async move {
            match event {
                // While a first list comes in, the reflection still shows what was there before.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
                Ok(_) => Some(()),
                Err(problem) => {
                    tracing::debug!(%problem, kind = %K::kind(&()), "watch failed; trying again");
                    None
                }
            }
        })
        .boxed();
    (reader, changes)
}

/// The addresses ingress tries in turn: the standard port, and one that an ordinary user may have.
pub fn ingress_addresses(address: IpAddr) -> [SocketAddr; 2] {
    [SocketAddr::new(address, 80), SocketAddr::new(address, 8080)]
}
