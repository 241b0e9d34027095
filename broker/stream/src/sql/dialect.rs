//! The dialect: PostgreSQL's expressions with Flink's window table functions.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, Spanned, UnaryOperator,
};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Streaming SQL for the parser.
#[derive(Debug)]
pub(crate) struct StreamingDialect;

impl Dialect for StreamingDialect {
    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    /// `FOR SYSTEM_TIME AS OF`.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    /// So that `GROUPING SETS` and its like are seen for what they are, and refused by name.
    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    /// `a # b`, which the parser knows of PostgreSQL's own dialect only, and `x BETWEEN SYMMETRIC a AND b`.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if parser.peek_token_ref().token == Token::Sharp {
            parser.next_token();
            return Some(parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp {
                left: Box::new(left.clone()),
                op: BinaryOperator::PGBitwiseXor,
                right: Box::new(right),
            }));
        }
        let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
        let [first, second, third] = parser.peek_tokens();
        let negated = is(&first, Keyword::NOT);
        let (between, symmetric) = if negated { (second, third) } else { (first, second) };
        if !is(&between, Keyword::BETWEEN) || !is(&symmetric, Keyword::SYMMETRIC) {
            return None;
        }
        (0..if negated { 3 } else { 2 }).for_each(|_| {
            parser.next_token();
        });
        Some(between_symmetric(parser, left, negated))
    }

    /// `EMIT`, `UNBOUNDED` and `STATE` after a table begin a clause; they are no names for the table.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        let begins_clause = matches!(
            &parser.get_current_token().token,
            Token::Word(word) if word.quote_style.is_none()
                && ["EMIT", "UNBOUNDED", "STATE"].iter().any(|clause| word.value.eq_ignore_ascii_case(clause))
        );
        explicit || self.is_table_alias(keyword, parser) && !begins_clause
    }

    /// `TABLE name` as an argument of a window function is the table's name. `JSON_OBJECT` has a syntax of its own.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let [first, second] = parser.peek_tokens();
        match (first, second) {
            (Token::Word(table), Token::Word(_))
                if table.keyword == Keyword::TABLE && table.quote_style.is_none() =>
            {
                parser.next_token();
                Some(window_input(parser))
            }
            (Token::Word(name), Token::LParen)
                if name.value.eq_ignore_ascii_case("JSON_OBJECT") && name.quote_style.is_none() =>
            {
                Some(json_object(parser))
            }
            _ => None,
        }
    }
}

/// `JSON_OBJECT(KEY 'a' VALUE x, 'b' VALUE y, 'c', z)` as a call with key after value after key.
fn json_object(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::LParen)?;
    let mut args = Vec::new();
    while !parser.consume_token(&Token::RParen) {
        if !args.is_empty() {
            parser.expect_token(&Token::Comma)?;
        }
        if let [Token::Word(key), Token::SingleQuotedString(_) | Token::Word(_)] = parser.peek_tokens()
            && key.value.eq_ignore_ascii_case("KEY")
        {
            parser.next_token();
        }
        args.push(parser.parse_expr()?);
        if !parser.parse_keyword(Keyword::VALUE) && !parser.consume_token(&Token::Comma) {
            return parser.expected_ref("VALUE and what belongs to the key", parser.peek_token_ref());
        }
        args.push(parser.parse_expr()?);
    }
    Ok(call(name, args))
}

/// The name of the call that `x BETWEEN SYMMETRIC a AND b` is read as.
pub(super) const BETWEEN_SYMMETRIC: &str = "BETWEEN SYMMETRIC";

/// The bounds either way round: a call with what is between them, and them.
fn between_symmetric(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    // Above AND, so that it separates the bounds.
    const ABOVE_BETWEEN: u8 = 20;
    let low = parser.parse_subexpr(ABOVE_BETWEEN)?;
    parser.expect_keyword(Keyword::AND)?;
    let high = parser.parse_subexpr(ABOVE_BETWEEN)?;
    let name = Ident::with_span(left.span(), BETWEEN_SYMMETRIC);
    let either = call(name, vec![left.clone(), low, high]);
    Ok(match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) },
        false => either,
    })
}

fn call(name: Ident, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `name [PARTITION BY a, b]`: the name, or as if it were a call of it with the columns.
fn window_input(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = parser.parse_identifier()?;
    if !parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        return Ok(Expr::Identifier(name));
    }
    let mut columns = vec![parser.parse_identifier()?];
    // A call behind a comma is the function's next argument, and no column; so is what has a name.
    while let [Token::Comma, Token::Word(_), next] = parser.peek_tokens()
        && next != Token::LParen
        && next != Token::RArrow
    {
        parser.next_token();
        columns.push(parser.parse_identifier()?);
    }
    Ok(call(name, columns.into_iter().map(Expr::Identifier).collect()))
}
