//! Makes tokens, and finds out whom they speak for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::claims::{Bound, Claims, LEEWAY};
use super::discovery::{Documents, KEYS};
use super::legacy::{self, LegacyClaims};
use super::{Problem, TokenKey, bearer, jwt};
use crate::admission::{Identity, Reader};
use crate::auth::{Authenticator, User};
use crate::clock::Clock;
use crate::error::Result;
use crate::status::StatusError;

const CORE: GroupVersion = GroupVersion::new("", "v1");
/// Tokens whose signature need not be looked at again. A signature costs about a hundred microseconds, the rest a few.
const REMEMBERED: usize = 4096;

/// Signs tokens and believes them.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    pub(crate) key: TokenKey,
    pub(crate) issuer: String,
    /// For whom tokens are that are for this server.
    pub(crate) audiences: Vec<String>,
    pub(crate) documents: Documents,
    clock: Arc<dyn Clock>,
    reader: Reader,
    /// By the hash of the whole token.
    remembered: Mutex<HashMap<[u8; 32], Arc<Signed>>>,
}

/// Claims that this server's key has signed.
#[derive(Debug)]
enum Signed {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

/// Whom a token speaks for, and to whom of those that were asked about.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    pub(crate) audiences: Vec<String>,
}

impl TokenIssuer {
    /// `server` is where the server is reached, as `https://ADDRESS:PORT`, if it is reached anywhere.
    pub(crate) fn new(
        key: TokenKey,
        issuer: String,
        audiences: Vec<String>,
        server: Option<&str>,
        clock: Arc<dyn Clock>,
        reader: Reader,
    ) -> Self {
        let base = server.unwrap_or(&issuer).trim_end_matches('/');
        let documents = Documents::new(&issuer, &format!("{base}/{KEYS}"), &key);
        let audiences = if audiences.is_empty() { vec![issuer.clone()] } else { audiences };
        Self { key, issuer, audiences, documents, clock, reader, remembered: Mutex::default() }
    }

    /// A token that says `claims`.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String> {
        jwt::write(&self.key, claims)
    }

    /// Whom `token` speaks for, if it is for one of `audiences`.
    pub(crate) async fn verify(
        &self,
        token: &str,
        audiences: &[String],
    ) -> std::result::Result<Verified, Problem> {
        let signed = self.signed(token)?;
        match &*signed {
            Signed::Bound(claims) => {
                let audiences = claims.audiences(audiences)?;
                self.check(claims).await?;
                Ok(Verified { user: claims.user(), audiences })
            }
            Signed::Legacy(claims) => {
                // They are for the server itself, and for nobody else.
                let both: Vec<String> =
                    self.audiences.iter().filter(|one| audiences.contains(one)).cloned().collect();
                if both.is_empty() {
                    return Err(Problem::Audience {
                        token: self.audiences.clone(),
                        wanted: audiences.to_vec(),
                    });
                }
                let user = claims.user()?;
                self.check_legacy(claims, token).await?;
                Ok(Verified { user, audiences: both })
            }
        }
    }

    fn signed(&self, token: &str) -> std::result::Result<Arc<Signed>, Problem> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = |map: &mut HashMap<[u8; 32], Arc<Signed>>| map.get(&hash).cloned();
        if let Some(signed) = known(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(signed);
        }
        let value = jwt::unverified(token).ok_or(Problem::Unknown)?;
        let issuer = value.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = || -> Option<Signed> {
            match issuer.as_str() {
                legacy::ISSUER => Some(Signed::Legacy(serde_json::from_value(value).ok()?)),
                issuer if issuer == self.issuer => Some(Signed::Bound(serde_json::from_value(value).ok()?)),
                _ => None,
            }
        };
        let signed = Arc::new(read().ok_or(Problem::Unknown)?);
        if !jwt::is_signed_by(token, &self.key) {
            return Err(Problem::Unknown);
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(hash, signed.clone());
        Ok(signed)
    }

    async fn check(&self, claims: &Claims) -> std::result::Result<(), Problem> {
        let now = self.clock.now();
        claims.in_time(now)?;
        let about = &claims.about;
        self.check_account(&about.namespace, &about.serviceaccount, now).await?;
        if let Some(secret) = &about.secret {
            self.check_bound("secrets", "secret", &about.namespace, secret, now).await?;
        }
        match (&about.pod, &about.node) {
            (Some(pod), _) => self.check_bound("pods", "pod", &about.namespace, pod, now).await?,
            (None, Some(node)) => self.check_bound("nodes", "node", "", node, now).await?,
            (None, None) => {}
        }
        if about.warnafter.is_some_and(|after| after != 0 && now.as_second() > after) {
            tracing::info!(user = %claims.sub, token = %claims.jti, "a token is used that should have been replaced");
        }
        Ok(())
    }

    async fn check_account(
        &self,
        namespace: &str,
        account: &Bound,
        now: Timestamp,
    ) -> std::result::Result<(), Problem> {
        let found = self.identity("serviceaccounts", namespace, &account.name).await?;
        let Some(found) = found else {
            let accounts = crate::status::GroupResource::new("", "serviceaccounts");
            return Err(Problem::NoAccount(StatusError::not_found(&accounts, &account.name)));
        };
        if found.uid != account.uid {
            return Err(Problem::Uid { what: "service account", is: found.uid, claim: "claim" });
        }
        if is_gone(&found, now) { Err(Problem::AccountGone) } else { Ok(()) }
    }

    async fn check_bound(
        &self,
        plural: &str,
        what: &'static str,
        namespace: &str,
        bound: &Bound,
        now: Timestamp,
    ) -> std::result::Result<(), Problem> {
        let found = self.identity(plural, namespace, &bound.name).await?;
        let found = found.ok_or(Problem::Invalidated)?;
        if found.uid != bound.uid {
            return Err(Problem::Uid { what, is: found.uid, claim: "service account ref claim" });
        }
        if is_gone(&found, now) { Err(Problem::Invalidated) } else { Ok(()) }
    }

    async fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> std::result::Result<(), Problem> {
        let now = self.clock.now();
        let secret = self.reader.get(&CORE, "secrets", &claims.namespace, &claims.secret).await;
        let secret = secret.map_err(Problem::Failed)?.ok_or(Problem::Invalidated)?;
        let text = |at: &str| secret.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let held = STANDARD.decode(text("/data/token")).unwrap_or_default();
        // The hashes are compared, so that nothing is to be learned from how long it takes.
        let same = Sha256::digest(&held) == Sha256::digest(token);
        if text("/type") != legacy::SECRET_TYPE || !text("/metadata/deletionTimestamp").is_empty() || !same {
            return Err(Problem::Invalidated);
        }
        let account = Bound { name: claims.name.clone(), uid: claims.uid.clone() };
        self.check_account(&claims.namespace, &account, now).await
    }

    async fn identity(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> std::result::Result<Option<Identity>, Problem> {
        self.reader.identity(&CORE, plural, namespace, name).await.map_err(Problem::Failed)
    }
}

/// Whether something was deleted so long ago that it vouches for nobody.
fn is_gone(found: &Identity, now: Timestamp) -> bool {
    let Some(deleted) = found.deleted else { return false };
    deleted < now.saturating_sub(SignedDuration::from_secs(LEEWAY)).unwrap_or(now)
}

#[async_trait]
impl Authenticator for TokenIssuer {
    async fn authenticate(&self, request: &Parts) -> std::result::Result<Option<User>, StatusError> {
        let Some(token) = bearer(&request.headers) else { return Ok(None) };
        match self.verify(&token, &self.audiences).await {
            Ok(verified) => Ok(Some(verified.user)),
            Err(Problem::Failed(error)) => Err(error),
            Err(Problem::Unknown) => Ok(None),
            Err(problem) => {
                tracing::info!(%problem, "a token is not believed");
                Ok(None)
            }
        }
    }
}
