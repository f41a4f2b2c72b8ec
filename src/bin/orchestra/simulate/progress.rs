//! Shows how far the simulations are, to people only.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orchestra::lab::experiment::Progress;

/// A line on standard error, if that is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    runs: usize,
}

impl Bar {
    pub(super) fn new(pods_of_a_run: usize, runs: usize) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let all = pods_of_a_run.saturating_mul(runs);
        let bar = ProgressBar::with_draw_target(Some(all as u64), target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:24} {human_pos}/{human_len} pods, {msg}, {eta} left")
        {
            bar.set_style(style);
        }
        let bar = Self { bar, runs };
        // Something to see before the first run has come far.
        bar.show(Progress { pods: 0, runs: 0 });
        bar
    }

    pub(super) fn show(&self, progress: Progress) {
        // The message first, because each of the two may draw.
        self.bar.set_message(format!("{} of {} runs", progress.runs, self.runs));
        self.bar.set_position(progress.pods as u64);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
