//! The part that runs on every node and says in its log how the front end does.

use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Problem, http, service, variable};

const EVERY: Duration = Duration::from_secs(15);

pub(super) async fn run() -> Result<(), Problem> {
    let frontend = service("FRONTEND")?;
    let node = variable("NODE_NAME")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        match http::ask(&frontend, Request::get("/healthz"), Bytes::new()).await {
            Ok(answer) => println!("{node}: front end says {} in {:?}", answer.status(), asked.elapsed()),
            Err(problem) => println!("{node}: front end does not answer: {problem}"),
        }
    }
}
