//! Functions in Rust, of a program that embeds the engine.

use super::Argument;
use crate::value::Value;

/// A scalar function in Rust. A closure is one, too.
///
/// It must be deterministic: what it gives may depend on the arguments only. An epoch is computed again after a crash,
/// and whatever comes out must be the same.
pub trait UserScalar: Send + Sync {
    /// The result for one row, of the type declared.
    ///
    /// # Errors
    /// Why there is none, in words: the row's record is then treated as its table's `'on-error'` says.
    fn call(&self, arguments: &[Argument<'_>]) -> Result<Value, String>;
}

impl<F> UserScalar for F
where
    F: Fn(&[Argument<'_>]) -> Result<Value, String> + Send + Sync,
{
    fn call(&self, arguments: &[Argument<'_>]) -> Result<Value, String> {
        self(arguments)
    }
}

/// An aggregate in Rust. Its state is bytes, as the changelog keeps it; a group begins with no bytes at all.
///
/// It must be deterministic, as [`UserScalar`] is. Rows come in record order; `NULL`s are passed over.
pub trait UserAggregate: Send + Sync {
    /// Takes the value of one row.
    ///
    /// # Errors
    /// Why it cannot, in words. The group has no result from then on.
    fn add(&self, state: &mut Vec<u8>, value: Argument<'_>) -> Result<(), String>;

    /// Takes a later part of the same group.
    ///
    /// # Errors
    /// Why it cannot, in words. The group has no result from then on.
    fn merge(&self, state: &mut Vec<u8>, later: &[u8]) -> Result<(), String>;

    /// The result.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn finish(&self, state: &[u8]) -> Result<Value, String>;

    /// Whether [`UserAggregate::take_back`] is there, which aggregates over rows that change need.
    fn takes_back(&self) -> bool {
        false
    }

    /// Takes back the value of a row that was taken before.
    ///
    /// # Errors
    /// Why it cannot, in words. The group has no result from then on.
    fn take_back(&self, state: &mut Vec<u8>, value: Argument<'_>) -> Result<(), String> {
        let _ = (state, value);
        Err("it takes no rows back".to_owned())
    }
}
