//! The dialect: PostgreSQL's expressions with Flink's window table functions.

use sqlparser::ast::Expr;
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

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    /// So that `GROUPING SETS` and its like are seen for what they are, and refused by name.
    fn supports_group_by_expr(&self) -> bool {
        true
    }

    /// `EMIT` after a table begins a clause; it is no name for the table.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        let emit = matches!(
            &parser.get_current_token().token,
            Token::Word(word) if word.value.eq_ignore_ascii_case("EMIT") && word.quote_style.is_none()
        );
        explicit || self.is_table_alias(keyword, parser) && !emit
    }

    /// `TABLE name` as an argument of a window function is the table's name.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let [first, second] = parser.peek_tokens();
        match (first, second) {
            (Token::Word(table), Token::Word(_))
                if table.keyword == Keyword::TABLE && table.quote_style.is_none() =>
            {
                parser.next_token();
                Some(parser.parse_identifier().map(Expr::Identifier))
            }
            _ => None,
        }
    }
}
