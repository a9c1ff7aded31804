//! What somebody changed in the entities becomes a migration that leads there and back, and loses nothing on the way.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use api::{
    command::{
        change::Answers,
        db::{DbError, PushOptions, push},
        entity::{RefreshOptions, check, check_against},
        migrate::{DiffOptions, MigrateError, Options, diff, work_out},
    },
    schema::{Schema, differences},
};
use domain::{NewDataModel, NewUser};
use migration::MigrationTrait;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::SchemaManager;
use serde_json::json;
use tempfile::TempDir;
use tests::{TestApp, TestDatabase, on_both, run::LIMIT, within};

use crate::fixture::{new_content, new_tag, new_user, store, workspace_of};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A change of the entities.
struct Case {
    name: &'static str,
    /// File, what is in it, and what is in its place.
    edits: &'static [(&'static str, &'static str, &'static str)],
    renames: &'static [&'static str],
    drops: &'static [&'static str],
    /// Something that the migration has to say.
    says: &'static str,
    /// The columns whose values are gone, as in `users.avatar`.
    loses: &'static [&'static str],
    /// Whether rows that there are keep it from being taken back, because nothing can be made up for them.
    is_stuck: bool,
}

const fn case(
    name: &'static str,
    edits: &'static [(&'static str, &'static str, &'static str)],
    says: &'static str,
) -> Case {
    Case { name, edits, renames: &[], drops: &[], says, loses: &[], is_stuck: false }
}

const AVATAR: &str = "    #[sea_orm(column_type = \"Text\", nullable)]\n    pub avatar: Option<String>,\n";
const NAME: &str = "    pub name: String,\n";
const BALANCE: &str = "    pub balance: i64,\n";
const OWNER: &str = "    #[sea_orm(belongs_to, from = \"owner_id\", to = \"id\", on_update = \"NoAction\", on_delete = \"Restrict\")]\n    \
                     pub users: BelongsTo<Option<super::users::Entity>>,\n";

/// The entity of a table that is a record.
const INVOICES: &str = r#"
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invoices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub version: i64,
    pub created_at: DateTimeWithTimeZone,
    pub updated_at: DateTimeWithTimeZone,
    #[sea_orm(column_type = "Text", unique)]
    pub number: String,
    pub user_id: Uuid,
    pub due: Option<Date>,
    #[sea_orm(belongs_to, from = "user_id", to = "id", on_update = "NoAction", on_delete = "Restrict")]
    pub users: BelongsTo<super::users::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
"#;

/// Two that are none, and of which one refers to the other.
const SHELVES: &str = r#"
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "shelves")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub parent_id: Option<Uuid>,
    #[sea_orm(column_type = "Double")]
    pub width: f64,
    pub is_open: bool,
    #[sea_orm(belongs_to, from = "parent_id", to = "id", on_update = "NoAction", on_delete = "Cascade")]
    pub shelves: BelongsTo<Option<super::shelves::Entity>>,
}

impl ActiveModelBehavior for ActiveModel {}
"#;

const BOOKS_ON_SHELVES: &str = r#"
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "books_on_shelves")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shelf_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub place: i64,
    #[sea_orm(column_type = "VarBinary(StringLen::None)", nullable)]
    pub cover: Option<Vec<u8>>,
    #[sea_orm(belongs_to, from = "shelf_id", to = "id", on_update = "NoAction", on_delete = "Cascade")]
    pub shelves: BelongsTo<super::shelves::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
"#;

const CASES: &[Case] = &[
    case(
        "a text that may be missing",
        &[(
            "users.rs",
            AVATAR,
            "    #[sea_orm(column_type = \"Text\", nullable)]\n    pub avatar: Option<String>,\n    #[sea_orm(column_type = \"Text\", nullable)]\n    pub nickname: Option<String>,\n",
        )],
        ".add_column(text_null(\"nickname\"))",
    ),
    case(
        "a number with a value",
        &[(
            "users.rs",
            AVATAR,
            "    #[sea_orm(column_type = \"Text\", nullable)]\n    pub avatar: Option<String>,\n    #[sea_orm(default_value = 7)]\n    pub points: i64,\n",
        )],
        ".add_column_filled(big_integer(\"points\"), 7)",
    ),
    case(
        "a text with a value",
        &[(
            "users.rs",
            NAME,
            "    pub name: String,\n    #[sea_orm(column_type = \"Text\", default_value = \"it's\")]\n    pub motto: String,\n",
        )],
        ".add_column_filled(text(\"motto\"), \"it's\")",
    ),
    case(
        "a flag with a value",
        &[(
            "accounts.rs",
            BALANCE,
            "    pub balance: i64,\n    #[sea_orm(default_value = true)]\n    pub is_open: bool,\n",
        )],
        ".add_column_filled(boolean(\"is_open\"), true)",
    ),
    case(
        "a float with a value",
        &[(
            "accounts.rs",
            BALANCE,
            "    pub balance: i64,\n    #[sea_orm(column_type = \"Double\", default_value = -1.5)]\n    pub rate: f64,\n",
        )],
        ".add_column_filled(double(\"rate\"), -1.5)",
    ),
    case(
        "every type that may be missing",
        &[(
            "profiles.rs",
            "    pub birth_date: Option<Date>,\n",
            "    pub birth_date: Option<Date>,\n    pub a: Option<i16>,\n    #[sea_orm(column_type = \"Float\", nullable)]\n    pub b: Option<f32>,\n    pub c: Option<bool>,\n    #[sea_orm(column_type = \"VarBinary(StringLen::None)\", nullable)]\n    pub d: Option<Vec<u8>>,\n    pub e: Option<Date>,\n    pub f: Option<Time>,\n    pub g: Option<DateTime>,\n    pub h: Option<DateTimeWithTimeZone>,\n    pub i: Option<Json>,\n    #[sea_orm(column_type = \"JsonBinary\", nullable)]\n    pub j: Option<Json>,\n    pub k: Option<Uuid>,\n    pub l: Option<String>,\n    #[sea_orm(column_type = \"String(StringLen::N(40))\", nullable)]\n    pub m: Option<String>,\n",
        )],
        ".add_column(string_len_null(\"m\", 40))",
    ),
    Case {
        loses: &["users.avatar"],
        ..case("a column is no more", &[("users.rs", AVATAR, "")], ".drop_column(\"avatar\")")
    },
    Case {
        loses: &["users.last_active_at"],
        ..case(
            "with its index",
            &[("users.rs", "    pub last_active_at: Option<DateTimeWithTimeZone>,\n", "")],
            ".without_index(\"ix_users_last_active_at\")",
        )
    },
    Case {
        loses: &["users.status"],
        ..case(
            "with its check and its index",
            &[("users.rs", "    #[sea_orm(column_type = \"Text\")]\n    pub status: String,\n", "")],
            ".without_check(\"ck_users_status\")",
        )
    },
    Case {
        is_stuck: true,
        ..case(
            "with a unique index on an expression, and told to the cache",
            &[("users.rs", "    #[sea_orm(column_type = \"Text\")]\n    pub email: String,\n", "")],
            ".cached(&[Key::Row])",
        )
    },
    Case {
        is_stuck: true,
        ..case(
            "with its reference",
            &[
                ("accounts.rs", "    pub owner_id: Uuid,\n", ""),
                (
                    "accounts.rs",
                    "    #[sea_orm(belongs_to, from = \"owner_id\", to = \"id\", on_update = \"NoAction\", on_delete = \"Restrict\")]\n    pub users: BelongsTo<super::users::Entity>,\n",
                    "",
                ),
            ],
            ".without_reference(\"owner_id\")",
        )
    },
    Case {
        loses: &["contents.body"],
        drops: &["contents.body"],
        ..case(
            "in whose place another one comes",
            &[("contents.rs", "    pub body: String,\n", "    pub summary: Option<String>,\n")],
            ".drop_column(\"body\")",
        )
    },
    Case {
        renames: &["users.name=full_name"],
        ..case(
            "another name",
            &[("users.rs", NAME, "    pub full_name: String,\n")],
            ".rename_column(\"name\", \"full_name\")",
        )
    },
    case(
        "another name that the entity says",
        &[(
            "users.rs",
            "    #[sea_orm(column_type = \"Text\")]\n    pub name: String,\n",
            "    #[sea_orm(column_type = \"Text\", renamed_from = \"name\")]\n    pub full_name: String,\n",
        )],
        ".rename_column(\"name\", \"full_name\")",
    ),
    Case {
        renames: &["users.email=address"],
        ..case(
            "another name of what is unique",
            &[("users.rs", "    pub email: String,\n", "    pub address: String,\n")],
            ".rename_index(\"uq_users_email\", \"uq_users_address\")",
        )
    },
    Case {
        renames: &["users.status=standing"],
        ..case(
            "another name of what is checked",
            &[("users.rs", "    pub status: String,\n", "    pub standing: String,\n")],
            ".rename_constraint(\"ck_users_status\", \"ck_users_standing\")",
        )
    },
    Case {
        renames: &["accounts.owner_id=holder_id"],
        ..case(
            "another name of a reference",
            &[
                ("accounts.rs", "    pub owner_id: Uuid,\n", "    pub holder_id: Uuid,\n"),
                ("accounts.rs", "from = \"owner_id\"", "from = \"holder_id\""),
            ],
            ".rename_constraint(\"fk_accounts_owner_id\", \"fk_accounts_holder_id\")",
        )
    },
    case(
        "what had to be there may be missing",
        &[("accounts.rs", BALANCE, "    pub balance: Option<i64>,\n")],
        ".optional(\"balance\")",
    ),
    case(
        "what may be missing has to be there",
        &[(
            "users.rs",
            "#[sea_orm(column_type = \"Text\", nullable)]\n    pub avatar: Option<String>,",
            "#[sea_orm(column_type = \"Text\", default_value = \"none\")]\n    pub avatar: String,",
        )],
        ".required_filled(\"avatar\", \"none\")",
    ),
    case(
        "what is there already has to be",
        &[
            ("data_models.rs", "    pub owner_id: Option<Uuid>,\n", "    pub owner_id: Uuid,\n"),
            ("data_models.rs", "BelongsTo<Option<super::users::Entity>>", "BelongsTo<super::users::Entity>"),
        ],
        ".required(\"owner_id\")",
    ),
    case(
        "a text becomes a shorter one",
        &[(
            "contents.rs",
            "    #[sea_orm(column_type = \"Text\")]\n    pub title: String,\n",
            "    pub title: String,\n",
        )],
        ".retype(string(\"title\"))",
    ),
    case(
        "a number becomes a text",
        &[(
            "content_tags.rs",
            "    pub position: i64,\n",
            "    #[sea_orm(column_type = \"Text\")]\n    pub position: String,\n",
        )],
        ".retype(text(\"position\"))",
    ),
    case(
        "a number becomes a smaller one",
        &[("content_tags.rs", "    pub position: i64,\n", "    pub position: i16,\n")],
        ".retype(small_integer(\"position\"))",
    ),
    case(
        "JSON becomes text of it",
        &[(
            "data_models.rs",
            "    #[sea_orm(column_type = \"JsonBinary\")]\n    pub fields: Json,\n",
            "    pub fields: Json,\n",
        )],
        ".retype(json(\"fields\"))",
    ),
    case(
        "a column is unique",
        &[(
            "contents.rs",
            "    #[sea_orm(column_type = \"Text\")]\n    pub title: String,\n",
            "    #[sea_orm(column_type = \"Text\", unique)]\n    pub title: String,\n",
        )],
        ".unique(&[\"title\"])",
    ),
    case(
        "a column is not unique any more",
        &[("data_models.rs", "column_type = \"Text\", unique", "column_type = \"Text\"")],
        ".without_index(\"uq_data_models_name\")",
    ),
    case(
        "columns are unique together",
        &[
            (
                "accounts.rs",
                "    pub owner_id: Uuid,\n",
                "    #[sea_orm(unique_key = \"own\")]\n    pub owner_id: Uuid,\n",
            ),
            (
                "accounts.rs",
                "    #[sea_orm(column_type = \"Text\")]\n    pub currency",
                "    #[sea_orm(column_type = \"Text\", unique_key = \"own\")]\n    pub currency",
            ),
        ],
        ".unique(&[\"owner_id\", \"currency\"])",
    ),
    case(
        "a reference",
        &[
            (
                "contents.rs",
                "    pub author_id: Uuid,\n",
                "    pub author_id: Uuid,\n    pub editor_id: Option<Uuid>,\n",
            ),
            (
                "contents.rs",
                "    #[sea_orm(has_many, via",
                "    #[sea_orm(belongs_to, relation_enum = \"Editor\", from = \"editor_id\", to = \"id\", on_delete = \"SetNull\")]\n    pub editor: BelongsTo<Option<super::users::Entity>>,\n    #[sea_orm(has_many, via",
            ),
        ],
        ".references_as(\"editor_id\", \"users\", ForeignKeyAction::NoAction, ForeignKeyAction::SetNull)",
    ),
    case("no reference any more", &[("data_models.rs", OWNER, "")], ".without_reference(\"owner_id\")"),
    case(
        "a reference that goes along",
        &[("data_models.rs", "on_delete = \"Restrict\"", "on_delete = \"Cascade\"")],
        ".references_as(\"owner_id\", \"users\", ForeignKeyAction::NoAction, ForeignKeyAction::Cascade)",
    ),
    case("a record", &[("invoices.rs", "", INVOICES)], "record(\"invoices\")"),
    case(
        "tables that are no records",
        &[("books_on_shelves.rs", "", BOOKS_ON_SHELVES), ("shelves.rs", "", SHELVES)],
        ".primary_key(&[\"shelf_id\", \"place\"])",
    ),
    Case {
        loses: &["tags.", "content_tags."],
        ..case(
            "tables are no more",
            &[("tags.rs", "", ""), ("content_tags.rs", "", "")],
            "drop_cached(schema, \"content_tags\")",
        )
    },
    Case {
        renames: &["users=people"],
        ..case(
            "another name of a table",
            &[("users.rs", "", ""), ("people.rs", "", "users.rs")],
            ".rename_table(\"people\")",
        )
    },
    Case {
        renames: &["users.name=full_name"],
        loses: &["users.avatar"],
        ..case(
            "much at once",
            &[
                (
                    "users.rs",
                    NAME,
                    "    pub full_name: String,\n    #[sea_orm(default_value = 1)]\n    pub rank: i64,\n",
                ),
                ("users.rs", AVATAR, ""),
                (
                    "users.rs",
                    "    pub last_active_at: Option<DateTimeWithTimeZone>,\n",
                    "    #[sea_orm(default_value = \"2026-01-01T00:00:00+00:00\")]\n    pub last_active_at: DateTimeWithTimeZone,\n",
                ),
                ("invoices.rs", "", INVOICES),
                ("data_models.rs", OWNER, ""),
            ],
            ".required_filled(\"last_active_at\"",
        )
    },
];

/// What of a workspace a migration is written into.
fn workspace() -> TempDir {
    workspace_of(&["entity/src", "migration/src"])
}

/// Changes the entities: with nothing in a place, the file is new; with nothing at all, it is gone.
fn edit(workspace: &TempDir, edits: &[(&str, &str, &str)]) {
    let folder = workspace.path().join("entity/src");
    for &(file, from, to) in edits {
        let path = folder.join(file);
        match (from, to) {
            ("", "") => {
                fs::rename(&path, folder.join(format!("{file}.gone"))).unwrap();
                // What refers to it goes, too.
                forget(&folder, file.trim_end_matches(".rs"));
            }
            ("", text) if text.ends_with(".rs") => {
                let gone = fs::read_to_string(folder.join(format!("{text}.gone"))).unwrap();
                let name = |file: &str| file.trim_end_matches(".rs").to_owned();
                let renamed = gone.replace(&format!("\"{}\"", name(text)), &format!("\"{}\"", name(file)));
                fs::write(&path, renamed).unwrap();
                for entry in fs::read_dir(Path::new(ROOT).join("entity/src")).unwrap() {
                    let original = entry.unwrap().path();
                    let here = folder.join(original.file_name().unwrap());
                    if here.is_file() && original.extension().is_some_and(|ending| ending == "rs") {
                        let (from, to) = (format!("super::{}::", name(text)), format!("super::{}::", name(file)));
                        fs::write(&here, fs::read_to_string(&original).unwrap().replace(&from, &to)).unwrap();
                    }
                }
            }
            ("", text) => fs::write(&path, text).unwrap(),
            _ => {
                let before = fs::read_to_string(&path).unwrap();
                assert!(before.contains(from), "{file} has no {from:?}");
                fs::write(&path, before.replacen(from, to, 1)).unwrap();
            }
        }
    }
}

/// Takes the fields out of all entities whose type is of this module.
fn forget(folder: &Path, module: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut kept: Vec<&str> = Vec::new();
        for line in text.lines() {
            if line.contains(&format!("super::{module}::")) {
                while kept.last().is_some_and(|line| {
                    line.trim_start().starts_with("#[sea_orm") || line.starts_with("        ") || line.trim() == ")]"
                }) {
                    kept.pop();
                }
                continue;
            }
            kept.push(line);
        }
        if path.extension().is_some_and(|ending| ending == "rs") {
            fs::write(&path, kept.join("\n")).unwrap();
        }
    }
}

fn options(workspace: &TempDir, renames: &[&str], drops: &[&str]) -> DiffOptions {
    DiffOptions {
        name: "change it".to_owned(),
        answers: Answers {
            renames: renames.iter().map(|rename| rename.parse().unwrap()).collect(),
            drops: drops.iter().map(|&name| name.to_owned()).collect(),
        },
        to: None,
        entities: workspace.path().join("entity/src"),
        out: Some(workspace.path().join("migration/src")),
    }
}

/// A row in each table that the cases change.
async fn fill(database: &TestDatabase) {
    let store = store(database).await;
    let ada = json!({
        "email": "ada@example.org",
        "name": "Ada",
        "avatar": "https://example.org/ada.png",
        "profile": { "city": "London", "birth_date": "1815-12-10" },
        "accounts": ["EUR"],
    });
    let user = store.insert(serde_json::from_value::<NewUser>(ada).unwrap()).await.unwrap();
    let tag = store.insert(new_tag("engines")).await.unwrap();
    let content = domain::NewContent { tags: vec![tag.id], ..new_content(user.id, "Notes") };
    store.insert(content).await.unwrap();
    store.insert(new_user("grace")).await.unwrap();
    let model = NewDataModel { owner_id: Some(user.id), name: "machine".to_owned(), fields: Vec::new() };
    store.insert(model).await.unwrap();
    store.close().await;
}

/// Every value of every table of the application, by its column, as text.
async fn values(connection: &DatabaseConnection) -> BTreeMap<String, Vec<String>> {
    let schema = Schema::read(connection).await.unwrap();
    let mut values = BTreeMap::new();
    for (name, table) in &schema.tables {
        if name.starts_with('_')
            || ["seaql_migrations", "outbox", "cache_outbox", "documents", "audit_head"].contains(&name.as_str())
        {
            continue;
        }
        for column in &table.columns {
            let value = match connection.get_database_backend() {
                DbBackend::Sqlite => format!("quote(\"{}\")", column.name),
                _ => format!("coalesce(\"{}\"::text, 'NULL')", column.name),
            };
            let sql = format!("SELECT {value} FROM \"{name}\" ORDER BY 1");
            let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
            let found = rows.unwrap().iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect();
            values.insert(format!("{name}.{}", column.name), found);
        }
    }
    values
}

async fn take(
    connection: &DatabaseConnection,
    migration: &dyn MigrationTrait,
    is_up: bool,
) -> Result<(), sea_orm::DbErr> {
    let transaction = connection.begin().await?;
    let schema = SchemaManager::new(&transaction);
    match is_up {
        true => migration.up(&schema).await?,
        false => migration.down(&schema).await?,
    }
    transaction.commit().await
}

async fn there_and_back(database: &TestDatabase) {
    fill(database).await;
    let connection = database.connect().await;
    let schema = Schema::read(&connection).await.unwrap();
    for Case { name, edits, renames, drops, says, loses, is_stuck } in CASES {
        let workspace = workspace();
        edit(&workspace, edits);
        let worked_out = match work_out(&options(&workspace, renames, drops)).await {
            Ok(worked_out) => worked_out,
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(worked_out.changes().concat().contains(says), "{name}: {:?}", worked_out.changes());
        let (migration, rows) = (worked_out.migration(), values(&connection).await);
        if *is_stuck {
            let transaction = connection.begin().await.unwrap();
            migration.up(&SchemaManager::new(&transaction)).await.unwrap();
            assert!(migration.down(&SchemaManager::new(&transaction)).await.is_err(), "{name}: something is made up");
            transaction.rollback().await.unwrap();
            continue;
        }
        let go = async |is_up: bool| match take(&connection, &*migration, is_up).await {
            Ok(()) => (Schema::read(&connection).await.unwrap(), values(&connection).await),
            Err(error) => panic!("{name}, up {is_up}: {error}\n{:?}", worked_out.changes()),
        };

        let (up, filled) = go(true).await;
        assert!(!differences(&schema, &up).is_empty(), "{name}: nothing has changed");
        let told = |before: &Schema, after: &Schema| {
            differences(before, after).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (down, kept) = go(false).await;
        assert_eq!(told(&schema, &down), [""; 0], "{name}: the way back leads elsewhere");
        for (column, before) in &rows {
            let is_lost = loses.iter().any(|lost| column == lost || lost.ends_with('.') && column.starts_with(lost));
            // What had no value before, and has to have one after, keeps that.
            let is_filled =
                filled.get(column).is_some_and(|after| after != before && before.contains(&"NULL".to_owned()));
            if !is_lost && !is_filled {
                assert_eq!(&kept[column], before, "{name}: {column} is not what it was");
            }
        }
        let (again, _) = go(true).await;
        assert_eq!(told(&up, &again), [""; 0], "{name}: the second time it is otherwise");
        go(false).await;
    }
    connection.close().await.unwrap();
}

on_both! {
    within Duration::from_secs(300);

    async fn each_change_leads_there_and_back_and_loses_nothing(database: TestDatabase) {
        assert!(CASES.len() >= 30);
        there_and_back(&database).await;
    }
}

async fn refused(workspace: &TempDir, renames: &[&str], drops: &[&str]) -> String {
    let before = files(workspace);
    let error = diff(options(workspace, renames, drops), "unused".into(), SystemTime::now()).await.unwrap_err();
    assert_eq!(files(workspace), before, "something was written");
    assert!(matches!(error, MigrateError::Change(_)), "{error:?}");
    error.to_string()
}

fn files(workspace: &TempDir) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for folder in ["entity/src", "migration/src"] {
        for entry in fs::read_dir(workspace.path().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            files.insert(path.to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_new_name_is_never_taken_for_a_loss() {
    within(LIMIT, async {
        let workspace = workspace();
        edit(&workspace, &[("users.rs", NAME, "    pub full_name: String,\n")]);
        let says = refused(&workspace, &[], &[]).await;
        for part in
            ["users.name is gone", "users.full_name is new", "--rename users.name=full_name", "--drop users.name"]
        {
            assert!(says.contains(part), "{says}");
        }
        assert!(refused(&workspace, &["users.nam=full_name"], &["users.name"]).await.contains("fits nothing"));
        let says = refused(&workspace, &[], &["users.name"]).await;
        assert!(says.contains("users.full_name has to have a value") && says.contains("default_value"), "{says}");

        let workspace = self::workspace();
        edit(&workspace, &[("users.rs", "", ""), ("people.rs", "", "users.rs")]);
        let says = refused(&workspace, &[], &[]).await;
        assert!(says.contains("users is gone and people is new") && says.contains("--rename users=people"), "{says}");
    });
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_written() {
    within(LIMIT, async {
        type Wrong = (&'static str, &'static str, &'static str, &'static str);
        const WRONG: &[Wrong] = &[
            ("users.rs", AVATAR, "    pub avatar: Option<i32>,\n", "avatar is i32: use i64"),
            ("users.rs", AVATAR, "    pub avatar: Option<Decimal>,\n", "avatar is Decimal"),
            ("users.rs", AVATAR, "    pub avatar: Option<Uuid>,\n", "users.avatar cannot become uuid from text"),
            ("users.rs", AVATAR, "    pub avatar Option<Uuid>,\n", "users.rs cannot be understood"),
            (
                "users.rs",
                "    pub version: i64,\n",
                "    #[sea_orm(primary_key)]\n    pub version: i64,\n",
                "the primary key of users",
            ),
            ("users.rs", "column_type = \"Text\"", "column_typ = \"Text\"", "`column_typ` is nothing that SeaORM"),
            ("data_models.rs", "to = \"id\"", "to = \"email\"", "by hand"),
            ("data_models.rs", "super::users::Entity", "super::nobody::Entity", "nobody"),
            ("users.rs", NAME, "    pub name: String,\n    pub team_id: Uuid,\n", "users.team_id has to have a value"),
        ];
        for (file, from, to, expected) in WRONG {
            let workspace = workspace();
            edit(&workspace, &[(*file, *from, *to)]);
            let says = refused(&workspace, &[], &[]).await;
            assert!(says.contains(expected), "{to:?}: {says}");
        }
    });
}

#[test]
fn what_is_written_is_in_the_list_and_the_entities_are_fresh() {
    within(LIMIT, async {
        let workspace = workspace();
        let before = files(&workspace);
        let nothing = diff(options(&workspace, &[], &[]), "unused".into(), SystemTime::now()).await.unwrap();
        assert!(nothing.migration.is_none() && nothing.to_string().contains("nothing to write"), "{nothing}");
        assert_eq!(files(&workspace), before);

        // As people type it.
        let typed = "    #[sea_orm(column_type=\"Text\",nullable)] pub nickname:Option<String>,\n";
        edit(&workspace, &[("users.rs", AVATAR, typed)]);
        let written = diff(options(&workspace, &["users.avatar=nickname"], &[]), "unused".into(), SystemTime::now());
        let written = written.await.unwrap();
        let migration = written.migration.as_ref().unwrap();
        let text = fs::read_to_string(&migration.file).unwrap();
        assert!(
            text.contains("alter(\"users\").rename_column(\"avatar\", \"nickname\").apply(schema).await"),
            "{text}"
        );
        assert!(
            text.contains("alter(\"users\").rename_column(\"nickname\", \"avatar\").apply(schema).await"),
            "{text}"
        );
        assert!(text.contains("/// Change it.") && migration.name.ends_with("_change_it"), "{text}");
        let list = fs::read_to_string(&migration.list).unwrap();
        assert!(list.contains(&format!("Box::new({}::Migration),", migration.name)), "{list}");
        let entity = fs::read_to_string(workspace.path().join("entity/src/users.rs")).unwrap();
        let expected = AVATAR.replace("avatar", "nickname");
        assert!(entity.contains(&expected), "{entity}");
        let rules = written.lint.findings.iter().map(|finding| finding.rule.to_string()).collect::<Vec<_>>();
        assert_eq!(rules, ["M04"], "{written}");
        assert!(written.to_string().contains("it was tried, up and down"), "{written}");
        assert!(written.to_string().contains("/entity/src/users.rs\n"), "{written}");

        // This program does not have it, and would write it once more.
        edit(&workspace, &[("users.rs", NAME, "    pub name: String,\n    pub nothing: Option<i64>,\n")]);
        let says = refused(&workspace, &[], &[]).await;
        assert!(says.contains(&migration.name) && says.contains("cargo build"), "{says}");
    });
}

#[test]
fn the_readme_s_example_is_what_is_written() {
    within(LIMIT, async {
        let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
        let mut blocks = readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let fields = blocks.by_ref().find(|block| block.contains("renamed_from")).unwrap();
        let code = blocks.next().unwrap().trim();
        let workspace = workspace();
        edit(&workspace, &[("users.rs", &format!("    #[sea_orm(column_type = \"Text\")]\n{NAME}"), fields)]);
        let written = work_out(&options(&workspace, &[], &[])).await.unwrap();
        assert_eq!(written.changes(), [code.trim_end_matches(".await")]);
    });
}

on_both! {
    async fn a_database_can_be_what_it_leads_to(database: TestDatabase) {
        let workspace = workspace();
        let url = Some(database.url.clone());
        let to = || DiffOptions { to: url.clone(), ..options(&workspace, &[], &[]) };
        let same = diff(to(), "unused".into(), SystemTime::now()).await.unwrap();
        assert!(same.migration.is_none() && same.left.is_empty(), "{same}");

        let connection = database.connect().await;
        for sql in [
            "ALTER TABLE users ADD COLUMN nickname text",
            "CREATE INDEX ix_users_nickname ON users (nickname)",
            "CREATE UNIQUE INDEX uq_contents_title ON contents (title)",
        ] {
            connection.execute_unprepared(sql).await.unwrap();
        }
        let written = diff(to(), "unused".into(), SystemTime::now()).await.unwrap();
        assert_eq!(written.changes.len(), 2, "{written}");
        assert!(written.changes.concat().contains(".add_column(text_null(\"nickname\"))"), "{written}");
        assert!(written.changes.concat().contains(".unique(&[\"title\"])"), "{written}");
        let left = written.left.iter().filter(|left| !left.contains("trigger") && !left.contains("function"));
        let left = left.collect::<Vec<_>>();
        assert!(matches!(&left[..], [index] if index.starts_with("the index ix_users_nickname of users")), "{left:?}");
        let fresh = RefreshOptions { database_url: None, out: workspace.path().join("entity/src") };
        let entity = fs::read_to_string(fresh.out.join("users.rs")).unwrap();
        assert!(entity.contains("pub nickname: Option<String>"), "{entity}");
        assert!(!check(fresh).await.unwrap().is_clean(), "the migration is not compiled yet");
    }

    async fn entities_are_compared_with_a_database_in_use(database: TestDatabase) {
        let workspace = workspace();
        let entities = workspace.path().join("entity/src");
        let same = check_against(&database.url, &entities).await.unwrap();
        assert!(same.is_clean(), "{same}");
        let connection = database.connect().await;
        connection.execute_unprepared("ALTER TABLE users ADD COLUMN nickname text").await.unwrap();
        let other = check_against(&database.url, &entities).await.unwrap();
        assert!(other.to_string().contains("+    pub nickname: Option<String>,"), "{other}");
        let entities = entities.to_str().unwrap();
        let output = TestApp::run(&["entity", "check", "--against", &database.url, "--out", entities], &[]).await;
        assert_eq!(output.code(), Some(1), "{output:?}");
    }

    async fn what_is_tried_is_pushed_and_loses_nothing_unasked(database: TestDatabase) {
        fill(&database).await;
        let workspace = workspace();
        let pushed = async |drops: &[&str], lose_data: bool, production: bool| {
            let DiffOptions { answers, entities, .. } = options(&workspace, &[], drops);
            push(&database.url, &Options::default(), production, &PushOptions { answers, lose_data, entities }).await
        };
        assert_eq!(pushed(&[], false, false).await.unwrap().changes, [""; 0]);
        let connection = database.connect().await;
        let before = values(&connection).await;

        edit(&workspace, &[("users.rs", NAME, "    pub name: String,\n    #[sea_orm(default_value = 3)]\n    pub points: i64,\n")]);
        assert!(matches!(pushed(&[], false, true).await, Err(DbError::NotInProduction)));
        assert_eq!(values(&connection).await, before);
        let done = pushed(&[], false, false).await.unwrap();
        assert_eq!(done.changes, ["alter(\"users\").add_column_filled(big_integer(\"points\"), 3).apply(schema)"]);
        assert_eq!(values(&connection).await["users.points"], ["3", "3"]);
        assert!(pushed(&[], false, false).await.unwrap().changes.is_empty(), "the second time there is nothing to do");

        edit(&workspace, &[("users.rs", AVATAR, "")]);
        let refused = pushed(&[], false, false).await.unwrap_err().to_string();
        assert_eq!(refused, "this loses users.avatar of 1 row: add --lose-data if that is meant");
        assert_eq!(values(&connection).await["users.avatar"], before["users.avatar"]);
        let done = pushed(&[], true, false).await.unwrap();
        assert!(done.to_string().contains("lost users.avatar of 1 row"), "{done}");
        assert!(!values(&connection).await.contains_key("users.avatar"));

        // What is empty is no loss.
        edit(&workspace, &[("profiles.rs", "    #[sea_orm(column_type = \"Text\", nullable)]\n    pub avatar_url: Option<String>,\n", "")]);
        assert_eq!(pushed(&[], false, false).await.unwrap().lost, []);
        let entities = workspace.path().join("entity/src");
        let url = ("DATABASE_URL", database.url.as_str());
        let arguments = ["db", "push", "--entities", entities.to_str().unwrap()];
        let output = TestApp::run(&arguments, &[url]).await;
        assert!(output.stdout.contains("nothing to do: the database is as the entities say"), "{output:?}");
    }
}
