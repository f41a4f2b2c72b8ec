//! Cluster roles that gather the rules of others, such as `admin`, `edit` and `view`.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::ownership::{selector, selects};
use crate::queue::Queue;
use crate::world::World;

/// Under which the gathered rules stand in managedFields, as upstream's.
const FIELD_MANAGER: &str = "clusterrole-aggregation-controller";

/// The rules that a role should have by its `aggregationRule`, if it has others.
///
/// They are those of the roles that each selector chooses, in the order of their names, each rule once.
///
/// # Errors
/// When a selector cannot be understood, which the API server should have refused.
pub fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Result<Option<Vec<PolicyRule>>> {
    let Some(aggregation) = &role.aggregation_rule else { return Ok(None) };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for wanted in aggregation.cluster_role_selectors.iter().flatten() {
        let wanted = selector(wanted)?;
        let mut chosen: Vec<_> = all
            .iter()
            .filter(|other| other.metadata.name != role.metadata.name && selects(&wanted, &other.metadata))
            .collect();
        chosen.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for rule in chosen.iter().flat_map(|other| other.rules.iter().flatten()) {
            if !rules.iter().any(|held| same(held, rule)) {
                rules.push(rule.clone());
            }
        }
    }
    let held = role.rules.as_deref().unwrap_or_default();
    let fits = held.len() == rules.len() && held.iter().zip(&rules).all(|(held, rule)| same(held, rule));
    Ok((!fits).then_some(rules))
}

/// Whether two rules allow the same in the same words; a list that is empty is as one that is absent.
fn same(a: &PolicyRule, b: &PolicyRule) -> bool {
    type Field = fn(&PolicyRule) -> Option<&Vec<String>>;
    let fields: [Field; 4] = [
        |rule| rule.api_groups.as_ref(),
        |rule| rule.resources.as_ref(),
        |rule| rule.resource_names.as_ref(),
        |rule| rule.non_resource_urls.as_ref(),
    ];
    let list = |rule, field: Field| field(rule).map(Vec::as_slice).unwrap_or_default();
    a.verbs == b.verbs && fields.into_iter().all(|field| list(a, field) == list(b, field))
}

pub(crate) struct Aggregation {
    world: Arc<World>,
}

/// Connects the controller to the world. Roles are few, and any may be chosen by any: each change concerns all that gather.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Aggregation>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.cluster_roles.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |_| {
            let Some(world) = weak.upgrade() else { return };
            for role in world.cluster_roles.all() {
                if role.aggregation_rule.is_some() {
                    queue.add(Key::of(&role.metadata));
                }
            }
        }
    });
    (Arc::new(Aggregation { world: world.clone() }), queue)
}

impl Reconcile for Aggregation {
    type Key = Key;

    fn name(&self) -> &'static str {
        "clusterrole-aggregation"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(role) = self.world.cluster_roles.get(key) else { return Ok(Next::Wait) };
        let Some(rules) = plan(&role, &self.world.cluster_roles.all())? else { return Ok(Next::Wait) };
        let api: Api<ClusterRole> = Api::all(self.world.client.clone());
        let apply = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            // The uid, lest a role that was deleted comes back.
            "metadata": {"name": key.name, "uid": role.metadata.uid}, "rules": rules,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        if let Some(written) = unless_gone(api.patch(&key.name, &params, &Patch::Apply(apply)).await)? {
            self.world.cluster_roles.observe(written);
        }
        Ok(Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn role(name: &str, labels: Value, rules: Value) -> Arc<ClusterRole> {
        let role = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        Arc::new(serde_json::from_value(role).unwrap())
    }

    fn rule(resource: &str) -> Value {
        json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]})
    }

    #[test]
    fn gathers_each_rule_once_in_the_order_of_names_and_then_rests() {
        let own = json!({"to-view": "true"});
        let mut all = vec![
            role("b", json!({"to-view": "true"}), json!([rule("pods"), rule("nodes")])),
            role("a", json!({"to-view": "true"}), json!([rule("secrets"), rule("pods")])),
            role("other", json!({"to-edit": "true"}), json!([rule("leases")])),
        ];
        let mut view = ClusterRole::clone(&role("view", own, json!([rule("stale")])));
        view.aggregation_rule = Some(
            serde_json::from_value(json!({"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}))
                .unwrap(),
        );
        all.push(Arc::new(view.clone()));
        let rules = plan(&view, &all).unwrap().unwrap();
        let resources: Vec<_> =
            rules.iter().map(|rule| rule.resources.as_ref().unwrap()[0].as_str()).collect();
        assert_eq!(resources, ["secrets", "pods", "nodes"]);
        view.rules = Some(rules);
        assert_eq!(plan(&view, &all).unwrap(), None);
        view.aggregation_rule = None;
        view.rules = None;
        assert_eq!(plan(&view, &all).unwrap(), None);
    }
}
