//! Leases of the store as leases of etcd.
//!
//! etcd's leases belong to all its users. So that a store knows its own, it chooses their names: a mark of its root, the time, and a
//! number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tonic::Status;

use super::connection::{Connection, GRANT, KEEP_ALIVE, LEASES, TIME_TO_LIVE};
use super::failure::{self, Failure, judge};
use super::proto::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use super::space::Keys;
use crate::key::Key;
use crate::lease::{Lease, LeaseId, LeaseStatus, LeasedKeys};
use crate::limits;
use crate::store::{Error, Result};

/// How many bits of a name lie below the mark.
const MARK: u32 = 52;
/// How many bits of a name lie below the time.
const TIME: u32 = 10;
/// How often a name is chosen that is taken already.
const TRIES: usize = 16;

/// Gives leases their names.
#[derive(Debug)]
pub(super) struct Names {
    mark: u64,
    next: AtomicU64,
}

impl Names {
    pub(super) fn of(keys: &Keys) -> Self {
        // Of 63 bits, so that no name is negative.
        let mark = u64::from(crc32fast::hash(&keys.meta())) % (1 << (63 - MARK));
        // Clients of one store begin at different numbers, so that they seldom choose alike.
        Self { mark, next: AtomicU64::new(std::process::id().into()) }
    }

    /// Never 0, and below the highest that etcd takes.
    fn next(&self, now: SystemTime) -> i64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % (1 << TIME);
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let time = u64::try_from(millis).unwrap_or_default() % (1 << (MARK - TIME));
        let name = (self.mark << MARK) | (time << TIME) | number;
        i64::try_from(name.max(1)).unwrap_or(1)
    }

    pub(super) fn is_ours(&self, id: i64) -> bool {
        u64::try_from(id).is_ok_and(|id| id >> MARK == self.mark)
    }

    /// The name of a lease that a key is to be attached to. For one of another store it is a name that nothing has, so that
    /// etcd says that there is no such lease, where it comes to that.
    pub(super) fn theirs(&self, id: LeaseId) -> i64 {
        let name = theirs(id);
        if self.is_ours(name) { name } else { i64::MAX }
    }

    /// Refuses a lease of another store in the same etcd: for this one there is no such lease.
    pub(super) fn check(&self, id: LeaseId) -> Result<()> {
        if self.is_ours(theirs(id)) { Ok(()) } else { Err(Error::UnknownLease(id)) }
    }
}

pub(super) fn theirs(id: LeaseId) -> i64 {
    // No backend gives out a higher one, so this one there is not.
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

fn ours(id: i64) -> Option<LeaseId> {
    u64::try_from(id).ok().and_then(LeaseId::new)
}

fn whole_seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Leases of one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leases<'a> {
    pub(super) connection: &'a Connection,
    pub(super) keys: &'a Keys,
    pub(super) names: &'a Names,
}

impl Leases<'_> {
    pub(super) async fn grant(self, ttl: Duration) -> Result<Lease> {
        let ttl = limits::lease_ttl(ttl)?;
        for _ in 0..TRIES {
            let id = self.names.next(SystemTime::now());
            match self.grant_named(id, ttl).await {
                Ok(lease) => return Ok(lease),
                // Perhaps by an earlier sending of this very call; that one ends by itself.
                Err(status) if judge(&status) == Failure::LeaseExists => {}
                Err(status) => return Err(failure::error(status)),
            }
        }
        Err(Error::Unavailable("etcd: no name for a lease is free".to_owned()))
    }

    async fn grant_named(self, id: i64, ttl: Duration) -> Result<Lease, Status> {
        let order = LeaseGrantRequest { id, ttl: whole_seconds(ttl) };
        let granted: LeaseGrantResponse = self.connection.ask(GRANT, order).await?;
        let id = ours(id).ok_or_else(|| Status::internal("a lease without a name"))?;
        Ok(Lease { id, ttl: time(granted.ttl) })
    }

    pub(super) async fn renew(self, id: LeaseId) -> Result<Duration> {
        self.names.check(id)?;
        let order = LeaseRequest { id: theirs(id) };
        let kept: LeaseKeepAliveResponse = match self.connection.ask(KEEP_ALIVE, order).await {
            Err(status) if judge(&status) == Failure::NoLease => return Err(Error::UnknownLease(id)),
            answer => answer.map_err(failure::error)?,
        };
        if kept.ttl > 0 { Ok(time(kept.ttl)) } else { Err(Error::UnknownLease(id)) }
    }

    /// Our living leases, in the order of their names.
    pub(super) async fn all(self) -> Result<Vec<LeaseStatus>> {
        let mut all = Vec::new();
        for id in self.names().await? {
            all.extend(self.status(id).await?);
        }
        all.sort_by_key(|status| status.lease.id);
        Ok(all)
    }

    /// How many of them there are, by their names.
    pub(super) async fn count(self) -> Result<u64> {
        let names = self.names().await?;
        Ok(names.into_iter().filter(|&id| self.names.is_ours(id)).count() as u64)
    }

    /// Whether etcd has no lease at all.
    pub(super) async fn is_none(self) -> Result<bool> {
        Ok(self.names().await?.is_empty())
    }

    /// The leases that these keys are attached to, in the order of their names; `None` when one has ended since.
    pub(super) async fn at(self, attached: BTreeMap<i64, Vec<Key>>) -> Result<Option<Vec<LeasedKeys>>> {
        let mut all = Vec::new();
        for (id, keys) in attached {
            let Some(status) = self.status(id).await? else { return Ok(None) };
            all.push(LeasedKeys { lease: status.lease, keys });
        }
        Ok(Some(all))
    }

    /// The names of all leases of etcd.
    async fn names(self) -> Result<Vec<i64>> {
        let found: LeaseLeasesResponse =
            self.connection.ask(LEASES, LeaseLeasesRequest {}).await.map_err(failure::error)?;
        Ok(found.leases.into_iter().map(|lease| lease.id).collect())
    }

    /// `None` when it has ended, or belongs to others.
    pub(super) async fn status(self, id: i64) -> Result<Option<LeaseStatus>> {
        let question = LeaseTimeToLiveRequest { id, keys: true };
        let found: LeaseTimeToLiveResponse = match self.connection.ask(TIME_TO_LIVE, question).await {
            Err(status) if judge(&status) == Failure::NoLease => return Ok(None),
            answer => answer.map_err(failure::error)?,
        };
        let mut keys: Vec<_> = found.keys.iter().filter_map(|key| self.keys.inner(key)).collect();
        keys.sort();
        let is_ours = self.names.is_ours(id) || !keys.is_empty();
        let living = ours(id).filter(|_| is_ours && found.ttl >= 0 && found.granted_ttl > 0);
        Ok(living
            .map(|id| LeaseStatus::new(Lease { id, ttl: time(found.granted_ttl) }, time(found.ttl), keys)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_knows_its_own_leases_and_names_none_twice() {
        let (one, two) = (Names::of(&Keys::below("/orchestra")), Names::of(&Keys::below("/elsewhere")));
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut names: Vec<i64> = (0..1000).map(|_| one.next(now)).collect();
        names.extend((1..1000).map(|millis| one.next(now + Duration::from_millis(millis))));
        assert!(names.iter().all(|&name| name > 0 && one.is_ours(name) && !two.is_ours(name)));
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert!(!one.is_ours(-1));
    }

    #[test]
    fn time_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2000)), 2);
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
    }
}
