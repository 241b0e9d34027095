//! Plans built in Rust, beside the scripts that say the same.

use std::time::Duration;

use logmill_stream::DataType::{self, BigInt, Double, String as Text, Timestamp};
use logmill_stream::builder::{
    Item, Query, Script, Table, avg, call, case, col, column_of, count, count_all, lit, max, null, raw,
    source, sum,
};
use logmill_stream::{Argument, FunctionSignature, Functions, Value, compile};

const TABLES: &str = "
CREATE TABLE bids (auction BIGINT, bidder BIGINT, price DOUBLE, channel STRING, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('topic' = 'bids', 'format' = 'json', 'on-error' = 'skip');
CREATE TABLE people (id BIGINT NOT NULL, name STRING, ts TIMESTAMP(3) METADATA FROM 'timestamp', day AS FLOOR(ts TO DAY),
  PRIMARY KEY (id) NOT ENFORCED, WATERMARK FOR ts AS ts)
  WITH ('topic' = 'people', 'format' = 'json');
";

fn bids() -> Query {
    let table = Table::new("bids", "bids")
        .column("auction", BigInt)
        .column("bidder", BigInt)
        .column("price", Double)
        .column("channel", Text)
        .column("ts", Timestamp)
        .watermark("ts", Duration::from_secs(4))
        .option("on-error", "skip");
    source(table)
}

fn people() -> Table {
    Table::new("people", "people")
        .required("id", BigInt)
        .column("name", Text)
        .metadata("ts", Timestamp, "timestamp")
        .computed("day", raw("FLOOR(ts TO DAY)"))
        .primary_key(["id"])
        .watermark("ts", Duration::ZERO)
}

fn out(columns: &[(&str, DataType)]) -> Table {
    columns.iter().fold(Table::new("o", "out"), |table, (name, data_type)| table.column(name, *data_type))
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}

/// The builder's plan is the script's: as data, as text, and in the identities that state is kept under.
#[track_caller]
fn same(built: &Script, sink: &str, insert: &str) {
    let built_plan = built.plan().unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&built.sql())));
    let text = format!("{TABLES} {sink}; {insert};");
    let plan = compile(&text).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&text)));
    assert_eq!(built_plan.explain(), plan.explain());
    assert_eq!(built_plan.identities(), plan.identities());
    assert_eq!(built_plan, plan);
}

#[test]
fn filters_and_expressions() {
    let built = bids()
        .filter(col("price").gt(3.5).and(col("channel").like("a%'b").or(col("bidder").is_in([1, 2, -3]))))
        .filter(!col("auction").is_null())
        .select([
            col("auction").into(),
            ((col("auction") + 1) * lit(2) - col("bidder") % 7).named("n"),
            case(col("price").between(1.0, 2e9), "cheap")
                .when(col("bidder").eq(1), null())
                .otherwise("dear")
                .named("c"),
            call("UPPER", [col("channel").concat("!")]).named("u"),
            (-col("price") / 2).cast(BigInt).named("p"),
        ])
        .sink(out(&[("a", BigInt), ("n", BigInt), ("c", Text), ("u", Text), ("p", BigInt)]));
    same(
        &built,
        "CREATE TABLE o (a BIGINT, n BIGINT, c STRING, u STRING, p BIGINT) WITH ('topic' = 'out', 'format' = 'json')",
        "INSERT INTO o SELECT auction, (auction + 1) * 2 - bidder % 7 AS n,
           CASE WHEN price BETWEEN 1e0 AND 2e9 THEN 'cheap' WHEN bidder = 1 THEN NULL ELSE 'dear' END AS c,
           UPPER(channel || '!') AS u, CAST(-price / 2 AS BIGINT) AS p
         FROM bids WHERE (price > 3.5e0 AND (channel LIKE 'a%''b' OR bidder IN (1, 2, -3))) AND NOT auction IS NULL",
    );
}

#[test]
fn windows_and_aggregates() {
    let built = bids()
        .hop("ts", hours(1), hours(6))
        .filter(col("price").gt_eq(0))
        .group_by([col("window_start"), col("window_end"), col("channel")])
        .filter(count_all().gt(1))
        .select([
            col("window_start").into(),
            col("channel").into(),
            count(col("bidder")).distinct().named("bidders"),
            sum(col("price")).only_where(col("bidder").not_eq(0)).named("total"),
            (avg(col("price")) + max(col("price"))).named("x"),
        ])
        .allowing_lateness(hours(2))
        .sink(
            out(&[
                ("w", Timestamp),
                ("channel", Text),
                ("bidders", BigInt),
                ("total", Double),
                ("x", Double),
            ])
            .primary_key(["w", "channel"])
            .option("output", "upsert"),
        );
    same(
        &built,
        "CREATE TABLE o (w TIMESTAMP(3), channel STRING, bidders BIGINT, total DOUBLE, x DOUBLE,
           PRIMARY KEY (w, channel) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert')",
        "INSERT INTO o SELECT window_start, channel, COUNT(DISTINCT bidder) AS bidders,
           SUM(price) FILTER (WHERE bidder <> 0) AS total, AVG(price) + MAX(price) AS x
         FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '6' HOUR))
         WHERE price >= 0 GROUP BY window_start, window_end, channel HAVING COUNT(*) > 1
         EMIT ON CLOSE ALLOWING LATENESS INTERVAL '2' HOUR",
    );
}

#[test]
fn what_comes_before_windows_becomes_a_view() {
    let built = bids()
        .filter(col("price").gt(1))
        .session(["bidder"], "ts", hours(1))
        .group_by([col("window_start"), col("window_end"), col("bidder")])
        .select([col("bidder").into(), count_all().named("n")])
        .sink(out(&[("bidder", BigInt), ("n", BigInt)]));
    same(
        &built,
        "CREATE TABLE o (bidder BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         CREATE VIEW dear AS SELECT * FROM bids WHERE price > 1",
        "INSERT INTO o SELECT bidder, COUNT(*) AS n
         FROM TABLE(SESSION(TABLE dear PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '1' HOUR))
         GROUP BY window_start, window_end, bidder",
    );
}

#[test]
fn joins() {
    let sums = bids()
        .cumulate("ts", hours(1), hours(24))
        .group_by([col("bidder"), col("window_start"), col("window_end")])
        .select([col("bidder").into(), col("window_end").into(), sum(col("price")).named("total")])
        .called("s");
    let counts = bids()
        .cumulate("ts", hours(1), hours(24))
        .group_by([col("bidder"), col("window_start"), col("window_end")])
        .select([col("bidder").into(), col("window_end").into(), count_all().named("n")])
        .called("c");
    let on = column_of("s", "bidder")
        .eq(column_of("c", "bidder"))
        .and(column_of("s", "window_end").eq(column_of("c", "window_end")));
    let built = sums
        .left_join(counts, on)
        .select([column_of("s", "bidder").into(), column_of("s", "total").into(), column_of("c", "n").into()])
        .sink(out(&[("bidder", BigInt), ("total", Double), ("n", BigInt)]));
    let windows = "FROM TABLE(CUMULATE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY))
                   GROUP BY bidder, window_start, window_end";
    same(
        &built,
        "CREATE TABLE o (bidder BIGINT, total DOUBLE, n BIGINT) WITH ('topic' = 'out', 'format' = 'json')",
        &format!(
            "INSERT INTO o SELECT s.bidder, s.total, c.n
             FROM (SELECT bidder, window_end, SUM(price) AS total {windows}) AS s
             LEFT JOIN (SELECT bidder, window_end, COUNT(*) AS n {windows}) AS c
             ON s.bidder = c.bidder AND s.window_end = c.window_end"
        ),
    );
}

#[test]
fn versions_of_a_table() {
    let on = column_of("b", "bidder").eq(column_of("people", "id"));
    let built = bids()
        .called("b")
        .left_join_as_of(people(), column_of("b", "ts"), on)
        .select([column_of("b", "auction").into(), col("name").into(), col("day").into()])
        .sink(out(&[("auction", BigInt), ("name", Text), ("day", Timestamp)]));
    same(
        &built,
        "CREATE TABLE o (auction BIGINT, name STRING, day TIMESTAMP(3)) WITH ('topic' = 'out', 'format' = 'json')",
        "INSERT INTO o SELECT b.auction, name, day FROM bids AS b
         LEFT JOIN people FOR SYSTEM_TIME AS OF b.ts ON b.bidder = people.id",
    );
}

#[test]
fn ranks_unions_and_groups_without_windows() {
    let ranked = bids().select([
        col("auction").into(),
        col("price").into(),
        call("ROW_NUMBER", []).over([col("auction")], [col("price").descending()]).named("n"),
    ]);
    let built = ranked
        .filter(col("n").lt_eq(3))
        .select([col("auction").into(), col("price").into()])
        .union_all(bids().filter(col("price").lt(0)).select([col("auction").into(), col("price").into()]))
        .group_by([col("auction")])
        .select([Item::from(col("auction")), max(col("price")).named("price")])
        .state_ttl(hours(24))
        .sink(out(&[("auction", BigInt), ("price", Double)]).primary_key(["auction"]));
    same(
        &built,
        "CREATE TABLE o (auction BIGINT, price DOUBLE, PRIMARY KEY (auction) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json')",
        "INSERT INTO o SELECT auction, MAX(price) AS price FROM (
           SELECT auction, price FROM (SELECT auction, price,
             ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bids) AS r WHERE n <= 3
           UNION ALL SELECT auction, price FROM bids WHERE price < 0) AS u
         GROUP BY auction STATE TTL INTERVAL '1' DAY",
    );
}

#[test]
fn several_sinks_share_what_they_read() {
    let all = bids().select([col("auction").into()]).sink(out(&[("auction", BigInt)]));
    let second = Table::new("second", "second").column("channel", Text);
    let built = all.and(
        bids().select([col("channel").into()]).distinct().unbounded().sink(second.primary_key(["channel"])),
    );
    same(
        &built,
        "CREATE TABLE o (auction BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         CREATE TABLE second (channel STRING, PRIMARY KEY (channel) NOT ENFORCED)
         WITH ('topic' = 'second', 'format' = 'json')",
        "INSERT INTO o SELECT auction FROM bids; INSERT INTO second SELECT DISTINCT channel FROM bids UNBOUNDED",
    );
    assert_eq!(built.plan().unwrap().sources.len(), compile(&built.sql()).unwrap().sources.len());
}

#[test]
fn names_and_texts_are_taken_as_they_are() {
    let odd = "a `b` 'c' ; --";
    let table = Table::new("odd; table", "in").column(odd, Text);
    let built = source(table)
        .filter(col(odd).eq(odd))
        .select([col(odd).into()])
        .sink(Table::new("o", "out").column(odd, Text));
    let plan = built.plan().unwrap_or_else(|error| panic!("{error}\n{}", built.sql()));
    assert_eq!(plan.sources[0].columns[0].name, odd);
    assert_eq!(plan.sources[0].table, "odd; table");
    assert!(plan.explain().contains("= 'a `b` ''c'' ; --'"), "{}", plan.explain());
}

#[test]
fn an_error_speaks_of_the_script_that_was_built() {
    let built = bids().select([col("prize").into()]).sink(out(&[("p", Double)]));
    let error = built.plan().unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.help.as_str()),
        ("there is no column `prize`", "did you mean `price`?")
    );
    assert!(error.excerpt(&built.sql()).contains("`prize`"), "{}", error.excerpt(&built.sql()));
}

#[test]
fn functions_of_the_program_can_be_called() {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("half", &[Double], Double);
    let half = |arguments: &[Argument<'_>]| match arguments {
        [Argument::Double(value)] => Ok(Value::Double(value / 2.0)),
        other => Err(format!("{other:?}")),
    };
    functions.scalar(signature, half).unwrap();
    let built = bids().select([call("half", [col("price")]).named("h")]).sink(out(&[("h", Double)]));
    assert!(built.plan().is_err());
    assert!(built.plan_with(&functions).unwrap().explain().contains("half#"));
}
