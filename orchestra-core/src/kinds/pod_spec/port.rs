//! Ports that containers declare.

use std::collections::HashSet;

use crate::kinds::frame::View;
use crate::kinds::frame::check::{port_number, refuse, refuse_all, required, required_one_of};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The ports of one container.
pub(super) fn validate_all(out: &mut Violations, ports: &View) {
    let mut names = HashSet::new();
    for port in ports.items() {
        let own = port.get("name");
        if !own.is_empty() {
            let messages = name::is_port_name(own.text());
            if messages.is_empty() && !names.insert(own.text()) {
                out.push(Violation::duplicate(own.path(), own.text()));
            }
            refuse_all(out, &own, messages);
        }
        let number = port.get("containerPort");
        match number.int() {
            None | Some(0) => {
                out.push(Violation::required(number.path(), ""));
            }
            Some(_) => port_number(out, &number),
        }
        let host = port.get("hostPort");
        if host.int().unwrap_or_default() != 0 {
            port_number(out, &host);
        }
        if required(out, &port.get("protocol")) {
            required_one_of(out, &port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        }
    }
}

/// Two containers of a pod cannot take the same port of the host.
pub(super) fn host_conflicts(out: &mut Violations, containers: &View) {
    let mut taken = HashSet::new();
    for container in containers.items() {
        for port in container.get("ports").items() {
            let host = port.get("hostPort");
            let Some(number) = host.int().filter(|&number| number != 0) else { continue };
            let key = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
            if !taken.insert(key.clone()) {
                out.push(Violation::duplicate(host.path(), key));
            }
        }
    }
}

/// On the host's network the two numbers of a port are one.
pub(super) fn host_network(out: &mut Violations, containers: &View) {
    for container in containers.items() {
        for port in container.get("ports").items() {
            let number = port.get("containerPort");
            let host = port.get("hostPort").int().unwrap_or_default();
            // Templates leave the host's port unset; their pods get it by default.
            if host != 0 && number.int() != Some(host) {
                refuse(out, &number, "must match `hostPort` when `hostNetwork` is true");
            }
        }
    }
}
