//! Runs a [`Strategy`]: collects waiting pods, asks where they go, and holds the answer to the contract.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use orchestra_scheduler::effect::Effect;
use orchestra_scheduler::view::{ClusterView, NodeFacts, NodeName, NodeView, PodUid, PodView};
use orchestra_scheduler::{Job, Priority, Report, ReportReason, Step, Strategy};

use crate::time::SimTime;

/// The order of the queue: the most important first, then who came first.
type Rank = (Reverse<Priority>, u64);

#[derive(Debug)]
pub(super) struct Batch {
    strategy: Arc<dyn Strategy>,
    pause: SimTime,
    cluster: ClusterView,
    waiting: BTreeMap<Rank, Arc<PodView>>,
    ranks: HashMap<PodUid, Rank>,
    came: u64,
    steps: VecDeque<Step>,
    /// Whether anything changed since the strategy was asked; the same question has the same answer.
    changed: bool,
    next_ask: SimTime,
}

impl Batch {
    pub(super) fn new(strategy: Arc<dyn Strategy>, pause: SimTime) -> Self {
        Self {
            strategy,
            pause,
            cluster: ClusterView::default(),
            waiting: BTreeMap::new(),
            ranks: HashMap::new(),
            came: 0,
            steps: VecDeque::new(),
            changed: false,
            next_ask: SimTime::ZERO,
        }
    }

    pub(super) fn cluster(&self) -> &ClusterView {
        &self.cluster
    }

    pub(super) fn node_applied(&mut self, facts: NodeFacts) {
        self.changed = true;
        self.cluster.set_node(Arc::new(facts));
    }

    pub(super) fn node_deleted(&mut self, name: &str) {
        self.changed = true;
        self.cluster.remove_node(name);
    }

    pub(super) fn pod_applied(&mut self, pod: PodView) {
        self.changed = true;
        let pod = Arc::new(pod);
        if let Some(node) = pod.node.clone() {
            self.forget(&pod.uid);
            self.cluster.place(pod, &node);
            return;
        }
        let rank = (Reverse(pod.priority), self.came);
        self.came += 1;
        self.forget(&pod.uid);
        self.ranks.insert(pod.uid.clone(), rank);
        self.waiting.insert(rank, pod);
    }

    pub(super) fn pod_deleted(&mut self, uid: &PodUid) {
        self.changed = true;
        self.forget(uid);
        self.cluster.take(uid);
    }

    fn forget(&mut self, uid: &PodUid) -> Option<Arc<PodView>> {
        self.waiting.remove(&self.ranks.remove(uid)?)
    }

    pub(super) fn next_due(&self) -> Option<SimTime> {
        (self.changed && !self.waiting.is_empty()).then_some(self.next_ask)
    }

    /// The next thing to do; in words what is wrong with the strategy's answer, if something is.
    pub(super) fn next(&mut self, now: SimTime) -> Result<Option<Step>, String> {
        if self.steps.is_empty() && self.next_due().is_some_and(|due| due <= now) {
            self.changed = false;
            self.next_ask = now.plus(self.pause);
            self.ask()?;
        }
        Ok(self.steps.pop_front())
    }

    fn ask(&mut self) -> Result<(), String> {
        let queue: Vec<Arc<PodView>> = self.waiting.values().cloned().collect();
        for placement in self.strategy.place(&self.cluster, &queue) {
            let Some(pod) = self.forget(&placement.pod) else {
                return Err(format!("pod {} was not in the queue, or was placed twice", placement.pod));
            };
            let node = self.cluster.node(&placement.node);
            let Some(node) = node else {
                return Err(format!(
                    "{} was placed on node {:?}, which is not there",
                    pod.key, &*placement.node
                ));
            };
            if let Some(lacking) = lacking(node, &pod) {
                return Err(format!("{} was placed on node {:?}: {lacking}", pod.key, &*placement.node));
            }
            self.cluster.place(pod.clone(), &placement.node);
            self.steps.push_back(bind(pod, placement.node));
        }
        for pod in self.waiting.values() {
            self.steps.push_back(Step::Report(Report {
                pod: pod.clone(),
                reason: ReportReason::Unschedulable,
                message: "not placed".to_owned(),
                nominated: None,
                victims: None,
            }));
        }
        Ok(())
    }
}

fn bind(pod: Arc<PodView>, node: NodeName) -> Step {
    let effect = Effect::Bind { pod: pod.key.clone(), uid: pod.uid.clone(), node: node.clone() };
    Step::Perform(Job { pod, node, effects: vec![effect] })
}

/// Why a node's agent would turn the pod away.
fn lacking(node: &NodeView, pod: &PodView) -> Option<String> {
    let (offered, used) = (&node.facts().allocatable, node.requested());
    let lacks = |asked: i64, offered: i64, used: i64| asked > 0 && asked > offered.saturating_sub(used);
    let native = [
        ("cpu", pod.requests.cpu.0, offered.cpu.0, used.cpu.0),
        ("memory", pod.requests.memory.0, offered.memory.0, used.memory.0),
        (
            "ephemeral-storage",
            pod.requests.ephemeral_storage.0,
            offered.ephemeral_storage.0,
            used.ephemeral_storage.0,
        ),
        ("pods", 1, node.facts().allocatable_pods, i64::try_from(node.pods().len()).unwrap_or(i64::MAX)),
    ];
    let of = |amounts: &std::collections::BTreeMap<Arc<str>, i64>, name: &Arc<str>| {
        amounts.get(name).copied().unwrap_or(0)
    };
    let scalars = pod
        .requests
        .scalars
        .iter()
        .map(|(name, asked)| (&**name, *asked, of(&offered.scalars, name), of(&used.scalars, name)));
    let short =
        native.into_iter().chain(scalars).find(|(_, asked, offered, used)| lacks(*asked, *offered, *used));
    match short {
        Some((name, asked, offered, used)) => {
            Some(format!("it asks for {asked} of {name}, and of {offered} there {used} are in use"))
        }
        None if !pod.rules.admit(node.facts()) => {
            Some("its node selector or node affinity does not match".to_owned())
        }
        None => None,
    }
}
