//! The suite bites: a store that breaks a promise fails the case that is named after it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use orchestra_store::conformance::{
    compaction, expiry, leases, model, reads, revisions, snapshots, watches, writes,
};
use orchestra_store::{
    Committed, Entry, Error, Event, Key, KeyRange, Lease, LeaseId, LeaseStatus, MemoryStore, Op, Page,
    RangeOptions, ReadAt, Result, Revision, Snapshot, Store, StoreStatus, Txn, Versioned, WatchMessage,
    WatchStream,
};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    IgnoresCompares,
    SplitsTransactions,
    SplitsMessages,
    LosesEvents,
    DoublesEvents,
    BeginsOneLate,
    BeginsOneEarly,
    IgnoresTheStart,
    NeverTellsProgress,
    TellsProgressTooSoon,
    TellsOldProgress,
    ForgetsPrevious,
    ReadsTheLatestAlways,
    CountsTheWholeRange,
    ReachesBeyondTheRange,
    WritesTwice,
    CompactsTooFar,
    IgnoresCompaction,
    TouchesOnNothing,
    SnapshotsSlide,
    SnapshotsLoseKeys,
    EndsLeasesEarly,
    NeverEndsLeases,
    IgnoresRenewals,
    KeepsOldLeases,
    TakesAnyLease,
    RevokesPiecemeal,
    RevokesLoudly,
    RevokesNothing,
    ExpiresUnseen,
    GrantsForNoTime,
    ForgetsKeysOfLeases,
}

/// A good store behind a fault.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    fault: Fault,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// The leases of keys.
    async fn attached(&self) -> Result<HashMap<Key, LeaseId>> {
        let leases = self.inner.leases().await?.value;
        let pairs = leases
            .into_iter()
            .flat_map(|status| status.keys.into_iter().map(move |key| (key, status.lease.id)));
        Ok(pairs.collect())
    }
}

#[async_trait]
impl Store for Faulty {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.inner.get(key, if self.has(Fault::ReadsTheLatestAlways) { ReadAt::Latest } else { at }).await
    }

    async fn range(&self, mut range: KeyRange, mut options: RangeOptions) -> Result<Versioned<Page>> {
        let whole = self.inner.range(range.clone(), RangeOptions::new()).await?.value.entries.len() as u64;
        if self.has(Fault::ReadsTheLatestAlways) {
            options.at = ReadAt::Latest;
        }
        if self.has(Fault::ReachesBeyondTheRange) {
            range.end = None;
        }
        let mut answer = self.inner.range(range, options).await?;
        if self.has(Fault::CountsTheWholeRange) {
            answer.value.remaining = whole;
        }
        Ok(answer)
    }

    async fn commit(&self, mut txn: Txn) -> Result<Committed> {
        match self.fault {
            Fault::IgnoresCompares => txn.compares.clear(),
            Fault::TouchesOnNothing if txn.ops.is_empty() => txn = txn.put("touched".into(), "x"),
            Fault::KeepsOldLeases => {
                let old = self.attached().await?;
                for op in &mut txn.ops {
                    if let Op::Put { key, lease: lease @ None, .. } = op {
                        *lease = old.get(key).copied();
                    }
                }
            }
            Fault::TakesAnyLease => {
                let known: Vec<LeaseId> =
                    self.inner.leases().await?.value.iter().map(|status| status.lease.id).collect();
                for op in &mut txn.ops {
                    if let Op::Put { lease, .. } = op {
                        *lease = lease.filter(|id| known.contains(id));
                    }
                }
            }
            Fault::WritesTwice => {
                self.inner.commit(txn.clone()).await?;
            }
            Fault::SplitsTransactions if txn.ops.len() > 1 => {
                let last = txn.ops.split_off(1);
                self.inner.commit(txn).await?;
                tokio::task::yield_now().await;
                return self.inner.commit(Txn { compares: Vec::new(), ops: last }).await;
            }
            _ => {}
        }
        self.inner.commit(txn).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        let from = match self.fault {
            Fault::BeginsOneLate => from.next(),
            Fault::BeginsOneEarly => Revision(from.0.saturating_sub(1)),
            Fault::IgnoresTheStart => self.inner.status().await?.compacted.next(),
            _ => from,
        };
        let stream = self.inner.watch(range, from).await?;
        let (fault, seen) = (self.fault, Arc::new(AtomicUsize::new(0)));
        let broken = stream.flat_map(move |item| {
            let nth = seen.fetch_add(1, Ordering::Relaxed);
            futures::stream::iter(match item {
                Ok(message) => spoil(fault, nth, message).into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
        });
        Ok(broken.boxed())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        match self.fault {
            Fault::IgnoresCompaction => Ok(()),
            Fault::CompactsTooFar => self.inner.compact(to.next()).await.or(self.inner.compact(to).await),
            _ => self.inner.compact(to).await,
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        let lease = match self.fault {
            Fault::EndsLeasesEarly => self.inner.grant(ttl * 9 / 10).await?,
            Fault::NeverEndsLeases => self.inner.grant(ttl * 100).await?,
            Fault::GrantsForNoTime if ttl.is_zero() => self.inner.grant(Duration::from_secs(1)).await?,
            _ => self.inner.grant(ttl).await?,
        };
        Ok(Lease { ttl, ..lease })
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        if !self.has(Fault::IgnoresRenewals) {
            return self.inner.renew(lease).await;
        }
        let leases = self.inner.leases().await?.value;
        let found = leases.into_iter().find(|status| status.lease.id == lease);
        found.map(|status| status.lease.ttl).ok_or(Error::UnknownLease(lease))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        let keys = self.attached().await?.into_iter().filter(|(_, id)| *id == lease).map(|(key, _)| key);
        match self.fault {
            Fault::RevokesPiecemeal => {
                for key in keys {
                    self.inner.commit(Txn::new().delete(key)).await?;
                }
            }
            Fault::RevokesNothing => {
                for key in keys {
                    if let Some(Entry { key, value, .. }) = self.inner.get(&key, ReadAt::Latest).await?.value
                    {
                        self.inner.commit(Txn::new().put(key, value)).await?;
                    }
                }
            }
            Fault::RevokesLoudly => drop(self.inner.commit(Txn::new().put("loud".into(), "x")).await?),
            _ => {}
        }
        self.inner.revoke(lease).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        let mut leases = self.inner.leases().await?;
        if self.has(Fault::ForgetsKeysOfLeases) {
            leases.value.iter_mut().for_each(|status| status.keys.clear());
        }
        Ok(leases)
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let snapshot = self.inner.snapshot().await?;
        let (revision, keys, taken) = (snapshot.revision(), snapshot.keys(), snapshot.taken());
        Ok(match self.fault {
            Fault::SnapshotsSlide => {
                let inner = self.inner.clone();
                let pages =
                    futures::stream::try_unfold(Key::new(""), move |start| slide(inner.clone(), start));
                Snapshot::new(revision, keys, taken, pages)
            }
            Fault::SnapshotsLoseKeys => {
                let none = futures::stream::empty::<Result<Vec<Entry>>>();
                Snapshot::new(revision, 0, taken, none)
            }
            _ => snapshot,
        })
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }
}

/// A page of the newest state, wherever that is by now.
async fn slide(inner: MemoryStore, start: Key) -> Result<Option<(Vec<Entry>, Key)>> {
    let page = inner.range(KeyRange { start, end: None }, RangeOptions::new().limit(100)).await?;
    let next = page.value.entries.last().map(|last| Key::new([last.key.as_bytes(), b"\0"].concat()));
    Ok(next.map(|next| (page.value.entries, next)))
}

/// Writes everything anew, as a tool that knows only puts would.
async fn replay((): &(), snapshot: Snapshot) -> Result<MemoryStore> {
    let store = MemoryStore::new();
    pour(snapshot, &store).await?;
    Ok(store)
}

/// Takes what comes before an error for all.
async fn keep_a_part((): &(), snapshot: Snapshot) -> Result<MemoryStore> {
    let store = MemoryStore::new();
    let _error = pour(snapshot, &store).await;
    Ok(store)
}

async fn pour(mut snapshot: Snapshot, store: &MemoryStore) -> Result<()> {
    while let Some(entries) = snapshot.next().await {
        for Entry { key, value, .. } in entries? {
            store.commit(Txn::new().put(key, value)).await?;
        }
    }
    Ok(())
}

/// Restores all but the leases.
async fn drop_leases((): &(), mut snapshot: Snapshot) -> Result<MemoryStore> {
    let (revision, keys, taken) = (snapshot.revision(), snapshot.keys(), snapshot.taken());
    let mut all = Vec::new();
    while let Some(entries) = snapshot.next().await {
        all.push(entries);
    }
    MemoryStore::restore(Snapshot::new(revision, keys, taken, futures::stream::iter(all))).await
}

macro_rules! restoring_bites {
    ($($name:ident: $restore:ident in $case:ident;)*) => {
        $(
            #[tokio::test]
            #[should_panic]
            async fn $name() {
                snapshots::$case(async |snapshot| $restore(&(), snapshot).await).await;
            }
        )*
    };
}

restoring_bites! {
    lost_numbers_are_found: replay in g2_a_restored_store_holds_the_same_keys_and_numbers;
    a_reused_revision_is_found: replay in g3_old_revisions_mean_nothing_in_a_restored_store;
    forgotten_leases_are_found: drop_leases in g2_a_restored_store_has_the_same_leases;
    a_lease_granted_twice_is_found: replay in g3_no_lease_is_granted_twice;
    a_restored_part_is_found: keep_a_part in g2_a_snapshot_that_breaks_off_restores_nothing;
}

/// A store that only seems to be closed, and on opening has a fault.
async fn fails_after_reopening<F: Future<Output = ()>>(fault: Fault, case: impl FnOnce(Reopened) -> F) {
    let case = case(Reopened { inner: MemoryStore::new(), fault });
    let outcome = std::panic::AssertUnwindSafe(expiry::impatiently(case)).catch_unwind().await;
    assert!(outcome.is_err(), "a store that {fault:?} passed");
}

struct Reopened {
    inner: MemoryStore,
    fault: Fault,
}

impl Reopened {
    async fn open(&self) -> Faulty {
        Faulty { inner: self.inner.clone(), fault: self.fault }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_restart_shortens_is_found() {
    fails_after_reopening(Fault::EndsLeasesEarly, async |store| {
        expiry::f4_a_restart_shortens_no_lease_and_makes_none_immortal(async || store.open().await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_restart_makes_immortal_is_found() {
    fails_after_reopening(Fault::NeverEndsLeases, async |store| {
        expiry::f4_a_restart_shortens_no_lease_and_makes_none_immortal(async || store.open().await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_that_a_restart_leaves_attached_are_found() {
    fails_after_reopening(Fault::KeepsOldLeases, async |store| {
        expiry::f4_leases_are_after_a_restart_what_they_were(async || store.open().await).await;
    })
    .await;
}

fn spoil(fault: Fault, nth: usize, message: WatchMessage) -> Vec<WatchMessage> {
    match (fault, message) {
        (Fault::NeverTellsProgress, WatchMessage::Progress(_)) => Vec::new(),
        (Fault::TellsProgressTooSoon, WatchMessage::Events { revision, events }) => {
            vec![WatchMessage::Progress(revision), WatchMessage::Events { revision, events }]
        }
        (Fault::TellsOldProgress, WatchMessage::Progress(revision)) => {
            vec![WatchMessage::Progress(Revision(revision.0 - 1))]
        }
        (Fault::LosesEvents, WatchMessage::Events { .. }) if nth % 7 == 6 => Vec::new(),
        (Fault::DoublesEvents, message @ WatchMessage::Events { .. }) => vec![message.clone(), message],
        (Fault::SplitsMessages, WatchMessage::Events { revision, events }) => events
            .iter()
            .map(|event| WatchMessage::Events { revision, events: [event.clone()].into() })
            .collect(),
        (Fault::ForgetsPrevious, WatchMessage::Events { revision, events }) => {
            let forget = |event| match event {
                Event::Put { entry, .. } => Event::Put { entry, previous: None },
                other => other,
            };
            vec![WatchMessage::Events { revision, events: events.iter().cloned().map(forget).collect() }]
        }
        (Fault::ExpiresUnseen, WatchMessage::Events { revision, events })
            if events.iter().all(|event| matches!(event, Event::Delete { .. })) =>
        {
            vec![WatchMessage::Progress(revision)]
        }
        (_, message) => vec![message],
    }
}

async fn fails<F: Future<Output = ()> + Send + 'static>(
    fault: Fault,
    case: impl FnOnce(Arc<dyn Store>) -> F,
) {
    let run = |store: Arc<dyn Store>, case: F| async move {
        let outcome = tokio::spawn(expiry::impatiently(case)).await;
        drop(store);
        outcome
    };
    let store: Arc<dyn Store> = Arc::new(Faulty { inner: MemoryStore::new(), fault });
    let outcome = run(Arc::clone(&store), case(store)).await;
    assert!(outcome.is_err_and(|error| error.is_panic()), "a store that {fault:?} passed");
}

macro_rules! bites {
    ($($name:ident: $fault:ident in $area:ident::$case:ident;)*) => {
        $(
            // A case that waits in vain for what a fault withholds gives up on the paused clock at once.
            #[tokio::test(start_paused = true)]
            async fn $name() {
                fails(Fault::$fault, $area::$case).await;
            }
        )*
    };
}

bites! {
    ignored_compares_are_found: IgnoresCompares in writes::a5_of_many_rivals_one_wins;
    a_wrong_refusal_is_found: IgnoresCompares in writes::a5_a_refusal_tells_what_each_compared_key_holds;
    split_transactions_are_found: SplitsTransactions in writes::a3_all_writes_of_a_transaction_share_one_revision;
    half_a_transaction_is_found: SplitsTransactions in writes::a3_a_reader_never_sees_half_a_transaction;
    a_second_sending_is_found: WritesTwice in revisions::b1_each_writing_transaction_takes_the_next_revision;
    an_idle_revision_is_found: TouchesOnNothing in revisions::b2_what_changes_nothing_takes_no_revision;
    a_second_version_is_found: WritesTwice in revisions::b4_a_life_has_one_create_revision_and_counts_its_writes;
    an_unrepeatable_read_is_found: ReadsTheLatestAlways in reads::c3_the_past_reads_the_same_each_time;
    a_sliding_page_is_found: ReadsTheLatestAlways in reads::c4_pages_at_one_revision_have_no_gap_and_no_double;
    a_guess_below_the_window_is_found: IgnoresCompaction in reads::c5_outside_the_window_is_an_error;
    a_range_too_wide_is_found: ReachesBeyondTheRange in reads::h1_a_range_ends_where_it_says;
    a_wrong_count_is_found: CountsTheWholeRange in reads::limit_and_remaining_agree_with_the_whole;
    a_lost_event_is_found: LosesEvents in watches::d2_d3_no_event_is_lost_or_doubled_while_joining;
    a_doubled_event_is_found: DoublesEvents in watches::d2_d3_no_event_is_lost_or_doubled_while_joining;
    a_split_message_is_found: SplitsMessages in watches::d4_one_revision_is_one_message;
    a_gap_in_resuming_is_found: BeginsOneLate in watches::d5_a_watch_resumes_behind_the_last_seen_revision;
    a_double_in_resuming_is_found: BeginsOneEarly in watches::d5_a_watch_resumes_behind_the_last_seen_revision;
    a_late_start_is_found: BeginsOneLate in watches::d6_a_watch_begins_exactly_where_asked;
    a_start_before_the_future_is_found: IgnoresTheStart in watches::d6_nothing_comes_before_a_future_start;
    missing_progress_is_found: NeverTellsProgress in watches::d7_progress_follows_the_replay_and_unrelated_writes;
    hasty_progress_is_found: TellsProgressTooSoon in watches::d7_nothing_at_or_below_a_progress_mark_follows_it;
    a_mark_that_never_comes_is_found: NeverTellsProgress in watches::d8_a_mark_asked_for_after_a_write_is_not_before_it;
    a_mark_from_before_is_found: TellsOldProgress in watches::d8_a_mark_asked_for_after_a_write_is_not_before_it;
    a_forgotten_past_is_found: ForgetsPrevious in watches::d11_events_carry_what_was_there_before;
    a_greedy_compaction_is_found: CompactsTooFar in compaction::e1_the_latest_values_and_the_window_survive;
    a_sliding_snapshot_is_found: SnapshotsSlide in snapshots::g1_a_snapshot_is_one_revision_while_writes_go_on;
    a_snapshot_that_slides_over_a_compaction_is_found:
        SnapshotsSlide in snapshots::g1_a_snapshot_that_compaction_overtakes_is_right_or_an_error;
    a_key_lost_from_a_snapshot_is_found: SnapshotsLoseKeys in snapshots::g1_a_snapshot_is_one_revision_while_writes_go_on;
    a_lease_cut_short_is_found: EndsLeasesEarly in expiry::f1_a_key_stays_for_the_whole_time_since_the_last_renewal;
    a_renewal_without_effect_is_found: IgnoresRenewals in expiry::f1_a_key_stays_for_the_whole_time_since_the_last_renewal;
    an_immortal_key_is_found: NeverEndsLeases in expiry::f2_a_key_goes_when_its_lease_has_run_out;
    an_immortal_lease_is_found: NeverEndsLeases in expiry::f2_a_lease_without_keys_ends_too;
    an_old_lease_that_holds_on_is_found: KeepsOldLeases in expiry::f3_a_detached_key_outlives_its_lease;
    an_old_attachment_is_found: KeepsOldLeases in leases::f3_writing_with_another_lease_or_none_detaches;
    an_unseen_expiry_is_found: ExpiresUnseen in expiry::d12_an_expiry_is_one_revision_in_the_order_of_all_writes;
    an_accepted_unknown_lease_is_found: TakesAnyLease in leases::f3_an_unknown_lease_is_refused_before_any_effect;
    a_piecemeal_revocation_is_found: RevokesPiecemeal in leases::f3_revoking_removes_all_keys_in_one_revision;
    a_revocation_that_removes_nothing_is_found: RevokesNothing in leases::f3_revoking_removes_all_keys_in_one_revision;
    a_holder_that_is_not_stopped_is_found: IgnoresCompares in leases::f5_the_fencing_revision_stops_a_holder_whose_lease_ended;
    a_revision_for_nothing_is_found: RevokesLoudly in leases::f3_ending_a_lease_without_keys_takes_no_revision;
    an_attachment_by_a_refused_transaction_is_found:
        IgnoresCompares in leases::f3_a_refused_transaction_attaches_and_detaches_nothing;
    a_lease_for_no_time_is_found: GrantsForNoTime in leases::a8_a_lease_for_no_time_or_for_ever_is_refused;
    untold_keys_are_found: ForgetsKeysOfLeases in leases::leases_tell_what_is_attached;
    a_lease_unlike_the_model_is_found: RevokesPiecemeal in model::g6_random_histories_agree_with_a_plain_map;
    a_difference_from_a_map_is_found: CompactsTooFar in model::g6_random_histories_agree_with_a_plain_map;
}
