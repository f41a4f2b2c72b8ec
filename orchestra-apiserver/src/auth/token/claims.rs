//! What a token says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::auth::User;
use crate::auth::service_account;

/// How far clocks may be apart, and for how long something that was deleted still vouches, as upstream.
pub(super) const LEEWAY: i64 = 60;

const EXTRA: &str = "authentication.kubernetes.io";

/// Everything that a token says, in upstream's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "one_or_many")]
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    #[serde(default)]
    pub(crate) iat: i64,
    pub(crate) iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) about: About,
    #[serde(default)]
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// The account, and what the token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Bound>,
    pub(crate) serviceaccount: Bound,
    /// From when on its use is worth a word in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warnafter: Option<i64>,
}

/// An object, and which of all that had its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Form::deserialize(from)? {
        Form::One(one) => vec![one],
        Form::Many(many) => many,
    })
}

impl Claims {
    /// Whether now is the token's time.
    pub(super) fn in_time(&self, now: Timestamp) -> Result<(), Problem> {
        let now = now.as_second();
        if now > self.exp.saturating_add(LEEWAY) {
            return Err(Problem::Expired);
        }
        if now.saturating_add(LEEWAY) < self.nbf.max(self.iat) {
            return Err(Problem::NotYet);
        }
        Ok(())
    }

    /// Those of `wanted` that the token is for.
    pub(super) fn audiences(&self, wanted: &[String]) -> Result<Vec<String>, Problem> {
        let both: Vec<String> = self.aud.iter().filter(|one| wanted.contains(one)).cloned().collect();
        if both.is_empty() {
            return Err(Problem::Audience { token: self.aud.clone(), wanted: wanted.to_vec() });
        }
        Ok(both)
    }

    /// Who the token speaks for.
    pub(super) fn user(&self) -> User {
        let About { namespace, node, pod, serviceaccount, .. } = &self.about;
        let mut user = service_account::user(namespace, &serviceaccount.name, &serviceaccount.uid);
        let mut extra = BTreeMap::new();
        let mut tell = |what: &str, value: String| {
            if !value.is_empty() {
                extra.insert(format!("{EXTRA}/{what}"), vec![value]);
            }
        };
        if !self.jti.is_empty() {
            tell("credential-id", format!("JTI={}", self.jti));
        }
        for (what, bound) in [("pod", pod), ("node", node)] {
            if let Some(bound) = bound {
                tell(&format!("{what}-name"), bound.name.clone());
                tell(&format!("{what}-uid"), bound.uid.clone());
            }
        }
        user.extra = extra;
        user
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claims() -> Value {
        json!({
            "aud": ["api"], "exp": 1000, "iat": 500, "iss": "i", "jti": "j",
            "kubernetes.io": {
                "namespace": "ns", "node": {"name": "n", "uid": "nu"}, "pod": {"name": "p", "uid": "pu"},
                "serviceaccount": {"name": "a", "uid": "u"}, "warnafter": 900,
            },
            "nbf": 500, "sub": "system:serviceaccount:ns:a",
        })
    }

    #[test]
    fn claims_are_written_as_they_are_read() {
        let read: Claims = serde_json::from_value(claims()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), claims().to_string());
        let mut one = claims();
        one["aud"] = "api".into();
        assert_eq!(serde_json::from_value::<Claims>(one).unwrap(), read);
    }

    #[test]
    fn a_token_has_its_time_with_a_minute_on_both_sides() {
        let read: Claims = serde_json::from_value(claims()).unwrap();
        let at = |second| read.in_time(Timestamp::from_second(second).unwrap());
        assert!(at(440).is_ok() && at(700).is_ok() && at(1060).is_ok());
        assert!(matches!(at(439), Err(Problem::NotYet)));
        assert!(matches!(at(1061), Err(Problem::Expired)));
    }

    #[test]
    fn a_token_says_what_it_runs_in() {
        let user = serde_json::from_value::<Claims>(claims()).unwrap().user();
        assert_eq!(user.name, "system:serviceaccount:ns:a");
        assert_eq!(user.uid, "u");
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
        );
        assert_eq!(
            json!(user.extra),
            json!({
                "authentication.kubernetes.io/credential-id": ["JTI=j"],
                "authentication.kubernetes.io/node-name": ["n"],
                "authentication.kubernetes.io/node-uid": ["nu"],
                "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["pu"],
            })
        );
    }
}
