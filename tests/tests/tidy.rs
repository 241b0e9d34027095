//! The style of the project, as far as a machine can see it. Each guard is shown a violation it must catch.

use std::collections::BTreeSet;
use std::path::Path;

use logmill_tests::source::{self, File};

/// Lines a file may have; what is longer stands below, with its reason.
const LONG: usize = 600;
const LONG_FOR_A_REASON: &[(&str, &str)] =
    &[("client/rpc/src/generated/logmill.v1.rs", "generated from logmill.proto")];
/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "impl", "impls", "stuff", "base", "core"];
/// What stands for work that was not done.
const UNFINISHED: &[&str] =
    &["todo!", "unimplemented!", "dbg!", "TODO", "FIXME", "XXX", "HACK", "#[ignore]", "allow(dead_code"];
/// Traces of one machine or of whoever wrote it.
const TRACES: &[&str] = &["/home/", "/root/", "/Users/", "C:\\", "localhost:8080", "192.168.", "10.0.0."];
/// Endings of the files that are read as text.
const TEXTS: &[&str] = &[".rs", ".md", ".toml", ".sql", ".proto", ".sh", ".py", ".yml", ".service"];
/// The guards name what they look for.
const THIS: &str = "tests/tests/tidy.rs";

fn too_long(files: &[File]) -> Vec<String> {
    let lines = |file: &File| file.text.lines().count();
    let reason = |file: &File| LONG_FOR_A_REASON.iter().any(|(path, _)| *path == file.path);
    let long = files.iter().filter(|file| file.path.ends_with(".rs") && lines(file) > LONG && !reason(file));
    long.map(|file| format!("{}: {} lines; split it by concept, or say here why not", file.path, lines(file)))
        .collect()
}

fn named_nothing(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let folders = file.path.split('/').rev().skip(1);
        if let Some(name) = folders.chain([file.stem()]).find(|name| EMPTY_NAMES.contains(name)) {
            found.push(format!("{}: `{name}` says nothing; name it by its concept", file.path));
        }
    }
    found
}

fn with_word<'a>(files: impl IntoIterator<Item = &'a File>, words: &[&str], what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.into_iter().filter(|file| file.path != THIS && !file.path.contains("/generated/")) {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: `{word}`: {what}", file.path, number + 1));
            }
        }
    }
    found
}

fn unfinished(files: &[File]) -> Vec<String> {
    // The pages say what must not be written; what several tests share is not all used by each of them.
    let code = files
        .iter()
        .filter(|file| !file.path.ends_with(".md") && !file.path.ends_with("/tests/support/mod.rs"));
    with_word(code, UNFINISHED, "unfinished")
}

fn traces(files: &[File]) -> Vec<String> {
    with_word(files, TRACES, "a path or address of one machine")
}

/// Pages that come with the first measurements.
const AWAITED: &[&str] = &["benches/RESULTS.md"];

/// Links from pages to files that do not exist.
fn dead_links(files: &[File], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&file.path).parent().expect("a folder");
        let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !AWAITED.contains(target)) {
            let path = target.split('#').next().expect("a part");
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !exists(&folder.join(path)) {
                found.push(format!("{}: the link to {target} leads nowhere", file.path));
            }
        }
    }
    found
}

/// Files that ARCHITECTURE.md leads its reader to, and that are not there: `a/b.rs` from the top, or the end of a path.
fn lost_on_the_way(page: &str, files: &[File]) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = quoted.filter(|text| text.ends_with(".rs") && !text.contains(' ')).collect();
    let there =
        |name: &str| files.iter().any(|file| file.path == name || file.path.ends_with(&format!("/{name}")));
    named
        .into_iter()
        .filter(|name| !there(name))
        .map(|name| format!("ARCHITECTURE.md: there is no {name}"))
        .collect()
}

/// Settings that no code of the broker or its commands reads: options that do nothing.
fn read_by_nobody(keys: &[String], files: &[File]) -> Vec<String> {
    let code: Vec<String> = files
        .iter()
        .filter(|file| file.path.starts_with("broker/src/") || file.path.starts_with("broker/cli/src/"))
        .flat_map(|file| file.product_lines())
        .map(|(_, line)| line)
        .collect();
    let field = |key: &str| format!(".{}", key.rsplit('.').next().expect("a name"));
    let is_read = |key: &str| {
        let field = field(key);
        code.iter().any(|line| {
            line.match_indices(&field).any(|(at, _)| {
                let next = line[at + field.len()..].chars().next();
                !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
        })
    };
    keys.iter().filter(|key| !is_read(key)).map(|key| format!("{key} is read by nobody")).collect()
}

fn texts() -> Vec<File> {
    let mut files: Vec<File> = TEXTS.iter().flat_map(|ending| source::files(ending)).collect();
    // The scripts of CI have no endings.
    files.extend(source::files("/run").into_iter().filter(|file| file.path.starts_with(".ci/")));
    files
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "{}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn files_are_of_a_size_one_can_read() {
    let files = source::files(".rs");
    none(&too_long(&files));
    for (path, _) in LONG_FOR_A_REASON {
        let file = files.iter().find(|file| file.path == *path);
        let file = file.unwrap_or_else(|| panic!("{path} does not exist any more"));
        assert!(file.text.lines().count() > LONG, "{path} is short enough now; take it off the list");
    }
    assert_eq!(too_long(&[File::planted("storage/src/long.rs", &"x\n".repeat(LONG + 1))]).len(), 1);
    assert_eq!(too_long(&[File::planted("storage/src/short.rs", &"x\n".repeat(LONG))]).len(), 0);
}

#[test]
fn names_say_what_is_in_a_file() {
    none(&named_nothing(&source::files(".rs")));
    for path in [
        "broker/src/utils.rs",
        "broker/src/common/mod.rs",
        "client/src/helpers/text.rs",
        "storage/src/impls.rs",
    ] {
        assert_eq!(named_nothing(&[File::planted(path, "")]).len(), 1, "{path}");
    }
    assert!(named_nothing(&[File::planted("storage/src/commonly.rs", "")]).is_empty());
}

#[test]
fn nothing_is_left_unfinished() {
    none(&unfinished(&texts()));
    for text in [
        "fn f() { todo!() }",
        "// TODO: later",
        "    dbg!(x);",
        "#[ignore]\nfn t() {}",
        "#[allow(dead_code)]",
    ] {
        assert_eq!(unfinished(&[File::planted("broker/src/x.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn nothing_tells_of_one_machine() {
    none(&traces(&texts()));
    for text in ["let data = \"/home/me/data\";", "cd /root/x", "see 192.168.1.7"] {
        assert_eq!(traces(&[File::planted("broker/src/x.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn links_lead_somewhere() {
    none(&dead_links(&source::files(".md"), |path| source::root().join(path).exists()));
    let planted =
        [File::planted("config/demo/README.md", "[a](b.sql) [c](../there.md#x) [d](https://e.org) [f](#g)")];
    let found = dead_links(&planted, |path| path == Path::new("config/demo/../there.md"));
    assert_eq!(found, ["config/demo/README.md: the link to b.sql leads nowhere"]);
}

#[test]
fn the_architecture_page_leads_to_files_that_are_there() {
    let page = std::fs::read_to_string(source::root().join("ARCHITECTURE.md")).expect("the page");
    let files = source::files(".rs");
    none(&lost_on_the_way(&page, &files));
    let found = lost_on_the_way("see `storage/src/store/mod.rs`, `net/gone.rs` and `cargo run x.rs`", &files);
    assert_eq!(found, ["ARCHITECTURE.md: there is no net/gone.rs"]);
}

#[test]
fn every_setting_is_read_by_somebody() {
    let mut keys: Vec<String> =
        logmill_config::Config::default().keys().iter().map(|key| key.path()).collect();
    let files = source::files(".rs");
    none(&read_by_nobody(&keys, &files));
    keys.push("limits.max_nothing".to_owned());
    assert_eq!(read_by_nobody(&keys, &files), ["limits.max_nothing is read by nobody"]);
}

/// Pages and code are written for a screen of 120 columns; tables and code blocks of pages may be wider.
#[test]
fn texts_end_with_a_line_and_have_no_trailing_spaces() {
    let untidy = |files: &[File]| -> Vec<String> {
        let mut found = Vec::new();
        for file in files.iter().filter(|file| !file.path.contains("/generated/")) {
            if !file.text.is_empty() && !file.text.ends_with('\n') {
                found.push(format!("{}: the last line does not end", file.path));
            }
            for (number, line) in file.text.lines().enumerate() {
                if line.ends_with([' ', '\t', '\r']) {
                    found.push(format!("{}:{}: spaces at the end", file.path, number + 1));
                }
            }
        }
        found
    };
    none(&untidy(&texts()));
    assert_eq!(untidy(&[File::planted("a.md", "x \ny")]).len(), 2);
}
