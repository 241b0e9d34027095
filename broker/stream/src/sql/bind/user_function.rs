//! `CREATE FUNCTION`: what a script declares becomes something that can be called.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlparser::tokenizer::Location;

use super::super::create_function::{CreateFunction, Module};
use super::super::error::{SqlError, suggest};
use super::types;
use crate::functions::wasm::{WasmLimits, WasmModule};
use crate::functions::{self, FunctionSignature, Functions, UserFunction};

/// The options of a function.
const OPTIONS: [&str; 2] = ["fuel", "memory-pages"];

/// The functions a script can call: those given, and those it declares.
pub(in super::super) fn declare(
    declared: &[CreateFunction],
    given: &Functions,
) -> Result<Functions, SqlError> {
    let mut functions = given.clone();
    for function in declared {
        let at = function.name.span.start;
        let refused = |error: functions::FunctionError| {
            let text = error.to_string();
            let (message, help) = text.split_once("; ").unwrap_or((&text, "give it another name"));
            SqlError::at(at, message, help)
        };
        let signature = signature(function)?;
        // Before the module is looked at.
        functions::check(&signature, function.aggregate).map_err(refused)?;
        let module = WasmModule::new(bytes(function)?, &signature, function.aggregate, limits(function)?);
        let module = module.map_err(|error| {
            let message = format!("function `{}`: {}", function.name.value, error.message);
            SqlError::at(function.module_at, message, error.help)
        })?;
        functions.add(UserFunction::of_module(signature, module)).map_err(refused)?;
    }
    Ok(functions)
}

fn signature(function: &CreateFunction) -> Result<FunctionSignature, SqlError> {
    let arguments = function.arguments.iter().map(|(data_type, at)| types::from_sql(data_type, *at));
    let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    let (result, result_at) = &function.result;
    let result = types::from_sql(result, *result_at)?;
    let signature = FunctionSignature::new(&function.name.value, &arguments, result);
    Ok(if function.called_on_null { signature.called_on_null() } else { signature })
}

fn bytes(function: &CreateFunction) -> Result<Vec<u8>, SqlError> {
    let at = function.module_at;
    match &function.module {
        Module::File(file) => Err(SqlError::at(
            at,
            format!("the file `{file}` is not part of the script"),
            "the logmill command puts it in before it sends the script; in other programs write AS '<the module in \
             base64>', or call embed_modules",
        )),
        Module::Text(text) => {
            let plain: String = text.split_ascii_whitespace().collect();
            STANDARD.decode(plain).map_err(|error| {
                SqlError::at(
                    at,
                    format!("this is not base64: {error}"),
                    "write what `base64 < module.wasm` prints, or USING '<file>'",
                )
            })
        }
    }
}

fn limits(function: &CreateFunction) -> Result<WasmLimits, SqlError> {
    let mut limits = WasmLimits::default();
    for option in &function.options {
        let most = match option.key.as_str() {
            "fuel" => WasmLimits::MOST.fuel,
            "memory-pages" => u64::from(WasmLimits::MOST.pages),
            _ => {
                return Err(SqlError::at(
                    option.key_at,
                    format!("a function has no option '{}'", option.key),
                    suggest(&option.key, OPTIONS),
                ));
            }
        };
        let number = number(&option.value, option.value_at, most)?;
        match option.key.as_str() {
            "fuel" => limits.fuel = number,
            _ => limits.pages = u32::try_from(number).unwrap_or(WasmLimits::MOST.pages),
        }
    }
    Ok(limits)
}

fn number(text: &str, at: Location, most: u64) -> Result<u64, SqlError> {
    text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        SqlError::at(at, format!("'{text}' is not a number from 1 to {most}"), format!("write 1 to {most}"))
    })
}
