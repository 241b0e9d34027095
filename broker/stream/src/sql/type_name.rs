//! The type of a column or of a function's argument, as a script names it.

use sqlparser::ast::DataType;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::error::SqlError;
use super::script::Statements;

/// Types of values that hold others. There are none here.
const NESTED: [&str; 5] = ["ARRAY", "MAP", "MULTISET", "ROW", "STRUCT"];

impl Statements<'_> {
    /// A type. Those of values inside one another are refused by name: what is behind them would look like the mistake.
    pub(super) fn data_type(&mut self, help: &str) -> Result<DataType, SqlError> {
        let at = self.here();
        if let Token::Word(word) = &self.parser.peek_token_ref().token {
            let name = word.value.to_ascii_uppercase();
            if word.quote_style.is_none() && NESTED.contains(&&*name) {
                return Err(nested(&name, at));
            }
        }
        let data_type = self.with_parser(Parser::parse_data_type, help)?;
        match (&data_type, &self.parser.peek_token_ref().token) {
            (DataType::Array(_), _) | (_, Token::LBracket) => Err(nested("ARRAY", at)),
            _ => Ok(data_type),
        }
    }
}

fn nested(name: &str, at: Location) -> SqlError {
    SqlError::at(
        at,
        format!("type {name} is not supported: a column holds one value"),
        "of JSON declare the whole as STRING and read it with JSON_VALUE(<column>, '$.a[0]'), or a field inside of it as a \
         column of its own: `a.b` BIGINT",
    )
}
