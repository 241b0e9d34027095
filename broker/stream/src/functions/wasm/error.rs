//! What is wrong with a module, and what ends a call.

use thiserror::Error;
use wasmi::TrapCode;
use wasmi::errors::{ErrorKind, InstantiationError};

use super::{MAX_RECURSION, MAX_TABLES, WasmLimits};

/// A module that cannot be a function.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub(crate) struct WasmError {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl WasmError {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> WasmError {
        WasmError { message: message.into(), help: help.into() }
    }
}

/// Why a call gave nothing, and what to do about it, behind a `; `. `function` says which of the module's.
pub(super) fn reason(function: &str, error: &wasmi::Error, limits: WasmLimits) -> String {
    match error.kind() {
        ErrorKind::Instantiation(InstantiationError::TooManyTables) => {
            return format!("the module has more than {MAX_TABLES} tables; put its functions into one table");
        }
        ErrorKind::Instantiation(InstantiationError::FailedToInstantiateTable(_)) => {
            return format!(
                "the module has a table of more than {} entries; let it be smaller, or allow more, which go by the memory: \
                 CREATE FUNCTION ... WITH ('memory-pages' = '...')",
                limits.table_entries()
            );
        }
        _ => {}
    }
    let (what, remedy) = match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => (
            format!("has used up its fuel, {} units, and may run for ever", limits.fuel),
            "if it needs more, give it more: CREATE FUNCTION ... WITH ('fuel' = '...')".to_owned(),
        ),
        // Tables that grow are bounded by the memory, too.
        Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => (
            format!("asks for more memory than {} pages of 64 KiB", limits.pages),
            "if it needs more, allow more: CREATE FUNCTION ... WITH ('memory-pages' = '...')".to_owned(),
        ),
        Some(TrapCode::StackOverflow) => (
            "has calls that nest too deep".to_owned(),
            format!("make a loop of what calls itself: {MAX_RECURSION} calls are the most"),
        ),
        Some(TrapCode::UnreachableCodeReached) => (
            "gave up: `unreachable` was reached, which a panic becomes".to_owned(),
            "call it with these arguments in a test of the module, where the panic says its place".to_owned(),
        ),
        Some(TrapCode::MemoryOutOfBounds) => (
            "reads or writes beyond its memory: out of bounds memory access".to_owned(),
            "look at what it does with the addresses and lengths it is given".to_owned(),
        ),
        Some(trap) => (
            format!("trapped: {}", trap.trap_message()),
            "let the module look at its arguments first, or leave such rows out before: WHERE, CASE"
                .to_owned(),
        ),
        None => (format!("trapped: {error}"), "build the module anew".to_owned()),
    };
    format!("the module's {function} {what}; {remedy}")
}
