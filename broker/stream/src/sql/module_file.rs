//! Modules in files: put into the script by whoever can read files, which the engine and the broker do not.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::StreamingDialect;
use super::error::SqlError;

/// Puts the modules that `CREATE FUNCTION ... USING '<file>'` names into the script: `AS '<base64>'`. `read` reads a
/// file. A script without any is given back as it is, and so is one that cannot be read: compiling it says why.
///
/// # Errors
/// Which file cannot be read, and where the script names it.
pub fn embed_modules<E: Display>(
    script: &str,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<String, SqlError> {
    let Ok(tokens) = Tokenizer::new(&StreamingDialect, script).tokenize_with_location() else {
        return Ok(script.to_owned());
    };
    let tokens: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let lines = line_starts(script);
    let mut out = String::with_capacity(script.len());
    let mut copied = 0;
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        let is_function = statement.first().is_some_and(|first| is(first, "CREATE"))
            && statement.iter().skip(1).take(2).any(|word| is(word, "FUNCTION"));
        let named = statement.windows(2).find(|pair| is(pair[0], "USING"));
        let Some([using, file]) = named.filter(|_| is_function) else { continue };
        let Token::SingleQuotedString(name) = &file.token else { continue };
        let at = file.span.start;
        let module = read(name).map_err(|error| {
            SqlError::at(
                at,
                format!("the module `{name}` cannot be read: {error}"),
                "name a file beside the script, or its whole path",
            )
        })?;
        let (from, to) = (place(script, &lines, using.span.start), place(script, &lines, file.span.end));
        out.push_str(&script[copied..from]);
        out.push_str("AS '");
        out.push_str(&STANDARD.encode(module));
        out.push('\'');
        copied = to;
    }
    out.push_str(&script[copied..]);
    Ok(out)
}

fn is(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(text) && word.quote_style.is_none())
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(breaks).collect()
}

/// Where a place, counted in characters, is in bytes.
fn place(text: &str, lines: &[usize], at: Location) -> usize {
    let line = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
    let start = lines.get(line).copied().unwrap_or(text.len());
    let before = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
    text[start..].char_indices().nth(before).map_or(text.len(), |(at, _)| start + at)
}
