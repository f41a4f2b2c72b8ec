//! What a failed call means: above all, whether it may have had an effect.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::store::Error;

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing happened, and another member may answer.
    NotDone,
    /// Nothing happened, and a new token may help.
    Login,
    /// Nothing happened: the revision is compacted.
    Compacted,
    /// Nothing happened: the revision is in the future.
    Future,
    /// Nothing happened: there is no such lease.
    NoLease,
    /// Nothing happened: there is such a lease already.
    LeaseExists,
    /// Nothing happened: it is more than etcd takes.
    TooLarge,
    /// Nothing happened: the answer would be more than is taken.
    LongAnswer,
    /// Nothing happened, nor will it elsewhere.
    Refused,
    /// It may have happened or not, or may happen yet.
    Unknown,
}

/// Judges by what etcd says; every member says it in the same words, and has since 3.4.
pub(super) fn judge(status: &Status) -> Failure {
    let says = |words: &str| status.message().contains(words);
    if never_connected(status) {
        return Failure::NotDone;
    }
    match status.code() {
        // A member says so before it hands anything on, because we demand a leader.
        Code::Unavailable if says("etcdserver: no leader") => Failure::NotDone,
        // Our side, and etcd's.
        Code::OutOfRange if says("decoded message length too large") => Failure::LongAnswer,
        Code::ResourceExhausted if says("trying to send message larger than max") => Failure::LongAnswer,
        Code::OutOfRange if says("revision has been compacted") => Failure::Compacted,
        Code::OutOfRange if says("future revision") => Failure::Future,
        Code::NotFound if says("lease not found") => Failure::NoLease,
        Code::FailedPrecondition if says("lease already exists") => Failure::LeaseExists,
        Code::Unauthenticated if says("invalid auth token") => Failure::Login,
        Code::InvalidArgument if says("revision of auth store is old") || says("user name is empty") => {
            Failure::Login
        }
        Code::InvalidArgument if says("request is too large") || says("too many operations") => {
            Failure::TooLarge
        }
        Code::ResourceExhausted if says("larger than max") => Failure::TooLarge,
        Code::ResourceExhausted if says("too many requests") => Failure::NotDone,
        Code::ResourceExhausted if says("etcdserver:") => Failure::Refused,
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::DataLoss
        | Code::OutOfRange => Failure::Refused,
        _ => Failure::Unknown,
    }
}

fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The error of a call that was given up.
pub(super) fn error(status: Status) -> Error {
    match judge(&status) {
        Failure::NotDone | Failure::Unknown => Error::Unavailable(format!("etcd: {}", reason(&status))),
        Failure::Refused if status.message().contains("space exceeded") => {
            Error::Unavailable("etcd: its database is full".to_owned())
        }
        _ => Error::Backend { backend: "etcd", source: Box::new(status) },
    }
}

/// The innermost cause, which names the address or the certificate that is wrong.
fn reason(status: &Status) -> String {
    let mut innermost = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        innermost = error.to_string();
        source = error.source();
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_had_no_effect_is_taken_for_not_done() {
        let cases = [
            (Status::unavailable("etcdserver: no leader"), Failure::NotDone),
            (Status::unavailable("etcdserver: leader changed"), Failure::Unknown),
            (Status::unavailable("etcdserver: request timed out"), Failure::Unknown),
            (
                Status::unavailable("etcdserver: request timed out, possibly due to previous leader failure"),
                Failure::Unknown,
            ),
            (Status::unavailable("etcdserver: server stopped"), Failure::Unknown),
            (Status::unavailable("transport is closing"), Failure::Unknown),
            (Status::cancelled("etcdserver: no leader"), Failure::Unknown),
            (Status::deadline_exceeded("context deadline exceeded"), Failure::Unknown),
            (Status::unknown("raft proposal dropped"), Failure::Unknown),
            (Status::internal("stream terminated by RST_STREAM"), Failure::Unknown),
            (Status::resource_exhausted("etcdserver: too many requests"), Failure::NotDone),
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Failure::Refused),
            (
                Status::resource_exhausted("grpc: received message larger than max (9 vs. 2)"),
                Failure::TooLarge,
            ),
            (
                Status::resource_exhausted("trying to send message larger than max (9 vs. 2)"),
                Failure::LongAnswer,
            ),
            (
                Status::out_of_range(
                    "Error, decoded message length too large: found 9 bytes, the limit is: 2 bytes",
                ),
                Failure::LongAnswer,
            ),
            (Status::not_found("etcdserver: requested lease not found"), Failure::NoLease),
            (Status::failed_precondition("etcdserver: lease already exists"), Failure::LeaseExists),
            (Status::invalid_argument("etcdserver: request is too large"), Failure::TooLarge),
            (
                Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
                Failure::Compacted,
            ),
            (
                Status::out_of_range("etcdserver: mvcc: required revision is a future revision"),
                Failure::Future,
            ),
            (Status::unauthenticated("etcdserver: invalid auth token"), Failure::Login),
            (Status::permission_denied("etcdserver: permission denied"), Failure::Refused),
        ];
        for (status, expected) in cases {
            assert_eq!(judge(&status), expected, "{status}");
        }
    }
}
