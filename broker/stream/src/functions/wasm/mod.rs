//! Functions in WebAssembly: a module is checked when the script is compiled, and has nothing around it when it runs.
//!
//! Every call begins with the module as it was loaded, so that nothing goes from row to row; a module without memory,
//! tables and variables has nothing to begin anew.

mod calls;
mod error;
mod sections;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmi::{Config, EnforcedLimits, Engine, ExternType, FuncType, Module, ValType};

pub(crate) use self::calls::Calls;
pub(crate) use self::error::WasmError;
use super::FunctionSignature;
use crate::value::DataType;

/// A larger module is refused, in bytes.
const MAX_MODULE_BYTES: usize = 1 << 20;
/// How deep calls nest in a module.
const MAX_RECURSION: usize = 500;
/// What the operand stack of a module takes, in bytes.
const MAX_STACK_BYTES: usize = 256 * 1024;
/// A page of a module's memory, in bytes.
const PAGE_BYTES: usize = 64 * 1024;
/// Tables of a module; compilers make one.
const MAX_TABLES: usize = 4;
/// What an entry of a table takes at most, in bytes.
const TABLE_ENTRY_BYTES: usize = 8;

/// What one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WasmLimits {
    /// Units of fuel; an instruction takes about one.
    pub(crate) fuel: u64,
    /// Pages of memory, of 64 KiB.
    pub(crate) pages: u32,
}

impl WasmLimits {
    /// The most that can be asked for: seconds of computing, and 64 MiB.
    pub(crate) const MOST: WasmLimits = WasmLimits { fuel: 1_000_000_000, pages: 1024 };

    fn memory_bytes(self) -> usize {
        self.pages as usize * PAGE_BYTES
    }

    /// Entries of one table. All tables take no more than the memory may: they are made for each row, without fuel.
    fn table_entries(self) -> usize {
        self.memory_bytes() / (MAX_TABLES * TABLE_ENTRY_BYTES)
    }
}

impl Default for WasmLimits {
    /// Some milliseconds of computing, and 4 MiB.
    fn default() -> Self {
        WasmLimits { fuel: 2_000_000, pages: 64 }
    }
}

/// A module that was checked against the function it is to be.
pub(crate) struct WasmModule {
    bytes: Arc<[u8]>,
    engine: Engine,
    module: Module,
    limits: WasmLimits,
    aggregate: bool,
    takes_back: bool,
    /// It has nothing that a call could leave behind.
    stateless: bool,
}

impl WasmModule {
    /// Compiles a module and checks that it has what the function needs, and nothing it may not have.
    ///
    /// # Errors
    /// [`WasmError`]: what is wrong with it, and what to do.
    pub(crate) fn new(
        bytes: Vec<u8>,
        signature: &FunctionSignature,
        aggregate: bool,
        limits: WasmLimits,
    ) -> Result<WasmModule, WasmError> {
        if bytes.len() > MAX_MODULE_BYTES {
            return Err(WasmError::new(
                format!("the module is {} bytes long", bytes.len()),
                format!("keep it below {MAX_MODULE_BYTES} bytes: build it for size, and strip it"),
            ));
        }
        if let Some(data_type) = unsupported(signature) {
            return Err(WasmError::new(
                format!("a module cannot be given a {data_type}"),
                "take a DOUBLE, or a BIGINT of the last digit's units",
            ));
        }
        let engine = Engine::new(&config());
        let module = Module::new(&engine, &bytes).map_err(|error| {
            WasmError::new(
                format!("this is not a WebAssembly module that can be used: {error}"),
                "build it for wasm32-unknown-unknown, without threads and vector instructions",
            )
        })?;
        if let Some(import) = module.imports().next() {
            return Err(WasmError::new(
                format!("the module imports `{}.{}`", import.module(), import.name()),
                "a function gets its arguments and nothing else: build it for wasm32-unknown-unknown, without imports",
            ));
        }
        let stateless = sections::is_stateless(&bytes);
        let mut checked = WasmModule {
            bytes: bytes.into(),
            engine,
            module,
            limits,
            aggregate,
            takes_back: false,
            stateless,
        };
        checked.check_exports(signature)?;
        checked.calls().begin().map_err(|reason| {
            let of_memory =
                "let it need less memory at the beginning, or allow more: WITH ('memory-pages' = '256')";
            let (what, help) = reason
                .split_once("; ")
                .filter(|(what, _)| !what.contains("memory"))
                .unwrap_or((&reason, of_memory));
            WasmError::new(format!("the module does not begin: {what}"), help)
        })?;
        Ok(checked)
    }

    fn check_exports(&mut self, signature: &FunctionSignature) -> Result<(), WasmError> {
        let name = signature.name();
        let [pointer, packed] = [ValType::I32, ValType::I64];
        let state = [pointer, pointer];
        let value = lowered(signature, signature.called_on_null && !self.aggregate);
        let result = [result_type(signature.result())];
        if self.aggregate {
            let taken: Vec<ValType> = state.iter().chain(&value).copied().collect();
            self.check_function(&format!("{name}_add"), &taken, &[packed], true)?;
            self.check_function(&format!("{name}_merge"), &[state, state].concat(), &[packed], true)?;
            self.check_function(&format!("{name}_finish"), &state, &result, true)?;
            self.takes_back = self.check_function(&format!("{name}_take_back"), &taken, &[packed], false)?;
        } else {
            self.check_function(name, &value, &result, true)?;
        }
        self.check_function(&format!("{name}_is_null"), &[], &[ValType::I32], false)?;
        let long = |data_type: &DataType| matches!(data_type, DataType::String | DataType::Bytes);
        let given = self.aggregate || signature.arguments().iter().any(long);
        if given {
            self.check_function("alloc", &[pointer], &[pointer], true)?;
        }
        let memory = matches!(self.module.get_export("memory"), Some(ExternType::Memory(_)));
        if (given || long(&signature.result())) && !memory {
            return Err(WasmError::new(
                "the module exports no `memory`",
                "texts, bytes and the state of aggregates are passed in it: (memory (export \"memory\") 1)",
            ));
        }
        Ok(())
    }

    /// Whether a function is exported, with these types.
    fn check_function(
        &self,
        name: &str,
        parameters: &[ValType],
        results: &[ValType],
        required: bool,
    ) -> Result<bool, WasmError> {
        let wanted = || {
            let list =
                |types: &[ValType]| types.iter().map(|of| format!(" {}", type_name(*of))).collect::<String>();
            format!("export (func (export \"{name}\") (param{}) (result{}))", list(parameters), list(results))
        };
        match self.module.get_export(name) {
            Some(ExternType::Func(found)) if is(&found, parameters, results) => Ok(true),
            Some(ExternType::Func(_)) => Err(WasmError::new(
                format!("the module's function `{name}` has other types than this function needs"),
                wanted(),
            )),
            Some(_) => Err(WasmError::new(format!("the module's `{name}` is no function"), wanted())),
            None if required => {
                Err(WasmError::new(format!("the module exports no function `{name}`"), wanted()))
            }
            None => Ok(false),
        }
    }

    /// The module as it was given.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a call may use.
    pub(crate) fn limits(&self) -> WasmLimits {
        self.limits
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        self.aggregate
    }

    pub(crate) fn takes_back(&self) -> bool {
        self.takes_back
    }

    /// Ready to be called.
    pub(crate) fn calls(&self) -> Calls<'_> {
        Calls::new(self)
    }
}

/// What modules may consist of. What a module computes is the same everywhere: no threads, no relaxed instructions, and a
/// `NaN` has one form (the crate's feature `deterministic`).
fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .ignore_custom_sections(true)
        .set_max_recursion_depth(MAX_RECURSION)
        .set_max_stack_height(MAX_STACK_BYTES)
        .set_max_cached_stacks(1)
        .enforced_limits(EnforcedLimits::strict());
    config
}

fn unsupported(signature: &FunctionSignature) -> Option<DataType> {
    let types = signature.arguments().iter().copied().chain([signature.result()]);
    types.into_iter().find(|data_type| matches!(data_type, DataType::Decimal { .. }))
}

/// The parameters that the arguments become.
fn lowered(signature: &FunctionSignature, with_presence: bool) -> Vec<ValType> {
    let mut types = Vec::new();
    for argument in signature.arguments() {
        if with_presence {
            types.push(ValType::I32);
        }
        match argument {
            DataType::String | DataType::Bytes => types.extend([ValType::I32, ValType::I32]),
            other => types.push(result_type(*other)),
        }
    }
    types
}

/// The type of a result, and of every argument that is one number.
fn result_type(data_type: DataType) -> ValType {
    match data_type {
        DataType::Boolean | DataType::Date => ValType::I32,
        DataType::Double => ValType::F64,
        _ => ValType::I64,
    }
}

fn is(found: &FuncType, parameters: &[ValType], results: &[ValType]) -> bool {
    found.params() == parameters && found.results() == results
}

fn type_name(value: ValType) -> &'static str {
    match value {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        _ => "another type",
    }
}
