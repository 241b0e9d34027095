//! Avro's schemas: JSON to types, names resolved.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::format::error::FormatError;
use crate::plan;
use crate::value::DataType;

/// Index of a type in [`Schema::types`].
pub(super) type TypeId = usize;

/// A schema: its types, of which a record's may refer to one another in circles.
#[derive(Debug)]
pub(crate) struct Schema {
    types: Vec<Type>,
    /// Of each type, whether its values have no bytes at all.
    empty: Vec<bool>,
    root: TypeId,
}

/// A type, as it is written and as it is meant.
#[derive(Debug, Clone)]
pub(super) struct Type {
    pub(super) kind: Kind,
    pub(super) logical: Logical,
}

/// What is on the wire.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(TypeId),
    Map(TypeId),
    Record(Vec<Field>),
    Union(Vec<TypeId>),
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logical {
    None,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    /// An instant in so many parts of a second.
    Timestamp {
        per_second: i64,
    },
}

/// A record's field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) data: TypeId,
}

/// Columns are drafted of records so deep inside one another; a schema that refers to itself has no end.
const MAX_COLUMN_DEPTH: usize = 3;

/// The namespace and name that data of our own tables have, where no schema is given: Flink's.
const NAMESPACE: &str = "org.apache.flink.avro.generated";

impl Schema {
    /// Reads a schema.
    pub(crate) fn parse(text: &str) -> Result<Self, FormatError> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        let mut reader = Reader { types: Vec::new(), names: BTreeMap::new() };
        let root = reader.read(&json, "").map_err(wrong)?;
        Ok(Self { empty: empty(&reader.types), types: reader.types, root })
    }

    /// The schema that Flink gives a table's columns. Every name must be one of Avro's.
    pub(crate) fn text_for(columns: &[plan::Column]) -> Result<String, FormatError> {
        let mut fields = Vec::new();
        for column in columns {
            if !is_name(&column.name) {
                return Err(FormatError::new(
                    format!("`{}` is no name of Avro's", column.name),
                    "use letters, digits and _, or give the schema: 'avro.schema' = '{...}'",
                ));
            }
            let data = match column.data_type {
                DataType::Boolean => serde_json::json!("boolean"),
                DataType::BigInt => serde_json::json!("long"),
                DataType::Double => serde_json::json!("double"),
                DataType::String => serde_json::json!("string"),
                DataType::Bytes => serde_json::json!("bytes"),
                DataType::Date => serde_json::json!({ "type": "int", "logicalType": "date" }),
                DataType::Timestamp => {
                    serde_json::json!({ "type": "long", "logicalType": "timestamp-millis" })
                }
                DataType::Decimal { precision, scale } => serde_json::json!({
                    "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale
                }),
            };
            fields.push(match column.required {
                true => serde_json::json!({ "name": column.name, "type": data }),
                false => serde_json::json!({ "name": column.name, "type": ["null", data], "default": null }),
            });
        }
        let schema = serde_json::json!({
            "type": "record", "name": "record", "namespace": NAMESPACE, "fields": fields
        });
        Ok(schema.to_string())
    }

    pub(super) fn root(&self) -> TypeId {
        self.root
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The fields of a record, or of the only record among a union's types.
    pub(super) fn fields(&self, id: TypeId) -> Option<&[Field]> {
        match &self.types[id].kind {
            Kind::Record(fields) => Some(fields),
            Kind::Union(branches) => {
                let mut records = branches.iter().filter_map(|branch| match &self.types[*branch].kind {
                    Kind::Record(fields) => Some(fields.as_slice()),
                    _ => None,
                });
                records.next().filter(|_| records.next().is_none())
            }
            _ => None,
        }
    }

    /// The columns that data can be read into, those inside of records by path; `None` where there is no type for a
    /// value.
    pub(crate) fn columns(&self) -> Vec<(String, Option<DataType>)> {
        let mut found = Vec::new();
        match self.fields(self.root) {
            Some(_) => self.columns_inside(self.root, "", 0, &mut found),
            None => found.push(("value".to_owned(), self.column_type(self.root))),
        }
        found
    }

    fn columns_inside(
        &self,
        id: TypeId,
        path: &str,
        depth: usize,
        found: &mut Vec<(String, Option<DataType>)>,
    ) {
        for field in self.fields(id).unwrap_or_default() {
            let name = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            match self.fields(field.data) {
                Some(_) if depth < MAX_COLUMN_DEPTH => {
                    self.columns_inside(field.data, &name, depth + 1, found)
                }
                _ => found.push((name, self.column_type(field.data))),
            }
        }
    }

    /// The type a column should have for a value; `None` where there is none.
    pub(super) fn column_type(&self, id: TypeId) -> Option<DataType> {
        let found = &self.types[id];
        match (&found.kind, found.logical) {
            (_, Logical::Decimal { precision, scale }) => Some(DataType::Decimal { precision, scale }),
            (_, Logical::Date) => Some(DataType::Date),
            (_, Logical::Timestamp { .. }) => Some(DataType::Timestamp),
            (Kind::Boolean, _) => Some(DataType::Boolean),
            (Kind::Int | Kind::Long, _) => Some(DataType::BigInt),
            (Kind::Float | Kind::Double, _) => Some(DataType::Double),
            (Kind::Bytes | Kind::Fixed(_), _) => Some(DataType::Bytes),
            (Kind::String | Kind::Enum(_), _) => Some(DataType::String),
            (Kind::Union(branches), _) => {
                let mut common = None;
                for branch in
                    branches.iter().filter(|branch| !matches!(self.types[**branch].kind, Kind::Null))
                {
                    let next = self.column_type(*branch)?;
                    match common {
                        None => common = Some(next),
                        Some(DataType::BigInt) if next == DataType::Double => common = Some(next),
                        Some(DataType::Double) if next == DataType::BigInt => {}
                        Some(before) if before == next => {}
                        Some(_) => return None,
                    }
                }
                common
            }
            (Kind::Null | Kind::Array(_) | Kind::Map(_) | Kind::Record(_), _) => None,
        }
    }

    /// Whether values can be read into columns of a type, and written from them.
    pub(super) fn fits(&self, id: TypeId, column: DataType) -> bool {
        let found = &self.types[id];
        match (&found.kind, found.logical) {
            (Kind::Null, _) => true,
            (_, Logical::Decimal { .. }) => matches!(column, DataType::Decimal { .. }),
            (_, Logical::Date) => column == DataType::Date,
            (_, Logical::Timestamp { .. }) => column == DataType::Timestamp,
            (Kind::Boolean, _) => column == DataType::Boolean,
            (Kind::Int | Kind::Long, _) => {
                matches!(column, DataType::BigInt | DataType::Double | DataType::Timestamp)
            }
            (Kind::Float | Kind::Double, _) => column == DataType::Double,
            (Kind::Bytes | Kind::Fixed(_), _) => matches!(column, DataType::Bytes | DataType::String),
            (Kind::String, _) => {
                matches!(column, DataType::String | DataType::Timestamp | DataType::Date)
            }
            (Kind::Enum(_), _) => column == DataType::String,
            (Kind::Union(branches), _) => {
                let mut branches =
                    branches.iter().filter(|branch| !matches!(self.types[**branch].kind, Kind::Null));
                branches.clone().next().is_some() && branches.all(|branch| self.fits(*branch, column))
            }
            (Kind::Array(_) | Kind::Map(_) | Kind::Record(_), _) => false,
        }
    }

    /// Whether a value has no bytes at all, so that any number of them fits into nothing.
    pub(super) fn is_empty(&self, id: TypeId) -> bool {
        self.empty[id]
    }

    /// How a type is called in a message.
    pub(super) fn describe(&self, id: TypeId) -> String {
        let found = &self.types[id];
        match (&found.kind, found.logical) {
            (_, Logical::Decimal { precision, scale }) => format!("decimal({precision}, {scale})"),
            (_, Logical::Date) => "date".to_owned(),
            (_, Logical::Timestamp { .. }) => "timestamp".to_owned(),
            (Kind::Null, _) => "null".to_owned(),
            (Kind::Boolean, _) => "boolean".to_owned(),
            (Kind::Int, _) => "int".to_owned(),
            (Kind::Long, _) => "long".to_owned(),
            (Kind::Float, _) => "float".to_owned(),
            (Kind::Double, _) => "double".to_owned(),
            (Kind::Bytes, _) => "bytes".to_owned(),
            (Kind::String, _) => "string".to_owned(),
            (Kind::Fixed(size), _) => format!("fixed({size})"),
            (Kind::Enum(_), _) => "enum".to_owned(),
            (Kind::Array(_), _) => "array".to_owned(),
            (Kind::Map(_), _) => "map".to_owned(),
            (Kind::Record(_), _) => "record".to_owned(),
            (Kind::Union(branches), _) => {
                let branches: Vec<String> = branches.iter().map(|branch| self.describe(*branch)).collect();
                format!("union of {}", branches.join(", "))
            }
        }
    }
}

/// Which types have values without bytes. A record that holds itself has no end, and so no value.
///
/// Each type is looked at once a pass: types may refer to others in front of them and behind them, so that passes go
/// both ways until one finds nothing.
fn empty(types: &[Type]) -> Vec<bool> {
    let mut empty = vec![false; types.len()];
    let mut found = true;
    while found {
        found = false;
        for id in (0..types.len()).chain((0..types.len()).rev()) {
            let is_empty = match &types[id].kind {
                Kind::Null | Kind::Fixed(0) => true,
                Kind::Record(fields) => fields.iter().all(|field| empty[field.data]),
                _ => false,
            };
            found |= is_empty && !empty[id];
            empty[id] |= is_empty;
        }
    }
    empty
}

fn wrong(reason: impl std::fmt::Display) -> FormatError {
    FormatError::new(
        format!("the Avro schema {reason}"),
        "write it as JSON: 'avro.schema' = '{\"type\": \"record\", \"name\": ..., \"fields\": [...]}'",
    )
}

fn is_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

struct Reader {
    types: Vec<Type>,
    /// The named types, by full name.
    names: BTreeMap<String, TypeId>,
}

impl Reader {
    fn add(&mut self, kind: Kind) -> TypeId {
        self.types.push(Type { kind, logical: Logical::None });
        self.types.len() - 1
    }

    /// Reads a type; names without a namespace are of `namespace`.
    fn read(&mut self, json: &Value, namespace: &str) -> Result<TypeId, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.read(branch, namespace));
                let branches = branches.collect::<Result<Vec<_>, _>>()?;
                let nested = |branch: &TypeId| matches!(self.types[*branch].kind, Kind::Union(_));
                match branches.iter().any(nested) {
                    true => Err("has a union inside of a union".to_owned()),
                    false => Ok(self.add(Kind::Union(branches))),
                }
            }
            Value::Object(object) => {
                let id = match object.get("type") {
                    Some(Value::String(name)) => self.complex(name, object, namespace)?,
                    Some(inner) => self.read(inner, namespace)?,
                    None => return Err(format!("has an object without \"type\": {json}")),
                };
                self.types[id].logical = match self.types[id].logical {
                    Logical::None => logical(&self.types[id].kind, object),
                    known => known,
                };
                Ok(id)
            }
            other => Err(format!("has {other} in place of a type")),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, String> {
        let kind = match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int,
            "long" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes,
            "string" => Kind::String,
            _ => {
                let found = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return found
                    .copied()
                    .ok_or_else(|| format!("names the type {name:?}, which it does not have"));
            }
        };
        Ok(self.add(kind))
    }

    fn complex(
        &mut self,
        name: &str,
        object: &serde_json::Map<String, Value>,
        namespace: &str,
    ) -> Result<TypeId, String> {
        let inner = |key: &str| object.get(key).ok_or_else(|| format!("has a type {name:?} without {key:?}"));
        match name {
            "array" => {
                let items = self.read(inner("items")?, namespace)?;
                Ok(self.add(Kind::Array(items)))
            }
            "map" => {
                let values = self.read(inner("values")?, namespace)?;
                Ok(self.add(Kind::Map(values)))
            }
            "record" | "error" | "enum" | "fixed" => {
                let own = inner("name")?.as_str().ok_or("has a name that is no text")?;
                let namespace = match (own.rsplit_once('.'), object.get("namespace").and_then(Value::as_str))
                {
                    (Some((before, _)), _) => before,
                    (None, Some(given)) => given,
                    (None, None) => namespace,
                };
                let full = full_name(own, namespace);
                // The place is taken before the fields are read: they may refer to their record.
                let id = self.add(Kind::Null);
                if self.names.insert(full, id).is_some() {
                    return Err(format!("has two types named {own:?}"));
                }
                let kind = match name {
                    "enum" => Kind::Enum(symbols(inner("symbols")?)?),
                    "fixed" => {
                        let size = inner("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                        Kind::Fixed(size.ok_or_else(|| format!("has a fixed {own:?} without a size"))?)
                    }
                    _ => Kind::Record(self.fields(inner("fields")?, namespace)?),
                };
                self.types[id].kind = kind;
                Ok(id)
            }
            _ => self.named(name, namespace),
        }
    }

    fn fields(&mut self, json: &Value, namespace: &str) -> Result<Vec<Field>, String> {
        let list = json.as_array().ok_or("has \"fields\" that are no array")?;
        let mut fields: Vec<Field> = Vec::with_capacity(list.len());
        for field in list {
            let name = field.get("name").and_then(Value::as_str).ok_or("has a field without a name")?;
            let data = field.get("type").ok_or_else(|| format!("has a field {name:?} without a type"))?;
            if fields.iter().any(|other| other.name == name) {
                return Err(format!("has two fields {name:?} in a record"));
            }
            fields.push(Field { name: name.to_owned(), data: self.read(data, namespace)? });
        }
        Ok(fields)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn symbols(json: &Value) -> Result<Vec<String>, String> {
    let list = json.as_array().ok_or("has \"symbols\" that are no array")?;
    let text =
        |symbol: &Value| symbol.as_str().map(str::to_owned).ok_or("has a symbol that is no text".to_owned());
    list.iter().map(text).collect()
}

/// What a type means. One that does not fit is passed over, as Avro wants it.
fn logical(kind: &Kind, object: &serde_json::Map<String, Value>) -> Logical {
    let number =
        |key: &str| object.get(key).and_then(Value::as_u64).and_then(|number| u8::try_from(number).ok());
    match (object.get("logicalType").and_then(Value::as_str), kind) {
        (Some("date"), Kind::Int) => Logical::Date,
        (Some("timestamp-millis" | "local-timestamp-millis"), Kind::Long) => {
            Logical::Timestamp { per_second: 1_000 }
        }
        (Some("timestamp-micros" | "local-timestamp-micros"), Kind::Long) => {
            Logical::Timestamp { per_second: 1_000_000 }
        }
        (Some("timestamp-nanos" | "local-timestamp-nanos"), Kind::Long) => {
            Logical::Timestamp { per_second: 1_000_000_000 }
        }
        (Some("decimal"), Kind::Bytes | Kind::Fixed(_)) => match (number("precision"), number("scale")) {
            (Some(precision @ 1..=38), scale) if scale.unwrap_or(0) <= precision => {
                Logical::Decimal { precision, scale: scale.unwrap_or(0) }
            }
            _ => Logical::None,
        },
        _ => Logical::None,
    }
}
