//! Modules in files: put into the script by whoever can read files, which the engine and the broker do not.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::StreamingDialect;
use super::error::SqlError;

/// A script with its modules in it, and what it was without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The script as it was written.
    original: String,
    script: String,
    /// Where each piece of the script begins, and where what it was made of does in the original, both in bytes. Pieces
    /// that were copied and modules take turns, a copied one first.
    pieces: Vec<(usize, usize)>,
}

impl Embedded {
    /// The script with the modules in it, which is what runs.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// Whether there are modules in it that were in files.
    pub fn has_modules(&self) -> bool {
        self.pieces.len() > 1
    }

    /// The script with the modules in it, without what it was.
    pub fn into_script(self) -> String {
        self.script
    }

    /// An error in the script with the modules, where it is in the script as it was written.
    pub fn in_original(&self, error: SqlError) -> SqlError {
        let at = Location { line: error.line, column: error.column };
        let place = place(&self.script, &line_starts(&self.script), at);
        let piece = self.pieces.partition_point(|(start, _)| *start <= place).saturating_sub(1);
        let Some((start, original)) = self.pieces.get(piece) else { return error };
        let is_module = piece % 2 == 1;
        let before = original + if is_module { 0 } else { place - start };
        let before = &self.original[..before];
        let line = before.rsplit('\n').next().unwrap_or_default();
        SqlError {
            line: before.matches('\n').count() as u64 + 1,
            column: line.chars().count() as u64 + 1,
            ..error
        }
    }
}

/// Puts the modules that `CREATE FUNCTION ... USING '<file>'` names into the script: `AS '<base64>'`. `read` reads a
/// file. A script without any is given back as it is, and so is one that cannot be read: compiling it says why.
///
/// # Errors
/// Which file cannot be read, and where the script names it.
pub fn embed_modules<E: Display>(
    script: &str,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<Embedded, SqlError> {
    let tokens = Tokenizer::new(&StreamingDialect, script).tokenize_with_location().unwrap_or_default();
    let tokens: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let lines = line_starts(script);
    let mut out = String::with_capacity(script.len());
    let mut pieces = vec![(0, 0)];
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
        // What is wrong with a module is said of its file.
        pieces.push((out.len(), place(script, &lines, at)));
        out.push_str("AS '");
        out.push_str(&STANDARD.encode(module));
        out.push('\'');
        pieces.push((out.len(), to));
        copied = to;
    }
    out.push_str(&script[copied..]);
    Ok(Embedded { original: script.to_owned(), script: out, pieces })
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
