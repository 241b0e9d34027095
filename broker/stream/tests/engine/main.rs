//! The engine from without: scripts, batches in memory, and what comes out. One program, for each of them would be linked
//! with all of the engine.

mod aggregates;
mod at_once;
mod bounds;
mod builder;
mod complete_output;
mod copies;
mod counters;
mod decimals;
mod errors;
mod event_time;
mod excess;
mod flights;
mod formats;
mod functions;
mod golden;
mod idleness;
mod joins;
mod late_in_some_windows;
mod outputs;
mod parser;
mod partitioned;
mod plans;
mod policies;
mod processing_time;
mod ranks;
mod ranks_by_definition;
mod refused;
mod shedding;
mod snapshots;
mod spill;
mod sql_page;
#[path = "../support/mod.rs"]
mod support;
mod table_queries;
mod threads;
mod time_ahead;
mod time_to_live;
mod upgrades;
mod user_functions;
