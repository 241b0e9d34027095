//! Keys as bytes whose order is the order of the values: `NULL` first, then ascending.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::column::Column;
use crate::decimal::Decimal;
use crate::plan::SortKey;
use crate::rows::Rows;
use crate::value::{DataType, Value};

/// Into how many groups the key space is cut. A key's group, by a fixed hash, is the first byte of it in the state, so
/// that their number is one for the whole life of a state; a shard has whole groups, so that there are no more shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct KeyGroups(u16);

impl KeyGroups {
    /// Those of every pipeline of a broker, as many as a byte can tell apart.
    pub const DEFAULT: KeyGroups = KeyGroups(256);

    /// So many, 1 to 256.
    pub const fn new(count: u16) -> Option<KeyGroups> {
        match count {
            1..=256 => Some(KeyGroups(count)),
            _ => None,
        }
    }

    /// How many there are.
    pub const fn count(self) -> u16 {
        self.0
    }

    pub(crate) fn of_key(self, key: &[u8]) -> u8 {
        let hash = crc32fast::hash(key) >> 24;
        ((hash * u32::from(self.0)) >> 8) as u8
    }

    /// Which of so many shards has a group.
    pub(crate) fn shard_of(self, group: u8, shards: usize) -> usize {
        usize::from(group) * shards / usize::from(self.0)
    }

    /// The groups that one of so many shards has, if there are that many.
    pub(crate) fn of_shard(self, shard: usize, shards: usize) -> RangeInclusive<u8> {
        let first = |shard: usize| (shard * usize::from(self.0)).div_ceil(shards);
        first(shard) as u8..=(first(shard + 1) - 1) as u8
    }

    /// That there is such a group.
    pub(crate) fn check(self, group: u8) -> Result<(), String> {
        match u16::from(group) < self.0 {
            true => Ok(()),
            false => Err(format!("a key of group {group}; there are {}", self.0)),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == KeyGroups::DEFAULT
    }
}

impl Default for KeyGroups {
    fn default() -> Self {
        KeyGroups::DEFAULT
    }
}

impl TryFrom<u16> for KeyGroups {
    type Error = String;

    fn try_from(count: u16) -> Result<Self, String> {
        KeyGroups::new(count).ok_or_else(|| format!("{count} key groups; there are 1 to 256"))
    }
}

impl From<KeyGroups> for u16 {
    fn from(groups: KeyGroups) -> u16 {
        groups.0
    }
}

/// The keys of rows, one after the other in one buffer. Each begins with its key group.
#[derive(Debug, Default, Clone)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// The keys that some columns make.
    pub(crate) fn of(rows: &Rows, columns: &[usize], groups: KeyGroups) -> Keys {
        let mut keys =
            Keys { bytes: Vec::with_capacity(rows.len() * 16), ends: Vec::with_capacity(rows.len()) };
        for row in 0..rows.len() {
            let start = keys.bytes.len();
            if row > 0 && columns.iter().all(|column| rows.columns[*column].is_as_before(row)) {
                let before = if row == 1 { 0 } else { keys.ends[row - 2] };
                keys.bytes.extend_from_within(before..start);
                keys.ends.push(keys.bytes.len());
                continue;
            }
            keys.bytes.push(0);
            columns.iter().for_each(|column| encode_key_part(&rows.columns[*column], row, &mut keys.bytes));
            keys.bytes[start] = groups.of_key(&keys.bytes[start + 1..]);
            keys.ends.push(keys.bytes.len());
        }
        keys
    }

    /// A row's key, its key group first.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// The keys at these places, in their order.
    pub(crate) fn take(&self, places: &[u32]) -> Keys {
        let mut taken = Keys::default();
        for place in places {
            taken.bytes.extend_from_slice(self.get(*place as usize));
            taken.ends.push(taken.bytes.len());
        }
        taken
    }
}

const NULL: u8 = 0;
const PRESENT: u8 = 1;
/// Before and behind every value of an order.
const NULLS_FIRST: u8 = 0;
const NULLS_LAST: u8 = 2;
/// Texts and bytes end with two zeros; a zero inside them is followed by this.
const ZERO_INSIDE: u8 = 0xff;

/// Appends the value of one key column in one row.
pub(crate) fn encode_key_part(column: &Column, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.push(NULL);
        return;
    }
    out.push(PRESENT);
    match column {
        Column::Boolean(array) => out.push(u8::from(array.value(row))),
        Column::BigInt(array) => encode_integer(array.value(row), out),
        Column::Timestamp(array) => encode_integer(array.value(row), out),
        Column::Double(array) => encode_float(array.value(row), out),
        Column::String(array) => encode_bytes(array.value(row).as_bytes(), out),
        Column::Bytes(array) => encode_bytes(array.value(row), out),
        Column::Date(array) => encode_integer(i64::from(array.value(row)), out),
        Column::Decimal(array) => {
            out.extend_from_slice(&((array.value(row) as u128) ^ (1 << 127)).to_be_bytes());
        }
    }
}

fn encode_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
}

fn encode_float(value: f64, out: &mut Vec<u8>) {
    // The two zeros are one value. Finite floats order like their bits once negative ones are turned around.
    let bits = (value + 0.0).to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(ZERO_INSIDE);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Appends the value of one column in one row so that the bytes order as `ORDER BY` asks.
pub(crate) fn encode_sort_part(column: &Column, row: usize, key: SortKey, out: &mut Vec<u8>) {
    if column.is_null(row) {
        return out.push(if key.nulls_first { NULLS_FIRST } else { NULLS_LAST });
    }
    let start = out.len();
    encode_key_part(column, row, out);
    // No part is the beginning of another, so that turning every byte around turns the order around.
    if key.descending {
        out[start + 1..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// How many bytes a key of these types takes at the front of `bytes`; `None` if it is damaged.
pub(crate) fn key_length(bytes: &[u8], types: &[DataType]) -> Option<usize> {
    let mut rest = bytes;
    types.iter().try_for_each(|data_type| decode_part(&mut rest, *data_type).map(drop))?;
    Some(bytes.len() - rest.len())
}

/// The values of an encoded key; `None` if it is damaged.
pub(crate) fn decode_key(bytes: &[u8], types: &[DataType]) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(types.len());
    decode_key_into(bytes, types, &mut values)?;
    Some(values)
}

/// The same, behind other values.
pub(crate) fn decode_key_into(mut bytes: &[u8], types: &[DataType], values: &mut Vec<Value>) -> Option<()> {
    for data_type in types {
        values.push(decode_part(&mut bytes, *data_type)?);
    }
    bytes.is_empty().then_some(())
}

fn decode_part(bytes: &mut &[u8], data_type: DataType) -> Option<Value> {
    let (presence, rest) = bytes.split_first()?;
    *bytes = rest;
    match *presence {
        NULL => return Some(Value::Null),
        PRESENT => {}
        _ => return None,
    }
    Some(match data_type {
        DataType::Boolean => {
            let (value, rest) = bytes.split_first()?;
            *bytes = rest;
            Value::Boolean(match value {
                0 => false,
                1 => true,
                _ => return None,
            })
        }
        DataType::BigInt => Value::BigInt(decode_integer(bytes)?),
        DataType::Timestamp => Value::Timestamp(decode_integer(bytes)?),
        DataType::Double => {
            let ordered = decode_u64(bytes)?;
            let bits = if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered };
            Value::Double(f64::from_bits(bits))
        }
        DataType::String => Value::String(String::from_utf8(decode_bytes(bytes)?).ok()?),
        DataType::Bytes => Value::Bytes(decode_bytes(bytes)?),
        DataType::Date => Value::Date(i32::try_from(decode_integer(bytes)?).ok()?),
        DataType::Decimal { scale, .. } => {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            let unscaled = (u128::from_be_bytes(*value) ^ (1 << 127)) as i128;
            Value::Decimal(Decimal { unscaled, scale })
        }
    })
}

fn decode_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*value))
}

fn decode_integer(bytes: &mut &[u8]) -> Option<i64> {
    decode_u64(bytes).map(|value| (value ^ (1 << 63)) as i64)
}

fn decode_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if *byte != 0 {
            decoded.push(*byte);
            continue;
        }
        let (after, rest) = bytes.split_first()?;
        *bytes = rest;
        match *after {
            0 => return Some(decoded),
            ZERO_INSIDE => decoded.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn encode(values: &[Value], types: &[DataType]) -> Vec<u8> {
        let mut out = Vec::new();
        for (value, data_type) in values.iter().zip(types) {
            encode_key_part(&Column::repeat(value, *data_type, 1), 0, &mut out);
        }
        out
    }

    #[test]
    fn shards_have_whole_ranges_of_groups() {
        for count in 1..=256 {
            let groups = KeyGroups::new(count).unwrap();
            for shards in 1..=usize::from(count).min(20) {
                let of_shards = (0..shards)
                    .flat_map(|shard| groups.of_shard(shard, shards).map(move |group| (group, shard)));
                let expected = (0..=u8::MAX).take(usize::from(count));
                let expected = expected.map(|group| (group, groups.shard_of(group, shards)));
                assert!(of_shards.eq(expected), "{count} groups, {shards} shards");
            }
        }
    }

    const TYPES: [DataType; 8] = [
        DataType::Boolean,
        DataType::String,
        DataType::BigInt,
        DataType::Double,
        DataType::Timestamp,
        DataType::Decimal { precision: 38, scale: 2 },
        DataType::Date,
        DataType::Bytes,
    ];

    fn decimal(unscaled: i128) -> Value {
        Value::Decimal(Decimal { unscaled, scale: 2 })
    }

    fn key() -> impl Strategy<Value = Vec<Value>> {
        let part = |strategy: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => strategy];
        (
            part(any::<bool>().prop_map(Value::Boolean).boxed()),
            part("[\\x00a\\x01é]{0,3}".prop_map(Value::String).boxed()),
            part(prop_oneof![-2_i64..3, any::<i64>()].prop_map(Value::BigInt).boxed()),
            part((-2.0..2.0_f64).prop_map(Value::Double).boxed()),
            part((-5_i64..5).prop_map(Value::Timestamp).boxed()),
            part(prop_oneof![-2_i128..3, any::<i128>()].prop_map(decimal).boxed()),
            part((-5_i32..5).prop_map(Value::Date).boxed()),
            part(prop::collection::vec(0_u8..3, 0..4).prop_map(Value::Bytes).boxed()),
        )
            .prop_map(|(a, b, c, d, e, f, g, h)| vec![a, b, c, d, e, f, g, h])
    }

    fn order(left: &[Value], right: &[Value]) -> Ordering {
        let part = |(left, right): (&Value, &Value)| match (left, right) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::BigInt(left), Value::BigInt(right)) => left.cmp(right),
            (Value::Double(left), Value::Double(right)) => left.partial_cmp(right).unwrap(),
            (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
            (Value::Decimal(left), Value::Decimal(right)) => left.unscaled.cmp(&right.unscaled),
            (Value::Date(left), Value::Date(right)) => left.cmp(right),
            (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
            _ => unreachable!("keys of one type"),
        };
        left.iter().zip(right).map(part).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    proptest! {
        #[test]
        fn bytes_order_as_values_do_and_come_back(left in key(), right in key()) {
            let (left_bytes, right_bytes) = (encode(&left, &TYPES), encode(&right, &TYPES));
            prop_assert_eq!(left_bytes.cmp(&right_bytes), order(&left, &right));
            prop_assert_eq!(decode_key(&left_bytes, &TYPES), Some(left));
        }

        #[test]
        fn damage_is_seen_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(values) = decode_key(&bytes, &TYPES) {
                prop_assert_eq!(values.len(), TYPES.len());
            }
        }
    }

    #[test]
    fn groups_are_dealt_out_to_shards_evenly_and_whole() {
        for count in [1, 3, 16, 256] {
            let groups = KeyGroups::new(count).unwrap();
            let mut keys = vec![0; usize::from(count)];
            for key in 0..20_000_u32 {
                let group = groups.of_key(&key.to_be_bytes());
                assert_eq!(groups.check(group), Ok(()));
                keys[usize::from(group)] += 1;
            }
            let fair = 20_000 / i32::from(count);
            assert!(keys.iter().all(|keys| (fair / 2..fair * 2).contains(keys)), "{count}: {keys:?}");
            for shards in 1..=usize::from(count) {
                let of_shards: Vec<usize> =
                    (0..count).map(|group| groups.shard_of(group as u8, shards)).collect();
                assert!(of_shards.is_sorted() && of_shards.last() == Some(&(shards - 1)));
                let mut with_groups = of_shards;
                with_groups.dedup();
                assert_eq!(with_groups.len(), shards, "{count} groups: each shard has one");
            }
        }
        assert!(KeyGroups::new(16).unwrap().check(16).is_err());
        assert_eq!([0, 257].map(KeyGroups::new), [None, None]);
    }

    #[test]
    fn the_two_zeros_are_one_key() {
        let key = |zero: f64| encode(&[Value::Double(zero)], &[DataType::Double]);
        assert_eq!(key(0.0), key(-0.0));
    }
}
