//! What comes into the build obeys `deny.toml`: licences, banned crates and versions, sources. Advisories need the database
//! of `cargo deny`; the versions known to be bad stand in the list of bans.

use std::collections::BTreeSet;
use std::process::Command;

use logmill_tests::crates::{self, Package};
use logmill_tests::{licence, source};

/// `deny.toml`, as far as it is checked here.
struct Rules {
    licences: Vec<String>,
    /// `name` or `name@<version`, and the reason.
    bans: Vec<(String, String)>,
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(source::root().join("deny.toml")).expect("deny.toml");
    let table: toml::Table = text.parse().expect("deny.toml is TOML");
    let licences = table["licenses"]["allow"].as_array().expect("licenses.allow");
    let bans = table["bans"]["deny"].as_array().expect("bans.deny");
    Rules {
        licences: licences.iter().map(|licence| licence.as_str().expect("a name").to_owned()).collect(),
        bans: bans
            .iter()
            .map(|ban| {
                let text = |key: &str| ban[key].as_str().expect("crate and reason are text").to_owned();
                (text("crate"), text("reason"))
            })
            .collect(),
    }
}

/// What the packages break of the rules, one line each.
fn violations(packages: &[Package], rules: &Rules) -> Vec<String> {
    let allowed: Vec<&str> = rules.licences.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        match &package.licence {
            Some(expression) if licence::accepts(expression, &allowed) => {}
            Some(expression) => {
                found.push(format!("{name} {version}: licence `{expression}` is not allowed"))
            }
            None => found.push(format!("{name} {version}: states no licence")),
        }
        for (ban, reason) in &rules.bans {
            let (banned, below) = match ban.split_once("@<") {
                Some((banned, below)) => (banned, Some(below)),
                None => (ban.as_str(), None),
            };
            if name == banned && below.is_none_or(|below| numbers(version) < numbers(below)) {
                found.push(format!("{name} {version}: banned ({ban}): {reason}"));
            }
        }
        if let Some(from) = &package.source
            && !(from.starts_with("registry+") && from.ends_with("/crates.io-index"))
        {
            found.push(format!("{name} {version}: comes from {from}, not from crates.io"));
        }
    }
    found
}

/// The three numbers of a version. A pre-release counts as the release it leads to.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().expect("a release");
    release.split('.').map(|number| number.parse().expect("versions are numbers")).collect()
}

#[test]
fn every_dependency_is_allowed() {
    let found = violations(&crates::packages(), &rules());
    assert!(found.is_empty(), "against deny.toml:\n{}", found.join("\n"));
}

#[test]
fn our_own_crates_are_apache_licensed_and_the_text_is_there() {
    for package in crates::own().values() {
        assert_eq!(package.licence.as_deref(), Some("Apache-2.0"), "{}", package.name);
    }
    let text = std::fs::read_to_string(source::root().join("LICENSE")).expect("LICENSE");
    assert!(text.contains("Apache License") && text.contains("Version 2.0, January 2004"));
}

#[test]
fn planted_packages_are_caught() {
    let good = Package {
        name: "good".to_owned(),
        version: "1.0.0".to_owned(),
        licence: Some("MIT".to_owned()),
        source: None,
        dependencies: Vec::new(),
        folder: source::root(),
    };
    let plant = |change: fn(&mut Package)| {
        let mut package = good.clone();
        change(&mut package);
        violations(&[package], &rules())
    };
    assert!(plant(|_| {}).is_empty());
    type Change = fn(&mut Package);
    let cases: [(Change, &str); 6] = [
        (|package| package.licence = None, "states no licence"),
        (|package| package.licence = Some("GPL-3.0-only".to_owned()), "not allowed"),
        (|package| package.name = "openssl-sys".to_owned(), "banned"),
        (|package| (package.name, package.version) = ("bytes".to_owned(), "1.11.0".to_owned()), "banned"),
        (|package| package.source = Some("git+https://example.org/x".to_owned()), "not from crates.io"),
        (
            |package| package.source = Some("registry+https://example.org/index".to_owned()),
            "not from crates.io",
        ),
    ];
    for (change, expected) in cases {
        let found = plant(change);
        assert_eq!(found.len(), 1, "{expected}: {found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }
    assert!(
        plant(|package| (package.name, package.version) = ("bytes".to_owned(), "1.11.1".to_owned()))
            .is_empty()
    );
}

/// `name version|features` of all packages that are built along with those kinds of dependencies.
fn features(kinds: &str) -> BTreeSet<String> {
    let told = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["tree", "--locked", "--workspace", "--edges", kinds])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"])
        .current_dir(source::root())
        .output()
        .expect("cargo starts");
    assert!(told.status.success(), "cargo tree: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn tests_give_no_package_features_that_the_binary_does_without() {
    let (built, tested) = (features("normal,build"), features("normal,build,dev"));
    let found: Vec<&String> = built.difference(&tested).collect();
    assert!(found.is_empty(), "`cargo test` builds these and what is above them twice:\n{found:#?}");
}
