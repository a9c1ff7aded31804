//! `db push`: brings a database to what the entities say, at once and without a migration, to try what they should say.

use std::fmt;

use sea_orm_migration::{
    SchemaManager,
    sea_orm::{ConnectionTrait, Statement, TransactionTrait},
};
use serde::Serialize;

use super::{DbError, PushOptions};
use crate::command::{
    change::{ChangeError, Plan},
    entity,
    migrate::{self, connect},
};

/// What was done to the database.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// As a migration would say it.
    pub changes: Vec<String>,
    /// What was lost, as it was meant.
    pub lost: Vec<Loss>,
}

/// Something that is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The column with its table, or the table.
    pub what: String,
    /// How many rows have something in it.
    pub rows: i64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, rows } = self;
        write!(f, "{what} of {rows} row{}", if *rows == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, lost } = self;
        if changes.is_empty() {
            return f.write_str("nothing to do: the database is as the entities say");
        }
        changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        lost.iter().try_for_each(|loss| writeln!(f, "lost {loss}"))?;
        f.write_str(
            "a service that runs on it has to be built and started anew; once you like what it is, `migrate diff NAME` writes \
             the migration, and `migrate fresh` starts anew with it",
        )
    }
}

/// Brings a database to what the entities say, in one transaction.
///
/// # Errors
/// In production; if the database was never migrated; if something would be lost and that was not said to be meant; if the
/// entities or the change are not understood, or the database refuses it. Then nothing has changed.
pub async fn push(
    database_url: &str,
    options: &migrate::Options,
    production: bool,
    push: &PushOptions,
) -> Result<Pushed, DbError> {
    let PushOptions { answers, lose_data, entities } = push;
    if production {
        return Err(DbError::NotInProduction);
    }
    let database = connect(database_url, options).await?;
    let pushed = async {
        let wanted = entity::wanted(entities).map_err(ChangeError::from)?;
        let (before, schema) = entity::of_database(database_url, entities).await.map_err(ChangeError::from)?;
        if before.is_empty() {
            return Err(DbError::Empty);
        }
        let plan = Plan::between(&before, &wanted, &schema, answers)?;
        let transaction = database.begin().await.map_err(DbError::Read)?;
        let mut lost = Vec::new();
        for (table, what, condition) in plan.losses() {
            let sql = format!("SELECT count(*) FROM \"{table}\" WHERE {condition}");
            let asked = Statement::from_string(transaction.get_database_backend(), sql);
            let row = transaction.query_one_raw(asked).await.map_err(DbError::Read)?;
            let rows = row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0)).map_err(DbError::Read)?;
            if rows > 0 {
                lost.push(Loss { what, rows });
            }
        }
        if !lost.is_empty() && !lose_data {
            return Err(DbError::LosesData { lost });
        }
        let changes = plan.lines();
        let done = plan.run(&SchemaManager::new(&transaction)).await;
        done.map_err(|source| ChangeError::Failed { source })?;
        transaction.commit().await.map_err(DbError::Read)?;
        Ok(Pushed { changes, lost })
    };
    let pushed = pushed.await;
    database.close().await;
    pushed
}
