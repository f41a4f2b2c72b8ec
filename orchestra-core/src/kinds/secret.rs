//! `Secret`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::config_map::{MAX_DATA, decoded_len, entries, frozen, keys};
use super::frame::cells::{self, column, text};
use super::frame::check::unchanged;
use super::frame::{Builtin, Fill, Object, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Secret", "secrets", Scope::Namespaced)
        .default(default)
        .prepare_update(|new, old| {
            let before = text(old, "/type").to_owned();
            if new.text("type").is_empty() && !before.is_empty() {
                new.insert("type".to_owned(), before.into());
            }
        })
        .validate(validate)
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("type"), &old.get("type"));
            frozen(out, new, old, &["data"]);
        })
        .fields(&["type"])
        .columns(vec![
            cells::name(),
            column("Type", "string", "What the data is for.", |secret, _| text(secret, "/type").into()),
            column("Data", "string", "How many entries there are.", |secret, _| {
                entries(secret, "data").into()
            }),
            cells::age(),
        ])
}

/// The type, and the entries given as plain text: they are write-only and go where the others are.
fn default(secret: &mut Object) {
    secret.fill_text("type", "Opaque");
    if let Some(Value::Object(plain)) = secret.remove("stringData") {
        let data = secret.object("data");
        for (key, value) in plain {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
}

fn validate(secret: &View, out: &mut Violations) {
    let data = secret.get("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        keys(out, &value, key);
        size += decoded_len(value.text());
    }
    if size > MAX_DATA {
        out.push(Violation::too_long(data.path(), MAX_DATA));
    }
    of_type(out, secret, &data);
}

/// What each well-known type must hold, after `ValidateSecret`.
fn of_type(out: &mut Violations, secret: &View, data: &View) {
    let has = |key: &str| data.value().is_some_and(|data| data.get(key).is_some());
    let mut need = |key: &str| {
        if !has(key) {
            out.push(Violation::required(&data.path().key(key), ""));
        }
        has(key)
    };
    match secret.get("type").text() {
        "kubernetes.io/service-account-token" => {
            let annotations = secret.get("metadata").get("annotations");
            let name = "kubernetes.io/service-account.name";
            let given = annotations.value().and_then(|all| all.get(name)).and_then(Value::as_str);
            if given.unwrap_or_default().is_empty() {
                out.push(Violation::required(&annotations.path().key(name), ""));
            }
        }
        "kubernetes.io/dockercfg" if need(".dockercfg") => json(out, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" if need(".dockerconfigjson") => json(out, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" => {
            need("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => (),
    }
}

fn json(out: &mut Violations, data: &View, key: &str) {
    let text = data.value().and_then(|data| data.get(key)).and_then(Value::as_str).unwrap_or_default();
    let parsed = STANDARD.decode(text).ok().map(|bytes| serde_json::from_slice::<Object>(&bytes));
    if let Some(Err(error)) = parsed {
        out.push(Violation::invalid(&data.path().key(key), "<secret contents redacted>", error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change};

    #[test]
    fn plain_text_becomes_data() {
        let secret = json!({"metadata": {}, "data": {"a": "AA=="}, "stringData": {"a": "x", "b": "y"}});
        let secret = defaulted(kind(), secret);
        assert_eq!(secret, json!({"metadata": {}, "type": "Opaque", "data": {"a": "eA==", "b": "eQ=="}}));
    }

    #[test]
    fn well_known_types_need_their_entries() {
        let secret = |kind: &str| json!({"metadata": {"name": "s", "namespace": "n"}, "type": kind});
        assert_eq!(
            said(kind(), secret("kubernetes.io/tls")),
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
        );
        assert_eq!(
            said(kind(), secret("kubernetes.io/service-account-token")),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        );
        assert_eq!(said(kind(), secret("my.own/type")), [""; 0]);
    }

    #[test]
    fn the_type_stays() {
        let old =
            json!({"metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"}, "type": "Opaque"});
        let mut new = old.clone();
        new["type"] = "x/y".into();
        assert_eq!(said_of_change(kind(), &new, &old), [r#"type: Invalid value: "x/y": field is immutable"#]);
    }
}
