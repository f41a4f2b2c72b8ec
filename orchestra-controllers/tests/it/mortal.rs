//! Controllers that are killed at a chosen write, and begin again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use orchestra_controllers::Controllers;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::BoxError;

/// More than any story needs; past it the controllers fight each other or get nowhere.
const TOO_MANY: usize = 500;
const REMEMBERED: usize = 10;

/// When a life ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// After this many writes: the next does not reach the server.
    After(usize),
    /// At this write: it reaches the server, and the answer is lost.
    At(usize),
}

/// How the controllers die during a story.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Spared,
    Once(Death),
    /// Every life ends alike, so that the whole story is told in lives of a few writes.
    Always(Death),
}

/// What the writes of all lives came to.
#[derive(Default)]
pub(crate) struct Deeds {
    pub(crate) writes: AtomicUsize,
    /// How many objects were created, by the collection's path.
    pub(crate) created: Mutex<BTreeMap<String, usize>>,
    /// What was written last, to tell why there is no end.
    latest: Mutex<VecDeque<String>>,
}

/// Runs the controllers for ever, killing and starting them as fate has it.
pub(crate) async fn live(controllers: Controllers, server: Client, fate: Fate, deeds: Arc<Deeds>) {
    for number in 0..TOO_MANY {
        let death = match fate {
            Fate::Once(death) if number == 0 => Some(death),
            Fate::Always(death) => Some(death),
            Fate::Spared | Fate::Once(_) => None,
        };
        let life = Arc::new(Life {
            server: server.clone(),
            death,
            deeds: deeds.clone(),
            writes: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            over: Notify::new(),
        });
        let end = CancellationToken::new();
        // Whichever ends first, the controllers and all they were about to do are dropped.
        tokio::select! {
            biased;
            () = life.over.notified() => {}
            ended = controllers.clone().run(life.clone().client(), end) => panic!("nobody asked for this end: {ended:?}"),
        }
    }
    panic!("{fate:?}: no end after {TOO_MANY} lives; written last: {:#?}", deeds.latest.lock().unwrap());
}

struct Life {
    server: Client,
    death: Option<Death>,
    deeds: Arc<Deeds>,
    writes: AtomicUsize,
    is_over: AtomicBool,
    over: Notify,
}

impl Life {
    fn client(self: Arc<Self>) -> Client {
        let service = tower::service_fn(move |request| self.clone().pass(request));
        Client::new(service, "default")
    }

    async fn pass(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(lost());
        }
        let path = request.uri().path().to_owned();
        // Events are hints for people, sent in the background: they say nothing about what was done.
        let is_write =
            request.method() != Method::GET && !path.ends_with("/events") && !path.contains("/events/");
        if !is_write {
            return Ok(self.server.send(request).await?);
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if matches!(self.death, Some(Death::After(last)) if number > last) {
            return Err(self.end());
        }
        let creates = request.method() == Method::POST;
        let line = format!("{} {path}", request.method());
        let response = self.server.send(request).await;
        let all = self.deeds.writes.fetch_add(1, Ordering::SeqCst);
        assert!(all < TOO_MANY, "the controllers never stop writing; last to {path}");
        {
            let mut latest = self.deeds.latest.lock().unwrap();
            let code = response.as_ref().map(|response| response.status());
            latest.push_back(format!("{line}: {code:?}"));
            if latest.len() > REMEMBERED {
                latest.pop_front();
            }
        }
        // What is refused changes nothing.
        if response.as_ref().is_ok_and(|response| !response.status().is_success()) {
            self.writes.fetch_sub(1, Ordering::SeqCst);
            return Ok(response?);
        }
        if creates && response.as_ref().is_ok_and(|response| response.status().is_success()) {
            *self.deeds.created.lock().unwrap().entry(path).or_default() += 1;
        }
        if matches!(self.death, Some(Death::At(last)) if number >= last) {
            return Err(self.end());
        }
        Ok(response?)
    }

    fn end(&self) -> BoxError {
        self.is_over.store(true, Ordering::SeqCst);
        self.over.notify_one();
        lost()
    }
}

fn lost() -> BoxError {
    Box::new(io::Error::new(io::ErrorKind::ConnectionReset, "the connection was lost"))
}
