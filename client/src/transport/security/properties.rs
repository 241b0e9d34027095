//! The text of a properties file as Java's tools read it: `name=value`, `name: value` or `name value`, comments with `#` and
//! `!`, lines that go on behind a backslash, escapes.

use crate::error::{Error, Result};

/// The names and values of such a text, in its order.
///
/// # Errors
/// [`Error::InvalidArgument`] with the line for an escape that is none.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while goes_on(&whole) {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim_start());
        }
        pairs.push(pair(&whole).map_err(|wrong| {
            Error::InvalidArgument(format!("line {} of the properties: {wrong}", number + 1))
        })?);
    }
    Ok(pairs)
}

/// Whether an odd number of backslashes ends the line.
fn goes_on(line: &str) -> bool {
    line.chars().rev().take_while(|letter| *letter == '\\').count() % 2 == 1
}

fn pair(line: &str) -> std::result::Result<(String, String), &'static str> {
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let separates = !escaped && (matches!(letter, '=' | ':') || letter.is_whitespace());
        escaped = letter == '\\' && !escaped;
        separates
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Ok((unescaped(name)?, unescaped(value)?))
}

fn unescaped(text: &str) -> std::result::Result<String, &'static str> {
    let mut whole = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            whole.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => whole.push('\t'),
            Some('n') => whole.push('\n'),
            Some('r') => whole.push('\r'),
            Some('f') => whole.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let letter = code.and_then(char::from_u32);
                // Not what is there: it may be a part of a password.
                whole.push(
                    letter.ok_or("what is behind a \\u is not four hexadecimal digits of a character")?,
                );
            }
            Some(other) => whole.push(other),
            None => {}
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_java_reads_is_read() {
        let text = "# a comment\n! another\n\n  sasl.mechanism = PLAIN\nssl.a: b=c\nname value\n\
                    jaas=Module required \\\n    username=\"a\" \\\n  password=\"b\\\\c\";\nempty=\nalone\n\
                    with\\ space=\\u00e9\\t!\nodd\\\\=x\n";
        let pairs = parse_properties(text).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("sasl.mechanism", "PLAIN"),
                ("ssl.a", "b=c"),
                ("name", "value"),
                ("jaas", "Module required username=\"a\" password=\"b\\c\";"),
                ("empty", ""),
                ("alone", ""),
                ("with space", "\u{e9}\t!"),
                ("odd\\", "x"),
            ]
        );
    }

    #[test]
    fn a_wrong_escape_is_told_with_its_line() {
        let error = parse_properties("a=b\nsasl.password=\\ush!").unwrap_err().to_string();
        assert!(error.starts_with("line 2 of the properties: what is behind a \\u"), "{error}");
        assert!(!error.contains("sh!"), "{error}");
    }
}
