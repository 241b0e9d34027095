//! `logmill pipeline logs`.

use std::time::Duration;

use logmill_client::{Error, PipelineEvent, Pipelines, RpcCode};
use serde_json::{Value, json};

use super::pipeline::Named;
use super::pipeline_view;
use super::serve::stop_signal;
use crate::arguments::Output;
use crate::output::{self, note};

/// How often the events of a pipeline are looked at.
const FOLLOW: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    named: Named,
    /// Go on with what happens next, until Ctrl-C. A pipeline that is deleted is waited for, and followed from its beginning
    /// when it is deployed again.
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn logs(pipelines: &Pipelines, command: &Logs, form: Output) -> anyhow::Result<()> {
    let name = &command.named.name;
    let interrupted = stop_signal()?;
    tokio::pin!(interrupted);
    let mut events = pipelines.events(name, 0).await?;
    if form == Output::Json && !command.follow {
        let events: Vec<Value> = events.iter().map(pipeline_view::event).collect();
        output::json("pipeline logs", json!({ "pipeline": name, "events": events }))?;
        return Ok(());
    }
    let mut last: Option<PipelineEvent> = None;
    let mut is_gone = false;
    loop {
        for event in &events {
            output::lines([match form {
                // A line for each, as it happens.
                Output::Json => pipeline_view::event(event).to_string(),
                Output::Table => pipeline_view::event_line(event),
            }])?;
        }
        if !command.follow {
            return Ok(());
        }
        last = events.pop().or(last);
        tokio::select! {
            () = tokio::time::sleep(FOLLOW) => {}
            () = &mut interrupted => return Ok(()),
        }
        // The last one is asked for again: another pipeline of that name counts from 1, too.
        let from = last.as_ref().map_or(0, |last| last.number.saturating_sub(1));
        let found = pipelines.events(name, from).await;
        let was_gone = is_gone;
        is_gone = matches!(found, Err(Error::Rpc { code: RpcCode::NotFound, .. }));
        if is_gone {
            if !was_gone {
                note(format!("pipeline {name} is deleted; waiting for one of that name"));
            }
            events.clear();
            continue;
        }
        events = match &last {
            None => found?,
            Some(last) => match behind(last, found?) {
                Some(events) => events,
                None => {
                    note(format!("the events of {name} begin anew: it was deleted and deployed again"));
                    pipelines.events(name, 0).await?
                }
            },
        };
    }
}

/// Those behind the last event that was seen, of those from its number on. `None`: they are another pipeline's.
fn behind(last: &PipelineEvent, mut found: Vec<PipelineEvent>) -> Option<Vec<PipelineEvent>> {
    match found.first() {
        Some(first) if first == last => drop(found.remove(0)),
        // So much has happened that it is not kept any more.
        Some(first) if first.number > last.number => {}
        _ => return None,
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(from: u64, to: u64, began: i64) -> Vec<PipelineEvent> {
        let event = |number: u64| PipelineEvent {
            number,
            at_ms: began + number as i64,
            kind: "started".to_owned(),
            text: String::new(),
        };
        (from..=to).map(event).collect()
    }

    #[test]
    fn events_of_another_pipeline_are_told_from_those_that_follow() {
        let last = &events(3, 3, 1000)[0];
        assert_eq!(behind(last, events(3, 3, 1000)), Some(Vec::new()));
        assert_eq!(behind(last, events(3, 5, 1000)), Some(events(4, 5, 1000)));
        assert_eq!(behind(last, events(9, 10, 1000)), Some(events(9, 10, 1000)), "some are not kept");
        assert_eq!(behind(last, Vec::new()), None, "it has not got so far");
        assert_eq!(behind(last, events(3, 7, 9000)), None, "it has got further");
    }
}
