//! `generate record` writes a noun as a whole or not at all. That what it writes compiles and passes is shown where the
//! README's walk is taken.

use std::{collections::BTreeMap, fs, path::PathBuf};

use tempfile::TempDir;
use tests::{TestApp, app::Output, run::LIMIT, within};

use crate::fixture::workspace_of;

/// What of the workspace it reads and writes.
const FOLDERS: [&str; 6] = ["migration/src", "migration/sql", "domain/src", "entity/src", "api/src", "tests/it"];

fn workspace() -> TempDir {
    workspace_of(&FOLDERS)
}

/// All files, by their paths.
fn files(workspace: &TempDir) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(workspace.path().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(workspace.path()).unwrap().to_path_buf();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    files
}

async fn record(workspace: &TempDir, arguments: &[&str]) -> Output {
    let folder = workspace.path().to_str().unwrap();
    let arguments = [&["generate", "record"], arguments, &["--workspace", folder]].concat();
    TestApp::run(&arguments, &[]).await
}

#[test]
fn a_noun_is_written_whole_and_nothing_else_is_touched() {
    within(LIMIT, async {
        let workspace = workspace();
        let before = files(&workspace);
        let said = ["credit_card", "number:text:unique", "note:text:optional", "user_id:users"];
        let output = record(&workspace, &said).await;
        assert_eq!(output.code(), Some(0), "{output:?}");
        let after = files(&workspace);

        let new = after.keys().filter(|path| !before.contains_key(*path)).collect::<Vec<_>>();
        let [domain, entity, migration, test] = &new[..] else { panic!("{new:?}") };
        assert!(migration.to_str().unwrap().ends_with("_create_credit_cards.rs"), "{migration:?}");
        assert_eq!(
            [domain, entity, test].map(|path| path.to_str().unwrap()),
            ["domain/src/credit_card.rs", "entity/src/credit_cards.rs", "tests/it/credit_card.rs"]
        );
        for columns in [
            ".columns([text(\"number\"), text_null(\"note\"), uuid(\"user_id\")])",
            ".unique(&[\"number\"])",
            ".references(\"user_id\", \"users\")",
            ".index(&[\"user_id\"])",
        ] {
            assert!(after[*migration].contains(columns), "{}", after[*migration]);
        }
        for line in [
            "pub struct CreditCard = \"credit card\" in credit_cards {",
            "        pub note: Option<String>,",
            "        USER: Relation<CreditCard, User> = Relation::belongs_to(\"user\", \"user_id\"),",
            "    pub struct CreditCardPatch => CreditCard keeps { user_id } {",
        ] {
            assert!(after[*domain].contains(line), "{}", after[*domain]);
        }
        // One line in each list, where it belongs; and the entities that know of each other.
        let added = before.iter().filter_map(|(path, before)| {
            let after = &after[path];
            let added = after.lines().filter(|line| !before.contains(line)).map(str::trim).collect::<Vec<_>>();
            (after != before && !path.starts_with("entity")).then_some((path.to_str().unwrap(), added))
        });
        let added = added.collect::<Vec<_>>();
        let migration = migration.file_stem().unwrap().to_str().unwrap();
        let (module, element) = (format!("mod {migration};"), format!("Box::new({migration}::Migration),"));
        assert_eq!(
            added,
            [
                (
                    "api/src/route.rs",
                    vec!["resource::<CreditCard, NewCreditCard, CreditCardPatch>(\"/credit-cards\"),"]
                ),
                ("domain/src/lib.rs", vec!["mod credit_card;  pub use credit_card::*;"]),
                ("migration/src/lib.rs", vec![module.as_str(), element.as_str()]),
                ("tests/it/main.rs", vec!["mod credit_card;"]),
            ]
        );

        let again = record(&workspace, &said).await;
        assert_eq!(again.code(), Some(1), "{again:?}");
        assert!(again.stderr.contains("is there already"), "{again:?}");
        assert_eq!(files(&workspace), after);
    });
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    within(LIMIT, async {
        let workspace = workspace();
        let before = files(&workspace);
        for (said, expected) in [
            (&["Card", "number:text"][..], "no name"),
            (&["type", "number:text"], "no name"),
            (&["../card", "number:text"], "no name"),
            (&["card"], "required"),
            (&["card", "number"], "say its type"),
            (&["card", "number:Decimal(2)"], "types are text"),
            (&["card", "number:decimal"], "no table of a noun"),
            (&["card", "number:text:index"], "optional and unique"),
            (&["card", "number:text", "number:integer"], "named twice"),
            (&["card", "version:integer"], "every record has"),
            (&["card", "user_id:users"], "can be changed"),
            (&["tag", "number:text"], "is there already"),
            (&["card", "number:text", "--plural", "tags"], "tags"),
        ] {
            let output = record(&workspace, said).await;
            assert!([Some(1), Some(2)].contains(&output.code()), "{said:?}: {output:?}");
            assert!(output.stderr.contains(expected), "{said:?}: {output:?}");
            assert_eq!(files(&workspace), before, "{said:?}");
        }
        // A list that looks otherwise, and a folder that is not the workspace.
        fs::write(workspace.path().join("api/src/route.rs"), "// nothing\n").unwrap();
        let before = files(&workspace);
        let output = record(&workspace, &["card", "number:text"]).await;
        assert!(output.stderr.contains("route.rs has no list"), "{output:?}");
        assert_eq!(files(&workspace), before);
        let output = record(&tempfile::tempdir().unwrap(), &["card", "number:text"]).await;
        assert!(output.code() == Some(74) && output.stderr.contains("--workspace"), "{output:?}");
    });
}
