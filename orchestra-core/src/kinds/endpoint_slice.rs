//! `EndpointSlice`.

use serde_json::Value;

use super::frame::cells::{self, column, list, text};
use super::frame::check::{optional_name, refuse, refuse_all, required_because, required_one_of, unchanged};
use super::frame::{Builtin, Fill, Generation, View};
use super::ip;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// How much a slice can hold.
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20000;
/// How many of each a row shows.
const SHOWN: usize = 3;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("discovery.k8s.io", "v1"),
        "EndpointSlice",
        "endpointslices",
        Scope::Namespaced,
    )
    .generation(Generation::Content)
    .default(|slice| {
        slice.fill("endpoints", Value::Null);
        slice.fill("ports", Value::Null);
        for endpoint in slice.objects("endpoints") {
            endpoint.object("conditions");
        }
        for port in slice.objects("ports") {
            port.fill("name", "");
            port.fill_text("protocol", "TCP");
        }
    })
    .validate(validate)
    .validate_change(|new, old, out| {
        unchanged(out, &new.get("addressType"), &old.get("addressType"));
    })
    .columns(vec![
        cells::name(),
        column("AddressType", "string", "The family of the addresses.", |slice, _| {
            text(slice, "/addressType").into()
        }),
        column("Ports", "string", "The ports of the endpoints.", |slice, _| ports(slice).into()),
        column("Endpoints", "string", "The addresses of the endpoints.", |slice, _| endpoints(slice).into()),
        cells::age(),
    ])
}

fn ports(slice: &Value) -> String {
    let ports = list(slice, "/ports");
    let shown = ports.iter().take(SHOWN).map(|port| match port.get("port").and_then(Value::as_i64) {
        Some(number) => number.to_string(),
        None => "*".to_owned(),
    });
    shorten(shown.collect(), ports.len())
}

fn endpoints(slice: &Value) -> String {
    let all: Vec<&str> = list(slice, "/endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "/addresses"))
        .filter_map(Value::as_str)
        .collect();
    shorten(all.iter().take(SHOWN).map(|&address| address.to_owned()).collect(), all.len())
}

fn shorten(shown: Vec<String>, total: usize) -> String {
    match total {
        0 => "<unset>".to_owned(),
        total if total > SHOWN => format!("{} + {} more...", shown.join(","), total - SHOWN),
        _ => shown.join(","),
    }
}

/// After `ValidateEndpointSlice`.
fn validate(slice: &View, out: &mut Violations) {
    let family = slice.get("addressType");
    if required_because(out, &family, "") {
        required_one_of(out, &family, &["FQDN", "IPv4", "IPv6"]);
    }
    let endpoints = slice.get("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        out.push(Violation::too_many(endpoints.path(), endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    for endpoint in endpoints.items() {
        one(out, &endpoint, family.text());
    }
    let ports = slice.get("ports");
    if ports.len() > MAX_PORTS {
        out.push(Violation::too_many(ports.path(), ports.len(), MAX_PORTS));
        return;
    }
    let mut names = std::collections::HashSet::new();
    for port in ports.items() {
        let own = port.get("name");
        if !names.insert(own.text()) {
            out.push(Violation::duplicate(own.path(), own.text()));
        }
        optional_name(out, &own, name::is_dns1123_label);
        required_one_of(out, &port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        if let Some(number) = port.get("port").int() {
            refuse_all(out, &port.get("port"), name::is_port_number(number));
        }
        optional_name(out, &port.get("appProtocol"), name::is_qualified_name);
    }
}

fn one(out: &mut Violations, endpoint: &View, family: &str) {
    let addresses = endpoint.get("addresses");
    if required_because(out, &addresses, "must contain at least 1 address") && addresses.len() > MAX_ADDRESSES
    {
        out.push(Violation::too_many(addresses.path(), addresses.len(), MAX_ADDRESSES));
        return;
    }
    for address in addresses.items() {
        match family {
            "IPv4" | "IPv6" => {
                let parsed = address.text().parse::<std::net::IpAddr>();
                let of_family = parsed.is_ok_and(|address| address.is_ipv4() == (family == "IPv4"));
                let messages = name::is_ip(address.text());
                if messages.is_empty() && !of_family {
                    refuse(out, &address, format!("must be an {family} address"));
                } else if messages.is_empty() {
                    ip::not_special(out, &address);
                }
                refuse_all(out, &address, messages);
            }
            "FQDN" => refuse_all(out, &address, name::is_dns1123_subdomain(address.text())),
            _ => (),
        }
    }
    optional_name(out, &endpoint.get("nodeName"), name::is_dns1123_subdomain);
    optional_name(out, &endpoint.get("hostname"), name::is_dns1123_label);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn slice(addresses: Value) -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n"}, "addressType": "IPv4",
            "endpoints": [{"addresses": addresses}], "ports": [{"port": 80}],
        })
    }

    #[test]
    fn ports_get_a_name_and_a_protocol() {
        let slice = defaulted(kind(), slice(json!(["10.0.0.1"])));
        assert_eq!(slice["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
        assert_eq!(said(kind(), slice), [""; 0]);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused() {
        let at = "endpoints[0].addresses";
        assert_eq!(
            said(kind(), slice(json!(["127.0.0.1"]))),
            [format!(
                r#"{at}[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#
            )]
        );
        assert_eq!(
            said(kind(), slice(json!([]))),
            [format!("{at}: Required value: must contain at least 1 address")]
        );
        assert_eq!(
            said(kind(), slice(json!(["fd00::1"]))),
            [format!(r#"{at}[0]: Invalid value: "fd00::1": must be an IPv4 address"#)]
        );
    }

    #[test]
    fn a_row_shows_the_first_three() {
        let object = slice(json!(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]));
        let row = served(kind()).row(&object, 0);
        assert_eq!(row[1..4], ["IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."].map(Value::from));
        let empty = served(kind()).row(&json!({}), 0);
        assert_eq!(empty[2..4], ["<unset>", "<unset>"].map(Value::from));
    }
}
