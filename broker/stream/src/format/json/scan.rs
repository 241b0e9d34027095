//! The signs of JSON (RFC 8259), one after the other, in a text that is UTF-8.
//!
//! Nothing is built: a string is a part of the text, or unescaped where it must be. What is passed over is checked all
//! the same; a record is JSON or is not, whichever of its fields are wanted.

use std::borrow::Cow;

/// Objects and arrays inside one another; more is refused, since they nest on the stack.
pub(super) const MAX_DEPTH: u32 = 128;

/// What is wrong with a record.
#[derive(Debug)]
pub(super) enum Fault {
    /// The text is not JSON.
    Syntax {
        /// Where, in bytes.
        at: usize,
        /// What JSON wants there.
        expected: &'static str,
    },
    /// The text is JSON, but not what a column is.
    Field(String),
}

impl Fault {
    /// The message for whoever looks for the record.
    pub(super) fn describe(self, text: &str) -> String {
        match self {
            Fault::Field(message) => message,
            Fault::Syntax { at, expected } => match text.get(at..).and_then(|rest| rest.chars().next()) {
                Some(found) => format!("expected {expected}, found {found:?} at byte {at}"),
                None => format!("expected {expected}, found the end (EOF) at byte {at}"),
            },
        }
    }
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number<'r> {
    /// Of at most 18 digits, without fraction or exponent.
    Integer(i64),
    /// Any other.
    Text(&'r str),
}

/// Reads a text from its beginning.
#[derive(Debug)]
pub(super) struct Scanner<'r> {
    text: &'r str,
    at: usize,
}

impl<'r> Scanner<'r> {
    pub(super) fn new(text: &'r str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes are read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`, which was a place between two signs.
    pub(super) fn since(&self, start: usize) -> &'r str {
        &self.text[start..self.at]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over exactly these bytes, if they come next.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(bytes);
        if found {
            self.at += bytes.len();
        }
        found
    }

    /// As [`Scanner::take`], eight bytes at once: what is compared for every field of every record is a few words long,
    /// and a call would take longer than the comparison.
    pub(super) fn take_words(&mut self, bytes: &[u8]) -> bool {
        let Some(found) = self.text.as_bytes()[self.at..].get(..bytes.len()) else { return false };
        let (words, rest) = bytes.as_chunks::<8>();
        let (found_words, found_rest) = found.as_chunks::<8>();
        let same = words.iter().zip(found_words).all(|(word, found)| word == found)
            && match (bytes.last_chunk::<8>(), found.last_chunk::<8>()) {
                // The last word lies over the one before it.
                (Some(word), Some(found)) => word == found,
                _ => rest.iter().zip(found_rest).all(|(byte, found)| byte == found),
            };
        if same {
            self.at += bytes.len();
        }
        same
    }

    /// Passes over one sign, and the space in front of it.
    pub(super) fn sign(&mut self, sign: u8, expected: &'static str) -> Result<(), Fault> {
        self.space();
        match self.peek() == Some(sign) {
            true => {
                self.at += 1;
                Ok(())
            }
            false => Err(self.unexpected(expected)),
        }
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The end of the text, after nothing but space.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("nothing more (trailing characters)")),
        }
    }

    pub(super) fn unexpected(&self, expected: &'static str) -> Fault {
        Fault::Syntax { at: self.at, expected }
    }

    /// `true`, `false` or `null`, of which the first letter was seen.
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        match self.take(word.as_bytes()) {
            true => Ok(()),
            false => Err(self.unexpected("a value")),
        }
    }

    /// A string, its opening quote next.
    pub(super) fn string(&mut self) -> Result<Cow<'r, str>, Fault> {
        let start = self.at + 1;
        let first = self.string_stop(start)?;
        match self.text.as_bytes()[first] {
            b'"' => {
                self.at = first + 1;
                Ok(Cow::Borrowed(&self.text[start..first]))
            }
            _ => self.unescape(start, first).map(Cow::Owned),
        }
    }

    /// The first quote or backslash from `from` on.
    fn string_stop(&self, from: usize) -> Result<usize, Fault> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        let bytes = self.text.as_bytes();
        let mut at = from;
        // Eight bytes at once. A byte that is zero after the XOR sets its high bit; a borrow may set the bit of a byte
        // above it too, never of one below, so the lowest bit set is right. Bytes below 0x20 likewise.
        while let Some(chunk) = bytes.get(at..at + 8) {
            let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes were asked for"));
            let quote = word ^ (ONES * u64::from(b'"'));
            let backslash = word ^ (ONES * u64::from(b'\\'));
            let stops = (quote.wrapping_sub(ONES) & !quote)
                | (backslash.wrapping_sub(ONES) & !backslash)
                | (word.wrapping_sub(ONES * 0x20) & !word);
            let stops = stops & HIGHS;
            if stops != 0 {
                at += (stops.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' | b'\\' => return Ok(at),
                0..0x20 => {
                    return Err(Fault::Syntax { at, expected: "an escape in place of a control character" });
                }
                _ => at += 1,
            }
        }
        Err(Fault::Syntax { at, expected: "the end of the string" })
    }

    fn unescape(&mut self, start: usize, first: usize) -> Result<String, Fault> {
        let bytes = self.text.as_bytes();
        let mut out = String::with_capacity(first - start + 16);
        out.push_str(&self.text[start..first]);
        self.at = first;
        loop {
            if bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(out);
            }
            let escape = bytes.get(self.at + 1).copied();
            self.at += 2;
            let plain = match escape {
                Some(b'"') => '"',
                Some(b'\\') => '\\',
                Some(b'/') => '/',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => self.unicode()?,
                _ => return Err(Fault::Syntax { at: self.at - 1, expected: "an escape" }),
            };
            out.push(plain);
            let stop = self.string_stop(self.at)?;
            out.push_str(&self.text[self.at..stop]);
            self.at = stop;
        }
    }

    /// The character of `\u0041`, or of two of them that make a pair; the letter `u` is read.
    fn unicode(&mut self) -> Result<char, Fault> {
        let at = self.at;
        let wrong = Fault::Syntax { at, expected: "a character in hexadecimal" };
        let high = self.hex().ok_or(wrong)?;
        let code = match high {
            0xD800..=0xDBFF => {
                let lone = Fault::Syntax { at: self.at, expected: "the second half of a surrogate pair" };
                let low = if self.take(b"\\u") { self.hex() } else { None };
                match low {
                    Some(low @ 0xDC00..=0xDFFF) => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    _ => return Err(lone),
                }
            }
            _ => high,
        };
        char::from_u32(code).ok_or(Fault::Syntax { at, expected: "the first half of a surrogate pair" })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16)?;
        }
        self.at += 4;
        Some(code)
    }

    /// A number, its first sign next.
    pub(super) fn number(&mut self) -> Result<Number<'r>, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let digits_at = self.at;
        let mut value: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            // Meaningful for up to 18 digits only, which is looked at below.
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - digits_at;
        if digits == 0 {
            return Err(self.unexpected(if negative { "a digit" } else { "a value" }));
        }
        if bytes[digits_at] == b'0' && digits > 1 {
            return Err(Fault::Syntax { at: digits_at + 1, expected: "a number without leading zeros" });
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            // -0 is a number that only a float can hold.
            return Ok(match digits <= 18 && !(negative && value == 0) {
                true => Number::Integer(if negative { -value } else { value }),
                false => Number::Text(self.since(start)),
            });
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Number::Text(self.since(start)))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.unexpected("a digit")),
        }
    }

    /// Passes over a value; its first sign is next.
    pub(super) fn skip(&mut self, depth: u32) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'{') => self.skip_object(depth + 1),
            Some(b'[') => self.skip_array(depth + 1),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        let stop = self.string_stop(self.at + 1)?;
        match self.text.as_bytes()[stop] {
            b'"' => {
                self.at = stop + 1;
                Ok(())
            }
            // Rare enough not to have a second way through escapes.
            _ => self.unescape(self.at + 1, stop).map(|_| ()),
        }
    }

    fn skip_object(&mut self, depth: u32) -> Result<(), Fault> {
        self.enter(depth)?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.key_quote()?;
            self.skip_string()?;
            self.sign(b':', "`:`")?;
            self.space();
            self.skip(depth)?;
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: u32) -> Result<(), Fault> {
        self.enter(depth)?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.skip(depth)?;
            if !self.goes_on(b']', "`,` or `]`")? {
                return Ok(());
            }
        }
    }

    /// Passes over the bracket that opens an object or an array.
    pub(super) fn enter(&mut self, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(self.unexpected("fewer objects and arrays inside one another"));
        }
        self.at += 1;
        Ok(())
    }

    /// That a key is next.
    pub(super) fn key_quote(&self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => Ok(()),
            _ => Err(self.unexpected("a field's name in quotes")),
        }
    }

    /// Passes over the comma between two members, or the bracket behind the last.
    pub(super) fn goes_on(&mut self, close: u8, expected: &'static str) -> Result<bool, Fault> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(expected)),
        }
    }
}
