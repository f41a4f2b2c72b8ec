//! Reads: now, in the past, and in pages.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::connection::{Answer, Connection, RANGE, TXN};
use super::failure::{self, Failure, judge};
use super::probe::Window;
use super::proto::{RangeRequest, RangeResponse, Request, TxnRequest, TxnResponse};
use super::space::Space;
use crate::key::{Key, KeyRange};
use crate::revision::Versioned;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result};

/// Entries of a first page, when nothing is known yet about their size.
pub(super) const FIRST_PAGE: i64 = 1_000;
/// Most entries of a page.
const LARGEST_PAGE: i64 = 50_000;
/// About how large an answer of etcd should become, which it builds as a whole.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// How large one may become. etcd counts entries and not bytes, so what a page comes to shows only when it is asked for; a longer one is
/// not received, and asked for in parts.
const LONGEST_PAGE: usize = 32 * 1024 * 1024;
/// By how much a page is made smaller then.
const PART: i64 = 8;
/// How often a read of the newest state is begun anew because compaction overtook its pages.
const TRIES: usize = 5;

/// What reads need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) space: &'a Space,
    pub(super) window: &'a Window,
}

/// An answer, at a revision of etcd.
struct Answered {
    revision: i64,
    range: RangeResponse,
}

impl Reader<'_> {
    pub(super) async fn get(self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        let question = RangeRequest { key: self.space.keys.outer(key), ..RangeRequest::default() };
        let answered = self.at(question, at).await?;
        let value = answered.range.kvs.first().map(|kv| self.space.entry(kv)).transpose()?;
        Ok(Versioned { revision: self.space.origin.ours(answered.revision)?, value })
    }

    pub(super) async fn range(self, range: &KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        let mut tries = 0;
        loop {
            match self.pages(range, options).await {
                // What was newest is not even in the window any more: then there is something newer.
                Err(Error::Compacted(_)) if options.at == ReadAt::Latest && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    async fn pages(self, wanted: &KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        let (start, range_end) = self.space.keys.range(wanted);
        let limit = options.limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        if limit == 0 || start >= range_end {
            return self.count(start, range_end, options.at).await;
        }
        let first = RangeRequest {
            key: start,
            range_end: range_end.clone(),
            limit: limit.min(FIRST_PAGE),
            ..RangeRequest::default()
        };
        let Answered { revision, mut range } = self.at(first, options.at).await?;
        let mut page = Page::default();
        loop {
            let (next, entries) = self.entries(&range)?;
            page.entries.extend(entries);
            page.remaining = behind(&range);
            let wanted = limit.saturating_sub(i64::try_from(page.entries.len()).unwrap_or(i64::MAX));
            let Some(key) = next.filter(|_| page.remaining > 0 && wanted > 0) else { break };
            let limit = wanted.min(page_size(&range));
            let range_end = range_end.clone();
            range = self
                .past(RangeRequest { key, range_end, limit, revision, ..RangeRequest::default() })
                .await?;
        }
        Ok(Versioned { revision: self.space.origin.ours(revision)?, value: page })
    }

    /// How many there are, and none of them.
    async fn count(self, start: Bytes, range_end: Bytes, at: ReadAt) -> Result<Versioned<Page>> {
        let backwards = start >= range_end;
        // Of a range without any keys, etcd is asked for the revision only.
        let (key, range_end) =
            if backwards { (self.space.keys.meta(), Bytes::new()) } else { (start, range_end) };
        let question = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
        let answered = self.at(question, at).await?;
        let remaining = if backwards { 0 } else { behind(&answered.range) };
        let value = Page { entries: Vec::new(), remaining };
        Ok(Versioned { revision: self.space.origin.ours(answered.revision)?, value })
    }

    fn entries(self, range: &RangeResponse) -> Result<(Option<Bytes>, Vec<Entry>)> {
        let entries = range.kvs.iter().map(|kv| self.space.entry(kv)).collect::<Result<_>>()?;
        Ok((range.kvs.last().map(|last| [&last.key[..], b"\0"].concat().into()), entries))
    }

    /// Which keys are attached to which lease, at a revision of etcd.
    pub(super) async fn attached(self, revision: i64) -> Result<BTreeMap<i64, Vec<Key>>> {
        let (mut key, range_end) = self.space.keys.all();
        let mut attached: BTreeMap<i64, Vec<Key>> = BTreeMap::new();
        loop {
            let range_end = range_end.clone();
            let question = RangeRequest {
                key,
                range_end,
                limit: LARGEST_PAGE,
                revision,
                keys_only: true,
                ..RangeRequest::default()
            };
            let range = self.past(question).await?;
            for kv in range.kvs.iter().filter(|kv| kv.lease != 0) {
                attached.entry(kv.lease).or_default().extend(self.space.keys.inner(&kv.key));
            }
            let Some(last) = range.kvs.last().filter(|_| behind(&range) > 0) else { return Ok(attached) };
            key = [&last.key[..], b"\0"].concat().into();
        }
    }

    async fn at(self, mut question: RangeRequest, at: ReadAt) -> Result<Answered> {
        let ReadAt::Exactly(at) = at else {
            let range = self.page(question).await.map_err(failure::error)?;
            let revision = range.revision().unwrap_or_default();
            return Ok(Answered { revision, range });
        };
        if at <= self.space.origin.floor() {
            return Err(Error::Compacted(self.window.compacted(self.connection, self.space).await?));
        }
        let revision = self.space.origin.theirs(at);
        question.revision = revision;
        loop {
            let asked = self.in_the_window(&question, revision).await;
            match asked.as_ref().map_err(judge) {
                Err(Failure::Future) => {
                    let now = self.window.look(self.connection, self.space).await?.revision;
                    // It may have come meanwhile.
                    if now < at {
                        return Err(Error::FutureRevision(now));
                    }
                }
                Err(Failure::Compacted) => {
                    return Err(Error::Compacted(self.window.compacted(self.connection, self.space).await?));
                }
                _ => return Ok(Answered { revision, range: asked.map_err(failure::error)? }),
            }
        }
    }

    /// Reads at a revision if the one before it is still there: our window begins one later than etcd's.
    async fn in_the_window(
        self,
        question: &RangeRequest,
        revision: i64,
    ) -> Result<RangeResponse, tonic::Status> {
        let before = RangeRequest {
            key: self.space.keys.meta(),
            revision: revision.saturating_sub(1),
            count_only: true,
            ..RangeRequest::default()
        };
        let mut part = question.clone();
        let answer: TxnResponse = loop {
            let both = TxnRequest {
                success: [part.clone(), before.clone()].map(|range| Request::Range(range).into()).into(),
                ..TxnRequest::default()
            };
            match self.connection.ask_for_at_most(LONGEST_PAGE, TXN, both).await {
                Err(status) if is_shortened(&mut part, &status) => {}
                answer => break answer?,
            }
        };
        answer.into_ranges().next().ok_or_else(|| tonic::Status::internal("a read without an answer"))
    }

    /// As much of a range as one answer may hold.
    async fn page(self, mut part: RangeRequest) -> Result<RangeResponse, tonic::Status> {
        loop {
            match self.connection.ask_for_at_most(LONGEST_PAGE, RANGE, part.clone()).await {
                Err(status) if is_shortened(&mut part, &status) => {}
                answer => return answer,
            }
        }
    }

    /// A further page of what was in the window when it was begun.
    async fn past(self, question: RangeRequest) -> Result<RangeResponse> {
        match self.page(question).await {
            Ok(range) => Ok(range),
            Err(status) if judge(&status) == Failure::Compacted => {
                Err(Error::Compacted(self.window.compacted(self.connection, self.space).await?))
            }
            Err(status) => Err(failure::error(status)),
        }
    }
}

/// Asks for less, if the answer was too long and less can be asked for.
fn is_shortened(question: &mut RangeRequest, status: &tonic::Status) -> bool {
    let may_be = judge(status) == Failure::LongAnswer && question.limit > 1;
    if may_be {
        question.limit = (question.limit / PART).max(1);
    }
    may_be
}

/// How many keys lie behind those of an answer.
fn behind(range: &RangeResponse) -> u64 {
    u64::try_from(range.count).unwrap_or_default().saturating_sub(range.kvs.len() as u64)
}

/// So many entries that the next answer has about the size that is meant, if they are like the last ones.
fn page_size(last: &RangeResponse) -> i64 {
    let bytes: usize = last.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 64).sum();
    let each = bytes / last.kvs.len().max(1);
    i64::try_from(PAGE_BYTES / each.max(1)).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE)
}

/// Everything at one revision, in pieces.
pub(super) async fn next_piece(
    reader: Reader<'_>,
    start: Bytes,
    revision: i64,
    size: i64,
) -> Result<Option<Piece>> {
    let (_, range_end) = reader.space.keys.all();
    let question = RangeRequest { key: start, range_end, limit: size, revision, ..RangeRequest::default() };
    let range = reader.past(question).await?;
    let (next, entries) = reader.entries(&range)?;
    Ok(next.map(|next| Piece { entries, next, size: page_size(&range) }))
}

/// A part of a snapshot.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) entries: Vec<Entry>,
    /// Where the next one begins.
    pub(super) next: Bytes,
    /// How large it should be.
    pub(super) size: i64,
}
