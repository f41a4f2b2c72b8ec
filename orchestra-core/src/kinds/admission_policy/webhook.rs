//! `MutatingWebhookConfiguration` and `ValidatingWebhookConfiguration`.

use std::collections::HashSet;

use super::matching::{conditions, default_rules, rule};
use super::{CATEGORY, FAILURE_POLICIES, GROUP};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, column, list};
use crate::kinds::frame::check::{one_of, refuse, required, required_because};
use crate::kinds::frame::{Builtin, Fill, Generation, Object, View};
use crate::kinds::{labels, meta};
use crate::meta::name;
use crate::violation::{Violation, Violations};

const REVIEW_VERSIONS: &str = "v1, v1beta1";
const FORM: &str = "; desired format: https://host[/path]";

pub(crate) fn mutating() -> Builtin {
    let kind = ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations");
    configuration(kind)
        .default(|configuration| {
            for hook in configuration.objects("webhooks") {
                default(hook);
                hook.fill("reinvocationPolicy", "Never");
            }
        })
        .validate(|configuration, out| {
            validate(configuration, out);
            for hook in configuration.get("webhooks").items() {
                one_of(out, &hook.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
            }
        })
}

pub(crate) fn validating() -> Builtin {
    let kind = ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations");
    configuration(kind)
        .default(|configuration| configuration.objects("webhooks").for_each(default))
        .validate(validate)
}

fn configuration((kind, plural): (&'static str, &'static str)) -> Builtin {
    Builtin::new(GROUP, kind, plural, Scope::Cluster)
        .category(CATEGORY)
        .generation(Generation::Content)
        .columns(vec![
            cells::name(),
            column("Webhooks", "integer", "How many there are.", |configuration, _| {
                list(configuration, "/webhooks").len().into()
            }),
            cells::age(),
        ])
}

fn default(hook: &mut Object) {
    hook.fill("failurePolicy", "Fail");
    hook.fill("matchPolicy", "Equivalent");
    hook.object("namespaceSelector");
    hook.object("objectSelector");
    hook.fill("timeoutSeconds", 10);
    default_rules(hook, "rules");
    if let Some(service) = hook.object("clientConfig").object_if("service") {
        service.fill("port", 443);
    }
}

fn validate(configuration: &View, out: &mut Violations) {
    let mut names = HashSet::new();
    for hook in configuration.get("webhooks").items() {
        one_hook(out, &hook);
        review_versions(out, &hook.get("admissionReviewVersions"));
        let own = hook.get("name");
        if !own.is_empty() && !names.insert(own.text()) {
            out.push(Violation::duplicate(own.path(), own.text()));
        }
    }
}

fn one_hook(out: &mut Violations, hook: &View) {
    let own = hook.get("name");
    if required(out, &own) {
        let wrong = meta::subdomain(own.text());
        if !wrong.is_empty() {
            refuse(out, &own, wrong.join(","));
        } else if own.text().split('.').count() < 3 {
            refuse(out, &own, "should be a domain with at least three segments separated by dots");
        }
    }
    for one in hook.get("rules").items() {
        rule(out, &one);
    }
    one_of(out, &hook.get("failurePolicy"), FAILURE_POLICIES);
    one_of(out, &hook.get("matchPolicy"), &["Equivalent", "Exact"]);
    let effects = hook.get("sideEffects");
    if effects.is_set() {
        one_of(out, &effects, &["None", "NoneOnDryRun"]);
    } else {
        out.push(Violation::required(effects.path(), "must specify one of None, NoneOnDryRun"));
    }
    let timeout = hook.get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        refuse(out, &timeout, "the timeout value must be between 1 and 30 seconds");
    }
    for field in ["namespaceSelector", "objectSelector"] {
        labels::selector(out, &hook.get(field));
    }
    client(out, &hook.get("clientConfig"));
    conditions(out, &hook.get("matchConditions"), false);
}

/// Where a webhook is: a URL or a service.
fn client(out: &mut Violations, client: &View) {
    let (address, service) = (client.get("url"), client.get("service"));
    match (address.is_set(), service.is_set()) {
        (true, false) => url(out, &address),
        (false, true) => {
            required_because(out, &service.get("name"), "service name is required");
            required_because(out, &service.get("namespace"), "service namespace is required");
            path(out, &service.get("path"));
            let port = service.get("port");
            let wrong = name::is_port_number(port.int().unwrap_or_default());
            if !wrong.is_empty() {
                refuse(out, &port, format!("port is not valid: {}", wrong.join(", ")));
            }
        }
        _ => out.push(Violation::required(client.path(), "exactly one of url or service is required")),
    }
}

fn url(out: &mut Violations, url: &View) {
    let (scheme, rest) = url.text().split_once("://").unwrap_or(("", url.text()));
    let mut say = |shown: &str, detail: String| out.push(Violation::invalid(url.path(), shown, detail));
    if scheme != "https" {
        say(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || scheme.is_empty() {
        say("", format!("host must be specified{FORM}"));
    }
    if authority.contains('@') {
        say(user, "user information is not permitted in the URL".to_owned());
    }
    let (before, fragment) = after.split_once('#').unwrap_or((after, ""));
    if !fragment.is_empty() {
        say(fragment, "fragments are not permitted in the URL".to_owned());
    }
    if let Some((_, query)) = before.split_once('?').filter(|(_, query)| !query.is_empty()) {
        say(query, "query parameters are not permitted in the URL".to_owned());
    }
}

fn path(out: &mut Violations, path: &View) {
    let text = path.text();
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        return refuse(out, path, "segment[0] may not be empty");
    }
    let Some(rest) = text.strip_prefix('/') else { return refuse(out, path, "must start with a '/'") };
    for (at, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            refuse(out, path, format!("segment[{at}] may not be empty"));
            continue;
        }
        for message in meta::subdomain(step) {
            refuse(out, path, format!("segment[{at}]: {message}"));
        }
    }
}

fn review_versions(out: &mut Violations, versions: &View) {
    if versions.is_empty() {
        let detail = format!("must specify one of {REVIEW_VERSIONS}");
        return out.push(Violation::required(versions.path(), detail));
    }
    let mut seen = HashSet::new();
    for version in versions.items() {
        if !seen.insert(version.text()) {
            refuse(out, &version, "duplicate version");
            continue;
        }
        for message in name::is_dns1035_label(version.text()) {
            refuse(out, &version, message);
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        refuse(out, versions, format!("must include at least one of {REVIEW_VERSIONS}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn hook(extra: Value) -> Value {
        let mut hook = json!({
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "n", "name": "s"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        });
        hook.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": "c"}, "webhooks": [hook]})
    }

    #[test]
    fn a_webhook_fails_closed_and_is_called_once_by_default() {
        let whole = defaulted(mutating(), hook(json!({})));
        let own = &whole["webhooks"][0];
        assert_eq!((&own["failurePolicy"], &own["reinvocationPolicy"]), (&json!("Fail"), &json!("Never")));
        assert_eq!((&own["rules"][0]["scope"], &own["timeoutSeconds"]), (&json!("*"), &json!(10)));
        assert_eq!(own["clientConfig"]["service"]["port"], 443);
        assert_eq!(served(mutating()).row(&whole, 0)[1], 1);
        assert_eq!(said(mutating(), whole), [""; 0]);
        assert_eq!(defaulted(validating(), hook(json!({})))["webhooks"][0].get("reinvocationPolicy"), None);
    }

    #[test]
    fn names_rules_and_places_are_checked() {
        let wrong = json!({
            "name": "a.b", "sideEffects": "Some", "timeoutSeconds": 31, "admissionReviewVersions": ["v7"],
            "clientConfig": {"url": "http://u@example.com/?a=b#c"},
            "rules": [{"operations": ["*", "FLY"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "pods/log"]}],
        });
        assert_eq!(
            said(validating(), hook(wrong)),
            [
                r#"webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots"#,
                r#"webhooks[0].rules[0].operations: Invalid value: ["*","FLY"]: if '*' is present, must not specify other operations"#,
                r#"webhooks[0].rules[0].operations[1]: Unsupported value: "FLY": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#,
                r#"webhooks[0].rules[0].resources[1]: Invalid value: "pods/log": if 'pods/*' is present, must not specify pods/log"#,
                r#"webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#,
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                r#"webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "c": fragments are not permitted in the URL"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL"#,
                r#"webhooks[0].admissionReviewVersions: Invalid value: ["v7"]: must include at least one of v1, v1beta1"#,
            ]
        );
    }
}
