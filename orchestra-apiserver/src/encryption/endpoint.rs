//! `/orchestra/v1/encryption`: how the store is encrypted, and changing its keys while it runs.
//!
//! Not a part of the Kubernetes API. The authorizer is asked about the paths like about any other: members of `system:masters`
//! may. No key is ever given out, only names.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use orchestra_store::Error;
use orchestra_store::encryption::{Encryption, EncryptionStatus, KeyId, Policy, Rewritten};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::status::StatusError;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// How things are.
    Status,
    /// The key of the next rotation made, and used by nobody yet.
    Prepare,
    /// Another key, and everything brought under it.
    Rotate,
    /// Everything brought under the newest key.
    Rewrite,
    /// Keys dropped that nothing needs.
    Prune,
}

impl Command {
    /// The command of a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path.strip_prefix("orchestra/v1/encryption")? {
            "" => Some(Self::Status),
            "/prepare" => Some(Self::Prepare),
            "/rotate" => Some(Self::Rotate),
            "/rewrite" => Some(Self::Rewrite),
            "/prune" => Some(Self::Prune),
            _ => None,
        }
    }
}

/// Does what was asked for. It goes on to its end when the client goes away.
pub(crate) async fn answer(
    encryption: Option<&Arc<Encryption>>,
    command: Command,
    method: &Method,
) -> Result<Response<Body>, StatusError> {
    let wanted = if command == Command::Status { Method::GET } else { Method::POST };
    if *method != wanted {
        return Err(StatusError::method_not_supported());
    }
    let encryption =
        encryption.ok_or_else(|| StatusError::bad_request("the store is not encrypted"))?.clone();
    let done = tokio::spawn(async move { perform(&encryption, command).await });
    match done.await.map_err(StatusError::internal)? {
        Ok(value) => Ok(body::json(StatusCode::OK, value.to_string())),
        Err(Error::Invalid(why)) => Err(StatusError::bad_request(why)),
        Err(error) => Err(error.into()),
    }
}

/// Does what was asked for, and tells of it as the endpoint does: for whoever has the store in hand and no server.
///
/// # Errors
/// Those of [`Encryption`].
pub async fn perform(encryption: &Encryption, command: Command) -> orchestra_store::Result<Value> {
    Ok(match command {
        Command::Status => status(&encryption.status().await?),
        Command::Prepare => json!({"next": encryption.prepare().await?.to_string()}),
        Command::Rotate => {
            let rotated = encryption.rotate().await?;
            let mut told = rewritten(&rotated.rewritten);
            told["key"] = rotated.key.to_string().into();
            told
        }
        Command::Rewrite => rewritten(&encryption.rewrite().await?),
        Command::Prune => {
            let pruned = encryption.prune().await?;
            json!({"dropped": names(&pruned.dropped), "kept": names(&pruned.kept)})
        }
    })
}

fn names(keys: &[KeyId]) -> Vec<String> {
    keys.iter().map(KeyId::to_string).collect()
}

fn rewritten(done: &Rewritten) -> Value {
    json!({
        "seen": done.seen, "rewritten": done.rewritten,
        "unreadable": done.unreadable, "problems": done.problems,
    })
}

fn status(status: &EncryptionStatus) -> Value {
    let rules = status.rules.iter().map(|(prefix, policy)| {
        let policy = match policy {
            Policy::Sealed => "encrypted",
            Policy::Sealing => "encrypted; plain values are read",
            Policy::Plain => "plain; encrypted values are read",
        };
        json!({"prefix": String::from_utf8_lossy(prefix), "policy": policy})
    });
    let sealed = status.audit.sealed.iter().map(|(id, count)| (id.to_string(), Value::from(*count)));
    json!({
        "file": status.path.display().to_string(),
        "keys": names(&status.keys),
        "next": status.next.map(|key| key.to_string()),
        "rules": rules.collect::<Vec<_>>(),
        "revision": status.audit.revision.0,
        "values": sealed.collect::<serde_json::Map<_, _>>(),
        "plain": status.audit.plain,
        "superfluous": status.audit.superfluous,
        "damaged": status.audit.damaged,
    })
}
