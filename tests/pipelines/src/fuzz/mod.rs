//! Random small queries over random rows: what this engine makes of them, for another engine to make too.
//!
//! ```text
//! rows ─┬─► DuckDB's literals ──────────────────────────────────────────► DuckDB ─┐
//!       └─► batches ─► run in two ways: cuts, shards, crashes at random ─► rows ──┴─► .ci/fuzz/queries
//! ```
//!
//! Both engines get the same query but for what they read it from: a window is a function of a table here, and a
//! computed column there ([`Query`]).

mod expressions;
mod queries;
mod tables;

use anyhow::{Context, Result};
use logmill_stream::compile;
use serde_json::{Value, json};

pub use queries::Query;

use crate::final_rows::{Mode, final_rows};
use crate::input::Events;
use crate::random::Random;
use crate::run::{Crash, Cuts, Run, run};

/// Epochs of a run, at most.
const EPOCHS: usize = 12;
/// Crashes of a run, at most.
const CRASHES: usize = 4;
/// Runs of a query.
const RUNS: usize = 2;

/// One query, the rows it is asked of, and what this engine says.
#[derive(Debug)]
pub struct Case {
    seed: u64,
    query: Query,
    tables: tables::Tables,
}

impl Case {
    /// The case of a seed.
    pub fn new(seed: u64) -> Case {
        let mut random = Random::new(seed);
        let tables = tables::Tables::random(&mut random);
        Case { seed, query: Query::random(&mut random), tables }
    }

    /// The script.
    pub fn script(&self) -> String {
        let Query { columns, mode, .. } = &self.query;
        let output = match mode {
            Mode::Append => "append",
            Mode::Upsert => "upsert",
            Mode::Changes => "changes",
            Mode::Retract => "retract",
        };
        let columns: Vec<String> =
            columns.iter().enumerate().map(|(index, data_type)| format!("c{index} {data_type}")).collect();
        format!(
            "{}CREATE TABLE o ({}) WITH ('topic' = 'o', 'format' = 'json', 'output' = '{output}');\nINSERT INTO o\n{};",
            tables::SCRIPT,
            columns.join(", "),
            self.query.ours
        )
    }

    /// The final rows of each run, JSON objects.
    ///
    /// # Errors
    /// The engine refuses the script, or a run fails.
    pub fn runs(&self) -> Result<Vec<Vec<Value>>> {
        let script = self.script();
        let plan =
            compile(&script).map_err(|error| anyhow::anyhow!("{error}\n{}", error.excerpt(&script)))?;
        let events: Events = self.tables.events();
        let mut random = Random::new(!self.seed);
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let input = events.batches(&plan.source_topics(), 1 + random.below(6));
            let cuts = Cuts::random(&input, 1 + random.below(EPOCHS), &mut random);
            let shards = [1 + random.below(4), 1 + random.below(4)];
            let mut way = Run::new(cuts).in_shards(&shards);
            for _ in 0..random.below(CRASHES + 1) {
                let crash = if random.below(2) == 0 { Crash::Before } else { Crash::After };
                way.crashes.insert(1 + random.below(EPOCHS) as u64, crash);
            }
            let outcome = run(&plan, &input, &way).with_context(|| format!("{way:?}"))?;
            let mut rows = final_rows(self.query.mode, &outcome.logs.records("o")?)?;
            // They are a table: their order says nothing.
            rows.sort_unstable();
            runs.push(rows.iter().map(|row| Ok(serde_json::from_slice(row)?)).collect::<Result<_>>()?);
        }
        Ok(runs)
    }

    /// All of it, as a line for the other engine's side.
    pub fn line(&self) -> Value {
        let mut line = json!({
            "seed": self.seed, "shape": self.query.shape, "script": self.script(), "query": self.query.duck,
            "types": self.query.columns, "tables": self.tables.literals(),
        });
        match self.runs() {
            Ok(runs) => line["runs"] = json!(runs),
            Err(error) => line["failed"] = json!(format!("{error:#}")),
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is generated can be run, and is something: each shape gives rows for some seed.
    #[test]
    fn queries_run_and_give_rows() {
        let mut shapes = BTreeSet::new();
        for seed in 0..200 {
            let case = Case::new(seed);
            let runs =
                case.runs().unwrap_or_else(|error| panic!("seed {seed}: {error:#}\n{}", case.script()));
            if runs.iter().all(|rows| !rows.is_empty()) {
                shapes.insert(case.query.shape);
            }
        }
        assert_eq!(shapes.into_iter().collect::<Vec<_>>(), queries::SHAPES.map(|(name, _)| name));
    }

    #[test]
    fn the_same_seed_is_the_same_case() {
        assert_eq!(Case::new(7).line(), Case::new(7).line());
        assert_ne!(Case::new(7).line()["tables"], Case::new(8).line()["tables"]);
    }
}
