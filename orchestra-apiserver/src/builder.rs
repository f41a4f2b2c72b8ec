//! Puts a server together.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;
use orchestra_core::kinds::Registry;
use orchestra_store::Store;
use orchestra_store::encryption::Encryption;
use orchestra_store::metrics::Metered;
use prometheus_client::registry::Registry as MetricsRegistry;
use tokio_util::sync::CancellationToken;

use crate::admission::chain::{Chain, Slots};
use crate::admission::{
    self, Admission, IntoAdmission, MutatingWebhooks, Parts, PodSecurityOptions, Reader, ResourceQuota,
    TokenSecrets, Tokens, ValidatingWebhooks, Webhooks,
};
use crate::aggregate::{self, Aggregated};
use crate::audit::{AuditPolicy, AuditSink, Trails};
use crate::auth::node::NodeAuthorizer;
use crate::auth::rbac::{Escalation, Rbac};
use crate::auth::token::{BootstrapTokens, TokenIssuer};
use crate::auth::{Authenticator, Authorizer, CertificateAuthenticator, DenyAll, TokenKey};
use crate::bootstrap;
use crate::cache::feed::Feed;
use crate::catalog::{Catalog, Derived};
use crate::clock::{Chance, Clock, WallClock};
use crate::custom::{self, Definitions};
use crate::error::{Error, Result};
use crate::flow::{Classes, Flow};
use crate::health::StoreHealth;
use crate::limits::Limits;
use crate::metrics::{
    CacheMetrics, DecisionMetrics, Metrics, PodSecurityMetrics, PolicyMetrics, WebhookMetrics, classify,
};
use crate::node::NodeTransport;
use crate::pki::FrontProxy;
use crate::policy::{MutatingPolicies, ValidatingPolicies};
use crate::projection::{Projection, Projections};
use crate::server::ApiServer;
use crate::service_network::ServiceNetwork;
use crate::state::State;
use crate::storage::writer::Writer;
use crate::stream::Tunnels;
use crate::webhook::{Client, WebhookTargets};

/// Who issues the tokens of service accounts, as kubeadm has it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The parts of a server, each with a default.
#[derive(Debug)]
pub struct ApiServerBuilder {
    store: Arc<dyn Store>,
    encryption: Option<Arc<Encryption>>,
    metrics: MetricsRegistry,
    registry: Option<Registry>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    token_key: Option<TokenKey>,
    token_issuer: String,
    token_audiences: Vec<String>,
    tokens: Tokens,
    taints_new_nodes: bool,
    webhook_targets: WebhookTargets,
    pod_security: PodSecurityOptions,
    admission: Vec<Arc<dyn Admission>>,
    nodes: Option<Arc<dyn NodeTransport>>,
    projections: Vec<Arc<dyn Projection>>,
    loopback_endpoints: bool,
    service_cidr: IpNet,
    node_ports: RangeInclusive<u16>,
    advertised: Option<SocketAddr>,
    limits: Limits,
    front_proxy: Option<FrontProxy>,
    audit: Option<(AuditPolicy, Arc<dyn AuditSink>)>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl ApiServerBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        // 10.96.0.0/12, what kubeadm uses; the numbers are valid by construction.
        let service_cidr = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 12).into();
        Self {
            store,
            encryption: None,
            metrics: MetricsRegistry::default(),
            registry: None,
            authenticators: Vec::new(),
            authorizer: None,
            token_key: None,
            token_issuer: ISSUER.to_owned(),
            token_audiences: Vec::new(),
            tokens: Tokens::NotMounted,
            taints_new_nodes: false,
            webhook_targets: WebhookTargets::new(),
            pod_security: PodSecurityOptions::new(),
            admission: Vec::new(),
            nodes: None,
            projections: Vec::new(),
            loopback_endpoints: false,
            service_cidr,
            node_ports: 30000..=32767,
            advertised: None,
            limits: Limits::default(),
            front_proxy: None,
            audit: None,
            clock: Arc::new(WallClock),
            seed: None,
        }
    }

    /// The kinds that are served; default: the built-in ones.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Lets administrators see and change the keys that the store is encrypted with, at `/orchestra/v1/encryption`. The
    /// store given to the builder is to be [`Encryption::store`].
    #[must_use]
    pub fn encryption(mut self, encryption: Arc<Encryption>) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Serves what `registry` holds at `/metrics`, and the server's own with it.
    #[must_use]
    pub fn metrics(mut self, registry: MetricsRegistry) -> Self {
        self.metrics = registry;
        self
    }

    /// The key that signs the tokens of service accounts; default: a new one, so that they end with the program.
    #[must_use]
    pub fn token_key(mut self, key: TokenKey) -> Self {
        self.token_key = Some(key);
        self
    }

    /// The issuer that tokens of service accounts name, and for whom they are when nobody says; without audiences, the
    /// issuer itself. Default: `https://kubernetes.default.svc.cluster.local`.
    #[must_use]
    pub fn token_issuer(
        mut self,
        issuer: impl Into<String>,
        audiences: impl IntoIterator<Item = String>,
    ) -> Self {
        self.token_issuer = issuer.into();
        self.token_audiences = audiences.into_iter().collect();
        self
    }

    /// Lets every pod see the token of its service account, which then has to exist, as upstream's server does. Off unless
    /// told otherwise, because accounts and the ConfigMap `kube-root-ca.crt`, which is shown beside the token, are made by
    /// the controllers.
    #[must_use]
    pub fn mount_account_tokens(mut self, mount: bool) -> Self {
        self.tokens = if mount { Tokens::Mounted } else { Tokens::NotMounted };
        self
    }

    /// Keeps pods off a new node until it is known to be ready, by a taint, as upstream's server does
    /// (`TaintNodesByCondition`). Off unless told otherwise, because it is the controllers that take the taint away.
    #[must_use]
    pub fn taint_new_nodes(mut self, taint: bool) -> Self {
        self.taints_new_nodes = taint;
        self
    }

    /// At which addresses webhooks may be.
    #[must_use]
    pub fn webhook_targets(mut self, targets: WebhookTargets) -> Self {
        self.webhook_targets = targets;
        self
    }

    /// What holds of the Pod Security Standards where a namespace's labels say nothing, and who is exempt; default: nothing
    /// and nobody.
    #[must_use]
    pub fn pod_security(mut self, options: PodSecurityOptions) -> Self {
        self.pod_security = options;
        self
    }

    /// One more way to find out who asks, tried before client certificates.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Who may do what, besides `system:masters`, who may do everything; default: nodes may do what their
    /// pods need, and everybody what roles and bindings say (RBAC).
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// One more rule about writes, asked after the built-in ones and before policies and webhooks: an [`Admission`], or
    /// a closure over a typed object such as `|pod: &mut Pod| ...`.
    #[must_use]
    pub fn admission<Form>(mut self, admission: impl IntoAdmission<Form>) -> Self {
        self.admission.push(admission.into_admission());
        self
    }

    /// The way to the nodes, for logs.
    #[must_use]
    pub fn nodes(mut self, nodes: Arc<dyn NodeTransport>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Serves one more resource, whose objects are made of another's when somebody asks.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection) -> Self {
        self.projections.push(Arc::new(projection));
        self
    }

    /// Accepts 127.0.0.0/8 in Endpoints and EndpointSlices, which upstream refuses. For the `local` network, whose pods
    /// live on loopback addresses.
    #[must_use]
    pub fn allow_loopback_endpoints(mut self, allow: bool) -> Self {
        self.loopback_endpoints = allow;
        self
    }

    /// Where cluster IPs come from; default 10.96.0.0/12.
    #[must_use]
    pub fn service_cidr(mut self, cidr: IpNet) -> Self {
        self.service_cidr = cidr;
        self
    }

    /// Where node ports come from; default 30000 to 32767.
    #[must_use]
    pub fn node_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.node_ports = ports;
        self
    }

    /// The address under which the Service `default/kubernetes` finds this server.
    #[must_use]
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.advertised = Some(address);
        self
    }

    /// How long requests may take, and how many there may be at once; default: as upstream.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Writes down who asks for what and what comes of it: as much of it as `policy` says, into `sink`. Not done unless told.
    #[must_use]
    pub fn audit(mut self, policy: AuditPolicy, sink: impl AuditSink) -> Self {
        self.audit = Some((policy, Arc::new(sink)));
        self
    }

    /// Who this server is to servers behind it, which an `APIService` names. Without, it shows them no certificate, and few will
    /// believe what it says of who asks.
    #[must_use]
    pub fn front_proxy(mut self, front_proxy: FrontProxy) -> Self {
        self.front_proxy = Some(front_proxy);
        self
    }

    /// What time objects show; default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes uids, generated names and allocations repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the server: follows the store and makes the objects every cluster has.
    ///
    /// # Errors
    /// The store cannot be read or written, or there is no randomness for a key.
    pub async fn build(mut self) -> Result<ApiServer> {
        let mut registry = self.registry.unwrap_or_else(Registry::builtin);
        for projection in &self.projections {
            registry.insert(projection.kind());
        }
        let catalog = Arc::new(Catalog::new(&registry));
        let store = self.store;
        let metered = Metered::new(store.clone(), classify);
        metered.metrics().register(&mut self.metrics);
        self.store = Arc::new(metered);
        let caches = CacheMetrics::default();
        let feed = Feed::start(self.store.clone(), caches.clone(), self.limits.watch_pace)
            .await
            .map_err(Error::Store)?;
        let reader = Reader::new(self.store.clone(), catalog.clone());
        let token_key = match self.token_key {
            Some(key) => key,
            None => TokenKey::generate()?,
        };
        let tokens = Arc::new(TokenIssuer::new(
            token_key,
            self.token_issuer,
            self.token_audiences,
            self.advertised.map(|address| format!("https://{address}")).as_deref(),
            self.clock.clone(),
            reader.clone(),
        ));
        self.authenticators.push(Arc::new(CertificateAuthenticator));
        self.authenticators.push(tokens.clone());
        self.authenticators.push(Arc::new(BootstrapTokens::new(reader.clone(), self.clock.clone())));
        let chance = Arc::new(Chance::new(self.seed));
        let (decisions, pod_security_metrics) = (DecisionMetrics::default(), PodSecurityMetrics::default());
        self.metrics.register_collector(Box::new(decisions.clone()));
        self.metrics.register_collector(Box::new(pod_security_metrics.clone()));
        let rbac = Rbac::new(feed.clone(), &catalog, decisions.clone()).map(Arc::new);
        let authorizer: Arc<dyn Authorizer> = match (self.authorizer, &rbac) {
            (Some(own), _) => own,
            (None, Some(rbac)) => {
                match NodeAuthorizer::new(feed.clone(), &catalog, reader.clone(), rbac.clone(), decisions) {
                    Some(nodes) => Arc::new(nodes),
                    None => rbac.clone(),
                }
            }
            (None, None) => Arc::new(DenyAll),
        };
        let mut admission = admission::builtin(Parts {
            tokens: self.tokens,
            new_nodes_are_tainted: self.taints_new_nodes,
            pod_security: (self.pod_security, pod_security_metrics),
            chance: &chance,
            feed: &feed,
            catalog: &catalog,
            authorizer: &authorizer,
        });
        admission.push(Arc::new(TokenSecrets::new(tokens.clone())));
        if let Some(rbac) = rbac {
            admission.push(Arc::new(Escalation::new(rbac, authorizer.clone())));
        }
        let policy_metrics = PolicyMetrics::default();
        let validating_policies = ValidatingPolicies::new(&feed, &catalog, &authorizer, &policy_metrics)
            .map(|policies| Arc::new(policies) as Arc<dyn Admission>);
        let mutating_policies = MutatingPolicies::new(&feed, &catalog, &authorizer, &policy_metrics)
            .map(|policies| Arc::new(policies) as Arc<dyn Admission>);
        let quota = ResourceQuota::new(&feed, &catalog, &self.store, &self.clock);
        let webhook_metrics = WebhookMetrics::default();
        let client = Arc::new(Client::new(&feed, &catalog, &chance, self.webhook_targets));
        let webhooks = Webhooks::new(&client, &catalog, &chance, &authorizer, webhook_metrics.clone());
        let mutating = MutatingWebhooks::new(&webhooks, &feed, &catalog);
        let validating = ValidatingWebhooks::new(&webhooks, &feed, &catalog);
        let slots = Slots {
            mutating_webhooks: mutating.map(|rule| Arc::new(rule) as Arc<dyn Admission>),
            validating_webhooks: validating.map(|rule| Arc::new(rule) as Arc<dyn Admission>),
            quota: quota.map(|rule| Arc::new(rule) as Arc<dyn Admission>),
            mutating_policies,
            validating_policies,
        };
        let admission = Chain::new(admission, self.admission, slots);
        let shutdown = CancellationToken::new();
        let conversions = client.conversions.clone();
        let metrics = Metrics::new(
            self.metrics,
            store,
            caches,
            admission.metrics(),
            (policy_metrics, webhook_metrics),
            conversions,
        );
        let audit = self.audit.map(|(policy, sink)| {
            Arc::new(Trails::new(policy, sink, self.clock.clone(), metrics.audit.clone()))
        });
        let classes = Classes::new(&feed, &catalog);
        let state = State {
            writer: Writer::new(self.store.clone()),
            reader,
            definitions: Definitions::new(&catalog, client),
            discovery: Derived::default(),
            openapi: Derived::default(),
            store: self.store,
            encryption: self.encryption,
            store_health: StoreHealth::default(),
            metrics,
            feed,
            catalog,
            authenticators: self.authenticators,
            tokens,
            authorizer,
            admission,
            nodes: self.nodes,
            projections: Projections::new(self.projections),
            network: ServiceNetwork { cidr: self.service_cidr.trunc(), node_ports: self.node_ports },
            loopback_endpoints: self.loopback_endpoints,
            clock: self.clock,
            chance,
            audit,
            aggregated: Aggregated::new(self.front_proxy),
            flow: Flow::new(&self.limits),
            classes,
            streams: Tunnels::new(self.limits.streams, shutdown.clone()),
            limits: self.limits,
            leaving: CancellationToken::new(),
            shutdown,
        };
        let server = ApiServer { state: Arc::new(state) };
        bootstrap::bootstrap(&server.state, self.advertised).await.map_err(Error::Bootstrap)?;
        custom::start(&server.state).await.map_err(Error::Bootstrap)?;
        aggregate::start(&server.state).await.map_err(Error::Bootstrap)?;
        Ok(server)
    }
}
