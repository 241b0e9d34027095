//! Calls of a module's functions: arguments in, fuel and memory bounded, results out.

use wasmi::{F64, Instance, Linker, Memory, Store, StoreLimits, StoreLimitsBuilder, Val};

use super::super::{Argument, FunctionSignature};
use super::{MAX_TABLES, WasmModule, error};
use crate::value::{DataType, Value};

/// Calls functions of a module, one after the other.
pub(crate) struct Calls<'m> {
    module: &'m WasmModule,
    /// Of a module without state: what the calls share.
    kept: Option<Running>,
}

/// A module that runs.
struct Running {
    store: Store<StoreLimits>,
    instance: Instance,
}

impl<'m> Calls<'m> {
    pub(super) fn new(module: &'m WasmModule) -> Self {
        Self { module, kept: None }
    }

    /// The module as it was loaded, its memory as it begins and its fuel full.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        let running = self.running()?;
        self.keep(running);
        Ok(())
    }

    /// A scalar function of one row.
    pub(crate) fn scalar(
        &mut self,
        signature: &FunctionSignature,
        arguments: &[Argument<'_>],
    ) -> Result<Value, String> {
        let mut running = self.running()?;
        let called = self.call_scalar(&mut running, signature, arguments);
        self.keep(running);
        called
    }

    fn call_scalar(
        &self,
        running: &mut Running,
        signature: &FunctionSignature,
        arguments: &[Argument<'_>],
    ) -> Result<Value, String> {
        let mut lowered = Vec::with_capacity(arguments.len() * 3);
        for (argument, data_type) in arguments.iter().zip(signature.arguments()) {
            if signature.called_on_null {
                lowered.push(Val::I32(i32::from(*argument != Argument::Null)));
            }
            self.lower(running, *argument, *data_type, &mut lowered)?;
        }
        let result = self.call(running, signature.name(), &lowered, signature.result())?;
        self.lift(running, signature, result)
    }

    /// Takes a value into the state of an aggregate, or takes it back.
    pub(crate) fn add(
        &mut self,
        name: &str,
        state: &mut Vec<u8>,
        value: Argument<'_>,
        back: bool,
    ) -> Result<(), String> {
        let function = format!("{name}_{}", if back { "take_back" } else { "add" });
        self.change(&function, state, |calls, running, lowered| {
            // A value that is not `NULL` says itself what it is.
            calls.lower(running, value, DataType::String, lowered)
        })
    }

    /// Takes the state of a later part of a group.
    pub(crate) fn merge(&mut self, name: &str, state: &mut Vec<u8>, later: &[u8]) -> Result<(), String> {
        self.change(&format!("{name}_merge"), state, |calls, running, lowered| {
            calls.lower(running, Argument::Bytes(later), DataType::Bytes, lowered)
        })
    }

    fn change(
        &mut self,
        function: &str,
        state: &mut Vec<u8>,
        lower: impl FnOnce(&Self, &mut Running, &mut Vec<Val>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut running = self.running()?;
        let mut lowered = Vec::with_capacity(4);
        self.lower(&mut running, Argument::Bytes(state), DataType::Bytes, &mut lowered)?;
        lower(self, &mut running, &mut lowered)?;
        let result = self.call(&mut running, function, &lowered, DataType::Bytes)?;
        let changed = self.bytes(&running, &result)?.to_vec();
        *state = changed;
        self.keep(running);
        Ok(())
    }

    /// The result of an aggregate.
    pub(crate) fn finish(&mut self, signature: &FunctionSignature, state: &[u8]) -> Result<Value, String> {
        let mut running = self.running()?;
        let mut lowered = Vec::with_capacity(2);
        self.lower(&mut running, Argument::Bytes(state), DataType::Bytes, &mut lowered)?;
        let function = format!("{}_finish", signature.name());
        let result = self.call(&mut running, &function, &lowered, signature.result())?;
        self.lift(&mut running, signature, result)
    }

    fn running(&mut self) -> Result<Running, String> {
        if let Some(mut running) = self.kept.take() {
            self.fill(&mut running.store)?;
            return Ok(running);
        }
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.module.limits.memory_bytes())
            .tables(MAX_TABLES)
            .table_elements(self.module.limits.table_entries())
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&self.module.engine, limits);
        store.limiter(|limits| limits);
        self.fill(&mut store)?;
        let linker = Linker::new(&self.module.engine);
        let instance = linker
            .instantiate_and_start(&mut store, &self.module.module)
            .map_err(|error| error::reason("start function", &error, self.module.limits))?;
        Ok(Running { store, instance })
    }

    fn fill(&self, store: &mut Store<StoreLimits>) -> Result<(), String> {
        store.set_fuel(self.module.limits.fuel).map_err(|error| error.to_string())
    }

    fn keep(&mut self, running: Running) {
        if self.module.stateless {
            self.kept = Some(running);
        }
    }

    fn call(
        &self,
        running: &mut Running,
        function: &str,
        arguments: &[Val],
        result: DataType,
    ) -> Result<Val, String> {
        let mut results = [match result {
            DataType::Boolean | DataType::Date => Val::I32(0),
            DataType::Double => Val::F64(F64::from(0.0)),
            _ => Val::I64(0),
        }];
        let called = running.instance.get_func(&running.store, function);
        let called = called.ok_or_else(|| format!("the module exports no function `{function}`"))?;
        called
            .call(&mut running.store, arguments, &mut results)
            .map_err(|error| error::reason(&format!("`{function}`"), &error, self.module.limits))?;
        let [result] = results;
        Ok(result)
    }

    /// Appends the parameters that an argument becomes.
    fn lower(
        &self,
        running: &mut Running,
        argument: Argument<'_>,
        data_type: DataType,
        lowered: &mut Vec<Val>,
    ) -> Result<(), String> {
        match argument {
            Argument::Boolean(value) => lowered.push(Val::I32(i32::from(value))),
            Argument::Date(days) => lowered.push(Val::I32(days)),
            Argument::BigInt(value) | Argument::Timestamp(value) => lowered.push(Val::I64(value)),
            Argument::Double(value) => lowered.push(Val::F64(F64::from(value))),
            Argument::String(text) => self.lower_bytes(running, text.as_bytes(), lowered)?,
            Argument::Bytes(bytes) => self.lower_bytes(running, bytes, lowered)?,
            Argument::Decimal(_) => return Err("a module cannot be given a DECIMAL".to_owned()),
            // Beside the flag that says so.
            Argument::Null => match data_type {
                DataType::Boolean | DataType::Date => lowered.push(Val::I32(0)),
                DataType::Double => lowered.push(Val::F64(F64::from(0.0))),
                DataType::String | DataType::Bytes => lowered.extend([Val::I32(0), Val::I32(0)]),
                _ => lowered.push(Val::I64(0)),
            },
        }
        Ok(())
    }

    /// Copies bytes into the module's memory, where its own `alloc` makes room for them.
    fn lower_bytes(&self, running: &mut Running, bytes: &[u8], lowered: &mut Vec<Val>) -> Result<(), String> {
        if bytes.is_empty() {
            lowered.extend([Val::I32(0), Val::I32(0)]);
            return Ok(());
        }
        let too_long =
            || format!("{} bytes do not fit the module's memory; give it shorter texts", bytes.len());
        let length = i32::try_from(bytes.len()).map_err(|_| too_long())?;
        let place = self.call(running, "alloc", &[Val::I32(length)], DataType::Date)?;
        let place = place.i32().unwrap_or_default();
        let memory = memory(running)?;
        let offset = place as u32 as usize;
        memory.write(&mut running.store, offset, bytes).map_err(|_| {
            format!(
                "the module's `alloc` gave {} bytes at {offset}, where its memory has no room for them; let it ask for memory \
                 first (memory.grow)",
                bytes.len()
            )
        })?;
        lowered.extend([Val::I32(place), Val::I32(length)]);
        Ok(())
    }

    /// The bytes a result points at: the address in the upper half, the length in the lower one.
    fn bytes<'r>(&self, running: &'r Running, result: &Val) -> Result<&'r [u8], String> {
        let packed = result.i64().unwrap_or_default() as u64;
        let (place, length) = ((packed >> 32) as usize, (packed & 0xffff_ffff) as usize);
        if length == 0 {
            return Ok(&[]);
        }
        let memory = memory(running)?.data(&running.store);
        let found = place.checked_add(length).and_then(|end| memory.get(place..end));
        found.ok_or_else(|| {
            format!(
                "the module gave {length} bytes at {place}, and its memory ends at {}; texts and bytes are given as one number, \
                 the address in the upper 32 bits and the length in the lower ones",
                memory.len()
            )
        })
    }

    fn lift(
        &self,
        running: &mut Running,
        signature: &FunctionSignature,
        result: Val,
    ) -> Result<Value, String> {
        let is_null = format!("{}_is_null", signature.name());
        if running.instance.get_func(&running.store, &is_null).is_some() {
            let is_null = self.call(running, &is_null, &[], DataType::Boolean)?;
            if is_null.i32() != Some(0) {
                return Ok(Value::Null);
            }
        }
        Ok(match (signature.result(), &result) {
            (DataType::Boolean, Val::I32(value)) => Value::Boolean(*value != 0),
            (DataType::Date, Val::I32(days)) => Value::Date(*days),
            (DataType::BigInt, Val::I64(value)) => Value::BigInt(*value),
            (DataType::Timestamp, Val::I64(ms)) => Value::Timestamp(*ms),
            (DataType::Double, Val::F64(value)) => Value::Double(f64::from(*value)),
            (DataType::String, Val::I64(_)) => {
                let bytes = self.bytes(running, &result)?;
                let text = std::str::from_utf8(bytes).map_err(|_| {
                    "the text that the module gave is not UTF-8; let it give UTF-8, or declare RETURNS BYTES"
                })?;
                Value::String(text.to_owned())
            }
            (DataType::Bytes, Val::I64(_)) => Value::Bytes(self.bytes(running, &result)?.to_vec()),
            (wanted, found) => return Err(format!("it gave {found:?}, which is no {wanted}")),
        })
    }
}

fn memory(running: &Running) -> Result<Memory, String> {
    let memory = running.instance.get_memory(&running.store, "memory");
    memory.ok_or_else(|| "the module exports no `memory`".to_owned())
}
