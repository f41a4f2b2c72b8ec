//! Answers what expressions ask the authorizer: they are evaluated until every question they come to has its answer.

use std::borrow::Cow;
use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use orchestra_core::policy::access::{Answer, Authority, Question, ResourceAccess, Subject};
use orchestra_core::selector::{FieldSelector, LabelSelector};

use crate::auth::{AccessRequest, Authorizer, Decision, MASTERS, User, service_account};
use crate::request::{RequestInfo, ResourceRequest, Verb};

/// Each time round answers a question at least, and costs bound how many there are; this is for the case that they do not.
const MOST_ROUNDS: usize = 64;

/// Whoever answers for one request.
#[derive(Debug)]
pub(crate) struct Access<'r> {
    authorizer: &'r Arc<dyn Authorizer>,
    user: &'r User,
    authority: Authority,
}

impl<'r> Access<'r> {
    pub(crate) fn new(authorizer: &'r Arc<dyn Authorizer>, user: &'r User) -> Self {
        Self { authorizer, user, authority: Authority::default() }
    }

    /// What an evaluation comes to when all is known that it asks about.
    pub(crate) async fn settle<T: Send>(&self, evaluate: impl Fn(&Authority) -> T + Send + Sync) -> T {
        let mut rounds = 0;
        loop {
            let outcome = evaluate(&self.authority);
            let open = self.authority.open();
            rounds += 1;
            if open.is_empty() || rounds > MOST_ROUNDS {
                return outcome;
            }
            for question in open {
                let answer = self.ask(&question).await;
                self.authority.answer(question, answer);
            }
        }
    }

    async fn ask(&self, question: &Question) -> Answer {
        let account = question.account.as_ref().map(|account| {
            let mut user = User::anonymous();
            user.name = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
            user.groups = service_account::groups(&account.namespace).to_vec();
            user
        });
        let user = account.as_ref().unwrap_or(self.user);
        if user.is_in(MASTERS) {
            return Answer { is_allowed: true, ..Answer::default() };
        }
        let (info, path, (fields, labels)) = match &question.subject {
            Subject::Path(path) => {
                let segments = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                (RequestInfo::NonResource(segments), path.as_str(), ("", ""))
            }
            Subject::Resource(about) => (RequestInfo::Resource(request(about)), "", selectors(about)),
        };
        let asked = AccessRequest { user, verb: &question.verb, info: &info, path, fields, labels };
        match self.authorizer.authorize(asked).await {
            Ok(Decision::Allow(reason)) => Answer { is_allowed: true, reason, error: None },
            Ok(Decision::Deny(reason)) => Answer { is_allowed: false, reason, error: None },
            Err(error) => Answer { is_allowed: false, reason: String::new(), error: Some(error.to_string()) },
        }
    }
}

fn request(about: &ResourceAccess) -> ResourceRequest {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ResourceRequest {
        // Authorizers go by the word beside this.
        verb: Verb::Get,
        gv: GroupVersion { group: Cow::Owned(about.group.clone()), version: Cow::Borrowed("*") },
        resource: about.resource.clone(),
        namespace: some(&about.namespace),
        name: some(&about.name),
        subresource: some(&about.subresource),
        tail: String::new(),
    }
}

/// Those of fields and of labels. One that cannot be read selects nothing less, so that nothing more is allowed for it.
fn selectors(about: &ResourceAccess) -> (&str, &str) {
    let fields = if FieldSelector::parse(&about.fields).is_ok() { about.fields.as_str() } else { "" };
    let labels = if LabelSelector::parse(&about.labels).is_ok() { about.labels.as_str() } else { "" };
    (fields, labels)
}
