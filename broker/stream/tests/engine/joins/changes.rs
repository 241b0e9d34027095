//! Joins whose state only the script bounds, and tables whose rows replace one another.

use logmill_stream::EpochLimits;

use super::{STREAMS, TABLES, check_rows, check_table, filled, table};
use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

const SALES: [(&str, &str); 2] = [
    (
        "s",
        r#"{"id": 1, "seller": 7, "category": 10}
           {"id": 2, "seller": 8, "category": 10}
           {"id": 3, "seller": 7, "category": 11}
           {"id": 4, "seller": 9, "category": 10}
           {"id": 5, "seller": 7, "category": 10}"#,
    ),
    (
        "p",
        r#"7 => {"id": 7, "name": "ann", "state": "OR"}
           8 => {"id": 8, "name": "bob", "state": "CA"}
           9 => {"id": 9, "name": "cy", "state": "NY"}
           7 => {"id": 7, "name": "anna", "state": "OR"}
           8 =>"#,
    ),
];

#[test]
fn kept_for_ever() {
    // Nexmark q3, over people who change.
    let script = format!(
        "{TABLES} INSERT INTO o SELECT s.id, p.name, s.category
         FROM s INNER JOIN p ON s.seller = p.id
         WHERE s.category = 10 AND (p.state = 'OR' OR p.state = 'CA') UNBOUNDED"
    );
    check_table(
        &script,
        &SALES,
        r#"1 => {"id":1,"name":"anna","n":10}
           5 => {"id":5,"name":"anna","n":10}"#,
    );
}

#[test]
fn rows_without_a_partner_come_and_go() {
    let script = |kind: &str| {
        format!(
            "{TABLES} INSERT INTO o SELECT COALESCE(s.id, p.id * 100), p.name, category
             FROM s {kind} JOIN p ON s.seller = p.id AND s.category = 10 STATE TTL INTERVAL '1' DAY"
        )
    };
    check_table(
        &script("LEFT"),
        &SALES,
        r#"1 => {"id":1,"name":"anna","n":10}
           2 => {"id":2,"name":null,"n":10}
           3 => {"id":3,"name":null,"n":11}
           4 => {"id":4,"name":"cy","n":10}
           5 => {"id":5,"name":"anna","n":10}"#,
    );
    let sold_by_others = [
        ("s", r#"{"id": 1, "seller": 9, "category": 10}"#),
        (
            "p",
            r#"7 => {"id": 7, "name": "ann"}
               8 => {"id": 8, "name": "bob"}
               9 => {"id": 9, "name": "cy"}
               7 => {"id": 7, "name": "anna"}
               8 =>"#,
        ),
    ];
    let full = r#"1 => {"id":1,"name":"cy","n":10}
        700 => {"id":700,"name":"anna","n":null}"#;
    check_table(&script("FULL"), &sold_by_others, full);
    check_table(&script("RIGHT"), &sold_by_others, full);
}

#[test]
fn every_change_of_a_left_join() {
    let script = format!(
        "{TABLES} INSERT INTO log SELECT s.id, p.name FROM s LEFT JOIN p ON s.seller = p.id UNBOUNDED"
    );
    let inputs = [
        ("s", r#"{"id": 1, "seller": 7}"#),
        (
            "p",
            r#"8 => {"id": 8, "name": "bob"}
               7 => {"id": 7, "name": "ann"}
               7 => {"id": 7, "name": "ann", "state": "not read"}
               7 => {"id": 7, "name": "anna"}
               7 =>"#,
        ),
    ];
    let plan = plan(&script);
    let mut logs = filled(&inputs, 1);
    run_bounded(&plan, &mut logs, small_epochs(1), 1).unwrap();
    assert_eq!(
        logs.values("out"),
        [
            r#"{"before":null,"after":{"id":1,"name":null},"op":"c"}"#,
            r#"{"before":{"id":1,"name":null},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"id":1,"name":"ann"},"op":"c"}"#,
            r#"{"before":{"id":1,"name":"ann"},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"id":1,"name":"anna"},"op":"c"}"#,
            r#"{"before":{"id":1,"name":"anna"},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"id":1,"name":null},"op":"c"}"#,
        ]
    );
    // Within one epoch it never was otherwise.
    let mut logs = filled(&inputs, 1);
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    assert_eq!(logs.values("out"), [r#"{"before":null,"after":{"id":1,"name":null},"op":"c"}"#]);
}

#[test]
fn aggregates_of_a_join_follow_its_changes() {
    check_table(
        &format!(
            "{TABLES} INSERT INTO o SELECT p.id, MAX(p.name), COUNT(*)
             FROM s JOIN p ON s.seller = p.id GROUP BY p.id UNBOUNDED"
        ),
        &SALES,
        r#"7 => {"id":7,"name":"anna","n":3}
           9 => {"id":9,"name":"cy","n":1}"#,
    );
}

#[test]
fn several_joins_in_a_row() {
    // Nexmark q23, and what a comma means.
    let inputs = [
        (
            "a",
            r#"{"id": 1, "k": "u", "x": 10, "ts": 0}
                 {"id": 2, "k": "v", "x": 11, "ts": 0}
                 {"id": 3, "k": "u", "x": 12, "ts": 0}"#,
        ),
        (
            "b",
            r#"{"id": 10, "k": "u", "y": 7, "ts": 0}
                 {"id": 11, "k": "u", "y": 7, "ts": 0}
                 {"id": 12, "k": "u", "y": 8, "ts": 0}"#,
        ),
        ("p", r#"7 => {"id": 7, "name": "ann"}"#),
    ];
    let tables = TABLES.replace("CREATE TABLE o ", "CREATE TABLE o2 ");
    for query in [
        "SELECT a.id, p.id FROM a JOIN b ON a.x = b.id JOIN p ON b.y = p.id WHERE a.k = b.k UNBOUNDED",
        "SELECT a.id, p.id FROM a, b, p WHERE b.y = p.id AND a.x = b.id AND a.k = b.k UNBOUNDED",
        "SELECT a.id, p.id FROM a, b JOIN p ON b.y = p.id WHERE a.x = b.id AND a.k = b.k UNBOUNDED",
        "SELECT a.id, p.id FROM a, (b JOIN p ON b.y = p.id) WHERE a.x = b.id AND a.k = b.k UNBOUNDED",
        "SELECT q.id, p.id FROM (SELECT a.id AS id, y FROM a JOIN b ON a.x = b.id AND a.k = b.k) AS q \
         JOIN p ON q.y = p.id UNBOUNDED",
    ] {
        let script = format!("{STREAMS} {tables} INSERT INTO o {query}").replace(
            "CREATE TABLE o (l BIGINT, r BIGINT) WITH ('topic' = 'out', 'format' = 'json')",
            "CREATE TABLE o (l BIGINT, r BIGINT, PRIMARY KEY (l) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json')",
        );
        check_table(&script, &inputs, r#"1 => {"l":1,"r":7}"#);
    }
}

#[test]
fn conditions_behind_an_outer_join_stay_behind_it() {
    let script =
        |query: &str| format!("{TABLES} INSERT INTO o SELECT s.id, p.name, category FROM {query} UNBOUNDED");
    // For the row without a partner the condition is not true.
    check_table(
        &script("s LEFT JOIN p ON s.seller = p.id WHERE p.state <> 'NY' AND s.id < 5"),
        &SALES,
        r#"1 => {"id":1,"name":"anna","n":10}
           3 => {"id":3,"name":"anna","n":11}"#,
    );
    check_table(
        &script("s LEFT JOIN p ON s.seller = p.id AND p.state <> 'NY' WHERE s.id > 3"),
        &SALES,
        r#"4 => {"id":4,"name":null,"n":10}
           5 => {"id":5,"name":"anna","n":10}"#,
    );
    check_table(
        &script(
            "p RIGHT JOIN s ON s.seller = p.id AND p.state = 'NY' WHERE p.id IS NULL AND s.category = 11",
        ),
        &SALES,
        r#"3 => {"id":3,"name":null,"n":11}"#,
    );
}

#[test]
fn columns_in_common() {
    let tables = "CREATE TABLE l (k BIGINT, x BIGINT) WITH ('topic' = 'l', 'format' = 'json');
        CREATE TABLE r (k BIGINT, y BIGINT) WITH ('topic' = 'r', 'format' = 'json');
        CREATE TABLE o (k BIGINT, x BIGINT, y BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'append');
        CREATE TABLE t (k BIGINT, x BIGINT, y BIGINT, PRIMARY KEY (k) NOT ENFORCED)
        WITH ('topic' = 'out', 'format' = 'json');";
    let inputs = [
        (
            "l",
            r#"{"k": 1, "x": 10}
                 {"k": 2, "x": 20}"#,
        ),
        (
            "r",
            r#"{"k": 2, "y": 200}
                 {"k": 3, "y": 300}"#,
        ),
    ];
    check_rows(
        &format!("{tables} INSERT INTO o SELECT * FROM l JOIN r USING (k) WHERE k > 0 AND r.k < 3 UNBOUNDED"),
        &inputs,
        r#"{"k":2,"x":20,"y":200}"#,
    );
    check_table(
        &format!("{tables} INSERT INTO t SELECT k, x, y FROM l RIGHT JOIN r USING (k) UNBOUNDED"),
        &inputs,
        r#"2 => {"k":2,"x":20,"y":200}
           3 => {"k":3,"x":null,"y":300}"#,
    );
    check_rows(
        &format!("{tables} INSERT INTO o SELECT l.k, x, y FROM l CROSS JOIN r WHERE l.k < r.k UNBOUNDED"),
        &inputs,
        r#"{"k":1,"x":10,"y":200}
           {"k":1,"x":10,"y":300}
           {"k":2,"x":20,"y":300}"#,
    );
}

#[test]
fn a_table_that_is_written_is_read_back() {
    let counts = "CREATE TABLE src (k STRING, n DECIMAL(10, 2), at TIMESTAMP(3), x BIGINT)
          WITH ('topic' = 'src', 'format' = 'json');
        CREATE TABLE counts (k STRING, n DECIMAL(10, 2), at TIMESTAMP(3), c BIGINT, PRIMARY KEY (KEYS) NOT ENFORCED)
          WITH ('topic' = 'counts', 'format' = 'json');";
    let copy = "CREATE TABLE copy (k STRING, n DECIMAL(10, 2), at TIMESTAMP(3), c BIGINT, PRIMARY KEY (KEYS) NOT ENFORCED)
          WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO copy SELECT k, n, at, c FROM counts";
    // A group with more than one row is gone.
    let input = [
        (
            "src",
            r#"{"k": "a\"b", "n": 1.50, "at": 1000, "x": 1}
                   {"k": "c", "n": 2, "at": 2000, "x": 1}
                   {"k": "a\"b", "n": 1.50, "at": 1000, "x": 1}
                   {"k": "d", "n": -7, "at": 3000, "x": 1}
                   {"k": "c", "n": 2, "at": 2000, "x": 1}
                   {"k": "e", "n": 3, "at": 4000, "x": 1}"#,
        ),
        ("counts", ""),
    ];
    for keys in ["k", "n", "at", "k, n, at", "at, k"] {
        let counts = counts.replace("KEYS", keys);
        let groups = format!(
            "{counts} INSERT INTO counts SELECT {}, c FROM (SELECT {keys}, COUNT(*) AS c FROM src GROUP BY {keys})
             WHERE c = 1 UNBOUNDED",
            ["k", "n", "at"]
                .map(|column| if keys.contains(column) { column.to_owned() } else { "NULL".to_owned() })
                .join(", ")
        );
        let groups = plan(&groups);
        let copy = plan(&format!("{counts} {}", copy.replace("KEYS", keys)));
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let mut logs = filled(&input, 2);
            run_bounded(&groups, &mut logs, limits, 1).unwrap();
            let written = table(&logs, "counts");
            assert_eq!(written.len(), 2, "{keys}: {written:?}");
            let deleted = logs.records("counts").iter().filter(|(_, record)| record.value.is_none()).count();
            assert_eq!(deleted > 0, limits != EpochLimits::default(), "{keys}");
            let mut logs = MemoryLogs { changelog: Vec::new(), progress: Vec::new(), ..logs };
            run_bounded(&copy, &mut logs, limits, 1).unwrap();
            assert_eq!(table(&logs, "out"), written, "{keys}");
        }
    }
}

#[test]
fn a_key_that_cannot_be_read_is_the_records_error() {
    let script = |policy: &str| {
        format!(
            "CREATE TABLE p (id BIGINT, name STRING NOT NULL, PRIMARY KEY (id) NOT ENFORCED)
             WITH ('topic' = 'p', 'format' = 'json', 'on-error' = '{policy}');
             CREATE TABLE o (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT id, name FROM p"
        )
    };
    let inputs = [(
        "p",
        r#"1 => {"id": 1, "name": "a"}
                           2 => {"id": 2, "name": "b"}
                           2 =>
                           x =>
                           3 => {"id": 3, "name": "c"}"#,
    )];
    check_table(
        &script("skip"),
        &inputs,
        r#"1 => {"id":1,"name":"a"}
           3 => {"id":3,"name":"c"}"#,
    );
    let mut logs = filled(&inputs, 1);
    let error =
        run_bounded(&plan(&script("fail")), &mut logs, EpochLimits::default(), 0).unwrap_err().to_string();
    assert!(error.contains("p-0, offset 3") && error.contains("in the key: field `id` is"), "{error}");
}

#[test]
fn changes_that_another_system_writes() {
    let script = |key: &str| {
        format!(
            "CREATE TABLE p (id BIGINT, name STRING, at TIMESTAMP(3), ms AS CAST(at AS BIGINT) {key})
             WITH ('topic' = 'p', 'format' = 'debezium-json', 'on-error' = 'skip');
             CREATE TABLE s (id BIGINT, seller BIGINT) WITH ('topic' = 's', 'format' = 'json');
             CREATE TABLE o (name STRING, n BIGINT, ms BIGINT, PRIMARY KEY (name) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT name, COUNT(*), SUM(ms) FROM s JOIN p ON s.seller = p.id GROUP BY name UNBOUNDED"
        )
    };
    let inputs = [
        (
            "s",
            r#"{"id": 1, "seller": 7}
                 {"id": 2, "seller": 7}
                 {"id": 3, "seller": 8}"#,
        ),
        (
            "p",
            r#"7 => {"before": null, "after": {"id": 7, "name": "ann", "at": 1}, "op": "c"}
               8 => {"before": null, "after": {"id": 8, "name": "bob", "at": 1}, "op": "c"}
               7 => {"before": {"id": 7, "name": "ann", "at": 1}, "after": {"id": 7, "name": "anna", "at": 5}, "op": "u"}
               9 => {"before": {"id": 9, "at": "x"}, "after": {"id": 9, "at": "y"}, "op": "u"}
               8 => {"before": {"id": 8, "name": "bob", "at": 1}, "after": null, "op": "d"}
               8 =>"#,
        ),
    ];
    for key in ["", ", PRIMARY KEY (id) NOT ENFORCED"] {
        check_table(&script(key), &inputs, r#"anna => {"name":"anna","n":2,"ms":10}"#);
    }
}

#[test]
fn a_row_with_another_primary_key_leaves_none_behind() {
    let script = |key: &str| {
        format!(
            "CREATE TABLE p (id BIGINT, name STRING {key}) WITH ('topic' = 'p', 'format' = 'debezium-json');
             CREATE TABLE o (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT id, name FROM p"
        )
    };
    let inputs = [(
        "p",
        r#"{"before": null, "after": {"id": 7, "name": "ann"}, "op": "c"}
           {"before": {"id": 7, "name": "ann"}, "after": {"id": 8, "name": "ann"}, "op": "u"}
           {"before": {"id": 8, "name": "ann"}, "after": {"id": 8, "name": "anna"}, "op": "u"}"#,
    )];
    for key in ["", ", PRIMARY KEY (id) NOT ENFORCED"] {
        check_table(&script(key), &inputs, r#"8 => {"id":8,"name":"anna"}"#);
    }
}

/// Behind each deletion Debezium writes a record without a value, its key an object of its own.
#[test]
fn a_deletions_tombstone_is_passed_over() {
    let script = |key: &str| {
        format!(
            "CREATE TABLE p (id BIGINT, name STRING {key}) WITH ('topic' = 'p', 'format' = 'debezium-json');
             CREATE TABLE o (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT id, name FROM p"
        )
    };
    let inputs = [(
        "p",
        r#"{"id":7} => {"before": null, "after": {"id": 7, "name": "ann"}, "op": "c"}
           {"id":8} => {"before": null, "after": {"id": 8, "name": "bob"}, "op": "c"}
           {"id":8} => {"before": {"id": 8, "name": "bob"}, "after": null, "op": "d"}
           {"id":8} =>"#,
    )];
    for key in ["", ", PRIMARY KEY (id) NOT ENFORCED"] {
        check_table(&script(key), &inputs, r#"7 => {"id":7,"name":"ann"}"#);
    }
}
