//! Being told to stop.
//!
//! The program listens from its first moment to its last with the same listener: one that is made anew for each wait
//! loses the signal that comes in between, and the user's Ctrl-C is ignored.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Hears Ctrl-C and the system's request to end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Hears from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let hear = |kind| {
            signal(kind).map_err(|problem| Failure::of(format!("cannot listen for signals: {problem}")))
        };
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Returns when the program was told to stop. May be dropped and called again: no signal is lost.
    pub(crate) async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Signals;

    #[tokio::test]
    async fn a_signal_between_two_waits_is_heard() {
        let mut signals = Signals::listen().unwrap();
        tokio::select! {
            biased;
            () = signals.told_to_stop() => panic!("nobody said so"),
            () = std::future::ready(()) => {}
        }
        let own = std::process::id().to_string();
        assert!(Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
        signals.told_to_stop().await;
    }
}
