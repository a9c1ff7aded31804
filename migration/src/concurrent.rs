//! Statements that are sent by themselves, and indexes that are made while their table is in use.

use std::time::Duration;

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, RuntimeErr},
};

/// Makes an index while others write to its table, which takes longer: `index_concurrently(schema, "ix_users_name",
/// "users (lower(name))", false)`. On SQLite, which has one writer at a time, as any other.
///
/// It wants `use_transaction` to be `Some(false)`, and can be run again.
///
/// # Errors
/// If the database refuses it, or rows that are alike keep it from being unique.
pub async fn index_concurrently(
    schema: &SchemaManager<'_>,
    name: &str,
    on: &str,
    is_unique: bool,
) -> Result<(), DbErr> {
    let unique = if is_unique { "UNIQUE " } else { "" };
    let connection = schema.get_connection();
    if schema.get_database_backend() == DbBackend::Sqlite {
        let sql = format!("CREATE {unique}INDEX IF NOT EXISTS {name} ON {on}");
        return connection.execute_unprepared(&sql).await.map(|_| ());
    }
    send(schema, &format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
    send(schema, &format!("CREATE {unique}INDEX CONCURRENTLY {name} ON {on}")).await
}

/// Sends a statement by itself, and again after growing pauses when others keep it from what it needs: then it has done
/// nothing.
pub(crate) async fn send(schema: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    const ATTEMPTS: u32 = 10;
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    for attempt in 0..ATTEMPTS {
        match try_to_send(schema, sql).await {
            Err(error) if is_contended(&error) => tokio::time::sleep((FIRST * (1 << attempt)).min(LONGEST)).await,
            outcome => return outcome,
        }
    }
    try_to_send(schema, sql).await
}

/// Whether it may go well the next time: PostgreSQL has no lock in time or a deadlock, SQLite is busy.
pub(crate) fn is_contended(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["55P03", "40P01", "40001", "5", "6", "261", "262", "517"].contains(&&*code))
}

/// Sends a statement; around one that makes an index concurrently, what it needs to be run again.
///
/// A failed one leaves an index that is kept up to date and never used, and that `IF NOT EXISTS` takes for the index: it
/// is dropped before. And after, it is asked whether the index can be used.
async fn try_to_send(schema: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = schema.get_connection();
    let index = match schema.get_database_backend() {
        DbBackend::Sqlite => None,
        _ => index(sql),
    };
    if let Some(index) = &index
        && is_invalid(schema, index).await?
    {
        connection.execute_unprepared(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}")).await?;
    }
    connection.execute_unprepared(sql).await?;
    match index {
        Some(index) if is_invalid(schema, &index).await? => Err(DbErr::Migration(format!(
            "the index {index} is there and cannot be used (indisvalid is false): run it again, which drops it first"
        ))),
        _ => Ok(()),
    }
}

/// Whether there is such an index, and the database does not use it. Called `has_index`, as SeaORM calls its questions
/// about the schema, which are no part of what a migration does.
async fn is_invalid(schema: &SchemaManager<'_>, index: &str) -> Result<bool, DbErr> {
    let backend = schema.get_database_backend();
    let sql = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid) AS has_index";
    let asked = sea_orm_migration::sea_orm::Statement::from_sql_and_values(backend, sql, [index.into()]);
    match schema.get_connection().query_one_raw(asked).await? {
        Some(row) => row.try_get("", "has_index"),
        None => Ok(false),
    }
}

/// The index that a statement makes concurrently, in its table's schema if that is said.
fn index(sql: &str) -> Option<String> {
    let bare: String =
        sql.lines().map(|line| line.split("--").next().unwrap_or(line)).flat_map(|line| [line, " "]).collect();
    let bare = bare.replace('(', " ( ");
    let mut words = bare.split_whitespace();
    let mut take = |expected: &str| {
        words.clone().next().is_some_and(|word| word.eq_ignore_ascii_case(expected)) && words.next().is_some()
    };
    if !take("CREATE") {
        return None;
    }
    take("UNIQUE");
    if !(take("INDEX") && take("CONCURRENTLY")) {
        return None;
    }
    let _is_lenient = take("IF") && take("NOT") && take("EXISTS");
    // Without a name the database makes one up, another one each time.
    if take("ON") {
        return None;
    }
    let name = words.next()?;
    let mut rest = words.skip_while(|word| !word.eq_ignore_ascii_case("ON")).skip(1);
    let table = rest.find(|word| !word.eq_ignore_ascii_case("ONLY"))?;
    Some(match table.rsplit_once('.') {
        Some((schema, _)) => format!("{schema}.{name}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::index;

    #[test]
    fn the_index_is_read_out_of_its_statement() {
        for (sql, expected) in [
            ("CREATE INDEX CONCURRENTLY ix ON users (name)", Some("ix")),
            (
                "-- no transaction\ncreate unique index concurrently if not exists \"Ix\" on only app.users(name)",
                Some("app.\"Ix\""),
            ),
            ("CREATE INDEX CONCURRENTLY ON users (name)", None),
            ("CREATE INDEX ix ON users (name)", None),
            ("DROP INDEX CONCURRENTLY ix", None),
        ] {
            assert_eq!(index(sql).as_deref(), expected, "{sql}");
        }
    }
}
