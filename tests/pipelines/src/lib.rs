//! Whole pipelines: Nexmark's queries and questions to real data, run in memory, against what DuckDB computes.
//!
//! ```text
//! nexmark, flights ─► Event ─┬─► files ─► .ci/pipelines/oracle (DuckDB) ─► Expected ─┐
//!                            └─► Input ─► run (cuts, crashes) ─► final_rows ─────────┴─► compare ─► Differences
//! ```
//!
//! A case is a script in a folder of this crate and, beside it in `oracle/`, the same question to DuckDB. `expected/`
//! holds DuckDB's answer for a small input, or a digest of it where it is long.

pub mod canonical;
pub mod case;
pub mod check;
pub mod compare;
pub mod digest;
pub mod engine;
pub mod expected;
pub mod final_rows;
pub mod flights;
pub mod fuzz;
pub mod golden;
pub mod input;
pub mod logs;
pub mod nexmark;
pub mod printed;
pub mod random;
pub mod run;
