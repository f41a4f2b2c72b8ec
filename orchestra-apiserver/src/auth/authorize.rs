//! Whether they may.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::User;
use super::rbac::Rule;
use crate::request::RequestInfo;
use crate::status::StatusError;

/// What an authorizer is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub user: &'a User,
    /// The verb: one of the resource verbs, or the lower-case method for other paths.
    pub verb: &'a str,
    /// What is asked for.
    pub info: &'a RequestInfo,
    /// The path as it came.
    pub path: &'a str,
    /// The field selector of what lists, watches or removes many, as it came; empty when there is none, and where a question about
    /// access has one that cannot be read.
    pub fields: &'a str,
    /// The label selector of the same, likewise.
    pub labels: &'a str,
}

impl<'a> AccessRequest<'a> {
    /// A question about something that is not selected from.
    pub(crate) fn new(user: &'a User, verb: &'a str, info: &'a RequestInfo, path: &'a str) -> Self {
        Self { user, verb, info, path, fields: "", labels: "" }
    }

    /// Whether only objects are asked for whose `field` is `value`.
    pub fn selects(&self, field: &str, value: &str) -> bool {
        selected(self.fields, field) == Some(value)
    }
}

/// The one value of a field that a field selector lets through.
pub(crate) fn selected<'a>(fields: &'a str, field: &str) -> Option<&'a str> {
    fields.split(',').find_map(|term| {
        let (key, value) = term.split_once('=')?;
        (key.trim() == field).then(|| value.strip_prefix('=').unwrap_or(value).trim())
    })
}

/// An authorizer's answer, with a reason for people, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow(String),
    /// No.
    Deny(String),
}

/// What somebody may do, as far as it can be listed.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    /// Why it may not be all; empty when it is.
    pub(crate) problem: String,
}

impl RuleSet {
    /// For an authorizer that cannot list what it allows.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { rules: Vec::new(), problem: why.into() }
    }
}

/// Decides whether a user may do something.
///
/// # Contract
/// 1. Asked once for each request, before its body is read, also about `system:anonymous`. Members of `system:masters` are
///    never asked about, nor are health and version.
/// 2. What is not allowed is denied: there is no third answer.
///
/// # Errors
/// An error is the client's answer, and nothing has happened.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Decides.
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError>;

    /// Lists what `user` may do in `namespace`, for `kubectl auth can-i --list`. Never asked when deciding.
    async fn rules(&self, user: &User, namespace: &str) -> Result<RuleSet, StatusError> {
        let _ = (user, namespace);
        Ok(RuleSet::unknown("the authorizer cannot list what it allows"))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Authorizer + ?Sized> Authorizer for Arc<T> {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        self.as_ref().authorize(request).await
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<RuleSet, StatusError> {
        self.as_ref().rules(user, namespace).await
    }
}

/// Lets nobody but `system:masters` in.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenyAll;

#[async_trait]
impl Authorizer for DenyAll {
    async fn authorize(&self, _request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        Ok(Decision::Deny(String::new()))
    }

    async fn rules(&self, _user: &User, _namespace: &str) -> Result<RuleSet, StatusError> {
        Ok(RuleSet::default())
    }
}
