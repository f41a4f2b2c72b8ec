//! Acting as somebody else: the `Impersonate-*` headers.
//!
//! Whoever sends them must be allowed the verb `impersonate` on each name asked for: on `users` or `serviceaccounts`, `groups`,
//! `uids`, and `userextras/KEY`. From then on the request is theirs whose name was given. After
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderMap;
use orchestra_core::gvk::GroupVersion;

use super::authenticate::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use super::{User, service_account};
use crate::query::percent_decode;
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::status::StatusError;

const EXTRA: &str = "impersonate-extra-";

/// Who is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    /// Reads the headers; `None` when there are none of them.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Self>, StatusError> {
        let mut wanted = Self::default();
        let mut any = false;
        for (name, value) in headers {
            let name = name.as_str();
            if !name.starts_with("impersonate-") {
                continue;
            }
            let text = value.to_str().map_err(|_| StatusError::bad_request(format!("{name} is not text")))?;
            let text = text.to_owned();
            match name {
                "impersonate-user" => wanted.user = text,
                "impersonate-uid" => wanted.uid = text,
                "impersonate-group" => wanted.groups.push(text),
                _ => match name.strip_prefix(EXTRA).and_then(percent_decode) {
                    Some(key) => wanted.extra.entry(key).or_default().push(text),
                    None => continue,
                },
            }
            any = true;
        }
        if any && wanted.user.is_empty() {
            return Err(StatusError::internal(
                "impersonation of groups, a uid or extras needs Impersonate-User",
            ));
        }
        Ok(any.then_some(wanted))
    }

    /// What the sender must be allowed to impersonate.
    pub(crate) fn questions(&self) -> Vec<RequestInfo> {
        let mut questions = vec![match service_account::parse(&self.user) {
            Some((namespace, name)) => question("", "serviceaccounts", None, Some(namespace), name),
            None => question("", "users", None, None, &self.user),
        }];
        questions.extend(self.groups.iter().map(|group| question("", "groups", None, None, group)));
        if !self.uid.is_empty() {
            questions.push(question("authentication.k8s.io", "uids", None, None, &self.uid));
        }
        for (key, values) in &self.extra {
            let asked = |value: &String| {
                question("authentication.k8s.io", "userextras", Some(key.as_str()), None, value)
            };
            questions.extend(values.iter().map(asked));
        }
        questions.into_iter().map(RequestInfo::Resource).collect()
    }

    /// Who the request is taken for, once all of that is allowed.
    pub(crate) fn user(self) -> User {
        let Self { user: name, uid, mut groups, extra } = self;
        if groups.is_empty()
            && let Some((namespace, _)) = service_account::parse(&name)
        {
            groups = service_account::groups(namespace).to_vec();
        }
        let everybody = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(everybody.to_owned());
        }
        User { name, groups, uid, extra }
    }
}

fn question(
    group: &'static str,
    resource: &str,
    subresource: Option<&str>,
    namespace: Option<&str>,
    name: &str,
) -> ResourceRequest {
    ResourceRequest {
        // Authorizers go by the word beside this.
        verb: Verb::Get,
        gv: GroupVersion { group: Cow::Borrowed(group), version: Cow::Borrowed("v1") },
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        subresource: subresource.map(str::to_owned),
        tail: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_service_account_brings_its_groups() {
        let wanted = Wanted::read(&headers(&[("impersonate-user", "system:serviceaccount:ns:a")]));
        let wanted = wanted.unwrap().unwrap();
        let [RequestInfo::Resource(question)] = &wanted.questions()[..] else { panic!("one question") };
        assert_eq!(
            (question.resource.as_str(), question.namespace.as_deref()),
            ("serviceaccounts", Some("ns"))
        );
        assert_eq!(
            wanted.user().groups,
            ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
        );
    }

    #[test]
    fn every_name_is_asked_about() {
        let wanted = Wanted::read(&headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2fproject", "x"),
        ]));
        let wanted = wanted.unwrap().unwrap();
        let asked: Vec<_> = wanted
            .questions()
            .into_iter()
            .map(|question| match question {
                RequestInfo::Resource(q) => {
                    (q.resource, q.subresource.unwrap_or_default(), q.name.unwrap_or_default())
                }
                RequestInfo::NonResource(path) => panic!("{path:?}"),
            })
            .collect();
        let expected = [
            ("users", "", "jane"),
            ("groups", "", "dev"),
            ("groups", "", "ops"),
            ("uids", "", "7"),
            ("userextras", "acme.com/project", "x"),
        ];
        assert_eq!(asked, expected.map(|(r, s, n)| (r.to_owned(), s.to_owned(), n.to_owned())));
        assert_eq!(wanted.user().groups, ["dev", "ops", "system:authenticated"]);
    }

    #[test]
    fn groups_without_a_user_are_refused() {
        assert!(Wanted::read(&headers(&[("impersonate-group", "system:masters")])).is_err());
        assert_eq!(Wanted::read(&headers(&[("accept", "*/*")])).unwrap(), None);
    }
}
