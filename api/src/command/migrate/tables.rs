//! The tables that migrations are kept account of in: the history, which `sea-orm-cli` keeps too, and three of ours.
//!
//! Ours start with an underscore, by which generators of entities know that a table is none of theirs.

use migration::backfill::BACKFILLS;
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement, Value},
};

use super::{Options, fault};

/// One row, of whoever migrates; none holds it if it has no holder.
const LOCK: &str = "CREATE TABLE IF NOT EXISTS {lock} (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1), holder text, os_user text, host text, program text,
    migration text, action text, since bigint, until bigint NOT NULL, lease bigint NOT NULL)";

/// What was done, of which the last says how a migration stands. Without a sequence, which `fresh` would have to know.
const LOG: &str = "CREATE TABLE IF NOT EXISTS {log} (
    id bigint NOT NULL PRIMARY KEY, version text NOT NULL, action text NOT NULL, is_done boolean NOT NULL, checksum text,
    applied_at bigint, started_at bigint NOT NULL, duration_ms bigint NOT NULL, database_user text, os_user text NOT NULL,
    host text NOT NULL, program text NOT NULL)";

/// Who was refused. The role of the service may add to it, which is why it is no part of the log.
const REFUSALS: &str = "CREATE TABLE IF NOT EXISTS {refusals} (
    id text NOT NULL PRIMARY KEY, at bigint NOT NULL, verb text NOT NULL, reason text NOT NULL, database_user text,
    os_user text NOT NULL, host text NOT NULL, program text NOT NULL)";

/// As SeaORM makes it.
const HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS {history} (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)";

/// Their names, and the database's way of speaking.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    names: [String; 4],
    backend: DbBackend,
}

impl Tables {
    pub(super) fn new(options: &Options, backend: DbBackend) -> Self {
        Self {
            names: [options.table.clone(), options.lock_table(), options.log_table(), options.refusals_table()],
            backend,
        }
    }

    /// The name of the history.
    pub(super) fn history(&self) -> &str {
        let [history, ..] = &self.names;
        history
    }

    /// The names of ours, which nothing else may drop.
    pub(super) fn ours(&self) -> &[String] {
        &self.names[1..]
    }

    /// Asks whether there is any table but these.
    pub(super) fn others(&self) -> Statement {
        let sql = match self.backend {
            DbBackend::Sqlite => {
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                 AND name NOT IN ($1, $2, $3, $4, $5) LIMIT 1"
            }
            _ => {
                "SELECT 1 FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace \
                 AND relname NOT IN ($1, $2, $3, $4, $5) LIMIT 1"
            }
        };
        self.statement(sql, self.names.iter().map(String::as_str).chain([BACKFILLS]).map(Into::into))
    }

    /// A statement about them. The time is the database's, in milliseconds, because machines differ about it.
    pub(super) fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.backend, self.text(sql), values)
    }

    fn text(&self, sql: &str) -> String {
        let (now, user) = match self.backend {
            DbBackend::Sqlite => ("CAST(unixepoch('subsec') * 1000 AS integer)", "CAST(NULL AS text)"),
            _ => ("(extract(epoch FROM clock_timestamp()) * 1000)::bigint", "current_user::text"),
        };
        let [history, lock, log, refusals] = self.names.each_ref().map(String::as_str);
        [("{history}", history), ("{lock}", lock), ("{log}", log), ("{refusals}", refusals), ("{backfills}", BACKFILLS)]
            .into_iter()
            .fold(sql.to_owned(), |sql, (place, name)| sql.replace(place, &format!("\"{name}\"")))
            .replace("{now}", now)
            .replace("{user}", user)
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(
        &self,
        connection: &impl ConnectionTrait,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, DbErr> {
        Ok(connection.execute_raw(self.statement(sql, values)).await?.rows_affected())
    }

    /// The rows of a table; none if it is not there. Reads only.
    pub(super) async fn rows(
        &self,
        connection: &DatabaseConnection,
        table: &str,
        sql: &str,
    ) -> Result<Vec<QueryResult>, DbErr> {
        if !SchemaManager::new(connection).has_table(self.text(table).trim_matches('"')).await? {
            return Ok(Vec::new());
        }
        connection.query_all_raw(self.statement(sql, [])).await
    }

    /// Makes those that are missing, of which others may make them at the same moment.
    pub(super) async fn install(&self, connection: &DatabaseConnection, only_lock: bool) -> Result<(), DbErr> {
        let all = [("{lock}", LOCK), ("{log}", LOG), ("{refusals}", REFUSALS), ("{history}", HISTORY)];
        self.make(connection, &all[..if only_lock { 1 } else { all.len() }]).await
    }

    /// Makes the table of refusals, if it is missing.
    pub(super) async fn install_refusals(&self, connection: &DatabaseConnection) -> Result<(), DbErr> {
        self.make(connection, &[("{refusals}", REFUSALS)]).await
    }

    async fn make(&self, connection: &DatabaseConnection, tables: &[(&str, &str)]) -> Result<(), DbErr> {
        for (table, sql) in tables {
            let is_there = async || SchemaManager::new(connection).has_table(self.text(table).trim_matches('"')).await;
            if is_there().await? {
                continue;
            }
            match connection.execute_unprepared(&self.text(sql)).await {
                Err(error) if fault::is_made_already(&error) => {}
                made => {
                    made?;
                }
            }
        }
        Ok(())
    }
}
