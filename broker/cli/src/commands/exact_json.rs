//! JSON whose numbers keep their digits, which a `serde_json::Value` rounds: a `DECIMAL` has up to 38.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Values within values, at most: as many as serde_json reads of a `Value`.
const MAX_DEPTH: usize = 128;

/// A JSON value. As a text it has no spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    /// The number as it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// The fields as they come, those of one name included.
    Object(Vec<(String, Json)>),
}

/// The fields of an object, in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// It is no JSON, or has values within more than 127 others.
    pub(super) fn parse(text: &str) -> Result<Json, serde_json::Error> {
        Self::of(serde_json::from_str(text)?, MAX_DEPTH)
    }

    fn of(value: &RawValue, depth: usize) -> Result<Json, serde_json::Error> {
        let text = value.get();
        let within = depth.checked_sub(1).ok_or_else(|| serde_json::Error::custom("it is too deep"))?;
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Fields(fields) = serde_json::from_str(text)?;
                let inner = |(name, value)| Ok((name, Self::of(value, within)?));
                Json::Object(fields.into_iter().map(inner).collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text)?;
                Json::List(values.into_iter().map(|value| Self::of(value, within)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Json::Text(serde_json::from_str(text)?),
            Some(b'n') => Json::Null,
            Some(b't' | b'f') => Json::Boolean(text == "true"),
            _ => Json::Number(text.to_owned()),
        })
    }

    /// What stands for a record's key or value: a text as it is, nothing for `null`, and anything else as JSON.
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Json::Null => None,
            Json::Text(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// What it says: the same of two values that differ only in the order of fields, or in how a number is written. Of
    /// fields of one name the last counts.
    pub(super) fn meaning(self) -> Json {
        match self {
            Json::Number(text) => Json::Number(number(&text).unwrap_or(text)),
            Json::List(values) => Json::List(values.into_iter().map(Json::meaning).collect()),
            Json::Object(fields) => {
                let sorted: BTreeMap<String, Json> =
                    fields.into_iter().map(|(name, value)| (name, value.meaning())).collect();
                Json::Object(sorted.into_iter().collect())
            }
            other => other,
        }
    }
}

/// A number by its value, however it is written: its digits without zeros at either end, and the power of ten they are
/// counted in. Nothing where that power is beyond all measure.
fn number(text: &str) -> Option<String> {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (digits, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let from_first = all.trim_start_matches('0');
    let significant = from_first.trim_end_matches('0');
    if significant.is_empty() {
        return Some(format!("{sign}0"));
    }
    let zeros = i64::try_from(from_first.len() - significant.len()).ok()?;
    let fraction = i64::try_from(fraction.len()).ok()?;
    let power = power.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(fraction)?;
    Some(format!("{sign}{significant}e{power}"))
}

impl Display for Json {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => formatter.write_str("null"),
            Json::Boolean(value) => write!(formatter, "{value}"),
            Json::Number(text) => formatter.write_str(text),
            Json::Text(text) => write_text(formatter, text),
            Json::List(values) => {
                formatter.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(formatter, "{}{value}", if index == 0 { "" } else { "," })?;
                }
                formatter.write_str("]")
            }
            Json::Object(fields) => {
                formatter.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    formatter.write_str(if index == 0 { "" } else { "," })?;
                    write_text(formatter, name)?;
                    write!(formatter, ":{value}")?;
                }
                formatter.write_str("}")
            }
        }
    }
}

fn write_text(formatter: &mut Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_order_and_fields_of_one_name_stay_and_spaces_go() {
        let text = r#" { "b" : [ 12345678901234567.890 , -1E+2, true ] , "a" : {} , "b" : "x\"\u00e9 y" , "c": null } "#;
        let json = Json::parse(text).expect("it is JSON");
        let short = r#"{"b":[12345678901234567.890,-1E+2,true],"a":{},"b":"x\"é y","c":null}"#;
        assert_eq!(json.to_string(), short);
        assert_eq!(json.meaning().to_string(), r#"{"a":{},"b":"x\"é y","c":null}"#);
    }

    #[test]
    fn numbers_mean_the_same_by_their_value() {
        let meant = |text: &str| Json::parse(text).expect("it is JSON").meaning().to_string();
        for same in [
            &["1", "1.0", "1.00", "1e0", "10e-1", "0.1E+1", "0.001e3"][..],
            &["0", "0.00", "0e7"],
            &["-0.0", "-0"],
            &["12345678901234567.89", "12345678901234567.890", "1234567890123456789e-2"],
            &["1200", "1.2e3"],
        ] {
            same.iter().for_each(|text| assert_eq!(meant(text), meant(same[0]), "{text}"));
        }
        let others = ["12345678901234567.89", "12345678901234567.12", "1e400", "1e401", "0.1", "-0.1"];
        let different: std::collections::BTreeSet<String> = others.iter().map(|text| meant(text)).collect();
        assert_eq!(different.len(), others.len(), "{different:?}");
        // The power has no end, what we count with has one.
        let endless = format!("1e{}", "9".repeat(30));
        assert_eq!(meant(&endless), endless);
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_an_error() {
        for wrong in ["", "{", "{\"a\":}", "1 2", "01", "\"\\ud800\"", "[\"\\ud800\"]"] {
            assert!(Json::parse(wrong).is_err(), "{wrong}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(Json::parse(&nested(MAX_DEPTH + 1)).is_err());
        assert!(Json::parse(&nested(100_000)).is_err());
    }
}
