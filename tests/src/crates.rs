//! The dependency graph as cargo sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::source;

/// One package of the graph, ours or a foreign one.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name in the registry.
    pub name: String,
    /// Its version, three numbers and perhaps more.
    pub version: String,
    /// The licence expression of its manifest, as it stands there.
    pub licence: Option<String>,
    /// Where it comes from; `None` for a path inside this workspace.
    pub source: Option<String>,
    /// Its declared dependencies.
    pub dependencies: Vec<Dependency>,
    /// The folder of its manifest.
    pub folder: PathBuf,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The package's name, not the name it is renamed to.
    pub name: String,
    /// Whether it stands in `[dev-dependencies]`.
    pub dev: bool,
}

/// All packages that can take part in a build on this platform, from `cargo metadata` over the lock file.
pub fn packages() -> Vec<Package> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &host])
        .current_dir(source::root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let used: BTreeSet<&str> =
        array(&value["resolve"]["nodes"]).iter().filter_map(|node| node["id"].as_str()).collect();
    array(&value["packages"])
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(package)
        .collect()
}

/// The packages of this workspace, by name.
pub fn own() -> BTreeMap<String, Package> {
    packages()
        .into_iter()
        .filter(|package| package.source.is_none())
        .map(|package| (package.name.clone(), package))
        .collect()
}

fn package(value: &Value) -> Package {
    let manifest = PathBuf::from(text(&value["manifest_path"]).expect("a manifest path"));
    Package {
        name: text(&value["name"]).expect("a name"),
        version: text(&value["version"]).expect("a version"),
        licence: text(&value["license"]),
        source: text(&value["source"]),
        dependencies: array(&value["dependencies"])
            .iter()
            .map(|dependency| Dependency {
                name: text(&dependency["name"]).expect("a name"),
                dev: dependency["kind"] == "dev",
            })
            .collect(),
        folder: manifest.parent().expect("a folder").to_owned(),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
