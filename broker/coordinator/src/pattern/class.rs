//! Classes of characters: `[a-z]`, `\d`, `\pL`, `[[:alpha:]]`.

use super::{PatternError, Translation};

/// The names that may stand in `[:…:]`.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

impl Translation<'_> {
    /// Behind a `[`. Other than to the crate, a `[`, `&&`, `--` or `~~` in it is nothing but characters.
    pub(super) fn class(&mut self) -> Result<(), PatternError> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.take("]") {
            first = false;
            if self.posix()? {
                continue;
            }
            let escaped = self.rest.clone();
            if self.take("\\") {
                let next = self.rest.next().ok_or(PatternError::Escape)?;
                if self.named_class(next)? {
                    continue;
                }
            }
            self.rest = escaped;
            self.range()?;
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]`. Without an end the bracket is a character, and so is what follows it.
    fn posix(&mut self) -> Result<bool, PatternError> {
        let inside = self.rest.as_str().strip_prefix('[').filter(|inside| inside.starts_with(':'));
        let Some((name, rest)) = inside.and_then(|inside| inside.split_once(":]")) else { return Ok(false) };
        // One colon can be both of them: then there is no name.
        let name = name.strip_prefix(':').ok_or(PatternError::ClassRange)?;
        let (caret, known) = name.strip_prefix('^').map_or(("", name), |name| ("^", name));
        if !NAMED.contains(&known) {
            return Err(PatternError::ClassRange);
        }
        self.out.push_str("[:");
        self.out.push_str(caret);
        self.out.push_str(known);
        self.out.push_str(":]");
        self.rest = rest.chars();
        Ok(true)
    }

    /// One character, or two with a dash between them.
    fn range(&mut self) -> Result<(), PatternError> {
        let low = self.class_character()?;
        let behind_low = self.rest.clone();
        let mut high = low;
        if self.take("-") {
            if self.rest.as_str().starts_with(']') {
                // A dash at the end is one.
                self.rest = behind_low;
            } else {
                high = self.class_character()?;
            }
        }
        if high < low {
            return Err(PatternError::ClassRange);
        }
        self.literal(low);
        if low != high {
            self.out.push('-');
            self.literal(high);
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, PatternError> {
        match self.rest.next().ok_or(PatternError::OpenClass)? {
            '\\' => {
                let next = self.rest.next().ok_or(PatternError::Escape)?;
                self.escaped(next)
            }
            other => Ok(other),
        }
    }

    /// Behind a backslash: `d`, `s`, `w`, which know ASCII only, `p`, and their opposites. Tells whether it was one.
    pub(super) fn named_class(&mut self, next: char) -> Result<bool, PatternError> {
        let known = match next {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'p' | 'P' => {
                self.unicode(next == 'P')?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.out.push_str(known);
        Ok(true)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`. Which names there are is for the crate to say.
    fn unicode(&mut self, negated: bool) -> Result<(), PatternError> {
        let text = self.rest.as_str();
        let (name, rest) = match text.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or(PatternError::ClassRange)?,
            None => {
                let end = text.chars().next().ok_or(PatternError::ClassRange)?.len_utf8();
                text.split_at(end)
            }
        };
        let (name, opposite) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        if name.is_empty() || !name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_') {
            return Err(PatternError::ClassRange);
        }
        self.rest = rest.chars();
        self.out.push_str(if negated == opposite { r"\p{" } else { r"\P{" });
        self.out.push_str(name);
        self.out.push('}');
        Ok(())
    }
}
