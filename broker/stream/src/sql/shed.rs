//! `SHED WHEN lag > ... [UNTIL lag < ...] USING ... [TO '...']`, behind the options of a table.

use sqlparser::ast::Expr;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::bind::literal;
use super::error::SqlError;
use super::script::Statements;
use crate::plan::LagMeasure;

/// The clause, before any name is looked up.
#[derive(Debug)]
pub(crate) struct ShedClause {
    pub(crate) at: Location,
    pub(crate) above: LagBound,
    pub(crate) below: Option<LagBound>,
    /// `random`, `hash`, ..., in small letters.
    pub(crate) policy: String,
    pub(crate) policy_at: Location,
    pub(crate) arguments: Vec<(Expr, Location)>,
    pub(crate) topic: Option<(String, Location)>,
}

/// `INTERVAL '30' SECOND`, or `100000 RECORDS`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LagBound {
    pub(crate) measure: LagMeasure,
    /// Milliseconds or records.
    pub(crate) value: i64,
    pub(crate) at: Location,
}

const HELP: &str = "write SHED WHEN lag > INTERVAL '30' SECOND USING random, with UNTIL lag < INTERVAL '10' SECOND before \
                    USING and TO '<topic>' behind it where they are wanted; or lag > 100000 RECORDS";

impl Statements<'_> {
    /// The clause, if it is there.
    pub(super) fn shed(&mut self) -> Result<Option<ShedClause>, SqlError> {
        let at = self.here();
        if !self.word("SHED") {
            return Ok(None);
        }
        self.wanted("WHEN")?;
        let above = self.lag_bound(&Token::Gt)?;
        let below = match self.word("UNTIL") {
            true => Some(self.lag_bound(&Token::Lt)?),
            false => None,
        };
        self.wanted("USING")?;
        let policy_at = self.here();
        let policy = self.name("random, hash(<key>), oldest, conflate(<key>) or priority(<expression>)")?;
        let mut arguments = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            loop {
                let at = self.here();
                arguments.push((self.with_parser(Parser::parse_expr, HELP)?, at));
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.sign(&Token::RParen, "separate the parts of a key with `,` and close it with `)`")?;
        }
        let topic = match self.word("TO") {
            true => Some(self.text("write the topic's name in quotes: TO '<topic>'")?),
            false => None,
        };
        let policy = policy.value.to_ascii_lowercase();
        Ok(Some(ShedClause { at, above, below, policy, policy_at, arguments, topic }))
    }

    fn wanted(&mut self, word: &str) -> Result<(), SqlError> {
        let at = self.here();
        match self.word(word) {
            true => Ok(()),
            false => Err(SqlError::at(at, format!("{word} is missing"), HELP)),
        }
    }

    /// `lag > INTERVAL '30' SECOND` or `lag > 100000 RECORDS`.
    fn lag_bound(&mut self, sign: &Token) -> Result<LagBound, SqlError> {
        let what = self.here();
        if !self.word("lag") {
            return Err(SqlError::at(what, "shedding goes by `lag` alone", HELP));
        }
        self.sign(sign, HELP)?;
        let at = self.here();
        if let Token::Number(digits, _) = &self.parser.peek_token_ref().token {
            let value = digits.parse::<i64>().ok().filter(|value| *value > 0);
            self.parser.next_token();
            self.wanted("RECORDS")?;
            let value = value.ok_or_else(|| SqlError::at(at, "this is no number of records", HELP))?;
            return Ok(LagBound { measure: LagMeasure::Records, value, at });
        }
        let value = match self.with_parser(Parser::parse_expr, HELP)? {
            Expr::Interval(interval) => literal::interval_ms(&interval, at)?,
            _ => return Err(SqlError::at(at, "this is neither an INTERVAL nor a number of RECORDS", HELP)),
        };
        match value > 0 {
            true => Ok(LagBound { measure: LagMeasure::Time, value, at }),
            false => Err(SqlError::at(at, "a lag of no length", HELP)),
        }
    }
}
