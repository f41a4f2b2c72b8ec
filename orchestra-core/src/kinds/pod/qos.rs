//! The quality of service that a pod's requests and limits earn it (`pkg/apis/core/helper/qos`).

use serde_json::Value;

use crate::kinds::pod_spec::resources::parse;
use crate::quantity::Quantity;

/// The resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(spec: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let own = spec.get("resources");
    let of_containers = ["containers", "initContainers"]
        .iter()
        .filter_map(|list| spec.get(*list).and_then(Value::as_array))
        .flatten()
        .map(|container| container.get("resources").unwrap_or(&Value::Null));
    // Resources of the whole pod, where given, speak for its containers.
    let counted: Vec<&Value> = match own.filter(|own| says_something(own)) {
        Some(own) => vec![own],
        None => of_containers.collect(),
    };
    for resources in counted {
        for resource in COUNTED {
            let request = amount(resources, "requests", resource);
            let limit = amount(resources, "limits", resource);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn says_something(resources: &Value) -> bool {
    COUNTED.iter().any(|resource| {
        amount(resources, "requests", resource).is_some() || amount(resources, "limits", resource).is_some()
    })
}

/// An amount above zero.
fn amount(resources: &Value, list: &str, resource: &str) -> Option<Quantity> {
    let quantity = parse(resources.get(list)?.get(resource)?)?;
    (quantity > Quantity::ZERO).then_some(quantity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::class;

    #[test]
    fn requests_and_limits_decide_the_class() {
        let pod = |resources| class(&json!({"containers": [{"resources": resources}]}));
        assert_eq!(pod(json!({})), "BestEffort");
        assert_eq!(pod(json!({"requests": {"nvidia.com/gpu": "1"}})), "BestEffort");
        assert_eq!(pod(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(pod(json!({"limits": {"cpu": "1"}})), "Burstable");
        assert_eq!(pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        let both =
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}});
        assert_eq!(pod(both), "Burstable");
    }

    #[test]
    fn one_container_without_limits_spoils_the_guarantee() {
        let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let spec = json!({"containers": [{"resources": limits}, {"resources": {}}]});
        assert_eq!(class(&spec), "Burstable");
    }
}
