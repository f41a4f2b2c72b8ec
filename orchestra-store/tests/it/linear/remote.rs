//! A durable store in a process of its own, so that it can be killed under its clients.
//!
//! Calls and answers are lines over pipes. Values and keys in them are words.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orchestra_store::{
    Committed, DurableOptions, DurableStore, Entry, Key, Op, Outcome, Revision, Store, Txn, Versioned,
};
use tokio::sync::oneshot;

use super::clients::Target;
use super::history::{Call, Reply};

/// Tells the child where its store is; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_SERVE_DIR";

pub(super) fn open(dir: &Path) -> DurableStore {
    // Checkpoints all the time, so that kills hit them; but nothing of the past is given up.
    DurableStore::open_with(dir, DurableOptions::new().checkpoint_bytes(16 * 1024)).unwrap()
}

/// Not a test of its own: what is started and killed.
#[test]
#[ignore = "is run by the tests that kill it"]
fn child_serves_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store: Arc<dyn Store> = Arc::new(open(Path::new(&dir)));
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let store = Arc::clone(&store);
        runtime.spawn(async move {
            let (number, call) = line.split_once(' ').unwrap();
            let reply = store.call(&read_call(call)).await.unwrap();
            // One write for each line, so that a kill tears at most the last.
            let line = format!("{number} {}\n", write_reply(&reply));
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        });
    }
}

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>>;

/// The process and who waits for it.
pub(crate) struct Remote {
    child: Mutex<Child>,
    calls: Mutex<(u64, ChildStdin)>,
    /// `None` when the process is gone.
    waiting: Waiting,
}

impl Remote {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "linear::remote::child_serves_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ]);
        command.arg("--test-threads=1").env(DIR, dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let calls = Mutex::new((0, child.stdin.take().unwrap()));
        let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
        replies.by_ref().map(Result::unwrap).find(|line| line.ends_with("ready")).unwrap();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let answered = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for line in replies.map_while(Result::ok) {
                // The last one may be torn, and was then told to nobody.
                let Some((number, reply)) = line.strip_suffix(" .").and_then(|line| line.split_once(' '))
                else {
                    break;
                };
                let waiting =
                    answered.lock().unwrap().as_mut().and_then(|all| all.remove(&number.parse().unwrap()));
                if let Some(waiting) = waiting {
                    drop(waiting.send(read_reply(reply)));
                }
            }
            *answered.lock().unwrap() = None;
        });
        Self { child: Mutex::new(child), calls, waiting }
    }

    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[async_trait]
impl Target for Remote {
    async fn call(&self, call: &Call) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        {
            let mut calls = self.calls.lock().unwrap();
            calls.0 += 1;
            let number = calls.0;
            self.waiting.lock().unwrap().as_mut()?.insert(number, reply);
            let line = format!("{number} {}\n", write_call(call));
            if calls.1.write_all(line.as_bytes()).is_err() {
                *self.waiting.lock().unwrap() = None;
                return None;
            }
        }
        answer.await.ok()
    }

    fn is_gone(&self) -> bool {
        self.waiting.lock().unwrap().is_none()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn write_call(call: &Call) -> String {
    match call {
        Call::Get(key) => format!("get {}", text(key.as_bytes())),
        Call::All => "all".to_owned(),
        Call::Commit(txn) => {
            let mut line = "commit".to_owned();
            for compare in &txn.compares {
                write!(line, " ={}={}", text(compare.key.as_bytes()), compare.mod_revision).unwrap();
            }
            for op in &txn.ops {
                let key = text(op.key().as_bytes());
                match op {
                    Op::Put { value, .. } => write!(line, " +{key}={}", text(value)).unwrap(),
                    Op::Delete { .. } => write!(line, " -{key}").unwrap(),
                }
            }
            line
        }
    }
}

fn read_call(line: &str) -> Call {
    let mut words = line.split(' ');
    match words.next().unwrap() {
        "get" => Call::Get(words.next().unwrap().into()),
        "all" => Call::All,
        _ => Call::Commit(words.fold(Txn::new(), |txn, word| {
            let (kind, rest) = word.split_at(1);
            let pair = || rest.split_once('=').unwrap();
            match kind {
                "=" => txn.when(pair().0.into(), Revision(pair().1.parse().unwrap())),
                "+" => txn.put(pair().0.into(), pair().1.to_owned()),
                _ => txn.delete(rest.into()),
            }
        })),
    }
}

fn write_entry(entry: Option<&Entry>) -> String {
    entry.map_or(" -".to_owned(), |entry| {
        let (key, value) = (text(entry.key.as_bytes()), text(&entry.value));
        format!(" {key},{value},{},{},{}", entry.create_revision, entry.mod_revision, entry.version)
    })
}

fn read_entry(word: &str) -> Option<Entry> {
    let parts: Vec<&str> = word.split(',').collect();
    let [key, value, created, modified, version] = parts[..] else { return None };
    Some(Entry {
        key: Key::from(key),
        value: value.to_owned().into(),
        create_revision: Revision(created.parse().unwrap()),
        mod_revision: Revision(modified.parse().unwrap()),
        version: version.parse().unwrap(),
    })
}

/// Ends with a dot, so that one cut short does not pass for whole.
fn write_reply(reply: &Reply) -> String {
    match reply {
        Reply::Entries(read) => {
            let entries: String = read.value.iter().map(|entry| write_entry(Some(entry))).collect();
            format!("entries {}{entries} .", read.revision)
        }
        Reply::Committed(Committed { revision, outcome: Outcome::Applied }) => {
            format!("applied {revision} .")
        }
        Reply::Committed(Committed { revision, outcome: Outcome::Refused(found) }) => {
            let found: String = found.iter().map(|entry| write_entry(entry.as_ref())).collect();
            format!("refused {revision}{found} .")
        }
    }
}

fn read_reply(line: &str) -> Reply {
    let mut words = line.split(' ');
    let kind = words.next().unwrap();
    let revision = Revision(words.next().unwrap().parse().unwrap());
    match kind {
        "entries" => Reply::Entries(Versioned {
            revision,
            value: words.map(|word| read_entry(word).unwrap()).collect(),
        }),
        "applied" => Reply::Committed(Committed { revision, outcome: Outcome::Applied }),
        _ => Reply::Committed(Committed {
            revision,
            outcome: Outcome::Refused(words.map(read_entry).collect()),
        }),
    }
}
