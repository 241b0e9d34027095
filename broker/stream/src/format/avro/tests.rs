//! Avro against data of another implementation, and against itself.

use proptest::prelude::*;

use crate::format::cell::Cell;
use crate::format::testing::{any_row, cell, decode, decoder, encode, every_type, hex, to_hex};
use crate::plan::{AvroFormat, Column, Format};
use crate::value::{DataType, Value};

use super::Schema;

/// Made by fastavro 1.13: schemaless_writer() of two flights, of which the second has every `null` the other way round.
const FLIGHTS: [&str; 2] = [
    "045541020d0000000000e2954000406343010400ff06fe1dc0ffffffe42bb6f501f6a5edd8fe4e014831323334353637382d313233342d353637382d313233342d35363738313233343536373802020645575206082c160002064a464b000000060867617465020441310a736561747304e802086e6f6e650000ffffffffffffffffff01",
    "045541000000000000e295400040634301000200003b9ac9ffb6f501f6a5edd8fe4e014831323334353637382d313233342d353637382d313233342d353637383132333435363738000002064941488c0102020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202000000feffffffffffffffff01",
];

fn bare(schema: &str) -> Format {
    Format::Avro(AvroFormat { schema: schema.to_owned(), confluent: false, schema_id: None })
}

fn flights() -> Format {
    bare(include_str!("../testdata/flight.avsc"))
}

fn flight_columns() -> Vec<Column> {
    let column = Column::of_value;
    vec![
        column("carrier", DataType::String),
        column("delay", DataType::BigInt),
        column("distance", DataType::Double),
        column("air", DataType::Double),
        column("cancelled", DataType::Boolean),
        column("raw", DataType::Bytes),
        column("fare", DataType::Decimal { precision: 12, scale: 2 }),
        column("tax", DataType::Decimal { precision: 12, scale: 4 }),
        column("day", DataType::Date),
        column("at", DataType::Timestamp),
        column("micros", DataType::Timestamp),
        column("id", DataType::String),
        column("kind", DataType::String),
        column("from.code", DataType::String),
        column("from.near.code", DataType::String),
        column("to.code", DataType::String),
        column("number", DataType::BigInt),
    ]
}

#[test]
fn reads_what_another_implementation_wrote() {
    let text = |text: &'static str| Cell::String(text.into());
    let same = [Cell::Double(1400.5), Cell::Double(227.25), Cell::Boolean(true)];
    let times = [Cell::Date(15_707), Cell::Timestamp(1_357_034_400_123), Cell::Timestamp(-1)];
    let id = text("12345678-1234-5678-1234-567812345678");
    let [first, second] = FLIGHTS.map(hex);
    let first = decode(&flights(), &flight_columns(), &first).unwrap();
    let expected = [
        &[text("UA"), Cell::BigInt(-7)],
        &same[..],
        &[Cell::Bytes(vec![0, 255].into()), Cell::Decimal(-123_456), Cell::Decimal(-71_250)],
        &times,
        &[id.clone(), text("PASSENGER"), text("EWR"), text("JFK"), Cell::Null, Cell::BigInt(i64::MIN)],
    ];
    assert_eq!(first, expected.concat());
    let second = decode(&flights(), &flight_columns(), &second).unwrap();
    let expected = [
        &[text("UA"), Cell::Null],
        &same[..],
        &[Cell::Bytes(vec![].into()), Cell::Decimal(0), Cell::Decimal(9_999_999_990)],
        &times,
        &[id, text("CARGO"), Cell::Null, Cell::Null, text("IAH"), Cell::BigInt(i64::MAX)],
    ];
    assert_eq!(second, expected.concat());
}

#[test]
fn only_what_is_wanted_is_made() {
    let columns = [Column::of_value("number", DataType::BigInt)];
    let first = hex(FLIGHTS[0]);
    assert_eq!(decode(&flights(), &columns, &first).unwrap(), [Cell::BigInt(i64::MIN)]);
    assert_eq!(decode(&flights(), &[], &first).unwrap(), []);
    for end in 0..first.len() {
        assert!(decode(&flights(), &columns, &first[..end]).is_err(), "{end}");
    }
    let longer = [&first[..], &[0]].concat();
    let error = decode(&flights(), &columns, &longer).unwrap_err();
    assert!(error.contains("1 bytes are left over"), "{error}");
}

/// The key's fields are read before the value's, into the same columns.
#[test]
fn a_null_takes_the_place_of_what_the_key_said() {
    let schema = r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "long"]},
        {"name": "n", "type": ["null", {"type": "record", "name": "n", "fields": [{"name": "b", "type": "long"}]}]}]}"#;
    let columns = [Column::of_value("a", DataType::BigInt), Column::of_value("n.b", DataType::BigInt)];
    let (mut decoder, slots) = decoder(&bare(schema), &columns).unwrap();
    let mut cells = vec![Cell::BigInt(7), Cell::BigInt(8)];
    decoder.decode(&[0, 0], &slots, &mut cells).unwrap();
    assert_eq!(cells, [Cell::Null, Cell::Null]);
}

#[test]
fn the_header_of_confluent_is_checked_and_written() {
    let format =
        |schema_id| Format::Avro(AvroFormat { schema: "\"long\"".to_owned(), confluent: true, schema_id });
    let columns = [Column::of_value("v", DataType::BigInt)];
    let datum = encode(&format(Some(258)), &columns, &[Value::BigInt(-1)]).unwrap();
    assert_eq!(to_hex(&datum), "000000010201");
    for (schema_id, input, part) in [
        (None, "000000010201", None),
        (Some(258), "000000010201", None),
        (Some(7), "000000010201", Some("it is of schema 258, the table's is 7")),
        (None, "010000010201", Some("no Confluent header")),
        (None, "00000001", Some("no Confluent header")),
        (None, "0000000102", Some("at byte 5")),
    ] {
        let input = hex(input);
        let read = decode(&format(schema_id), &columns, &input);
        match part {
            None => assert_eq!(read.unwrap(), [Cell::BigInt(-1)]),
            Some(part) => assert!(read.clone().unwrap_err().contains(part), "{read:?}"),
        }
    }
    let unnumbered = encode(&format(None), &columns, &[]).unwrap_err();
    assert!(unnumbered.contains("needs the schema's number"), "{unnumbered}");
}

#[test]
fn columns_that_do_not_fit_are_refused_at_once() {
    for (name, data_type, part) in [
        ("nope", DataType::String, "has no field `nope`; known are: carrier, delay"),
        ("from.nope", DataType::String, "has no field `from.nope`; known are: code, runways, near"),
        ("carrier.x", DataType::String, "has no field `carrier.x`"),
        ("from", DataType::String, "name its fields: `from.<field>`"),
        ("notes", DataType::String, "map there; leave it out"),
        ("from.runways", DataType::String, "array there; leave it out"),
        ("carrier", DataType::BigInt, "string there; declare it as STRING"),
        ("delay", DataType::String, "union of null, int there; declare it as BIGINT"),
        ("at", DataType::BigInt, "timestamp there; declare it as TIMESTAMP(3)"),
        ("fare", DataType::Double, "decimal(12, 2) there; declare it as DECIMAL(12, 2)"),
    ] {
        let error = decode(&flights(), &[Column::of_value(name, data_type)], &[]).unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    for (schema, part) in [
        ("", "is no JSON"),
        ("7", "has 7 in place of a type"),
        ("\"other\"", "names the type \"other\""),
        ("{}", "without \"type\""),
        ("[\"null\", [\"long\"]]", "union inside of a union"),
        ("{\"type\":\"record\",\"name\":\"r\"}", "without \"fields\""),
        ("{\"type\":\"fixed\",\"name\":\"f\",\"size\":-1}", "without a size"),
        (
            "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":\"r\"},{\"name\":\"a\",\"type\":\"int\"}]}",
            "two fields \"a\"",
        ),
    ] {
        let error = Schema::parse(schema).unwrap_err().to_string();
        assert!(error.contains(part), "{schema}: {error}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    use crate::value::Value;
    let record = |data: &str| {
        bare(&format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{data}}}]}}"#))
    };
    for (data, data_type, value, part) in [
        ("\"long\"", DataType::BigInt, Value::Null, "column `a` is NULL"),
        ("\"int\"", DataType::BigInt, Value::BigInt(1 << 31), "column `a` is 2147483648, the schema has int"),
        (
            r#"{"type":"enum","name":"e","symbols":["x"]}"#,
            DataType::String,
            Value::String("y".to_owned()),
            "column `a` is y, the schema has enum",
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}"#,
            DataType::Decimal { precision: 9, scale: 2 },
            Value::Decimal(crate::decimal::Decimal { unscaled: 101, scale: 2 }),
            "column `a` is 1.01, the schema has decimal(3, 1)",
        ),
        ("\"long\"", DataType::Double, Value::Double(1.0), "a DOUBLE, the Avro schema has long there"),
    ] {
        let error = encode(&record(data), &[Column::of_value("a", data_type)], &[value]).unwrap_err();
        assert!(error.contains(part), "{data}: {error}");
    }
    let missing = encode(&record("\"long\""), &[], &[]).unwrap_err();
    assert!(missing.contains("field `a` of the Avro schema has no column"), "{missing}");
    let other = Column::of_value("b", DataType::BigInt);
    let other = encode(&record("[\"null\",\"long\"]"), &[other], &[Value::Null]).unwrap_err();
    assert!(other.contains("has no field `b`"), "{other}");
}

#[test]
fn a_schema_in_circles_is_read_to_a_bounded_depth() {
    let list = r#"{"type":"record","name":"l","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","l"]}]}"#;
    let columns = [Column::of_value("v", DataType::BigInt)];
    let links = |count: usize| [[2, 2].repeat(count), vec![4, 0]].concat();
    assert_eq!(decode(&bare(list), &columns, &links(20)).unwrap(), [Cell::BigInt(1)]);
    let error = decode(&bare(list), &columns, &links(100_000)).unwrap_err();
    assert!(error.contains("too many values inside one another"), "{error}");
}

#[test]
fn a_hostile_count_is_no_work() {
    let array = r#"{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":"ITEM"}},{"name":"v","type":"int"}]}"#;
    let columns = [Column::of_value("v", DataType::BigInt)];
    // 2^62 items, and a negative count of as many bytes as it says.
    let many = hex("feffffffffffffff7f");
    let read = |item: &str, input: &[u8]| match decode(&bare(&array.replace("ITEM", item)), &columns, input) {
        Ok(cells) => Ok(format!("{:?}", cells[0])),
        Err(error) => Err(error),
    };
    let error = read("int", &[&many[..], &[0, 2]].concat()).unwrap_err();
    assert!(error.contains("items, 2 bytes are left"), "{error}");
    // Of nothing there may be any number.
    assert_eq!(read("null", &[&many[..], &[0, 2]].concat()), Ok("BigInt(1)".to_owned()));
    assert_eq!(read("int", &[3, 4, 2, 4, 0, 2]), Ok("BigInt(1)".to_owned()));
    for input in ["ffffffffffffffffff01", "ffffffffffffffffffff01", "01ffffffffffffffffff01"] {
        read("int", &hex(input)).unwrap_err();
    }
}

proptest! {
    #[test]
    fn rows_survive(row in any_row()) {
        let columns = every_type();
        let format = bare(&Schema::text_for(&columns).unwrap());
        let bytes = encode(&format, &columns, &row).unwrap();
        let expected: Vec<Cell<'_>> = row.iter().map(cell).collect();
        prop_assert_eq!(decode(&format, &columns, &bytes).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        at in 0..200_usize,
    ) {
        let _ = decode(&flights(), &flight_columns(), &bytes);
        let mut damaged = hex(FLIGHTS[0]);
        let at = at % damaged.len();
        damaged.splice(at..at, bytes);
        let _ = decode(&flights(), &flight_columns(), &damaged);
    }
}

#[test]
fn a_value_is_written_as_the_first_of_its_unions_types_that_it_fits() {
    let format = bare(r#"["null", "int", "long"]"#);
    let columns = [Column::of_value("v", DataType::BigInt)];
    for (value, written) in
        [(-1, "0201"), (i64::from(i32::MAX), "02feffffff0f"), (5_000_000_000, "0480c8afa025")]
    {
        let datum = encode(&format, &columns, &[Value::BigInt(value)]).unwrap();
        assert_eq!(to_hex(&datum), written, "{value}");
        assert_eq!(decode(&format, &columns, &datum).unwrap(), [Cell::BigInt(value)]);
    }
    let error = encode(&bare(r#"["null", "int"]"#), &columns, &[Value::BigInt(5_000_000_000)]).unwrap_err();
    assert_eq!(error, "column `v` is 5000000000, the schema has int");
}

#[test]
fn what_a_float_cannot_hold_is_refused() {
    let columns = [Column::of_value("v", DataType::Double)];
    let error = encode(&bare("\"float\""), &columns, &[Value::Double(1e300)]).unwrap_err();
    assert_eq!(error, "column `v` is 1e300, the schema has float");
    let datum = encode(&bare(r#"["float", "double"]"#), &columns, &[Value::Double(1e300)]).unwrap();
    assert_eq!(datum[0], 2, "the second type");
    assert!(encode(&bare("\"float\""), &columns, &[Value::Double(3.4e38)]).is_ok());
}

/// A record of two records of two records…, which has no bytes, and would take ages to be walked.
#[test]
fn what_has_no_bytes_is_not_walked() {
    let null = r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "null"}]}}"#;
    let level = |level: usize| {
        let below = level - 1;
        format!(
            r#"{{"name": "f{level}", "type": {{"type": "record", "name": "R{level}", "fields": [
                {{"name": "a", "type": "R{below}"}}, {{"name": "b", "type": "R{below}"}}]}}}}"#
        )
    };
    let tower: Vec<String> = (1..60).map(level).collect();
    let schema = format!(
        r#"{{"type": "record", "name": "R", "fields": [{null}, {},
            {{"name": "many", "type": {{"type": "array", "items": "R59"}}}}, {{"name": "v", "type": "long"}}]}}"#,
        tower.join(", ")
    );
    let columns = [Column::of_value("v", DataType::BigInt)];
    assert_eq!(decode(&bare(&schema), &columns, &hex("feffffff0f0006")).unwrap(), [Cell::BigInt(3)]);
}
