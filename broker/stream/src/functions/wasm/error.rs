//! What is wrong with a module, and what ends a call.

use thiserror::Error;
use wasmi::TrapCode;

use super::WasmLimits;

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

/// Why a call gave nothing, and what to do about it.
pub(super) fn reason(error: &wasmi::Error, limits: WasmLimits) -> String {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => format!(
            "it has used up its fuel, {} units, and may run for ever; if it needs more, give it more: CREATE FUNCTION \
             ... WITH ('fuel' = '...')",
            limits.fuel
        ),
        Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => format!(
            "it asks for more memory than {} pages of 64 KiB; if it needs more, allow more: CREATE FUNCTION ... WITH \
             ('memory-pages' = '...')",
            limits.pages
        ),
        Some(TrapCode::StackOverflow) => "its calls nest too deep".to_owned(),
        Some(TrapCode::UnreachableCodeReached) => {
            "it gave up: `unreachable` was reached, which a panic becomes".to_owned()
        }
        Some(trap) => format!("it trapped: {}", trap.trap_message()),
        None => format!("it trapped: {error}"),
    }
}
