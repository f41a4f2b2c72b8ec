//! What plugins answer at each extension point.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::effect::Effect;
use crate::view::{NodeName, PodView, Promise};

/// Why something was refused, in upstream's words; a plugin may name several reasons.
pub type Reasons = Vec<Cow<'static, str>>;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Whether removing pods could change it.
    pub kind: RejectionKind,
    /// In words.
    pub reasons: Reasons,
}

/// Whether removing pods could change a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// It could: preemption may help (upstream's `Unschedulable`).
    Unschedulable,
    /// It could not (upstream's `UnschedulableAndUnresolvable`).
    Unresolvable,
}

impl Rejection {
    /// A refusal that preemption may lift.
    #[must_use]
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: RejectionKind::Unschedulable, reasons: vec![reason.into()] }
    }

    /// A refusal that preemption cannot lift.
    #[must_use]
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: RejectionKind::Unresolvable, reasons: vec![reason.into()] }
    }
}

/// The answer of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node will do.
    Pass,
    /// It will not.
    Reject(Rejection),
    /// The plugin could not tell.
    Fail(String),
}

impl Verdict {
    /// A refusal that preemption may lift.
    #[must_use]
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(Rejection::unschedulable(reason))
    }

    /// A refusal that preemption cannot lift.
    #[must_use]
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(Rejection::unresolvable(reason))
    }
}

/// The answer before filtering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreFiltered {
    /// Filter all nodes.
    All,
    /// Only these nodes come into question.
    Only(BTreeSet<NodeName>),
    /// This plugin's filter has nothing to say about this pod.
    Skip,
    /// No node will do.
    Reject(Rejection),
    /// The plugin could not tell.
    Fail(String),
}

/// The answer before scoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreScored {
    /// Go on.
    Score,
    /// This plugin adds nothing for this pod.
    Skip,
    /// The plugin could not tell.
    Fail(String),
}

/// Whether a pod may enter the active queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admit,
    /// It is parked until it changes.
    Hold(Reasons),
}

/// What came of the attempt to help a rejected pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nomination {
    /// Room is being made on this node.
    Node(NodeName),
    /// Room is made on this node by evicting these pods, the most important first.
    Preempt {
        /// The node.
        node: NodeName,
        /// Who has to go.
        victims: Vec<Arc<PodView>>,
    },
    /// As [`Nomination::Nothing`], and what was promised to the pod earlier is void.
    Void(Reasons),
    /// These effects may help; nobody waits for them, what they change is seen when it comes back. No other plugin is asked.
    Repair {
        /// What to do.
        effects: Vec<Effect>,
        /// In words.
        reasons: Reasons,
    },
    /// Nothing to be done by this plugin; the next one is asked.
    Nothing(Reasons),
    /// Nothing to be done by any plugin.
    Hopeless(Reasons),
    /// The plugin could not tell.
    Fail(String),
}

/// Whether a reservation was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It was.
    Made,
    /// It was, and others must count on this until the pod is bound or gives up.
    Promise(Vec<Promise>),
    /// The node is refused after all.
    Reject(Rejection),
    /// The plugin could not tell.
    Fail(String),
}

/// Whether a decided pod may be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Allow,
    /// Not yet.
    Wait,
    /// It may not, and has to be decided anew.
    Reject(Rejection),
}

/// What is still missing before a pod can be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing.
    Ready,
    /// These effects have to be brought about.
    Perform(Vec<Effect>),
    /// Something that others do.
    Wait,
    /// It cannot be had.
    Fail(String),
    /// As `then` says, and users are to hear of it: once for a pod on its way to a node, however often it is said.
    Announced {
        /// What they hear.
        notice: Announcement,
        /// What is missing.
        then: Box<Preparation>,
    },
}

impl Preparation {
    /// What is missing, with the announcement taken out; the first that was made stays.
    pub(crate) fn heard(self, heard: &mut Option<Announcement>) -> Self {
        match self {
            Self::Announced { notice, then } => {
                heard.get_or_insert(notice);
                then.heard(heard)
            }
            other => other,
        }
    }
}

/// What users hear of a pod on its way to its node: a Normal event of the action `Scheduling`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// In one word.
    pub reason: &'static str,
    /// In words.
    pub note: String,
}
