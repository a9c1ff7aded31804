//! The two databases, as far as they differ: what opens a connection, and what is said on it.

use std::fmt;

use sea_orm::{
    DbBackend, ExecResult, QueryResult, Values,
    sqlx::{
        self, ConnectOptions, PgConnection, SqlStr, SqliteConnection, postgres::PgConnectOptions,
        sqlite::SqliteConnectOptions,
    },
};
use sea_query_sqlx::SqlxValues;

use crate::interrupt::Interrupt;

/// What opens connections.
#[derive(Debug, Clone)]
pub(crate) enum Connector {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl Connector {
    pub(crate) fn backend(&self) -> DbBackend {
        match self {
            Self::Postgres(_) => DbBackend::Postgres,
            Self::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Postgres(server) => Ok(Connection::Postgres(server.connect().await?)),
            Self::Sqlite(file) => {
                let mut connection = file.connect().await?;
                let interrupt = Interrupt::install(&mut connection).await?;
                Ok(Connection::Sqlite(connection, interrupt))
            }
        }
    }
}

/// A connection of either database.
#[derive(Debug)]
pub(crate) enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection, Interrupt),
}

/// What is sent.
pub(crate) enum Request {
    /// Text alone, by the simple protocol; may be several statements.
    Script(SqlStr),
    /// The same, and the rows that it gives.
    QueryScript(SqlStr),
    /// A prepared statement whose rows nobody wants.
    Execute(SqlStr, Values),
    /// A prepared statement, and all its rows.
    Query(SqlStr, Values),
}

impl Request {
    /// What is sent, for the log.
    pub(crate) fn said(&self) -> Said {
        match self {
            Self::Script(sql) | Self::QueryScript(sql) => Said { sql: sql.clone(), is_script: true },
            Self::Execute(sql, _) | Self::Query(sql, _) => Said { sql: sql.clone(), is_script: false },
        }
    }
}

/// A statement without the values in it. Those of one that is prepared are not in its text; a script is shown up to the
/// first of its constants.
pub(crate) struct Said {
    sql: SqlStr,
    is_script: bool,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sql = self.sql.as_str();
        match sql.find('\'').filter(|_| self.is_script) {
            Some(constant) => write!(f, "{}…", &sql[..constant]),
            None => f.write_str(sql),
        }
    }
}

/// What came back.
pub(crate) enum Response {
    Done(ExecResult),
    Rows(Vec<QueryResult>),
}

/// The same, word for word, on either database: what is said to them has different types, and no common one.
macro_rules! on_either {
    ($self:expr, $connection:ident => $said:expr) => {
        match $self {
            Self::Postgres($connection) => $said,
            Self::Sqlite($connection, _) => $said,
        }
    };
}

impl Connection {
    /// Does what is asked, and waits for all of the answer.
    pub(crate) async fn answer(&mut self, request: Request) -> Result<Response, sqlx::Error> {
        // Rows are always read to the last: a result that is left half-read would make the connection useless.
        on_either!(self, connection => Ok(match request {
            Request::Script(sql) => Response::Done(sqlx::raw_sql(sql).execute(connection).await?.into()),
            Request::QueryScript(sql) => {
                let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
                Response::Rows(rows.into_iter().map(QueryResult::from).collect())
            }
            Request::Execute(sql, values) => {
                Response::Done(sqlx::query_with(sql, SqlxValues(values)).execute(connection).await?.into())
            }
            Request::Query(sql, values) => {
                let rows = sqlx::query_with(sql, SqlxValues(values)).fetch_all(connection).await?;
                Response::Rows(rows.into_iter().map(QueryResult::from).collect())
            }
        }))
    }

    /// Whether the server is there.
    pub(crate) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        on_either!(self, connection => sqlx::Connection::ping(connection).await)
    }

    /// Says goodbye to the server.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        on_either!(self, connection => sqlx::Connection::close(connection).await)
    }
}
