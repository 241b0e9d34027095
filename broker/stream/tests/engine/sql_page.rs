//! `SQL.md`, the page of the language: its examples are scripts, and it names whatever a script may say there.

use logmill_stream::{SqlError, compile};

const PAGE: &str = include_str!("../../SQL.md");

/// The scripts of the page. Each example stands behind the tables that all of them read.
fn examples(page: &str) -> Vec<String> {
    let mut blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let tables = blocks.next().expect("the tables that the examples read");
    blocks.map(|example| format!("{tables}{example}")).collect()
}

/// The names that an error says are known.
fn known(error: &SqlError) -> Vec<&str> {
    let (_, names) = error.help.split_once("known are: ").unwrap_or_else(|| panic!("{error}"));
    names.split(", ").collect()
}

/// Whether the page names it: as code, or as a text of SQL.
fn is_named(page: &str, name: &str) -> bool {
    let name = name.replace(['<', '>'], "");
    [format!("`{name}`"), format!("'{name}'"), format!("`{name}(")].iter().any(|form| page.contains(form))
}

#[test]
fn every_example_is_a_script() {
    let scripts = examples(PAGE);
    assert!(scripts.len() >= 13, "{} examples", scripts.len());
    for script in scripts {
        if let Err(error) = compile(&script) {
            panic!("{error}\n{}", error.excerpt(&script));
        }
    }
    let planted = examples(
        "```sql\nCREATE TABLE a (x BIGINT) WITH ();\n```\n```sql\nINSERT INTO b SELECT x FROM a;\n```",
    );
    assert!(planted.iter().all(|script| compile(script).is_err()) && planted.len() == 1);
}

#[test]
fn whatever_can_be_said_of_a_table_is_on_the_page() {
    let script = |column: &str, read: &str, written: &str, shed: &str| {
        format!(
            "CREATE TABLE a (x BIGINT, {column}) WITH ('topic' = 'a', 'format' = 'json'{read}) {shed};
             CREATE TABLE b (x BIGINT) WITH ('topic' = 'b', 'format' = 'json'{written});
             INSERT INTO b SELECT x FROM a"
        )
    };
    let unknown = ", '?' = ''";
    for script in [
        script("y BIGINT", unknown, "", ""),
        script("y BIGINT", "", unknown, ""),
        script("y BIGINT METADATA FROM '?'", "", "", ""),
        script("y BIGINT", "", "", "SHED WHEN lag > 1 RECORDS USING `?`"),
    ] {
        let error = compile(&script).expect_err("nobody knows it");
        let names = known(&error);
        assert!(names.len() >= 5, "{error}");
        let missing: Vec<_> = names.into_iter().filter(|name| !is_named(PAGE, name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    assert!(!is_named(PAGE, "no-such-option"));
}
