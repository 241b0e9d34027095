//! `logmill pipeline infer`: tables drafted from a file, from standard input and from a topic.

use std::io::Read;

use logmill_tests::process::{Process, Scratch, run};
use serde_json::Value;

/// Flights as they lie in the file, and as objects: the table drafted of them, pasted into a script, reads every one.
#[test]
fn a_drafted_table_reads_its_sample() {
    let mut csv = String::new();
    flate2::read::MultiGzDecoder::new(&include_bytes!("../../config/demo/flights-2013-01.csv.gz")[..])
        .read_to_string(&mut csv)
        .expect("the demo's flights");
    let lines: Vec<&str> = csv.lines().take(901).collect();
    let names: Vec<&str> = lines[0].split(',').collect();
    let object = |line: &&str| {
        let value = |text: &str| match (text, text.parse::<i64>()) {
            ("NA", _) => Value::Null,
            (_, Ok(number)) => number.into(),
            (text, _) => text.into(),
        };
        let fields = names.iter().zip(line.split(',')).map(|(name, text)| ((*name).to_owned(), value(text)));
        Value::Object(fields.collect()).to_string()
    };
    let objects: Vec<String> = lines[1..].iter().map(object).collect();
    let records: Vec<&str> = lines[1..].to_vec();
    let scratch = Scratch::new();
    let file = |name: &str, text: &str| {
        std::fs::write(scratch.path(name), text).expect("a file");
        scratch.path(name).display().to_string()
    };
    let csv = file("flights.csv", &lines.join("\r\n"));
    let jsonl = file("objects.jsonl", &objects.join("\n"));
    let of_csv = run(&["pipeline", "infer", &csv, "--header"], &[], "");
    let of_json = run(&["pipeline", "infer", &jsonl, "--topic", "flights"], &[], "");
    for (drafted, sample) in [(&of_csv, records.join("\n")), (&of_json, objects.join("\n"))] {
        assert!(drafted.status.success(), "{}", drafted.log);
        for part in [
            "CREATE TABLE flights (",
            "dep_delay BIGINT,",
            "carrier STRING NOT NULL",
            "time_hour TIMESTAMP(3) NOT NULL",
            "WATERMARK FOR time_hour AS time_hour - INTERVAL",
            "'topic' = 'flights'",
        ] {
            assert!(drafted.out.contains(part), "{part}: {}", drafted.out);
        }
        let case = tempfile::tempdir_in(scratch.path(".")).expect("a folder");
        let put = |name: &str, text: &str| {
            let path = case.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        let script = format!(
            "{} CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
             INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '365' DAY))
             GROUP BY window_start, window_end",
            drafted.out
        );
        put("pipeline.sql", &script);
        put("input/flights.jsonl", &sample);
        put("expected/o.jsonl", "{\"n\": 900}\n");
        let tried = run(&["pipeline", "test", &case.path().display().to_string()], &[], "");
        assert!(tried.status.success(), "{} {}\n{script}", tried.out, tried.log);
    }
    let document = run(&["pipeline", "infer", "-", "--topic", "t", "--output", "json"], &[], "{\"id\":1}\n");
    let document: Value = serde_json::from_str(&document.out).expect("a document");
    assert_eq!(
        (&document["columns"][0]["column"], &document["columns"][0]["type"]),
        (&"id".into(), &"BIGINT".into())
    );
    for (arguments, said) in [
        (&["pipeline", "infer", "-"][..], "--topic NAME"),
        (&["pipeline", "infer", "-", "--topic", "t"], "none of the 0 records has a value"),
        (&["pipeline", "infer", "--topic", "t", "--format", "avro"], "--schema FILE"),
        (&["pipeline", "infer", "no-such-file"], "cannot read no-such-file"),
    ] {
        let failed = run(arguments, &[], "");
        assert!(!failed.status.success() && failed.log.contains(said), "{arguments:?}: {}", failed.log);
    }
    let broker = Process::serve(&scratch, "broker", "data");
    broker.run_with_input(&["produce", "orders", "--key-delimiter", ":"], "a:{\"id\":1}\nb:{\"id\":2.5}\n");
    let drafted = broker.run(&["pipeline", "infer", "--topic", "orders", "--table", "o"]);
    for part in
        ["CREATE TABLE o (", "`id` DOUBLE", "record_key STRING METADATA FROM 'key'", "'topic' = 'orders'"]
    {
        assert!(drafted.contains(part), "{part}: {drafted}");
    }
    assert!(broker.stop().status.success());
}

#[test]
fn a_draft_claims_no_more_than_its_sample_shows() {
    let lines: String = (0..30).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let draft = |arguments: &[&str], input: &str| {
        let drafted = run(&[&["pipeline", "infer", "-", "--topic", "t"], arguments].concat(), &[], input);
        assert!(drafted.status.success(), "{}", drafted.log);
        drafted.out
    };
    let whole = draft(&["--records", "30"], &lines);
    assert!(whole.contains("`id` BIGINT NOT NULL") || whole.contains("id BIGINT NOT NULL"), "{whole}");
    let part = draft(&["--records", "29"], &lines);
    assert!(part.contains("the first 29 records all have id") && !part.contains("BIGINT NOT NULL"), "{part}");
    // A line of names is no record.
    let csv: String = (0..30).map(|id| format!("{id},{}\n", id * 2)).collect();
    let named = format!("id,twice\n{csv}");
    let note = "looks like the fields' names: say --header";
    assert!(draft(&[], &named).contains(note));
    assert!(!draft(&["--header"], &named).contains(note) && !draft(&[], &csv).contains(note));
    let scratch = Scratch::new();
    let packed = scratch.path("flights.csv.gz");
    std::fs::write(&packed, include_bytes!("../../config/demo/flights-2013-01.csv.gz")).expect("a file");
    let refused = run(&["pipeline", "infer", &packed.display().to_string(), "--header"], &[], "");
    assert!(refused.status.code() == Some(2) && refused.log.contains("gunzip -c"), "{}", refused.log);
}
