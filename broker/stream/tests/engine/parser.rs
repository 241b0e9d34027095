//! Scripts of every kind, mangled ones too: always a plan, or an error that points into the text and gives advice.

use logmill_stream::{SqlError, compile};
use proptest::prelude::*;

const DEMO: &str = include_str!("../../../../config/demo/carrier-hourly.sql");

const BUSY: &str = "\
CREATE TABLE a (x BIGINT NOT NULL, y DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('topic' = 'a', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'a.dead');
CREATE TABLE b (w TIMESTAMP(3), k STRING, v DOUBLE) WITH ('topic' = 'b', 'format' = 'json', 'compression' = 'zstd');
INSERT INTO b (w, k, v)
SELECT window_end, COALESCE(UPPER(s), 'none'), AVG(y) FILTER (WHERE y BETWEEN 0 AND 1e3) + COUNT(*) * 2
FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) AS q
WHERE NOT (q.x IN (1, 2, 3) OR s LIKE 'a!%%' ESCAPE '!') AND CASE WHEN ok THEN x / 2 ELSE -x % 3 END <> 0
GROUP BY window_start, window_end, COALESCE(UPPER(s), 'none')
HAVING MAX(ts) - INTERVAL '1' SECOND > TIMESTAMP '2013-01-01 00:00:00' AND SUM(CAST(s AS BIGINT)) IS NOT NULL;";

/// The words and signs of a script, without comments.
fn words(script: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in script.lines() {
        let mut rest = line.split("--").next().unwrap().trim();
        while let Some(first) = rest.chars().next() {
            let is_word = |character: char| character.is_alphanumeric() || character == '_';
            let length = match first {
                '\'' => rest[1..].find('\'').unwrap() + 2,
                _ if is_word(first) => rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len()),
                '<' => 2,
                _ => first.len_utf8(),
            };
            words.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    words
}

fn check_error(script: &str, error: &SqlError) {
    let lines = script.lines().count().max(1) as u64;
    assert!((1..=lines + 1).contains(&error.line), "{error}\n{script}");
    let length = script.lines().nth(error.line as usize - 1).unwrap_or_default().chars().count() as u64;
    assert!((1..=length + 1).contains(&error.column), "{error}\n{script}");
    assert!(!error.message.is_empty() && !error.help.is_empty(), "{error}");
    assert!(error.excerpt(script).ends_with('^'));
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(" "),
        Just("\n"),
        Just("\t "),
        Just(" /* a comment; 'with' quotes */ "),
        Just(" -- to the end\n")
    ]
}

fn scripts() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![Just(words(DEMO)), Just(words(BUSY))]
}

#[test]
fn the_scripts_are_good() {
    for script in [DEMO, BUSY] {
        let plan = compile(script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(script)));
        assert_eq!(compile(&words(script).join(" ")).unwrap(), plan);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn white_space_comments_and_the_case_of_keywords_mean_nothing(
        words in scripts(),
        gaps in prop::collection::vec(gap(), 400),
        lower in prop::collection::vec(any::<bool>(), 400),
    ) {
        let plan = compile(&words.join(" ")).unwrap();
        let keyword = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
        let mut script = String::new();
        for (index, word) in words.iter().enumerate() {
            match keyword(word) && lower[index % 400] {
                true => script.push_str(&word.to_lowercase()),
                false => script.push_str(word),
            }
            script.push_str(gaps[index % 400]);
        }
        let varied = compile(&script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&script)));
        prop_assert_eq!(varied.fingerprint(), plan.fingerprint());
        prop_assert_eq!(varied, plan);
    }

    #[test]
    fn a_mangled_script_is_a_plan_or_a_good_error(
        words in scripts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4), 1..4),
    ) {
        let mut words = words;
        for (at, other, change) in changes {
            let (at, other) = (at.index(words.len()), other.index(words.len()));
            match change {
                0 => drop(words.remove(at)),
                1 => words.swap(at, other),
                2 => words[at] = words[other].clone(),
                _ => words.insert(at, words[other].clone()),
            }
        }
        let script = words.join(" ").replace(';', ";\n");
        if let Err(error) = compile(&script) {
            check_error(&script, &error);
        }
    }

    #[test]
    fn any_text_is_refused_with_a_good_error(text in "\\PC{0,80}") {
        check_error(&text, &compile(&text).unwrap_err());
    }

    #[test]
    fn any_expression_like_text_is_a_plan_or_a_good_error(
        parts in prop::collection::vec(
            prop_oneof![
                Just("x"), Just("s"), Just("ts"), Just("("), Just(")"), Just("+"), Just("-"), Just("'t'"), Just("1"), Just("NULL"),
                Just("AND"), Just("NOT"), Just("IS"), Just("CASE"), Just("WHEN"), Just("THEN"), Just("END"), Just("IN"),
                Just(","), Just("="), Just("INTERVAL"), Just("DAY"), Just("CAST"), Just("AS"), Just("BIGINT"), Just("COUNT"),
                Just("*"), Just("LIKE"), Just("BETWEEN"), Just("EXTRACT"), Just("FROM"), Just("FLOOR"), Just("TO"), Just("OVER"),
                Just("ARRAY"), Just("["), Just("]"), Just("."), Just("::"), Just("DISTINCT"), Just("SELECT"), Just("TABLE"),
            ],
            1..14,
        )
    ) {
        let script = format!(
            "CREATE TABLE a (x BIGINT, s STRING, ts TIMESTAMP(3)) WITH ('topic' = 'a', 'format' = 'json');
             CREATE TABLE b (v BOOLEAN) WITH ('topic' = 'b', 'format' = 'json');
             INSERT INTO b SELECT {} FROM a", parts.join(" ")
        );
        if let Err(error) = compile(&script) {
            check_error(&script, &error);
        }
    }
}
