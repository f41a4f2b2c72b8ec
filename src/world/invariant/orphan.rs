//! Nothing outlives its owner.

use std::collections::BTreeSet;

use super::super::log::WriteLog;
use super::super::{Happening, Invariant};
use super::named;

/// At rest, whatever names owners has one that is there, nothing is on its way out, and no pod is on a node that is not there.
#[derive(Debug)]
pub struct NoOrphans;

impl Invariant for NoOrphans {
    fn name(&self) -> &'static str {
        "nothing outlives its owner"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::AtRest = happening else { return Ok(()) };
        let uids: BTreeSet<&str> = log.objects().map(super::super::log::Object::uid).collect();
        let nodes: BTreeSet<&str> = log.of("nodes").map(|node| &*node.name).collect();
        let namespaces: BTreeSet<&str> = log.of("namespaces").map(|namespace| &*namespace.name).collect();
        for object in log.objects() {
            if object.is_going() {
                return Err(format!("{} never goes", named(object)));
            }
            if !object.namespace.is_empty() && !namespaces.contains(&*object.namespace) {
                return Err(format!("{} is in a namespace that is not there", named(object)));
            }
            let mut owners = object.owners().filter_map(|owner| owner["uid"].as_str()).peekable();
            if owners.peek().is_some() && !owners.any(|uid| uids.contains(uid)) {
                return Err(format!("{} has no owner any more", named(object)));
            }
        }
        for pod in log.of("pods") {
            let node = pod.text("/spec/nodeName");
            if !node.is_empty() && !nodes.contains(node) {
                return Err(format!("{} is on {node}, which is not there", named(pod)));
            }
        }
        Ok(())
    }
}
