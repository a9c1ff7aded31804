//! Restores into a SQLite file: beside it first, and then into its place.

use std::{fs, io, path::Path};

use sea_orm_migration::sea_orm::SqlxSqliteConnector;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    DbError,
    dump::{Dump, Format},
    restore::contents as contents_of,
};

pub(super) async fn restore(file: &Path, name: &str, dump: &Dump) -> Result<(), DbError> {
    let failed = |source| DbError::File { path: file.to_path_buf(), source };
    if file.exists() {
        let found = contents(file).await?;
        if !found.is_empty() {
            return Err(DbError::NotEmpty { database: name.to_owned(), found });
        }
    }
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let draft = tempfile::Builder::new().prefix(".restore-").tempdir_in(folder).map_err(failed)?;
    let made = draft.path().join("restored.sqlite");
    match dump.format {
        Format::Plain => fill(&made, dump).await?,
        Format::File => {
            fs::copy(&dump.path, &made).map_err(|source| DbError::File { path: dump.path.clone(), source })?;
            check(&made).await?;
        }
        Format::Archive => return Err(dump.is_for_another()),
    }
    // What the empty file may have beside it belongs to no other.
    for beside in ["-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(beside);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::rename(&made, file).map_err(failed)
}

async fn contents(file: &Path) -> Result<Vec<String>, DbError> {
    let options = SqliteConnectOptions::new().filename(file).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(refused)?;
    let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    let found = contents_of(&database).await;
    pool.close().await;
    found
}

/// Runs the dump, which has its own transaction, as `sqlite3` writes it.
async fn fill(file: &Path, dump: &Dump) -> Result<(), DbError> {
    let script = fs::read_to_string(&dump.path).map_err(|source| DbError::File { path: dump.path.clone(), source })?;
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).foreign_keys(false);
    let mut connection = options.disable_statement_logging().connect().await.map_err(refused)?;
    connection.execute(AssertSqlSafe(script)).await.map_err(refused)?;
    // It fails within a transaction: then the dump was cut off before its end.
    connection.execute("BEGIN; COMMIT").await.map_err(refused)?;
    connection.close().await.map_err(refused)?;
    check(file).await
}

/// Whether the file is whole, and no row refers to one that is not there.
async fn check(file: &Path) -> Result<(), DbError> {
    let options = SqliteConnectOptions::new().filename(file).disable_statement_logging();
    let mut connection: SqliteConnection = options.connect().await.map_err(refused)?;
    let whole: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.map_err(refused)?;
    let dangling: Vec<String> = sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1")
        .fetch_all(&mut connection)
        .await
        .map_err(refused)?;
    connection.close().await.map_err(refused)?;
    match (whole.as_slice(), dangling.first()) {
        ([ok], None) if ok == "ok" => Ok(()),
        ([ok], Some(table)) if ok == "ok" => {
            Err(DbError::Refused { message: format!("rows of {table} refer to rows that are not in it") })
        }
        _ => Err(DbError::Refused { message: whole.into_iter().next().unwrap_or_default() }),
    }
}

fn refused(error: sqlx::Error) -> DbError {
    DbError::Refused { message: error.to_string() }
}
