//! Cases of pipelines, `logmill pipeline test`: what a case expects holds wherever epochs end.

use std::path::PathBuf;

use logmill_tests::process::{Scratch, run};

const SOURCE: &str = "CREATE TABLE a (id BIGINT, g STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
     WITH ('topic' = 'a', 'format' = 'json');";

/// Three rows of two groups, which come at different times.
const INPUT: &str = r#"{"id": 1, "g": "x", "p": 5, "ts": 1000}
{"id": 2, "g": "x", "p": 7, "ts": 2000}
{"id": 1, "g": "y", "p": 6, "ts": 2000}
{"id": 3, "g": "x", "p": 6, "ts": 3000}
"#;

struct Case {
    directory: PathBuf,
    _scratch: Scratch,
}

impl Case {
    /// A case whose script writes the topic `o`.
    fn new(columns: &str, options: &str, query: &str) -> Case {
        let scratch = Scratch::new();
        let directory = scratch.path("case");
        for folder in ["input", "expected"] {
            std::fs::create_dir_all(directory.join(folder)).expect("a folder");
        }
        let case = Case { directory, _scratch: scratch };
        let table = format!("CREATE TABLE o ({columns}) WITH ('topic' = 'o', 'format' = 'json' {options});");
        case.put("pipeline.sql", &format!("{SOURCE} {table} INSERT INTO o {query};"));
        case.put("input/a.jsonl", INPUT);
        case
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).expect("a file");
    }

    fn expected(&self) -> String {
        std::fs::read_to_string(self.directory.join("expected/o.jsonl")).expect("a file")
    }

    /// Whether it passes, and what is said.
    fn test(&self, more: &[&str]) -> (bool, String) {
        let directory = self.directory.display().to_string();
        let arguments = [&["pipeline", "test", directory.as_str()], more].concat();
        let tested = run(&arguments, &[], "");
        (tested.status.success(), tested.out + &tested.log)
    }

    /// What is written as expected is what is given, and is not when a line of it is another one.
    #[track_caller]
    fn passes(&self, expected: &str, other: (&str, &str)) {
        let (updated, said) = self.test(&["--update"]);
        assert!(updated, "{said}");
        assert_eq!(self.expected(), expected);
        let (passed, said) = self.test(&[]);
        assert!(passed, "{said}");
        let wrong = expected.replacen(other.0, other.1, 1);
        assert_ne!(wrong, expected);
        self.put("expected/o.jsonl", &wrong);
        let (passed, said) = self.test(&[]);
        assert!(!passed && said.contains("FAILED"), "{said}");
        // A row more than expected is a difference, too.
        self.put("expected/o.jsonl", expected.split_inclusive('\n').next().expect("a line"));
        assert_eq!(self.test(&[]).0, expected.lines().count() == 1);
    }
}

const COUNTED: &str = "{\"g\":\"x\",\"n\":3}\n{\"g\":\"y\",\"n\":1}\n";
const COUNT: &str = "SELECT g, COUNT(*) FROM a GROUP BY g UNBOUNDED";
const KEYED: &str = "g STRING, n BIGINT, PRIMARY KEY (g) NOT ENFORCED";

#[test]
fn of_a_table_with_a_key_the_last_rows_count() {
    let by_last_change: String = COUNTED.split_inclusive('\n').rev().collect();
    Case::new(KEYED, "", COUNT).passes(&by_last_change, ("3", "2"));
    // In any order, and as whole records, too.
    let case = Case::new(KEYED, "", COUNT);
    case.put("expected/o.jsonl", "{\"n\":3,\"g\":\"x\"}\n{\"g\":\"y\",\"n\":1}\n");
    assert!(case.test(&[]).0);
    std::fs::remove_file(case.directory.join("expected/o.jsonl")).expect("it was there");
    let record =
        |key: &str, n: u64| format!("{{\"key\":\"{key}\",\"value\":{{\"g\":\"{key}\",\"n\":{n}}}}}\n");
    case.put("expected/o.records.jsonl", &[record("x", 1), record("y", 1), record("x", 3)].concat());
    let (passed, said) = case.test(&[]);
    assert!(passed, "{said}");
}

#[test]
fn of_changes_rows_that_are_gone_may_have_been_written() {
    let ranked =
        "SELECT g, id, p FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY p DESC) AS r FROM a)
                  WHERE r <= 2 UNBOUNDED";
    let key = "g STRING, id BIGINT, p BIGINT, PRIMARY KEY (g, id) NOT ENFORCED";
    let left =
        "{\"g\":\"x\",\"id\":2,\"p\":7}\n{\"g\":\"x\",\"id\":3,\"p\":6}\n{\"g\":\"y\",\"id\":1,\"p\":6}\n";
    let case = Case::new(key, ", 'output' = 'changes'", ranked);
    let (updated, said) = case.test(&["--update"]);
    assert!(updated, "{said}");
    let mut lines: Vec<String> = case.expected().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.join("\n") + "\n", left);
    case.passes(&case.expected(), ("7", "8"));
}

#[test]
fn of_rows_that_are_taken_back_those_count_that_are_left() {
    let given =
        |g: &str, n: u64| format!("{{\"before\":null,\"after\":{{\"g\":\"{g}\",\"n\":{n}}},\"op\":\"c\"}}\n");
    let rows = given("y", 1) + &given("x", 3);
    let case = Case::new("g STRING, n BIGINT", ", 'output' = 'retract'", COUNT);
    case.passes(&rows, ("3", "2"));
    let changed = "{\"before\":{\"g\":\"x\",\"n\":2},\"after\":{\"g\":\"x\",\"n\":3},\"op\":\"u\"}\n";
    case.put("expected/o.jsonl", &(given("x", 2) + &given("y", 1) + changed));
    let (passed, said) = case.test(&[]);
    assert!(passed, "{said}");
}

#[test]
fn of_whole_tables_the_last_one_counts() {
    Case::new(KEYED, ", 'output' = 'complete'", COUNT).passes(COUNTED, ("3", "2"));
}

#[test]
fn rows_that_are_only_added_may_come_in_another_order_with_other_epochs() {
    let first = "SELECT id, p FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS r FROM a) WHERE r = 1 UNBOUNDED";
    let case = Case::new("id BIGINT, p BIGINT", "", first);
    let row = |id: u64, p: u64, ts: u64| format!("{{\"id\": {id}, \"p\": {p}, \"ts\": {ts}}}\n");
    case.put("input/a.jsonl", &[row(1, 5, 0), row(1, 7, 1000), row(2, 6, 0)].concat());
    let (updated, said) = case.test(&["--update"]);
    assert!(updated, "{said}");
    case.passes(&case.expected(), ("6", "8"));
    // The order of the whole run is that of its input.
    let case = Case::new("id BIGINT", "", "SELECT id FROM a");
    let rows = "{\"id\":1}\n{\"id\":2}\n{\"id\":1}\n{\"id\":3}\n";
    case.passes(rows, ("{\"id\":1}\n{\"id\":2}", "{\"id\":2}\n{\"id\":1}"));
}

#[test]
fn time_stands_still() {
    let case = Case::new("t TIMESTAMP(3)", "", "SELECT NOW() FROM a");
    case.passes(&"{\"t\":\"1970-01-01T00:00:00Z\"}\n".repeat(4), ("1970", "1971"));
    let second = "TABLE(TUMBLE(TABLE a, DESCRIPTOR(seen), INTERVAL '1' SECOND))";
    let counted = format!("SELECT COUNT(*) FROM {second} GROUP BY window_start, window_end");
    let case = Case::new("n BIGINT", "", &counted);
    let script = std::fs::read_to_string(case.directory.join("pipeline.sql")).expect("a script");
    case.put("pipeline.sql", &script.replace("WATERMARK", "seen AS PROCTIME(), WATERMARK"));
    case.passes("{\"n\":4}\n", ("4", "5"));
}

/// A `DECIMAL` has more digits than a float, in whole records, too.
#[test]
fn decimals_keep_every_digit() {
    let case = Case::new("amount DECIMAL(38, 2)", "", "SELECT amount FROM a");
    let script = std::fs::read_to_string(case.directory.join("pipeline.sql")).expect("a script");
    case.put("pipeline.sql", &script.replace("p BIGINT", "amount DECIMAL(38, 2)"));
    std::fs::remove_file(case.directory.join("input/a.jsonl")).expect("it was there");
    let row = |amount: &str| format!("{{\"amount\":{amount}}}\n");
    let record = |amount: &str| format!("{{\"key\":null,\"value\":{}}}\n", row(amount).trim_end());
    let given = "12345678901234567.89";
    let input = "{\"value\": {\"ts\": 0, \"amount\": AMOUNT}, \"headers\": {\"n\": 1.50}, \"timestamp\": 7, \"partition\": 0}\n";
    case.put("input/a.records.jsonl", &input.replace("AMOUNT", given));
    case.passes(&row(given), (".89", ".12"));
    // Any way to write the same number will do.
    case.put("expected/o.jsonl", &row("1234567890123456789.0e-2"));
    let (passed, said) = case.test(&[]);
    assert!(passed, "{said}");
    std::fs::remove_file(case.directory.join("expected/o.jsonl")).expect("it was there");
    let records = case.directory.join("expected/o.records.jsonl");
    case.put("expected/o.records.jsonl", "");
    let (updated, said) = case.test(&["--update"]);
    assert!(updated, "{said}");
    assert_eq!(std::fs::read_to_string(&records).expect("a file"), record(given));
    case.put("expected/o.records.jsonl", &record("12345678901234567.12"));
    let (passed, said) = case.test(&[]);
    assert!(
        !passed && said.contains("given: {\"key\":null,\"value\":{\"amount\":12345678901234567.89}}"),
        "{said}"
    );
}

/// Ends for all numbers but 0: `(module (func (export "spin") (param i64) (result i64) (loop (br_if 0 (i64.eqz
/// (local.get 0)))) (local.get 0)))`, in base64.
const SPIN: &str = "AGFzbQEAAAABBgFgAX4BfgMCAQAHCAEEc3BpbgAACg4BDAADQCAAUA0ACyAACw==";

/// Of the binary that users have: how an interpreter gets from one instruction to the next can differ between builds.
#[test]
fn a_function_that_never_ends_costs_its_record_and_not_the_process() {
    let case = Case::new("x BIGINT", "", "SELECT spin(id - 2) FROM a");
    let script = std::fs::read_to_string(case.directory.join("pipeline.sql")).expect("a script");
    let function = format!("CREATE FUNCTION spin(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{SPIN}';");
    let skipping = script.replacen("'format' = 'json'", "'format' = 'json', 'on-error' = 'skip'", 1);
    assert_ne!(script, skipping);
    case.put("pipeline.sql", &format!("{function} {skipping}"));
    case.passes("{\"x\":-1}\n{\"x\":-1}\n{\"x\":1}\n", ("-1", "0"));
}
