//! Finds out whether a pooler, such as PgBouncer, stands between us and PostgreSQL, and whether it can be worked with.
//!
//! In transaction mode a pooler gives a client a session of the server for one transaction only. Two things follow:
//! settings that are sent when a connection opens are not in force, and statements that were prepared once are not there
//! next time, unless the pooler knows about them. Without that, some requests fail and others do not, by chance.

use std::{collections::HashSet, str::FromStr, time::Duration};

use sea_orm::sqlx::{self, Connection, Row, postgres::PgConnectOptions};

use crate::{
    deadline::Deadline,
    error::{Error, Result, Unavailable},
    fault,
};

/// What stands between us and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pooler {
    /// Nothing: the server itself answers.
    None,
    /// A pooler in session mode: each connection has a session of its own, in which settings hold once they are set.
    Session,
    /// A pooler in transaction mode that knows prepared statements.
    Transaction,
    /// A pooler in transaction mode that does not know prepared statements: the service cannot work with it.
    WithoutStatements,
    /// A pooler in statement mode, which knows no transactions: the service cannot work with it.
    WithoutTransactions,
    /// A pooler that refuses connections because of the settings that clients send: the service cannot work with it.
    RefusesSettings,
}

impl Pooler {
    /// Looks at the server at this address, `postgres://user:password@host:port/name`, by two connections of its own.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server cannot be reached, or has not answered within the limit.
    pub async fn recognise(url: &str, limit: Duration) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(fault::at_connect)?;
        match tokio::time::timeout(limit, recognise(&options)).await {
            Ok(Err(error)) if refuses_settings(&error) => Ok(Self::RefusesSettings),
            Ok(found) => found.map_err(fault::at_connect),
            Err(elapsed) => Err(Error::unavailable(Unavailable::Timeout(Deadline::Connect), elapsed)),
        }
    }

    /// What has to be done about it before the service can work.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Session | Self::Transaction => None,
            Self::WithoutStatements => Some(
                "a pooler in transaction mode that does not know prepared statements stands before PostgreSQL: \
                 it has to be PgBouncer 1.21 or newer with max_prepared_statements > 0, or in session mode",
            ),
            Self::WithoutTransactions => Some(
                "a pooler in statement mode stands before PostgreSQL, which refuses transactions: \
                 PgBouncer needs pool_mode = transaction",
            ),
            Self::RefusesSettings => Some(
                "a pooler stands before PostgreSQL and refuses the settings of its clients: \
                 PgBouncer needs ignore_startup_parameters = extra_float_digits,options",
            ),
        }
    }
}

/// Sent when a connection opens; a pooler keeps it for itself.
const ASKED: (&str, &str) = ("seabed.asked", "yes");

/// How often two connections compare which session of the server they are given. The first time tells, except from a
/// pooler that is busy with other clients meanwhile.
const COMPARISONS: usize = 16;

async fn recognise(options: &PgConnectOptions) -> sqlx::Result<Pooler> {
    let mut one = sqlx::PgConnection::connect_with(&options.clone().options([ASKED])).await?;
    let asked = text(&mut one, "SELECT coalesce(current_setting('seabed.asked', true), '')").await?;
    let found = if asked == ASKED.1 {
        Pooler::None
    } else {
        let mut other = sqlx::PgConnection::connect_with(options).await?;
        let shared = share_a_session(&mut one, &mut other).await?;
        other.close().await?;
        match shared {
            false => Pooler::Session,
            true if !knows_statements(&mut one).await? => Pooler::WithoutStatements,
            true if !knows_transactions(&mut one).await? => return Ok(Pooler::WithoutTransactions),
            true => Pooler::Transaction,
        }
    };
    one.close().await?;
    Ok(found)
}

/// Whether two connections that are open at the same time are given the same session of the server.
async fn share_a_session(one: &mut sqlx::PgConnection, other: &mut sqlx::PgConnection) -> sqlx::Result<bool> {
    const SESSION: &str = "SELECT pg_backend_pid()::text";
    let (mut ones, mut others) = (HashSet::new(), HashSet::new());
    for _ in 0..COMPARISONS {
        ones.insert(text(one, SESSION).await?);
        others.insert(text(other, SESSION).await?);
        // A connection whose session changes has none of its own either.
        if ones.len() > 1 || !ones.is_disjoint(&others) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether prepared statements get names from the pooler, who therefore knows which session has which. Otherwise the
/// server has them under the names that its clients gave them, and all clients give the same ones.
async fn knows_statements(connection: &mut sqlx::PgConnection) -> sqlx::Result<bool> {
    let unchanged = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'sqlx%'";
    let found = sqlx::query_scalar::<_, i64>(unchanged).fetch_one(connection).await;
    match found {
        Ok(count) => Ok(count == 0),
        // Another client has prepared one of that name in this session, or this one was prepared in another.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P05" | "26000")) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a transaction can be begun. A pooler that refuses closes the connection.
async fn knows_transactions(connection: &mut sqlx::PgConnection) -> sqlx::Result<bool> {
    match sqlx::raw_sql("BEGIN").execute(&mut *connection).await {
        Ok(_) => sqlx::raw_sql("ROLLBACK").execute(connection).await.map(|_| true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("08P01") => Ok(false),
        Err(error) => Err(error),
    }
}

/// The answer to a query that is not prepared.
async fn text(connection: &mut sqlx::PgConnection, query: &'static str) -> sqlx::Result<String> {
    sqlx::raw_sql(query).fetch_one(connection).await?.try_get(0)
}

/// Such a pooler says this before it asks for a password.
fn refuses_settings(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().starts_with("unsupported startup parameter"))
}
