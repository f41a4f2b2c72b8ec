//! kill -9 under 32 writers, again and again on one directory.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use futures::StreamExt;
use orchestra_store::{
    DurableOptions, DurableStore, Event, KeyRange, RangeOptions, Retention, Revision, Store, Txn,
    WatchMessage,
};

/// Tells the child where to write; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_KILL_DIR";
const WRITERS: usize = 32;
const ROUNDS: u64 = 30;

fn open(dir: &Path) -> DurableStore {
    // Small bounds, so that kills also hit checkpoints and compactions.
    let retention = Retention::new().changes(2000);
    DurableStore::open_with(dir, DurableOptions::new().checkpoint_bytes(64 * 1024).retention(retention))
        .unwrap()
}

/// Not a test of its own: what the test below starts and kills.
#[test]
#[ignore = "is run by kill_9_loses_nothing_that_was_acknowledged"]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&dir)));
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write_on(Arc::clone(&store), writer)));
        futures::future::join_all(writers).await;
    });
}

async fn write_on(store: Arc<DurableStore>, writer: usize) {
    let (left, right) = (format!("left/{writer}"), format!("right/{writer}"));
    let held = store.get(&left.as_str().into(), Default::default()).await.unwrap().value;
    let begin = held.map_or(0, |entry| number(&entry.value));
    // Ends by itself, should nobody be left to kill it.
    for n in begin + 1..begin + 5000 {
        let value = n.to_string();
        let txn = Txn::new().put(left.as_str().into(), value.clone()).put(right.as_str().into(), value);
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

/// What the child was told before it died.
#[derive(Debug, Default)]
struct Acknowledged {
    numbers: HashMap<usize, u64>,
    revision: u64,
}

impl Acknowledged {
    fn read(&mut self, line: &str) -> bool {
        // The first stands behind what libtest prints.
        let Some((_, words)) = line.strip_suffix('\n').and_then(|line| line.split_once("ack ")) else {
            return false;
        };
        let numbers: Vec<u64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
        let [writer, number, revision] = numbers[..] else { panic!("{line}") };
        self.numbers.insert(writer as usize, number);
        assert!(revision > 0);
        self.revision = self.revision.max(revision);
        true
    }
}

fn kill_after(dir: &Path, lines: u64, acknowledged: &mut Acknowledged) {
    let mut child = spawn(dir);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut read) = (String::new(), 0);
    let mut killed = false;
    while reader.read_line(&mut line).unwrap() > 0 {
        read += u64::from(acknowledged.read(&line));
        line.clear();
        if read >= lines && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {read} writes");
}

async fn check(dir: &Path, acknowledged: &mut Acknowledged) {
    let store = open(dir);
    let page = store.range(KeyRange::all(), RangeOptions::new()).await.unwrap();
    assert!(page.revision >= Revision(acknowledged.revision), "an acknowledged revision is gone");
    let held: HashMap<_, _> = page.value.entries.iter().map(|entry| (entry.key.as_bytes(), entry)).collect();
    for (writer, told) in &mut acknowledged.numbers {
        let [left, right] = ["left", "right"].map(|side| held[format!("{side}/{writer}").as_bytes()]);
        let number = number(&left.value);
        assert!(
            number == *told || number == *told + 1,
            "writer {writer} was told {told}, the store has {number}"
        );
        assert_eq!(
            (&left.value, left.mod_revision),
            (&right.value, right.mod_revision),
            "half a transaction"
        );
        assert_eq!(left.version, number, "every write happened once");
        // What was seen once counts as told.
        *told = number;
    }
    check_history(&store, page.revision).await;
}

/// The window has every revision, each with both halves.
async fn check_history(store: &DurableStore, current: Revision) {
    let mut expected = store.status().await.unwrap().compacted.next().max(Revision(2));
    let mut watch = store.watch(KeyRange::all(), expected).await.unwrap();
    while expected <= current {
        let Some(Ok(WatchMessage::Events { revision, events })) = watch.next().await else { panic!("a gap") };
        assert_eq!((revision, events.len()), (expected, 2));
        let value = |event: &Event| match event {
            Event::Put { entry, .. } => entry.value.clone(),
            Event::Delete { .. } => panic!("nothing was removed"),
        };
        assert_eq!(value(&events[0]), value(&events[1]));
        expected = expected.next();
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        kill_after(dir.path(), 1 + round * 37 % 611, &mut acknowledged);
        runtime.block_on(check(dir.path(), &mut acknowledged));
    }
}
