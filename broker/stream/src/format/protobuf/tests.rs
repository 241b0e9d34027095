//! Protobuf against messages of another implementation, and against itself.

use proptest::prelude::*;

use super::schema::Schema;
use crate::format::cell::Cell;
use crate::format::testing::{decode, decoder, encode, hex, to_hex};
use crate::plan::{Column, Format, ProtobufFormat, ProtobufSchema};
use crate::value::{DataType, Value};

/// Made by protobuf 7.36 for Python from `testdata/flight.proto`; the descriptor by the protoc of grpcio-tools 1.85.
const FLIGHTS: [&str; 2] = [
    "0a0255411000190000000000e2954025004063432801320200ff3a1108ffffffffffffffffff0110c08faedc0342004a030a017850015a100a03455752120204161a050a034a464b6a050a01611001700978ffffffffffffffffff018001ffffffff0f8801ffffffffffffffff7f95010700000099010800000000000000a501f9ffffffa901f8ffffffffffffffb001ffffffffffffffffff01c00103",
    "50ffffffffffffffffff01ca01030a0158",
];

fn text() -> ProtobufSchema {
    ProtobufSchema::Proto(include_str!("../testdata/flight.proto").to_owned())
}

fn descriptor() -> ProtobufSchema {
    ProtobufSchema::Descriptor(include_str!("../testdata/flight.descriptor.base64").to_owned())
}

fn flights(schema: ProtobufSchema) -> Format {
    Format::Protobuf(ProtobufFormat { schema, message: "test.air.Flight".to_owned() })
}

fn proto(text: &str, message: &str) -> Format {
    let schema = ProtobufSchema::Proto(text.to_owned());
    Format::Protobuf(ProtobufFormat { schema, message: message.to_owned() })
}

fn flight_columns() -> Vec<Column> {
    let names = [
        ("carrier", DataType::String),
        ("delay", DataType::BigInt),
        ("distance", DataType::Double),
        ("air", DataType::Double),
        ("cancelled", DataType::Boolean),
        ("raw", DataType::Bytes),
        ("at", DataType::Timestamp),
        ("seats", DataType::BigInt),
        ("note", DataType::String),
        ("kind", DataType::String),
        ("from.code", DataType::String),
        ("from.near.code", DataType::String),
        ("to.code", DataType::String),
        ("s32", DataType::BigInt),
        ("s64", DataType::BigInt),
        ("u32", DataType::BigInt),
        ("u64", DataType::BigInt),
        ("f32", DataType::BigInt),
        ("f64", DataType::BigInt),
        ("sf32", DataType::BigInt),
        ("sf64", DataType::BigInt),
        ("number", DataType::BigInt),
        ("pilot", DataType::String),
        ("crew", DataType::BigInt),
        ("base.code", DataType::String),
    ];
    names.map(|(name, data_type)| Column::of_value(name, data_type)).to_vec()
}

fn text_value(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// What the first flight says.
fn first_row() -> Vec<Value> {
    vec![
        text_value("UA"),
        Value::BigInt(0),
        Value::Double(1400.5),
        Value::Double(227.25),
        Value::Boolean(true),
        Value::Bytes(vec![0, 255]),
        Value::Timestamp(-1),
        Value::BigInt(0),
        text_value("x"),
        text_value("PASSENGER"),
        text_value("EWR"),
        text_value("JFK"),
        Value::Null,
        Value::BigInt(-5),
        Value::BigInt(i64::MIN),
        Value::BigInt((1 << 32) - 1),
        Value::BigInt(i64::MAX),
        Value::BigInt(7),
        Value::BigInt(8),
        Value::BigInt(-7),
        Value::BigInt(-8),
        Value::BigInt(-1),
        Value::Null,
        Value::BigInt(3),
        Value::Null,
    ]
}

/// What the second flight says, which is next to nothing.
fn second_row() -> Vec<Value> {
    let mut row = vec![Value::BigInt(0); 25];
    for (index, value) in [
        (0, text_value("")),
        (1, Value::Null),
        (2, Value::Double(0.0)),
        (3, Value::Double(0.0)),
        (4, Value::Boolean(false)),
        (5, Value::Bytes(Vec::new())),
        (6, Value::Null),
        (7, Value::Null),
        (8, Value::Null),
        (9, text_value("FERRY")),
        (10, Value::Null),
        (11, Value::Null),
        (12, Value::Null),
        (22, Value::Null),
        (23, Value::Null),
        (24, text_value("X")),
    ] {
        row[index] = value;
    }
    row
}

fn cells(row: &[Value]) -> Vec<Cell<'static>> {
    row.iter().map(crate::format::testing::cell).collect()
}

#[test]
fn reads_what_another_implementation_wrote() {
    for schema in [text(), descriptor()] {
        let [first, second] = FLIGHTS.map(hex);
        let read = |input| decode(&flights(schema.clone()), &flight_columns(), input).unwrap();
        assert_eq!(read(&first), cells(&first_row()));
        assert_eq!(read(&second), cells(&second_row()));
    }
}

#[test]
fn writes_what_another_implementation_wrote() {
    // What no column stands for is left out: the runways and the notes.
    let left_out = [("12020416", "", "1a09", "1a05"), ("6a050a0161", "1001", "", "")];
    let mut expected = FLIGHTS[0].to_owned();
    let from = expected.find("5a10").unwrap();
    expected.replace_range(from..from + 4, "5a0c");
    expected = expected.replace(left_out[0].0, "").replace(&[left_out[1].0, left_out[1].1].concat(), "");
    for schema in [text(), descriptor()] {
        let write =
            |row: &[Value]| to_hex(&encode(&flights(schema.clone()), &flight_columns(), row).unwrap());
        assert_eq!(write(&first_row()), expected);
        assert_eq!(write(&second_row()), FLIGHTS[1]);
    }
}

#[test]
fn only_what_is_wanted_is_made() {
    let columns = [Column::of_value("number", DataType::BigInt)];
    let first = hex(FLIGHTS[0]);
    assert_eq!(decode(&flights(text()), &columns, &first).unwrap(), [Cell::BigInt(-1)]);
    assert_eq!(decode(&flights(text()), &[], &first).unwrap(), []);
    let error = decode(&flights(text()), &columns, &first[..first.len() - 1]).unwrap_err();
    assert!(error.contains("at byte"), "{error}");
}

#[test]
fn the_last_of_a_oneof_and_of_two_counts_and_messages_merge() {
    let columns = [
        Column::of_value("pilot", DataType::String),
        Column::of_value("base.code", DataType::String),
        Column::of_value("from.code", DataType::String),
        Column::of_value("from.near.code", DataType::String),
        Column::of_value("number", DataType::BigInt),
    ];
    let read = |input: &str| {
        let input = hex(input);
        let cells = decode(&flights(text()), &columns, &input).unwrap();
        format!("{cells:?}")
    };
    // pilot = "p", base.code = "b"; then the other way round; then crew, which no column stands for.
    assert_eq!(read("ba010170ca01030a0162"), r#"[Null, String("b"), Null, Null, BigInt(0)]"#);
    assert_eq!(read("ca01030a0162ba010170"), r#"[String("p"), Null, Null, Null, BigInt(0)]"#);
    assert_eq!(read("ca01030a0162ba010170c00101"), "[Null, Null, Null, Null, BigInt(0)]");
    // from.code and from.near.code in two parts; number twice.
    assert_eq!(
        read("5a030a0166b001025a051a030a016eb00103"),
        r#"[Null, Null, String("f"), String("n"), BigInt(3)]"#
    );
}

#[test]
fn an_instant_in_two_parts_has_both() {
    let format = proto("syntax = \"proto3\"; message M { google.protobuf.Timestamp at = 1; }", "M");
    let columns = [Column::of_value("at", DataType::Timestamp)];
    for (input, at) in [
        // 5 s, and 1,000,000 ns.
        ("0a0208050a0410c0843d", 5_001),
        ("0a0410c0843d0a020805", 5_001),
        ("0a0208050a00", 5_000),
        ("0a0208050a0410c0843d0a020806", 6_001),
        // -1 s, and 1,000,000 ns.
        ("0a0b08ffffffffffffffffff010a0410c0843d", -999),
    ] {
        assert_eq!(decode(&format, &columns, &hex(input)).unwrap(), [Cell::Timestamp(at)], "{input}");
    }
}

/// The key's fields are read before the value's, into the same columns.
#[test]
fn of_a_value_nothing_is_left_of_the_key() {
    let text = "syntax = \"proto3\"; message M { int64 a = 1; optional int64 b = 2; google.protobuf.Timestamp c = 3; \
        N n = 4; message N { int64 d = 1; } }";
    let columns = [
        ("a", DataType::BigInt),
        ("b", DataType::BigInt),
        ("c", DataType::Timestamp),
        ("n.d", DataType::BigInt),
    ]
    .map(|(name, data_type)| Column::of_value(name, data_type));
    let (mut decoder, slots) = decoder(&proto(text, "M"), &columns).unwrap();
    let mut cells = vec![Cell::BigInt(7), Cell::BigInt(7), Cell::Timestamp(7_000), Cell::BigInt(7)];
    decoder.decode(&[], &slots, &mut cells).unwrap();
    assert_eq!(cells, [Cell::BigInt(0), Cell::Null, Cell::Null, Cell::Null]);
    cells[2] = Cell::Timestamp(7_000);
    // c has nanoseconds only; n is there, and empty.
    let value = hex("1a0410c0843d2200");
    decoder.decode(&value, &slots, &mut cells).unwrap();
    assert_eq!(cells, [Cell::BigInt(0), Cell::Null, Cell::Timestamp(1), Cell::BigInt(0)]);
}

#[test]
fn what_does_not_fit_is_named() {
    for (name, data_type, part) in [
        ("nope", DataType::String, "message test.air.Flight has no field `nope`; known are: carrier, delay"),
        ("from.nope", DataType::String, "message test.air.Flight.Airport has no field `nope`"),
        ("carrier.x", DataType::String, "field `carrier` of message test.air.Flight is no message"),
        ("from", DataType::String, "name its fields: `from.<field>`"),
        ("notes", DataType::String, "is repeated; leave it out"),
        ("from.runways", DataType::BigInt, "is repeated; leave it out"),
        ("carrier", DataType::BigInt, "declare it as STRING"),
        ("at", DataType::BigInt, "declare it as TIMESTAMP(3)"),
    ] {
        let error = decode(&flights(text()), &[Column::of_value(name, data_type)], &[]).unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    let number = [Column::of_value("number", DataType::BigInt)];
    for (input, part) in [
        ("b2010178", "field `number` is written as Length, its type as Varint"),
        ("b001ffffffffffffffffff7f", "more than 64 bits"),
        ("00", "in place of a field's tag"),
        ("0affffffffffffffff7f", "bytes are wanted"),
        ("0b", "group 1 does not end"),
        ("0c", "group 1 ends, and did not begin"),
    ] {
        let error = decode(&flights(text()), &number, &hex(input)).unwrap_err();
        assert!(error.contains(part), "{input}: {error}");
    }
    // Groups are passed over, also inside of one another.
    assert_eq!(decode(&flights(text()), &number, &hex("0b080113140cb00105")), Ok(vec![Cell::BigInt(5)]));
    assert!(decode(&flights(text()), &number, &hex("0b080113140114b00105")).is_err());
    let deep = [vec![0x0b; 1000], vec![0x0c; 1000]].concat();
    assert!(decode(&flights(text()), &number, &deep).unwrap_err().contains("groups inside one another"));
    let u64_column = [Column::of_value("u64", DataType::BigInt)];
    let error = decode(&flights(text()), &u64_column, &hex("8801ffffffffffffffffff01")).unwrap_err();
    assert_eq!(error, "field `u64` is 18446744073709551615, the column is a BIGINT");
}

#[test]
fn what_cannot_be_written_is_named() {
    for (name, data_type, value, part) in [
        ("delay", DataType::BigInt, Value::BigInt(1 << 31), "field `delay` cannot be 2147483648"),
        ("u32", DataType::BigInt, Value::BigInt(-1), "field `u32` cannot be -1"),
        ("kind", DataType::String, text_value("OTHER"), "field `kind` cannot be OTHER"),
    ] {
        let error = encode(&flights(text()), &[Column::of_value(name, data_type)], &[value]).unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    let rivals = [Column::of_value("pilot", DataType::String), Column::of_value("crew", DataType::BigInt)];
    let error = encode(&flights(text()), &rivals, &[text_value("p"), Value::BigInt(1)]).unwrap_err();
    assert_eq!(error, "fields `pilot` and `crew` are of one oneof, and both have a value");
    let required = "syntax = \"proto2\"; message M { required int64 a = 1; optional int64 b = 2; }";
    let columns = [Column::of_value("a", DataType::BigInt), Column::of_value("b", DataType::BigInt)];
    let error = encode(&proto(required, "M"), &columns, &[Value::Null, Value::Null]).unwrap_err();
    assert_eq!(error, "field `a` is required, and NULL");
    let error = encode(&proto(required, "M"), &columns[1..], &[Value::Null]).unwrap_err();
    assert!(error.contains("field `a` of the message is required, and has no column"), "{error}");
    // In proto2 what is absent is absent.
    assert_eq!(decode(&proto(required, "M"), &columns, &[]).unwrap(), [Cell::Null, Cell::Null]);
}

#[test]
fn descriptions_that_cannot_be_used_say_why() {
    for (text, part) in [
        ("message M {", "line 1 of the .proto text"),
        ("\n\nmessage M { int64 = 1; }", "line 3"),
        ("message M { int64 a = 0; }", "0 is no field's number"),
        ("message M { int64 a = 1; string a = 2; }", "two fields a = 2"),
        ("message M { int64 a = 1; string b = 1; }", "two fields b = 1"),
        ("message M { Other a = 1; }", "names the type Other in M"),
        ("message M { group G = 1 { } }", "groups are not supported"),
        ("message M { } message M { }", "declares M twice"),
        ("message O { }", "no message M; 'protobuf.message' is one of: O"),
        ("import \"other.proto\"; message M { }", "cannot be imported"),
        ("syntax = \"proto4\";", "is not known"),
        ("/* message M { }", "a comment does not end"),
        ("message M { option x = { a: 1 ", "a statement does not end"),
        ("garbage", "does not begin a declaration"),
    ] {
        let error = decode(&proto(text, "M"), &[], &[]).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for (text, part) in [("!", "is no base64"), ("AAAA", "is no FileDescriptorSet")] {
        let schema = ProtobufSchema::Descriptor(text.to_owned());
        let error = Schema::new(&ProtobufFormat { schema, message: "M".to_owned() }).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let deep = format!("{}{}", "message A { ".repeat(1000), "}".repeat(1000));
    assert!(decode(&proto(&deep, "A"), &[], &[]).unwrap_err().contains("inside one another"));
}

#[test]
fn names_are_found_from_the_inside_out() {
    let text = r#"
        syntax = "proto3"; package p.q;
        enum E { ZERO = 0; }
        message M {
          enum E { NIL = 0; }
          message I { E own = 1; .p.q.E outer = 2; q.E half = 3; optional E may = 4; }
          I i = 1;
          optional string message = 2; repeated string option = 3 [packed = false];
        }"#;
    let columns = ["i.own", "i.outer", "i.half", "i.may", "message"]
        .map(|name| Column::of_value(name, DataType::String));
    let input = hex("0a00120178");
    let read = decode(&proto(text, "p.q.M"), &columns, &input).unwrap();
    let expected = [text_value("NIL"), text_value("ZERO"), text_value("ZERO"), Value::Null, text_value("x")];
    assert_eq!(read, cells(&expected));
}

proptest! {
    #[test]
    fn rows_survive(
        i in prop::option::of(any::<i64>()),
        s in prop::option::of("\\PC{0,6}"),
        d in prop::option::of(any::<f64>().prop_filter("finite", |d| d.is_finite())),
        b in prop::option::of(any::<bool>()),
        raw in prop::option::of(prop::collection::vec(any::<u8>(), 0..5)),
        t in prop::option::of(crate::time::MIN_TIMESTAMP..=crate::time::MAX_TIMESTAMP),
        w in prop::option::of(any::<i64>()),
        n in prop::option::of(any::<i64>()),
        z in prop::option::of(any::<i32>()),
    ) {
        let text = "syntax = \"proto3\"; message M { optional int64 i = 1; optional string s = 2; \
            optional double d = 3; optional bool b = 4; optional bytes raw = 5; \
            google.protobuf.Timestamp t = 6; google.protobuf.Int64Value w = 70; N n = 8; optional sint32 z = 9; } \
            message N { optional sfixed64 n = 1; }";
        let column = Column::of_value;
        let columns = [
            column("i", DataType::BigInt), column("s", DataType::String), column("d", DataType::Double),
            column("b", DataType::Boolean), column("raw", DataType::Bytes), column("t", DataType::Timestamp),
            column("w", DataType::BigInt), column("n.n", DataType::BigInt), column("z", DataType::BigInt),
        ];
        let row = [
            i.map_or(Value::Null, Value::BigInt), s.map_or(Value::Null, Value::String),
            d.map_or(Value::Null, Value::Double), b.map_or(Value::Null, Value::Boolean),
            raw.map_or(Value::Null, Value::Bytes), t.map_or(Value::Null, Value::Timestamp),
            w.map_or(Value::Null, Value::BigInt), n.map_or(Value::Null, Value::BigInt),
            z.map_or(Value::Null, |z| Value::BigInt(i64::from(z))),
        ];
        let bytes = encode(&proto(text, "M"), &columns, &row).unwrap();
        prop_assert_eq!(decode(&proto(text, "M"), &columns, &bytes).unwrap(), cells(&row));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        at in 0..200_usize,
    ) {
        let _ = decode(&flights(text()), &flight_columns(), &bytes);
        let mut damaged = hex(FLIGHTS[0]);
        let at = at % damaged.len();
        damaged.splice(at..at, bytes);
        let _ = decode(&flights(text()), &flight_columns(), &damaged);
    }

    #[test]
    fn any_description_is_read_without_a_panic(text in "(message|enum|oneof|map<|[{};=A-C1 \"\\[\\]/*\n]){0,30}") {
        let _ = decode(&proto(&text, "A"), &[], &[]);
    }

    #[test]
    fn any_descriptor_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        let format = ProtobufFormat { schema: ProtobufSchema::Descriptor(text), message: "A".to_owned() };
        let _ = Schema::new(&format);
    }
}

#[test]
fn what_a_float_cannot_hold_is_refused() {
    let format = proto("message M { optional float v = 1; }", "M");
    let columns = [Column::of_value("v", DataType::Double)];
    let error = encode(&format, &columns, &[Value::Double(-1e300)]).unwrap_err();
    assert_eq!(error, "field `v` cannot be -1e300");
    assert!(encode(&format, &columns, &[Value::Double(3.4e38)]).is_ok());
}
