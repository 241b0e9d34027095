//! What JSON is read as.

use proptest::prelude::*;

use super::*;
use crate::plan;

fn column(name: &str, data_type: DataType) -> plan::Column {
    plan::Column::of_value(name, data_type)
}

fn fields() -> Vec<plan::Column> {
    vec![
        column("b", DataType::Boolean),
        column("i", DataType::BigInt),
        column("d", DataType::Double),
        column("s", DataType::String),
        column("t", DataType::Timestamp),
        column("n", DataType::Decimal { precision: 20, scale: 2 }),
        column("day", DataType::Date),
        column("raw", DataType::Bytes),
    ]
}

fn decoder(columns: &[plan::Column]) -> (JsonDecoder, Vec<Slot>) {
    let names = columns.iter().map(|column| column.name.as_str()).enumerate();
    (JsonDecoder::new(names, true), columns.iter().map(Slot::new).collect())
}

fn decode_into<'r>(columns: &[plan::Column], text: &'r [u8]) -> Result<Vec<Cell<'r>>, String> {
    let (mut decoder, slots) = decoder(columns);
    let mut cells = vec![Cell::Null; slots.len()];
    decoder.decode(text, &slots, &mut cells)?;
    Ok(cells)
}

fn decode(text: &str) -> Result<Vec<Cell<'_>>, String> {
    decode_into(&fields(), text.as_bytes())
}

#[test]
fn reads_every_type_and_passes_over_the_rest() {
    let row = r#" {"x": [1, {"i": 7}], "b": true, "i": -5, "d": 2, "s": "é\n\u0041\ud83d\ude00/\/", "t": "1970-01-01T00:00:01Z",
        "n": 123456789012345678.905, "day": "1970-01-03", "raw": "AP8="} "#;
    assert_eq!(
        decode(row).unwrap(),
        [
            Cell::Boolean(true),
            Cell::BigInt(-5),
            Cell::Double(2.0),
            Cell::String("é\nA😀//".into()),
            Cell::Timestamp(1000),
            Cell::Decimal(12_345_678_901_234_567_891),
            Cell::Date(2),
            Cell::Bytes(vec![0, 255].into()),
        ]
    );
}

#[test]
fn missing_and_null_are_the_same_and_the_last_of_two_counts() {
    let row = decode(r#"{"i": null, "s": "a", "s": "b", "t": 5, "d": 1.5, "i": 3.0, "n": "-1e1"}"#).unwrap();
    let expected =
        [Cell::Null, Cell::BigInt(3), Cell::Double(1.5), Cell::String("b".into()), Cell::Timestamp(5)];
    assert_eq!(row[..5], expected);
    assert_eq!(row[5..], [Cell::Decimal(-1_000), Cell::Null, Cell::Null]);
}

#[test]
fn fields_of_objects_are_named_by_path() {
    let columns = [
        column("a.b", DataType::BigInt),
        column("a.c.d", DataType::String),
        column("a", DataType::String),
        column("l", DataType::String),
    ];
    let row = |text| decode_into(&columns, text).unwrap();
    assert_eq!(
        row(br#"{"a": {"b": 1, "c": {"d": "x"}}, "l": [1, "2"]}"#),
        [
            Cell::BigInt(1),
            Cell::String("x".into()),
            Cell::String(r#"{"b": 1, "c": {"d": "x"}}"#.into()),
            Cell::String(r#"[1, "2"]"#.into()),
        ]
    );
    // The dot may be the name's own; an object written twice is the second one; null has no fields.
    assert_eq!(row(br#"{"a.b": 7}"#)[0], Cell::BigInt(7));
    assert_eq!(row(br#"{"a": {"b": 1}, "a": {"c": {}}}"#)[0], Cell::Null);
    assert_eq!(row(br#"{"a": {"c": {"d": "x"}}, "a": {"c": {}}}"#)[1], Cell::Null);
    // What is written both ways is what comes last; an object without the field says nothing of it.
    for (text, value) in [
        (&br#"{"a.b": 7, "a": {"x": 1}}"#[..], 7),
        (br#"{"a.b": 7, "a": null}"#, 7),
        (br#"{"a.b": 7, "a": {"b": 3}}"#, 3),
        (br#"{"a": {"b": 3}, "a.b": 7}"#, 7),
        (br#"{"a": {"b": 3}, "a.b": 7, "a": {}}"#, 7),
    ] {
        assert_eq!(row(text)[0], Cell::BigInt(value), "{}", text.escape_ascii());
    }
    assert_eq!(row(br#"{"a": {"b": 1}, "a": null}"#)[..3], [Cell::Null, Cell::Null, Cell::Null]);
    let error = decode_into(&columns[..2], br#"{"a": 5}"#).unwrap_err();
    assert_eq!(error, "field `a.b` is inside of 5, which is no object");
    let (mut flat, slots) = (JsonDecoder::new([(0, "a.b")], false), [Slot::new(&columns[0])]);
    let mut cells = [Cell::Null];
    flat.decode(br#"{"a": {"b": 1}}"#, &slots, &mut cells).unwrap();
    assert_eq!(cells, [Cell::Null]);
}

#[test]
fn what_does_not_fit_is_named() {
    for (row, part) in [
        (r#"{"i": "12"}"#, "field `i` is the text \"12\", the column is a BIGINT"),
        (r#"{"i": 1.5}"#, "field `i` is 1.5"),
        (r#"{"i": 9223372036854775808}"#, "field `i` is 9223372036854775808"),
        (r#"{"b": 1}"#, "field `b` is 1, the column is a BOOLEAN"),
        (r#"{"s": 1}"#, "field `s` is 1, the column is a STRING"),
        (r#"{"i": {}}"#, "field `i` is an object"),
        (r#"{"i": []}"#, "field `i` is an array"),
        (r#"{"t": "yesterday"}"#, "no ISO-8601 instant"),
        (r#"{"t": 999999999999999999}"#, "outside the years 1 to 9999"),
        (r#"{"d": 1e999}"#, "number out of range"),
        (r#"{"n": 1e18}"#, "field `n` is 1e18, the column is a DECIMAL(20, 2)"),
        (r#"{"n": true}"#, "field `n` is true"),
        (r#"{"n": {"a": 1}}"#, "field `n` is an object"),
        (r#"{"day": "1970-02-30"}"#, "no day of the calendar"),
        (r#"{"day": 5}"#, "field `day` is 5, the column is a DATE"),
        (r#"{"raw": "a"}"#, "no base64"),
        (r#"{"s": "\ud800"}"#, "surrogate pair"),
        (r#"{"s": "\x"}"#, "expected an escape, found 'x' at byte 8"),
        ("{\"s\": \"a\nb\"}", "control character"),
        (r#"{"x": 01}"#, "leading zeros"),
        (r#"{"x": 1,}"#, "a field's name in quotes, found '}'"),
        (r#"{"x" 1}"#, "expected `:`, found '1' at byte 5"),
        (r#"{"x": tru}"#, "expected a value"),
        ("[1]", "a JSON object"),
        ("{} {}", "trailing characters"),
        ("{", "EOF"),
        ("", "EOF"),
    ] {
        let error = decode(row).unwrap_err();
        assert!(error.contains(part), "{row}: {error}");
    }
    assert!(decode_into(&fields(), b"{\"x\": \"\xff\"}").unwrap_err().contains("not UTF-8"));
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    assert!(decode(&deep).unwrap_err().contains("inside one another"));
}

#[test]
fn records_that_look_alike_and_those_that_do_not_are_read_the_same() {
    let (mut decoder, slots) = decoder(&fields());
    let records = [
        r#"{"i":1,"x":"a","s":"one"}"#,
        r#"{"i":2,"x":"a","s":"two"}"#,
        r#"{"i":3,"s":"three"}"#,
        r#"{"s":"four","i":4}"#,
        r#"{ "i": 5 , "s": "five" }"#,
        r#"{"x":{"i":9},"i":6,"y":0,"s":"six"}"#,
        r#"{"i":7,"x":"a","s":"seven","i":7}"#,
    ];
    for _ in 0..20 {
        for (index, record) in records.iter().enumerate() {
            let mut cells = vec![Cell::Null; slots.len()];
            decoder.decode(record.as_bytes(), &slots, &mut cells).unwrap();
            assert_eq!(cells[1], Cell::BigInt(index as i64 + 1), "{record}");
            assert!(record.contains(&match &cells[3] {
                Cell::String(text) => format!("\"{text}\""),
                other => panic!("{other:?}"),
            }));
        }
    }
}

/// JSON values, shallow ones.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Into::into),
        "\\PC{0,12}|[\\\\\"\u{0}-\u{20}é]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-d]|\\PC{0,3}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A JSON text with a byte changed, or none.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9eE.+\\-tfnu\\\\ x]");
    (json(), any::<bool>(), prop::option::of(change)).prop_map(|(value, pretty, change)| {
        let inner = serde_json::json!({ "x": value });
        let text = match pretty {
            true => serde_json::to_string_pretty(&inner),
            false => serde_json::to_string(&inner),
        };
        let mut bytes = text.unwrap().into_bytes();
        if let Some((index, with)) = change {
            let at = index.index(bytes.len());
            bytes[at] = with.as_bytes()[0];
        }
        bytes
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_into(&fields(), &bytes);
    }

    #[test]
    fn what_is_json_is_the_same_as_for_another_parser(bytes in almost_json()) {
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
        // Their numbers have a range where nothing is asked of them here.
        let theirs = theirs.map_err(|error| error.to_string());
        let ours = decode_into(&[], &bytes);
        match theirs {
            Ok(value) => prop_assert_eq!(ours.is_ok(), value.is_object(), "{:?}", ours),
            Err(error) if error.contains("out of range") => {}
            Err(error) => prop_assert!(ours.is_err(), "{}", error),
        }
    }

    #[test]
    fn texts_are_the_same_as_for_another_parser(text in "\\PC{0,20}|[\\\\\"/\u{0}-\u{20}é😀]{0,20}") {
        let record = serde_json::json!({ "s": text }).to_string();
        prop_assert_eq!(decode(&record).unwrap()[3].clone(), Cell::String(text.into()));
    }

    #[test]
    fn numbers_survive(i in any::<i64>(), d in any::<f64>().prop_filter("finite", |d| d.is_finite())) {
        let record = serde_json::json!({ "i": i, "d": d }).to_string();
        let row = decode(&record).unwrap();
        prop_assert_eq!(&row[1], &Cell::BigInt(i));
        let Cell::Double(read) = row[2] else { panic!("a DOUBLE") };
        // By their bits: -0.0 is not 0.0.
        prop_assert_eq!(read.to_bits(), d.to_bits());
    }
}
