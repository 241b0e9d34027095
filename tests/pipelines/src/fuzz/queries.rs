//! Random queries of some shapes.

use super::expressions::{Expressions, Kind};
use crate::final_rows::Mode;
use crate::random::Random;

/// One query in both languages; each column of the result has a place, and no name.
#[derive(Debug, Clone)]
pub struct Query {
    /// What kind of query it is.
    pub shape: &'static str,
    /// In this language, without its end.
    pub ours: String,
    /// In DuckDB's.
    pub duck: String,
    /// The types of the result's columns.
    pub columns: Vec<String>,
    /// What the records of the result mean.
    pub mode: Mode,
}

/// A text in both languages.
struct Both {
    ours: String,
    duck: String,
}

/// A select list: each item, and its type.
type Items = Vec<(String, String)>;

type Make = fn(&mut Random) -> Query;

/// The shapes, by name.
pub(super) const SHAPES: [(&str, Make); 14] = [
    ("distinct", distinct),
    ("filter", filter),
    ("group", group),
    ("interval_join", interval_join),
    ("join", join),
    ("join_group", join_group),
    ("nested", nested),
    ("over", over),
    ("session", session),
    ("top", top),
    ("union", union),
    ("window", window),
    ("window_join", window_join),
    ("window_top", window_top),
];

const ONE: &[&str] = &[""];
const PAIR: &[&str] = &["a.", "b."];

impl Query {
    pub(super) fn random(random: &mut Random) -> Query {
        let (shape, make) = SHAPES[random.below(SHAPES.len())];
        Query { shape, ..make(random) }
    }

    /// The query `text`, which has `from` in the place of `{}`.
    fn of(text: &str, from: &Both, items: Items, mode: Mode) -> Query {
        let list: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
        let of = |from: &str| text.replacen("{*}", &list.join(", "), 1).replace("{}", from);
        let (ours, duck) = (of(&from.ours), of(&from.duck));
        let columns = items.into_iter().map(|(_, data_type)| data_type).collect();
        Query { shape: "", ours, duck, columns, mode }
    }

    /// The same where the state has no bound.
    fn unbounded(self) -> Query {
        Query { ours: format!("{} UNBOUNDED", self.ours), ..self }
    }
}

fn same(text: &str) -> Both {
    Both { ours: text.to_owned(), duck: text.to_owned() }
}

/// ` WHERE` and a condition, at times.
fn maybe(word: &str, make: &mut Expressions<'_>, depth: u32) -> String {
    match make.random.below(2) {
        0 => String::new(),
        _ => format!(" {word} {}", make.condition(depth)),
    }
}

fn items(make: &mut Expressions<'_>, count: usize) -> Items {
    let item = |make: &mut Expressions<'_>| {
        let kind = make.pick(&Kind::ALL);
        (make.of(kind, 2), kind.sql().to_owned())
    };
    (0..count).map(|_| item(make)).collect()
}

/// What rows are grouped by.
fn keys(make: &mut Expressions<'_>) -> Items {
    let key = |make: &mut Expressions<'_>| match make.random.below(6) {
        0 => (format!("({} % 3)", make.column("v")), "BIGINT".to_owned()),
        1 => (format!("UPPER({})", make.column("k")), "STRING".to_owned()),
        2 => (make.column("t"), "BOOLEAN".to_owned()),
        3 => (make.column("g"), "BIGINT".to_owned()),
        _ => (make.column("k"), "STRING".to_owned()),
    };
    let mut keys = vec![key(make)];
    if make.random.below(3) == 0 {
        let more = key(make);
        if !keys.contains(&more) {
            keys.push(more);
        }
    }
    keys
}

fn names(items: &Items) -> String {
    items.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ")
}

/// An aggregate without OVER and FILTER.
fn call(make: &mut Expressions<'_>) -> (String, String) {
    let typed = |text: String, data_type: &str| (text, data_type.to_owned());
    match make.random.below(12) {
        0 => typed("COUNT(*)".to_owned(), "BIGINT"),
        1 | 2 => {
            let kind = make.pick(&Kind::ALL);
            let distinct = make.pick(&["", "DISTINCT "]);
            typed(format!("COUNT({distinct}{})", make.of(kind, 1)), "BIGINT")
        }
        3..=5 => {
            let distinct = make.pick(&["", "", "DISTINCT "]);
            let (kind, sum) = make.pick(&[
                (Kind::Number, "BIGINT"),
                (Kind::Decimal, "DECIMAL(38, 2)"),
                (Kind::Float, "DOUBLE"),
            ]);
            typed(format!("SUM({distinct}{})", make.of(kind, 1)), sum)
        }
        6 => {
            let distinct = make.pick(&["", "", "DISTINCT "]);
            let (kind, mean) = make.pick(&[
                (Kind::Number, "DOUBLE"),
                (Kind::Decimal, "DECIMAL(38, 6)"),
                (Kind::Float, "DOUBLE"),
            ]);
            typed(format!("AVG({distinct}{})", make.of(kind, 1)), mean)
        }
        7 => {
            let name = make.pick(&["VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV_SAMP"]);
            let kind = make.pick(&[Kind::Number, Kind::Float]);
            typed(format!("{name}({})", make.of(kind, 1)), "DOUBLE")
        }
        8 => {
            let name = make.pick(&["BOOL_AND", "BOOL_OR"]);
            typed(format!("{name}({})", make.condition(1)), "BOOLEAN")
        }
        _ => {
            let name = make.pick(&["MIN", "MAX"]);
            let kind = make.pick(&[Kind::Number, Kind::Decimal, Kind::Float, Kind::Text, Kind::Instant]);
            typed(format!("{name}({})", make.of(kind, 1)), kind.sql())
        }
    }
}

fn aggregates(make: &mut Expressions<'_>) -> Items {
    let count = 1 + make.random.below(3);
    let one = |make: &mut Expressions<'_>| {
        let (text, data_type) = call(make);
        match make.random.below(3) {
            0 => (format!("{text} FILTER (WHERE {})", make.condition(1)), data_type),
            _ => (text, data_type),
        }
    };
    (0..count).map(|_| one(make)).collect()
}

fn having(make: &mut Expressions<'_>) -> String {
    match make.random.below(4) {
        0 => format!(" HAVING COUNT(*) {} {}", make.pick(&[">", "<=", "<>"]), 1 + make.random.below(3)),
        1 => format!(" HAVING MAX({}) {} 3", make.column("v"), make.pick(&[">", "<="])),
        _ => String::new(),
    }
}

fn filter(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let items = items(&mut make, 3);
    let condition = maybe("WHERE", &mut make, 3);
    Query::of(&format!("SELECT {{*}} FROM {{}}{condition}"), &same("a"), items, Mode::Append)
}

fn union(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let kinds = [make.pick(&Kind::ALL), make.pick(&Kind::ALL)];
    let mut sides = Vec::new();
    for table in ["a", "b"] {
        let list = kinds.map(|kind| make.of(kind, 2)).join(", ");
        let condition = maybe("WHERE", &mut make, 2);
        sides.push(format!("SELECT {list} FROM {table}{condition}"));
    }
    let text = sides.join(" UNION ALL ");
    let columns = kinds.map(|kind| kind.sql().to_owned()).into();
    Query { shape: "", ours: text.clone(), duck: text, columns, mode: Mode::Append }
}

fn distinct(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let items = keys(&mut make);
    let condition = maybe("WHERE", &mut make, 2);
    let text = format!("SELECT DISTINCT {{*}} FROM {{}}{condition}");
    Query::of(&text, &same("a"), items, Mode::Retract).unbounded()
}

fn group(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let mut items = keys(&mut make);
    let by = names(&items);
    items.append(&mut aggregates(&mut make));
    let (condition, having) = (maybe("WHERE", &mut make, 2), having(&mut make));
    let text = format!("SELECT {{*}} FROM {{}}{condition} GROUP BY {by}{having}");
    Query::of(&text, &same("a"), items, Mode::Retract).unbounded()
}

/// Groups of groups, which change while rows come.
fn nested(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let by = keys(&mut make)[0].0.clone();
    let condition = maybe("WHERE", &mut make, 2);
    let inner = make.pick(&["MAX(v)", "SUM(v)", "MIN(g)", "COUNT(DISTINCT g)"]);
    let from = format!(
        "(SELECT {by} AS k, COUNT(*) AS g, {inner} AS v, MAX(n) AS n, MIN(f) AS f, BOOL_OR(t) AS t, MAX(ts) AS ts, \
         MIN(id) AS id FROM a{condition} GROUP BY {by}) AS s"
    );
    let having = having(&mut make);
    let key = make.pick(&["g", "v"]);
    let mut items = vec![(key.to_owned(), "BIGINT".to_owned())];
    // Of the inner query's columns `k` has a type of its own.
    items.extend(aggregates(&mut make).into_iter().filter(|(text, _)| !text.contains('k')));
    let text = format!("SELECT {{*}} FROM {{}} GROUP BY {key}{having}");
    Query::of(&text, &same(&from), items, Mode::Retract).unbounded()
}

fn kind_of_join(make: &mut Expressions<'_>) -> &'static str {
    make.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
}

/// `a JOIN b ON ...`, and `b` may be the other table or the same one.
fn joined(make: &mut Expressions<'_>) -> String {
    let (kind, other) = (kind_of_join(make), make.pick(&["a", "b"]));
    let columns = make.pick(&[&["k"][..], &["g"], &["t", "k"], &["v"], &["n"], &["g", "k"]]);
    let mut on: Vec<String> = columns.iter().map(|column| format!("a.{column} = b.{column}")).collect();
    if make.random.below(2) == 0 {
        on.push(make.condition(1));
    }
    format!("a {kind} {other} AS b ON {}", on.join(" AND "))
}

fn join(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, PAIR);
    let from = joined(&mut make);
    let mut items = items(&mut make, 1);
    items.extend(["a.id", "b.id"].map(|id| (id.to_owned(), "BIGINT".to_owned())));
    let condition = maybe("WHERE", &mut make, 2);
    let text = format!("SELECT {{*}} FROM {{}}{condition}");
    Query::of(&text, &same(&from), items, Mode::Retract).unbounded()
}

fn join_group(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, PAIR);
    let from = joined(&mut make);
    let mut items = keys(&mut make);
    let by = names(&items);
    items.append(&mut aggregates(&mut make));
    let (condition, having) = (maybe("WHERE", &mut make, 1), having(&mut make));
    let text = format!("SELECT {{*}} FROM {{}}{condition} GROUP BY {by}{having}");
    Query::of(&text, &same(&from), items, Mode::Retract).unbounded()
}

fn interval_join(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, PAIR);
    let kind = kind_of_join(&mut make);
    let key = make.pick(&["k", "g", "t"]);
    let (before, behind) = (make.random.below(30), make.random.below(30));
    let more = maybe("AND", &mut make, 1);
    let from = format!(
        "a {kind} b ON a.{key} = b.{key} AND b.ts BETWEEN a.ts - INTERVAL '{before}' SECOND AND a.ts + INTERVAL \
         '{behind}' SECOND{more}"
    );
    let mut items = items(&mut make, 1);
    items.extend(["a.id", "b.id"].map(|id| (id.to_owned(), "BIGINT".to_owned())));
    Query::of("SELECT {*} FROM {}", &same(&from), items, Mode::Append)
}

/// The best rows of each key, or of keys by what they have.
fn top(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let condition = maybe("WHERE", &mut make, 2);
    let (direction, nulls) = (make.pick(&["ASC", "DESC"]), make.pick(&["FIRST", "LAST"]));
    let count = 1 + make.random.below(4);
    let limit = make.pick(&["r <= ", "r < 1 + ", "r = "]);
    let typed = |text: &str, data_type: &str| (text.to_owned(), data_type.to_owned());
    if make.random.below(2) == 0 {
        let items = vec![typed("k", "STRING"), typed("x", "BIGINT"), typed("r", "BIGINT")];
        let inner = make.pick(&["COUNT(*)", "SUM(v)", "MAX(g)", "COUNT(DISTINCT v)"]);
        let from = format!(
            "(SELECT k, x, ROW_NUMBER() OVER (ORDER BY x {direction} NULLS {nulls}, k NULLS LAST) AS r FROM \
             (SELECT k, {inner} AS x FROM a{condition} GROUP BY k) AS s) AS s"
        );
        let text = format!("SELECT {{*}} FROM {{}} WHERE {limit}{count}");
        return Query::of(&text, &same(&from), items, Mode::Retract).unbounded();
    }
    let by = make.pick(&["v", "n", "f", "k", "ts"]);
    let partition = make.pick(&["k", "g", "t", "k, g"]);
    let rank = make.pick(&[Some("BIGINT"), None]);
    let mut items = vec![typed("id", "BIGINT"), typed("k", "STRING"), typed("n", "DECIMAL(10, 2)")];
    items.extend(rank.map(|data_type| typed("r", data_type)));
    let from = format!(
        "(SELECT *, ROW_NUMBER() OVER (PARTITION BY {partition} ORDER BY {by} {direction} NULLS {nulls}, id) AS r FROM \
         a{condition}) AS s"
    );
    let text = format!("SELECT {{*}} FROM {{}} WHERE {limit}{count}");
    Query::of(&text, &same(&from), items, Mode::Retract).unbounded()
}

/// Functions over the rows around a row.
fn over(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let partition = make.pick(&["k", "g", "t"]);
    let mut items = vec![("id".to_owned(), "BIGINT".to_owned())];
    for _ in 0..1 + make.random.below(2) {
        let frame = match make.random.below(4) {
            0 => "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
            1 => format!("ROWS BETWEEN {} PRECEDING AND CURRENT ROW", make.random.below(4)),
            2 => format!(
                "RANGE BETWEEN INTERVAL '{}' SECOND PRECEDING AND CURRENT ROW",
                1 + make.random.below(60)
            ),
            _ => String::new(),
        };
        let item = match make.random.below(4) {
            0 => (
                format!("LAG(v, {}) OVER (PARTITION BY {partition} ORDER BY ts)", 1 + make.random.below(2)),
                "BIGINT".to_owned(),
            ),
            _ => loop {
                // The other engine has no DISTINCT in all frames.
                let (text, data_type) = call(&mut make);
                if !text.contains("DISTINCT") || text.contains("DISTINCT FROM") {
                    break (format!("{text} OVER (PARTITION BY {partition} ORDER BY ts {frame})"), data_type);
                }
            },
        };
        items.push(item);
    }
    Query::of("SELECT {*} FROM {}", &same("a"), items, Mode::Append).unbounded()
}

/// A table with its windows.
fn windowed(make: &mut Expressions<'_>, table: &str) -> Both {
    let bucket = |size: usize| format!("time_bucket(INTERVAL {size} SECOND, ts, TIMESTAMP '1970-01-01')");
    let (ours, start, end, steps) = match make.random.below(3) {
        0 => {
            let size = make.pick(&[1, 5, 7, 60]);
            (
                format!("TUMBLE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '{size}' SECOND)"),
                bucket(size),
                size.to_string(),
                1,
            )
        }
        1 => {
            let (slide, size) = make.pick(&[(2, 10), (5, 7), (25, 60), (3, 3)]);
            let ours = format!(
                "HOP(TABLE {table}, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)"
            );
            let start = format!("{} - step * INTERVAL {slide} SECOND", bucket(slide));
            (ours, start, size.to_string(), size / slide + 1)
        }
        _ => {
            let (step, size) = make.pick(&[(2, 10), (20, 60), (5, 5)]);
            let ours = format!(
                "CUMULATE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '{step}' SECOND, INTERVAL '{size}' SECOND)"
            );
            (ours, bucket(size), format!("{step} * (step + 1)"), size / step)
        }
    };
    let duck = format!(
        "(SELECT {table}.*, {start} AS window_start, window_start + {end} * INTERVAL 1 SECOND AS window_end FROM \
         {table}, range({steps}) AS steps(step) WHERE ts < window_end)"
    );
    Both { ours: format!("TABLE({ours})"), duck }
}

/// A table in its sessions: of those that are of equal `k`.
fn in_sessions(make: &mut Expressions<'_>) -> Both {
    let gap = make.pick(&[1, 4, 20]);
    let marked = format!(
        "(SELECT *, ts - lag(ts) OVER (PARTITION BY k ORDER BY ts) > INTERVAL {gap} SECOND AS first FROM a)"
    );
    let numbered = format!(
        "(SELECT *, count(*) FILTER (WHERE first) OVER (PARTITION BY k ORDER BY ts) AS session FROM {marked})"
    );
    Both {
        ours: format!("TABLE(SESSION(TABLE a PARTITION BY k, DESCRIPTOR(ts), INTERVAL '{gap}' SECOND))"),
        duck: format!(
            "(SELECT *, min(ts) OVER (PARTITION BY k, session) AS window_start, max(ts) OVER (PARTITION BY k, session) + \
             INTERVAL {gap} SECOND AS window_end FROM {numbered})"
        ),
    }
}

fn window_bounds() -> Items {
    ["window_start", "window_end"].map(|bound| (bound.to_owned(), "TIMESTAMP(3)".to_owned())).into()
}

fn window(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let from = windowed(&mut make, "a");
    let mut items = window_bounds();
    if make.random.below(4) > 0 {
        items.append(&mut keys(&mut make));
    }
    let by = names(&items);
    items.append(&mut aggregates(&mut make));
    let (condition, having) = (maybe("WHERE", &mut make, 2), having(&mut make));
    let text = format!("SELECT {{*}} FROM {{}}{condition} GROUP BY {by}{having}");
    match make.random.below(3) {
        // Rows that change until the window is over.
        0 => {
            let query = Query::of(&text, &from, items, Mode::Retract);
            Query { ours: format!("{} EMIT CHANGES", query.ours), ..query }
        }
        _ => Query::of(&text, &from, items, Mode::Append),
    }
}

fn session(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let from = in_sessions(&mut make);
    let mut items = window_bounds();
    items.push(("k".to_owned(), "STRING".to_owned()));
    let by = names(&items);
    items.append(&mut aggregates(&mut make));
    let having = having(&mut make);
    Query::of(&format!("SELECT {{*}} FROM {{}} GROUP BY {by}{having}"), &from, items, Mode::Append)
}

fn window_top(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, ONE);
    let from = match make.random.below(3) {
        0 => in_sessions(&mut make),
        _ => windowed(&mut make, "a"),
    };
    let (direction, count) = (make.pick(&["ASC", "DESC"]), 1 + make.random.below(3));
    let inner = make.pick(&["COUNT(*)", "SUM(v)", "MAX(g)", "COUNT(DISTINCT v)"]);
    let mut items = window_bounds();
    items.extend(
        [("k", "STRING"), ("x", "BIGINT"), ("r", "BIGINT")].map(|(a, b)| (a.to_owned(), b.to_owned())),
    );
    let text = format!(
        "SELECT {{*}} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY x {direction} \
         NULLS LAST, k NULLS LAST) AS r FROM (SELECT window_start, window_end, k, {inner} AS x FROM {{}} GROUP BY \
         window_start, window_end, k) AS s) AS s WHERE r <= {count}"
    );
    Query::of(&text, &from, items, Mode::Append)
}

fn window_join(random: &mut Random) -> Query {
    let mut make = Expressions::new(random, PAIR);
    let size = make.pick(&[2, 10, 60]);
    let kind = kind_of_join(&mut make);
    let key = make.pick(&["k", "g"]);
    let ours = |table: &str| {
        format!(
            "(SELECT * FROM TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '{size}' SECOND))) AS {table}"
        )
    };
    let duck = |table: &str| {
        format!(
            "(SELECT *, time_bucket(INTERVAL {size} SECOND, ts, TIMESTAMP '1970-01-01') AS window_start, window_start + \
             INTERVAL {size} SECOND AS window_end FROM {table}) AS {table}"
        )
    };
    let more = maybe("AND", &mut make, 1);
    let on = format!(
        "a.window_start = b.window_start AND a.window_end = b.window_end AND a.{key} = b.{key}{more}"
    );
    let from = Both {
        ours: format!("{} {kind} {} ON {on}", ours("a"), ours("b")),
        duck: format!("{} {kind} {} ON {on}", duck("a"), duck("b")),
    };
    let mut items = items(&mut make, 1);
    items.extend(["a.id", "b.id"].map(|id| (id.to_owned(), "BIGINT".to_owned())));
    Query::of("SELECT {*} FROM {}", &from, items, Mode::Append)
}
