//! Text to statements: our own loop over the parser, for the statements it does not know.

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::bind::literal;
use super::dialect::StreamingDialect;
use super::error::{SqlError, split_location};
use super::statement::{
    ColumnDefinition, ComputedColumn, CreateTable, CreateView, Insert, Metadata, PrimaryKey, Script,
    TableOption, Watermark,
};
use crate::plan::{Emit, StateBound};

/// A longer script is refused before it is read.
const MAX_SCRIPT_BYTES: usize = 2 * 1024 * 1024;
/// A longer statement is refused before it is parsed: what nests in memory nests on the stack.
const MAX_STATEMENT_TOKENS: usize = 4_000;

/// Parses a script.
pub(crate) fn parse(text: &str) -> Result<Script, SqlError> {
    Statements::of(text)?.script()
}

/// Parses a query that stands by itself.
pub(crate) fn parse_query(text: &str) -> Result<Box<Query>, SqlError> {
    let mut statements = Statements::of(text)?;
    let help = "write SELECT ... FROM <table> WHERE ... ORDER BY ... LIMIT 10";
    let query = statements.with_parser(Parser::parse_query, help)?;
    let _ = statements.parser.consume_token(&Token::SemiColon);
    match statements.parser.peek_token().token {
        Token::EOF => Ok(query),
        other => Err(SqlError::at(statements.here(), format!("`{other}` is not expected here"), help)),
    }
}

/// Parses a single expression.
pub(crate) fn parse_expression(text: &str) -> Result<Expr, SqlError> {
    let mut statements = Statements::of(text)?;
    let begin = statements.here();
    let help = "write one expression, such as a + 1";
    let parsed = statements.parser.parse_expr();
    let expr = parsed.map_err(|error| statements.parser_error(error, begin, help))?;
    match statements.parser.peek_token().token {
        Token::EOF => Ok(expr),
        other => Err(SqlError::at(statements.here(), format!("`{other}` is not expected here"), help)),
    }
}

fn check_statement_lengths(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut length = 0;
    for token in tokens {
        match &token.token {
            Token::SemiColon => length = 0,
            Token::Whitespace(_) => {}
            _ => length += 1,
        }
        if length > MAX_STATEMENT_TOKENS {
            return Err(SqlError::at(
                token.span.start,
                format!("the statement has more than {MAX_STATEMENT_TOKENS} words and signs"),
                "make it shorter",
            ));
        }
    }
    Ok(())
}

pub(super) struct Statements<'a> {
    pub(super) parser: Parser<'a>,
}

impl<'a> Statements<'a> {
    /// The statements of a text, none of them read.
    fn of(text: &str) -> Result<Self, SqlError> {
        if text.len() > MAX_SCRIPT_BYTES {
            return Err(SqlError::at(
                Location { line: 1, column: 1 },
                format!("the script is {} bytes long", text.len()),
                format!("keep it below {MAX_SCRIPT_BYTES} bytes: one pipeline a script"),
            ));
        }
        let tokens = Tokenizer::new(&StreamingDialect, text).tokenize_with_location().map_err(|error| {
            let help = "close every quote and comment, and use SQL's signs only";
            SqlError::at(error.location, error.message, help)
        })?;
        check_statement_lengths(&tokens)?;
        Ok(Statements { parser: Parser::new(&StreamingDialect).with_tokens_with_locations(tokens) })
    }

    fn script(&mut self) -> Result<Script, SqlError> {
        let mut script = Script::default();
        loop {
            while self.parser.consume_token(&Token::SemiColon) {}
            let at = self.here();
            if self.parser.peek_token().token == Token::EOF {
                return Ok(script);
            }
            match self.parser.parse_one_of_keywords(&[Keyword::CREATE, Keyword::INSERT, Keyword::SET]) {
                Some(Keyword::SET) if !script.is_begun() => self.setting(&mut script.settings)?,
                Some(Keyword::SET) => {
                    let help = "write it above the first CREATE: it holds for the whole script";
                    return Err(SqlError::at(at, "SET stands at the head of a script", help));
                }
                Some(Keyword::CREATE) if self.is_view() => script.views.push(self.create_view()?),
                Some(Keyword::CREATE) if self.is_function() => {
                    script.create_functions.push(self.create_function()?);
                }
                Some(Keyword::CREATE) => script.tables.push(self.create_table()?),
                Some(_) => script.inserts.push(self.insert(at)?),
                None => return Err(self.unknown_statement(at)),
            }
            self.end_of_statement()?;
        }
    }

    fn unknown_statement(&mut self, at: Location) -> SqlError {
        let word = self.parser.peek_token();
        let help = match &word.token {
            Token::Word(select) if matches!(select.keyword, Keyword::SELECT | Keyword::WITH) => {
                "say where the rows go: INSERT INTO <table> SELECT ..."
            }
            _ => {
                "a script is made of SET 'option' = 'value', CREATE TABLE ... WITH (...), CREATE VIEW ... AS SELECT ... and INSERT \
                 INTO ... SELECT ..."
            }
        };
        SqlError::at(at, format!("`{}` does not begin a statement here", word.token), help)
    }

    fn end_of_statement(&mut self) -> Result<(), SqlError> {
        let token = self.parser.peek_token();
        match &token.token {
            Token::SemiColon | Token::EOF => Ok(()),
            Token::Word(word) if word.value.eq_ignore_ascii_case("EMIT") => Err(SqlError::at(
                token.span.start,
                "EMIT does not stand here",
                "write it once, behind the query of an INSERT: INSERT INTO ... SELECT ... EMIT CHANGES",
            )),
            other => Err(SqlError::at(
                token.span.start,
                format!("`{other}` is not expected here"),
                "end the statement with `;`",
            )),
        }
    }

    fn create_table(&mut self) -> Result<CreateTable, SqlError> {
        let at = self.here();
        if !self.parser.parse_keyword(Keyword::TABLE) {
            let found = self.parser.peek_token().token;
            return Err(SqlError::at(
                at,
                format!("CREATE {found} is not supported"),
                "write CREATE TABLE <name> (<columns>) WITH ('topic' = '...', 'format' = 'json')",
            ));
        }
        let name = self.name("a name for the table")?;
        self.sign(&Token::LParen, "list the table's columns: (<name> <TYPE>, ...)")?;
        let mut table = CreateTable {
            name,
            columns: Vec::new(),
            computed: Vec::new(),
            watermark: None,
            primary_key: None,
            options: Vec::new(),
            shed: None,
        };
        loop {
            self.table_item(&mut table)?;
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.sign(&Token::RParen, "separate columns with `,` and close the list with `)`")?;
        if self.parser.parse_keyword(Keyword::WITH) {
            table.options = self.options()?;
        }
        table.shed = self.shed()?;
        Ok(table)
    }

    fn table_item(&mut self, table: &mut CreateTable) -> Result<(), SqlError> {
        let [first, second] = self.parser.peek_tokens_with_location();
        let at = first.span.start;
        let follows = |keyword| matches!(&second.token, Token::Word(word) if word.keyword == keyword);
        match &first.token {
            Token::Word(word) if word.value.eq_ignore_ascii_case("WATERMARK") && follows(Keyword::FOR) => {
                if table.watermark.is_some() {
                    return Err(SqlError::at(at, "a second WATERMARK", "a table has one event time"));
                }
                table.watermark = Some(self.watermark()?);
                Ok(())
            }
            Token::Word(word) if word.keyword == Keyword::PRIMARY && follows(Keyword::KEY) => {
                if table.primary_key.is_some() {
                    return Err(SqlError::at(at, "a second PRIMARY KEY", "list all its columns in one"));
                }
                table.primary_key = Some(self.primary_key()?);
                Ok(())
            }
            Token::Word(word)
                if word.keyword == Keyword::UNIQUE && follows(Keyword::KEY)
                    || word.keyword == Keyword::CONSTRAINT =>
            {
                Err(SqlError::at(
                    at,
                    "constraints are not supported",
                    "leave it out; the key of a table is PRIMARY KEY (<columns>) NOT ENFORCED",
                ))
            }
            Token::Word(_) if follows(Keyword::AS) => {
                let computed = self.computed()?;
                table.computed.push(computed);
                Ok(())
            }
            _ => {
                let column = self.column()?;
                table.columns.push(column);
                Ok(())
            }
        }
    }

    fn watermark(&mut self) -> Result<Watermark, SqlError> {
        self.parser.next_token();
        self.parser.next_token();
        let help = "write WATERMARK FOR <column> AS <column> - INTERVAL '5' SECOND";
        let column = self.name("the event time's column")?;
        if !self.parser.parse_keyword(Keyword::AS) {
            return Err(SqlError::at(self.here(), "AS is missing", help));
        }
        let expression_at = self.here();
        let expression = self.with_parser(Parser::parse_expr, help)?;
        Ok(Watermark { column, expression, expression_at })
    }

    fn primary_key(&mut self) -> Result<PrimaryKey, SqlError> {
        let help = "write PRIMARY KEY (<columns>) NOT ENFORCED";
        self.parser.next_token();
        self.parser.next_token();
        self.sign(&Token::LParen, help)?;
        let columns = self.names("a column of the table")?;
        let at = self.here();
        if !self.parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
            return Err(SqlError::at(at, "NOT ENFORCED is missing: nobody checks the key of a topic", help));
        }
        Ok(PrimaryKey { columns })
    }

    fn computed(&mut self) -> Result<ComputedColumn, SqlError> {
        let name = self.name("a column's name")?;
        self.parser.next_token();
        let expression_at = self.here();
        let expression = self.with_parser(Parser::parse_expr, "write <name> AS <expression>")?;
        Ok(ComputedColumn { name, expression, expression_at })
    }

    /// Whether a view is created; the keyword before is read.
    fn is_view(&mut self) -> bool {
        let [first, second] = self.parser.peek_tokens();
        let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
        is(&first, Keyword::VIEW) || is(&first, Keyword::TEMPORARY) && is(&second, Keyword::VIEW)
    }

    fn create_view(&mut self) -> Result<CreateView, SqlError> {
        let help = "write CREATE VIEW <name> AS SELECT ...";
        let _ = self.parser.parse_keyword(Keyword::TEMPORARY);
        self.parser.next_token();
        let name = self.name("a name for the view")?;
        let mut columns = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            columns = self.names("a column of the view")?;
        }
        if !self.parser.parse_keyword(Keyword::AS) {
            return Err(SqlError::at(self.here(), "AS is missing", help));
        }
        let query = self.with_parser(Parser::parse_query, help)?;
        Ok(CreateView { name, columns, query })
    }

    /// Names up to the closing parenthesis.
    fn names(&mut self, what: &str) -> Result<Vec<Ident>, SqlError> {
        let mut names = Vec::new();
        loop {
            names.push(self.name(what)?);
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.sign(&Token::RParen, "separate columns with `,` and close the list with `)`")?;
        Ok(names)
    }

    fn column(&mut self) -> Result<ColumnDefinition, SqlError> {
        let name = self.name("a column's name")?;
        let data_type_at = self.here();
        let data_type =
            self.data_type("write <name> <TYPE>, with BOOLEAN, BIGINT, DOUBLE, STRING or TIMESTAMP(3)")?;
        let mut required = false;
        let mut metadata = None;
        loop {
            let at = self.here();
            if self.parser.parse_keyword(Keyword::METADATA) {
                metadata = Some(self.metadata(at)?);
                continue;
            }
            if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                required = true;
            } else if self.parser.parse_keyword(Keyword::NULL) {
                required = false;
            } else if let Token::Word(word) = self.parser.peek_token().token {
                return Err(SqlError::at(
                    at,
                    format!("`{word}` is not supported in a column"),
                    "a column is <name> <TYPE> [NOT NULL] [METADATA FROM '<what>' [VIRTUAL]]",
                ));
            } else {
                return Ok(ColumnDefinition { name, data_type, data_type_at, required, metadata });
            }
        }
    }

    fn metadata(&mut self, at: Location) -> Result<Metadata, SqlError> {
        let name = match self.parser.parse_keyword(Keyword::FROM) {
            true => {
                Some(self.text("write METADATA FROM 'offset', 'timestamp', 'key', 'header:<name>' ...")?.0)
            }
            false => None,
        };
        let is_virtual = self.parser.parse_keyword(Keyword::VIRTUAL);
        Ok(Metadata { name, at, is_virtual })
    }

    pub(super) fn options(&mut self) -> Result<Vec<TableOption>, SqlError> {
        let help = "write WITH ('key' = 'value', ...)";
        self.sign(&Token::LParen, help)?;
        let mut options = Vec::new();
        loop {
            let (key, key_at) = self.text(help)?;
            self.sign(&Token::Eq, help)?;
            let (value, value_at) = self.text(help)?;
            options.push(TableOption { key, key_at, value, value_at });
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.sign(&Token::RParen, help)?;
        Ok(options)
    }

    fn insert(&mut self, at: Location) -> Result<Insert, SqlError> {
        let help = "write INSERT INTO <table> SELECT ... FROM ...";
        if !self.parser.parse_keyword(Keyword::INTO) {
            return Err(SqlError::at(self.here(), "INTO is missing", help));
        }
        let table = self.name("the table to write into")?;
        let mut columns = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            columns = self.names("a column of the table")?;
        }
        let query = self.with_parser(Parser::parse_query, help)?;
        // The clauses behind the query come in any order.
        let mut emit = self.emit()?;
        let bound = self.state_bound()?;
        if emit.is_none() {
            emit = self.emit()?;
        }
        Ok(Insert { at, table, columns, query, emit, bound })
    }

    /// `EMIT CHANGES`, or `EMIT ON CLOSE [ALLOWING LATENESS INTERVAL '1' HOUR]`, if either is there.
    fn emit(&mut self) -> Result<Option<(Emit, Location)>, SqlError> {
        let at = self.here();
        if !self.word("EMIT") {
            return Ok(None);
        }
        let help = "write EMIT CHANGES, EMIT ON CLOSE or EMIT ON CLOSE ALLOWING LATENESS INTERVAL '1' HOUR";
        if self.word("CHANGES") {
            return Ok(Some((Emit::Changes, at)));
        }
        let what = self.here();
        if !(self.word("ON") && self.word("CLOSE")) {
            return Err(SqlError::at(what, "this is not what EMIT can do", help));
        }
        let allowing = self.here();
        if !self.word("ALLOWING") {
            return Ok(Some((Emit::OnClose, at)));
        }
        if !self.word("LATENESS") {
            return Err(SqlError::at(allowing, "LATENESS is missing", help));
        }
        let interval_at = self.here();
        let ms = match self.with_parser(Parser::parse_expr, help)? {
            Expr::Interval(interval) => literal::interval_ms(&interval, interval_at)?,
            _ => return Err(SqlError::at(interval_at, "this is not an INTERVAL", help)),
        };
        match ms > 0 {
            true => Ok(Some((Emit::OnCloseAndLate { ms }, at))),
            false => Err(SqlError::at(interval_at, "a lateness of no length", help)),
        }
    }

    /// Takes a word that the parser does not know, if it is there.
    pub(super) fn word(&mut self, text: &str) -> bool {
        let token = self.parser.peek_token();
        let is_it = matches!(
            &token.token,
            Token::Word(word) if word.value.eq_ignore_ascii_case(text) && word.quote_style.is_none()
        );
        if is_it {
            self.parser.next_token();
        }
        is_it
    }

    /// `UNBOUNDED` or `STATE TTL INTERVAL '1' DAY`, if either is there.
    fn state_bound(&mut self) -> Result<Option<StateBound>, SqlError> {
        let is = |token: &Token, text: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text) && word.quote_style.is_none());
        let [first, second] = self.parser.peek_tokens();
        if is(&first, "UNBOUNDED") {
            self.parser.next_token();
            return Ok(Some(StateBound::Unbounded));
        }
        if !(is(&first, "STATE") && is(&second, "TTL")) {
            return Ok(None);
        }
        self.parser.next_token();
        self.parser.next_token();
        let help = "write STATE TTL INTERVAL '1' DAY";
        let at = self.here();
        let ms = match self.with_parser(Parser::parse_expr, help)? {
            Expr::Interval(interval) => literal::interval_ms(&interval, at)?,
            _ => return Err(SqlError::at(at, "this is not an INTERVAL", help)),
        };
        match ms > 0 {
            true => Ok(Some(StateBound::TimeToLive { ms })),
            false => Err(SqlError::at(at, "a time to live of no length", help)),
        }
    }

    pub(super) fn name(&mut self, what: &str) -> Result<Ident, SqlError> {
        let token = self.parser.next_token();
        match token.token {
            Token::Word(word) => {
                Ok(Ident { value: word.value, quote_style: word.quote_style, span: token.span })
            }
            other => Err(SqlError::at(
                token.span.start,
                format!("`{other}` is not a name"),
                format!("write {what}; a name with unusual letters goes between ` and `"),
            )),
        }
    }

    pub(super) fn text(&mut self, help: &str) -> Result<(String, Location), SqlError> {
        let token = self.parser.next_token();
        match token.token {
            Token::SingleQuotedString(text) => Ok((text, token.span.start)),
            other => Err(SqlError::at(token.span.start, format!("`{other}` is not a text in quotes"), help)),
        }
    }

    pub(super) fn sign(&mut self, sign: &Token, help: &str) -> Result<(), SqlError> {
        let at = self.here();
        if self.parser.consume_token(sign) {
            return Ok(());
        }
        let found = self.parser.peek_token().token;
        Err(SqlError::at(at, format!("`{sign}` is missing before `{found}`"), help))
    }

    pub(super) fn here(&self) -> Location {
        self.parser.peek_token_ref().span.start
    }

    pub(super) fn with_parser<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>,
        help: &str,
    ) -> Result<T, SqlError> {
        let begin = self.here();
        parse(&mut self.parser).map_err(|error| self.parser_error(error, begin, help))
    }

    fn parser_error(&self, error: ParserError, begin: Location, help: &str) -> SqlError {
        match error {
            ParserError::RecursionLimitExceeded => SqlError::at(
                begin,
                "the expression is nested too deeply",
                "take it apart: fewer parentheses, CASEs and calls inside one another",
            ),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
                let (message, location) = split_location(&text);
                let location = location.unwrap_or_else(|| self.here());
                if message.starts_with("No infix parser") {
                    return SqlError::at(
                        location,
                        "this sign is not an operator here",
                        "the operators are + - * / % || = <> < <= > >= AND OR NOT & | # ~ << >> ~* !~ -> ->> #> #>>",
                    );
                }
                // What the statement looks like says little of a mistake in the middle of it.
                match message.starts_with("Expected: ") && location != begin {
                    true => {
                        SqlError::at(location, message, format!("check what stands before it, or {help}"))
                    }
                    false => SqlError::at(location, message, help),
                }
            }
        }
    }
}
