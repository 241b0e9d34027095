//! What `CREATE FUNCTION` refuses, and says.

use logmill_stream::{SqlError, compile, embed_modules};

use super::{module, results, script};

const ID: &str = r#"(module (func (export "id") (param i64) (result i64) (local.get 0)))"#;

fn refused(create: &str) -> SqlError {
    let script = script(create, "a BIGINT", "", "v BIGINT", "SELECT a FROM src");
    compile(&script).expect_err(create)
}

fn says(create: &str, message: &str, help: &str) {
    let error = refused(create);
    assert!(error.message.contains(message), "{create}\n{error}");
    assert!(error.help.contains(help), "{create}\n{error}");
}

#[test]
fn a_module_is_checked_when_the_script_is() {
    let id = module(ID);
    let create = |rest: &str| format!("CREATE FUNCTION id(a BIGINT) RETURNS BIGINT LANGUAGE wasm {rest}");
    says(&create("AS 'AGFzbQE'"), "not base64", "base64 < module.wasm");
    says(
        &create("AS 'AGFzbQEA'"),
        "function `id`: this is not a WebAssembly module",
        "wasm32-unknown-unknown",
    );
    says(&create("USING 'id.wasm'"), "`id.wasm` is not part of the script", "AS '");
    let imports = module(
        r#"(module (import "env" "clock" (func (result i64)))
             (func (export "id") (param i64) (result i64) (call 0)))"#,
    );
    says(&create(&format!("AS '{imports}'")), "imports `env.clock`", "without imports");
    let other = module(r#"(module (func (export "id") (param f64) (result i64) (i64.const 1)))"#);
    says(&create(&format!("AS '{other}'")), "has other types", "(param i64) (result i64)");
    let started = module(
        r#"(module (func $spin (loop (br 0))) (start $spin)
             (func (export "id") (param i64) (result i64) (local.get 0)))"#,
    );
    says(
        &create(&format!("AS '{started}'")),
        "does not begin: the module's start function has used up its fuel",
        "'fuel'",
    );
    says(&create(&format!("WITH ('fule' = '1') AS '{id}'")), "no option 'fule'", "`fuel`");
    says(&create(&format!("WITH ('fuel' = '0') AS '{id}'")), "'0' is not a number", "1 to 1000000000");
    says(&create(""), "the module is missing", "LANGUAGE wasm AS");
    says(
        "CREATE FUNCTION id(a DECIMAL(10, 2)) RETURNS BIGINT LANGUAGE wasm AS ''",
        "cannot be given a DECIMAL(10, 2)",
        "DOUBLE",
    );
    says("CREATE FUNCTION abs(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS ''", "built-in", "another name");
    says("CREATE FUNCTION id(a BIGINT) RETURNS BIGINT LANGUAGE rust AS ''", "in WebAssembly", "wasm");
    let twice = format!("{};{}", create(&format!("AS '{id}'")), create(&format!("AS '{id}'")));
    says(&twice, "a second function `id`", "another name");
    let two = "CREATE AGGREGATE FUNCTION id(a BIGINT, b BIGINT) RETURNS BIGINT LANGUAGE wasm AS ''";
    says(two, "2 arguments", "one");
    let other_name = create(&format!("AS '{id}'")).replace("FUNCTION id", "FUNCTION same");
    let wanted = r#"export (func (export "same") (param i64) (result i64))"#;
    says(&other_name, "exports no function `same`", wanted);
    let text = "CREATE FUNCTION id(a STRING) RETURNS BIGINT LANGUAGE wasm AS ";
    let no_alloc = module(r#"(module (func (export "id") (param i32 i32) (result i64) (i64.const 1)))"#);
    says(&format!("{text} '{no_alloc}'"), "exports no function `alloc`", "(param i32) (result i32)");
}

#[test]
fn an_error_is_where_the_module_is() {
    let error = refused("CREATE FUNCTION id(a BIGINT)\n RETURNS BIGINT\n LANGUAGE wasm\n  AS 'x'");
    assert_eq!((error.line, error.column), (4, 6));
}

#[test]
fn calls_are_checked() {
    let create = format!("CREATE FUNCTION id(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(ID));
    let error = |query: &str| compile(&script(&create, "a BIGINT", "", "v BIGINT", query)).unwrap_err();
    let found = error("SELECT id(a, 1) FROM src");
    assert_eq!((found.message.as_str(), found.help.as_str()), ("id with 2 arguments", "write id(BIGINT)"));
    assert!(error("SELECT id('a') FROM src").message.contains("a BIGINT is needed"));
    assert_eq!(error("SELECT ids(a) FROM src").help, "did you mean `id`?");
}

#[test]
fn files_are_put_in_by_whoever_can_read_them() {
    let bytes = wat::parse_str(ID).unwrap();
    let text = "-- ü: USING 'a comment'\nCREATE FUNCTION id(a BIGINT) RETURNS BIGINT LANGUAGE wasm\nUSING\n 'mods/id.wasm'";
    let with_file = script(text, "a BIGINT", "", "v BIGINT", "SELECT id(a) FROM src");
    let mut read = Vec::new();
    let whole = embed_modules(&with_file, |file| {
        read.push(file.to_owned());
        Ok::<_, String>(bytes.clone())
    });
    let whole = whole.unwrap();
    assert_eq!(read, ["mods/id.wasm"]);
    assert!(whole.has_modules());
    assert_eq!(results(whole.script(), &[r#"{"a": 3}"#]), [r#"{"v":3}"#]);
    // What is not a module's file stays as it is.
    let none = script("", "a BIGINT", "", "v BIGINT", "SELECT a FROM src");
    let same = embed_modules(&none, |_| Err("never read")).unwrap();
    assert_eq!((same.script(), same.has_modules()), (&*none, false));
    let error = embed_modules(&with_file, |_| Err::<Vec<u8>, _>("no such file")).unwrap_err();
    assert_eq!((error.line, error.column), (4, 2));
    assert!(error.message.contains("`mods/id.wasm` cannot be read: no such file"), "{error}");
}

#[test]
fn an_error_is_where_it_is_in_the_script_without_modules() {
    let same = r#"(param i64) (result i64) (local.get 0)"#;
    let bytes =
        wat::parse_str(format!(r#"(module (func (export "id") {same}) (func (export "id2") {same}))"#));
    let bytes = bytes.unwrap();
    let place = |text: &str| {
        let marked = format!("CREATE TABLE src (a BIGINT) WITH ('topic' = 'in', 'format' = 'json');\n{text}");
        let script = marked.replace('»', "");
        let whole = embed_modules(&script, |_| Ok::<_, String>(bytes.clone())).unwrap();
        let error = whole.in_original(compile(whole.script()).unwrap_err());
        let before = marked.split('»').next().unwrap();
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() as u64 + 1;
        assert_eq!((error.line, error.column), (line, column), "{error}\n{script}");
    };
    let out = "CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');";
    let using = "LANGUAGE wasm USING 'ü.wasm'";
    place(&format!(
        "{out} CREATE FUNCTION id(a BIGINT) RETURNS BIGINT {using}; INSERT INTO o SELECT »id(a, 1) FROM src;"
    ));
    place(&format!(
        "{out} CREATE FUNCTION id(a BIGINT) RETURNS BIGINT {using}; CREATE FUNCTION id2(a BIGINT) RETURNS BIGINT LANGUAGE
         wasm USING\n 'b.wasm'; INSERT INTO o SELECT »id(a, 1) FROM src;"
    ));
    place(&format!(
        "{out} CREATE FUNCTION id(a »NOTHING) RETURNS BIGINT {using}; INSERT INTO o SELECT id(a) FROM src;"
    ));
    place(&format!(
        "{out} CREATE FUNCTION no_such(a BIGINT) RETURNS BIGINT LANGUAGE wasm USING »'ü.wasm'; INSERT INTO o SELECT \
         no_such(a) FROM src;"
    ));
}

#[test]
fn of_a_long_line_an_excerpt_shows_what_is_around_the_place() {
    let long = format!("{}x{}", "a".repeat(10_000), "b".repeat(10_000));
    let error = SqlError { line: 1, column: 10_001, message: String::new(), help: String::new() };
    let excerpt = error.excerpt(&long);
    let (line, mark) = excerpt.split_once('\n').unwrap();
    assert!(line.chars().count() < 210 && line.starts_with("1 | …a") && line.ends_with("b…"), "{excerpt}");
    assert_eq!(line.chars().position(|letter| letter == 'x'), mark.chars().position(|letter| letter == '^'));
    assert_eq!(SqlError { column: 3, ..error }.excerpt("\tab"), "1 | \tab\n  | \t ^");
}

#[test]
fn another_module_is_another_plan() {
    let of = |text: &str| {
        let create =
            format!("CREATE FUNCTION id(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(text));
        compile(&script(&create, "a BIGINT", "", "v BIGINT", "SELECT id(a) FROM src")).unwrap()
    };
    let (one, same) = (of(ID), of(ID));
    let other =
        of(r#"(module (func (export "id") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1))))"#);
    assert_eq!(one, same);
    assert_eq!(one.fingerprint(), same.fingerprint());
    assert_ne!(one, other);
    assert_ne!(one.fingerprint(), other.fingerprint());
    // A plan that is stored brings its modules.
    let stored = serde_json::to_string(&one).unwrap();
    let back: logmill_stream::Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!(back, one);
    let trial = super::run(&back, &[r#"{"a": 4}"#]).unwrap();
    assert_eq!(super::outputs(&trial, "out"), [r#"{"v":4}"#]);
}
