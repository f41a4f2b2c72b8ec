//! `MutatingAdmissionPolicy`: objects are changed as policies say, one after the other, before webhooks are asked.
//!
//! After upstream's `k8s.io/apiserver/pkg/admission/plugin/policy/{generic,mutating}`.

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::patch::apply::Schema;
use orchestra_core::policy::access::Authority;
use orchestra_core::policy::{Inputs, Matched, MutatingPolicy, Mutation, Unmade};
use orchestra_core::schema;
use serde_json::Value;
use tokio::time::Instant;

use super::access::Access;
use super::binding::{Binding, Definition, misconfigured};
use super::{GROUP, about, is_exempt};
use crate::admission::followed::Followed;
use crate::admission::matching::Target;
use crate::admission::notes::Lane;
use crate::admission::versions::Versions;
use crate::admission::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::Authorizer;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::metrics::PolicyMetrics;
use crate::status::{Cause, StatusError};
use crate::storage::meta;
use crate::storage::resource::Resource;

/// All mutating policies of a cluster, as one rule of admission.
#[derive(Debug)]
pub(crate) struct MutatingPolicies {
    versions: Versions,
    authorizer: Arc<dyn Authorizer>,
    definitions: Followed<Vec<Definition<MutatingPolicy>>>,
    bindings: Followed<Vec<Binding>>,
    metrics: PolicyMetrics,
}

/// A policy that is asked about a request, by a binding and with parameters.
struct Invocation<'p> {
    definition: &'p Definition<MutatingPolicy>,
    binding: &'p Binding,
    target: Target,
    params: Option<Value>,
}

impl Invocation<'_> {
    /// What tells it from others, in both rounds.
    fn key(&self) -> String {
        let params = self.params.as_ref();
        let params = params.map(|params| (meta::text(params, "namespace"), meta::name(params)));
        format!("{:?}", (&self.definition.name, &self.binding.name, params))
    }
}

/// A failure, and whose it is.
struct Failure<'p> {
    definition: &'p Definition<MutatingPolicy>,
    binding: Option<&'p Binding>,
    why: String,
    /// The reason of the status, where it is not the usual one.
    reason: Option<&'static str>,
}

impl Failure<'_> {
    fn message(&self) -> String {
        let name = &self.definition.name;
        match self.binding {
            Some(binding) => {
                format!("policy '{name}' with binding '{}' denied request: {}", binding.name, self.why)
            }
            None => format!("policy {name:?} denied request: {}", self.why),
        }
    }
}

/// What objects are changed by: the resource, where it is its own kind, and the schema.
struct Shape {
    resource: Option<Arc<Resource>>,
    ty: Option<&'static schema::ObjectType>,
}

impl Shape {
    fn schema(&self) -> Option<Schema<'_>> {
        match (self.ty, self.resource.as_ref().and_then(|resource| resource.custom())) {
            (Some(ty), _) => Some(Schema::Builtin(ty)),
            (None, Some(kind)) => Some(Schema::Custom(kind.schema())),
            (None, None) => None,
        }
    }

    /// Fits what was made to the kind, and fills in what it leaves out.
    fn finish(&self, object: &mut Value) -> Result<(), StatusError> {
        match (self.ty, &self.resource) {
            (Some(ty), _) => {
                schema::conform(object, ty).map_err(StatusError::internal)?;
            }
            (None, Some(resource)) => {
                if let Some(kind) = resource.custom() {
                    kind.conform(object).map_err(StatusError::internal)?;
                }
            }
            (None, None) => {}
        }
        if let Some(resource) = &self.resource {
            resource.kind.default(object);
        }
        Ok(())
    }
}

impl MutatingPolicies {
    /// `None` when a registry of one's own does not serve policies.
    pub(crate) fn new(
        feed: &Arc<Feed>,
        catalog: &Arc<Catalog>,
        authorizer: &Arc<dyn Authorizer>,
        metrics: &PolicyMetrics,
    ) -> Option<Self> {
        let definitions = Followed::new(feed, catalog, &GROUP, "mutatingadmissionpolicies")?;
        let bindings = Followed::new(feed, catalog, &GROUP, "mutatingadmissionpolicybindings")?;
        let (versions, authorizer, metrics) = (Versions::new(catalog), authorizer.clone(), metrics.clone());
        Some(Self { versions, authorizer, definitions, bindings, metrics })
    }

    fn shape(&self, request: &AdmissionRequest<'_>, target: &Target) -> Shape {
        if request.kind_version != &request.request.gv {
            return Shape { resource: None, ty: schema::of_kind(request.kind_version, request.kind) };
        }
        let resource = self.versions.catalog().find(&target.gv, &target.resource);
        let resource = resource.filter(|resource| resource.description().kind == request.kind);
        match resource {
            Some(resource) => Shape { ty: resource.object_type(), resource: Some(resource) },
            None => Shape { resource: None, ty: schema::of_kind(&target.gv, request.kind) },
        }
    }

    /// Asks those policies that mean the request, in order.
    async fn dispatch<'p>(
        &self,
        invocations: &[Invocation<'p>],
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        failures: &mut Vec<Failure<'p>>,
    ) -> Result<(), StatusError> {
        let rounds = request.rounds.lane(Lane::Policies);
        // What others did since is a change, too.
        rounds.compare(object);
        let about = About {
            request,
            namespace: about::namespace(request).await?,
            access: Access::new(&self.authorizer, request.user),
        };
        for invocation in invocations {
            let changed = self.invoke(invocation, &about, object, failures).await?;
            if changed {
                rounds.changed();
            }
        }
        rounds.keep(object);
        Ok(())
    }

    /// Asks one policy; says whether that changed anything.
    async fn invoke<'p>(
        &self,
        invocation: &Invocation<'p>,
        about: &About<'_>,
        object: &mut Value,
        failures: &mut Vec<Failure<'p>>,
    ) -> Result<bool, StatusError> {
        let Invocation { definition, binding, target, params } = invocation;
        let About { request, namespace, access } = about;
        let rounds = request.rounds.lane(Lane::Policies);
        let fail = |why: String| Failure { definition, binding: Some(binding), why, reason: Some("Invalid") };
        let old = self.versions.seen(request, target, request.old).await?;
        let mut seen = self.versions.converted(request, target, object).await?.into_owned();
        let asked = Asked {
            review: about::request(request, target),
            old: old.as_deref(),
            namespace: namespace.as_ref(),
            params: definition.param_kind.is_some().then_some(params.as_ref()),
        };
        let matched =
            access.settle(|authority| definition.policy.matches(&asked.inputs(&seen, authority))).await;
        match matched {
            Matched::Yes => {}
            Matched::No => return Ok(false),
            Matched::Failed(why) => {
                failures.push(fail(why));
                return Ok(false);
            }
        }
        let key = invocation.key();
        if !rounds.is_due(&key) {
            return Ok(false);
        }
        let shape = self.shape(request, target);
        let mut changed = false;
        for mutation in definition.policy.mutations() {
            let begun = Instant::now();
            let made = change((&definition.policy, mutation), &asked, &shape, about, &seen).await;
            let took = begun.elapsed();
            let problem = made.as_ref().err().map(Unmakeable::message);
            self.metrics.mutated((&definition.name, &binding.name), problem.as_deref(), took);
            match made {
                Ok(None) => {}
                Ok(Some(new)) => {
                    changed |= new != seen;
                    seen = new;
                }
                Err(Unmakeable::Mutation(why)) => failures.push(fail(why)),
                Err(Unmakeable::Request(refused)) => return Err(refused),
            }
        }
        if changed {
            *object = self.versions.back(request, target, seen).await?;
        }
        if definition.policy.is_reinvoked() {
            rounds.remember(key);
        }
        Ok(changed)
    }
}

/// Why there is no changed object.
enum Unmakeable {
    /// The mutation failed: what follows, the policy says.
    Mutation(String),
    /// The request is refused, whatever the policy says.
    Request(StatusError),
}

impl Unmakeable {
    fn message(&self) -> String {
        match self {
            Self::Mutation(why) => why.clone(),
            Self::Request(refused) => refused.to_string(),
        }
    }
}

/// What a mutation makes of an object; `None` if nothing.
async fn change(
    (policy, mutation): (&MutatingPolicy, &Mutation),
    asked: &Asked<'_>,
    shape: &Shape,
    about: &About<'_>,
    seen: &Value,
) -> Result<Option<Value>, Unmakeable> {
    let schema = shape.schema().ok_or_else(|| Unmakeable::Request(unknown(about.request)))?;
    let mutate =
        |authority: &Authority| policy.mutate(mutation, &asked.inputs(seen, authority), seen, schema);
    let made = about.access.settle(mutate).await.map_err(|unmade| match unmade {
        Unmade::Failed(why) => Unmakeable::Mutation(why),
        Unmade::Misshapen(why) => Unmakeable::Request(StatusError::internal(why)),
    })?;
    let Some(mut new) = made else { return Ok(None) };
    shape.finish(&mut new).map_err(Unmakeable::Request)?;
    Ok(Some(new))
}

/// 503 for a kind that no schema is known of.
fn unknown(request: &AdmissionRequest<'_>) -> StatusError {
    let gv = request.kind_version;
    StatusError::unavailable(format!(
        "Resource kind {}/{}, Kind={} not found. There can be a delay between when CustomResourceDefinitions are created and \
         when they are available.",
        gv.group, gv.version, request.kind
    ))
}

/// The request that policies are asked about.
struct About<'r> {
    request: &'r AdmissionRequest<'r>,
    namespace: Option<Value>,
    access: Access<'r>,
}

/// What of a request stays the same while a policy changes its object.
struct Asked<'r> {
    review: Value,
    old: Option<&'r Value>,
    namespace: Option<&'r Value>,
    /// The parameters, which may be none, of a policy that has some.
    params: Option<Option<&'r Value>>,
}

impl Asked<'_> {
    fn inputs<'v>(&'v self, object: &'v Value, authority: &'v Authority) -> Inputs<'v> {
        let inputs = Inputs::new(&self.review, Some(object), self.old);
        let inputs = inputs.namespace(self.namespace).authority(authority);
        match self.params {
            Some(params) => inputs.params(params),
            None => inputs,
        }
    }
}

/// What a client is told of policies that failed and must not.
fn refusal(request: &AdmissionRequest<'_>, failures: &[Failure<'_>]) -> Option<StatusError> {
    let first = failures.first()?;
    let refused = request.refuse("admission request denied by policy");
    let refused = refused.in_words(first.message(), first.reason);
    let cause = |failure: &Failure<'_>| Cause {
        reason: String::new(),
        message: failure.message(),
        field: String::new(),
    };
    Some(failures.iter().map(cause).fold(refused, StatusError::with_cause))
}

#[async_trait]
impl Admission for MutatingPolicies {
    fn name(&self) -> &str {
        "MutatingAdmissionPolicy"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, _request: &AdmissionRequest<'_>) -> bool {
        !self.bindings.is_known_empty()
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        if is_exempt(request) || request.operation == Operation::Delete {
            return Ok(());
        }
        let bindings = self.bindings.get(|objects| objects.iter().map(Binding::read).collect()).await?;
        if bindings.is_empty() {
            return Ok(());
        }
        let compile = |object: &Value| Definition::read(object, MutatingPolicy::compile);
        let definitions = self.definitions.get(|objects| objects.iter().map(compile).collect()).await?;
        let (mut invocations, mut failures) = (Vec::new(), Vec::new());
        for definition in definitions.iter() {
            let bound = definition.bound(&bindings, request, Some(object), &self.versions).await;
            let Some(bound) = bound else { continue };
            for (binding, why) in bound.wrong {
                let why = misconfigured(binding, &why);
                failures.push(Failure { definition, binding, why, reason: None });
            }
            for (binding, params) in bound.with {
                let target = &bound.target;
                invocations.extend(params.into_iter().map(|params| Invocation {
                    definition,
                    binding,
                    target: target.clone(),
                    params,
                }));
            }
        }
        if !invocations.is_empty() {
            self.dispatch(&invocations, request, object, &mut failures).await?;
        }
        failures.retain(|failure| !failure.definition.policy.fails_open());
        refusal(request, &failures).map_or(Ok(()), Err)
    }
}
