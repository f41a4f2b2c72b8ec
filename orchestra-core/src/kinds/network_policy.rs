//! `NetworkPolicy`.

use serde_json::{Value, json};

use super::frame::cells::{self, column};
use super::frame::check::{one_of, port_number_or_name, refuse};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::labels;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("networking.k8s.io", "v1"),
        "NetworkPolicy",
        "networkpolicies",
        Scope::Namespaced,
    )
    .short_names(&["netpol"])
    .generation(Generation::Spec)
    .default(default)
    .validate(|policy, out| validate(out, &policy.get("spec")))
    .columns(vec![
        cells::name(),
        column("Pod-Selector", "string", "Which pods it is about.", |policy, _| {
            labels::show_selector(policy.pointer("/spec/podSelector")).into()
        }),
        cells::age(),
    ])
}

fn default(policy: &mut Object) {
    let spec = policy.object("spec");
    spec.object("podSelector");
    for direction in ["ingress", "egress"] {
        for rule in spec.objects(direction) {
            for port in rule.objects("ports") {
                port.fill("protocol", "TCP");
            }
        }
    }
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
}

fn validate(out: &mut Violations, spec: &View) {
    labels::selector(out, &spec.get("podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            for port in rule.get("ports").items() {
                one_of(out, &port.get("protocol"), &["SCTP", "TCP", "UDP"]);
                if port.get("port").is_set() {
                    port_number_or_name(out, &port.get("port"));
                }
                let (first, last) = (port.get("port"), port.get("endPort"));
                if let Some(end) = last.int() {
                    match first.int() {
                        None => refuse(out, &last, "may not be specified when `port` is not specified"),
                        Some(start) if end < start => {
                            refuse(out, &last, "must be greater than or equal to `port`");
                        }
                        Some(_) => (),
                    }
                }
            }
            for peer in rule.get(peers).items() {
                one_peer(out, &peer);
            }
        }
    }
    for kind in spec.get("policyTypes").items() {
        one_of(out, &kind, &["Egress", "Ingress"]);
    }
}

fn one_peer(out: &mut Violations, peer: &View) {
    let (pods, namespaces, block) =
        (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    labels::selector(out, &pods);
    labels::selector(out, &namespaces);
    match (pods.is_set() || namespaces.is_set(), block.is_set()) {
        (false, false) => out.push(Violation::required(peer.path(), "must specify a peer")),
        (true, true) => {
            out.push(Violation::forbidden(peer.path(), "may not specify both ipBlock and another peer"))
        }
        (false, true) => {
            let cidr = block.get("cidr");
            if cidr.text().parse::<ipnet::IpNet>().is_err() {
                refuse(out, &cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            }
        }
        (true, false) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn policy(spec: Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})
    }

    #[test]
    fn directions_follow_from_the_rules() {
        let types = |spec: Value| defaulted(kind(), policy(spec))["spec"]["policyTypes"].clone();
        assert_eq!(types(json!({})), json!(["Ingress"]));
        assert_eq!(types(json!({"egress": [{"ports": [{"port": 53}]}]})), json!(["Ingress", "Egress"]));
        assert_eq!(types(json!({"policyTypes": ["Egress"]})), json!(["Egress"]));
        let open = policy(json!({"podSelector": {}}));
        assert_eq!(served(kind()).row(&open, 0)[1], "<none>");
    }

    #[test]
    fn peers_and_ranges_are_checked() {
        let rule =
            json!({"from": [{}, {"ipBlock": {"cidr": "ten"}}], "ports": [{"port": 80, "endPort": 70}]});
        assert_eq!(
            said(kind(), policy(json!({"ingress": [rule]}))),
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                r#"spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "ten": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#,
            ]
        );
    }
}
