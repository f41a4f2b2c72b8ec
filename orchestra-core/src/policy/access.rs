//! `authorizer`: expressions ask whether somebody may do something.
//!
//! Evaluation is pure and an answer is not: an expression that comes to a question nobody has answered yet stops there, the
//! question is kept, and whoever evaluates finds the answer out and evaluates again. What was asked once is known.
//! Follows `k8s.io/apiserver/pkg/cel/library/authz.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_cel::{Fault, Opaque, Value as Cel};
use serde_json::Value;

use crate::meta::name;

/// A service account, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Where it lives.
    pub namespace: String,
    /// What it is called.
    pub name: String,
}

/// A resource that somebody may be let at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceAccess {
    /// The group of the API, empty for the core.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// Such as `status`, or empty.
    pub subresource: String,
    /// Empty for all of them, and for what is in none.
    pub namespace: String,
    /// Empty for all objects.
    pub name: String,
    /// A field selector, or empty.
    pub fields: String,
    /// A label selector, or empty.
    pub labels: String,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A path that is no resource's.
    Path(String),
    /// A resource.
    Resource(ResourceAccess),
}

/// Whether somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Who, if not the user of the request.
    pub account: Option<Account>,
    /// With what.
    pub subject: Subject,
    /// What: one of the verbs of resources, or the lower-case method for paths.
    pub verb: String,
}

/// What the authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Yes or no.
    pub is_allowed: bool,
    /// Why, for people; may be empty.
    pub reason: String,
    /// Why it could not tell.
    pub error: Option<String>,
}

/// The questions of one request and the answers to them.
#[derive(Debug, Default)]
pub struct Authority(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    answers: BTreeMap<Question, Answer>,
    open: Vec<Question>,
}

impl Authority {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The questions that came up since this was last called and have no answer. As long as there are some, what was
    /// evaluated means nothing.
    pub fn open(&self) -> Vec<Question> {
        std::mem::take(&mut self.known().open)
    }

    /// Answers one.
    pub fn answer(&self, question: Question, answer: Answer) {
        self.known().answers.insert(question, answer);
    }

    fn ask(&self, question: Question) -> Result<Cel, Fault> {
        let mut known = self.known();
        match known.answers.get(&question) {
            Some(answer) => Ok(opaque(Part::Decision(answer.clone()))),
            None => {
                known.open.push(question);
                Err(Fault::Pending)
            }
        }
    }
}

/// What expressions hold of the authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Authorizer(Option<Account>),
    Path(Option<Account>, String),
    Group(Option<Account>, String),
    Resource(Option<Account>, ResourceAccess),
    Decision(Answer),
}

impl Opaque for Part {
    fn runtime_type_name(&self) -> &str {
        match self {
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::Path(..) => "kubernetes.authorization.PathCheck",
            Self::Group(..) => "kubernetes.authorization.GroupCheck",
            Self::Resource(..) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}

fn opaque(part: Part) -> Cel {
    Cel::Opaque(Arc::new(part))
}

fn text(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

/// The value of `authorizer`.
pub(super) fn authorizer() -> Cel {
    opaque(Part::Authorizer(None))
}

/// The value of `authorizer.requestResource`: what the request is about.
pub(super) fn request_resource(request: &Value) -> Cel {
    let said =
        |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let about = ResourceAccess {
        group: said("/requestResource/group"),
        resource: said("/requestResource/resource"),
        subresource: said("/requestSubResource"),
        namespace: said("/namespace"),
        name: said("/name"),
        ..ResourceAccess::default()
    };
    opaque(Part::Resource(None, about))
}

/// A method of a value of the authorizer's; `None` if it is no such value or has no such method.
pub(super) fn call(authority: &Authority, function: &str, operands: &[Cel]) -> Option<Result<Cel, Fault>> {
    let (Cel::Opaque(target), arguments) = operands.split_first()? else { return None };
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let Cel::String(argument) = argument else { return None };
        texts.push(argument.as_str());
    }
    let fail = |why: &str| Some(Err(Fault::Error(why.to_owned())));
    let made = |part: Part| Some(Ok(opaque(part)));
    match (target.downcast_ref::<Part>()?, function, texts.as_slice()) {
        (Part::Authorizer(_), "path", [path]) if path.trim().is_empty() => fail("path must not be empty"),
        (Part::Authorizer(account), "path", [path]) => made(Part::Path(account.clone(), (*path).to_owned())),
        (Part::Authorizer(account), "group", [group]) => {
            made(Part::Group(account.clone(), (*group).to_owned()))
        }
        (Part::Authorizer(_), "serviceAccount", [namespace, own]) => {
            if !name::is_dns1123_subdomain(own).is_empty() {
                return fail("Invalid service account name");
            }
            if !name::is_dns1123_label(namespace).is_empty() {
                return fail("Invalid service account namespace");
            }
            made(Part::Authorizer(Some(Account {
                namespace: (*namespace).to_owned(),
                name: (*own).to_owned(),
            })))
        }
        (Part::Group(..), "resource", [resource]) if resource.trim().is_empty() => {
            fail("resource must not be empty")
        }
        (Part::Group(account, group), "resource", [resource]) => {
            let (group, resource) = (group.clone(), (*resource).to_owned());
            made(Part::Resource(account.clone(), ResourceAccess { group, resource, ..Default::default() }))
        }
        (Part::Resource(account, about), "check", [verb]) => Some(authority.ask(Question {
            account: account.clone(),
            subject: Subject::Resource(about.clone()),
            verb: (*verb).to_owned(),
        })),
        (Part::Path(account, path), "check", [verb]) => Some(authority.ask(Question {
            account: account.clone(),
            subject: Subject::Path(path.clone()),
            verb: (*verb).to_owned(),
        })),
        (Part::Resource(account, about), field, [value]) => {
            let mut about = about.clone();
            let place = match field {
                "subresource" => &mut about.subresource,
                "namespace" => &mut about.namespace,
                "name" => &mut about.name,
                "fieldSelector" => &mut about.fields,
                "labelSelector" => &mut about.labels,
                _ => return None,
            };
            (*value).clone_into(place);
            made(Part::Resource(account.clone(), about))
        }
        (Part::Decision(answer), "allowed", []) => Some(Ok(Cel::Bool(answer.is_allowed))),
        (Part::Decision(answer), "reason", []) => Some(Ok(text(&answer.reason))),
        (Part::Decision(answer), "errored", []) => Some(Ok(Cel::Bool(answer.error.is_some()))),
        (Part::Decision(answer), "error", []) => Some(Ok(text(answer.error.as_deref().unwrap_or_default()))),
        _ => None,
    }
}
