//! `LIKE`, `SIMILAR TO` and regular expressions: constants, checked where they stand.

use sqlparser::ast::{BinaryOperator as SqlOperator, Expr};

use super::super::error::SqlError;
use super::expression::{Binder, negate_if};
use super::function::call;
use super::literal;
use crate::eval::{fold_case, of_similar};
use crate::plan::{Expression, Function, Pattern, RegexOperation};
use crate::value::DataType;

impl Binder<'_> {
    pub(super) fn bind_like(
        &mut self,
        text: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        ignore_case: bool,
    ) -> Result<Expression, SqlError> {
        let operator = if ignore_case { "ILIKE" } else { "LIKE" };
        let text = self.bind_as(text, DataType::String)?;
        let constant = self.constant_pattern(pattern, operator)?;
        let escape = self.bind_escape(escape)?;
        let mut characters = constant.chars();
        while let Some(character) = characters.next() {
            if Some(character) == escape && characters.next().is_none() {
                return Err(self.error(
                    pattern,
                    format!("the pattern ends with the escape character {character}"),
                    "write it twice to mean itself",
                ));
            }
        }
        let (text, pattern) = match ignore_case {
            true => {
                let pattern = folded(constant, escape);
                // The only letter of which it matters where in its word it stands.
                let small = if pattern.contains('σ') { Function::FoldCase } else { Function::Lower };
                (call(small, vec![text]), pattern)
            }
            false => (text, constant.to_owned()),
        };
        Ok(Expression::Like { text: Box::new(text), pattern, escape })
    }

    /// The escape character: a backslash unless the script says otherwise, none if it is empty.
    fn bind_escape(&self, escape: Option<&Expr>) -> Result<Option<char>, SqlError> {
        let Some(expr) = escape else { return Ok(Some('\\')) };
        match literal::text(expr).map(|text| text.chars().collect::<Vec<_>>()).as_deref() {
            Some([]) => Ok(None),
            Some([character]) => Ok(Some(*character)),
            _ => Err(self.error(expr, "ESCAPE is not one character", "write ESCAPE '!'")),
        }
    }

    fn constant_pattern<'e>(&self, pattern: &'e Expr, operator: &str) -> Result<&'e str, SqlError> {
        literal::text(pattern).ok_or_else(|| {
            self.error(
                pattern,
                "the pattern is not a constant",
                format!("write {operator} '<pattern>' in single quotes"),
            )
        })
    }

    pub(super) fn bind_similar(
        &mut self,
        text: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
    ) -> Result<Expression, SqlError> {
        let text = self.bind_as(text, DataType::String)?;
        let escape = self.bind_escape(escape)?;
        let regex = of_similar(self.constant_pattern(pattern, "SIMILAR TO")?, escape);
        let compiled = self.compile(pattern, &regex, false)?;
        Ok(regex_call(RegexOperation::Matches, compiled, vec![text]))
    }

    /// `~`, `~*`, `!~` and `!~*`.
    pub(super) fn bind_regex_operator(
        &mut self,
        text: &Expr,
        op: &SqlOperator,
        pattern: &Expr,
    ) -> Result<Expression, SqlError> {
        let ignore_case = matches!(op, SqlOperator::PGRegexIMatch | SqlOperator::PGRegexNotIMatch);
        let negated = matches!(op, SqlOperator::PGRegexNotMatch | SqlOperator::PGRegexNotIMatch);
        let text = self.bind_as(text, DataType::String)?;
        let pattern = self.regex(pattern, &op.to_string(), ignore_case)?;
        Ok(negate_if(negated, regex_call(RegexOperation::Matches, pattern, vec![text])))
    }

    fn regex(&self, pattern: &Expr, operator: &str, ignore_case: bool) -> Result<Pattern, SqlError> {
        let text = self.constant_pattern(pattern, operator)?;
        self.compile(pattern, text, ignore_case)
    }

    fn compile(&self, at: &Expr, text: &str, ignore_case: bool) -> Result<Pattern, SqlError> {
        Pattern::new(text, ignore_case).map_err(|error| {
            self.error(
                at,
                format!("{at} is not a regular expression: {error}"),
                "write groups (...), classes [...], repeats * + ? {2,3}, and \\ before a sign that is meant itself",
            )
        })
    }

    /// `REGEXP_LIKE` and its kin.
    pub(super) fn bind_regexp(
        &mut self,
        expr: &Expr,
        name: &str,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let form = match name {
            "REGEXP_REPLACE" => "REGEXP_REPLACE(text, 'pattern', replacement [, 'gi'])",
            "REGEXP_EXTRACT" => "REGEXP_EXTRACT(text, 'pattern' [, group])",
            "REGEXP_MATCH" => "REGEXP_MATCH(text, 'pattern' [, 'i'])",
            "REGEXP_SUBSTR" => "REGEXP_SUBSTR(text, 'pattern' [, 'i'])",
            "REGEXP_COUNT" => "REGEXP_COUNT(text, 'pattern' [, 'i'])",
            _ => "REGEXP_LIKE(text, 'pattern' [, 'i'])",
        };
        let (text, pattern, others) = match arguments {
            [text, pattern, others @ ..] => (text, pattern, others),
            _ => return Err(self.wrong_count(expr, name, arguments.len(), form)),
        };
        let (replacement, others) = match (name, others) {
            ("REGEXP_REPLACE", [replacement, others @ ..]) => (Some(replacement), others),
            ("REGEXP_REPLACE", []) => return Err(self.wrong_count(expr, name, arguments.len(), form)),
            (_, others) => (None, others),
        };
        let ([] | [_]) = others else {
            return Err(self.wrong_count(expr, name, arguments.len(), form));
        };
        let (group, flags) = match (name, others.first()) {
            ("REGEXP_EXTRACT", Some(group)) => (Some(self.group_number(group)?), ""),
            (_, Some(flags)) => (None, self.flags(flags, name)?),
            (_, None) => (None, ""),
        };
        let compiled = self.regex(pattern, name, flags.contains('i'))?;
        let groups = compiled.regex().captures_len();
        let operation = match name {
            "REGEXP_REPLACE" => RegexOperation::Replace { all: flags.contains('g') },
            "REGEXP_COUNT" => RegexOperation::Count,
            "REGEXP_EXTRACT" => RegexOperation::Extract { group: group.unwrap_or(0) },
            // As PostgreSQL's first element: the first group, or the whole where there is none.
            "REGEXP_MATCH" => RegexOperation::Extract { group: usize::from(groups > 1) },
            "REGEXP_SUBSTR" => RegexOperation::Extract { group: 0 },
            _ => RegexOperation::Matches,
        };
        if let (RegexOperation::Extract { group }, Some(at)) = (operation, others.first())
            && group >= groups
        {
            let message = format!("the pattern has {} groups", groups - 1);
            return Err(self.error(
                at,
                message,
                "count the opening parentheses from 1; 0 is the whole match",
            ));
        }
        let mut bound = vec![self.bind_as(text, DataType::String)?];
        if let Some(replacement) = replacement {
            bound.push(self.bind_as(replacement, DataType::String)?);
        }
        Ok(regex_call(operation, compiled, bound))
    }

    fn group_number(&self, expr: &Expr) -> Result<usize, SqlError> {
        let number = match expr {
            Expr::Value(number) => number.value.to_string().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| {
            self.error(expr, "the group is not a number", "write REGEXP_EXTRACT(text, 'pattern', 1)")
        })
    }

    fn flags<'e>(&self, expr: &'e Expr, name: &str) -> Result<&'e str, SqlError> {
        let known = if name == "REGEXP_REPLACE" { "gi" } else { "i" };
        match literal::text(expr) {
            Some(flags) if flags.chars().all(|flag| known.contains(flag)) => Ok(flags),
            _ => Err(self.error(
                expr,
                format!("`{expr}` is not a text of flags"),
                "write 'i' to see no difference between capitals and small letters, and 'g' to replace every match",
            )),
        }
    }
}

fn regex_call(operation: RegexOperation, pattern: Pattern, arguments: Vec<Expression>) -> Expression {
    Expression::Regex { operation, pattern, arguments }
}

/// The pattern as its text is folded, but for the characters that escape others. A capital may become what escapes, and is
/// then escaped itself.
fn folded(pattern: &str, escape: Option<char>) -> String {
    let Some(escape) = escape else { return fold_case(pattern) };
    let small = |plain: &str| fold_case(plain).replace(escape, &format!("{escape}{escape}"));
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((plain, after)) = rest.split_once(escape) {
        out.push_str(&small(plain));
        out.push(escape);
        let mut characters = after.chars();
        out.extend(characters.next().map(|plain| fold_case(&plain.to_string())));
        rest = characters.as_str();
    }
    out + &small(rest)
}
