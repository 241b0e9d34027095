//! One value on its way from a record into a column.
//!
//! What a record says is made what the column is here, the same for every format: a decoder hands over a truth value,
//! a number, a text or bytes, and gets a [`Cell`] or is told why not.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::column::ColumnBuilder;
use crate::decimal::Decimal;
use crate::plan;
use crate::time;
use crate::value::DataType;

/// A column to be filled.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The column's name.
    pub(crate) name: String,
    /// The column's type.
    pub(crate) data_type: DataType,
    /// Whether it must not stay `NULL`.
    required: bool,
    /// Whether it says, with others, which row a record is of, so that it must not stay `NULL` either.
    in_primary_key: bool,
}

/// A value of a column's type. Texts are parts of the record wherever they are written there as they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'r> {
    Null,
    Boolean(bool),
    BigInt(i64),
    Double(f64),
    String(Cow<'r, str>),
    Timestamp(i64),
    /// In units of the column's last digit.
    Decimal(i128),
    Date(i32),
    Bytes(Cow<'r, [u8]>),
}

impl Cell<'_> {
    /// Appends it to its column. The slot it was made for guarantees the type.
    pub(crate) fn append_to(&self, builder: &mut ColumnBuilder) {
        match (builder, self) {
            (ColumnBuilder::BigInt(builder), Cell::BigInt(value)) => builder.append_value(*value),
            (ColumnBuilder::String(builder), Cell::String(text)) => builder.append_value(text),
            (ColumnBuilder::Timestamp(builder), Cell::Timestamp(value)) => builder.append_value(*value),
            (ColumnBuilder::Double(builder), Cell::Double(value)) => builder.append_value(*value),
            (ColumnBuilder::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (ColumnBuilder::Decimal(builder, _), Cell::Decimal(value)) => builder.append_value(*value),
            (ColumnBuilder::Date(builder), Cell::Date(value)) => builder.append_value(*value),
            (ColumnBuilder::Bytes(builder), Cell::Bytes(value)) => builder.append_value(value),
            (builder, Cell::Null) => builder.append_null(),
            (builder, cell) => unreachable!("{cell:?} does not belong into {builder:?}"),
        }
    }
}

/// 2^53: from it on a float no longer says which integer it is, for 2^53 + 1 is the same one.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

impl Slot {
    pub(crate) fn new(column: &plan::Column) -> Self {
        let (name, data_type) = (column.name.clone(), column.data_type);
        Self { name, data_type, required: column.required, in_primary_key: false }
    }

    /// Makes it a column of the primary key.
    pub(crate) fn put_in_primary_key(&mut self) {
        self.in_primary_key = true;
    }

    /// Whether the cell may be left as it is at the end of the record.
    pub(crate) fn check(&self, cell: &Cell<'_>) -> Result<(), String> {
        let why = match (cell, self.required, self.in_primary_key) {
            (Cell::Null, true, _) => "the column is NOT NULL",
            (Cell::Null, false, true) => "the column is in the PRIMARY KEY",
            _ => return Ok(()),
        };
        Err(format!("field `{}` is null or missing, but {why}", self.name))
    }

    pub(crate) fn mismatch(&self, found: impl fmt::Display) -> String {
        format!("field `{}` is {found}, the column is a {}", self.name, self.data_type)
    }

    /// A truth value.
    pub(crate) fn boolean<'r>(&self, value: bool) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::Boolean => Ok(Cell::Boolean(value)),
            _ => Err(self.mismatch(value)),
        }
    }

    /// An integer; for a `TIMESTAMP` milliseconds since the epoch.
    pub(crate) fn integer<'r>(&self, value: i64) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::BigInt => Ok(Cell::BigInt(value)),
            DataType::Double => Ok(Cell::Double(value as f64)),
            DataType::Timestamp => self.instant(value),
            DataType::Decimal { .. } => self.decimal(Decimal { unscaled: i128::from(value), scale: 0 }),
            _ => Err(self.mismatch(value)),
        }
    }

    /// An integer that may be beyond a `BIGINT`.
    pub(crate) fn unsigned<'r>(&self, value: u64) -> Result<Cell<'r>, String> {
        match (i64::try_from(value), self.data_type) {
            (Ok(value), _) => self.integer(value),
            (Err(_), DataType::Double) => Ok(Cell::Double(value as f64)),
            (Err(_), DataType::Decimal { .. }) => {
                self.decimal(Decimal { unscaled: i128::from(value), scale: 0 })
            }
            (Err(_), _) => Err(self.mismatch(value)),
        }
    }

    /// A float. 517.0 is a whole number, whoever wrote it.
    pub(crate) fn float<'r>(&self, value: f64) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::Double if value.is_finite() => Ok(Cell::Double(value)),
            DataType::BigInt if value.fract() == 0.0 && value.abs() < EXACT_FLOAT => {
                Ok(Cell::BigInt(value as i64))
            }
            DataType::Decimal { scale, .. } => match Decimal::from_f64(value, scale) {
                Some(decimal) => self.decimal(decimal),
                None => Err(self.mismatch(value)),
            },
            _ => Err(self.mismatch(value)),
        }
    }

    /// A number as it is written, its form checked: digits, a fraction, an exponent.
    pub(crate) fn number<'r>(&self, text: &str) -> Result<Cell<'r>, String> {
        match self.data_type {
            // The digits as they are written: a float on the way would change them.
            DataType::Decimal { .. } => return self.decimal_text(text),
            DataType::BigInt => {
                let whole = text.parse().ok();
                let whole = whole.or_else(|| i64::try_from(Decimal::parse_whole(text)?).ok());
                // 9223372036854775808 is no BIGINT, and named as it is written.
                return whole.map(Cell::BigInt).ok_or_else(|| self.mismatch(Brief(text)));
            }
            // -0 is a float, and another one than 0.
            DataType::Double => {}
            _ => {
                if let Ok(value) = text.parse::<i64>() {
                    return self.integer(value);
                }
            }
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => self.float(value).map_err(|_| self.mismatch(Brief(text))),
            _ => Err(self.mismatch(format_args!("{}: number out of range", Brief(text)))),
        }
    }

    fn decimal_text<'r>(&self, text: &str) -> Result<Cell<'r>, String> {
        let DataType::Decimal { scale, .. } = self.data_type else { return Err(self.mismatch(Brief(text))) };
        match Decimal::parse_at(text, scale) {
            Some(decimal) => self.decimal(decimal).map_err(|_| self.mismatch(Brief(text))),
            None => Err(self.mismatch(Brief(text))),
        }
    }

    /// An exact number, rounded to the column's scale.
    pub(crate) fn decimal<'r>(&self, value: Decimal) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::Decimal { precision, scale } => {
                match value.rescale(scale).filter(|scaled| scaled.fits(precision)) {
                    Some(scaled) => Ok(Cell::Decimal(scaled.unscaled)),
                    None => Err(self.mismatch(value)),
                }
            }
            _ => Err(self.mismatch(value)),
        }
    }

    /// An instant in milliseconds since the epoch.
    pub(crate) fn instant<'r>(&self, ms: i64) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::Timestamp if time::in_range(ms) => Ok(Cell::Timestamp(ms)),
            DataType::Timestamp => Err(self.mismatch(format_args!("{ms} ms, outside the years 1 to 9999"))),
            DataType::BigInt => Ok(Cell::BigInt(ms)),
            _ => Err(self.mismatch(format_args!("the instant {ms} ms"))),
        }
    }

    /// A day, counted from the epoch.
    pub(crate) fn day<'r>(&self, days: i64) -> Result<Cell<'r>, String> {
        match i32::try_from(days).ok().filter(|days| (time::MIN_DATE..=time::MAX_DATE).contains(days)) {
            Some(days) if self.data_type == DataType::Date => Ok(Cell::Date(days)),
            _ => Err(self.mismatch(format_args!("day {days} from the epoch"))),
        }
    }

    /// A text of a format that has texts beside other types: only what has no type of its own there is read from it.
    pub(crate) fn text<'r>(&self, text: impl Into<Cow<'r, str>>) -> Result<Cell<'r>, String> {
        let text = text.into();
        match self.data_type {
            DataType::String => Ok(Cell::String(text)),
            DataType::Timestamp => match time::parse_timestamp(&text) {
                Some(ms) => Ok(Cell::Timestamp(ms)),
                None => Err(self.mismatch(format_args!("{:?}, no ISO-8601 instant", Brief(&text)))),
            },
            DataType::Date => match time::parse_date(&text) {
                Some(days) => Ok(Cell::Date(days)),
                None => Err(self.mismatch(format_args!("{:?}, no day of the calendar", Brief(&text)))),
            },
            DataType::Decimal { .. } if is_number(&text) => self.decimal_text(&text),
            DataType::Bytes => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Cell::Bytes(Cow::Owned(bytes))),
                Err(_) => Err(self.mismatch(format_args!("{:?}, no base64", Brief(&text)))),
            },
            _ => Err(self.mismatch(format_args!("the text {:?}", Brief(&text)))),
        }
    }

    /// A text of a format that has nothing but texts: CSV, a header, a raw key.
    pub(crate) fn plain<'r>(&self, text: impl Into<Cow<'r, str>>) -> Result<Cell<'r>, String> {
        let text = text.into();
        match self.data_type {
            DataType::Boolean if text.eq_ignore_ascii_case("true") => Ok(Cell::Boolean(true)),
            DataType::Boolean if text.eq_ignore_ascii_case("false") => Ok(Cell::Boolean(false)),
            DataType::BigInt | DataType::Double if is_number(&text) => self.number(&text),
            DataType::Timestamp => match text.parse::<i64>() {
                Ok(ms) => self.instant(ms),
                Err(_) => self.text(text),
            },
            _ => self.text(text),
        }
    }

    /// Bytes: a text must be UTF-8.
    pub(crate) fn bytes<'r>(&self, bytes: &'r [u8]) -> Result<Cell<'r>, String> {
        match self.data_type {
            DataType::Bytes => Ok(Cell::Bytes(Cow::Borrowed(bytes))),
            DataType::String => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cell::String(Cow::Borrowed(text))),
                Err(error) => Err(self.mismatch(format_args!("not UTF-8 ({error})"))),
            },
            _ => Err(self.mismatch(format_args!("{} bytes", bytes.len()))),
        }
    }
}

/// Whether a text is a number as JSON writes it, with a sign in front at will. What else Rust reads as a float, such as
/// `inf`, is none.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
}

/// The beginning of a text, for a message.
pub(crate) struct Brief<'a>(pub(crate) &'a str);

/// Of a longer text only so many characters are shown.
const BRIEF_CHARS: usize = 40;

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(BRIEF_CHARS) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(BRIEF_CHARS).collect();
        write!(f, "{shown:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(data_type: DataType) -> Slot {
        Slot { name: "x".to_owned(), data_type, required: false, in_primary_key: false }
    }

    #[test]
    fn plain_texts_become_what_the_column_is() {
        for (data_type, text, cell) in [
            (DataType::Boolean, "TRUE", Cell::Boolean(true)),
            (DataType::BigInt, "-12", Cell::BigInt(-12)),
            (DataType::BigInt, "12.0", Cell::BigInt(12)),
            (DataType::BigInt, "9007199254740993.0", Cell::BigInt((1 << 53) + 1)),
            (DataType::BigInt, "-9223372036854775808.0", Cell::BigInt(i64::MIN)),
            (DataType::BigInt, "1.20e2", Cell::BigInt(120)),
            (DataType::BigInt, "120e-1", Cell::BigInt(12)),
            (DataType::BigInt, "-0.0", Cell::BigInt(0)),
            (DataType::BigInt, "0e-99", Cell::BigInt(0)),
            (DataType::Double, "1e3", Cell::Double(1000.0)),
            (DataType::Double, "18446744073709551616", Cell::Double(18_446_744_073_709_551_616.0)),
            (DataType::Timestamp, "1000", Cell::Timestamp(1000)),
            (DataType::Timestamp, "1970-01-01 00:00:01", Cell::Timestamp(1000)),
            (DataType::String, "12", Cell::String("12".into())),
            (DataType::Decimal { precision: 4, scale: 1 }, "-1e2", Cell::Decimal(-1000)),
            (DataType::Date, "1970-01-02", Cell::Date(1)),
            (DataType::Bytes, "AP8=", Cell::Bytes(vec![0, 255].into())),
        ] {
            assert_eq!(slot(data_type).plain(text), Ok(cell), "{data_type} {text}");
        }
        for (data_type, text) in [
            (DataType::Boolean, "1"),
            (DataType::BigInt, "1.5"),
            (DataType::BigInt, "4503599627370496.25"),
            (DataType::BigInt, "0.99999999999999999999"),
            (DataType::BigInt, "1e-400"),
            (DataType::BigInt, "9223372036854775808.0"),
            (DataType::BigInt, "1e999999999999"),
            (DataType::BigInt, ""),
            (DataType::BigInt, "9223372036854775808"),
            (DataType::Double, "inf"),
            (DataType::Double, "NaN"),
            (DataType::Double, "1e999"),
            (DataType::Timestamp, "soon"),
            (DataType::Decimal { precision: 4, scale: 1 }, "1000"),
            (DataType::Decimal { precision: 4, scale: 1 }, "NaN"),
            (DataType::Date, "1970-02-30"),
            (DataType::Bytes, "a"),
        ] {
            let error = slot(data_type).plain(text).unwrap_err();
            assert!(error.starts_with("field `x` is ") && error.contains(&data_type.to_string()), "{error}");
        }
    }

    #[test]
    fn a_float_is_an_integer_only_where_no_other_one_is_the_same_float() {
        let whole = slot(DataType::BigInt);
        assert_eq!(whole.float(EXACT_FLOAT - 1.0), Ok(Cell::BigInt((1 << 53) - 1)));
        for value in [EXACT_FLOAT, -EXACT_FLOAT, 0.5, f64::NAN] {
            assert!(whole.float(value).unwrap_err().ends_with("the column is a BIGINT"), "{value}");
        }
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_long_text() {
        let long = "ä".repeat(1000);
        let error = slot(DataType::BigInt).text(long).unwrap_err();
        assert!(error.len() < 200, "{error}");
    }
}
