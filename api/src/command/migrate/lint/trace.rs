//! What migrations really do to a PostgreSQL server, in a scratch database, held against what their text tells: a function
//! that they call, or SQL that they put together, can do what nobody reads in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use migration::{MigrationTrait, is_in_transaction};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, SqlxPostgresConnector, Statement, TransactionTrait},
};
use sqlx::postgres::PgConnectOptions;

use super::{Direction, Effects, Finding, Mode, Planned, Report, Rule, Script, Source, lint_migrations, record};
use crate::command::{
    migrate::{MigrateError, UnknownSchema},
    scratch::on_postgres,
};

/// The tables that there are: their names, and the files that they are in. A table that is written anew gets another one.
const TABLES: &str = "SELECT oid::bigint AS id, relname::text AS name, pg_relation_filenode(oid)::bigint AS file \
                      FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";

/// What the transaction has locked against everybody, whether or not it was there before.
const LOCKED: &str = "SELECT relation::bigint AS id FROM pg_locks \
                      WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND mode = 'AccessExclusiveLock'";

/// What a migration was seen to do to tables that were there before it.
#[derive(Debug, Default)]
struct Seen {
    rewritten: BTreeSet<String>,
    locked: BTreeSet<String>,
}

/// Judges migrations as [`lint_migrations`] does, and by what they do, one after the other, in a scratch database on this
/// PostgreSQL server.
///
/// # Errors
/// If the server does not answer or makes no database, or a migration fails.
pub async fn trace(url: &str, migrations: fn() -> Vec<Box<dyn MigrationTrait>>) -> Result<Report, MigrateError> {
    let server = PgConnectOptions::from_str(url).map_err(MigrateError::Url)?;
    let mut report = lint_migrations(&migrations()).await;
    let watch = move |pool| watch(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), migrations);
    let seen = on_postgres::<_, UnknownSchema, _>(server, "public", watch).await?;
    let mut effects = Effects::default();
    for (migration, seen) in migrations().iter().zip(seen) {
        effects.begin();
        let recorded = record(migration.as_ref(), Direction::Up, DbBackend::Postgres).await;
        let planned = recorded.statements.iter().flat_map(|sql| effects.of(sql)).collect::<Vec<_>>();
        let source = Source {
            name: migration.name().to_owned(),
            sends_pieces: true,
            pieces: recorded.statements,
            in_transaction: recorded.in_transaction,
        };
        let (script, _) = Script::read(source, Some(Direction::Up));
        let allowed = |rule: Rule| {
            let mut silencers = script.statements.iter().flat_map(|statement| &statement.allowed).chain(&script.left);
            silencers.any(|silencer| silencer.rules.iter().any(|allowed| allowed == rule.id()))
        };
        let rewritten = seen.rewritten.iter().filter(|table| !tells_rewriting(&planned, table));
        let locked = seen.locked.iter().filter(|table| !tells_lock(&planned, table));
        let found = rewritten.map(|table| (Rule::M61, table)).chain(locked.map(|table| (Rule::M62, table)));
        for (rule, table) in found {
            match allowed(rule) {
                true => report.silenced += 1,
                false => report.findings.push(Finding {
                    rule,
                    migration: migration.name().to_owned(),
                    direction: Some(Direction::Up),
                    statement: 0,
                    line: 0,
                    sql: String::new(),
                    what: rule.title(),
                    why: rule.why(),
                    instead: format!("what is done to {table}, as a statement of the migration itself"),
                }),
            }
        }
    }
    Ok(report)
}

async fn watch(
    connection: DatabaseConnection,
    migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
) -> Result<Vec<Seen>, UnknownSchema> {
    let mut all = Vec::new();
    for migration in migrations() {
        let before = tables(&connection).await.map_err(UnknownSchema::Read)?;
        let mut seen = Seen::default();
        let run = async {
            if !is_in_transaction(&*migration, DbBackend::Postgres) {
                return migration.up(&SchemaManager::new(&connection)).await;
            }
            let transaction = connection.begin().await?;
            migration.up(&SchemaManager::new(&transaction)).await?;
            // Locks are kept until its end.
            let locked = transaction.query_all_raw(Statement::from_string(DbBackend::Postgres, LOCKED)).await?;
            for row in locked {
                let table = before.get(&row.try_get::<i64>("", "id")?);
                seen.locked.extend(table.map(|(name, _)| name.clone()));
            }
            transaction.commit().await
        };
        run.await.map_err(UnknownSchema::Migrate)?;
        let after = tables(&connection).await.map_err(UnknownSchema::Read)?;
        let is_another = |id: &i64, file: &Option<i64>| after.get(id).is_some_and(|(_, now)| now != file);
        let rewritten = before.iter().filter(|(id, (_, file))| is_another(id, file));
        seen.rewritten = rewritten.map(|(_, (name, _))| name.clone()).collect();
        all.push(seen);
    }
    Ok(all)
}

async fn tables(connection: &DatabaseConnection) -> Result<BTreeMap<i64, (String, Option<i64>)>, DbErr> {
    let rows = connection.query_all_raw(Statement::from_string(DbBackend::Postgres, TABLES)).await?;
    let table = |row: &sea_orm_migration::sea_orm::QueryResult| {
        Ok((row.try_get("", "id")?, (row.try_get("", "name")?, row.try_get("", "file")?)))
    };
    rows.iter().map(table).collect()
}

fn tells_rewriting(planned: &[Planned], table: &str) -> bool {
    let tells =
        |said: &String| said.starts_with(&format!("{table}:")) || said.starts_with(&format!("every row of {table}"));
    planned.iter().flat_map(|planned| planned.rewrites.iter().chain(&planned.loses)).any(tells)
}

fn tells_lock(planned: &[Planned], table: &str) -> bool {
    let mut locks = planned.iter().flat_map(|planned| &planned.locks);
    locks.any(|lock| lock.on == table && lock.mode == Mode::AccessExclusive)
}
