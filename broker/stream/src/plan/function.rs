//! The built-in scalar functions, with everything a call needs to know beside its arguments.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Expression;
use crate::decimal::MAX_PRECISION;
use crate::value::{DataType, Value};

/// A built-in scalar function. Unless it says otherwise, the result is `NULL` when an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// `COALESCE(a, b, ..)`: the first that is not `NULL`; later ones cannot fail where an earlier one is taken.
    Coalesce,
    /// `NULLIF(a, b)`: `NULL` where they are equal, else `a`.
    NullIf,
    /// `GREATEST(a, b, ..)`: the greatest of those that are not `NULL`.
    Greatest,
    /// `LEAST(a, b, ..)`: the least of those that are not `NULL`.
    Least,
    /// The integer itself where it fits a shorter type, else a fault.
    CheckRange(IntegerType),

    /// `ABS(x)` of a number.
    Abs,
    /// `SIGN(x)`: -1, 0 or 1, a `DOUBLE` of one.
    Sign,
    /// `FLOOR(x)`.
    Floor,
    /// `CEIL(x)`.
    Ceil,
    /// `ROUND(x [, digits])`, halves away from zero.
    Round,
    /// `TRUNC(x [, digits])`, towards zero.
    Truncate,
    /// A function of one `DOUBLE`.
    Math(Math),
    /// `POWER(x, y)`.
    Power,
    /// `ATAN2(y, x)`.
    Atan2,
    /// `LOG(base, x)`.
    LogBase,
    /// `DIV(a, b)`: the quotient without its fraction.
    Div,
    /// `a & b`
    BitAnd,
    /// `a | b`
    BitOr,
    /// `a # b`
    BitXor,
    /// `~a`
    BitNot,
    /// `a << b`; as in PostgreSQL only the last six bits of `b` count.
    ShiftLeft,
    /// `a >> b`, with the sign.
    ShiftRight,

    /// `CONCAT(a, b, ..)`: of those that are not `NULL`.
    Concat,
    /// `CONCAT_WS(separator, a, b, ..)`: of those that are not `NULL`.
    ConcatWs,
    /// `UPPER(text)`.
    Upper,
    /// `LOWER(text)`.
    Lower,
    /// Of `text ILIKE pattern` the text, as the pattern has its letters, where these depend on what is around them in `LOWER`.
    FoldCase,
    /// `INITCAP(text)`: every word with one capital.
    InitCap,
    /// `TRIM(text [, characters])`: without white space, or the characters, at the ends.
    Trim(Side),
    /// `LPAD(text, length [, fill])`.
    PadLeft,
    /// `RPAD(text, length [, fill])`.
    PadRight,
    /// `LEFT(text, n)`: the first `n` characters, or all but the last `-n`.
    Left,
    /// `RIGHT(text, n)`: the last `n` characters, or all but the first `-n`.
    Right,
    /// `CHAR_LENGTH(text)` in characters.
    CharLength,
    /// `OCTET_LENGTH(text or bytes)` in bytes.
    OctetLength,
    /// `SUBSTRING(text FROM start [FOR length])`, counted in characters from 1.
    Substring,
    /// `POSITION(part IN text)`: the first place, counted in characters from 1, or 0.
    Position,
    /// `REPLACE(text, from, to)`.
    Replace,
    /// `OVERLAY(text PLACING part FROM start [FOR length])`.
    Overlay,
    /// `TRANSLATE(text, from, to)`: character by character.
    Translate,
    /// `REVERSE(text)`.
    Reverse,
    /// `REPEAT(text, n)`.
    Repeat,
    /// `SPLIT_PART(text, separator, n)`: from 1, negative from the end, empty beyond.
    SplitPart,
    /// `SPLIT_INDEX(text, separator, n)`: from 0, `NULL` beyond.
    SplitIndex,
    /// `STARTS_WITH(text, part)`.
    StartsWith,
    /// `ENDS_WITH(text, part)`.
    EndsWith,
    /// `ASCII(text)`: the code of the first character.
    Ascii,
    /// `CHR(code)`.
    Chr,
    /// `TO_HEX(n)`: of the 64 bits.
    ToHex,
    /// `ENCODE(bytes or text, 'hex' | 'base64')`.
    Encode,
    /// `DECODE(text, 'hex' | 'base64')`.
    Decode,

    /// A digest of a text's or bytes' own bytes, as hexadecimal text.
    Digest(Digest),
    /// `CRC32(text or bytes)`: the polynomial of Ethernet and zip.
    Crc32,
    /// `XXHASH64(text or bytes)`: stable, with seed 0; the 64 bits as a `BIGINT`.
    XxHash64,

    /// `EXTRACT(field FROM timestamp)`, in UTC.
    Extract(TimeField),
    /// `FLOOR(timestamp TO unit)`, in UTC.
    FloorTime(TimeUnit),
    /// `CEIL(timestamp TO unit)`, in UTC.
    CeilTime(TimeUnit),
    /// `TIMESTAMPADD(unit, n, timestamp)`: by the calendar; a day that the month lacks is its last.
    AddTime(TimeUnit),
    /// `TIMESTAMPDIFF(unit, from, to)`: whole units.
    DiffTime(TimeUnit),
    /// `DATE_BIN(milliseconds, timestamp, origin)`: the beginning of the bin.
    DateBin,
    /// `MAKE_DATE(year, month, day)`.
    MakeDate,
    /// `MAKE_TIMESTAMP(year, month, day, hour, minute, seconds)`.
    MakeTimestamp,
    /// `TO_CHAR` and `DATE_FORMAT`: a timestamp by a pattern.
    FormatTime(PatternStyle),
    /// `TO_TIMESTAMP(text, pattern)`.
    ParseTime(PatternStyle),
    /// `TO_TIMESTAMP(seconds)`.
    FromSeconds,
    /// `UNIX_TIMESTAMP(timestamp)`: whole seconds since the epoch.
    ToSeconds,
    /// `NOW()`: the processing time of the epoch.
    Now,

    /// `JSON_VALUE(text, path)`: a scalar as text, else `NULL`.
    JsonValue,
    /// `JSON_QUERY(text, path)`: an object or an array as JSON, else `NULL`.
    JsonQuery,
    /// `JSON_EXISTS(text, path)`.
    JsonExists,
    /// `json -> key or index` as JSON, `json ->> key or index` as text.
    JsonGet(JsonResult),
    /// `json #> '{a,0}'` as JSON, `json #>> '{a,0}'` as text.
    JsonGetPath(JsonResult),
    /// `JSON_ARRAY_LENGTH(text)`.
    JsonArrayLength,
    /// `JSON_OBJECT(key, value, ..)`.
    JsonObject,
    /// `JSON_ARRAY(value, ..)`: those that are not `NULL`.
    JsonArray,
    /// `JSON_BUILD_ARRAY(value, ..)`, `JSON_ARRAY(value, .. NULL ON NULL)`: `NULL`s are null.
    JsonBuildArray,
    /// `text IS JSON [VALUE | OBJECT | ARRAY | SCALAR]`.
    IsJson(JsonKind),
}

impl Function {
    /// The type of the result.
    pub(super) fn data_type(self, arguments: &[Expression]) -> DataType {
        use Function::*;
        match self {
            Coalesce | NullIf | Greatest | Least | Abs => arguments[0].data_type(),
            Sign => match arguments[0].data_type() {
                DataType::Double => DataType::Double,
                _ => DataType::BigInt,
            },
            Floor | Ceil | Round | Truncate => rounded_type(self, arguments),
            Math(_) | Power | Atan2 | LogBase => DataType::Double,
            Div => match arguments[0].data_type() {
                DataType::Decimal { precision, scale } => DataType::Decimal {
                    precision: (precision - scale + second_scale(arguments)).clamp(1, MAX_PRECISION),
                    scale: 0,
                },
                other => other,
            },
            CheckRange(_) | BitAnd | BitOr | BitXor | BitNot | ShiftLeft | ShiftRight | CharLength
            | OctetLength | Position | Ascii | Crc32 | XxHash64 | Extract(_) | DiffTime(_) | ToSeconds
            | JsonArrayLength => DataType::BigInt,
            Concat | ConcatWs | Upper | Lower | FoldCase | InitCap | Trim(_) | PadLeft | PadRight | Left
            | Right | Substring | Replace | Overlay | Translate | Reverse | Repeat | SplitPart
            | SplitIndex | Chr | ToHex | Encode | Digest(_) | FormatTime(_) | JsonValue | JsonQuery
            | JsonGet(_) | JsonGetPath(_) | JsonObject | JsonArray | JsonBuildArray => DataType::String,
            StartsWith | EndsWith | JsonExists | IsJson(_) => DataType::Boolean,
            Decode => DataType::Bytes,
            FloorTime(_) | CeilTime(_) | AddTime(_) | DateBin | MakeTimestamp | ParseTime(_)
            | FromSeconds | Now => DataType::Timestamp,
            MakeDate => DataType::Date,
        }
    }

    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        use Function::*;
        match self {
            Coalesce => "COALESCE",
            NullIf => "NULLIF",
            Greatest => "GREATEST",
            Least => "LEAST",
            CheckRange(integer) => integer.name(),
            Abs => "ABS",
            Sign => "SIGN",
            Floor | FloorTime(_) => "FLOOR",
            Ceil | CeilTime(_) => "CEIL",
            Round => "ROUND",
            Truncate => "TRUNC",
            Math(math) => math.name(),
            Power => "POWER",
            Atan2 => "ATAN2",
            LogBase => "LOG",
            Div => "DIV",
            BitAnd => "&",
            BitOr => "|",
            BitXor => "#",
            BitNot => "~",
            ShiftLeft => "<<",
            ShiftRight => ">>",
            Concat => "CONCAT",
            ConcatWs => "CONCAT_WS",
            Upper => "UPPER",
            Lower => "LOWER",
            FoldCase => "FOLD_CASE",
            InitCap => "INITCAP",
            Trim(Side::Both) => "BTRIM",
            Trim(Side::Left) => "LTRIM",
            Trim(Side::Right) => "RTRIM",
            PadLeft => "LPAD",
            PadRight => "RPAD",
            Left => "LEFT",
            Right => "RIGHT",
            CharLength => "CHAR_LENGTH",
            OctetLength => "OCTET_LENGTH",
            Substring => "SUBSTRING",
            Position => "POSITION",
            Replace => "REPLACE",
            Overlay => "OVERLAY",
            Translate => "TRANSLATE",
            Reverse => "REVERSE",
            Repeat => "REPEAT",
            SplitPart => "SPLIT_PART",
            SplitIndex => "SPLIT_INDEX",
            StartsWith => "STARTS_WITH",
            EndsWith => "ENDS_WITH",
            Ascii => "ASCII",
            Chr => "CHR",
            ToHex => "TO_HEX",
            Encode => "ENCODE",
            Decode => "DECODE",
            Digest(digest) => digest.name(),
            Crc32 => "CRC32",
            XxHash64 => "XXHASH64",
            Extract(_) => "EXTRACT",
            AddTime(_) => "TIMESTAMPADD",
            DiffTime(_) => "TIMESTAMPDIFF",
            DateBin => "DATE_BIN",
            MakeDate => "MAKE_DATE",
            MakeTimestamp => "MAKE_TIMESTAMP",
            FormatTime(PatternStyle::Postgres) => "TO_CHAR",
            FormatTime(PatternStyle::Java) => "DATE_FORMAT",
            ParseTime(_) | FromSeconds => "TO_TIMESTAMP",
            ToSeconds => "UNIX_TIMESTAMP",
            Now => "NOW",
            JsonValue => "JSON_VALUE",
            JsonQuery => "JSON_QUERY",
            JsonExists => "JSON_EXISTS",
            JsonGet(JsonResult::Json) => "->",
            JsonGet(JsonResult::Text) => "->>",
            JsonGetPath(JsonResult::Json) => "#>",
            JsonGetPath(JsonResult::Text) => "#>>",
            JsonArrayLength => "JSON_ARRAY_LENGTH",
            JsonObject => "JSON_OBJECT",
            JsonArray => "JSON_ARRAY",
            JsonBuildArray => "JSON_BUILD_ARRAY",
            IsJson(_) => "IS JSON",
        }
    }

    /// Whether SQL writes it as an operator between its arguments.
    pub(super) fn is_infix(self) -> bool {
        use Function::*;
        matches!(self, BitAnd | BitOr | BitXor | ShiftLeft | ShiftRight | JsonGet(_) | JsonGetPath(_))
    }
}

/// Rounded decimals have the digits asked for, if that is a constant, and one more for what is rounded up. Rounding before
/// the point keeps its zeros and may carry too.
fn rounded_type(function: Function, arguments: &[Expression]) -> DataType {
    let DataType::Decimal { precision, scale } = arguments[0].data_type() else {
        return arguments[0].data_type();
    };
    let kept = match (function, arguments.get(1)) {
        (
            Function::Round | Function::Truncate,
            Some(Expression::Literal { value: Value::BigInt(digits), .. }),
        ) => (*digits).clamp(0, i64::from(scale)) as u8,
        (Function::Round | Function::Truncate, Some(_)) => scale,
        _ => 0,
    };
    let whole_digits = match arguments.get(1) {
        Some(Expression::Literal { value: Value::BigInt(digits), .. }) => *digits >= 0,
        other => other.is_none(),
    };
    // What loses no digit is not rounded up either.
    let carry = u8::from(kept < scale || !whole_digits);
    DataType::Decimal { precision: (precision - scale + kept + carry).clamp(1, MAX_PRECISION), scale: kept }
}

fn second_scale(arguments: &[Expression]) -> u8 {
    match arguments[1].data_type() {
        DataType::Decimal { scale, .. } => scale,
        _ => 0,
    }
}

/// A function of one `DOUBLE`. What is not a number, or infinite, is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // They are what mathematics calls them.
pub enum Math {
    Sqrt,
    Cbrt,
    Exp,
    Ln,
    Log10,
    Log2,
    Sin,
    Cos,
    Tan,
    Cot,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Degrees,
    Radians,
}

impl Math {
    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Math::Sqrt => "SQRT",
            Math::Cbrt => "CBRT",
            Math::Exp => "EXP",
            Math::Ln => "LN",
            Math::Log10 => "LOG10",
            Math::Log2 => "LOG2",
            Math::Sin => "SIN",
            Math::Cos => "COS",
            Math::Tan => "TAN",
            Math::Cot => "COT",
            Math::Asin => "ASIN",
            Math::Acos => "ACOS",
            Math::Atan => "ATAN",
            Math::Sinh => "SINH",
            Math::Cosh => "COSH",
            Math::Tanh => "TANH",
            Math::Degrees => "DEGREES",
            Math::Radians => "RADIANS",
        }
    }
}

/// Which ends of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Both.
    Both,
    /// The beginning.
    Left,
    /// The end.
    Right,
}

/// A digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // They go by their names.
pub enum Digest {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Digest::Md5 => "MD5",
            Digest::Sha1 => "SHA1",
            Digest::Sha224 => "SHA224",
            Digest::Sha256 => "SHA256",
            Digest::Sha384 => "SHA384",
            Digest::Sha512 => "SHA512",
        }
    }
}

/// Whose letters a pattern of a date is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatternStyle {
    /// `YYYY-MM-DD HH24:MI:SS`
    Postgres,
    /// `yyyy-MM-dd HH:mm:ss`, as in Flink.
    Java,
}

/// What becomes of a part of a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JsonResult {
    /// It stays JSON.
    Json,
    /// A text without its quotes, `NULL` for null.
    Text,
}

/// A kind of JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JsonKind {
    /// Any.
    Value,
    /// An object.
    Object,
    /// An array.
    Array,
    /// Neither an object nor an array.
    Scalar,
}

impl JsonKind {
    /// The kind as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            JsonKind::Value => "VALUE",
            JsonKind::Object => "OBJECT",
            JsonKind::Array => "ARRAY",
            JsonKind::Scalar => "SCALAR",
        }
    }
}

/// An integer type of SQL that is shorter than a `BIGINT`; its values are kept as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntegerType {
    /// 8 bits.
    TinyInt,
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Int,
}

impl IntegerType {
    /// The values it has.
    pub fn range(self) -> RangeInclusive<i64> {
        match self {
            IntegerType::TinyInt => i8::MIN.into()..=i8::MAX.into(),
            IntegerType::SmallInt => i16::MIN.into()..=i16::MAX.into(),
            IntegerType::Int => i32::MIN.into()..=i32::MAX.into(),
        }
    }

    /// The type as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            IntegerType::TinyInt => "TINYINT",
            IntegerType::SmallInt => "SMALLINT",
            IntegerType::Int => "INT",
        }
    }
}

/// A unit of the calendar or the clock, the longest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// 1000 years; the third began with 2001.
    Millennium,
    /// 100 years; the 21st began with 2001.
    Century,
    /// 10 years, beginning with one that ends in 0.
    Decade,
    /// The year.
    Year,
    /// Three months.
    Quarter,
    /// The month, 1 to 12.
    Month,
    /// The week, beginning with Monday.
    Week,
    /// The day of the month, 1 to 31.
    Day,
    /// The hour, 0 to 23.
    Hour,
    /// The minute, 0 to 59.
    Minute,
    /// The second, 0 to 59.
    Second,
    /// The millisecond.
    Millisecond,
}

impl TimeUnit {
    /// The unit as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Millennium => "MILLENNIUM",
            TimeUnit::Century => "CENTURY",
            TimeUnit::Decade => "DECADE",
            TimeUnit::Year => "YEAR",
            TimeUnit::Quarter => "QUARTER",
            TimeUnit::Month => "MONTH",
            TimeUnit::Week => "WEEK",
            TimeUnit::Day => "DAY",
            TimeUnit::Hour => "HOUR",
            TimeUnit::Minute => "MINUTE",
            TimeUnit::Second => "SECOND",
            TimeUnit::Millisecond => "MILLISECOND",
        }
    }
}

/// What `EXTRACT` reads from an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeField {
    /// The number of a unit; of the week the ISO one, of the millisecond those since the minute began.
    Unit(TimeUnit),
    /// Sunday is 0.
    DayOfWeek,
    /// Sunday is 1, as in Flink's `DAYOFWEEK`.
    DayOfWeekFromOne,
    /// Monday is 1, Sunday 7.
    IsoDayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// The year the ISO week belongs to.
    IsoYear,
    /// Whole seconds since 1970.
    Epoch,
    /// Microseconds since the minute began.
    Microsecond,
}

impl TimeField {
    /// The field as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            TimeField::Unit(unit) => unit.name(),
            TimeField::DayOfWeek => "DOW",
            TimeField::DayOfWeekFromOne => "DAYOFWEEK",
            TimeField::IsoDayOfWeek => "ISODOW",
            TimeField::DayOfYear => "DOY",
            TimeField::IsoYear => "ISOYEAR",
            TimeField::Epoch => "EPOCH",
            TimeField::Microsecond => "MICROSECOND",
        }
    }
}
