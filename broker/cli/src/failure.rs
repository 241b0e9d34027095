//! What a user reads when something failed: what, where, and what to do.

use std::io;
use std::process::ExitCode;

use logmill_client::{Error, ErrorCode, RpcCode};
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::commands::script::ScriptError;
use crate::output::{self, note};

/// A mistake in what the user wrote: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Writes the error, as a document, too, where the results of the command are one and there is none yet, and gives the exit
/// status.
pub(crate) fn report_as(error: &anyhow::Error, command: &str, form: Output) -> ExitCode {
    if form == Output::Json && !output::has_begun() {
        // Nobody to tell that standard output is closed.
        let _ = output::json(command, json!({ "error": document(error) }));
    }
    report(error)
}

/// Writes the error and gives the exit status.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken_pipe)) {
        // Whoever reads the output has enough of it.
        return ExitCode::SUCCESS;
    }
    note(format!("error: {}", told(error)));
    if let Some(hint) = hint_of(error) {
        note(format!("  hint: {hint}"));
    }
    ExitCode::from(if error.chain().any(is_usage) { 2 } else { 1 })
}

fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| hint(cause.downcast_ref::<Error>()?))
}

/// Whether what the user wrote is wrong, and not what happened.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    let refused = |error: &Error| matches!(error, Error::Rpc { code: RpcCode::InvalidArgument, .. });
    cause.is::<Usage>()
        || cause.is::<ScriptError>()
        || cause.is::<logmill_config::ConfigError>()
        || cause.downcast_ref::<Error>().is_some_and(refused)
}

/// The error for programs: of a script that does not plan with its place.
fn document(error: &anyhow::Error) -> Value {
    let script = error.chain().find_map(|cause| cause.downcast_ref::<ScriptError>());
    if let Some(ScriptError::Sql { path, error, .. }) = script {
        return json!({
            "message": error.message, "help": error.help, "file": path.display().to_string(), "line": error.line,
            "column": error.column,
        });
    }
    json!({ "message": told(error), "help": hint_of(error) })
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
        Error::Broker { code: ErrorCode::SASL_AUTHENTICATION_FAILED, .. } => {
            "check sasl.username and the password, in the file of --client-config or LOGMILL_SASL_PASSWORD, and that the broker has \
             that user for that sasl.mechanism"
                .to_owned()
        }
        Error::Protocol { .. } => "does that port speak Kafka's protocol?".to_owned(),
        Error::Timeout { last: Some(cause), .. }
        | Error::Unreadable { source: cause, .. }
        | Error::AllStopped { source: cause, .. } => return hint(cause),
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
    fn a_script_that_does_not_plan_is_told_with_its_place() {
        let error = logmill_broker::pipelines::trial::compile("\nSELEC").expect_err("no statement");
        let script = ScriptError::Sql { path: "a.sql".into(), excerpt: String::new(), error };
        let error = anyhow::Error::new(script).context("deploying");
        let told = document(&error);
        assert_eq!((&told["file"], &told["line"], &told["column"]), (&json!("a.sql"), &json!(2), &json!(1)));
        assert!(error.chain().any(is_usage));
        let lost = anyhow::Error::new(Error::UnknownTopic { topic: "t".to_owned() });
        let told = document(&lost);
        assert_eq!(told["message"], "topic t does not exist");
        assert!(told["help"].as_str().is_some_and(|help| help.contains("logmill topic create t")), "{told}");
        assert!(!lost.chain().any(is_usage));
    }

    #[test]
    fn a_cause_is_told_once() {
        let full = || io::Error::other("no space");
        let error = anyhow::Error::new(Says(full())).context("cannot start");
        assert_eq!(told(&error), "cannot start: create x: no space");
        let error = anyhow::Error::new(full()).context("create x").context("cannot start");
        assert_eq!(told(&error), "cannot start: create x: no space");
    }
}
