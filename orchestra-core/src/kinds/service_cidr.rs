//! `ServiceCIDR`: a range that Services get their addresses from.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::frame::cells::{self, column, list};
use super::frame::check::{refuse, unchanged};
use super::frame::{Builtin, Generation, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("networking.k8s.io", "v1"), "ServiceCIDR", "servicecidrs", Scope::Cluster)
        .generation(Generation::None)
        .status(|| json!({}))
        .validate(validate)
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec").get("cidrs"), &old.get("spec").get("cidrs"));
        })
        .columns(vec![
            cells::name(),
            column("CIDRs", "string", "The ranges, at most one of each family.", |range, _| {
                let ranges: Vec<&str> = list(range, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
                ranges.join(",").into()
            }),
            cells::age(),
        ])
}

fn validate(range: &View, out: &mut Violations) {
    let spec = range.get("spec");
    let ranges = spec.get("cidrs");
    let families: Vec<bool> = ranges
        .items()
        .filter_map(|one| one.text().parse::<IpNet>().ok())
        .map(|net| net.addr().is_ipv4())
        .collect();
    // Of the whole list upstream shows the whole spec.
    let whole = |detail: &str| Violation::invalid(ranges.path(), spec.json(), detail);
    match ranges.len() {
        0 => return out.push(Violation::required(ranges.path(), "at least one CIDR required")),
        1 => (),
        2 if matches!(families.as_slice(), [a, b] if a != b) => (),
        2 => {
            let detail =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            return out.push(whole(detail));
        }
        _ => return out.push(whole("may only hold up to 2 values")),
    }
    for one in ranges.items() {
        match one.text().parse::<IpNet>() {
            Err(_) => {
                refuse(out, &one, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            }
            Ok(net) if net.trunc() != net => {
                refuse(out, &one, "must not have bits set beyond the prefix length");
            }
            Ok(net) if net.to_string() != one.text() => {
                refuse(out, &one, format!("must be in canonical form ({:?})", net.to_string()));
            }
            Ok(_) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    fn range(cidrs: Value) -> Value {
        json!({"metadata": {"name": "r", "resourceVersion": "1"}, "spec": {"cidrs": cidrs}})
    }

    #[test]
    fn a_range_has_one_part_for_each_family() {
        let both = range(json!(["10.96.0.0/16", "2001:db8::/64"]));
        assert_eq!(said(kind(), both.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&both, 0)[1], "10.96.0.0/16,2001:db8::/64");
        assert_eq!(
            said(kind(), range(json!([]))),
            ["spec.cidrs: Required value: at least one CIDR required"]
        );
        assert_eq!(
            said(kind(), range(json!(["10.96.0.1/16"]))),
            [
                r#"spec.cidrs[0]: Invalid value: "10.96.0.1/16": must not have bits set beyond the prefix length"#
            ]
        );
        let twice = said(kind(), range(json!(["10.96.0.0/16", "10.97.0.0/16"])));
        assert!(twice[0].contains("may specify no more than one IP for each IP family"), "{twice:?}");
        let other = range(json!(["10.97.0.0/16"]));
        assert!(said_of_change(kind(), &other, &both)[0].ends_with("field is immutable"));
    }
}
