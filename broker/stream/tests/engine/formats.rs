//! Formats through whole pipelines: what one writes in a format another reads; and tables drafted from a sample are
//! tables that read it.

use logmill_record::{Batch, BatchBuilder, BatchOptions, Record};
use logmill_stream::plan::{AvroFormat, CsvFormat, Format, ProtobufFormat, ProtobufSchema};
use logmill_stream::{DataType, EpochLimits, InferError, RecordSample, csv_header, infer};

use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

const COLUMNS: &str =
    "id BIGINT, d DOUBLE, s STRING, ok BOOLEAN, at TIMESTAMP(3), n DECIMAL(12, 3), day DATE, raw BYTES";
const ROWS: [&str; 3] = [
    r#"{"id":1,"d":-2.5,"s":"a,\"b\"\n;é","ok":true,"at":"2013-01-01T10:00:00.007Z","n":-1234.500,"day":"2013-01-01","raw":"AP8="}"#,
    r#"{"id":null,"d":null,"s":null,"ok":null,"at":null,"n":null,"day":null,"raw":null}"#,
    r#"{"id":9223372036854775807,"d":0.1,"s":"","ok":false,"at":"1969-12-31T23:59:59Z","n":0.001,"day":"0001-01-01","raw":""}"#,
];

/// Writes `from` into `to` by one pipeline, and `to` into `back` by another.
fn through(columns: &str, options: &str, rows: &[&str]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    for topic in ["from", "to", "back"] {
        logs.create(topic, 1);
    }
    logs.produce("from", 0, &rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
    let json = |name: &str| {
        // What is written in Debezium's manner is changes, also where it is read.
        let output =
            if name == "back" && options.contains("debezium") { ", 'output' = 'retract'" } else { "" };
        format!("CREATE TABLE t_{name} ({columns}) WITH ('topic' = '{name}', 'format' = 'json'{output});")
    };
    let other = format!("CREATE TABLE t_to ({columns}) WITH ('topic' = 'to', {options});");
    for (first, second, select) in [
        (json("from"), other.clone(), "INSERT INTO t_to SELECT * FROM t_from"),
        (other, json("back"), "INSERT INTO t_back SELECT * FROM t_to"),
    ] {
        let plan = plan(&format!("{first} {second} {select}"));
        run_bounded(&plan, &mut logs, small_epochs(1), 0)
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        logs.progress.clear();
    }
    logs
}

#[test]
fn what_one_pipeline_writes_another_reads() {
    let proto = "syntax = \"proto3\"; message Row { optional int64 id = 1; optional double d = 2; \
        optional string s = 3; optional bool ok = 4; google.protobuf.Timestamp at = 5; optional bytes raw = 6; }";
    let of_proto = "id BIGINT, d DOUBLE, s STRING, ok BOOLEAN, at TIMESTAMP(3), raw BYTES";
    let in_proto = format!("'format' = 'protobuf', 'protobuf.message' = 'Row', 'protobuf.proto' = '{proto}'");
    for (columns, options) in [
        (COLUMNS, "'format' = 'json', 'json.timestamp-format.standard' = 'SQL'"),
        (COLUMNS, "'value.format' = 'json', 'value.json.timestamp-format.standard' = 'EPOCH-MILLIS'"),
        (COLUMNS, "'format' = 'csv'"),
        (COLUMNS, "'format' = 'csv', 'csv.field-delimiter' = '\\t', 'csv.null-literal' = 'NULL'"),
        (COLUMNS, "'format' = 'avro'"),
        (COLUMNS, "'format' = 'avro', 'avro.confluent' = 'true', 'avro.schema-id' = '7'"),
        (of_proto, in_proto.as_str()),
        (COLUMNS, "'format' = 'debezium-json'"),
    ] {
        let logs = through(columns, options, &ROWS);
        let expected =
            if columns == COLUMNS { ROWS.map(str::to_owned) } else { ROWS.map(without_protobufs_gaps) };
        let after = |change: String| {
            let after = change.strip_prefix("{\"before\":null,\"after\":");
            after.and_then(|after| after.strip_suffix(",\"op\":\"c\"}")).map(str::to_owned).unwrap_or(change)
        };
        let back: Vec<String> = logs.values("back").into_iter().map(after).collect();
        assert_eq!(back, expected, "{options}");
    }
}

/// Protobuf has no days and no exact numbers.
fn without_protobufs_gaps(row: &str) -> String {
    let start = row.find(",\"n\"").unwrap();
    let end = row.find(",\"raw\"").unwrap();
    format!("{}{}", &row[..start], &row[end..])
}

#[test]
fn rows_are_written_as_changes() {
    let mut logs = MemoryLogs::default();
    logs.create("from", 1);
    logs.create("to", 1);
    logs.produce("from", 0, &[r#"{"a":1}"#.to_owned()]);
    let plan = plan(
        "CREATE TABLE f (a BIGINT) WITH ('topic' = 'from', 'format' = 'json');
         CREATE TABLE t (a BIGINT) WITH ('topic' = 'to', 'format' = 'debezium-json');
         INSERT INTO t SELECT a FROM f",
    );
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    assert_eq!(logs.values("to"), [r#"{"before":null,"after":{"a":1},"op":"c"}"#]);
}

#[test]
fn a_raw_value_is_the_whole_of_it() {
    let rows = [r#"{"v":"x,\"y\""}"#, r#"{"v":""}"#];
    let logs = through("v STRING", "'format' = 'raw'", &rows);
    assert_eq!(logs.values("to"), ["x,\"y\"", ""]);
    assert_eq!(logs.values("back"), rows);
}

fn record(key: Option<&str>, value: &str, headers: &[(&[u8], Option<&[u8]>)]) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1_000, key.map(str::as_bytes), Some(value.as_bytes()), headers);
    builder.build()
}

#[test]
fn keys_headers_and_places_are_columns() {
    let mut logs = MemoryLogs::default();
    logs.create("in", 2);
    logs.create("out", 1);
    logs.append("in", 0, record(Some("a"), r#"{"v":1}"#, &[(b"trace", Some(b"7"))]));
    logs.append("in", 1, record(None, r#"{"v":2}"#, &[]));
    logs.append("in", 1, record(Some("b"), r#"{"v":3}"#, &[(b"trace", Some(b"no number"))]));
    let plan = plan(
        "CREATE TABLE src (k STRING METADATA FROM 'key', v BIGINT, trace BIGINT METADATA FROM 'header:trace',
           o BIGINT METADATA FROM 'offset' VIRTUAL, p BIGINT METADATA FROM 'partition', topic STRING METADATA,
           ts TIMESTAMP(3) METADATA FROM 'timestamp', kind STRING METADATA FROM 'timestamp-type')
           WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');
         CREATE TABLE snk (k STRING, v BIGINT, trace BIGINT METADATA FROM 'headers.copy', place STRING,
           ts TIMESTAMP(3) METADATA FROM 'timestamp', o BIGINT METADATA FROM 'offset' VIRTUAL)
           WITH ('topic' = 'out', 'format' = 'json', 'key.format' = 'csv', 'key.fields' = 'k;v',
             'value.fields-include' = 'EXCEPT_KEY');
         INSERT INTO snk SELECT k, v, trace + 1,
           topic || '/' || CAST(p AS STRING) || '/' || CAST(o AS STRING) || '/' || kind, ts + INTERVAL '1' SECOND
         FROM src",
    );
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    let written: Vec<Record> = logs.records("out").into_iter().map(|(_, record)| record).collect();
    let text =
        |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    assert_eq!(written.len(), 2, "the third record's header is no number");
    assert_eq!(text(&written[0].key).as_deref(), Some("a,1"));
    assert_eq!(text(&written[0].value).as_deref(), Some(r#"{"place":"in/0/0/CreateTime"}"#));
    assert_eq!(written[0].timestamp, 2_000);
    assert_eq!(written[0].headers.len(), 1);
    assert_eq!(
        (&*written[0].headers[0].key, written[0].headers[0].value.as_deref()),
        (&b"copy"[..], Some(&b"8"[..]))
    );
    assert_eq!(text(&written[1].key).as_deref(), Some(",2"));
    assert_eq!(text(&written[1].value).as_deref(), Some(r#"{"place":"in/1/0/CreateTime"}"#));
    assert!(written[1].headers.is_empty());
}

/// A key whose fields are called as those of the value: in the table they have a prefix, in the key they do not.
#[test]
fn columns_of_the_key_may_have_a_prefix_in_the_table_alone() {
    let keys = [
        ("json", "", r#"{"id":7,"site":"x"}"#),
        ("csv", "", "7,x"),
        ("avro", "", "\u{2}\u{e}\u{2}\u{2}x"),
        (
            "protobuf",
            ", 'key.protobuf.message' = 'K', 'key.protobuf.proto' = 'syntax = \"proto3\";
             message K { optional int64 id = 1; optional string site = 2; }'",
            "\u{8}\u{7}\u{12}\u{1}x",
        ),
    ];
    for (format, options, key) in keys {
        let mut logs = MemoryLogs::default();
        logs.create("in", 1);
        logs.create("out", 1);
        logs.append("in", 0, record(Some(key), r#"{"id":1,"v":"a"}"#, &[]));
        let columns = "k_id BIGINT, k_site STRING, id BIGINT, v STRING";
        let options = format!(
            "'format' = 'json', 'key.format' = '{format}', 'key.fields' = 'k_id;k_site', 'key.fields-prefix' = 'k_',
             'value.fields-include' = 'EXCEPT_KEY' {options}"
        );
        let plan = plan(&format!(
            "CREATE TABLE src ({columns}) WITH ('topic' = 'in', {options});
             CREATE TABLE snk ({columns}) WITH ('topic' = 'out', {options});
             INSERT INTO snk SELECT k_id, k_site, id + k_id, v || k_site FROM src"
        ));
        run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
        let written: Vec<Record> = logs.records("out").into_iter().map(|(_, record)| record).collect();
        assert_eq!(written.len(), 1, "{format}");
        assert_eq!(written[0].key.as_deref(), Some(key.as_bytes()), "{format}");
        assert_eq!(written[0].value.as_deref(), Some(&br#"{"id":8,"v":"ax"}"#[..]), "{format}");
        assert!(plan.explain().contains(" key-prefix=k_ "), "{}", plan.explain());
    }
}

#[test]
fn a_key_is_in_the_value_too_unless_it_is_said() {
    let rows = [r#"{"a":1,"b":"x"}"#, r#"{"a":2,"b":null}"#];
    let options = "'format' = 'csv', 'key.format' = 'json', 'key.fields' = 'a'";
    let logs = through("a BIGINT, b STRING", options, &rows);
    assert_eq!(logs.values("to"), ["1,x", "2,"]);
    assert_eq!(logs.values("back"), rows);
    let logs =
        through("a BIGINT, b STRING", &format!("{options}, 'value.fields-include' = 'EXCEPT_KEY'"), &rows);
    assert_eq!(logs.values("to"), ["x", ""]);
    assert_eq!(logs.values("back"), rows);
}

/// The samples of values without keys, in one partition.
fn sample(values: &[&[u8]]) -> Vec<RecordSample> {
    let record = |(index, value): (usize, &&[u8])| RecordSample {
        timestamp: 1_357_034_400_000 + index as i64,
        value: Some(value.to_vec()),
        ..RecordSample::default()
    };
    values.iter().enumerate().map(record).collect()
}

/// The draft's text; checks that it is a table that reads every record of the sample.
#[track_caller]
fn draft(format: Option<&Format>, sample: &[RecordSample]) -> String {
    let draft = infer(format, sample).unwrap();
    let text = draft.create_table("t", "in");
    let output = if text.contains("debezium") { ", 'output' = 'retract'" } else { "" };
    let script = format!(
        "{text} CREATE TABLE o (c BIGINT) WITH ('topic' = 'out', 'format' = 'json'{output});
         INSERT INTO o SELECT 1 FROM t WHERE {} IS NULL OR TRUE",
        draft
            .columns
            .iter()
            .map(|column| format!("`{}` IS NULL", column.name.replace('`', "``")))
            .collect::<Vec<_>>()
            .join(" OR ")
    );
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    for record in sample {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
        logs.append("in", 0, builder.build());
    }
    run_bounded(&plan(&script), &mut logs, EpochLimits::default(), 0)
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let values = sample.iter().filter(|record| record.value.is_some()).count();
    assert_eq!(logs.values("out").len(), values, "{text}");
    text
}

#[test]
fn json_is_drafted_by_what_its_fields_have_in_common() {
    let records = [
        r#"{"id":1,"at":"2013-01-01T10:00:00Z","user":{"name":"a","tags":[1]},"score":1,"big":9223372036854775808,"Order":true,"created_ts":1357034400000,"odd":1,"none":null,"day":"2013-01-01"}"#,
        r#"{"id":2,"at":"2013-01-01T09:58:00Z","user":null,"score":1.5,"big":1,"Order":false,"odd":"x","day":"2013-01-02"}"#,
        r#"{"id":3,"at":"2013-01-01T10:00:01Z","user":{"name":"b"},"score":2,"big":1,"Order":null,"day":null}"#,
    ];
    let values: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
    assert_eq!(
        draft(None, &sample(&values)),
        "\
-- `odd` is left out: its values are of several types
-- `none` is left out: it is null in every record of the sample
CREATE TABLE t (
  `id` BIGINT,
  `at` TIMESTAMP(3),
  `user.name` STRING,
  `user.tags` STRING,
  score DOUBLE,
  big DECIMAL(20, 0),
  `Order` BOOLEAN,
  created_ts TIMESTAMP(3),
  `day` DATE,
  WATERMARK FOR `at` AS `at` - INTERVAL '5' MINUTE
) WITH (
  'topic' = 'in',
  'format' = 'json'
);
"
    );
    // `created_ts` is named most like an event's time; above it was not in every record.
    let values: Vec<&[u8]> = [values[0], values[0]].repeat(10);
    let text = draft(None, &sample(&values));
    assert!(text.contains("created_ts TIMESTAMP(3) NOT NULL"), "{text}");
    assert!(text.contains("WATERMARK FOR created_ts AS created_ts - INTERVAL '5' SECOND"), "{text}");
}

#[test]
fn disorder_is_what_the_sample_has() {
    let records =
        ["10:00:00", "09:50:00", "10:00:01"].map(|time| format!("{{\"ts\":\"2013-01-01T{time}Z\"}}"));
    let values: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
    let text = draft(None, &sample(&values));
    assert!(text.contains("WATERMARK FOR ts AS ts - INTERVAL '15' MINUTE"), "{text}");
}

#[test]
fn other_formats_are_known_by_their_looks() {
    let csv: [&[u8]; 2] = [b"1;\"a;b\";2013-01-01 10:00:00;", b"2;c;2013-01-01 10:00:01;x"];
    let text = draft(None, &sample(&csv));
    for line in [
        "field_1 BIGINT",
        "field_2 STRING",
        "field_3 TIMESTAMP(3)",
        "field_4 STRING",
        "'csv.field-delimiter' = ';'",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let change = br#"{"before":null,"after":{"id":1,"name":"a"},"op":"c","ts_ms":1}"#;
    let text = infer(None, &sample(&[change])).unwrap().create_table("t", "in");
    assert!(text.contains("'format' = 'debezium-json'") && text.contains("`id` BIGINT"), "{text}");
    let text = draft(None, &sample(&[b"just text", b"more"]));
    assert!(text.contains("`value` STRING") && text.contains("'format' = 'raw'"), "{text}");
    let text = draft(None, &sample(&[&[255, 254]]));
    assert!(text.contains("`value` BYTES"), "{text}");
    let mut keyed = sample(&[br#"{"a":1}"#]);
    keyed[0].key = Some(b"k".to_vec());
    let text = draft(None, &keyed);
    assert!(text.contains("record_key STRING METADATA FROM 'key'"), "{text}");
}

/// What looks like a type and is none, and names that no column can have.
#[test]
fn what_a_column_could_not_read_is_drafted_as_text_or_left_out() {
    let csv: [&[u8]; 3] =
        [b"07102,-inf,1e3,2013-01-01,NaN,true,+5,1e999", b"7102,nan,-2,x,5,1,6,2", b",,,,,,,"];
    let text = draft(None, &sample(&csv));
    for line in [
        "field_1 STRING",
        "field_2 STRING",
        "field_3 DOUBLE",
        "field_4 STRING",
        "field_5 STRING",
        "field_6 STRING",
        "field_7 BIGINT",
        "field_8 STRING",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let text = draft(None, &sample(&[b"1,NA,NA", b"2,3.5,NA", b"NA,4,x"]));
    for line in ["field_1 BIGINT,", "field_2 DOUBLE", "field_3 STRING", "'csv.null-literal' = 'NA'"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let named = |names: &str| {
        let layout = CsvFormat::new(Vec::new());
        let fields = csv_header(&layout, names).unwrap();
        draft(Some(&Format::Csv(CsvFormat { fields, ..layout })), &sample(&[b"1,2,3,4"]))
    };
    let text = named("id,\"select, from\",id,");
    for line in ["`id` BIGINT", "`select, from` BIGINT", "field_3 BIGINT", "field_4 BIGINT"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(named("too,few").contains("field_1 BIGINT"));
    let long = "x".repeat(2_000);
    let deep = (0..3).fold("1".to_owned(), |inner, _| format!(r#"{{"{long}":{inner}}}"#));
    let record = format!(r#"{{"a.b":1,"":2,"`":3,"deep":{deep},"é":"x"}}"#);
    let text = draft(None, &sample(&[record.as_bytes(); 25]));
    for line in [
        "-- `a.b` is left out: a dot",
        "-- `` is left out",
        "-- `deep.xxx",
        "```` BIGINT NOT NULL",
        "`é` STRING",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.len() < 1_500, "{text}");
}

#[test]
fn a_schema_is_a_draft_by_itself() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"it's","type":["null",
        {"type":"record","name":"I","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"next","type":["null","I"]}]}]},{"name":"l","type":{"type":"array","items":"int"}}]}"#;
    let avro = Format::Avro(AvroFormat { schema: schema.to_owned(), confluent: true, schema_id: Some(7) });
    let text = draft(Some(&avro), &[]);
    for line in [
        "`id` BIGINT",
        "`it's.t` TIMESTAMP(3)",
        "`it's.next.t` TIMESTAMP(3)",
        "-- `l` is left out",
        "'avro.schema-id' = '7'",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let proto = "message M { optional string name = 1; optional N n = 2; repeated int64 l = 3; } message N { optional bytes b = 1; }";
    let schema = ProtobufSchema::Proto(proto.to_owned());
    let protobuf = Format::Protobuf(ProtobufFormat { schema, message: "M".to_owned() });
    let text = draft(Some(&protobuf), &[]);
    for line in ["`name` STRING", "`n.b` BYTES", "-- `l` is left out", "'protobuf.message' = 'M'"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_sample_that_says_nothing_is_refused() {
    assert_eq!(infer(None, &[]), Err(InferError::NoValues { records: 0 }));
    assert_eq!(infer(None, &[RecordSample::default()]), Err(InferError::NoValues { records: 1 }));
    assert_eq!(infer(None, &sample(&[&[0, 0, 0, 0, 1, 2]])), Err(InferError::NeedsSchema));
    let error = infer(Some(&Format::json()), &sample(&[b"{}", b"[]"])).unwrap_err();
    assert_eq!(error.to_string(), "record 1 of the sample is not json: it is no object");
    let columns = infer(Some(&Format::Raw), &[]).unwrap().columns;
    assert_eq!(columns[0].data_type, DataType::String);
}

#[test]
fn the_readmes_tables_are_tables() {
    let readme = include_str!("../../../../README.md");
    let scripts = readme.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut compiled = 0;
    for script in scripts {
        let script = match script.contains("INSERT INTO") {
            true => script.to_owned(),
            false => format!(
                "{script} CREATE TABLE o (c BIGINT) WITH ('topic' = 'o', 'format' = 'json');
                 INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' HOUR))
                 GROUP BY window_start, window_end"
            ),
        };
        plan(&script);
        compiled += 1;
    }
    assert_eq!(compiled, 3);
}
