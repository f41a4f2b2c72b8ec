//! DaemonSets keep one pod on a node.

use super::super::log::WriteLog;
use super::super::{Happening, Invariant};
use super::convergence::can_be_ready;
use super::named;

/// At rest, every DaemonSet whose pods can become ready has one pod on each node, and it is ready.
#[derive(Debug)]
pub struct OnePodPerNode;

impl Invariant for OnePodPerNode {
    fn name(&self) -> &'static str {
        "one pod of a DaemonSet on each node"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::AtRest = happening else { return Ok(()) };
        for set in log.of("daemonsets.apps").filter(|set| can_be_ready(set)) {
            for node in log.of("nodes") {
                let here =
                    super::pods_of(log, set.uid()).filter(|pod| pod.text("/spec/nodeName") == &*node.name);
                let (all, ready) = here.fold((0, 0), |(all, ready), pod| {
                    (all + 1, ready + i32::from(super::is_active(pod) && super::is_ready(pod)))
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
