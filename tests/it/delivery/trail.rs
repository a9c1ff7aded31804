//! The audit trail beside the data that it is about: whether each change is in it once, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::Value;
use tests::{Backend, TestDatabase};

/// The tables that the tests write to.
const TABLES: [&str; 5] = ["users", "profiles", "accounts", "tags", "transfers"];

/// What was delivered, and what is there.
#[derive(Clone)]
pub(super) struct Trail {
    /// In the order of their sequence.
    pub(super) entries: Vec<Value>,
    /// The versions of all rows, by entity; 1 where there is none.
    rows: BTreeMap<String, i64>,
    logged: BTreeSet<String>,
}

async fn query(connection: &DatabaseConnection, sql: impl Into<String>) -> Vec<sea_orm::QueryResult> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    connection.query_all_raw(statement).await.unwrap()
}

/// The one number that a query gives.
pub(super) async fn count(connection: &DatabaseConnection, sql: &str) -> i64 {
    query(connection, sql).await[0].try_get_by_index(0).unwrap()
}

/// All documents of a collection.
pub(super) async fn delivered(database: &TestDatabase, collection: &str) -> Vec<Value> {
    let outside = database.connect().await;
    let body = if database.backend() == Backend::Sqlite { "json(body)" } else { "body::text" };
    let sql = format!("SELECT id, {body} AS body FROM documents WHERE collection = '{collection}'");
    let rows = query(&outside, sql).await;
    outside.close().await.unwrap();
    let document = |row: &sea_orm::QueryResult| {
        let mut document: Value = serde_json::from_str(&row.try_get::<String>("", "body").unwrap()).unwrap();
        document["_id"] = row.try_get::<String>("", "id").unwrap().into();
        document
    };
    rows.iter().map(document).collect()
}

impl Trail {
    pub(super) async fn read(database: &TestDatabase) -> Self {
        let mut entries = delivered(database, "audit").await;
        entries.sort_by_key(|entry| entry["sequence"].as_i64());
        let logged = delivered(database, "logs").await;
        let logged = logged.iter().filter(|entry| entry["level"] == "info");
        let logged = logged.map(|entry| entry["_id"].as_str().unwrap().to_owned()).collect();
        let outside = database.connect().await;
        let mut rows = BTreeMap::new();
        for table in TABLES {
            let version = if table == "transfers" { "1" } else { "version" };
            let sql = format!("SELECT id, CAST({version} AS bigint) AS version FROM {table}");
            for row in query(&outside, sql).await {
                let id = row.try_get::<uuid::Uuid>("", "id").unwrap();
                rows.insert(format!("{table}:{id}"), row.try_get("", "version").unwrap());
            }
        }
        outside.close().await.unwrap();
        Self { entries, rows, logged }
    }

    /// What is wrong with it: in it the life of each row has to be whole, from its beginning to what it is now.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut last = BTreeMap::<&str, &Value>::new();
        let mut ids = BTreeSet::new();
        for entry in &self.entries {
            let entity = entry["entity"].as_str().unwrap();
            let before = last.get(entity).map_or(&Value::Null, |last| &last["after"]);
            let is_gone_again = last.get(entity).is_some_and(|last| last["action"] == "delete");
            let follows = match entry["action"].as_str().unwrap() {
                "insert" => !last.contains_key(entity),
                "update" | "delete" => !before.is_null() && entry["before"] == *before && !is_gone_again,
                _ => false,
            };
            if !follows {
                faults.push(format!("{entry} does not follow {before}"));
            }
            last.insert(entity, entry);
            if !ids.insert(entry["_id"].as_str().unwrap().to_owned()) {
                faults.push(format!("{entry} is there twice"));
            }
        }
        for (entity, entry) in &last {
            let there = self.rows.get(*entity).copied();
            let told = (entry["action"] != "delete").then(|| entry["after"]["version"].as_i64().unwrap_or(1));
            if there != told {
                faults.push(format!("{entity} has version {there:?}, and the last entry says {told:?}"));
            }
        }
        faults.extend(
            self.rows.keys().filter(|row| !last.contains_key(row.as_str())).map(|row| format!("{row} is not told of")),
        );
        if ids != self.logged {
            faults.push(format!("{} entries, and {} of the log", ids.len(), self.logged.len()));
        }
        faults
    }
}

/// That each change is one entry, in order, and that nothing else is.
#[track_caller]
pub(super) fn assert_unbroken(trail: &Trail) {
    let faults = trail.faults();
    assert!(faults.is_empty(), "{} faults, such as\n{}", faults.len(), faults[..faults.len().min(5)].join("\n"));
}

/// That the check would find one that is missing, one too many, and two in the wrong order.
pub(super) fn assert_the_check_finds_faults(trail: Trail) {
    for place in (0..trail.entries.len()).step_by(trail.entries.len() / 20 + 1) {
        let mut missing = trail.clone();
        missing.entries.remove(place);
        assert!(!missing.faults().is_empty(), "{}", trail.entries[place]);
        let mut twice = trail.clone();
        twice.entries.insert(place, trail.entries[place].clone());
        assert!(!twice.faults().is_empty());
        let mut undone = trail.clone();
        let mut entry = trail.entries[place].clone();
        (entry["entity"], entry["action"]) = ("tags:never-there".into(), "insert".into());
        undone.entries.push(entry);
        assert!(!undone.faults().is_empty());
    }
    let place = trail.entries.iter().position(|entry| entry["action"] == "update").unwrap();
    let first = trail.entries.iter().position(|entry| entry["entity"] == trail.entries[place]["entity"]).unwrap();
    let mut exchanged = trail;
    exchanged.entries.swap(first, place);
    assert!(!exchanged.faults().is_empty());
}
