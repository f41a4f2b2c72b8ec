//! The search for devices: one after the other, each in all ways, until all claims have theirs.
//!
//! What has been taken is a list, and where the search stands a stack; so claims as large as anybody likes cost memory that
//! they have paid for in the size of their objects, and no call stack.

use std::collections::HashMap;

use k8s_openapi::api::resource::v1::{AllocationResult, DeviceAttribute, DeviceConstraint};

use super::capacity::{consumption, fits};
use super::counter::{self, Counters};
use super::in_use::{Consumed, InUse};
use super::pool::{Candidate, Offers, Pool, State};
use super::request::{Amount, Ask, asks};
use super::result::result;
use super::selector::Selectors;
use crate::view::{ClusterView, DeviceClaimView, NodeFacts};

/// The most devices a claim can have.
const MOST_DEVICES: usize = 32;

/// What is to be allocated, and beside what.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) cluster: &'a ClusterView,
    pub(crate) claims: &'a [&'a DeviceClaimView],
    pub(crate) offers: &'a Offers,
    pub(crate) in_use: &'a InUse,
    pub(crate) selectors: &'a Selectors,
    /// How many devices may be looked at.
    pub(crate) steps: u64,
    /// Whether what 1.36 turned on counts: taints, parts of devices, shares of them, and their preparation.
    pub(crate) shares: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The search took too long.
    Timeout,
    /// Something is wrong with what this node can use; others may do.
    Here(&'static str),
    /// Something is wrong with a claim or a class.
    Broken(String),
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::Broken(text)
    }
}

/// A device that was taken.
pub(super) struct Taken {
    pub(super) claim: usize,
    pub(super) request: usize,
    pub(super) option: usize,
    pub(super) candidate: usize,
    /// What is used of a device that others may use, too.
    pub(super) share: Option<Consumed>,
    counted: bool,
}

/// Where the search looks for one device.
struct Frame {
    claim: usize,
    request: usize,
    option: usize,
    /// The how-manieth of its request.
    device: usize,
    /// The candidate to try next.
    cursor: usize,
    holds: bool,
}

/// The claims' requests, each with the ways to fulfil it.
pub(super) type Asked<'a> = Vec<Vec<Vec<Ask<'a>>>>;

pub(super) struct Search<'a> {
    question: Question<'a>,
    node: &'a NodeFacts,
    pools: Vec<Pool<'a>>,
    candidates: Vec<Candidate<'a>>,
    left: HashMap<usize, Counters<'a>>,
    taken: Vec<Taken>,
    /// Where in `taken` each candidate is.
    holders: HashMap<usize, Vec<usize>>,
    steps: u64,
}

/// The devices each claim gets on a node, in the order of the claims; `None` if there are not enough.
pub(crate) fn allocate(
    question: Question<'_>,
    node: &NodeFacts,
) -> Result<Option<Vec<AllocationResult>>, Trouble> {
    let pools = question.offers.pools(node, question.shares);
    let candidates = pools.iter().enumerate().flat_map(|(at, pool)| pool.candidates(at)).collect();
    let mut search = Search {
        question,
        node,
        pools,
        candidates,
        left: HashMap::new(),
        taken: Vec::new(),
        holders: HashMap::new(),
        steps: 0,
    };
    let mut asked: Asked<'_> = Vec::new();
    for claim in question.claims {
        check_constraints(claim)?;
        let requests = claim.wanted.requests.iter().flatten();
        let read =
            requests.map(|request| asks(claim, request, question.cluster, |ask| search.every(claim, ask)));
        let requests: Vec<Vec<Ask<'_>>> = read.collect::<Result<_, _>>()?;
        let shared = requests.iter().flatten().find(|ask| !question.shares && ask.capacity.is_some());
        if let Some(ask) = shared {
            return Err(Trouble::Broken(format!(
                "claim {}, request {}: has capacity requests, but the DRAConsumableCapacity feature is disabled",
                claim.key, ask.name
            )));
        }
        let least = |options: &Vec<Ask<'_>>| options.iter().map(Ask::count).min().unwrap_or(0);
        let devices = requests.iter().map(least).fold(0_usize, usize::saturating_add);
        if devices > MOST_DEVICES {
            return Err(Trouble::Broken(format!(
                "claim {}: number of requested devices {devices} exceeds the claim limit of {MOST_DEVICES}",
                claim.key
            )));
        }
        asked.push(requests);
    }
    if !search.run(&asked)? {
        let broken = search.pools.iter().any(|pool| pool.state == State::Invalid);
        return if broken { Err(Trouble::Here("invalid resource pools were encountered")) } else { Ok(None) };
    }
    let results = question.claims.iter().enumerate().zip(&asked).map(|((at, claim), asked)| {
        let taken = search.taken.iter().filter(|taken| taken.claim == at);
        result(claim, asked, taken, &search.candidates, node)
    });
    Ok(Some(results.collect()))
}

fn check_constraints(claim: &DeviceClaimView) -> Result<(), String> {
    let mut constraints = claim.wanted.constraints.iter().flatten();
    let empty = |one: &DeviceConstraint| one.match_attribute.is_none() && one.distinct_attribute.is_none();
    match constraints.position(empty) {
        None => Ok(()),
        Some(at) => Err(format!(
            "claim {}, constraint #{at}: empty constraint (unsupported constraint type?)",
            claim.key
        )),
    }
}

impl<'a> Search<'a> {
    /// The devices that a request for all of them means.
    fn every(&self, claim: &DeviceClaimView, ask: &Ask<'_>) -> Result<Vec<usize>, String> {
        for pool in &self.pools {
            let why = match pool.state {
                State::Usable => continue,
                State::Incomplete => "currently being updated",
                State::Invalid => "currently invalid",
            };
            return Err(format!(
                "claim {}, request {}: asks for all devices, but resource pool {} is {why}",
                claim.key, ask.name, pool.name
            ));
        }
        let mut all = Vec::new();
        for (at, candidate) in self.candidates.iter().enumerate() {
            if self.is_meant(claim, ask, candidate)? && self.has_capacity(ask, at, candidate) {
                all.push(at);
            }
        }
        Ok(all)
    }

    fn run(&mut self, asked: &Asked<'_>) -> Result<bool, Trouble> {
        let Some(first) = next_request(asked, 0, 0) else { return Ok(true) };
        let mut stack = vec![first];
        while let Some(frame) = stack.last_mut() {
            if std::mem::take(&mut frame.holds) {
                self.give_back();
            }
            let Some(options) = asked.get(frame.claim).and_then(|requests| requests.get(frame.request))
            else {
                return Ok(false);
            };
            let Some(ask) = options.get(frame.option) else { return Ok(false) };
            let claim = self.question.claims[frame.claim];
            match self.take_next(claim, ask, frame)? {
                Some(candidate) => {
                    frame.holds = true;
                    let more = frame.device + 1 < ask.count();
                    let next = match more {
                        true => Some(Frame {
                            device: frame.device + 1,
                            // Devices of one request are looked for in their order, so each set of them once.
                            cursor: if matches!(ask.amount, Amount::All(_)) { 0 } else { candidate + 1 },
                            holds: false,
                            ..*frame
                        }),
                        false => next_request(asked, frame.claim, frame.request + 1),
                    };
                    match next {
                        Some(next) => stack.push(next),
                        None => return Ok(true),
                    }
                }
                None if frame.device == 0 && frame.option + 1 < options.len() => {
                    (frame.option, frame.cursor) = (frame.option + 1, 0);
                }
                None => drop(stack.pop()),
            }
        }
        Ok(false)
    }

    /// Takes the next device that will do for a frame, if there is one.
    fn take_next(
        &mut self,
        claim: &DeviceClaimView,
        ask: &Ask<'_>,
        frame: &mut Frame,
    ) -> Result<Option<usize>, Trouble> {
        let had = self.of_claim(frame.claim).count();
        if had + ask.count() - frame.device > MOST_DEVICES {
            return Ok(None);
        }
        if let Amount::All(all) = &ask.amount {
            let Some(candidate) = all.get(frame.device).copied().filter(|_| frame.cursor == 0) else {
                return Ok(None);
            };
            frame.cursor = 1;
            self.step()?;
            return Ok(self.take(claim, ask, frame, candidate, true)?.then_some(candidate));
        }
        while frame.cursor < self.candidates.len() {
            let candidate = frame.cursor;
            frame.cursor += 1;
            self.step()?;
            let Some(one) = self.candidates.get(candidate) else { break };
            if self.is_taken(ask, frame.claim, candidate, one)
                || !self.is_meant(claim, ask, one)?
                || !self.has_capacity(ask, candidate, one)
            {
                continue;
            }
            if self.take(claim, ask, frame, candidate, false)? {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<(), Trouble> {
        self.steps += 1;
        if self.steps > self.question.steps { Err(Trouble::Timeout) } else { Ok(()) }
    }

    /// What was taken for a claim, the last first.
    fn of_claim(&self, claim: usize) -> impl Iterator<Item = &Taken> {
        self.taken.iter().rev().take_while(move |taken| taken.claim == claim)
    }

    /// What was taken of a device.
    fn of_device(&self, at: usize) -> impl Iterator<Item = &Taken> {
        self.holders.get(&at).into_iter().flatten().filter_map(|holder| self.taken.get(*holder))
    }

    fn keep(&mut self, taken: Taken) {
        self.holders.entry(taken.candidate).or_default().push(self.taken.len());
        self.taken.push(taken);
    }

    fn give_back(&mut self) {
        if let Some(taken) = self.taken.pop() {
            self.holders.get_mut(&taken.candidate).map(Vec::pop);
        }
    }

    /// Whether somebody has the device for himself, so that this request cannot have it.
    fn is_taken(&self, ask: &Ask<'_>, claim: usize, at: usize, candidate: &Candidate<'_>) -> bool {
        let mut here = self.of_device(at).filter(|taken| taken.share.is_none());
        match ask.admin {
            true => here.any(|taken| taken.claim == claim),
            false => self.question.in_use.has(&candidate.id) || here.next().is_some(),
        }
    }

    /// Whether class and request mean the device, and the node can use it.
    fn is_meant(
        &self,
        claim: &DeviceClaimView,
        ask: &Ask<'_>,
        candidate: &Candidate<'_>,
    ) -> Result<bool, String> {
        if !self.question.shares && candidate.device.device.binding_conditions.is_some() {
            return Ok(false);
        }
        let of_class = ask.class.spec.selectors.iter().flatten().map(|selector| (true, selector));
        let own = ask.selectors.iter().map(|selector| (false, selector));
        for (at, (is_class, selector)) in of_class.enumerate().chain(own.enumerate()) {
            let whose = || match is_class {
                true => format!("class {}", ask.class.name),
                false => format!("claim {}", claim.key),
            };
            let Some(cel) = &selector.cel else {
                return Err(format!("{}: selector #{at}: CEL expression empty", whose()));
            };
            let said =
                self.question.selectors.select(&cel.expression, &candidate.slice.driver, candidate.device);
            match said {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    return Err(format!("{}: selector #{at} on device {}: {error}", whose(), candidate.id));
                }
            }
        }
        Ok(candidate.device.reach.as_ref().is_some_and(|reach| reach.covers(self.node)))
    }

    fn has_capacity(&self, ask: &Ask<'_>, at: usize, candidate: &Candidate<'_>) -> bool {
        let (driver, device) = (&*candidate.slice.driver, &candidate.device.device);
        let Some(more) = consumption(ask.capacity, driver, device) else { return false };
        let used: Vec<&Consumed> = self
            .question
            .in_use
            .shared(&candidate.id)
            .into_iter()
            .chain(self.of_device(at).filter_map(|taken| taken.share.as_ref()))
            .collect();
        fits(device, driver, &more, used.iter().copied())
    }

    /// Takes a device that class and request mean, if nothing else stands against it. `must`: there is no other to try.
    fn take(
        &mut self,
        claim: &DeviceClaimView,
        ask: &Ask<'_>,
        frame: &Frame,
        at: usize,
        must: bool,
    ) -> Result<bool, Trouble> {
        let Some(candidate) = self.candidates.get(at) else { return Ok(false) };
        let device = &candidate.device.device;
        let shares = self.question.shares && device.allow_multiple_allocations == Some(true);
        if !(shares && ask.admin) && self.is_taken(ask, frame.claim, at, candidate) {
            return Ok(false);
        }
        let begun = shares
            && (self.question.in_use.shared(&candidate.id).is_some()
                || self.of_device(at).any(|taken| taken.share.is_some()));
        let counted = device.consumes_counters.is_some() && !begun;
        if counted && !self.question.shares {
            return Ok(false);
        }
        if counted && !self.is_covered(candidate.pool, at) {
            return Ok(false);
        }
        let Some(candidate) = self.candidates.get(at) else { return Ok(false) };
        if self.question.shares && device_taints(candidate).any(|taint| !ask.bears(taint)) {
            return Ok(false);
        }
        let driver = &*candidate.slice.driver;
        let constraints = claim.wanted.constraints.iter().flatten();
        for constraint in constraints.filter(|one| applies(one, ask)) {
            if !self.holds(claim, constraint, frame.claim, candidate) {
                return match must {
                    true => Err(Trouble::Broken(format!(
                        "claim {}, request {}: cannot add device {} because a claim constraint would not be satisfied",
                        claim.key, ask.name, candidate.id
                    ))),
                    false => Ok(false),
                };
            }
        }
        if must && !self.has_capacity(ask, at, candidate) {
            return Ok(false);
        }
        let share = match shares {
            true => consumption(ask.capacity, driver, &candidate.device.device),
            false => None,
        };
        let (claim, request, option) = (frame.claim, frame.request, frame.option);
        self.keep(Taken { claim, request, option, candidate: at, share, counted });
        Ok(true)
    }

    /// Whether what is left of its pool's counters is enough for a device beside those taken so far.
    fn is_covered(&mut self, pool: usize, at: usize) -> bool {
        let Some(of) = self.pools.get(pool) else { return false };
        let left = self.left.entry(pool).or_insert_with(|| counter::left(of, self.question.in_use));
        let mut left = left.clone();
        let taken = self.taken.iter().filter(|taken| taken.counted).map(|taken| taken.candidate);
        for candidate in taken.chain([at]).filter_map(|at| self.candidates.get(at)) {
            if candidate.pool == pool {
                counter::take(&mut left, &candidate.device.device);
            }
        }
        counter::are_covered(&left)
    }

    /// Whether a constraint still holds with a device more. It is enough to compare with what is there, one by one.
    fn holds(
        &self,
        claim: &DeviceClaimView,
        constraint: &DeviceConstraint,
        index: usize,
        candidate: &Candidate<'_>,
    ) -> bool {
        let (name, distinct) = match (&constraint.match_attribute, &constraint.distinct_attribute) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => return false,
        };
        let Some(value) = attribute(candidate, name) else { return false };
        let requests = constraint.requests.as_deref().unwrap_or_default();
        let concerns =
            |taken: &&Taken| taken.claim == index && (requests.is_empty() || names(claim, taken, requests));
        let others =
            self.of_claim(index).filter(concerns).filter_map(|taken| self.candidates.get(taken.candidate));
        let mut others = others.filter_map(|other| attribute(other, name));
        match distinct {
            true => others.all(|other| other != value),
            false => others.all(|other| other == value && is_single(value)),
        }
    }
}

fn applies(constraint: &DeviceConstraint, ask: &Ask<'_>) -> bool {
    let requests = constraint.requests.as_deref().unwrap_or_default();
    requests.is_empty() || ask.is_among(requests)
}

/// Whether a list of requests names the one a device was taken for.
fn names(claim: &DeviceClaimView, taken: &Taken, requests: &[String]) -> bool {
    let Some(request) = claim.wanted.requests.iter().flatten().nth(taken.request) else { return false };
    let option = request.first_available.as_ref().and_then(|options| options.get(taken.option));
    let full = option.map(|option| format!("{}/{}", request.name, option.name));
    requests.iter().any(|name| *name == request.name || Some(name) == full.as_ref())
}

fn device_taints<'a>(
    candidate: &Candidate<'a>,
) -> impl Iterator<Item = &'a k8s_openapi::api::resource::v1::DeviceTaint> {
    candidate.device.device.taints.iter().flatten()
}

/// An attribute by its full name; of the driver's own the device may leave the domain out.
fn attribute<'a>(candidate: &Candidate<'a>, name: &str) -> Option<&'a DeviceAttribute> {
    let attributes = candidate.device.device.attributes.as_ref()?;
    attributes.get(name).or_else(|| {
        let (domain, short) = name.split_once('/')?;
        (domain == &*candidate.slice.driver).then(|| attributes.get(short)).flatten()
    })
}

/// Whether an attribute has one value, which is what can be compared.
fn is_single(attribute: &DeviceAttribute) -> bool {
    attribute.string.is_some()
        || attribute.int.is_some()
        || attribute.bool.is_some()
        || attribute.version.is_some()
}

/// The first device to look for from a request on; claims may have none.
fn next_request(asked: &Asked<'_>, mut claim: usize, mut request: usize) -> Option<Frame> {
    while let Some(requests) = asked.get(claim) {
        if request < requests.len() {
            return Some(Frame { claim, request, option: 0, device: 0, cursor: 0, holds: false });
        }
        (claim, request) = (claim + 1, 0);
    }
    None
}
