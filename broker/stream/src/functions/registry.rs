//! The functions a script may call beside the built-in ones.

use std::sync::Arc;

use thiserror::Error;

use super::user_function::{Body, FunctionSignature, UserFunction};
use super::{UserAggregate, UserScalar};
use crate::sql;

/// Longer names are refused.
const MAX_NAME_BYTES: usize = 64;
/// More arguments are refused.
const MAX_ARGUMENTS: usize = 16;

/// The functions a script may call beside the built-in ones, by their names; capitals do not matter.
///
/// ```
/// use logmill_stream::{Argument, DataType, FunctionSignature, Functions, Value, compile_with};
///
/// let mut functions = Functions::new();
/// let signature = FunctionSignature::new("double_it", &[DataType::BigInt], DataType::BigInt);
/// functions.scalar(signature, |arguments: &[Argument<'_>]| match arguments {
///     [Argument::BigInt(value)] => value.checked_mul(2).map(Value::BigInt).ok_or("too large".to_owned()),
///     other => Err(format!("not what was declared: {other:?}")),
/// })?;
/// let plan = compile_with(
///     "CREATE TABLE a (x BIGINT) WITH ('topic' = 'a', 'format' = 'json');
///      CREATE TABLE b (y BIGINT) WITH ('topic' = 'b', 'format' = 'json');
///      INSERT INTO b SELECT double_it(x) FROM a",
///     &functions,
/// )?;
/// assert!(plan.explain().contains("double_it"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Functions {
    list: Vec<UserFunction>,
}

/// A function that cannot be declared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FunctionError {
    /// There is a built-in function of the name.
    #[error("`{name}` is a built-in function; give yours another name")]
    BuiltIn {
        /// The name.
        name: String,
    },
    /// There is another of the name.
    #[error("a second function `{name}`; give it another name")]
    Twice {
        /// The name.
        name: String,
    },
    /// The name is no name.
    #[error(
        "`{name}` is no name for a function; use letters, digits and _, a letter first, at most {MAX_NAME_BYTES} bytes"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The arguments are too many, or an aggregate has not exactly one.
    #[error("`{name}` has {found} arguments; {wanted}")]
    BadArguments {
        /// The name.
        name: String,
        /// How many it has.
        found: usize,
        /// What would do.
        wanted: &'static str,
    },
}

impl Functions {
    /// None.
    pub fn new() -> Functions {
        Functions::default()
    }

    /// Adds a scalar function.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn scalar(
        &mut self,
        signature: FunctionSignature,
        function: impl UserScalar + 'static,
    ) -> Result<&mut Self, FunctionError> {
        self.add(UserFunction::new(signature, Body::Scalar(Arc::new(function))))
    }

    /// Adds an aggregate. It has one argument.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn aggregate(
        &mut self,
        signature: FunctionSignature,
        function: impl UserAggregate + 'static,
    ) -> Result<&mut Self, FunctionError> {
        self.add(UserFunction::new(signature, Body::Aggregate(Arc::new(function))))
    }

    /// Adds a function.
    pub(crate) fn add(&mut self, function: UserFunction) -> Result<&mut Self, FunctionError> {
        check(function.signature(), function.is_aggregate())?;
        if self.find(function.name()).is_some() {
            return Err(FunctionError::Twice { name: function.name().to_owned() });
        }
        self.list.push(function);
        Ok(self)
    }

    /// The function of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&UserFunction> {
        self.list.iter().find(|function| function.name().eq_ignore_ascii_case(name))
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.list.iter().map(UserFunction::name)
    }
}

/// Whether a function may be called so.
pub(crate) fn check(signature: &FunctionSignature, aggregate: bool) -> Result<(), FunctionError> {
    let name = signature.name().to_owned();
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !letters || !name.starts_with(|first: char| first.is_ascii_alphabetic()) || name.len() > MAX_NAME_BYTES
    {
        return Err(FunctionError::BadName { name });
    }
    if sql::is_built_in(&name) {
        return Err(FunctionError::BuiltIn { name });
    }
    let found = signature.arguments().len();
    match aggregate {
        true if found != 1 => {
            Err(FunctionError::BadArguments { name, found, wanted: "an aggregate has one" })
        }
        false if found > MAX_ARGUMENTS => {
            Err(FunctionError::BadArguments { name, found, wanted: "there may be 16 at most" })
        }
        _ => Ok(()),
    }
}
