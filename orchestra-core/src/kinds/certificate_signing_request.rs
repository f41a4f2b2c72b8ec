//! `CertificateSigningRequest`: what is asked for never changes; approval, and the certificate, come through subresources.

use std::collections::HashSet;

use base64::Engine as _;
use serde_json::{Value, json};

use super::frame::cells::{self, column, human, list, number, or_none, text};
use super::frame::check::{refuse, required};
use super::frame::{Builtin, Object, View};
use super::meta;
use crate::gvk::GroupVersion;
use crate::kind::{ObjectPart, Scope};
use crate::schema::BASE64;
use crate::violation::{FieldPath, Violation, Violations};

/// What a key may be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// The signer of the first versions, which knew no names of signers.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// The shortest time a certificate may be asked for, in seconds.
const SHORTEST: i64 = 600;
/// The longest name of a signer: a domain, a namespace and a name.
const MAX_SIGNER: usize = 253 + 1 + 63 + 1 + 253;

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("certificates.k8s.io", "v1");
    Builtin::new(gv, "CertificateSigningRequest", "certificatesigningrequests", Scope::Cluster)
        .short_names(&["csr"])
        .name(|_| Vec::new())
        .status(|| json!({}))
        .part(ObjectPart::Approval, keep_all_but_conditions, |new, old, out| {
            validate_kept(new, old, Part::Approval, out);
        })
        .prepare_update(|new, old| {
            if let Some(spec) = old.get("spec") {
                new.insert("spec".to_owned(), spec.clone());
            }
        })
        .prepare_status(keep_decisions)
        .validate(validate)
        .validate_change(|new, old, out| change(new, old, Part::Main, out))
        .validate_status(|new, old, out| validate_kept(new, old, Part::Status, out))
        .fields(&["spec.signerName"])
        .columns(vec![
            cells::name(),
            cells::age(),
            column("SignerName", "string", "Who is to sign.", |request, _| {
                or_none(text(request, "/spec/signerName")).into()
            }),
            column("Requestor", "string", "Who asks.", |request, _| text(request, "/spec/username").into()),
            column(
                "RequestedDuration",
                "string",
                "For how long it is to be good.",
                |request, _| match number(request, "/spec/expirationSeconds") {
                    0 => "<none>".into(),
                    seconds => human(seconds).into(),
                },
            ),
            column("Condition", "string", "What became of it.", |request, _| condition(request).into()),
        ])
}

/// The way through which an object is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Main,
    Status,
    Approval,
}

fn condition(request: &Value) -> String {
    let has = |kind: &str| list(request, "/status/conditions").iter().any(|c| text(c, "/type") == kind);
    // A denial counts for more than an approval.
    let decided = ["Denied", "Approved"].into_iter().find(|kind| has(kind));
    let mut out = decided.unwrap_or("Pending").to_owned();
    if has("Failed") {
        out.push_str(",Failed");
    }
    if !text(request, "/status/certificate").is_empty() {
        out.push_str(",Issued");
    }
    out
}

/// A write of the status leaves approval and denial as they stand, wherever it puts them. One that adds or removes any is
/// left to the checks, which refuse it.
fn keep_decisions(new: &mut Object, old: &Value) {
    let is = |condition: &Value, kind: &str| text(condition, "/type") == kind;
    for kind in ["Approved", "Denied"] {
        let kept: Vec<Value> =
            list(old, "/status/conditions").iter().filter(|c| is(c, kind)).cloned().collect();
        let own = new.get_mut("status").and_then(|status| status.get_mut("conditions"));
        let own = own.and_then(Value::as_array_mut).into_iter().flatten();
        let own: Vec<&mut Value> = own.filter(|c| is(c, kind)).collect();
        if own.len() == kept.len() {
            own.into_iter().zip(kept).for_each(|(own, kept)| *own = kept);
        }
    }
}

/// An approval changes conditions alone, of any type.
fn keep_all_but_conditions(new: &mut Object, old: &Value) {
    let conditions = new.get("status").and_then(|status| status.get("conditions")).cloned();
    if let Some(spec) = old.get("spec") {
        new.insert("spec".to_owned(), spec.clone());
    }
    let mut status = old.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(status) = status.as_object_mut() {
        match conditions {
            Some(conditions) => status.insert("conditions".to_owned(), conditions),
            None => status.remove("conditions"),
        };
    }
    new.insert("status".to_owned(), status);
}

fn validate(request: &View, out: &mut Violations) {
    let spec = request.get("spec");
    let body = spec.get("request");
    if let Some(wrong) = not_a_request(body.text()) {
        refuse(out, &body, wrong);
    }
    let usages = spec.get("usages");
    if usages.is_empty() {
        out.push(Violation::required(usages.path(), "usages must be provided"));
    }
    let mut seen = HashSet::new();
    for usage in usages.items() {
        if !USAGES.contains(&usage.text()) {
            out.push(Violation::not_supported(usage.path(), usage.text(), &USAGES));
        }
        if !seen.insert(usage.text()) {
            out.push(Violation::duplicate(usage.path(), usage.text()));
        }
    }
    let signer = spec.get("signerName");
    if signer.text() == LEGACY_SIGNER {
        refuse(out, &signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(out, &signer);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < SHORTEST) {
        refuse(out, &seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
    conditions(out, &request.get("status").get("conditions"));
    let certificate = request.get("status").get("certificate");
    if let Some(wrong) = not_certificates(certificate.text()) {
        out.push(Violation::invalid(certificate.path(), "<certificate data>", wrong));
    }
}

/// The name of a signer: `example.com/name`.
fn signer_name(out: &mut Violations, signer: &View) {
    if signer.is_empty() {
        return out.push(Violation::required(signer.path(), "signerName must be provided"));
    }
    let Some((domain, path)) = signer.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return refuse(out, signer, detail);
    };
    if domain.len() > 253 {
        out.push(Violation::too_long(signer.path(), 253));
    }
    let mut first_wrong = |part: &str, check: fn(&str) -> Vec<String>| {
        let wrong = part.split('.').map(|label| (label, check(label))).find(|(_, wrong)| !wrong.is_empty());
        for (label, message) in
            wrong.into_iter().flat_map(|(l, wrong)| wrong.into_iter().map(move |m| (l, m)))
        {
            let detail = format!("validating label {label:?}: {message}");
            out.push(Violation::invalid(signer.path(), part, detail));
        }
    };
    first_wrong(domain, meta::label);
    first_wrong(path, meta::subdomain);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        out.push(Violation::invalid(signer.path(), domain, detail));
    }
    if signer.text().len() > MAX_SIGNER {
        out.push(Violation::too_long(signer.path(), MAX_SIGNER));
    }
}

fn conditions(out: &mut Violations, conditions: &View) {
    let mut seen = HashSet::new();
    for condition in conditions.items() {
        let kind = condition.get("type");
        let status = condition.get("status");
        required(out, &kind);
        let allowed: &[&str] = match kind.text() {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if required(out, &status) && !allowed.contains(&status.text()) {
            out.push(Violation::not_supported(status.path(), status.text(), allowed));
        }
        let opposite = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(opposite) {
            refuse(out, &kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind.text()) {
            out.push(Violation::duplicate(kind.path(), kind.text()));
        }
    }
}

fn validate_kept(new: &View, old: &View, part: Part, out: &mut Violations) {
    validate(new, out);
    change(new, old, part, out);
}

fn change(new: &View, old: &View, part: Part, out: &mut Violations) {
    let path = FieldPath::new("status").child("conditions");
    let of = |request: &View, kind: &str| -> Vec<Value> {
        let conditions = request.get("status").get("conditions").items();
        conditions.filter(|c| c.get("type").text() == kind).map(|c| c.json()).collect()
    };
    let mut forbid = |detail: String| out.push(Violation::forbidden(&path, detail));
    for kind in ["Approved", "Denied", "Failed"] {
        let (new, old) = (of(new, kind), of(old, kind));
        if new.len() < old.len() {
            forbid(format!("updates may not remove a condition of type {kind:?}"));
        } else if part != Part::Approval && kind != "Failed" {
            if new.len() > old.len() {
                forbid(format!("updates may not add a condition of type {kind:?}"));
            } else if new != old {
                forbid(format!("updates may not modify a condition of type {kind:?}"));
            }
        }
    }
    let certificate = |request: &View| request.get("status").get("certificate").text().to_owned();
    let (new, old) = (certificate(new), certificate(old));
    if new != old {
        let path = FieldPath::new("status").child("certificate");
        if part != Part::Status {
            out.push(Violation::forbidden(&path, "updates may not set certificate content"));
        } else if !old.is_empty() {
            out.push(Violation::forbidden(&path, "updates may not modify existing certificate content"));
        }
    }
}

/// The blocks of a PEM file in base64: what each says it is, and whether its body can be read and begins as
/// everything in ASN.1 does that is signed. Signatures are looked at by who signs.
fn pem_blocks(base64: &str) -> Vec<(String, bool)> {
    let bytes = BASE64.decode(base64).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {kind}-----");
        let mut body = String::new();
        let closed = lines.by_ref().any(|line| {
            let is_end = line == end;
            if !is_end {
                body.push_str(line);
            }
            is_end
        });
        let readable = BASE64.decode(&body).is_ok_and(|der| der.first() == Some(&0x30));
        if closed {
            blocks.push((kind.to_owned(), readable));
        }
    }
    blocks
}

fn not_a_request(base64: &str) -> Option<&'static str> {
    match pem_blocks(base64).first() {
        Some((kind, readable)) if kind == "CERTIFICATE REQUEST" => {
            (!readable).then_some("asn1: structure error: tags don't match")
        }
        _ => Some("PEM block type must be CERTIFICATE REQUEST"),
    }
}

fn not_certificates(base64: &str) -> Option<String> {
    if base64.is_empty() {
        return None;
    }
    let blocks = pem_blocks(base64);
    if let Some((kind, _)) = blocks.iter().find(|(kind, _)| kind != "CERTIFICATE") {
        return Some(format!("only CERTIFICATE PEM blocks are allowed, found {kind:?}"));
    }
    if blocks.is_empty() {
        return Some("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    blocks.iter().any(|(_, readable)| !readable).then(|| "x509: malformed certificate".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{said, served};

    fn pem(kind: &str) -> String {
        BASE64.encode(format!("-----BEGIN {kind}-----\nMAA=\n-----END {kind}-----\n"))
    }

    fn request(signer: &str, usages: Value) -> Value {
        json!({"metadata": {"name": "r", "resourceVersion": "1"},
            "spec": {"request": pem("CERTIFICATE REQUEST"), "signerName": signer, "usages": usages}})
    }

    fn decided(kind: &str) -> Value {
        let mut object = request("example.com/s", json!(["client auth"]));
        object["status"] = json!({"conditions": [{"type": kind, "status": "True"}]});
        object
    }

    #[test]
    fn a_request_names_its_signer_and_its_usages() {
        assert_eq!(said(kind(), request("example.com/s", json!(["client auth"]))), [""; 0]);
        assert_eq!(
            said(kind(), request("signer", json!([]))),
            [
                "spec.usages: Required value: usages must be provided",
                r#"spec.signerName: Invalid value: "signer": must be a fully qualified domain and path of the form 'example.com/signer-name'"#,
            ]
        );
        let said_of = |signer: &str| said(kind(), request(signer, json!(["any", "any"])));
        assert_eq!(
            said_of("domain/s"),
            [
                r#"spec.usages[1]: Duplicate value: "any""#,
                r#"spec.signerName: Invalid value: "domain": should be a domain with at least two segments separated by dots"#,
            ]
        );
        let mut text = request("example.com/s", json!(["any"]));
        text["spec"]["request"] = pem("CERTIFICATE").into();
        assert!(said(kind(), text)[0].ends_with("PEM block type must be CERTIFICATE REQUEST"));
    }

    #[test]
    fn only_an_approval_approves() {
        let kind = served(kind());
        let (old, wanted) = (request("example.com/s", json!(["client auth"])), decided("Approved"));
        let mut status = wanted.clone();
        kind.prepare_status_update(&mut status, &old);
        let said: Vec<String> =
            kind.validate_status_update(&status, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#]
        );
        let mut approved = wanted.clone();
        approved["spec"]["signerName"] = "other.com/s".into();
        kind.prepare_part_update(ObjectPart::Approval, &mut approved, &old);
        assert_eq!(approved["spec"], old["spec"]);
        assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
        assert_eq!(kind.validate_part_update(ObjectPart::Approval, &approved, &old), []);
        assert_eq!(kind.row(&approved, 0)[5], "Approved");
        // Once decided, it stays.
        let said: Vec<String> = kind
            .validate_part_update(ObjectPart::Approval, &decided("Denied"), &approved)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#]
        );
    }

    #[test]
    fn conditions_stay_in_the_order_they_were_written_in() {
        let kind = served(kind());
        let types = |object: &Value| -> Vec<String> {
            list(object, "/status/conditions").iter().map(|c| text(c, "/type").to_owned()).collect()
        };
        let old = request("example.com/s", json!(["client auth"]));
        let mut approved = old.clone();
        approved["status"]["conditions"] = json!([
            {"type": "Own", "status": "True"}, {"type": "Approved", "status": "True", "reason": "asked"}]);
        let written = approved["status"].clone();
        kind.prepare_part_update(ObjectPart::Approval, &mut approved, &old);
        assert_eq!(approved["status"], written);
        // Through the status one adds a condition; what is said of the decision is not heard.
        let mut status = approved.clone();
        status["status"]["conditions"] = json!([
            {"type": "Own", "status": "False"}, {"type": "Approved", "status": "True", "reason": "mine"},
            {"type": "Failed", "status": "True"}]);
        kind.prepare_status_update(&mut status, &approved);
        assert_eq!(types(&status), ["Own", "Approved", "Failed"]);
        assert_eq!(status["status"]["conditions"][1], written["conditions"][1]);
        assert_eq!(kind.validate_status_update(&status, &approved), []);
    }

    #[test]
    fn a_certificate_comes_once_through_the_status() {
        let kind = served(kind());
        let old = decided("Approved");
        let mut issued = old.clone();
        issued["status"]["certificate"] = pem("CERTIFICATE").into();
        assert_eq!(kind.validate_status_update(&issued, &old), []);
        assert_eq!(kind.row(&issued, 0)[5], "Approved,Issued");
        assert_eq!(
            kind.validate_part_update(ObjectPart::Approval, &issued, &old)[0].to_string(),
            "status.certificate: Forbidden: updates may not set certificate content"
        );
        let mut other = issued.clone();
        other["status"]["certificate"] = pem("KEY").into();
        let said: Vec<String> =
            kind.validate_status_update(&other, &issued).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "KEY""#,
                "status.certificate: Forbidden: updates may not modify existing certificate content",
            ]
        );
    }
}
