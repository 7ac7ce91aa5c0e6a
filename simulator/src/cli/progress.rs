//! Progress on a terminal; nothing where nobody looks.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar to `length`, or a spinner if the end is not known.
pub(super) fn bar(length: Option<u64>) -> ProgressBar {
    if !io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr_with_hz(4);
    let bar = ProgressBar::with_draw_target(length, target);
    let form = match length {
        Some(_) => "{bar:30} {percent:>3} %  {msg}",
        None => "{spinner} {elapsed}  {msg}",
    };
    // The forms are constants; should one be wrong, the default shows as much.
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}
