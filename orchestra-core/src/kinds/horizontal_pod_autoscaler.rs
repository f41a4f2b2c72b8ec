//! `HorizontalPodAutoscaler`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("autoscaling", "v2"),
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        Scope::Namespaced,
    )
    .short_names(&["hpa"])
    .in_category_all()
    .status(|| json!({"currentMetrics": null, "desiredReplicas": 0}))
}
