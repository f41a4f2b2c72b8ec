//! Addresses that no service or endpoint may have.

use std::net::IpAddr;

use super::frame::View;
use super::frame::check::refuse;
use crate::violation::{Violation, Violations};

/// What upstream says of a loopback address in endpoints.
const LOOPBACK: &str = "may not be in the loopback range (127.0.0.0/8, ::1/128)";

/// Whether a violation is only that an address lies in the loopback range. A server whose pods live on loopback
/// addresses, by choice of its network, drops these; upstream never does.
pub fn is_loopback_violation(violation: &Violation) -> bool {
    violation.detail == LOOPBACK
}

/// An address that other machines could be reached at, after `ValidateNonSpecialIP`.
pub(crate) fn not_special(out: &mut Violations, view: &View) {
    let Ok(address) = view.text().parse::<IpAddr>() else { return };
    if address.is_unspecified() {
        refuse(out, view, format!("may not be unspecified ({})", view.text()));
    }
    if address.is_loopback() {
        refuse(out, view, LOOPBACK);
    }
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if link_local {
        refuse(out, view, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    let link_local_multicast = match address {
        IpAddr::V4(ip) => ip.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(ip) => ip.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
    };
    if link_local_multicast {
        refuse(out, view, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_loopback_is_recognised_as_such() {
        let said = |text: &str| {
            let mut out = Violations::new();
            not_special(&mut out, &View::root(&json!(text)));
            out
        };
        for text in ["127.0.0.1", "127.64.0.9", "::1"] {
            assert!(said(text).iter().all(is_loopback_violation) && said(text).len() == 1, "{text}");
        }
        for text in ["0.0.0.0", "169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1"] {
            assert!(!said(text).iter().any(is_loopback_violation) && said(text).len() == 1, "{text}");
        }
        assert_eq!(said("10.0.0.1"), []);
    }
}
