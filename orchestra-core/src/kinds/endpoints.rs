//! `Endpoints`, the older form of [`super::endpoint_slice`].

use serde_json::Value;

use super::frame::cells::{self, column, list, number, text};
use super::frame::check::{
    optional_name, port_number, refuse_all, required_because, required_name, required_one_of,
};
use super::frame::{Builtin, Fill, View};
use super::ip;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// How many endpoints a row shows.
const SHOWN: usize = 3;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Endpoints", "endpoints", Scope::Namespaced)
        .short_names(&["ep"])
        .create_on_update()
        .default(|endpoints| {
            for subset in endpoints.objects("subsets") {
                for port in subset.objects("ports") {
                    port.fill_text("protocol", "TCP");
                }
            }
        })
        .validate(|endpoints, out| {
            for set in endpoints.get("subsets").items() {
                subset(out, &set);
            }
        })
        .columns(vec![
            cells::name(),
            column("Endpoints", "string", "Addresses and ports.", |endpoints, _| show(endpoints).into()),
            cells::age(),
        ])
}

fn show(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(endpoints, "/subsets") {
        let addresses = list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for address in addresses {
            let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            all.extend(ports.iter().map(|port| format!("{bracketed}:{}", number(port, "/port"))));
        }
    }
    let total = all.len();
    all.truncate(SHOWN);
    match total {
        0 => "<none>".to_owned(),
        total if total > SHOWN => format!("{} + {} more...", all.join(","), total - SHOWN),
        _ => all.join(","),
    }
}

fn subset(out: &mut Violations, subset: &View) {
    let (ready, not_ready) = (subset.get("addresses"), subset.get("notReadyAddresses"));
    if ready.is_empty() && not_ready.is_empty() {
        out.push(Violation::required(subset.path(), "must specify `addresses` or `notReadyAddresses`"));
    }
    for address in ready.items().chain(not_ready.items()) {
        let ip = address.get("ip");
        let messages = name::is_ip(ip.text());
        if messages.is_empty() {
            ip::not_special(out, &ip);
        }
        refuse_all(out, &ip, messages);
        optional_name(out, &address.get("hostname"), name::is_dns1123_label);
        optional_name(out, &address.get("nodeName"), name::is_dns1123_subdomain);
    }
    let ports = subset.get("ports");
    for port in ports.items() {
        let own = port.get("name");
        if ports.len() > 1 {
            required_name(out, &own, name::is_dns1123_label);
        } else {
            optional_name(out, &own, name::is_dns1123_label);
        }
        port_number(out, &port.get("port"));
        if required_because(out, &port.get("protocol"), "") {
            required_one_of(out, &port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, served};

    #[test]
    fn loopback_is_refused_and_recognised() {
        let object = json!({
            "metadata": {"name": "e", "namespace": "n"},
            "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}],
        });
        assert_eq!(
            said(kind(), object),
            [
                r#"subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#
            ]
        );
    }

    #[test]
    fn a_row_joins_addresses_and_ports() {
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 81}]});
        let row = served(kind()).row(&json!({"subsets": [subset]}), 0);
        assert_eq!(row[1], "10.0.0.1:80,10.0.0.1:81,10.0.0.2:80 + 1 more...");
        assert_eq!(served(kind()).row(&json!({}), 0)[1], "<none>");
    }
}
