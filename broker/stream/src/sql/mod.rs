//! SQL to plan.
//!
//! ```text
//! text ─► script (statements) ─► bind (names, types) ─► Plan
//! ```
//!
//! Whatever the language does not have is a [`SqlError`] with a position and a help text, never silence.

mod bind;
mod create_function;
mod dialect;
mod error;
mod module_file;
mod script;
mod settings;
mod shed;
mod statement;
mod type_name;

pub(crate) use bind::{BoundSelect, EMPTY_ROW_TOPIC, RESULT_TOPIC, SelectOrder, is_built_in};
pub use error::SqlError;
pub use module_file::{Embedded, embed_modules};
pub use settings::Settings;
pub(crate) use statement::{GivenTable, Refusal};

use crate::functions::Functions;
use crate::plan::{Column, Expression, Plan};

pub(crate) fn compile_expression(columns: &[Column], text: &str) -> Result<Expression, SqlError> {
    bind::bind_expression(columns, &script::parse_expression(text)?)
}

/// Compiles a query over the rows of one of these tables.
pub(crate) fn compile_select(tables: Vec<GivenTable>, text: &str) -> Result<BoundSelect, SqlError> {
    bind::bind_select(tables, script::parse_query(text)?)
}

/// What a script sets at its head of the pipeline that runs it.
///
/// # Errors
/// Where the script is no script, or sets what there is not, and what to write.
pub fn settings(script: &str) -> Result<Settings, SqlError> {
    Ok(script::parse(script)?.settings)
}

/// Compiles a script into the plan of one pipeline.
///
/// # Errors
/// Where the script is wrong, and what to write.
pub fn compile(script: &str) -> Result<Plan, SqlError> {
    compile_with(script, &Functions::new())
}

/// Compiles a script that may call functions of the program's own, beside those it declares itself.
///
/// # Errors
/// Where the script is wrong, and what to write.
pub fn compile_with(script: &str, functions: &Functions) -> Result<Plan, SqlError> {
    let mut script = script::parse(script)?;
    script.functions = bind::declare(&script.create_functions, functions)?;
    bind::bind(&script)
}
