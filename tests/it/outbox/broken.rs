//! What is wrong on purpose, and what finds it out: triggers that were left out, relays as they are often written, and
//! audit trails that somebody changed.

use std::{collections::BTreeSet, sync::Arc};

use domain::{
    Documents, Finding, Tag,
    document::{Collection, Document},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::json;
use tests::{
    PATIENCE, TestDatabase,
    documents::{InMemory, Trouble, Troubled},
    eventually,
    run::rounds,
};

use super::{Delivering, policy, text};
use crate::fixture::store;

/// How it works, and nobody's data.
const MACHINERY: &[&str] =
    &["audit_head", "cache_outbox", "documents", "idempotency_keys", "outbox", "seaql_migrations", "sqlite_sequence"];
/// At how many places the trail is changed in each way, in the short form and in the long one.
const PLACES: (usize, usize) = (40, 1_000);

async fn texts(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// The tables of whose changes, or of some of whose columns, the audit trail is not told.
pub(super) async fn left_out(connection: &DatabaseConnection) -> BTreeSet<String> {
    let is_sqlite = connection.get_database_backend() == DbBackend::Sqlite;
    let tables = match is_sqlite {
        true => texts(connection, "SELECT name FROM sqlite_master WHERE type = 'table'").await,
        false => texts(connection, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await,
    };
    let mut left_out = BTreeSet::new();
    for table in tables.into_iter().filter(|table| !MACHINERY.contains(&table.as_str())) {
        let is_told = if is_sqlite {
            let columns = texts(connection, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let sql = format!(
                "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit\\_{table}\\_%' ESCAPE '\\'"
            );
            let triggers = texts(connection, &sql).await;
            let tells = |row: &str| {
                columns.iter().all(|column| triggers.iter().any(|sql| sql.contains(&format!("{row}.\"{column}\""))))
            };
            triggers.len() == 3 && tells("OLD") && tells("NEW")
        } else {
            // Before the row or after it, for each row or each statement; which events; enabled.
            let sql = format!(
                "SELECT count(*)::text FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgenabled = 'O' \
                 AND ((tgname = 'audit_{table}_row' AND tgtype = 29) OR (tgname = 'audit_{table}_truncate' AND tgtype = 32))"
            );
            texts(connection, &sql).await == ["2"]
        };
        if !is_told {
            left_out.insert(table);
        }
    }
    left_out
}

/// That each of these was told of so often, its versions in order, and no two entries have one place.
pub(super) fn assert_in_order(trail: &[Document], tags: &[Tag], versions: i64) {
    let sequences = trail.iter().map(|entry| entry["sequence"].as_i64().unwrap());
    assert_eq!(sequences.collect::<Vec<_>>(), (1..=trail.len() as i64).collect::<Vec<_>>());
    for tag in tags {
        let entity = format!("tags:{}", tag.id);
        let of = trail.iter().filter(|entry| text(entry, "entity") == entity);
        let told = of.map(|entry| entry["after"]["version"].as_i64().unwrap());
        assert_eq!(told.collect::<Vec<_>>(), (1..=versions).collect::<Vec<_>>());
    }
}

/// Who reads the outbox, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poller {
    Ours,
    /// Goes on from the last number that it saw.
    Cursor,
    /// Deletes, and then delivers.
    DeletesFirst,
}

struct Polling {
    outside: DatabaseConnection,
    documents: Troubled,
    poller: Poller,
    last: i64,
}

impl Polling {
    async fn poll(&mut self) {
        let sql = match self.poller {
            Poller::Cursor => {
                format!("SELECT number, id, body FROM outbox WHERE number > {} ORDER BY number", self.last)
            }
            _ => "SELECT number, id, body FROM outbox ORDER BY number".to_owned(),
        };
        let rows = self.outside.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
        for row in rows {
            let (number, id) =
                (row.try_get::<i64>("", "number").unwrap(), row.try_get::<uuid::Uuid>("", "id").unwrap());
            let mut document = Document::new();
            document.insert("_id".to_owned(), id.to_string().into());
            document.insert("body".to_owned(), row.try_get::<String>("", "body").unwrap().into());
            let collection = Collection::untyped("happenings");
            if self.poller == Poller::DeletesFirst {
                self.delete(number).await;
                self.documents.insert(&collection, vec![document]).await.ok();
            } else if self.documents.insert(&collection, vec![document]).await.is_ok() {
                self.delete(number).await;
                self.last = number;
            }
        }
    }

    async fn delete(&self, number: i64) {
        self.outside.execute_unprepared(&format!("DELETE FROM outbox WHERE number = {number}")).await.unwrap();
    }
}

const TELL: &str = "INSERT INTO outbox (collection, entity, body) VALUES ('happenings', 'x', '{}')";

/// How many of three rows are missing in the end, of which the first is committed last.
pub(super) async fn late_commits(database: &TestDatabase, poller: Poller) -> usize {
    use sea_orm::TransactionTrait;

    let (documents, early) = (InMemory::default(), database.connect().await);
    let troubled = Troubled::before(Arc::new(documents.clone()));
    let count = || documents.all().get("happenings").map_or(0, Vec::len);
    let transaction = early.begin().await.unwrap();
    transaction.execute_unprepared(TELL).await.unwrap();
    let outside = database.connect().await;
    outside.execute_unprepared(TELL).await.unwrap();
    outside.execute_unprepared(TELL).await.unwrap();
    if poller == Poller::Ours {
        let store = store(database).await.delivering(Arc::new(troubled), Vec::new(), policy());
        eventually("what was committed is there", PATIENCE, async || (count() == 2).then_some(())).await;
        transaction.commit().await.unwrap();
        eventually("nothing waits", PATIENCE, async || (store.backlog().await.unwrap().rows == 0).then_some(())).await;
    } else {
        let mut polling = Polling { outside, documents: troubled, poller, last: 0 };
        polling.poll().await;
        assert_eq!(count(), 2);
        transaction.commit().await.unwrap();
        polling.poll().await;
        polling.poll().await;
    }
    3 - count()
}

/// How many of three rows are missing in the end, that were written while the documents were away.
pub(super) async fn documents_away(database: &TestDatabase, poller: Poller) -> usize {
    let (documents, outside) = (InMemory::default(), database.connect().await);
    let troubled = Troubled::before(Arc::new(documents.clone()));
    let count = || documents.all().get("happenings").map_or(0, Vec::len);
    troubled.set(Trouble::Away);
    for _ in 0..3 {
        outside.execute_unprepared(TELL).await.unwrap();
    }
    if poller == Poller::Ours {
        let store = store(database).await.delivering(Arc::new(troubled.clone()), Vec::new(), policy());
        eventually("it was tried", PATIENCE, async || store.delivery().unwrap().failure.map(drop)).await;
        troubled.set(Trouble::None);
        eventually("nothing waits", PATIENCE, async || (store.backlog().await.unwrap().rows == 0).then_some(())).await;
    } else {
        let mut polling = Polling { outside, documents: troubled.clone(), poller, last: 0 };
        polling.poll().await;
        troubled.set(Trouble::None);
        polling.poll().await;
    }
    3 - count()
}

/// Changes the trail at random places in each way that there is, one at a time, and looks whether that is found.
pub(super) async fn tamper(delivering: &Delivering, trail: Vec<Document>) {
    let mut chance = StdRng::seed_from_u64(7);
    let length = trail.len();
    for _ in 0..rounds(PLACES.0, PLACES.1) {
        let (place, other) = (chance.random_range(0..length), chance.random_range(0..length));
        let sequence = |place: usize| i64::try_from(place).unwrap() + 1;
        let gone = if place + 1 == length { Finding::Truncated } else { Finding::Deleted };
        let edit = |change: &dyn Fn(&mut Vec<Document>)| {
            let mut changed = trail.clone();
            change(&mut changed);
            changed
        };
        let field = ["actor", "after", "entity", "action", "timestamp", "previous", "hash"][chance.random_range(0..7)];
        let mut cases = vec![
            (
                edit(&|trail| drop(trail[place].insert(field.to_owned(), json!("another")))),
                vec![(Finding::Edited, place)],
            ),
            (edit(&|trail| drop(trail.remove(place))), vec![(gone, place)]),
            (edit(&|trail| trail.truncate(place)), vec![(Finding::Truncated, place)]),
            (
                edit(&|trail| {
                    let mut entry = trail[place].clone();
                    entry.insert("_id".to_owned(), json!("00000000-0000-4000-8000-000000000000"));
                    trail.push(entry);
                }),
                vec![(Finding::Inserted, place)],
            ),
        ];
        if place != other {
            let (first, last) = (place.min(other), place.max(other));
            let moved = edit(&|trail| {
                trail[first].insert("sequence".to_owned(), sequence(last).into());
                trail[last].insert("sequence".to_owned(), sequence(first).into());
            });
            let moved_from = |from: usize, to: usize| (Finding::Moved { from: sequence(from) }, to);
            cases.push((moved, vec![moved_from(last, first), moved_from(first, last)]));
        }
        for (changed, expected) in cases {
            delivering.documents.all().insert("audit".to_owned(), changed);
            let verification = delivering.store.verify_audit(&delivering.documents).await.unwrap();
            let found = verification.tampering.iter().map(|found| (found.finding, found.sequence.unwrap()));
            let expected = expected.into_iter().map(|(finding, place)| (finding, sequence(place)));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{field}: {verification}");
        }
    }
    delivering.documents.all().insert("audit".to_owned(), trail);
    assert!(delivering.store.verify_audit(&delivering.documents).await.unwrap().is_whole());
}
