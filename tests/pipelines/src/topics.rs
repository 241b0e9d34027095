//! The topics of a plan.

use logmill_stream::Plan;
use logmill_stream::plan::ErrorPolicy;

/// Those it reads.
pub fn sources(plan: &Plan) -> Vec<&str> {
    vec![&plan.source.topic]
}

/// Those its rows go to.
pub fn sinks(plan: &Plan) -> Vec<&str> {
    vec![&plan.sink.topic]
}

/// Those that take records which do not become rows.
pub fn sides(plan: &Plan) -> Vec<&str> {
    match &plan.source.on_error {
        ErrorPolicy::DeadLetter { topic } => vec![topic],
        ErrorPolicy::Fail | ErrorPolicy::Skip => Vec::new(),
    }
}
