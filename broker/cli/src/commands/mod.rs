//! One file per command.

pub(crate) mod broker;
pub(crate) mod cases;
pub(crate) mod changes;
pub(crate) mod config;
pub(crate) mod consume;
mod exact_json;
mod expected;
pub(crate) mod format;
pub(crate) mod group;
pub(crate) mod import;
pub(crate) mod infer;
pub(crate) mod metrics;
pub(crate) mod pipeline;
mod pipeline_changes;
mod pipeline_logs;
mod pipeline_view;
pub(crate) mod produce;
pub(crate) mod script;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod storage;
pub(crate) mod topic;
pub(crate) mod txn;
pub(crate) mod worker;
