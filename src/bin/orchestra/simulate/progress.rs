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
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} pods, {msg}, {eta} left")
        {
            bar.set_style(style);
        }
        Self { bar, runs }
    }

    pub(super) fn show(&self, progress: Progress) {
        self.bar.set_position(progress.pods as u64);
        self.bar.set_message(format!("{} of {} runs", progress.runs, self.runs));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
