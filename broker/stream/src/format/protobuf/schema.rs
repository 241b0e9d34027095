//! Message types: what a description declares, with every name resolved.

use std::collections::BTreeMap;

use super::{descriptor, proto};
use crate::format::error::FormatError;
use crate::plan::{ProtobufFormat, ProtobufSchema};
use crate::value::DataType;

/// Message types that refer to one another by index.
#[derive(Debug)]
pub(crate) struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    root: usize,
}

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) rule: Rule,
    /// The `oneof` it belongs to, numbered within its message.
    pub(super) oneof: Option<u32>,
}

/// How often a field is there, and whether its absence can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// At most once; what is absent is its default.
    Implicit,
    /// At most once; what is absent is absent.
    Optional,
    /// Once.
    Required,
    /// Any number of times.
    Repeated,
}

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(usize),
    Message(usize),
}

/// An enum's values, by number.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) values: Vec<(String, i32)>,
}

/// What one or several files declare, names as they are written.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    pub(super) messages: Vec<DeclaredMessage>,
    pub(super) enums: Vec<(String, Enum)>,
}

/// A message type with its full name.
#[derive(Debug)]
pub(super) struct DeclaredMessage {
    pub(super) name: String,
    pub(super) fields: Vec<DeclaredField>,
}

/// A field whose type may be a name.
#[derive(Debug)]
pub(super) struct DeclaredField {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) data: DeclaredType,
    pub(super) rule: Rule,
    pub(super) oneof: Option<u32>,
}

/// A scalar, or the name of a message or an enum: with a dot in front a full one, else seen from its message.
#[derive(Debug)]
pub(super) enum DeclaredType {
    Scalar(Kind),
    Named(String),
}

/// Columns are drafted of messages so deep inside one another; one that holds itself has no end.
const MAX_COLUMN_DEPTH: usize = 3;

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// Google's wrappers: messages with one field, `value`.
const WRAPPERS: [(&str, Kind); 9] = [
    ("google.protobuf.DoubleValue", Kind::Double),
    ("google.protobuf.FloatValue", Kind::Float),
    ("google.protobuf.Int64Value", Kind::Int64),
    ("google.protobuf.UInt64Value", Kind::Uint64),
    ("google.protobuf.Int32Value", Kind::Int32),
    ("google.protobuf.UInt32Value", Kind::Uint32),
    ("google.protobuf.BoolValue", Kind::Bool),
    ("google.protobuf.StringValue", Kind::String),
    ("google.protobuf.BytesValue", Kind::Bytes),
];

impl Schema {
    /// Reads the description, and finds the message in it.
    pub(crate) fn new(format: &ProtobufFormat) -> Result<Self, FormatError> {
        let mut declarations = match &format.schema {
            ProtobufSchema::Proto(text) => proto::parse(text)?,
            ProtobufSchema::Descriptor(text) => descriptor::parse(text)?,
        };
        declarations.add_well_known();
        declarations.resolve(&format.message)
    }

    pub(super) fn root(&self) -> usize {
        self.root
    }

    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    pub(super) fn enumeration(&self, index: usize) -> &Enum {
        &self.enums[index]
    }

    /// Whether a message is a moment in time.
    pub(super) fn is_timestamp(&self, index: usize) -> bool {
        self.messages[index].name == TIMESTAMP
    }

    /// What a message wraps, if it is a wrapper.
    pub(super) fn wrapped(&self, index: usize) -> Option<&Field> {
        let message = &self.messages[index];
        WRAPPERS.iter().any(|(name, _)| *name == message.name).then(|| &message.fields[0])
    }

    /// The field at a path.
    pub(super) fn field(&self, name: &str) -> Result<&Field, FormatError> {
        let mut message = self.root;
        let mut path = name.split('.').peekable();
        while let Some(part) = path.next() {
            let fields = &self.messages[message].fields;
            let Some(field) = fields.iter().find(|field| field.name == part) else {
                let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                return Err(FormatError::new(
                    format!("message {} has no field `{part}`", self.messages[message].name),
                    format!("known are: {}", known.join(", ")),
                ));
            };
            if field.rule == Rule::Repeated {
                return Err(FormatError::new(
                    format!("field `{part}` of message {} is repeated", self.messages[message].name),
                    "leave it out: there is no type for arrays and maps",
                ));
            }
            match (field.kind, path.peek()) {
                (_, None) => return Ok(field),
                (Kind::Message(inner), Some(_)) => message = inner,
                _ => {
                    return Err(FormatError::new(
                        format!("field `{part}` of message {} is no message", self.messages[message].name),
                        "name it without what follows it",
                    ));
                }
            }
        }
        unreachable!("a path has at least one part, and the last one returns")
    }

    /// The columns that messages can be read into, those inside of messages by path; `None` where there is no type for
    /// a field.
    pub(crate) fn columns(&self) -> Vec<(String, Option<DataType>)> {
        let mut found = Vec::new();
        self.columns_inside(self.root, "", 0, &mut found);
        found
    }

    fn columns_inside(
        &self,
        message: usize,
        path: &str,
        depth: usize,
        found: &mut Vec<(String, Option<DataType>)>,
    ) {
        for field in &self.messages[message].fields {
            let name = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            match (self.column_type(field), field.kind) {
                (None, Kind::Message(inner)) if field.rule != Rule::Repeated && depth < MAX_COLUMN_DEPTH => {
                    self.columns_inside(inner, &name, depth + 1, found);
                }
                (data_type, _) => found.push((name, data_type)),
            }
        }
    }

    /// The type a column should have; `None` where there is none.
    pub(super) fn column_type(&self, field: &Field) -> Option<DataType> {
        match field.kind {
            _ if field.rule == Rule::Repeated => None,
            Kind::Double | Kind::Float => Some(DataType::Double),
            Kind::Bool => Some(DataType::Boolean),
            Kind::String | Kind::Enum(_) => Some(DataType::String),
            Kind::Bytes => Some(DataType::Bytes),
            Kind::Message(index) if self.is_timestamp(index) => Some(DataType::Timestamp),
            Kind::Message(index) => self.wrapped(index).and_then(|field| self.column_type(field)),
            _ => Some(DataType::BigInt),
        }
    }

    /// Whether values can be read into columns of a type, and written from them.
    pub(super) fn fits(&self, kind: Kind, column: DataType) -> bool {
        match kind {
            Kind::Double | Kind::Float => column == DataType::Double,
            Kind::Bool => column == DataType::Boolean,
            Kind::String => column == DataType::String,
            Kind::Bytes => matches!(column, DataType::Bytes | DataType::String),
            Kind::Enum(_) => matches!(column, DataType::String | DataType::BigInt),
            Kind::Message(index) if self.is_timestamp(index) => column == DataType::Timestamp,
            Kind::Message(index) => self.wrapped(index).is_some_and(|field| self.fits(field.kind, column)),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                matches!(column, DataType::BigInt | DataType::Timestamp)
            }
            _ => column == DataType::BigInt,
        }
    }

    /// That a column fits its field.
    pub(super) fn check(&self, name: &str, field: &Field, column: DataType) -> Result<(), FormatError> {
        match self.fits(field.kind, column) {
            true => Ok(()),
            false => Err(FormatError::new(
                format!("column `{name}` is a {column}, which field `{}` is not", field.name),
                match (self.column_type(field), field.kind) {
                    (Some(better), _) => format!("declare it as {better}"),
                    (None, Kind::Message(_)) => format!("name its fields: `{name}.<field>`"),
                    (None, _) => "leave it out".to_owned(),
                },
            )),
        }
    }
}

impl Declarations {
    /// Google's own types that have a meaning here, where no file declared them.
    fn add_well_known(&mut self) {
        let scalar = |name: &str, number, kind| DeclaredField {
            name: name.to_owned(),
            number,
            data: DeclaredType::Scalar(kind),
            rule: Rule::Implicit,
            oneof: None,
        };
        let timestamp = vec![scalar("seconds", 1, Kind::Int64), scalar("nanos", 2, Kind::Int32)];
        let wrappers = WRAPPERS.iter().map(|(name, kind)| (*name, vec![scalar("value", 1, *kind)]));
        for (name, fields) in wrappers.chain([(TIMESTAMP, timestamp)]) {
            self.messages.retain(|message| message.name != name);
            self.messages.push(DeclaredMessage { name: name.to_owned(), fields });
        }
    }

    fn resolve(self, root: &str) -> Result<Schema, FormatError> {
        let mut names = BTreeMap::new();
        let messages = self.messages.iter().enumerate();
        let messages = messages.map(|(index, message)| (message.name.as_str(), Kind::Message(index)));
        let enums = self.enums.iter().enumerate();
        let enums = enums.map(|(index, (name, _))| (name.as_str(), Kind::Enum(index)));
        for (name, kind) in messages.chain(enums) {
            if names.insert(name, kind).is_some() {
                return Err(wrong(format!("declares {name} twice")));
            }
        }
        let root = match names.get(root.trim_start_matches('.')) {
            Some(Kind::Message(index)) => *index,
            _ => {
                let own = |name: &&&str| !name.starts_with("google.protobuf.");
                let known: Vec<&str> = names.keys().filter(own).copied().collect();
                return Err(FormatError::new(
                    format!("the Protobuf description has no message {root}"),
                    format!("'protobuf.message' is one of: {}", known.join(", ")),
                ));
            }
        };
        let mut messages = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            let mut fields: Vec<Field> = Vec::with_capacity(message.fields.len());
            for field in &message.fields {
                if fields.iter().any(|other| other.number == field.number || other.name == field.name) {
                    let name = &message.name;
                    return Err(wrong(format!("has two fields {} = {} in {name}", field.name, field.number)));
                }
                let kind = match &field.data {
                    DeclaredType::Scalar(kind) => *kind,
                    DeclaredType::Named(name) => find(&names, name, &message.name).ok_or_else(|| {
                        wrong(format!("names the type {name} in {}, and does not declare it", message.name))
                    })?,
                };
                // A message is there or not, whatever the syntax.
                let rule = match (field.rule, kind) {
                    (Rule::Implicit, Kind::Message(_)) => Rule::Optional,
                    (rule, _) => rule,
                };
                let (name, number, oneof) = (field.name.clone(), field.number, field.oneof);
                fields.push(Field { name, number, kind, rule, oneof });
            }
            fields.sort_by_key(|field| field.number);
            messages.push(Message { name: message.name.clone(), fields });
        }
        Ok(Schema { messages, enums: self.enums.into_iter().map(|(_, values)| values).collect(), root })
    }
}

/// A name as it is seen from inside of `scope`: the innermost that there is.
fn find(names: &BTreeMap<&str, Kind>, name: &str, scope: &str) -> Option<Kind> {
    if let Some(full) = name.strip_prefix('.') {
        return names.get(full).copied();
    }
    let mut scope = scope;
    loop {
        if let Some(kind) = names.get(format!("{scope}.{name}").as_str()) {
            return Some(*kind);
        }
        match scope.rsplit_once('.') {
            Some((outer, _)) => scope = outer,
            None => return names.get(name).copied(),
        }
    }
}

pub(super) fn wrong(reason: impl std::fmt::Display) -> FormatError {
    FormatError::new(
        format!("the Protobuf description {reason}"),
        "give 'protobuf.proto' = '<text of a .proto file>', or 'protobuf.descriptor' = '<base64 of a FileDescriptorSet>'",
    )
}
