//! What is written into a claim's status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceRequestAllocationResult,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sha2::{Digest, Sha256};

use super::pool::Candidate;
use super::request::Ask;
use super::search::Taken;
use crate::view::{DeviceClaimView, NodeFacts, Reach};

/// The allocation of one claim.
pub(super) fn result<'a>(
    claim: &DeviceClaimView,
    asked: &[Vec<Ask<'_>>],
    taken: impl Iterator<Item = &'a Taken> + Clone,
    candidates: &[Candidate<'_>],
    node: &NodeFacts,
) -> AllocationResult {
    let with = |taken: &'a Taken| {
        let ask = asked.get(taken.request)?.get(taken.option)?;
        Some((taken, ask, candidates.get(taken.candidate)?))
    };
    let devices: Vec<_> = taken.clone().filter_map(with).collect();
    let results = devices.iter().enumerate().map(|(at, (taken, ask, candidate))| {
        let device = &candidate.device.device;
        DeviceRequestAllocationResult {
            request: ask.name.clone(),
            driver: candidate.slice.driver.to_string(),
            pool: candidate.slice.pool.to_string(),
            device: device.name.clone(),
            admin_access: ask.admin.then_some(true),
            tolerations: (!ask.tolerations.is_empty()).then(|| ask.tolerations.to_vec()),
            share_id: taken.share.as_ref().map(|_| share_id(claim, &candidate.id, at)),
            consumed_capacity: taken.share.as_ref().filter(|share| !share.is_empty()).map(|share| {
                // By the names the device itself uses.
                let named = device.capacity.iter().flatten().filter_map(|(name, _)| {
                    let (domain, short) = super::selector::qualified(name, &candidate.slice.driver);
                    let amount = share.get(&*format!("{domain}/{short}"))?;
                    Some((name.clone(), Quantity(amount.to_string())))
                });
                named.collect::<BTreeMap<_, _>>()
            }),
            binding_conditions: device.binding_conditions.clone(),
            binding_failure_conditions: device.binding_failure_conditions.clone(),
        }
    });
    let results: Vec<_> = results.collect();
    let chosen: Vec<&Ask<'_>> = (0..asked.len())
        .filter_map(|request| {
            let option = taken.clone().find(|taken| taken.request == request).map_or(0, |taken| taken.option);
            asked.get(request)?.get(option)
        })
        .collect();
    let config = configuration(claim, &chosen);
    AllocationResult {
        devices: Some(DeviceAllocationResult {
            config: (!config.is_empty()).then_some(config),
            results: Some(results),
        }),
        node_selector: node_selector(devices.iter().map(|(_, _, candidate)| *candidate), node),
        ..AllocationResult::default()
    }
}

/// Each class's configuration once, with the requests it is for, then the claim's own.
fn configuration(claim: &DeviceClaimView, chosen: &[&Ask<'_>]) -> Vec<DeviceAllocationConfiguration> {
    let mut config: Vec<DeviceAllocationConfiguration> = Vec::new();
    let mut classes: Vec<&str> = Vec::new();
    for ask in chosen {
        if classes.contains(&&*ask.class.name) {
            continue;
        }
        classes.push(&ask.class.name);
        let same = chosen.iter().filter(|other| other.class.name == ask.class.name);
        let requests: Vec<String> = same.map(|other| other.name.clone()).collect();
        config.extend(ask.class.spec.config.iter().flatten().map(|one| DeviceAllocationConfiguration {
            source: "FromClass".to_owned(),
            requests: Some(requests.clone()),
            opaque: one.opaque.clone(),
        }));
    }
    for one in claim.wanted.config.iter().flatten() {
        let requests = one.requests.as_deref().unwrap_or_default();
        let times = match requests.is_empty() {
            true => 1,
            false => chosen.iter().filter(|ask| ask.is_among(requests)).count(),
        };
        config.extend((0..times).map(|_| DeviceAllocationConfiguration {
            source: "FromClaim".to_owned(),
            requests: one.requests.clone(),
            opaque: one.opaque.clone(),
        }));
    }
    for one in &mut config {
        // None named means all.
        if one.requests.as_ref().is_some_and(|requests| requests.len() == chosen.len()) {
            one.requests = None;
        }
    }
    config
}

/// The nodes from which all of the devices can be used; `None` is every node.
fn node_selector<'a, 'b: 'a>(
    devices: impl Iterator<Item = &'a Candidate<'b>>,
    node: &NodeFacts,
) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for candidate in devices {
        let selector = match &candidate.device.reach {
            Some(Reach::Selected(_, selector)) if candidate.device.device.binds_to_node != Some(true) => {
                selector
            }
            Some(Reach::All) if candidate.device.device.binds_to_node != Some(true) => continue,
            _ => {
                let name = NodeSelectorRequirement {
                    key: "metadata.name".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![node.name.to_string()]),
                };
                let term = NodeSelectorTerm { match_fields: Some(vec![name]), ..NodeSelectorTerm::default() };
                return Some(NodeSelector { node_selector_terms: vec![term] });
            }
        };
        if let Some(more) = selector.node_selector_terms.first() {
            add(&mut term.match_fields, &more.match_fields);
            add(&mut term.match_expressions, &more.match_expressions);
        }
    }
    let says_something = term.match_fields.is_some() || term.match_expressions.is_some();
    says_something.then(|| NodeSelector { node_selector_terms: vec![term] })
}

fn add(all: &mut Option<Vec<NodeSelectorRequirement>>, more: &Option<Vec<NodeSelectorRequirement>>) {
    for one in more.iter().flatten() {
        let all = all.get_or_insert_default();
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

/// Tells shares of one device apart: made of what makes them different, so that a decision made again is the same, whatever
/// this was compiled with. In the form of a random UUID, as upstream's are.
fn share_id(claim: &DeviceClaimView, device: &str, at: usize) -> String {
    let mut digest = Sha256::new();
    let key = &claim.key;
    for part in [&*claim.uid, &*key.namespace, &*key.name, device, &at.to_string()] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let (left, right) =
        digest.finalize().iter().take(16).fold((0_u64, 0_u64), |(left, right), byte| {
            (left << 8 | right >> 56, right << 8 | u64::from(*byte))
        });
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        left >> 32,
        (left >> 16) & 0xffff,
        left & 0xfff,
        (right >> 48) & 0x3fff | 0x8000,
        right & 0xffff_ffff_ffff
    )
}
