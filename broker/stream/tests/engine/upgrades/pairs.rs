//! Scripts that take over from others, and what becomes of the operators.

use logmill_stream::Fate;

const TABLES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH ('topic' = 'left', 'format' = 'json');
    CREATE TABLE r (k STRING, y BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH ('topic' = 'right', 'format' = 'json');";

fn windows(columns: &str, select: &str, filter: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (w TIMESTAMP(3), k STRING, {columns}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_start, k, {select}
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND))
         WHERE x <> {filter} GROUP BY window_start, window_end, k"
    )
}

pub(super) fn groups(columns: &str, select: &str, behind: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (k STRING, {columns})
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT k, {select} FROM l GROUP BY k {behind} UNBOUNDED"
    )
}

fn hops(columns: &str, select: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (w TIMESTAMP(3), k STRING, {columns}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_start, k, {select}
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND))
         GROUP BY window_start, window_end, k"
    )
}

fn sessions(columns: &str, select: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (w TIMESTAMP(3), k STRING, {columns}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_start, k, {select}
         FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND))
         GROUP BY window_start, window_end, k"
    )
}

/// Groups whose statement ends in this way.
fn kept_for(bound: &str, columns: &str, select: &str) -> String {
    groups(columns, select, "").replace("UNBOUNDED", bound)
}

/// The first rows of each key, given as changes.
fn first(of: &str, order: &str, most: u32, bound: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (k STRING, x BIGINT)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY {order} DESC) AS r FROM {of}) WHERE r <= {most} {bound}"
    )
}

pub(super) fn joined(right: &str) -> String {
    format!(
        "{TABLES} CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         CREATE TABLE j (k STRING, x BIGINT, y BIGINT) WITH ('topic' = 'joined', 'format' = 'json');
         INSERT INTO o SELECT k, COUNT(*) FROM l GROUP BY k UNBOUNDED;
         INSERT INTO j SELECT l.k, x, y FROM l {right} ON l.k = r.k
         AND r.ts BETWEEN l.ts - INTERVAL '3' SECOND AND l.ts"
    )
}

/// Old and new script, and what becomes of the operators.
pub(super) fn pairs() -> Vec<(String, String, Vec<Fate>)> {
    let only_groups = format!(
        "{TABLES} CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         CREATE TABLE p (k STRING, x BIGINT) WITH ('topic' = 'joined', 'format' = 'json');
         INSERT INTO o SELECT k, COUNT(*) FROM l GROUP BY k UNBOUNDED;
         INSERT INTO p SELECT k, x FROM l WHERE ts IS NOT NULL"
    );
    vec![
        // Nothing but what is done with the rows.
        (
            groups("n BIGINT", "COUNT(*)", ""),
            groups("n BIGINT, m BIGINT", "COUNT(*), COUNT(*) + 1", "HAVING COUNT(*) <> 2"),
            vec![Fate::Kept],
        ),
        // Another aggregate.
        (
            windows("n BIGINT", "COUNT(*)", "9"),
            windows("n BIGINT, m BIGINT", "COUNT(*), MAX(x)", "9"),
            vec![Fate::Rebuilt],
        ),
        (
            groups("n BIGINT", "COUNT(*)", ""),
            groups("n BIGINT, u BIGINT, m BIGINT", "COUNT(*), COUNT(DISTINCT x), MIN(x)", ""),
            vec![Fate::Rebuilt],
        ),
        // Another filter in front of the state.
        (windows("n BIGINT", "COUNT(*)", "9"), windows("n BIGINT", "COUNT(*)", "3"), vec![Fate::Rebuilt]),
        // A join beside what was there, of the table and of another topic.
        (only_groups, joined("JOIN r"), vec![Fate::Kept, Fate::New]),
        // Another kind of join: one goes, one comes.
        (joined("JOIN r"), joined("LEFT JOIN r"), vec![Fate::Kept, Fate::Rebuilt]),
        // Aggregates that are not asked for any more, or in another place.
        (
            windows("n BIGINT, s BIGINT, m BIGINT", "COUNT(*), SUM(x), MAX(x)", "9"),
            windows("m BIGINT, n BIGINT", "MAX(x), COUNT(*)", "9"),
            vec![Fate::Migrated],
        ),
        (
            groups("n BIGINT, c BIGINT, m BIGINT", "COUNT(*), COUNT(DISTINCT x), MIN(x)", ""),
            groups("m BIGINT, c BIGINT", "MIN(x), COUNT(DISTINCT x)", ""),
            vec![Fate::Migrated],
        ),
        (
            hops("n BIGINT, c BIGINT, s BIGINT", "COUNT(*), COUNT(DISTINCT x), SUM(x)"),
            hops("s BIGINT, c BIGINT", "SUM(x) + 1, COUNT(DISTINCT x)"),
            vec![Fate::Migrated],
        ),
        (
            sessions("n BIGINT, s BIGINT", "COUNT(*), SUM(x)"),
            sessions("s BIGINT", "SUM(x)"),
            vec![Fate::Migrated],
        ),
        // With the only reader of a column it is not read any more.
        (
            hops("n BIGINT, s BIGINT", "COUNT(*), SUM(x * 2)"),
            hops("n BIGINT", "COUNT(*)"),
            vec![Fate::Migrated],
        ),
        // What another aggregate keeps is enough.
        (groups("s BIGINT", "SUM(x)", ""), groups("a DOUBLE", "AVG(x)", ""), vec![Fate::Migrated]),
        // Two that keep values change places.
        (
            groups("c BIGINT, d BIGINT", "COUNT(DISTINCT x), COUNT(DISTINCT ts)", ""),
            groups("d BIGINT, c BIGINT", "COUNT(DISTINCT ts), COUNT(DISTINCT x)", ""),
            vec![Fate::Rebuilt],
        ),
        // For how long state is kept.
        (
            kept_for("UNBOUNDED", "n BIGINT", "COUNT(*)"),
            kept_for("STATE TTL INTERVAL '1' DAY", "n BIGINT", "COUNT(*)"),
            vec![Fate::Migrated],
        ),
        (
            first("l", "k ORDER BY x", 2, "STATE TTL INTERVAL '1' DAY"),
            first("l", "k ORDER BY x", 2, "STATE TTL INTERVAL '2' DAY"),
            vec![Fate::Migrated],
        ),
        // Of what is not bounded nobody knows when it was touched.
        (
            first("l", "k ORDER BY x", 2, "UNBOUNDED"),
            first("l", "k ORDER BY x", 2, "STATE TTL INTERVAL '2' DAY"),
            vec![Fate::Rebuilt],
        ),
        // Fewer of the first rows; more only where all of them are there.
        (
            first("l", "k ORDER BY x", 3, "UNBOUNDED"),
            first("l", "k ORDER BY x", 1, "UNBOUNDED"),
            vec![Fate::Migrated],
        ),
        (
            first("l", "k ORDER BY x", 1, "UNBOUNDED"),
            first("l", "k ORDER BY x", 3, "UNBOUNDED"),
            vec![Fate::Rebuilt],
        ),
        (
            first("(SELECT k, COUNT(*) AS x FROM l GROUP BY k)", "x % 2 ORDER BY x", 1, "UNBOUNDED"),
            first("(SELECT k, COUNT(*) AS x FROM l GROUP BY k)", "x % 2 ORDER BY x", 2, "UNBOUNDED"),
            vec![Fate::Kept, Fate::Migrated],
        ),
        // What is behind an operator that is migrated.
        (
            first(
                "(SELECT k, COUNT(*) AS x FROM l GROUP BY k)",
                "x % 2 ORDER BY x",
                2,
                "STATE TTL INTERVAL '1' DAY",
            ),
            first(
                "(SELECT k, COUNT(*) AS x FROM l GROUP BY k)",
                "x % 2 ORDER BY x",
                2,
                "STATE TTL INTERVAL '2' DAY",
            ),
            vec![Fate::Migrated, Fate::Migrated],
        ),
        (
            first(
                "(SELECT k, COUNT(*) AS x, SUM(x) AS s FROM l GROUP BY k)",
                "s % 2 ORDER BY x",
                2,
                "UNBOUNDED",
            ),
            first("(SELECT k, COUNT(*) AS x FROM l GROUP BY k)", "x % 2 ORDER BY x", 2, "UNBOUNDED"),
            vec![Fate::Migrated, Fate::Rebuilt],
        ),
        // Two of one kind change places.
        (
            groups("n BIGINT, f BIGINT", "COUNT(*), COUNT(*) FILTER (WHERE x > 4)", ""),
            groups("f BIGINT, n BIGINT", "COUNT(*) FILTER (WHERE x > 4), COUNT(*)", ""),
            vec![Fate::Migrated],
        ),
        // State that is not needed any more.
        (
            windows("n BIGINT", "COUNT(*)", "9"),
            format!(
                "{TABLES} CREATE TABLE o (k STRING, x BIGINT, ts TIMESTAMP(3))
                 WITH ('topic' = 'out', 'format' = 'json'); INSERT INTO o SELECT k, x, ts FROM l"
            ),
            vec![Fate::Dropped],
        ),
    ]
}
