//! A function as a stored plan has it: a module whole, a function in Rust by its name and types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::user_function::{Body, FunctionSignature, UserFunction};
use super::wasm::{WasmLimits, WasmModule};

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    signature: FunctionSignature,
    aggregate: bool,
    /// The module in base64, and what it may use.
    wasm: Option<(String, WasmLimits)>,
}

impl From<UserFunction> for Stored {
    fn from(function: UserFunction) -> Stored {
        let wasm = match function.body() {
            Body::Wasm(module) => Some((STANDARD.encode(module.bytes()), module.limits())),
            _ => None,
        };
        Stored { signature: function.signature().clone(), aggregate: function.is_aggregate(), wasm }
    }
}

impl TryFrom<Stored> for UserFunction {
    type Error = String;

    fn try_from(stored: Stored) -> Result<UserFunction, String> {
        let Stored { signature, aggregate, wasm } = stored;
        let body = match wasm {
            None => Body::Absent { aggregate },
            Some((module, limits)) => {
                let bytes = STANDARD.decode(module).map_err(|error| error.to_string())?;
                let module = WasmModule::new(bytes, &signature, aggregate, limits);
                Body::Wasm(module.map_err(|error| error.to_string())?)
            }
        };
        Ok(UserFunction::new(signature, body))
    }
}
