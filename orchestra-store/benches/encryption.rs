//! What encryption at rest costs a Secret of 1 KiB: writes from 32 writers, a read, a list, and an event.
//!
//! `cargo bench -p orchestra-store --bench encryption`. Plain and sealed take turns in one run, because machines are noisy; the best and the
//! median of the rounds are shown. Claim guarded: sealing and opening cost
//! single microseconds, so a write to disk does not notice it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking, and times things"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use orchestra_store::encryption::{Encrypted, EncryptionRules, Keyring, Policy, SealingKey};
use orchestra_store::{
    DurableStore, KeyRange, MemoryStore, RangeOptions, ReadAt, Revision, Store, Txn, WatchMessage,
};

const ROUNDS: usize = 7;
const WRITERS: usize = 32;
const KEYS: usize = 8_000;
const VALUE: usize = 1024;

/// Times for one key each, of one round.
struct Round {
    write: Duration,
    get: Duration,
    list: Duration,
    watch: Duration,
}

async fn round(store: Arc<dyn Store>) -> Round {
    let from = store.status().await.unwrap().revision.next();
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in (writer..KEYS).step_by(WRITERS) {
                store
                    .commit(Txn::new().put(format!("/secrets/{n:06}").into(), vec![b's'; VALUE]))
                    .await
                    .unwrap();
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    let write = begun.elapsed();
    let begun = Instant::now();
    for n in 0..KEYS {
        store.get(&format!("/secrets/{n:06}").into(), ReadAt::Latest).await.unwrap().value.unwrap();
    }
    let get = begun.elapsed();
    let begun = Instant::now();
    let page = store.range(KeyRange::prefix("/secrets/"), RangeOptions::new()).await.unwrap();
    assert_eq!(page.value.entries.len(), KEYS);
    let list = begun.elapsed();
    let begun = Instant::now();
    drained(&*store, from).await;
    let watch = begun.elapsed();
    let each = |took: Duration| took / KEYS as u32;
    Round { write: each(write), get: each(get), list: each(list), watch: each(watch) }
}

async fn drained(store: &dyn Store, from: Revision) {
    let mut watch = store.watch(KeyRange::prefix("/secrets/"), from).await.unwrap();
    let mut seen = 0;
    while seen < KEYS {
        if let WatchMessage::Events { events, .. } = watch.next().await.unwrap().unwrap() {
            seen += events.len();
        }
    }
}

fn show(what: &str, of: impl Fn(&Round) -> Duration, plain: &[Round], sealed: &[Round]) {
    let micros = |rounds: &[Round]| {
        let mut times: Vec<f64> = rounds.iter().map(|round| of(round).as_secs_f64() * 1e6).collect();
        times.sort_by(f64::total_cmp);
        (times[0], times[times.len() / 2])
    };
    let ((plain_best, plain_median), (best, median)) = (micros(plain), micros(sealed));
    println!("{what:<26} {plain_best:>7.2} / {plain_median:<7.2}   {best:>7.2} / {median:<7.2}");
}

fn sealed(store: Arc<dyn Store>) -> Arc<dyn Store> {
    let rules = EncryptionRules::new().with("/secrets/", Policy::Sealed);
    Arc::new(Encrypted::new(store, rules, Keyring::new(SealingKey::generate().unwrap())))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("microseconds for one value of {VALUE} bytes, best / median of {ROUNDS} rounds");
    println!("{:<26} {:>17}   {:>17}", "", "plain", "encrypted");
    let dirs: Vec<_> = (0..2 * ROUNDS).map(|_| tempfile::tempdir().unwrap()).collect();
    for (backend, on_disk) in [("memory", false), ("durable", true)] {
        let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            let open = |nth: usize| -> Arc<dyn Store> {
                match on_disk {
                    true => Arc::new(DurableStore::open(dirs[2 * number + nth].path()).unwrap()),
                    false => Arc::new(MemoryStore::new()),
                }
            };
            plain.push(runtime.block_on(async { round(open(0)).await }));
            encrypted.push(runtime.block_on(async { round(sealed(open(1))).await }));
        }
        show(&format!("{backend}: write, 32 writers"), |round| round.write, &plain, &encrypted);
        show(&format!("{backend}: get"), |round| round.get, &plain, &encrypted);
        show(&format!("{backend}: list"), |round| round.list, &plain, &encrypted);
        show(&format!("{backend}: watch event"), |round| round.watch, &plain, &encrypted);
    }
}
