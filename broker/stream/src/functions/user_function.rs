//! A function of the user's own, as a plan names it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stored::Stored;
use super::wasm::{Calls, WasmModule};
use super::{Argument, UserAggregate, UserScalar};
use crate::time;
use crate::value::{DataType, Value};

/// A group's state that is longer is refused, in bytes.
const MAX_STATE_BYTES: usize = 1 << 20;

/// A function's name and types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSignature {
    pub(super) name: String,
    pub(super) arguments: Vec<DataType>,
    pub(super) result: DataType,
    pub(super) called_on_null: bool,
    pub(super) version: u32,
}

impl FunctionSignature {
    /// A function that gives `NULL` where an argument is `NULL`, without being called.
    pub fn new(name: &str, arguments: &[DataType], result: DataType) -> FunctionSignature {
        FunctionSignature {
            name: name.to_owned(),
            arguments: arguments.to_vec(),
            result,
            called_on_null: false,
            version: 0,
        }
    }

    /// It is called where an argument is `NULL`, too. It says nothing for aggregates, which pass over `NULL`.
    pub fn called_on_null(self) -> FunctionSignature {
        FunctionSignature { called_on_null: true, ..self }
    }

    /// Another number for a function in Rust that computes something else than before: state that the old one had a
    /// part in is not taken over. Modules of WebAssembly need none.
    pub fn version(self, version: u32) -> FunctionSignature {
        FunctionSignature { version, ..self }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types of the arguments.
    pub fn arguments(&self) -> &[DataType] {
        &self.arguments
    }

    /// The type of the result.
    pub fn result(&self) -> DataType {
        self.result
    }
}

impl fmt::Display for FunctionSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.arguments.iter().map(DataType::to_string).collect();
        write!(f, "{}({}) RETURNS {}", self.name, arguments.join(", "), self.result)
    }
}

/// A function of the user's own, with everything a call of it needs. Two are equal when they have the same name, the same
/// types and the same module, or version.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct UserFunction {
    declared: Arc<Declared>,
}

struct Declared {
    signature: FunctionSignature,
    identity: u32,
    body: Body,
}

/// Who computes it.
pub(super) enum Body {
    Scalar(Arc<dyn UserScalar>),
    Aggregate(Arc<dyn UserAggregate>),
    Wasm(WasmModule),
    /// A function in Rust in a plan that was read back.
    Absent {
        aggregate: bool,
    },
}

impl PartialEq for UserFunction {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.signature() == other.signature()
            && self.is_aggregate() == other.is_aggregate()
    }
}

impl fmt::Debug for UserFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserFunction({} #{:08x})", self.signature(), self.identity())
    }
}

impl fmt::Display for UserFunction {
    /// Its name with its identity, so that a plan with another module is another plan.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:08x}", self.name(), self.identity())
    }
}

impl UserFunction {
    pub(super) fn new(signature: FunctionSignature, body: Body) -> UserFunction {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(format!("{signature} {} {}", signature.called_on_null, signature.version).as_bytes());
        if let Body::Wasm(module) = &body {
            hasher.update(module.bytes());
        }
        let identity = hasher.finalize();
        UserFunction { declared: Arc::new(Declared { signature, identity, body }) }
    }

    /// A function of a module.
    pub(crate) fn of_module(signature: FunctionSignature, module: WasmModule) -> UserFunction {
        UserFunction::new(signature, Body::Wasm(module))
    }

    pub(super) fn body(&self) -> &Body {
        &self.declared.body
    }

    /// The name and the types.
    pub fn signature(&self) -> &FunctionSignature {
        &self.declared.signature
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.declared.signature.name
    }

    /// A number that tells what it computes from what another one computes.
    pub fn identity(&self) -> u32 {
        self.declared.identity
    }

    /// Whether it folds many rows into one value.
    pub fn is_aggregate(&self) -> bool {
        match &self.declared.body {
            Body::Scalar(_) => false,
            Body::Aggregate(_) => true,
            Body::Wasm(module) => module.is_aggregate(),
            Body::Absent { aggregate } => *aggregate,
        }
    }

    /// Of an aggregate: whether a row that was taken can be taken back.
    pub fn takes_back(&self) -> bool {
        match &self.declared.body {
            Body::Aggregate(aggregate) => aggregate.takes_back(),
            Body::Wasm(module) => module.takes_back(),
            Body::Scalar(_) | Body::Absent { .. } => false,
        }
    }

    /// Ready to be called for many rows.
    pub(crate) fn caller(&self) -> Caller<'_> {
        let calls = match &self.declared.body {
            Body::Wasm(module) => Some(module.calls()),
            _ => None,
        };
        Caller { function: self, calls }
    }

    fn absent(&self) -> String {
        format!(
            "`{}` is written in Rust, and a plan that was stored does not have it; compile the script again",
            self.name()
        )
    }

    fn checked(&self, value: Value) -> Result<Value, String> {
        let wanted = self.signature().result;
        let sound = match (&value, wanted) {
            (Value::Null, _)
            | (Value::Boolean(_), DataType::Boolean)
            | (Value::BigInt(_), DataType::BigInt)
            | (Value::String(_), DataType::String)
            | (Value::Bytes(_), DataType::Bytes) => true,
            (Value::Double(value), DataType::Double) => match value.is_finite() {
                true => true,
                false => return Err(format!("it gave {value}, which is not finite")),
            },
            (Value::Timestamp(ms), DataType::Timestamp) => match time::in_range(*ms) {
                true => true,
                false => return Err(format!("{ms} ms are not within the years 1 to 9999")),
            },
            (Value::Date(days), DataType::Date) => match time::in_range(i64::from(*days) * time::DAY_MS) {
                true => true,
                false => return Err(format!("day {days} is not within the years 1 to 9999")),
            },
            (Value::Decimal(decimal), DataType::Decimal { precision, scale }) => {
                decimal.scale == scale && decimal.fits(precision)
            }
            _ => false,
        };
        match sound {
            true => Ok(value),
            false => Err(format!("it gave {value}, which is no {wanted}")),
        }
    }
}

/// Calls a scalar function for one row after the other.
pub(crate) struct Caller<'f> {
    function: &'f UserFunction,
    calls: Option<Calls<'f>>,
}

impl Caller<'_> {
    /// The result of one row.
    pub(crate) fn call(&mut self, arguments: &[Argument<'_>]) -> Result<Value, String> {
        let function = self.function;
        if !function.signature().called_on_null && arguments.contains(&Argument::Null) {
            return Ok(Value::Null);
        }
        let value = match (function.body(), &mut self.calls) {
            (Body::Scalar(scalar), _) => scalar.call(arguments)?,
            (Body::Wasm(_), Some(calls)) => calls.scalar(function.signature(), arguments)?,
            _ => return Err(function.absent()),
        };
        function.checked(value)
    }
}

/// The state of a group in an aggregate of the user's own, or why it has none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserState(Result<Vec<u8>, String>);

impl UserState {
    /// Of a group without rows.
    pub(crate) fn empty() -> UserState {
        UserState(Ok(Vec::new()))
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) {
        let Ok(state) = &mut self.0 else { return };
        let changed = change(state);
        let length = state.len();
        if let Err(reason) = changed {
            self.0 = Err(reason);
        } else if length > MAX_STATE_BYTES {
            self.0 = Err(format!("its state is {length} bytes long; {MAX_STATE_BYTES} are allowed"));
        }
    }

    /// Takes a value, or takes it back.
    pub(crate) fn add(&mut self, function: &UserFunction, value: Argument<'_>, back: bool) {
        self.change(|state| match function.body() {
            Body::Aggregate(aggregate) if back => aggregate.take_back(state, value),
            Body::Aggregate(aggregate) => aggregate.add(state, value),
            Body::Wasm(module) => module.calls().add(function.name(), state, value, back),
            Body::Scalar(_) | Body::Absent { .. } => Err(function.absent()),
        });
    }

    /// Takes a later part of the group.
    pub(crate) fn merge(&mut self, function: &UserFunction, later: &UserState) {
        match &later.0 {
            // A part that cannot be computed leaves nothing to compute the whole from.
            Err(reason) => self.change(|_| Err(reason.clone())),
            // Nothing was taken.
            Ok(later) if later.is_empty() => {}
            Ok(later) => self.change(|state| match function.body() {
                Body::Aggregate(aggregate) => aggregate.merge(state, later),
                Body::Wasm(module) => module.calls().merge(function.name(), state, later),
                Body::Scalar(_) | Body::Absent { .. } => Err(function.absent()),
            }),
        }
    }

    /// The result.
    pub(crate) fn finish(&self, function: &UserFunction) -> Result<Value, String> {
        let state = self.0.as_ref().map_err(Clone::clone)?;
        let value = match function.body() {
            Body::Aggregate(aggregate) => aggregate.finish(state)?,
            Body::Wasm(module) => module.calls().finish(function.signature(), state)?,
            Body::Scalar(_) | Body::Absent { .. } => return Err(function.absent()),
        };
        function.checked(value)
    }

    /// The state, or the reason why there is none, with which of them it is.
    pub(crate) fn parts(&self) -> (bool, &[u8]) {
        match &self.0 {
            Ok(state) => (true, state),
            Err(reason) => (false, reason.as_bytes()),
        }
    }

    /// What [`UserState::parts`] told.
    pub(crate) fn of_parts(sound: bool, bytes: &[u8]) -> Option<UserState> {
        Some(UserState(match sound {
            true => Ok(bytes.to_vec()),
            false => Err(String::from_utf8(bytes.to_vec()).ok()?),
        }))
    }
}
