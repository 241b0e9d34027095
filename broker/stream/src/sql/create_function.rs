//! `CREATE FUNCTION`: a function of the user's own, as the script declares it.

use sqlparser::ast::{DataType, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token};

use super::error::SqlError;
use super::script::Statements;
use super::statement::TableOption;

const HELP: &str = "write CREATE [AGGREGATE] FUNCTION <name>(<argument> <TYPE>, ...) RETURNS <TYPE> LANGUAGE wasm AS \
                    '<the module in base64>', or USING '<file>'";

/// `CREATE [AGGREGATE] FUNCTION name(a TYPE, ...) RETURNS TYPE [CALLED ON NULL INPUT] LANGUAGE wasm [WITH (...)] AS '...'`.
#[derive(Debug)]
pub(crate) struct CreateFunction {
    pub(crate) name: Ident,
    pub(crate) aggregate: bool,
    pub(crate) arguments: Vec<(DataType, Location)>,
    pub(crate) result: (DataType, Location),
    pub(crate) called_on_null: bool,
    pub(crate) options: Vec<TableOption>,
    pub(crate) module: Module,
    pub(crate) module_at: Location,
}

/// Where the module is.
#[derive(Debug)]
pub(crate) enum Module {
    /// In the script, in base64.
    Text(String),
    /// In a file.
    File(String),
}

impl Statements<'_> {
    /// Whether a function is created; the keyword before is read.
    pub(super) fn is_function(&mut self) -> bool {
        let [first, second] = self.parser.peek_tokens();
        let is = |token: &Token, text: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text) && word.quote_style.is_none());
        is(&first, "FUNCTION") || is(&first, "AGGREGATE") && is(&second, "FUNCTION")
    }

    pub(super) fn create_function(&mut self) -> Result<CreateFunction, SqlError> {
        let aggregate = self.word("AGGREGATE");
        self.parser.next_token();
        let name = self.name("a name for the function")?;
        self.sign(&Token::LParen, HELP)?;
        let mut arguments = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            if !arguments.is_empty() {
                self.sign(&Token::Comma, HELP)?;
            }
            arguments.push(self.argument()?);
        }
        let at = self.here();
        if !self.word("RETURNS") {
            return Err(SqlError::at(at, "RETURNS is missing", HELP));
        }
        let result_at = self.here();
        let result = (self.data_type(HELP)?, result_at);
        let called_on_null = self.null_handling()?;
        let at = self.here();
        if !self.word("LANGUAGE") {
            return Err(SqlError::at(at, "LANGUAGE is missing", HELP));
        }
        let at = self.here();
        if !self.word("wasm") {
            return Err(SqlError::at(
                at,
                "functions are in WebAssembly",
                "write LANGUAGE wasm; functions in Rust are given by the program that embeds the engine",
            ));
        }
        let options = match self.parser.parse_keyword(Keyword::WITH) {
            true => self.options()?,
            false => Vec::new(),
        };
        let at = self.here();
        let in_file = match (self.parser.parse_keyword(Keyword::AS), self.word("USING")) {
            (true, false) => false,
            (false, true) => true,
            _ => return Err(SqlError::at(at, "the module is missing", HELP)),
        };
        let (text, module_at) = self.text(HELP)?;
        let module = if in_file { Module::File(text) } else { Module::Text(text) };
        Ok(CreateFunction { name, aggregate, arguments, result, called_on_null, options, module, module_at })
    }

    /// `[name] TYPE`.
    fn argument(&mut self) -> Result<(DataType, Location), SqlError> {
        let [first, second] = self.parser.peek_tokens();
        let is_type = |word: &str| {
            ["PRECISION", "VARYING", "WITHOUT", "WITH"].iter().any(|rest| word.eq_ignore_ascii_case(rest))
        };
        if let (Token::Word(_), Token::Word(word)) = (&first, &second)
            && !is_type(&word.value)
        {
            self.parser.next_token();
        }
        let at = self.here();
        Ok((self.data_type(HELP)?, at))
    }

    /// `CALLED ON NULL INPUT`, `RETURNS NULL ON NULL INPUT` or `STRICT`, if any is there.
    fn null_handling(&mut self) -> Result<bool, SqlError> {
        let at = self.here();
        let help = "write CALLED ON NULL INPUT or RETURNS NULL ON NULL INPUT";
        if self.word("STRICT") {
            return Ok(false);
        }
        let called = self.word("CALLED");
        if !called && !self.word("RETURNS") {
            return Ok(false);
        }
        let rest: &[&str] = if called { &["ON", "NULL", "INPUT"] } else { &["NULL", "ON", "NULL", "INPUT"] };
        match rest.iter().all(|word| self.word(word)) {
            true => Ok(called),
            false => Err(SqlError::at(at, "this is not what can be said of NULL", help)),
        }
    }
}
