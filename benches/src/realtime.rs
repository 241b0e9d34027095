//! Running under SCHED_RR, so that a busy machine's scheduler tick is not what is measured.
//!
//! This is a way to measure, not a way to run the product. The program starts itself again under `chrt`, and what it
//! starts inherits the class: servers and load generators run alike.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Set for the second start, so that there is no third.
const MARK: &str = "BENCHES_REALTIME";

/// How the measured processes are scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduling {
    RoundRobin,
    /// The system does not permit SCHED_RR, or it was not wanted.
    Ordinary,
}

impl std::fmt::Display for Scheduling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "SCHED_RR",
            Self::Ordinary => "ordinary scheduling",
        })
    }
}

/// Starts the program again under SCHED_RR where that is permitted; returns where it is not, or is the case already.
pub(crate) fn enter(wanted: bool) -> Scheduling {
    if std::env::var_os(MARK).is_some() {
        return Scheduling::RoundRobin;
    }
    let chrt = || {
        let mut command = Command::new("chrt");
        command.args(["-r", "1"]);
        command
    };
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let permitted = wanted && quiet(chrt().arg("true")).is_ok_and(|status| status.success());
    let Ok(program) = std::env::current_exe() else { return Scheduling::Ordinary };
    if permitted {
        // Returns only when it failed.
        let _error = chrt().arg(program).args(std::env::args_os().skip(1)).env(MARK, "1").exec();
    }
    Scheduling::Ordinary
}
