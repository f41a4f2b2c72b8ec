//! Fills Secrets of the type `kubernetes.io/service-account-token` with a token of the account that they name.
//!
//! Upstream's token controller does that a moment after the Secret was made; here it is done when it is made, because the
//! key that signs is the server's.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::token::TokenIssuer;
use crate::auth::token::claims::Bound;
use crate::auth::token::legacy::{self, ACCOUNT_NAME, ACCOUNT_UID, SECRET_TYPE};
use crate::status::StatusError;
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");

#[derive(Debug)]
pub(crate) struct TokenSecrets {
    tokens: Arc<TokenIssuer>,
}

impl TokenSecrets {
    pub(crate) fn new(tokens: Arc<TokenIssuer>) -> Self {
        Self { tokens }
    }
}

#[async_trait]
impl Admission for TokenSecrets {
    fn name(&self) -> &str {
        "TokenSecrets"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation != Operation::Delete && request.is("", "secrets")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        // A token names its Secret; one whose name is still to be drawn gets its token at the next change.
        if request.name.is_empty() {
            return Ok(());
        }
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let annotation = |key: &str| {
            let annotations = object.pointer("/metadata/annotations");
            annotations.and_then(|all| all.get(key)).and_then(Value::as_str).unwrap_or_default()
        };
        if text("/type") != SECRET_TYPE || !text("/data/token").is_empty() {
            return Ok(());
        }
        let (name, uid) = (annotation(ACCOUNT_NAME).to_owned(), annotation(ACCOUNT_UID).to_owned());
        let account = request.reader.identity(&CORE, "serviceaccounts", request.namespace, &name).await?;
        let Some(account) = account.filter(|account| uid.is_empty() || uid == account.uid) else {
            return Ok(());
        };
        let account = Bound { name, uid: account.uid };
        let token = legacy::write(&self.tokens.key, request.namespace, request.name, &account)
            .map_err(StatusError::internal)?;
        let roots = request.reader.get(&CORE, "configmaps", request.namespace, "kube-root-ca.crt").await?;
        let roots = roots.as_ref().and_then(|map| map.pointer("/data/ca.crt")).and_then(Value::as_str);
        let data =
            [("token", Some(token.as_str())), ("namespace", Some(request.namespace)), ("ca.crt", roots)];
        if !object["data"].is_object() {
            object["data"] = json!({});
        }
        for (key, value) in data {
            if let Some(value) = value {
                object["data"][key] = STANDARD.encode(value).into();
            }
        }
        if let Some(annotations) =
            meta::metadata_mut(object).and_then(|m| m.get_mut("annotations")).and_then(Value::as_object_mut)
        {
            annotations.insert(ACCOUNT_UID.into(), account.uid.into());
        }
        Ok(())
    }
}
