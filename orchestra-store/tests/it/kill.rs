//! kill -9 under 32 writers, again and again on one directory.
//!
//! A child writes and says what it was told; the parent kills it at a random instant, which may lie in the opening, in a
//! checkpoint or in a compaction, opens the directory itself, and holds what is there against everything it ever heard
//! or saw: nothing acknowledged is lost, nothing is there by half, no revision ever means something else, and a watch that
//! resumes behind the last seen revision has no gap and no double.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use orchestra_store::conformance::Chance;
use orchestra_store::{
    DurableOptions, DurableStore, Entry, Event, KeyRange, RangeOptions, Retention, Revision, Store, Txn,
    WatchMessage,
};

/// Tells the child where to write; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_KILL_DIR";
const WRITERS: usize = 32;
/// The longest a child lives, in acknowledged writes or in microseconds.
const WRITES: u64 = 300;
const MICROS: u64 = 20_000;

fn open(dir: &Path) -> DurableStore {
    // Small bounds, so that kills also hit checkpoints and compactions.
    let retention = Retention::new().changes(4000);
    DurableStore::open_with(dir, DurableOptions::new().checkpoint_bytes(64 * 1024).retention(retention))
        .unwrap()
}

/// Not a test of its own: what the tests below start and kill.
#[test]
#[ignore = "is run by the campaigns below"]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&dir)));
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write_on(Arc::clone(&store), writer)));
        futures::future::join_all(writers).await;
    });
}

/// The keys of a writer: two that always agree, and one that is there for even numbers only.
fn keys(writer: usize) -> [String; 3] {
    ["left", "right", "even"].map(|side| format!("{side}/{writer}"))
}

async fn write_on(store: Arc<DurableStore>, writer: usize) {
    let [left, right, even] = keys(writer);
    let held = store.get(&left.as_str().into(), Default::default()).await.unwrap().value;
    let begin = held.map_or(0, |entry| number(&entry.value));
    // Ends by itself, should nobody be left to kill it.
    for n in begin + 1..begin + 5000 {
        let value = n.to_string();
        let txn = Txn::new().put(left.as_str().into(), value.clone()).put(right.as_str().into(), value);
        let even = even.as_str().into();
        let txn = if n % 2 == 0 { txn.put(even, "even") } else { txn.delete(even) };
        let revision = store.commit(txn).await.unwrap().revision;
        // One call for each line, so that a kill tears at most the last.
        let line = format!("ack {writer} {n} {revision}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn spawn(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "kill::child_writes_until_it_is_killed",
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
enum When {
    /// After so many acknowledged writes.
    Writes(u64),
    /// So long after its start, wherever it has come to.
    Micros(u64),
}

impl When {
    fn random(chance: &mut Chance) -> Self {
        match chance.below(3) {
            0 => Self::Micros(chance.below(MICROS)),
            _ => Self::Writes(1 + chance.below(WRITES)),
        }
    }
}

/// Everything that was ever heard from a child or seen in the directory.
#[derive(Debug, Default)]
struct Known {
    /// Which writer's which write a revision is.
    writes: BTreeMap<u64, (usize, u64)>,
    /// The newest write of each writer.
    numbers: HashMap<usize, u64>,
    /// The last revision whose events the resumed watch has delivered.
    watched: u64,
}

impl Known {
    fn hear(&mut self, line: &str) {
        // The first stands behind what libtest prints.
        let Some((_, words)) = line.strip_suffix('\n').and_then(|line| line.split_once("ack ")) else {
            return;
        };
        let numbers: Vec<u64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
        let [writer, number, revision] = numbers[..] else { panic!("{line}") };
        self.learn(revision, writer as usize, number);
    }

    fn learn(&mut self, revision: u64, writer: usize, number: u64) {
        let before = self.writes.insert(revision, (writer, number));
        assert!(
            before.is_none_or(|before| before == (writer, number)),
            "revision {revision} was {before:?} and is {:?}",
            (writer, number)
        );
        let newest = self.numbers.entry(writer).or_default();
        *newest = (*newest).max(number);
    }
}

fn kill_at(dir: &Path, instance: When, known: &mut Known) {
    let mut child = spawn(dir);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let (heard, lines) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 && heard.send(std::mem::take(&mut line)).is_ok() {}
    });
    let (writes, deadline) = match instance {
        When::Writes(writes) => (writes, Instant::now() + Duration::from_secs(60)),
        When::Micros(micros) => (u64::MAX, Instant::now() + Duration::from_micros(micros)),
    };
    let before = known.writes.len() as u64;
    while known.writes.len() as u64 - before < writes {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => known.hear(&line),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap();
    lines.iter().for_each(|line| known.hear(&line));
}

async fn check(dir: &Path, known: &mut Known) {
    let store = open(dir);
    let page = store.range(KeyRange::all(), RangeOptions::new()).await.unwrap();
    let last = known.writes.last_key_value().map_or(1, |(&revision, _)| revision);
    assert!(page.revision >= Revision(last), "an acknowledged revision is gone");
    let told = known.numbers.clone();
    check_watch(&store, page.revision, known).await;
    for (writer, number) in &known.numbers {
        let told = told.get(writer).copied().unwrap_or_default();
        assert!(
            *number == told || *number == told + 1,
            "writer {writer} was told {told}, the store has {number}"
        );
    }
    check_latest(&page.value.entries, known);
}

fn check_latest(entries: &[Entry], known: &Known) {
    let held: HashMap<_, _> = entries.iter().map(|entry| (entry.key.as_bytes(), entry)).collect();
    for (writer, told) in &known.numbers {
        let [left, right, even] = keys(*writer);
        let [left, right] = [left, right].map(|key| held[key.as_bytes()]);
        assert_eq!(number(&left.value), *told, "writer {writer}");
        assert_eq!(
            (&left.value, left.mod_revision),
            (&right.value, right.mod_revision),
            "half a transaction"
        );
        assert_eq!(left.version, *told, "every write happened once");
        assert_eq!(held.contains_key(even.as_bytes()), told % 2 == 0, "half a transaction");
    }
    let evens = known.numbers.values().filter(|number| *number % 2 == 0).count();
    assert_eq!(entries.len(), 2 * known.numbers.len() + evens);
}

/// Goes on with the watch behind what it had delivered before the kill: every revision comes, once, as it was, and whole.
async fn check_watch(store: &DurableStore, current: Revision, known: &mut Known) {
    let mut expected = Revision(known.watched.max(1)).next();
    let compacted = store.status().await.unwrap().compacted;
    if expected <= compacted {
        let refused = store.watch(KeyRange::all(), expected).await;
        assert!(matches!(refused, Err(orchestra_store::Error::Compacted(at)) if at == compacted));
        expected = compacted.next();
    }
    let mut watch = store.watch(KeyRange::all(), expected).await.unwrap();
    while expected <= current {
        let Some(Ok(WatchMessage::Events { revision, events })) = watch.next().await else { panic!("a gap") };
        assert_eq!(revision, expected, "a gap or a double");
        let (writer, number) = decode(&events);
        known.learn(revision.0, writer, number);
        expected = expected.next();
    }
    known.watched = current.0;
}

/// The write that the events of one revision are.
fn decode(events: &[Event]) -> (usize, u64) {
    let [Event::Put { entry: left, .. }, Event::Put { entry: right, .. }, rest @ ..] = events else {
        panic!("half a transaction: {events:?}")
    };
    assert_eq!(left.value, right.value);
    let (writer, number) = (key_number(left.key.as_bytes()), number(&left.value));
    let [_, right_key, even_key] = keys(writer);
    assert_eq!(right.key.as_bytes(), right_key.as_bytes());
    match rest {
        [Event::Put { entry, .. }] => {
            assert_eq!((entry.key.as_bytes(), number % 2), (even_key.as_bytes(), 0));
        }
        [Event::Delete { key, .. }] => assert_eq!((key.as_bytes(), number % 2), (even_key.as_bytes(), 1)),
        // The first write removes what is not there.
        [] => assert_eq!(number, 1),
        more => panic!("more than a transaction: {more:?}"),
    }
    (writer, number)
}

fn key_number(key: &[u8]) -> usize {
    let name = std::str::from_utf8(key).unwrap();
    name.strip_prefix("left/").unwrap().parse().unwrap()
}

fn campaign(kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (mut chance, mut known) = (Chance(9), Known::default());
    for _ in 0..kills {
        kill_at(dir.path(), When::random(&mut chance), &mut known);
        runtime.block_on(check(dir.path(), &mut known));
    }
    println!("{kills} kills, {} revisions, {} bytes on disk", known.watched, disk_bytes(dir.path()));
}

fn disk_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn kill_9_at_200_random_instants_loses_nothing_that_was_acknowledged() {
    campaign(200);
}

#[test]
#[ignore = "takes minutes: cargo nextest run -p orchestra-store --run-ignored only kill_9_at_2000"]
fn kill_9_at_2000_random_instants_loses_nothing_that_was_acknowledged() {
    campaign(2000);
}
