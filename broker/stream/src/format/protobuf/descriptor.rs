//! A `FileDescriptorSet` to declarations, read by the wire format that it is itself in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::schema::{Declarations, DeclaredField, DeclaredMessage, DeclaredType, Enum, Kind, Rule, wrong};
use super::wire::{Reader, WireType};
use crate::format::error::FormatError;

/// Message types inside one another.
const MAX_DEPTH: u32 = 32;

/// Reads the base64 of a set.
pub(super) fn parse(text: &str) -> Result<Declarations, FormatError> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(letters).map_err(|error| wrong(format!("is no base64: {error}")))?;
    let mut declarations = Declarations::default();
    read_set(&bytes, &mut declarations)
        .map_err(|error| wrong(format!("is no FileDescriptorSet: {error}")))?;
    Ok(declarations)
}

/// A field's value; only two ways of writing occur in descriptors.
enum Found<'r> {
    Number(u64),
    Bytes(&'r [u8]),
    Other,
}

impl<'r> Found<'r> {
    fn text(&self) -> String {
        match self {
            Found::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    fn bytes(&self) -> &'r [u8] {
        match self {
            Found::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    fn number(&self) -> u64 {
        match self {
            Found::Number(number) => *number,
            _ => 0,
        }
    }
}

fn for_each_field<'r>(
    message: &'r [u8],
    mut visit: impl FnMut(u32, Found<'r>) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::new(message);
    while let Some((number, wire_type)) = reader.tag()? {
        let found = match wire_type {
            WireType::Varint => Found::Number(reader.varint()?),
            WireType::Length => Found::Bytes(reader.bytes()?),
            other => {
                reader.skip(number, other)?;
                Found::Other
            }
        };
        visit(number, found)?;
    }
    Ok(())
}

fn read_set(set: &[u8], declarations: &mut Declarations) -> Result<(), String> {
    for_each_field(set, |number, found| match number {
        1 => read_file(found.bytes(), declarations),
        _ => Ok(()),
    })
}

fn read_file(file: &[u8], declarations: &mut Declarations) -> Result<(), String> {
    let (mut package, mut proto3) = (String::new(), false);
    let (mut messages, mut enums) = (Vec::new(), Vec::new());
    for_each_field(file, |number, found| {
        match number {
            2 => package = found.text(),
            4 => messages.push(found.bytes()),
            5 => enums.push(found.bytes()),
            12 => proto3 = found.text() == "proto3",
            _ => {}
        }
        Ok(())
    })?;
    messages.into_iter().try_for_each(|message| read_message(message, &package, proto3, 0, declarations))?;
    enums.into_iter().try_for_each(|values| read_enum(values, &package, declarations))
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn read_message(
    message: &[u8],
    scope: &str,
    proto3: bool,
    depth: u32,
    declarations: &mut Declarations,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("too many messages inside one another".to_owned());
    }
    let mut name = String::new();
    let (mut fields, mut messages, mut enums) = (Vec::new(), Vec::new(), Vec::new());
    for_each_field(message, |number, found| {
        match number {
            1 => name = join(scope, &found.text()),
            2 => fields.push(read_field(found.bytes(), proto3)?),
            3 => messages.push(found.bytes()),
            4 => enums.push(found.bytes()),
            _ => {}
        }
        Ok(())
    })?;
    messages.into_iter().try_for_each(|inner| read_message(inner, &name, proto3, depth + 1, declarations))?;
    enums.into_iter().try_for_each(|values| read_enum(values, &name, declarations))?;
    declarations.messages.push(DeclaredMessage { name, fields });
    Ok(())
}

fn read_field(field: &[u8], proto3: bool) -> Result<DeclaredField, String> {
    let (mut name, mut type_name) = (String::new(), String::new());
    let (mut number, mut label, mut data) = (0, 1, 0);
    let (mut oneof, mut own_oneof) = (None, false);
    for_each_field(field, |key, found| {
        match key {
            1 => name = found.text(),
            3 => number = u32::try_from(found.number()).map_err(|error| error.to_string())?,
            4 => label = found.number(),
            5 => data = found.number(),
            6 => type_name = found.text(),
            9 => oneof = u32::try_from(found.number()).ok(),
            17 => own_oneof = found.number() != 0,
            _ => {}
        }
        Ok(())
    })?;
    let data = match data {
        1 => DeclaredType::Scalar(Kind::Double),
        2 => DeclaredType::Scalar(Kind::Float),
        3 => DeclaredType::Scalar(Kind::Int64),
        4 => DeclaredType::Scalar(Kind::Uint64),
        5 => DeclaredType::Scalar(Kind::Int32),
        6 => DeclaredType::Scalar(Kind::Fixed64),
        7 => DeclaredType::Scalar(Kind::Fixed32),
        8 => DeclaredType::Scalar(Kind::Bool),
        9 => DeclaredType::Scalar(Kind::String),
        12 => DeclaredType::Scalar(Kind::Bytes),
        13 => DeclaredType::Scalar(Kind::Uint32),
        15 => DeclaredType::Scalar(Kind::Sfixed32),
        16 => DeclaredType::Scalar(Kind::Sfixed64),
        17 => DeclaredType::Scalar(Kind::Sint32),
        18 => DeclaredType::Scalar(Kind::Sint64),
        11 | 14 => DeclaredType::Named(type_name),
        10 => return Err(format!("field {name} is a group, which is not supported")),
        other => return Err(format!("field {name} has the unknown type {other}")),
    };
    let rule = match (label, oneof) {
        (3, _) => Rule::Repeated,
        (2, _) => Rule::Required,
        (_, None) if proto3 => Rule::Implicit,
        _ => Rule::Optional,
    };
    // `optional` in proto3 is written as a oneof of one.
    Ok(DeclaredField { name, number, data, rule, oneof: oneof.filter(|_| !own_oneof) })
}

fn read_enum(values: &[u8], scope: &str, declarations: &mut Declarations) -> Result<(), String> {
    let mut name = String::new();
    let mut found_values = Vec::new();
    for_each_field(values, |number, found| {
        match number {
            1 => name = join(scope, &found.text()),
            2 => {
                let mut value = (String::new(), 0);
                for_each_field(found.bytes(), |number, found| {
                    match number {
                        1 => value.0 = found.text(),
                        2 => value.1 = found.number() as i32,
                        _ => {}
                    }
                    Ok(())
                })?;
                found_values.push(value);
            }
            _ => {}
        }
        Ok(())
    })?;
    declarations.enums.push((name, Enum { values: found_values }));
    Ok(())
}
