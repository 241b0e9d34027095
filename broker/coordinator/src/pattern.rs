//! Patterns that clients send, in the language that Kafka reads them in: RE2/J's.
//!
//! ```text
//! pattern ──Translation──► the same for the crate `regex`, every literal escaped ──► Regex of a whole name
//! ```
//!
//! The two languages are near, and differ where it hurts: `\Q…\E`, which `Pattern.quote` makes of a name, is not known to
//! the crate, and `[[h]`, `[a&&b]` or `{,5}` mean something else to it. So nothing that could mean two things is handed on
//! as it is. Neither takes more than linear time.

mod class;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// The longest pattern. A class without regard to case takes milliseconds to compile before any bound on memory acts, and the
/// machines of groups are locked meanwhile.
const MAX_PATTERN_BYTES: usize = 2 << 10;

/// The most memory a compiled pattern may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The largest count of a repetition.
const MAX_REPETITIONS: u32 = 1000;

/// Why a pattern is none, in RE2/J's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A backslash before something that it does nothing with, or before nothing.
    #[error("invalid escape sequence")]
    Escape,
    /// `a**`, `a+{2}`.
    #[error("invalid nested repetition operator")]
    NestedRepetition,
    /// `a{2,1}`, `a{1001}`.
    #[error("invalid repeat count")]
    RepeatCount,
    /// A `[` without its `]`.
    #[error("missing closing ]")]
    OpenClass,
    /// `[z-a]`, `[[:no:]]`, `\p{`.
    #[error("invalid character class range")]
    ClassRange,
    /// A `(` without its `)`.
    #[error("missing closing )")]
    OpenGroup,
    /// A `)` without its `(`.
    #[error("unexpected )")]
    ClosedGroup,
    /// `(?=`, `(?x)`: what begins with `(?` and is not known.
    #[error("invalid or unsupported Perl syntax")]
    Group,
    /// The name of a group has other characters than letters, digits and `_`, or is there twice.
    #[error("invalid named capture")]
    GroupName,
    /// Longer than a pattern may be.
    #[error("longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// Something else, in the words of the crate.
    #[error("{0}")]
    Other(String),
}

/// Compiles a pattern that a whole text has to match.
///
/// # Errors
/// [`PatternError`]: it is none, or takes too much memory.
pub fn compile_whole(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(PatternError::TooLong);
    }
    let translated = Translation::of(pattern)?;
    let whole = format!(r"\A(?:{translated})\z");
    RegexBuilder::new(&whole).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
        // The last line says what is wrong; those before show where in what the client has not written.
        let error = error.to_string();
        PatternError::Other(error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })
}

/// A pattern that is being translated.
struct Translation<'p> {
    rest: Chars<'p>,
    out: String,
    /// How many groups are open.
    depth: usize,
    /// What was just written is a repetition.
    repeated: bool,
    names: Vec<&'p str>,
}

impl<'p> Translation<'p> {
    fn of(pattern: &'p str) -> Result<String, PatternError> {
        let mut translation = Translation {
            rest: pattern.chars(),
            out: String::with_capacity(pattern.len() + 16),
            depth: 0,
            repeated: false,
            names: Vec::new(),
        };
        while let Some(next) = translation.rest.next() {
            let repeated = std::mem::take(&mut translation.repeated);
            translation.item(next, repeated)?;
        }
        if translation.depth > 0 { Err(PatternError::OpenGroup) } else { Ok(translation.out) }
    }

    fn item(&mut self, next: char, repeated: bool) -> Result<(), PatternError> {
        match next {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or(PatternError::ClosedGroup)?;
                self.out.push(')');
                Ok(())
            }
            '*' | '+' | '?' => {
                self.out.push(next);
                self.repetition(repeated)
            }
            '{' => self.counted_repetition(repeated),
            '^' | '$' | '.' | '|' => {
                self.out.push(next);
                Ok(())
            }
            literal => {
                self.literal(literal);
                Ok(())
            }
        }
    }

    /// Behind an operator: the `?` that makes it take as little as it can.
    fn repetition(&mut self, repeated: bool) -> Result<(), PatternError> {
        if repeated {
            return Err(PatternError::NestedRepetition);
        }
        if self.take("?") {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is a brace.
    fn counted_repetition(&mut self, repeated: bool) -> Result<(), PatternError> {
        let before = self.rest.clone();
        let Some((least, most)) = self.counts() else {
            self.rest = before;
            self.literal('{');
            // As in RE2/J, no repetition may follow all the same.
            self.repeated = true;
            return Ok(());
        };
        let (Some(least), Some(most)) = (least, most.unwrap_or(least)) else {
            return Err(PatternError::RepeatCount);
        };
        let Count::Exactly(least) = least else { return Err(PatternError::RepeatCount) };
        let _ = match most {
            Count::Exactly(most) if most < least => return Err(PatternError::RepeatCount),
            Count::Exactly(most) => write!(self.out, "{{{least},{most}}}"),
            Count::Any => write!(self.out, "{{{least},}}"),
        };
        self.repetition(repeated)
    }

    /// The numbers in the braces, and what follows them is read; nothing when they are not a repetition. A number within is
    /// nothing when it is too large. The second is not there when there is no comma.
    fn counts(&mut self) -> Option<(Option<Count>, Option<Option<Count>>)> {
        let least = self.number()?;
        if self.take("}") {
            return Some((least, None));
        }
        if !self.take(",") {
            return None;
        }
        if self.take("}") {
            return Some((least, Some(Some(Count::Any))));
        }
        let most = self.number()?;
        self.take("}").then_some((least, Some(most)))
    }

    /// Digits, without zeros before them; the inner nothing for a number that is too large.
    fn number(&mut self) -> Option<Option<Count>> {
        let text = self.rest.as_str();
        let end = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
        let digits = &text[..end];
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        self.rest = text[end..].chars();
        let number = digits.parse().ok().filter(|number| *number <= MAX_REPETITIONS);
        Some(number.map(Count::Exactly))
    }

    fn group(&mut self) -> Result<(), PatternError> {
        if !self.take("?") {
            self.open("(?:");
            return Ok(());
        }
        if self.take("P<") || self.take("<") {
            let text = self.rest.as_str();
            let (name, rest) = text.split_once('>').ok_or(PatternError::GroupName)?;
            let is_name = |next: char| next.is_ascii_alphanumeric() || next == '_';
            if name.is_empty() || !name.chars().all(is_name) || self.names.contains(&name) {
                return Err(PatternError::GroupName);
            }
            self.names.push(name);
            self.rest = rest.chars();
            self.open("(?:");
            return Ok(());
        }
        self.flags()
    }

    /// Nobody asks what a group matched.
    fn open(&mut self, how: &str) {
        self.out.push_str(how);
        self.depth += 1;
    }

    /// `(?i)` for the rest of the group, `(?i:…)` for a group.
    fn flags(&mut self) -> Result<(), PatternError> {
        const FLAGS: [char; 4] = ['i', 'm', 's', 'U'];
        let mut set = [None; FLAGS.len()];
        let mut on = true;
        let mut any = false;
        let end = loop {
            match self.rest.next().ok_or(PatternError::Group)? {
                '-' if on => (on, any) = (false, false),
                end @ (':' | ')') if on || any => break end,
                flag => {
                    let at = FLAGS.iter().position(|known| *known == flag).ok_or(PatternError::Group)?;
                    set[at] = Some(on);
                    any = true;
                }
            }
        };
        let of = |wanted: bool| {
            let flags = FLAGS.iter().zip(set);
            flags.filter(move |(_, is)| *is == Some(wanted)).map(|(flag, _)| *flag).collect::<String>()
        };
        let (on, off) = (of(true), of(false));
        let minus = if off.is_empty() { "" } else { "-" };
        match end {
            ':' => self.open(&format!("(?{on}{minus}{off}:")),
            // That is all: `(?)` says nothing.
            _ if on.is_empty() && off.is_empty() => {}
            _ => {
                let _ = write!(self.out, "(?{on}{minus}{off})");
            }
        }
        Ok(())
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<(), PatternError> {
        let next = self.rest.next().ok_or(PatternError::Escape)?;
        match next {
            'Q' => {
                let text = self.rest.as_str();
                let (quoted, rest) = text.split_once("\\E").unwrap_or((text, ""));
                quoted.chars().for_each(|literal| self.literal(literal));
                self.rest = rest.chars();
            }
            'A' | 'z' | 'B' => {
                self.out.push('\\');
                self.out.push(next);
            }
            // Of ASCII's words. (Its opposite cannot be had so, as it is also inside of characters.)
            'b' => self.out.push_str(r"(?-u:\b)"),
            _ => {
                if !self.named_class(next)? {
                    let literal = self.escaped(next)?;
                    self.literal(literal);
                }
            }
        }
        Ok(())
    }

    /// A character that an escape stands for.
    fn escaped(&mut self, next: char) -> Result<char, PatternError> {
        match next {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            'x' => self.hexadecimal(),
            '0'..='7' => self.octal(next),
            _ if !next.is_ascii_alphanumeric() => Ok(next),
            _ => Err(PatternError::Escape),
        }
    }

    /// Up to three digits. A single one but 0 would be a reference to a group, which there is not.
    fn octal(&mut self, first: char) -> Result<char, PatternError> {
        let digit = |next: char| next.to_digit(8);
        if first != '0' && self.rest.clone().next().and_then(digit).is_none() {
            return Err(PatternError::Escape);
        }
        let mut value = digit(first).unwrap_or(0);
        for _ in 0..2 {
            let Some(next) = self.rest.clone().next().and_then(digit) else { break };
            value = value * 8 + next;
            self.rest.next();
        }
        char::from_u32(value).ok_or(PatternError::Escape)
    }

    /// `\x41` or `\x{1F600}`.
    fn hexadecimal(&mut self) -> Result<char, PatternError> {
        let text = self.rest.as_str();
        let (digits, rest) = match text.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or(PatternError::Escape)?,
            None => text.split_at_checked(2).ok_or(PatternError::Escape)?,
        };
        // A sign would parse, too.
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PatternError::Escape);
        }
        let value = u32::from_str_radix(digits, 16).map_err(|_| PatternError::Escape)?;
        self.rest = rest.chars();
        char::from_u32(value).ok_or(PatternError::Escape)
    }

    fn literal(&mut self, literal: char) {
        if literal.is_ascii_alphanumeric() || !literal.is_ascii() {
            self.out.push(literal);
        } else {
            let _ = write!(self.out, r"\x{:02X}", u32::from(literal));
        }
    }

    /// Reads this text if it is what comes next.
    fn take(&mut self, text: &str) -> bool {
        match self.rest.as_str().strip_prefix(text) {
            Some(rest) => {
                self.rest = rest.chars();
                true
            }
            None => false,
        }
    }
}

/// How often at most something is repeated.
#[derive(Debug, Clone, Copy)]
enum Count {
    Exactly(u32),
    Any,
}
