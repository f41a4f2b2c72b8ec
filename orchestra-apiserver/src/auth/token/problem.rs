//! Why a token is not believed, in upstream's words; told to the log, and to whoever may send a TokenReview.

use std::fmt;

use crate::status::StatusError;

/// Why a token is not believed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Nobody knows the token.
    Unknown,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is for others.
    Audience { token: Vec<String>, wanted: Vec<String> },
    /// The account is not there.
    NoAccount(StatusError),
    /// There is another account, pod, Secret or node of the same name.
    Uid { what: &'static str, is: String, claim: &'static str },
    /// The account was deleted.
    AccountGone,
    /// What the token is bound to is gone.
    Invalidated,
    /// It cannot be found out.
    Failed(StatusError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Expired => f.write_str("service account token has expired"),
            Self::NotYet => f.write_str("service account token is not valid yet"),
            Self::Audience { token, wanted } => {
                write!(f, "token audiences {token:?} is invalid for the target audiences {wanted:?}")
            }
            Self::NoAccount(why) | Self::Failed(why) => write!(f, "{why}"),
            Self::Uid { what, is, claim } => write!(f, "{what} UID ({is}) does not match {claim}"),
            Self::AccountGone => f.write_str("service account has been deleted"),
            Self::Invalidated => f.write_str("service account token has been invalidated"),
        }
    }
}

impl Problem {
    /// As a TokenReview tells it.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Unknown => "invalid bearer token".to_owned(),
            other => format!("[invalid bearer token, {other}]"),
        }
    }
}
