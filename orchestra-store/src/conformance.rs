//! The tests that every [`Store`](crate::Store) has to pass, for whoever writes one.
//!
//! A case is named after the promise it checks; the letters are those of the list of promises in `docs/store-guarantees.md`.
//! A backend runs all of them with
//!
//! ```
//! use orchestra_store::MemoryStore;
//!
//! /// A fresh, empty store, and whatever must live as long as it is used.
//! async fn build() -> (MemoryStore, ()) {
//!     (MemoryStore::new(), ())
//! }
//!
//! orchestra_store::store_conformance!(build);
//! // Whether leases run out: in real time, or, where a store goes by tokio's clock, with the clock paused.
//! orchestra_store::store_expiry!(paused build);
//! ```
//!
//! and one that outlives its process, with a place to live and a way to open it there:
//!
//! ```
//! use orchestra_store::DurableStore;
//!
//! fn place() -> tempfile::TempDir {
//!     tempfile::tempdir().unwrap()
//! }
//!
//! async fn open(place: &tempfile::TempDir) -> DurableStore {
//!     DurableStore::open(place.path()).unwrap()
//! }
//!
//! orchestra_store::store_durability!(place, open);
//! orchestra_store::store_expiry_durability!(paused place, open);
//! ```
//!
//! and one that can be made of a [`Snapshot`](crate::Snapshot), with a way to do so:
//!
//! ```
//! use orchestra_store::{MemoryStore, Result, Snapshot};
//!
//! /// What must live as long as the stores made in it: nothing, here.
//! fn place() {}
//!
//! async fn restore((): &(), snapshot: Snapshot) -> Result<MemoryStore> {
//!     MemoryStore::restore(snapshot).await
//! }
//!
//! orchestra_store::store_restoring!(place, restore);
//! ```
//!
//! The cases are functions too, so that a single one can be called, and a deliberately broken store can be shown to fail it.
//! They panic on the first thing that is wrong, and none waits longer than [`PATIENCE`] for anything.

pub mod compaction;
pub mod durability;
pub mod expiry;
pub mod leases;
pub mod model;
pub mod reads;
pub mod revisions;
pub mod snapshots;
mod support;
pub mod watches;
pub mod writes;

pub use support::{Chance, PATIENCE};

/// The condition of a suite that runs everywhere.
#[doc(hidden)]
pub fn always() -> bool {
    true
}

/// Expands to one `#[tokio::test]` for each case. `$build` is an async function that returns `(store, guard)`.
///
/// A backend that needs something which is not on every machine adds `, if there`: a function that tells whether it is there, and
/// says so when it is not. The cases pass without it.
#[macro_export]
macro_rules! store_conformance {
    ($build:path) => {
        $crate::store_conformance! { $build, if $crate::conformance::always }
    };
    ($build:path, if $there:path) => {
        $crate::store_conformance! { @cases $build, $there;
            writes {
                a3_all_writes_of_a_transaction_share_one_revision
                a3_a_reader_never_sees_half_a_transaction
                a4_an_acknowledged_write_is_read_at_once
                a5_of_many_rivals_one_wins
                a5_revision_none_means_absent_also_after_delete_and_compaction
                a5_a_refusal_tells_what_each_compared_key_holds
                a6_a_dropped_commit_takes_effect_once_or_never
                a8_what_is_too_large_is_refused_before_any_effect
                a8_a_transaction_without_sense_is_refused
            }
            revisions {
                b1_each_writing_transaction_takes_the_next_revision
                b2_what_changes_nothing_takes_no_revision
                b4_a_life_has_one_create_revision_and_counts_its_writes
                b5_answers_carry_revisions_that_never_fall
                b6_an_empty_store_is_at_one_and_zero_is_never_readable
            }
            reads {
                c2_a_range_is_in_byte_order_and_at_one_revision
                c3_the_past_reads_the_same_each_time
                c4_pages_at_one_revision_have_no_gap_and_no_double
                c5_outside_the_window_is_an_error
                h1_a_range_ends_where_it_says
                h2_keys_are_bytes
                limit_and_remaining_agree_with_the_whole
            }
            watches {
                d1_events_come_in_order_of_revision_and_transaction
                d2_d3_no_event_is_lost_or_doubled_while_joining
                d4_one_revision_is_one_message
                d5_a_watch_resumes_behind_the_last_seen_revision
                d5_a_watch_into_the_compacted_past_ends_with_the_reason
                d6_a_watch_begins_exactly_where_asked
                d6_nothing_comes_before_a_future_start
                d7_progress_follows_the_replay_and_unrelated_writes
                d7_nothing_at_or_below_a_progress_mark_follows_it
                d8_a_mark_asked_for_after_a_write_is_not_before_it
                d9_events_arrive_without_further_writes
                d10_a_sleeping_watcher_disturbs_nobody_and_is_never_thinned
                d11_events_carry_what_was_there_before
                a_watch_ends_with_its_store
            }
            compaction {
                e1_the_latest_values_and_the_window_survive
                e2_compaction_never_goes_back_nor_ahead
                e_writes_and_watches_go_on_during_compaction
            }
            leases {
                f3_revoking_removes_all_keys_in_one_revision
                f3_writing_with_another_lease_or_none_detaches
                f3_ending_a_lease_without_keys_takes_no_revision
                f3_an_unknown_lease_is_refused_before_any_effect
                f3_a_refused_transaction_attaches_and_detaches_nothing
                f5_the_fencing_revision_stops_a_holder_whose_lease_ended
                a8_a_lease_for_no_time_or_for_ever_is_refused
                leases_tell_what_is_attached
            }
            snapshots {
                g1_a_snapshot_is_one_revision_while_writes_go_on
                g1_a_snapshot_that_compaction_overtakes_is_right_or_an_error
                g1_an_empty_store_has_an_empty_snapshot
            }
            model {
                g6_random_histories_agree_with_a_plain_map
            }
        }
    };
    (@cases $build:path, $there:path; $($area:ident { $($case:ident)* })*) => {
        $($(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if !$there() {
                    return;
                }
                let (store, _guard) = $build().await;
                $crate::conformance::$area::$case(::std::sync::Arc::new(store)).await;
            }
        )*)*
    };
}

/// Expands to one `#[tokio::test]` for each case about leases that run out. `$build` is an async function that returns `(store, guard)`;
/// `, if there` is as in [`store_conformance!`](crate::store_conformance).
///
/// The cases take a few seconds each, in which they sleep. A store that lives in this process and by tokio's clock need not
/// have them wait: with `paused` before it they run on the paused clock, and take as long as the store itself.
#[macro_export]
macro_rules! store_expiry {
    (paused $build:path) => {
        $crate::store_expiry! { @all $build, $crate::conformance::always; flavor = "current_thread", start_paused = true }
    };
    (@all $build:path, $there:path; $($how:tt)*) => {
        $crate::store_expiry! { @cases $build, $there; ($($how)*);
            f1_a_key_stays_for_the_whole_time_since_the_last_renewal
            f2_a_key_goes_when_its_lease_has_run_out
            f2_a_lease_without_keys_ends_too
            f3_a_detached_key_outlives_its_lease
            d12_an_expiry_is_one_revision_in_the_order_of_all_writes
        }
    };
    (@cases $build:path, $there:path; $how:tt; $($case:ident)*) => {
        $( $crate::store_expiry! { @case $build, $there; $how; $case } )*
    };
    (@case $build:path, $there:path; ($($how:tt)*); $case:ident) => {
        #[::tokio::test($($how)*)]
        async fn $case() {
            if !$there() {
                return;
            }
            let (store, _guard) = $build().await;
            $crate::conformance::expiry::$case(::std::sync::Arc::new(store)).await;
        }
    };
    ($build:path) => {
        $crate::store_expiry! { $build, if $crate::conformance::always }
    };
    ($build:path, if $there:path) => {
        $crate::store_expiry! { @all $build, $there; flavor = "multi_thread", worker_threads = 2 }
    };
}

/// Expands to one `#[tokio::test]` for each case about leases of a store that is closed and opened again, with `$place`, `$open` and `, if
/// there` as for [`store_durability!`](crate::store_durability), and `paused` as for [`store_expiry!`](crate::store_expiry).
#[macro_export]
macro_rules! store_expiry_durability {
    (paused $place:path, $open:path) => {
        $crate::store_expiry_durability! {
            @all $place, $open, $crate::conformance::always; flavor = "current_thread", start_paused = true
        }
    };
    (@all $place:path, $open:path, $there:path; $($how:tt)*) => {
        $crate::store_expiry_durability! { @cases $place, $open, $there; ($($how)*);
            f4_a_restart_shortens_no_lease_and_makes_none_immortal
            f4_leases_are_after_a_restart_what_they_were
        }
    };
    (@cases $place:path, $open:path, $there:path; $how:tt; $($case:ident)*) => {
        $( $crate::store_expiry_durability! { @case $place, $open, $there; $how; $case } )*
    };
    (@case $place:path, $open:path, $there:path; ($($how:tt)*); $case:ident) => {
        #[::tokio::test($($how)*)]
        async fn $case() {
            if !$there() {
                return;
            }
            let place = $place();
            $crate::conformance::expiry::$case(async || $open(&place).await).await;
        }
    };
    ($place:path, $open:path) => {
        $crate::store_expiry_durability! { $place, $open, if $crate::conformance::always }
    };
    ($place:path, $open:path, if $there:path) => {
        $crate::store_expiry_durability! { @all $place, $open, $there; flavor = "multi_thread", worker_threads = 2 }
    };
}

/// Expands to one `#[tokio::test]` for each case about closing a store and opening it again. `$place` makes a place, and
/// the async function `$open` opens the store in a reference to it. `, if there` is as in [`store_conformance!`](crate::store_conformance).
#[macro_export]
macro_rules! store_durability {
    ($place:path, $open:path) => {
        $crate::store_durability! { $place, $open, if $crate::conformance::always }
    };
    ($place:path, $open:path, if $there:path) => {
        $crate::store_durability! { @cases $place, $open, $there;
            a1_c3_everything_acknowledged_is_there_again_and_reads_the_same
            b3_revisions_go_on_where_they_were
            d5_a_watch_resumes_after_reopening
            e3_a_compaction_holds_after_reopening
            g6_random_histories_survive_reopening
        }
    };
    (@cases $place:path, $open:path, $there:path; $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if !$there() {
                    return;
                }
                let place = $place();
                $crate::conformance::durability::$case(async || $open(&place).await).await;
            }
        )*
    };
}

/// Expands to one `#[tokio::test]` for each case about making a store of a snapshot. `$place` makes a place, and the async
/// function `$restore` takes a reference to it and a [`Snapshot`](crate::Snapshot), and returns a result with a new store.
#[macro_export]
macro_rules! store_restoring {
    ($place:path, $restore:path) => {
        $crate::store_restoring! { @cases $place, $restore;
            g2_a_restored_store_holds_the_same_keys_and_numbers
            g2_a_snapshot_of_a_restored_store_is_the_same
            g2_a_snapshot_that_breaks_off_restores_nothing
            g2_a_restored_store_has_the_same_leases
            g3_no_lease_is_granted_twice
            g3_old_revisions_mean_nothing_in_a_restored_store
        }
    };
    (@cases $place:path, $restore:path; $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = $place();
                $crate::conformance::snapshots::$case(async |snapshot| $restore(&place, snapshot).await).await;
            }
        )*
    };
}
