//! What a user reads when something failed: what, where, and what to do.

use std::io;
use std::process::ExitCode;

use logmill_client::{Error, ErrorCode, RpcCode};

use crate::output::note;

/// A mistake in what the user wrote: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Writes the error and gives the exit status.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken_pipe)) {
        // Whoever reads the output has enough of it.
        return ExitCode::SUCCESS;
    }
    note(format!("error: {}", told(error)));
    if let Some(hint) = error.chain().find_map(|cause| hint(cause.downcast_ref::<Error>()?)) {
        note(format!("  hint: {hint}"));
    }
    let usage = error.chain().any(|cause| {
        cause.downcast_ref::<Usage>().is_some()
            || cause.downcast_ref::<logmill_config::ConfigError>().is_some()
    });
    ExitCode::from(if usage { 2 } else { 1 })
}

/// The error and its causes, each once: some say their cause in their own words already.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Connect { address, .. } => {
            format!(
                "is a broker running at {address}? Start one with `logmill serve`, or name another with --bootstrap"
            )
        }
        Error::Rpc { code: RpcCode::Unavailable, .. } => {
            "is a broker running there? Start one with `logmill serve`, or name another with --bootstrap"
                .to_owned()
        }
        Error::Rpc { code: RpcCode::Unimplemented, .. } => {
            "pipelines and queries need a Logmill broker, not older than this command".to_owned()
        }
        Error::UnknownTopic { topic } => {
            format!("`logmill topic list` shows the topics; `logmill topic create {topic}` creates it")
        }
        Error::UnknownPartition { topic, .. } => {
            format!("`logmill topic describe {topic}` shows its partitions")
        }
        Error::Protocol { .. } => "does that port speak Kafka's protocol?".to_owned(),
        Error::Timeout { last: Some(last), .. } => return hint(last),
        Error::Broker { code, .. } => match *code {
            ErrorCode::TOPIC_ALREADY_EXISTS => "`logmill topic describe` shows it".to_owned(),
            ErrorCode::INVALID_TOPIC_EXCEPTION => {
                "a topic's name has letters, digits, `.`, `_` and `-`, at most 249".to_owned()
            }
            ErrorCode::MESSAGE_TOO_LARGE => "the topic's max.message.bytes is the limit".to_owned(),
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("create x: {0}")]
    struct Says(#[source] io::Error);

    #[test]
    fn a_cause_is_told_once() {
        let full = || io::Error::other("no space");
        let error = anyhow::Error::new(Says(full())).context("cannot start");
        assert_eq!(told(&error), "cannot start: create x: no space");
        let error = anyhow::Error::new(full()).context("create x").context("cannot start");
        assert_eq!(told(&error), "cannot start: create x: no space");
    }
}
