//! The tree is the architecture: crates are the walls between layers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use tests::run::cargo;

/// Which of our crates a crate may use.
const MAY_SEE: &[(&str, &[&str])] = &[
    ("entity", &[]),
    ("migration", &[]),
    ("domain", &["entity"]),
    ("api", &["domain", "migration"]),
    ("tests", &["api", "domain", "entity", "migration"]),
];

#[test]
fn each_crate_sees_only_what_it_may() {
    let may_see: BTreeMap<_, BTreeSet<_>> = MAY_SEE
        .iter()
        .map(|&(name, others)| (name.to_owned(), others.iter().map(|&other| other.to_owned()).collect()))
        .collect();
    let packages = packages();
    let members: BTreeSet<_> = packages.keys().cloned().collect();
    assert_eq!(members, may_see.keys().cloned().collect(), "a new crate needs its place among the layers");
    for (name, dependencies) in &packages {
        let ours: BTreeSet<_> = dependencies.iter().map(|(other, _)| other.clone()).collect();
        let ours: BTreeSet<_> = ours.intersection(&members).cloned().collect();
        let forbidden: Vec<_> = ours.difference(&may_see[name]).collect();
        assert!(forbidden.is_empty(), "{name} may not depend on {forbidden:?}, not even to test or to build");
    }
}

#[test]
fn entities_know_nothing_but_sea_orm() {
    let packages = packages();
    let names: Vec<_> = packages["entity"].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sea-orm"]);
}

#[test]
fn nothing_depends_on_the_tests() {
    for (name, dependencies) in packages() {
        assert!(dependencies.iter().all(|(other, _)| other != "tests"), "{name} depends on the tests");
    }
}

#[test]
fn every_dependency_is_used() {
    let packages = packages();
    let declared: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).unwrap();
    for declared in declared["workspace"]["dependencies"].as_table().unwrap().keys() {
        let is_asked_for = packages.values().flatten().any(|(dependency, _)| dependency == declared);
        assert!(is_asked_for, "no member of the workspace depends on {declared}");
    }
    for (name, dependencies) in packages {
        let source = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&name));
        for (dependency, _) in dependencies {
            let path = format!("{}::", dependency.replace('-', "_"));
            // Not as the end of a longer name.
            let is_named = source
                .match_indices(&path)
                .any(|(at, _)| !source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'));
            assert!(is_named, "{name} depends on {dependency} and does not use it");
        }
    }
}

/// All the Rust in a folder.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| match path.extension() {
        _ if path.is_dir() => source(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    });
    texts.collect()
}

/// The members of the workspace, each with what it depends on and of which kind that is.
fn packages() -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let dependencies = dependencies.map(|other| (text(&other["name"]).unwrap(), text(&other["kind"])));
            (text(&package["name"]).unwrap(), dependencies.collect())
        })
        .collect()
}
