//! Functions of the user's own: scalar functions and aggregates, in Rust where a program embeds the engine, in
//! WebAssembly where a script brings a module.
//!
//! A function is asked for a result and nothing else: it gets its arguments, has no clock, no chance, no file and no
//! socket, and nothing it keeps outlives a call. So the same rows give the same results, whenever and however often they
//! are computed. `FUNCTIONS.md` says how a module is called.

mod argument;
mod registry;
mod rust;
mod stored;
mod user_function;
pub(crate) mod wasm;

pub use argument::Argument;
pub(crate) use registry::check;
pub use registry::{FunctionError, Functions};
pub use rust::{UserAggregate, UserScalar};
pub(crate) use user_function::UserState;
pub use user_function::{FunctionSignature, UserFunction};
