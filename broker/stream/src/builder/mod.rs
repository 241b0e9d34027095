//! Pipelines built in Rust: what a script says, from values.
//!
//! ```
//! use std::time::Duration;
//!
//! use logmill_stream::DataType::{BigInt, String, Timestamp};
//! use logmill_stream::builder::{Table, col, count_all, source, sum};
//!
//! let bids = Table::new("bids", "bids")
//!     .column("auction", BigInt)
//!     .column("price", BigInt)
//!     .column("channel", String)
//!     .column("ts", Timestamp)
//!     .watermark("ts", Duration::from_secs(4));
//! let hourly = Table::new("hourly", "hourly")
//!     .column("window_start", Timestamp)
//!     .column("channel", String)
//!     .column("bids", BigInt)
//!     .column("total", BigInt);
//! let script = source(bids)
//!     .tumble("ts", Duration::from_secs(3600))
//!     .filter(col("price").gt(3))
//!     .group_by([col("window_start"), col("window_end"), col("channel")])
//!     .select([
//!         col("window_start").into(),
//!         col("channel").into(),
//!         count_all().named("bids"),
//!         sum(col("price")).named("total"),
//!     ])
//!     .sink(hourly);
//! let plan = script.plan()?;
//! assert_eq!(plan, logmill_stream::compile(&script.sql())?);
//! # Ok::<(), logmill_stream::SqlError>(())
//! ```
//!
//! A builder writes SQL and nothing else, so that its plan is that of the script: the same operators with the same
//! identities, the same checks, the same errors. [`Script::sql`] shows it, and a broker elsewhere runs it.

mod expression;
mod query;
mod script;
mod table;

pub use expression::{
    Expr, Item, When, avg, call, case, col, column_of, count, count_all, lit, max, min, null, raw, sum,
};
pub use query::{Query, source};
pub use script::Script;
pub use table::Table;

/// A name as SQL takes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as SQL takes it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A length of time as SQL takes it, in whole milliseconds.
fn interval(length: std::time::Duration) -> String {
    format!("INTERVAL '{}' MILLISECOND", length.as_millis())
}
