//! DaemonSets keep one pod on a node.

use super::super::log::{Object, WriteLog};
use super::super::{Happening, Invariant};
use super::convergence::can_be_ready;
use super::{is_active, is_ready, limited, named, pods_of};

/// At rest, every DaemonSet whose pods can become ready, and are limited by no quota, has one pod on each node, and it is
/// ready.
#[derive(Debug)]
pub struct OnePodPerNode;

impl Invariant for OnePodPerNode {
    fn name(&self) -> &'static str {
        "one pod of a DaemonSet on each node"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::AtRest = happening else { return Ok(()) };
        let limited = limited(log);
        let judged = |set: &&Object| !limited.contains(&*set.namespace) && can_be_ready(set);
        for set in log.of("daemonsets.apps").filter(judged) {
            for node in log.of("nodes") {
                let here = pods_of(log, set.uid()).filter(|pod| pod.text("/spec/nodeName") == &*node.name);
                let (all, ready) = here.fold((0, 0), |(all, ready), pod| {
                    (all + 1, ready + i32::from(is_active(pod) && is_ready(pod)))
                });
                if (all, ready) != (1, 1) {
                    return Err(format!(
                        "{} has {all} pods on {}, {ready} of them ready",
                        named(set),
                        node.name
                    ));
                }
            }
        }
        Ok(())
    }
}
