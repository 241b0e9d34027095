//! The schema language: a Rust struct with version ranges is the schema.
//!
//! ```text
//! schema! {
//!     /// What the request is for.
//!     request FetchRequest(Fetch, 4..=18, flexible 12) -> FetchResponse {
//!         cluster_id: Option<Str>,           since(12).tag(0).ignorable();
//!         replica_id: i32 = -1,              until(14);
//!         max_wait_ms: i32;
//!         topics: Vec<FetchTopic>;
//!     }
//!     struct FetchTopic { … }
//!     response FetchResponse(Fetch, 4..=18, flexible 12) { … }
//! }
//! ```
//!
//! Read a line beside Kafka's JSON like this. `name: type = default` (no default: the type's own, that
//! is 0, false, empty, null). Behind the comma, when the field is not simply in every version:
//! `since(v)`, `until(v)`, `between(a, b)` its versions, `always()` all of them; `tag(n)` a tagged
//! field; `nullable_since(v)` when `Option` may be null only from that version on; `ignorable()` when a
//! value that a version cannot say is dropped there (otherwise writing it is an error). `flexible v` is
//! the first version with compact lengths and tagged fields, [`NEVER`] if there is none. `record` is a
//! message outside requests and responses: a record of an internal topic.
//!
//! The fields of a nested structure speak of their versions only where they differ from those of the
//! structure itself.
//!
//! Reading leaves the default in a field the version lacks. Unknown tags, and tags of other versions,
//! are skipped.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::chunks::Chunks;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use crate::error_code::ErrorCode;
#[cfg(feature = "samples")]
use crate::samples::Sampler;
use crate::text::Str;

/// `flexible NEVER`: no version of the message has compact lengths and tagged fields.
pub const NEVER: i16 = i16::MAX;

/// A message with versions of its own: a request, a response, or a record of an internal topic.
pub trait Message: Value + Debug + Clone + PartialEq + Default + Send + Sync + 'static {
    /// The struct's name, which is Kafka's.
    const NAME: &'static str;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; [`NEVER`] if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads the message. Bytes behind it are left to the caller ([`Decoder::finish`]).
    fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        decoder.at(Self::NAME);
        if !Self::VERSIONS.contains(&version) {
            return Err(decoder.error(DecodeErrorKind::UnsupportedVersion(version)));
        }
        decoder.enter(version, version >= Self::FLEXIBLE_FROM);
        Self::read(decoder)
    }

    /// Writes the message. After an error the encoder holds a part of it and is of no more use.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        encoder.at(Self::NAME);
        if !Self::VERSIONS.contains(&version) {
            return Err(encoder.error(EncodeErrorKind::UnsupportedVersion(version)));
        }
        encoder.enter(version, version >= Self::FLEXIBLE_FROM);
        self.write(encoder)
    }
}

/// A message a client sends.
pub trait Request: Message {
    /// Which API it calls.
    const KEY: ApiKey;
    /// What answers it, in the same version.
    type Response: Response;
}

/// A message a broker answers with.
pub trait Response: Message {
    /// Which API it answers.
    const KEY: ApiKey;
}

/// Anything a field can be. The layout depends on the version that the coder was told to be in.
pub trait Value: Sized {
    /// The fewest bytes such a value takes.
    fn min_size(version: i16, flexible: bool) -> usize;
    /// Reads one value.
    fn read(decoder: &mut Decoder) -> Result<Self, DecodeError>;
    /// Writes the value.
    fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError>;

    /// Shows every error code in it that says that something went wrong.
    fn each_error(&self, _show: &mut dyn FnMut(ErrorCode)) {}

    /// Whether this is a null (and the field must be nullable in the version).
    fn is_null(&self) -> bool {
        false
    }

    /// Reads a value or null. Structures say which by a byte in front.
    fn read_nullable(decoder: &mut Decoder) -> Result<Option<Self>, DecodeError> {
        match decoder.i8()? {
            ..=-1 => Ok(None),
            _ => Self::read(decoder).map(Some),
        }
    }

    /// Writes a value or null.
    fn write_nullable(value: Option<&Self>, encoder: &mut Encoder) -> Result<(), EncodeError> {
        match value {
            None => encoder.put_i8(-1),
            Some(value) => {
                encoder.put_i8(1);
                value.write(encoder)?;
            }
        }
        Ok(())
    }

    /// Random content that the sampler's version can say.
    #[cfg(feature = "samples")]
    fn sample(sampler: &mut Sampler) -> Self;
}

/// Where a field exists and how: the part of the schema behind the comma.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    since: i16,
    until: i16,
    tag: Option<u32>,
    nullable_since: i16,
    ignorable: bool,
}

/// A field of every version.
pub const fn always() -> Field {
    between(i16::MIN, i16::MAX)
}

/// A field of this version and the later ones.
pub const fn since(version: i16) -> Field {
    between(version, i16::MAX)
}

/// A field of the versions up to this one.
pub const fn until(version: i16) -> Field {
    between(i16::MIN, version)
}

/// A field of these versions, both included.
pub const fn between(since: i16, until: i16) -> Field {
    Field { since, until, tag: None, nullable_since: i16::MIN, ignorable: false }
}

impl Field {
    /// Written, when it is not the default, as a tagged field.
    pub const fn tag(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }

    /// May be null only from this version on.
    pub const fn nullable_since(self, version: i16) -> Field {
        Field { nullable_since: version, ..self }
    }

    /// Dropped in silence in a version that lacks it.
    pub const fn ignorable(self) -> Field {
        Field { ignorable: true, ..self }
    }

    pub(crate) const fn exists(&self, version: i16) -> bool {
        version >= self.since && version <= self.until
    }

    pub(crate) const fn in_body(&self, version: i16) -> bool {
        self.tag.is_none() && self.exists(version)
    }

    pub(crate) const fn tag_at(&self, version: i16) -> Option<u32> {
        if self.exists(version) { self.tag } else { None }
    }

    pub(crate) const fn may_be_null(&self, version: i16) -> bool {
        version >= self.nullable_since
    }

    pub(crate) const fn is_ignorable(&self) -> bool {
        self.ignorable
    }
}

/// Whether a field is not at its default; a function so that the default's type is the field's.
pub(crate) fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}

/// Defines messages and the structures in them; see the module's documentation.
macro_rules! schema {
    () => {};
    ($(#[$meta:meta])* request $name:ident($key:ident, $versions:expr, flexible $flexible:expr)
        -> $response:ident { $($fields:tt)* } $($rest:tt)*) => {
        schema! { @message $name, $versions, $flexible }
        impl $crate::schema::Request for $name {
            const KEY: $crate::ApiKey = $crate::ApiKey::$key;
            type Response = $response;
        }
        schema! { $(#[$meta])* struct $name { $($fields)* } $($rest)* }
    };
    ($(#[$meta:meta])* response $name:ident($key:ident, $versions:expr, flexible $flexible:expr)
        { $($fields:tt)* } $($rest:tt)*) => {
        schema! { @message $name, $versions, $flexible }
        impl $crate::schema::Response for $name {
            const KEY: $crate::ApiKey = $crate::ApiKey::$key;
        }
        schema! { $(#[$meta])* struct $name { $($fields)* } $($rest)* }
    };
    ($(#[$meta:meta])* record $name:ident($versions:expr, flexible $flexible:expr)
        { $($fields:tt)* } $($rest:tt)*) => {
        schema! { @message $name, $versions, $flexible }
        schema! { $(#[$meta])* struct $name { $($fields)* } $($rest)* }
    };
    (@message $name:ident, $versions:expr, $flexible:expr) => {
        impl $crate::schema::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = $flexible;
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@field) => { $crate::schema::always() };
    (@field $field:expr) => { $field };
    ($(#[$meta:meta])* struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty $(= $default:expr)? $(, $spec:expr)?;)*
    } $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: schema!(@default $($default)?),)* }
            }
        }

        // The schema's facts, under the fields' own names.
        #[allow(non_upper_case_globals)]
        impl $name {
            $(const $field: $crate::schema::Field = schema!(@field $($spec)?);)*
        }

        impl $crate::schema::Value for $name {
            fn min_size(version: i16, flexible: bool) -> usize {
                let mut size = usize::from(flexible);
                $(if Self::$field.in_body(version) {
                    size += <$type as $crate::schema::Value>::min_size(version, flexible);
                })*
                size
            }

            fn read(decoder: &mut $crate::Decoder) -> Result<Self, $crate::DecodeError> {
                let version = decoder.version;
                let mut this = Self::default();
                $(if Self::$field.in_body(version) {
                    decoder.at(concat!(stringify!($name), ".", stringify!($field)));
                    this.$field = $crate::schema::Value::read(decoder)?;
                    if !Self::$field.may_be_null(version) && $crate::schema::Value::is_null(&this.$field) {
                        return Err(decoder.error($crate::DecodeErrorKind::UnexpectedNull(version)));
                    }
                })*
                if decoder.flexible {
                    decoder.at(concat!(stringify!($name), "'s tagged fields"));
                    decoder.tagged_fields(&mut |_decoder, _tag| {
                        $(if Self::$field.tag_at(version) == Some(_tag) {
                            _decoder.at(concat!(stringify!($name), ".", stringify!($field)));
                            this.$field = $crate::schema::Value::read(_decoder)?;
                            return Ok(true);
                        })*
                        Ok(false)
                    })?;
                }
                Ok(this)
            }

            fn write(&self, encoder: &mut $crate::Encoder) -> Result<(), $crate::EncodeError> {
                use $crate::EncodeErrorKind::{UnexpectedNull, UnsupportedField};
                let version = encoder.version;
                let mut _tags = 0;
                $(if Self::$field.in_body(version) {
                    encoder.at(concat!(stringify!($name), ".", stringify!($field)));
                    if !Self::$field.may_be_null(version) && $crate::schema::Value::is_null(&self.$field) {
                        return Err(encoder.error(UnexpectedNull(version)));
                    }
                    $crate::schema::Value::write(&self.$field, encoder)?;
                } else if $crate::schema::differs(&self.$field, schema!(@default $($default)?)) {
                    if Self::$field.tag_at(version).is_some() {
                        _tags += 1;
                    } else if !Self::$field.is_ignorable() {
                        encoder.at(concat!(stringify!($name), ".", stringify!($field)));
                        return Err(encoder.error(UnsupportedField(version)));
                    }
                })*
                if encoder.flexible {
                    encoder.put_unsigned_varint(_tags);
                    $(if let Some(tag) = Self::$field.tag_at(version)
                        && $crate::schema::differs(&self.$field, schema!(@default $($default)?)) {
                        encoder.at(concat!(stringify!($name), ".", stringify!($field)));
                        encoder.put_tagged_field(tag, &|content| {
                            $crate::schema::Value::write(&self.$field, content)
                        })?;
                    })*
                }
                Ok(())
            }

            fn each_error(&self, _show: &mut dyn FnMut($crate::ErrorCode)) {
                $($crate::schema::Value::each_error(&self.$field, _show);)*
            }

            #[cfg(feature = "samples")]
            fn sample(sampler: &mut $crate::samples::Sampler) -> Self {
                let version = sampler.version();
                let mut this = Self::default();
                $(if Self::$field.exists(version) {
                    sampler.allow_null(Self::$field.may_be_null(version));
                    this.$field = $crate::schema::Value::sample(sampler);
                })*
                this
            }
        }

        schema! { $($rest)* }
    };
}
pub(crate) use schema;

/// A primitive: its type, its size in bytes, how to read, write and sample it.
macro_rules! primitive {
    ($($type:ty, $size:literal, $read:expr, $write:expr, $sample:expr;)*) => {$(
        impl Value for $type {
            fn min_size(_: i16, _: bool) -> usize {
                $size
            }

            fn read(decoder: &mut Decoder) -> Result<Self, DecodeError> {
                $read(decoder)
            }

            fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
                $write(encoder, *self);
                Ok(())
            }

            #[cfg(feature = "samples")]
            fn sample(sampler: &mut Sampler) -> Self {
                $sample(sampler)
            }
        }
    )*};
}

primitive! {
    i8, 1, Decoder::i8, Encoder::put_i8, |s: &mut Sampler| s.bits() as i8;
    i16, 2, Decoder::i16, Encoder::put_i16, |s: &mut Sampler| s.bits() as i16;
    u16, 2, Decoder::u16, Encoder::put_u16, |s: &mut Sampler| s.bits() as u16;
    i32, 4, Decoder::i32, Encoder::put_i32, |s: &mut Sampler| s.bits() as i32;
    i64, 8, Decoder::i64, Encoder::put_i64, |s: &mut Sampler| s.bits() as i64;
    f64, 8, Decoder::f64, Encoder::put_f64, |s: &mut Sampler| s.bits() as f64;
    bool, 1,
        |d: &mut Decoder| Ok(d.i8()? != 0),
        |e: &mut Encoder, value| e.put_i8(i8::from(value)),
        |s: &mut Sampler| s.bits() & 1 == 1;
    Uuid, 16,
        Decoder::uuid,
        Encoder::put_uuid,
        |s: &mut Sampler| Uuid::from_u64_pair(s.bits(), s.bits());
}

impl Value for ErrorCode {
    fn min_size(_: i16, _: bool) -> usize {
        2
    }

    fn read(decoder: &mut Decoder) -> Result<Self, DecodeError> {
        decoder.i16().map(ErrorCode)
    }

    fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        encoder.put_i16(self.0);
        Ok(())
    }

    fn each_error(&self, show: &mut dyn FnMut(ErrorCode)) {
        if self.is_error() {
            show(*self);
        }
    }

    #[cfg(feature = "samples")]
    fn sample(sampler: &mut Sampler) -> Self {
        ErrorCode(sampler.bits() as i16)
    }
}

/// A type with a length in front, which can say null by it: its type, the size of a plain length, how to
/// read, write and sample it.
macro_rules! lengthy {
    ($($type:ty, $plain_size:literal, $read:expr, $write:expr, $sample:expr;)*) => {$(
        impl Value for $type {
            fn min_size(_: i16, flexible: bool) -> usize {
                if flexible { 1 } else { $plain_size }
            }

            fn read(decoder: &mut Decoder) -> Result<Self, DecodeError> {
                match Self::read_nullable(decoder)? {
                    Some(value) => Ok(value),
                    None => Err(decoder.error(DecodeErrorKind::UnexpectedNull(decoder.version))),
                }
            }

            fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
                Self::write_nullable(Some(self), encoder)
            }

            fn read_nullable(decoder: &mut Decoder) -> Result<Option<Self>, DecodeError> {
                $read(decoder)
            }

            fn write_nullable(value: Option<&Self>, encoder: &mut Encoder) -> Result<(), EncodeError> {
                $write(encoder, value)
            }

            #[cfg(feature = "samples")]
            fn sample(sampler: &mut Sampler) -> Self {
                $sample(sampler)
            }
        }
    )*};
}

lengthy! {
    Str, 2,
        Decoder::string,
        |e: &mut Encoder, text: Option<&Str>| e.put_string(text.map(Str::as_str)),
        Sampler::text;
    Bytes, 4, Decoder::bytes, Encoder::put_bytes, Sampler::bytes;
    Chunks, 4,
        |d: &mut Decoder| Ok(d.bytes()?.map(Chunks::from)),
        Encoder::put_chunks,
        |s: &mut Sampler| Chunks::from(vec![s.bytes(), s.bytes()]);
}

impl<T: Value> Value for Vec<T> {
    fn min_size(_: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 4 }
    }

    fn read(decoder: &mut Decoder) -> Result<Self, DecodeError> {
        match Self::read_nullable(decoder)? {
            Some(elements) => Ok(elements),
            None => Err(decoder.error(DecodeErrorKind::UnexpectedNull(decoder.version))),
        }
    }

    fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), encoder)
    }

    fn read_nullable(decoder: &mut Decoder) -> Result<Option<Self>, DecodeError> {
        let least = T::min_size(decoder.version, decoder.flexible);
        let Some(count) = decoder.count(least, size_of::<T>())? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(decoder)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, encoder: &mut Encoder) -> Result<(), EncodeError> {
        encoder.put_count(value.map(Vec::len))?;
        for element in value.into_iter().flatten() {
            element.write(encoder)?;
        }
        Ok(())
    }

    fn each_error(&self, show: &mut dyn FnMut(ErrorCode)) {
        self.iter().for_each(|element| element.each_error(show));
    }

    #[cfg(feature = "samples")]
    fn sample(sampler: &mut Sampler) -> Self {
        (0..sampler.count()).map(|_| T::sample(sampler)).collect()
    }
}

impl<T: Value> Value for Option<T> {
    fn min_size(version: i16, flexible: bool) -> usize {
        // A null structure is one byte; a null string or array is as long as an empty one.
        T::min_size(version, flexible).min(if flexible { 1 } else { 4 })
    }

    fn read(decoder: &mut Decoder) -> Result<Self, DecodeError> {
        T::read_nullable(decoder)
    }

    fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), encoder)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    fn each_error(&self, show: &mut dyn FnMut(ErrorCode)) {
        if let Some(value) = self {
            value.each_error(show);
        }
    }

    #[cfg(feature = "samples")]
    fn sample(sampler: &mut Sampler) -> Self {
        if sampler.picks_null() { None } else { Some(T::sample(sampler)) }
    }
}
