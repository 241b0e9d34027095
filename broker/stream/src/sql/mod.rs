//! SQL to plan.
//!
//! ```text
//! text ─► script (statements) ─► bind (names, types) ─► Plan
//! ```
//!
//! Whatever the language does not have is a [`SqlError`] with a position and a help text, never silence.

mod bind;
mod dialect;
mod error;
mod script;

pub use error::SqlError;

use crate::plan::{Column, Expression, Plan};

pub(crate) fn compile_expression(columns: &[Column], text: &str) -> Result<Expression, SqlError> {
    bind::bind_expression(columns, &script::parse_expression(text)?)
}

/// Compiles a script into the plan of one pipeline.
pub fn compile(script: &str) -> Result<Plan, SqlError> {
    bind::bind(&script::parse(script)?)
}
