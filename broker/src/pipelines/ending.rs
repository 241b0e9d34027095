//! Where the input of a pipeline ends: declared once, and kept.

use std::sync::Arc;

use logmill_stream::Progress;

use super::control::InputEnds;
use super::error::PipelineError;
use super::events::EventKind;
use super::manager::{Pipelines, unplanned};
use crate::topics::Topic;

/// Where the input of a pipeline ends.
#[derive(Clone, Debug)]
pub enum InputEnd {
    /// Where the committed records end now.
    Now,
    /// At these offsets.
    At(InputEnds),
}

/// These ends, but that of a partition which was read beyond its own is where it was read up to.
fn reachable(mut ends: InputEnds, progress: Option<&Progress>) -> InputEnds {
    for input in progress.iter().flat_map(|progress| &progress.inputs) {
        let end = ends.get_mut(&input.topic).zip(usize::try_from(input.partition).ok());
        if let Some(end) = end.and_then(|(ends, index)| ends.get_mut(index)) {
            *end = input.to.max(*end);
        }
    }
    ends
}

impl Pipelines {
    /// Declares where the input ends; the pipeline reads up to there, closes every window and is finished. A partition that
    /// was read beyond its end ends where the pipeline is. Durable when this returns, and gives where the ends are. Declaring
    /// again changes nothing: the first declaration holds, unless the pipeline does not run and has read beyond it.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn finish_input(&self, name: &str, end: InputEnd) -> Result<InputEnds, PipelineError> {
        let _changing = self.hold(name).await;
        self.declare_end(name, end).await
    }

    pub(super) async fn declare_end(&self, name: &str, end: InputEnd) -> Result<InputEnds, PipelineError> {
        let (mut record, plan, control, is_live, shown) = {
            let known = self.0.known.lock();
            let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            let shown = known.shown.get(self.0.clock.steady());
            let control = known.control.clone();
            (known.record.clone(), known.plan.clone(), control, shown.state.is_live(), shown.progress)
        };
        if is_live && let Some(ends) = record.input_ends {
            return Ok(ends);
        }
        // One that has just been created has no logs that say where it is.
        let progress = match is_live || self.own_logs(name).is_err() {
            true => shown,
            false => self.stood(name).await?.map(|cut| cut.progress),
        };
        if let Some(ends) = record.input_ends.take() {
            let reached = reachable(ends.clone(), progress.as_ref());
            let mut inputs = progress.iter().flat_map(|progress| &progress.inputs);
            if reached == ends || inputs.any(|input| input.end.is_some()) {
                return Ok(reached);
            }
        }
        let plan = plan.map_err(|error| unplanned(name, &error))?;
        let end_now = |topic: &Arc<Topic>| {
            let ends = topic.partitions.iter().map(|partition| partition.published().last_stable_offset);
            (topic.name.to_string(), ends.collect::<Vec<i64>>())
        };
        let now =
            || -> Result<InputEnds, PipelineError> { Ok(self.sources(&plan)?.iter().map(end_now).collect()) };
        let ends = match end {
            // What runs reads on while its end is written down: not beyond it.
            InputEnd::Now if is_live => control.bound().set(now)?,
            InputEnd::Now => now()?,
            InputEnd::At(ends) => {
                let now = now()?;
                let fits = |(topic, now): (&String, &Vec<i64>)| {
                    ends.get(topic).is_some_and(|given| given.len() == now.len())
                };
                if ends.len() != now.len() || !now.iter().all(fits) {
                    let counts: Vec<String> =
                        now.iter().map(|(topic, ends)| format!("{} of {topic:?}", ends.len())).collect();
                    return Err(PipelineError::Ends(format!(
                        "name the end of each partition ({}), and of no other topic",
                        counts.join(", ")
                    )));
                }
                ends
            }
        };
        if is_live {
            // It is as far as it is, whatever the bound says, and reads no further.
            control.bound().set(|| Ok::<_, PipelineError>(ends.clone()))?;
        }
        let ends = reachable(ends, progress.as_ref());
        record.input_ends = Some(ends.clone());
        if let Err(error) = self.save(&record).await {
            control.lift_bound();
            return Err(error);
        }
        // Another script takes no pipeline over whose input has an end.
        self.0.replays.give_up(name);
        self.update(name, |known| {
            known.record = record;
            known.control.finish_at(ends.clone());
            known.events.say(self.0.clock.now_ms(), EventKind::Changed, "its input was declared finished");
        });
        Ok(ends)
    }
}
