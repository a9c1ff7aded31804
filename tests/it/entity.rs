//! The generated entities never drift from the migrations, and a refresh can lose nothing.

use std::{fs, path::Path};

use api::command::entity::{Change, EntityError, RefreshOptions, check, refresh};
use tempfile::TempDir;
use tests::{or_skip, postgres};

const ENTITIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../entity/src");

fn options(database_url: Option<&str>, out: &Path) -> RefreshOptions {
    RefreshOptions { database_url: database_url.map(str::to_owned), out: out.to_path_buf() }
}

/// A tree like this one, with the settings of rustfmt and a copy of the entities in `src`.
fn copy_of_entities() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/../.rustfmt.toml");
    fs::copy(settings, tree.path().join(".rustfmt.toml")).unwrap();
    fs::create_dir(tree.path().join("src")).unwrap();
    for entry in fs::read_dir(ENTITIES).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), tree.path().join("src").join(entry.file_name())).unwrap();
    }
    tree
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    contents.sort();
    contents
}

async fn the_entities_are_fresh(database_url: Option<&str>) {
    let check = check(options(database_url, Path::new(ENTITIES))).await.unwrap();
    assert!(check.is_clean(), "{check}");
}

async fn a_refresh_from_nothing_gives_the_entities(database_url: Option<&str>) {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    fs::remove_dir_all(&out).unwrap();
    let report = refresh(options(database_url, &out)).await.unwrap();
    assert_eq!(report.added.len(), contents(Path::new(ENTITIES)).len());
    assert!(contents(&out) == contents(Path::new(ENTITIES)), "the refreshed folder differs from the entities");
    let again = refresh(options(database_url, &out)).await.unwrap();
    assert!(again.is_empty(), "{again}");
}

#[tokio::test]
async fn the_entities_are_fresh_sqlite() {
    the_entities_are_fresh(None).await;
}

#[tokio::test]
async fn the_entities_are_fresh_postgres() {
    let server = or_skip!(postgres::shared().await);
    the_entities_are_fresh(Some(&server.url("postgres"))).await;
}

#[tokio::test]
async fn a_refresh_from_nothing_gives_the_entities_sqlite() {
    a_refresh_from_nothing_gives_the_entities(None).await;
}

#[tokio::test]
async fn a_refresh_from_nothing_gives_the_entities_postgres() {
    let server = or_skip!(postgres::shared().await);
    a_refresh_from_nothing_gives_the_entities(Some(&server.url("postgres"))).await;
}

#[tokio::test]
async fn a_changed_byte_is_found_and_put_right() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    let users = out.join("users.rs");
    let changed = fs::read_to_string(&users).unwrap().replacen("pub email: String", "pub email: Strinh", 1);
    fs::write(&users, changed).unwrap();

    let found = check(options(None, &out)).await.unwrap();
    assert!(!found.is_clean());
    let [difference] = &found.differences[..] else { panic!("{found}") };
    assert_eq!((difference.file.as_str(), difference.change), ("users.rs", Change::Changed));
    assert!(difference.diff.starts_with(&format!("--- {}\n", users.display())), "{}", difference.diff);
    assert!(difference.diff.contains("\n-    pub email: Strinh,\n+    pub email: String,\n"), "{}", difference.diff);

    let report = refresh(options(None, &out)).await.unwrap();
    assert_eq!(report.changed, ["users.rs"]);
    assert!(contents(&out) == contents(Path::new(ENTITIES)));
}

#[tokio::test]
async fn every_table_is_described() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    let file = out.join("tables.md");
    let described = fs::read_to_string(&file).unwrap();
    for (name, _) in contents(&out) {
        let Some(table) = name.strip_suffix(".rs").filter(|name| !["lib", "prelude"].contains(name)) else { continue };
        assert!(described.contains(&format!("\n## {table}\n")), "{table}");
    }
    for line in [
        "| [users](#users) | 10 | cached, audited |",
        "| email | text |  |  |  |",
        "| avatar | text | null |  |  |",
        "| version | bigint |  | `1` |  |",
        "| author_id | uuid |  |  | [users](#users) |",
        "- uq_users_email: on `lower(email)`, unique",
        "- uq_subscriptions_user_id: on `user_id`, unique, where `status = 'active'`",
        "- ck_transfers_amount: `CHECK (amount > 0)`",
        "- [contents](#contents): author_id to id, on delete restrict",
        "- audited: who changed what is written into `outbox`, without the values of stripe_customer_id",
        "- trigger tr_transfers_append_only_update",
    ] {
        assert!(described.contains(&format!("{line}\n")), "{line}\n{described}");
    }
    fs::write(&file, described.replacen("| avatar |", "| picture |", 1)).unwrap();
    let found = check(options(None, &out)).await.unwrap();
    let [difference] = &found.differences[..] else { panic!("{found}") };
    assert_eq!((difference.file.as_str(), difference.change), ("tables.md", Change::Changed));
}

#[tokio::test]
async fn files_of_dropped_tables_are_removed_and_missing_ones_added() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    fs::copy(out.join("tags.rs"), out.join("labels.rs")).unwrap();
    fs::remove_file(out.join("tags.rs")).unwrap();

    let found = check(options(None, &out)).await.unwrap();
    let changes: Vec<_> = found.differences.iter().map(|found| (found.file.as_str(), found.change)).collect();
    assert_eq!(changes, [("labels.rs", Change::Removed), ("tags.rs", Change::Added)]);

    refresh(options(None, &out)).await.unwrap();
    assert!(contents(&out) == contents(Path::new(ENTITIES)));
}

#[tokio::test]
async fn what_was_written_by_hand_is_never_removed() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    fs::write(out.join("mine.rs"), "pub struct Mine;\n").unwrap();
    fs::write(out.join("lib.rs"), "pub mod mine;\n").unwrap();
    let before = contents(&out);
    let error = refresh(options(None, &out)).await.unwrap_err();
    assert!(matches!(&error, EntityError::Foreign { path } if path.ends_with("mine.rs")), "{error}");
    assert!(contents(&out) == before, "a refused refresh changed the folder");
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    fs::remove_dir_all(&out).unwrap();
    assert!(!check(options(None, &out)).await.unwrap().is_clean());
    assert!(!out.exists());
}

#[tokio::test]
async fn errors_name_what_to_do_and_show_no_password() {
    let tree = copy_of_entities();
    let out = tree.path().join("src");
    for url in
        ["postgres://someone:hunter2@127.0.0.1:1/x", "mysql://someone:hunter2@127.0.0.1/x", "postgres://:hunter2"]
    {
        let options = options(Some(url), &out);
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = refresh(options).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let lost = options(None, &tree.path().join("nowhere/src"));
    assert!(matches!(refresh(lost).await.unwrap_err(), EntityError::NoFolder { .. }));
}
