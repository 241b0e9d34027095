//! The text of a `.proto` file to declarations: messages, enums and what they are made of. Services, options and
//! extensions say nothing about how a message is written, and are passed over.

use super::schema::{Declarations, DeclaredField, DeclaredMessage, DeclaredType, Enum, Kind, Rule, wrong};
use crate::format::error::FormatError;

/// Messages inside one another.
const MAX_DEPTH: u32 = 32;
/// What may be imported: its types are known.
const KNOWN_FILES: [&str; 3] =
    ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto", "google/protobuf/descriptor.proto"];

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Declarations, FormatError> {
    let mut parser = Parser { text, at: 0, proto3: false, declarations: Declarations::default() };
    match parser.file() {
        Ok(()) => Ok(parser.declarations),
        Err(reason) => {
            let line = text.as_bytes()[..parser.at].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(wrong(format!("cannot be read, in line {line} of the .proto text: {reason}")))
        }
    }
}

/// A word, a number, a text in quotes or a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Text(&'t str),
    Sign(char),
    End,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    proto3: bool,
    declarations: Declarations,
}

impl<'t> Parser<'t> {
    fn file(&mut self) -> Result<(), String> {
        let mut package = String::new();
        loop {
            match self.next()? {
                Token::End => return Ok(()),
                Token::Sign(';') => {}
                Token::Word("syntax") => {
                    self.sign('=')?;
                    self.proto3 = match self.next()? {
                        Token::Text("proto3") => true,
                        Token::Text("proto2") => false,
                        other => return Err(format!("syntax {other:?} is not known")),
                    };
                    self.sign(';')?;
                }
                Token::Word("package") => {
                    package = self.word()?.to_owned();
                    self.sign(';')?;
                }
                Token::Word("import") => self.import()?,
                Token::Word("message") => self.message(&package, 0)?,
                Token::Word("enum") => self.enumeration(&package)?,
                Token::Word("option" | "edition") => self.pass_over()?,
                Token::Word("service" | "extend") => self.pass_over()?,
                other => return Err(format!("{other:?} does not begin a declaration")),
            }
        }
    }

    fn import(&mut self) -> Result<(), String> {
        let mut file = self.next()?;
        if let Token::Word("public" | "weak") = file {
            file = self.next()?;
        }
        let Token::Text(file) = file else { return Err(format!("{file:?} is no file's name in quotes")) };
        if !KNOWN_FILES.contains(&file) {
            return Err(format!(
                "{file:?} cannot be imported: put its messages into the same text, or give 'protobuf.descriptor'"
            ));
        }
        self.sign(';')
    }

    fn message(&mut self, scope: &str, depth: u32) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("too many messages inside one another".to_owned());
        }
        let name = join(scope, self.word()?);
        self.sign('{')?;
        let mut message = DeclaredMessage { name, fields: Vec::new() };
        let mut oneofs = 0;
        loop {
            let start = self.at;
            match self.next()? {
                Token::Sign('}') => break,
                Token::Sign(';') => {}
                // A word that begins something else may also be the name of a field's type; then a name follows.
                Token::Word("message") if self.opens_body()? => self.message(&message.name, depth + 1)?,
                Token::Word("enum") if self.opens_body()? => self.enumeration(&message.name)?,
                Token::Word("extend") if self.opens_body()? => self.pass_over()?,
                Token::Word("option" | "extensions" | "reserved") => self.pass_over()?,
                Token::Word("oneof") if self.opens_body()? => {
                    self.word()?;
                    self.sign('{')?;
                    self.oneof(oneofs, &mut message.fields)?;
                    oneofs += 1;
                }
                Token::Word("map") if self.peek()? == Token::Sign('<') => {
                    while self.next()? != Token::Sign('>') {
                        if self.peek()? == Token::End {
                            return Err("a map's types do not end".to_owned());
                        }
                    }
                    // Only its number matters: no column is read from it.
                    let data = DeclaredType::Scalar(Kind::Bytes);
                    let field = self.field(data, Rule::Repeated, None)?;
                    message.fields.push(field);
                }
                Token::Word(_) => {
                    self.at = start;
                    let field = self.plain_field()?;
                    message.fields.push(field);
                }
                other => return Err(format!("{other:?} does not belong into a message")),
            }
        }
        self.declarations.messages.push(message);
        Ok(())
    }

    /// Whether a name and an opening bracket are next.
    fn opens_body(&mut self) -> Result<bool, String> {
        let start = self.at;
        let named = matches!(self.next()?, Token::Word(_));
        let opens = self.next()? == Token::Sign('{');
        self.at = start;
        Ok(named && opens)
    }

    fn plain_field(&mut self) -> Result<DeclaredField, String> {
        let single = if self.proto3 { Rule::Implicit } else { Rule::Optional };
        let start = self.at;
        let rule = match self.word()? {
            "optional" => Rule::Optional,
            "required" => Rule::Required,
            "repeated" => Rule::Repeated,
            _ => {
                self.at = start;
                single
            }
        };
        let data = self.data_type()?;
        self.field(data, rule, None)
    }

    fn oneof(&mut self, oneof: u32, fields: &mut Vec<DeclaredField>) -> Result<(), String> {
        loop {
            let start = self.at;
            match self.next()? {
                Token::Sign('}') => return Ok(()),
                Token::Sign(';') => {}
                Token::Word("option") => self.pass_over()?,
                Token::Word(_) => {
                    self.at = start;
                    let data = self.data_type()?;
                    let field = self.field(data, Rule::Optional, Some(oneof))?;
                    fields.push(field);
                }
                other => return Err(format!("{other:?} does not belong into a oneof")),
            }
        }
    }

    fn data_type(&mut self) -> Result<DeclaredType, String> {
        let kind = match self.word()? {
            "double" => Kind::Double,
            "float" => Kind::Float,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "uint32" => Kind::Uint32,
            "uint64" => Kind::Uint64,
            "sint32" => Kind::Sint32,
            "sint64" => Kind::Sint64,
            "fixed32" => Kind::Fixed32,
            "fixed64" => Kind::Fixed64,
            "sfixed32" => Kind::Sfixed32,
            "sfixed64" => Kind::Sfixed64,
            "bool" => Kind::Bool,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "group" => return Err("groups are not supported: write a message".to_owned()),
            name => return Ok(DeclaredType::Named(name.to_owned())),
        };
        Ok(DeclaredType::Scalar(kind))
    }

    /// `name = number [options];`, its type is read.
    fn field(&mut self, data: DeclaredType, rule: Rule, oneof: Option<u32>) -> Result<DeclaredField, String> {
        let name = self.word()?.to_owned();
        self.sign('=')?;
        let number = self.word()?;
        let number = integer(number)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or_else(|| format!("{number} is no field's number"))?;
        match self.peek()? {
            Token::Sign('[') => self.pass_over()?,
            _ => self.sign(';')?,
        }
        Ok(DeclaredField { name, number, data, rule, oneof })
    }

    fn enumeration(&mut self, scope: &str) -> Result<(), String> {
        let name = join(scope, self.word()?);
        self.sign('{')?;
        let mut values = Vec::new();
        loop {
            match self.next()? {
                Token::Sign('}') => break,
                Token::Sign(';') => {}
                Token::Word("option" | "reserved") if self.peek()? != Token::Sign('=') => self.pass_over()?,
                Token::Word(value) => {
                    self.sign('=')?;
                    let negative = self.peek()? == Token::Sign('-');
                    if negative {
                        self.sign('-')?;
                    }
                    let number = self.word()?;
                    let signed = integer(number).map(|number| if negative { -number } else { number });
                    let number = signed
                        .and_then(|number| i32::try_from(number).ok())
                        .ok_or_else(|| format!("{number} is no enum's number"))?;
                    values.push((value.to_owned(), number));
                    match self.peek()? {
                        Token::Sign('[') => self.pass_over()?,
                        _ => self.sign(';')?,
                    }
                }
                other => return Err(format!("{other:?} does not belong into an enum")),
            }
        }
        self.declarations.enums.push((name, Enum { values }));
        Ok(())
    }

    /// Passes over the rest of a statement: to its `;`, or to the end of its brackets.
    fn pass_over(&mut self) -> Result<(), String> {
        let mut depth = 0_u32;
        loop {
            match self.next()? {
                Token::Sign('{' | '[' | '(') => depth += 1,
                Token::Sign('}' | ']' | ')') => {
                    depth = depth.checked_sub(1).ok_or("a bracket closes, and did not open")?;
                    if depth == 0
                        && self.text.as_bytes()[self.at - 1] == b'}'
                        && self.peek()? != Token::Sign(';')
                    {
                        return Ok(());
                    }
                }
                Token::Sign(';') if depth == 0 => return Ok(()),
                Token::End => return Err("a statement does not end".to_owned()),
                _ => {}
            }
        }
    }

    fn word(&mut self) -> Result<&'t str, String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("{other:?} in place of a name or number")),
        }
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("{other:?} in place of {sign:?}")),
        }
    }

    fn peek(&mut self) -> Result<Token<'t>, String> {
        let start = self.at;
        let token = self.next();
        self.at = start;
        token
    }

    fn next(&mut self) -> Result<Token<'t>, String> {
        self.space()?;
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let in_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        let (token, length) = match first {
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or("a text in quotes does not end")?;
                (Token::Text(&rest[1..=end]), end + 2)
            }
            _ if in_word(first) => {
                let length = rest.find(|letter| !in_word(letter)).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            other => (Token::Sign(other), other.len_utf8()),
        };
        self.at += length;
        Ok(token)
    }

    /// Passes over space and comments.
    fn space(&mut self) -> Result<(), String> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.at += trimmed.find("*/").ok_or("a comment does not end")? + 2;
            } else {
                return Ok(());
            }
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
