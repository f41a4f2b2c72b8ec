//! Names: of pools, requests, attributes, shares.

use std::collections::{HashMap, HashSet};

use super::each_once;
use crate::kinds::csi_node::driver_name_of;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{refuse, refuse_all, required};
use crate::kinds::meta;
use crate::meta::name;
use crate::violation::{FieldPath, Violation, Violations};

/// The most requests of a claim, and the most that something else of it names.
pub(super) const MOST_REQUESTS: usize = 32;
/// The most bytes of the name of a pool.
const MOST_POOL: usize = 253;
/// The most bytes of the name of an attribute without its domain.
const MOST_IDENTIFIER: usize = 32;
/// The name of the share in `shareID`.
const NORMAL_FORM: &str = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with \
                           lowercase hexadecimal characters";

/// A name of labels that is not empty.
pub(super) fn label(out: &mut Violations, view: &View) {
    refuse_all(out, view, meta::label(view.text()));
}

/// A pool of devices: DNS names with slashes between them.
pub(super) fn pool(out: &mut Violations, view: &View) {
    if !required(out, view) {
        return;
    }
    if view.text().len() > MOST_POOL {
        out.push(Violation::too_long(view.path(), MOST_POOL));
    }
    for part in view.text().split('/') {
        for message in meta::subdomain(part) {
            out.push(Violation::invalid(view.path(), part, message));
        }
    }
}

/// Names of attributes and capacities: an identifier, with a domain before it if wanted.
pub(super) fn qualified(out: &mut Violations, path: &FieldPath, text: &str) {
    match text.split('/').collect::<Vec<_>>()[..] {
        [own] => identifier(out, path, own),
        [domain, own] => {
            if domain.is_empty() {
                out.push(Violation::invalid(path, "", "the domain must not be empty"));
            } else {
                driver_name_of(out, path, domain);
            }
            if own.is_empty() {
                out.push(Violation::invalid(path, "", "the name must not be empty"));
            } else {
                identifier(out, path, own);
            }
        }
        // Upstream lets names with more slashes through.
        _ => (),
    }
}

fn identifier(out: &mut Violations, path: &FieldPath, text: &str) {
    if text.len() > MOST_IDENTIFIER {
        out.push(Violation::too_long(path, MOST_IDENTIFIER));
    }
    for message in name::is_c_identifier(text) {
        out.push(Violation::invalid(path, text, message));
    }
}

/// The name of an attribute with its domain.
pub(super) fn fully_qualified(out: &mut Violations, view: &View) {
    qualified(out, view.path(), view.text());
    if !view.text().contains('/') {
        refuse(out, view, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

/// Which share of a device this is.
pub(super) fn share(out: &mut Violations, view: &View) {
    if !view.is_set() {
        return;
    }
    let text = view.text();
    if let Some(problem) = of_uuid(text) {
        refuse(out, view, format!("error validating uid: {problem}"));
    } else if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        refuse(out, view, NORMAL_FORM);
    }
}

/// What Go's library for them says of a text that is none of their forms.
fn of_uuid(text: &str) -> Option<String> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let inner = match text.len() {
        36 => text,
        32 => return (!digits(text)).then(|| "invalid UUID format".to_owned()),
        38 => match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(inner) => inner,
            None => return Some("invalid bracketed UUID format".to_owned()),
        },
        45 => match text.split_at_checked(9) {
            Some((urn, inner)) if urn.eq_ignore_ascii_case("urn:uuid:") => inner,
            Some((urn, _)) => return Some(format!("invalid urn prefix: {urn:?}")),
            None => return Some("invalid UUID format".to_owned()),
        },
        other => return Some(format!("invalid UUID length: {other}")),
    };
    let lengths = inner.split('-').map(str::len);
    let is_one = lengths.eq([8, 4, 4, 4, 12]) && inner.split('-').all(digits);
    (!is_one).then(|| "invalid UUID format".to_owned())
}

/// The requests of a claim by their names, each with those of its alternatives.
pub(super) struct Requests<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Requests<'a> {
    /// Those of `devices` of a claim's spec.
    pub(super) fn of(devices: &View<'a>) -> Self {
        let alternatives = |request: &View<'a>| {
            request.get("firstAvailable").items().map(|one| one.get("name").text()).collect()
        };
        let named = devices.get("requests").items();
        Self(named.map(|request| (request.get("name").text(), alternatives(&request))).collect())
    }

    fn has(&self, first: &str, second: Option<&str>) -> bool {
        self.0.get(first).is_some_and(|alternatives| second.is_none_or(|name| alternatives.contains(name)))
    }

    /// The name of a request, or of an alternative: `request/alternative`.
    pub(super) fn refer(&self, out: &mut Violations, reference: &View) {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                      separated by '/'";
        let parts: Vec<&str> = reference.text().split('/').collect();
        let (first, second) = match parts[..] {
            [first] => (first, None),
            [first, second] => (first, Some(second)),
            _ => return refuse(out, reference, detail),
        };
        for part in parts {
            for message in meta::label(part) {
                out.push(Violation::invalid(reference.path(), part, message));
            }
        }
        if !self.has(first, second) {
            refuse(out, reference, detail);
        }
    }

    /// A list of such names.
    pub(super) fn refer_all(&self, out: &mut Violations, references: &View) {
        each_once(out, references, MOST_REQUESTS, |one| one.text(), |out, one| self.refer(out, one));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(check: fn(&mut Violations, &View), text: &str) -> Vec<String> {
        let mut out = Violations::new();
        let value = json!(text);
        check(&mut out, &View::at(Some(&value), FieldPath::new("f")));
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn shares_are_named_as_uuids_in_their_normal_form() {
        let good = "0d9f1c3a-58a1-4c39-9d5e-9a1c0f9f6f11";
        assert_eq!(said(share, good), [""; 0]);
        for (text, why) in [
            ("x", "error validating uid: invalid UUID length: 1"),
            (&good.replace('-', "x"), "error validating uid: invalid UUID format"),
            (&good.replace("9d5e", "9dge"), "error validating uid: invalid UUID format"),
            (&format!("({good})"), "error validating uid: invalid bracketed UUID format"),
            (&format!("xxx:uuid:{good}"), "error validating uid: invalid urn prefix: \"xxx:uuid:\""),
            (&good.to_uppercase(), NORMAL_FORM),
            (&good.replace('-', ""), NORMAL_FORM),
            (&format!("urn:uuid:{good}"), NORMAL_FORM),
        ] {
            assert_eq!(said(share, text), [format!("f: Invalid value: {text:?}: {why}")], "{text}");
        }
    }

    #[test]
    fn a_pool_is_described_part_by_part() {
        assert_eq!(said(pool, "a.b/c"), [""; 0]);
        assert_eq!(said(pool, ""), ["f: Required value"]);
        let bad = said(pool, "a/B");
        assert!(bad[0].starts_with("f: Invalid value: \"B\": a lowercase RFC 1123 subdomain"), "{bad:?}");
        assert_eq!(
            said(pool, &format!("a/{}", "b".repeat(252))),
            ["f: Too long: may not be more than 253 bytes"]
        );
    }

    #[test]
    fn attributes_have_short_names_and_may_have_domains() {
        for good in ["model", "d.example.com/model", "a/b/c/d"] {
            let mut out = Violations::new();
            qualified(&mut out, &FieldPath::new("f"), good);
            assert_eq!(out, []);
        }
        assert_eq!(said(fully_qualified, "/x"), ["f: Invalid value: \"\": the domain must not be empty"]);
        assert_eq!(said(fully_qualified, "d.io/"), ["f: Invalid value: \"\": the name must not be empty"]);
        assert_eq!(
            said(fully_qualified, &"a".repeat(33)),
            [
                "f: Too long: may not be more than 32 bytes".to_owned(),
                format!(
                    "f: Invalid value: {:?}: a fully qualified name must be a domain and a name separated by a slash",
                    "a".repeat(33)
                )
            ]
        );
    }
}
