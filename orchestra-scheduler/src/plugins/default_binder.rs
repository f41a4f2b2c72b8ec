//! DefaultBinder: binds through the API's binding subresource.

use crate::effect::Effect;
use crate::plugin::{Bind, Plugin};
use crate::view::{NodeName, PodView};

/// Binds every pod with a `Binding`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &str {
        "DefaultBinder"
    }
}

impl Bind for DefaultBinder {
    fn bind(&self, pod: &PodView, node: &NodeName) -> Option<Effect> {
        Some(Effect::Bind { pod: pod.key.clone(), uid: pod.uid.clone(), node: node.clone() })
    }
}
