//! Bootstrap tokens: Secrets of `kube-system` by which machines introduce themselves before they have a certificate.
//!
//! After <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/> and upstream's
//! `plugin/pkg/auth/authenticator/token/bootstrap`.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use jiff::Timestamp;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::bearer;
use crate::admission::Reader;
use crate::auth::{Authenticator, User};
use crate::clock::Clock;
use crate::status::StatusError;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Believes tokens of the form `ID.SECRET` for which there is a Secret `bootstrap-token-ID`.
#[derive(Debug)]
pub(crate) struct BootstrapTokens {
    reader: Reader,
    clock: Arc<dyn Clock>,
}

impl BootstrapTokens {
    pub(crate) fn new(reader: Reader, clock: Arc<dyn Clock>) -> Self {
        Self { reader, clock }
    }
}

#[async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError> {
        let token = bearer(&request.headers).unwrap_or_default();
        let Some((id, secret)) = parse(&token) else { return Ok(None) };
        let found = self.reader.get(&CORE, "secrets", NAMESPACE, &format!("bootstrap-token-{id}")).await?;
        Ok(found.as_ref().and_then(|object| user(object, id, secret, self.clock.now())))
    }
}

/// The two parts of a token.
fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// Who a Secret says its token is; `None` when it vouches for nobody, or for another token.
fn user(object: &Value, id: &str, secret: &str, now: Timestamp) -> Option<User> {
    let text = |key: &str| -> Option<String> {
        let encoded = object.get("data")?.get(key)?.as_str()?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    };
    let is_going = object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    if object.get("type").and_then(Value::as_str) != Some(SECRET_TYPE) || is_going {
        return None;
    }
    // The hashes are compared, so that nothing is to be learned from how long it takes.
    let same = Sha256::digest(text("token-secret")?) == Sha256::digest(secret);
    if !same || text("token-id")? != id || text("usage-bootstrap-authentication")? != "true" {
        return None;
    }
    if let Some(end) = text("expiration").filter(|end| !end.is_empty()) {
        // A time that cannot be read is over.
        if end.parse::<Timestamp>().ok()? <= now {
            return None;
        }
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in text("auth-extra-groups").unwrap_or_default().split(',').filter(|group| !group.is_empty()) {
        if !is_extra_group(group) {
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(User::new(format!("system:bootstrap:{id}"), groups))
}

fn is_extra_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b':' || b == b'-';
    let last = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    rest.len() <= 256 && rest.bytes().all(inner) && rest.bytes().last().is_some_and(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(change: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        let fields = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2030-01-01T00:00:00Z"),
            ("auth-extra-groups", "system:bootstrappers:a,system:bootstrappers:b"),
        ];
        for (key, value) in fields.iter().chain(change) {
            data[*key] = STANDARD.encode(value).into();
        }
        json!({"type": SECRET_TYPE, "metadata": {}, "data": data})
    }

    fn who(secret: &Value) -> Option<User> {
        user(secret, "abcdef", "0123456789abcdef", "2027-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_secret_vouches_for_its_token() {
        let user = who(&secret(&[])).unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(
            user.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:a",
                "system:bootstrappers:b",
                "system:authenticated"
            ]
        );
    }

    #[test]
    fn what_is_not_quite_right_vouches_for_nobody() {
        for change in [
            ("token-secret", "0123456789abcdee"),
            ("token-id", "abcdee"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2026-12-31T23:59:59Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:"),
        ] {
            assert_eq!(who(&secret(&[change])), None, "{change:?}");
        }
        let mut other = secret(&[]);
        other["type"] = "Opaque".into();
        assert_eq!(who(&other), None);
        let mut going = secret(&[]);
        going["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z".into();
        assert_eq!(who(&going), None);
    }

    #[test]
    fn a_token_has_two_parts_of_the_right_length() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for bad in ["abcdef", "abcde.0123456789abcdef", "Abcdef.0123456789abcdef", "abcdef.0123456789abcde/"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
