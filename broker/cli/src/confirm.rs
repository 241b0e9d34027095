//! Asking before something is destroyed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Usage;

/// Asks the user to type `yes`. Without a terminal nobody can be asked: then `--yes` is needed.
pub(crate) fn confirm(what: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(Usage(format!("{what} cannot be undone; say --yes to do it")).into());
    }
    let mut err = io::stderr().lock();
    write!(err, "{what} cannot be undone. Type yes to do it: ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Usage("not done".to_owned()).into()) }
}
