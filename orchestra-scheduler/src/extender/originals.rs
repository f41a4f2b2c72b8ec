//! Whole objects, for those who have to pass them on: views keep only what decisions need.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::view::PodUid;

/// The pods and nodes there are, as the API has them. A copy is the same store.
#[derive(Clone, Debug, Default)]
pub struct Originals(Arc<RwLock<Objects>>);

#[derive(Debug, Default)]
struct Objects {
    pods: HashMap<PodUid, Arc<Pod>>,
    keys: HashMap<(String, String), PodUid>,
    nodes: HashMap<String, Arc<Node>>,
}

impl Originals {
    /// A pod is there, and looks like this.
    pub fn keep_pod(&self, pod: &Pod) {
        let uid = PodUid::from(pod.metadata.uid.as_deref().unwrap_or_default());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        let mut objects = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = objects.keys.insert(key, uid.clone()).filter(|before| *before != uid) {
            objects.pods.remove(&before);
        }
        objects.pods.insert(uid, Arc::new(pod.clone()));
    }

    /// A pod is gone.
    pub fn forget_pod(&self, namespace: &str, name: &str) {
        let mut objects = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = objects.keys.remove(&(namespace.to_owned(), name.to_owned())) {
            objects.pods.remove(&uid);
        }
    }

    /// A node is there, and looks like this.
    pub fn keep_node(&self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut objects = self.0.write().unwrap_or_else(PoisonError::into_inner);
        objects.nodes.insert(name, Arc::new(node.clone()));
    }

    /// A node is gone.
    pub fn forget_node(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).nodes.remove(name);
    }

    /// The pod of this identity.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).pods.get(uid).cloned()
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).nodes.get(name).cloned()
    }
}
