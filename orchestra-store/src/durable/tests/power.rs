//! Power loss at every step: whatever a disk may have kept, everything acknowledged is there again, and nothing by half.

mod medium;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use medium::{Image, Luck, Medium};

use super::*;
use crate::conformance::Chance;
use crate::durable::disk::tape::{Done, Recording};
use crate::memory::MemoryStore;
use crate::snapshot;
use crate::watch::Event;

/// Pending changes of which every combination is tried; of more, some.
const EXHAUSTIVE: u32 = 5;

/// Checkpoints are due so soon that logs only grow.
const GROWING: u64 = 3000;
/// Logs are written over zeros.
const IN_ZEROS: u64 = 16 * 1024;

/// Everything that a store ever held.
#[derive(Debug, Default)]
struct Past {
    writes: BTreeMap<Revision, Arc<[Event]>>,
}

impl Past {
    async fn follow(&mut self, watch: &mut WatchStream, through: Revision) {
        while self.writes.last_key_value().map_or(Revision(1), |(&last, _)| last) < through {
            if let Some(Ok(WatchMessage::Events { revision, events })) = watch.next().await {
                assert!(self.writes.insert(revision, events).is_none());
            }
        }
    }

    fn state_at(&self, at: Revision) -> Vec<Entry> {
        let mut state = BTreeMap::new();
        for event in self.writes.range(..=at).flat_map(|(_, events)| events.iter()) {
            match event {
                Event::Put { entry, .. } => drop(state.insert(entry.key.clone(), entry.clone())),
                Event::Delete { key, .. } => drop(state.remove(key)),
            }
        }
        state.into_values().collect()
    }

    /// Opens what a power loss has left, and holds it against what was told before.
    async fn check(&self, dir: &Path, told: u64, when: &str) {
        let store = DurableStore::open(dir).unwrap_or_else(|error| panic!("{when}: {error}"));
        let page = everything(&store).await;
        let now = page.revision;
        assert!(now >= Revision(told), "{when}: {told} was acknowledged, {now} is there");
        assert_eq!(page.value.entries, self.state_at(now), "{when}: not what it was at {now}");
        let from = store.status().await.unwrap().compacted.next().max(Revision(2));
        // A watch from the future on waits.
        let seen = if from <= now { history(&store, from).await } else { Vec::new() };
        let expected = self.writes.range(from..).take_while(|(at, _)| **at <= now);
        let expected =
            expected.map(|(&revision, events)| WatchMessage::Events { revision, events: events.clone() });
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{when}: another past");
        let next = store.commit(put("after", "x")).await.unwrap().revision;
        assert_eq!(next, now.next(), "{when}");
    }
}

/// Two lives of a store: writes that are large and small, alone and together, with checkpoints and compactions among them.
async fn live(dir: &Path, tape: &Recording, rounds: u64, checkpoint_bytes: u64) -> Past {
    let mut past = Past::default();
    let options =
        DurableOptions::new().checkpoint_bytes(checkpoint_bytes).retention(Retention::new().changes(60));
    for life in 0..2 {
        let store = DurableStore::open_with(dir, options).unwrap();
        let now = everything(&store).await.revision;
        tape.told(now.0);
        let mut watch = store.watch(KeyRange::all(), now.next()).await.unwrap();
        for round in 0..rounds {
            let value = |n: u64| vec![b'a' + (round % 26) as u8; ((round * 37 + n * 211) % 900) as usize];
            let key = |n: u64| format!("key/{}", (round + n) % 5);
            let commits = (0..1 + round % 3).map(|n| {
                let txn = put(&key(n), value(n)).put(format!("life/{life}").into(), round.to_string());
                let gone = format!("gone/{n}").into();
                store.commit(if round % 2 == 0 { txn.put(gone, "x") } else { txn.delete(gone) })
            });
            for committed in futures::future::join_all(commits).await {
                let revision = committed.unwrap().revision;
                tape.told(revision.0);
                past.follow(&mut watch, revision).await;
            }
            while is_making_room(&tape.done()) {
                tokio::task::yield_now().await;
            }
            if round % 11 == 10 {
                store.compact(Revision(everything(&store).await.revision.0 - 3)).await.unwrap();
            }
        }
    }
    past
}

/// Whether a log of zeros is begun and neither done nor given up.
fn is_making_room(done: &[Done]) -> bool {
    let is_next = |path: &Path| path.ends_with("next.log.draft");
    let begun = done.iter().rposition(|done| matches!(done, Done::Create(path) if is_next(path)));
    begun.is_some_and(|begun| {
        !done[begun..].iter().any(|done| match done {
            Done::Sync(path) | Done::Remove(path) | Done::Rename(path, _) => is_next(path),
            _ => false,
        })
    })
}

/// Writes an image out as it is.
fn lay_out(image: &Image, root: &Path) {
    for (path, content) in image {
        let path = root.join(path);
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
}

/// What power losses at this moment may leave: all that can happen, or as many of them as `samples`.
fn images(medium: &Medium, samples: u64, chance: &mut Chance) -> Vec<Image> {
    let lose = |filler: u8, mut decide: Box<dyn FnMut(u32) -> bool + '_>| {
        let mut asked = 0;
        let mut next = || {
            asked += 1;
            decide(asked - 1)
        };
        let image = medium.lose_power(&mut Luck { next: &mut next, filler });
        (image, asked)
    };
    // What is lost with a name is not asked about, so all luck asks most.
    let (all, units) = lose(0, Box::new(|_| true));
    let mut images = vec![all, lose(0, Box::new(|_| false)).0];
    if units <= EXHAUSTIVE {
        for luck in 0..1_u32 << (units + 1) {
            let filler = if luck & 1 == 0 { 0 } else { 0xff };
            images.push(lose(filler, Box::new(move |unit| luck >> (unit + 1).min(31) & 1 == 1)).0);
        }
    } else {
        for _ in 0..samples {
            let (filler, kept) = ([0, 0xff][chance.below(2) as usize], 1 + chance.below(7));
            images.push(lose(filler, Box::new(|_| chance.below(8) < kept)).0);
        }
    }
    images
}

/// Loses power after each step that `happens`, recovers, and now and then loses power again while recovering.
async fn lose_power_at_every_step(
    rounds: u64,
    samples: u64,
    checkpoint_bytes: u64,
    happens: fn(&Done) -> bool,
) -> usize {
    let place = super::place();
    let (root, dir) = (place.path().to_owned(), Path::new("some").join("deep/state"));
    let tape = Recording::of(&root, None);
    let past = live(&root.join(&dir), &tape, rounds, checkpoint_bytes).await;
    let done = tape.done();
    drop(tape);
    let is_begun_in_zeros =
        |done: &&Done| matches!(done, Done::Rename(from, _) if from.ends_with("next.log.draft"));
    let begun_in_zeros = done.iter().filter(is_begun_in_zeros).count() as u64;
    assert!(checkpoint_bytes < IN_ZEROS || begun_in_zeros > rounds / 12, "{begun_in_zeros} logs");
    let (mut medium, mut told, mut chance) = (Medium::new(), 1, Chance(3));
    let mut tried = HashSet::new();
    for (step, done) in done.iter().enumerate().filter(|(_, done)| happens(done)) {
        if let Done::Told(revision) = done {
            told = told.max(*revision);
        }
        medium.apply(&root, done);
        for image in images(&medium, samples, &mut chance) {
            let mut hasher = DefaultHasher::new();
            (&image, told).hash(&mut hasher);
            if !tried.insert(hasher.finish()) {
                continue;
            }
            let when = format!("power lost after step {step}");
            let second = (tried.len() % 8 == 0).then_some(&mut chance);
            recover(&image, &dir, told, &past, &when, second).await;
        }
    }
    tried.len()
}

async fn recover(image: &Image, dir: &Path, told: u64, past: &Past, when: &str, again: Option<&mut Chance>) {
    let place = super::place();
    lay_out(image, place.path());
    let Some(chance) = again else { return past.check(&place.path().join(dir), told, when).await };
    let tape = Recording::of(place.path(), None);
    let store = DurableStore::open(place.path().join(dir)).unwrap_or_else(|error| panic!("{when}: {error}"));
    // What the first recovery shows, the second one must show too.
    let shown = told.max(everything(&store).await.revision.0);
    let opened = tape.done().len();
    drop(store);
    let mut medium = Medium::holding(image);
    let steps = tape.done();
    let stop = chance.below(opened as u64 + 1) as usize;
    steps[..stop].iter().for_each(|done| medium.apply(place.path(), done));
    let told = if stop == opened { shown } else { told };
    for image in images(&medium, 2, chance) {
        let after = super::place();
        lay_out(&image, after.path());
        past.check(&after.path().join(dir), told, &format!("{when}, and again while recovering")).await;
    }
}

#[tokio::test]
async fn power_lost_at_any_step_loses_nothing_that_was_acknowledged() {
    let tried = lose_power_at_every_step(24, 6, GROWING, |_| true).await;
    println!("{tried} states of the disk");
    assert!(tried > 500, "{tried} states are too few to show anything");
}

#[tokio::test]
async fn power_lost_at_any_step_of_logs_written_over_zeros_loses_nothing_that_was_acknowledged() {
    let tried = lose_power_at_every_step(24, 6, IN_ZEROS, |_| true).await;
    println!("{tried} states of the disk");
    assert!(tried > 500, "{tried} states are too few to show anything");
}

#[tokio::test]
#[ignore = "takes minutes: cargo nextest run -p orchestra-store --run-ignored only power_lost_at_any_step_long"]
async fn power_lost_at_any_step_long() {
    for checkpoint_bytes in [GROWING, IN_ZEROS] {
        let tried = lose_power_at_every_step(150, 40, checkpoint_bytes, |_| true).await;
        println!("{tried} states of the disk, checkpoints at {checkpoint_bytes} bytes");
    }
}

/// The test above can fail: it does when the disk says that it synced what it did not.
#[tokio::test]
async fn a_disk_that_only_says_that_it_synced_a_file_is_found() {
    for (rounds, bytes) in [(3, GROWING), (24, IN_ZEROS)] {
        let lies = |done: &Done| !matches!(done, Done::Sync(_));
        let run = tokio::spawn(lose_power_at_every_step(rounds, 6, bytes, lies));
        assert!(run.await.unwrap_err().is_panic());
    }
}

#[tokio::test]
async fn a_disk_that_only_says_that_it_synced_a_directory_is_found() {
    let run = tokio::spawn(lose_power_at_every_step(3, 6, GROWING, |done| !matches!(done, Done::SyncDir(_))));
    assert!(run.await.unwrap_err().is_panic());
}

#[tokio::test]
async fn power_lost_during_a_restore_leaves_nothing_or_everything() {
    let source = MemoryStore::new();
    for n in 0..20 {
        source.commit(put(&format!("k/{n:02}"), vec![b'v'; 100 * n])).await.unwrap();
    }
    let place = super::place();
    let tape = Recording::of(place.path(), None);
    let file = place.path().join("file");
    snapshot::save(source.snapshot().await.unwrap(), &file).await.unwrap();
    let saved = tape.done().len();
    let dir = Path::new("deep/state");
    let revision =
        DurableStore::restore(place.path().join(dir), Snapshot::open(&file).unwrap()).await.unwrap();
    tape.told(revision.0);
    let everything_held = source.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value;
    let (mut medium, mut chance, mut whole) = (Medium::new(), Chance(5), 0);
    for (step, done) in tape.done().iter().enumerate() {
        medium.apply(place.path(), done);
        for image in images(&medium, 8, &mut chance) {
            let after = super::place();
            lay_out(&image, after.path());
            let file = after.path().join("file");
            assert!(file.exists() || step + 1 < saved, "a saved file is gone after step {step}");
            if file.exists() {
                snapshot::inspect(&file).unwrap();
            }
            let dir = after.path().join(dir);
            if dir.exists() {
                let store = DurableStore::open(&dir).unwrap();
                let page = everything(&store).await;
                assert_eq!((page.revision, page.value), (revision, everything_held.clone()), "step {step}");
                whole += 1;
            } else {
                assert!(!matches!(done, Done::Told(_)), "a restored store is gone");
            }
        }
    }
    assert!(whole > 0);
}
