//! The extension points of the scheduling framework, one trait each.
//!
//! A plugin implements the traits it needs and is registered for each of them; what it does not implement is
//! not called. Everything here is synchronous and decides from views: a plugin that panics, or scores outside
//! its range, fails the pod at hand and nothing else. Plugins must be deterministic functions of what they are
//! given, or runs do not repeat.

use std::any::{Any, TypeId};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::effect::Effect;
use crate::event::{ClusterEvent, Hint};
use crate::extender::Extender;
use crate::outcome::{Diagnosis, Failure, NodeRejection};
use crate::queue::QueuedPod;
use crate::unit::Points;
use crate::verdict::{
    Admission, Nomination, Permission, PreFiltered, PreScored, Preparation, Reservation, Verdict,
};
use crate::view::{ClusterView, NodeName, NodeView, PodUid, PodView};

/// What a plugin is called; messages, configuration and requeueing speak of it by this name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scheduling plugin: implement `Plugin` to give it a name"
)]
pub trait Plugin: Any + Debug + Send + Sync {
    /// The plugin's name, unique in its profile.
    fn name(&self) -> &str;
}

/// Decides whether a pod may enter the active queue at all.
pub trait PreEnqueue: Plugin {
    /// Whether the pod may be tried.
    fn pre_enqueue(&self, pod: &PodView) -> Admission;
}

/// Orders the active queue; exactly one in a scheduler.
pub trait QueueSort: Plugin {
    /// Which of two pods is tried first ([`Ordering::Less`] comes first).
    fn order(&self, left: &QueuedPod, right: &QueuedPod) -> Ordering;
}

/// Looks at the pod once before any node is looked at.
pub trait PreFilter: Plugin {
    /// Checks the pod, leaves notes in `cycle` for [`Filter`], and may narrow the nodes.
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered;
}

/// Keeps the notes of a [`PreFilter`] right while pods come to a node, or leave it, in thought (upstream's
/// `PreFilterExtensions`): pods that are promised room, and those that preemption tries to do without.
///
/// Called on a fork of the cycle, so nothing has to be undone. A plugin whose filter looks at the node alone does not
/// need it.
pub trait Adjust: Plugin {
    /// `added` is taken to be on `node` too.
    fn added(&self, cycle: &mut Cycle<'_>, pod: &PodView, added: &PodView, node: &NodeView);
    /// `removed` is taken to have left `node`.
    fn removed(&self, cycle: &mut Cycle<'_>, pod: &PodView, removed: &PodView, node: &NodeView);
}

/// Rules nodes out.
pub trait Filter: Plugin {
    /// Whether the pod could run on this node.
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict;
}

/// Tries to help a pod that no node can take.
pub trait PostFilter: Plugin {
    /// What can be done for the pod, given why each node refused it. `filters` says what the filters would make of
    /// a node that was changed.
    fn post_filter(
        &self,
        cycle: &Cycle<'_>,
        pod: &PodView,
        diagnosis: &Diagnosis,
        filters: &dyn Refilter,
    ) -> Nomination;
}

/// Runs all filters for the pod at hand again, on nodes as they might be; given to [`PostFilter`].
pub trait Refilter {
    /// Begins a trial with a node as it is.
    fn trial<'t>(&'t self, node: &'t NodeView) -> Box<dyn Trial + 't>;
    /// The extenders of the profile.
    fn extenders(&self) -> &[Arc<dyn Extender>];
    /// A number below `end`, from the engine's seeded chance; the same throughout one attempt.
    fn chance(&self, end: usize) -> usize;
}

/// One node as it might be. The filters see pods come and go through [`Adjust`].
pub trait Trial {
    /// The node with what has changed so far.
    fn node(&self) -> &NodeView;
    /// Puts a pod on the node.
    fn add(&mut self, pod: Arc<PodView>);
    /// Takes a pod off the node.
    fn remove(&mut self, uid: &PodUid);
    /// Why the pod at hand would not pass, also with the pods that are promised room there; `None` if it would.
    ///
    /// # Errors
    /// When a filter could not tell.
    fn refusal(&self) -> Result<Option<NodeRejection>, Failure>;
}

/// Looks at the nodes that are left before they are scored.
pub trait PreScore: Plugin {
    /// Leaves notes in `cycle` for [`Score`], or says that this plugin has nothing to add for this pod.
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, nodes: &[&NodeView]) -> PreScored;
}

/// Says how good a node would be.
#[diagnostic::on_unimplemented(message = "`{Self}` does not score nodes: implement `Score`")]
pub trait Score: Plugin {
    /// The worth of this node for this pod. Must lie in [`Points::MIN`]..=[`Points::MAX`] unless the plugin also
    /// normalises.
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points;
}

/// Brings raw scores into range once all nodes have one.
pub trait Normalise: Score {
    /// Rewrites `scores`, which belong to `nodes` position by position.
    fn normalise(&self, cycle: &Cycle<'_>, pod: &PodView, nodes: &[&NodeView], scores: &mut [Points]);
}

/// Keeps account of what a chosen node promises.
pub trait Reserve: Plugin {
    /// Called when the pod is assumed to be on the node.
    fn reserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Reservation;
    /// Undoes [`Reserve::reserve`]; may be called without it, and more than once. What was promised still counts while it is
    /// asked. Returned is what was written meanwhile and has to be taken back; whether that went well is not told.
    fn unreserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Vec<Effect>;
}

/// Holds a decided pod back.
pub trait Permit: Plugin {
    /// Whether the pod may be bound now. Asked again, whenever the cluster changes, as long as the answer is to
    /// wait; assumed pods are part of the cluster.
    fn permit(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Permission;
    /// How long the answer may be to wait.
    fn patience(&self) -> Duration;
}

/// Brings about what has to be true before binding.
pub trait PreBind: Plugin {
    /// What is still to do. Level-triggered: asked again, whenever the cluster changes, until there is nothing
    /// left.
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation;
    /// How long preparation may take in all.
    fn patience(&self) -> Duration;
}

/// Binds pods to nodes; the first plugin that takes a pod binds it.
pub trait Bind: Plugin {
    /// The effect that binds the pod, or `None` to leave it to the next plugin.
    fn bind(&self, pod: &PodView, node: &NodeName) -> Option<Effect>;
}

/// Hears of pods that were bound.
pub trait PostBind: Plugin {
    /// Called once the binding has been acknowledged.
    fn post_bind(&self, pod: &PodView, node: &NodeName);
}

/// Knows which changes can help a pod that this plugin rejected.
///
/// A plugin without it is retried on every change, as upstream does for plugins that register no events.
pub trait Requeue: Plugin {
    /// Whether trying `pod` again makes sense after `event`; `cluster` is what it led to.
    fn hint(&self, cluster: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint;
}

/// One attempt to place one pod: the cluster it looks at and the notes plugins leave themselves.
#[derive(Debug)]
pub struct Cycle<'a> {
    cluster: &'a ClusterView,
    notes: Notes,
}

/// The notes of a cycle, one value of each type. A clone shares them until one side changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl<'a> Cycle<'a> {
    /// Begins an attempt.
    #[must_use]
    pub fn new(cluster: &'a ClusterView) -> Self {
        Self { cluster, notes: Notes::default() }
    }

    /// Goes on with an attempt whose notes were kept.
    pub(crate) fn resume(cluster: &'a ClusterView, notes: Notes) -> Self {
        Self { cluster, notes }
    }

    /// Keeps the notes for a later stage.
    pub(crate) fn into_notes(self) -> Notes {
        self.notes
    }

    /// The cluster as it is for this attempt.
    #[must_use]
    pub fn cluster(&self) -> &'a ClusterView {
        self.cluster
    }

    /// Leaves a note, replacing one of the same type. Use a private type of your own.
    pub fn note<T: Any + Send + Sync>(&mut self, note: T) {
        self.notes.0.insert(TypeId::of::<T>(), Arc::new(note));
    }

    /// The note of this type.
    #[must_use]
    pub fn noted<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.notes.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// The note of this type, to change; what was forked off keeps the note as it was.
    pub fn noted_mut<T: Any + Send + Sync + Clone>(&mut self) -> Option<&mut T> {
        let note = self.notes.0.get_mut(&TypeId::of::<T>())?;
        if Arc::get_mut(note).is_none() {
            let own: T = note.downcast_ref::<T>()?.clone();
            *note = Arc::new(own);
        }
        Arc::get_mut(note)?.downcast_mut()
    }

    /// The same attempt with notes of its own, to try something out.
    #[must_use]
    pub fn fork(&self) -> Cycle<'a> {
        Cycle { cluster: self.cluster, notes: self.notes.clone() }
    }
}

/// Forwards plugin traits through `Arc`, so that one plugin can serve several extension points.
mod forward {
    use super::*;
    use std::sync::Arc;

    #[deny(clippy::missing_trait_methods)]
    impl<P: Plugin + ?Sized> Plugin for Arc<P> {
        fn name(&self) -> &str {
            (**self).name()
        }
    }

    #[deny(clippy::missing_trait_methods)]
    impl<P: Filter + ?Sized> Filter for Arc<P> {
        fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
            (**self).filter(cycle, pod, node)
        }
    }

    #[deny(clippy::missing_trait_methods)]
    impl<P: Score + ?Sized> Score for Arc<P> {
        fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
            (**self).score(cycle, pod, node)
        }
    }

    #[deny(clippy::missing_trait_methods)]
    impl<P: Normalise + ?Sized> Normalise for Arc<P> {
        fn normalise(&self, cycle: &Cycle<'_>, pod: &PodView, nodes: &[&NodeView], scores: &mut [Points]) {
            (**self).normalise(cycle, pod, nodes, scores);
        }
    }
}
