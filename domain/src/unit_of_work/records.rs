//! Making, changing and deleting records.

use std::any::TypeId;

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, IdenStatic, IntoActiveModel,
    Iterable, QueryResult, Statement, Value,
    sea_query::{Alias, Expr, ExprTrait, Query},
};

use super::{UnitOfWork, not_found, parameter_limit};
use crate::{
    audit::Reading,
    error::{Error, FieldError, Result},
    fault::{self, Constraint},
    id::Id,
    query,
    record::{ChangeSet, Column, FIRST_VERSION, Insert, Patch, Record, Row, Stored, column},
    session::Session,
    text::Text,
};

type Entity<R> = <R as Stored>::Entity;

impl UnitOfWork {
    /// Makes a record.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the input breaks a rule or refers to what is not there, [`Error::Conflict`] if another
    /// record has what must be unique; [`Error::Refused`] if a business rule forbids it.
    pub async fn insert<N: Insert>(&self, new: N) -> Result<N::Record> {
        new.validate()?;
        new.before(self).await?;
        let row = new.clone().into_row(self.stamp());
        self.insert_row::<Entity<N::Record>>(row.clone().into_active_model()).await?;
        let record = <N::Record as Stored>::from_row(row)?;
        new.after(&record, self).await?;
        Ok(record)
    }

    /// Makes many records, in few statements: the same as [`insert`](Self::insert) for each, in this order, but that the
    /// rules of all are asked before the first row is written.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert); the pointers of invalid input lead through the index. Nothing says which
    /// record it was that broke a constraint of the database.
    pub async fn insert_all<N: Insert>(&self, new: Vec<N>) -> Result<Vec<N::Record>> {
        let at = |index: usize| move |error: Error| error.within(&index.to_string());
        for (index, new) in new.iter().enumerate() {
            new.validate().map_err(Error::from).map_err(at(index))?;
        }
        if N::ONE_BY_ONE {
            let mut records = Vec::with_capacity(new.len());
            for (index, new) in new.into_iter().enumerate() {
                records.push(self.insert(new).await.map_err(at(index))?);
            }
            return Ok(records);
        }
        for (index, new) in new.iter().enumerate() {
            new.before(self).await.map_err(at(index))?;
        }
        let rows = new.iter().map(|new| new.clone().into_row(self.stamp())).collect::<Vec<_>>();
        let changes = rows.iter().map(|row| row.clone().into_active_model()).collect::<Vec<_>>();
        self.insert_rows::<Entity<N::Record>>(&changes).await?;
        let read = <N::Record as Stored>::from_row;
        let records = rows.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        N::after_all(&new, &records, self).await?;
        Ok(records)
    }

    /// Changes some fields of a record, if it still has the version that was seen.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], and those of [`insert`](Self::insert).
    pub async fn update<P: Patch>(&self, id: Id<P::Record>, version: i64, patch: P) -> Result<P::Record> {
        patch.validate()?;
        patch.before(id, self).await?;
        let mut changes = patch.into_changes();
        set::<P::Record>(&mut changes, "version", version.saturating_add(1).into());
        set::<P::Record>(&mut changes, "updated_at", chrono::DateTime::<chrono::FixedOffset>::from(self.now()).into());
        storable::<Entity<P::Record>>(&changes)?;

        let row = self
            .run(async |session| {
                let statement = update_statement::<P::Record>(session.get_database_backend(), &changes, id, version);
                match session.query_one_raw(statement).await {
                    Ok(row) => {
                        let read = |row: QueryResult| Row::<P::Record>::from_query_result(&row, "");
                        row.map(read).transpose().map_err(fault::unreadable)
                    }
                    Err(error) => Err(explain::<Entity<P::Record>>(session, error, &[changes]).await),
                }
            })
            .await?;
        match row {
            Some(row) => {
                let record = <P::Record as Stored>::from_row(row)?;
                self.tell(Reading::of([record.id()])).await?;
                Ok(record)
            }
            None => Err(self.why_unchanged(id, version).await?),
        }
    }

    /// Deletes a record, if it still has the version that was seen, and settles what refers to it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], or [`Error::InUse`] with the number of records that forbid it;
    /// [`Error::Refused`] for what is only ever added.
    pub async fn delete<R: Record>(&self, id: Id<R>, version: i64) -> Result<()> {
        if R::ONLY_ADDED {
            return Err(Error::refused("only_added", format!("{}s are only ever added", R::NOUN)));
        }
        // Nothing of it is given.
        let found = self.run(async |session| query::lock::<R, _>(session, id).await).await?;
        let found = found.ok_or_else(|| not_found(id))?;
        if found.version() != version {
            return Err(version_conflict(&found, version));
        }
        self.run(async |session| {
            query::release::<R, _>(session, id, self.now()).await?;
            let mut delete = Query::delete();
            delete.from_table(R::Entity::default()).and_where(Expr::col(Alias::new(query::ID)).eq(id.uuid()));
            session.execute(&delete).await.map(drop).map_err(|error| match fault::violation::<R::Entity>(&error) {
                // The last line of defence: something that no noun knows of, or that came since it was counted.
                Some(_) => Error::InUse { noun: R::NOUN, id: id.to_string(), counts: Vec::new() },
                None => fault::unavailable(error),
            })
        })
        .await
    }

    pub(crate) async fn insert_row<E: EntityTrait>(&self, row: E::ActiveModel) -> Result<()>
    where
        E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
    {
        storable::<E>(&row)?;
        self.run(async |session| {
            match session.execute_raw(insert_statement::<E>(session.get_database_backend(), &row)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(explain::<E>(session, error, &[row]).await),
            }
        })
        .await
    }

    async fn insert_rows<E: EntityTrait>(&self, rows: &[E::ActiveModel]) -> Result<()>
    where
        E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
    {
        for (index, row) in rows.iter().enumerate() {
            storable::<E>(row).map_err(|error| error.within(&index.to_string()))?;
        }
        self.run(async |session| {
            let limit = parameter_limit(session.get_database_backend());
            for rows in rows.chunks(limit / E::Column::iter().count().max(1)) {
                if let Err(error) = E::insert_many(rows.iter().cloned()).exec_without_returning(session).await {
                    return Err(explain::<E>(session, error, rows).await);
                }
            }
            Ok(())
        })
        .await
    }

    async fn why_unchanged<R: Record>(&self, id: Id<R>, version: i64) -> Result<Error> {
        let found = self.run(async |session| query::look_up::<R, _>(session, id).await).await?;
        Ok(match found {
            Some(found) => version_conflict(&found, version),
            None => not_found(id),
        })
    }
}

/// The columns that are set and their values, and as a number which those are.
fn set_columns<E: EntityTrait>(row: &E::ActiveModel) -> (Vec<(E::Column, Value)>, u64)
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let mut which = 0;
    let set = E::Column::iter().enumerate().filter_map(|(index, column)| {
        let value = row.get(column).into_value()?;
        which |= 1 << index;
        Some((column, value))
    });
    (set.collect(), which)
}

fn insert_statement<E: EntityTrait>(backend: DbBackend, row: &E::ActiveModel) -> Statement
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let (set, which) = set_columns::<E>(row);
    let text = Text { of: TypeId::of::<E>(), does: "insert", with: which };
    let (columns, values): (Vec<_>, Vec<_>) = set.into_iter().unzip();
    text.with_values(backend, values.clone(), |backend| {
        let mut insert = Query::insert();
        insert.into_table(E::default()).columns(columns).values_panic(values.into_iter().map(Expr::from));
        backend.build(&insert)
    })
}

/// Changes the record if it has that version, and gives it as it is then.
fn update_statement<R: Record>(backend: DbBackend, changes: &ChangeSet<R>, id: Id<R>, version: i64) -> Statement {
    let (set, which) = set_columns::<Entity<R>>(changes);
    let text = Text { of: TypeId::of::<R>(), does: "update", with: which };
    let values = set.iter().map(|(_, value)| value.clone()).chain([id.uuid().into(), version.into()]).collect();
    text.with_values(backend, values, |backend| {
        let mut update = Query::update();
        update.table(Entity::<R>::default()).values(set.into_iter().map(|(column, value)| (column, value.into())));
        update.and_where(Expr::col(Alias::new(query::ID)).eq(id.uuid()));
        update.and_where(Expr::col(Alias::new("version")).eq(version));
        update.returning(Query::returning().columns(Column::<R>::iter()));
        backend.build(&update)
    })
}

/// Translates an error from writing these rows. SQLite does not say which foreign key was broken, so the parents are
/// looked up; its transaction is still usable after a failed statement.
async fn explain<E: EntityTrait>(session: &Session, error: DbErr, rows: &[E::ActiveModel]) -> Error
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let Some(mut violation) = fault::violation::<E>(&error) else { return fault::unavailable(error) };
    if violation.kind == Constraint::ForeignKey
        && violation.columns.is_empty()
        && session.get_database_backend() == DbBackend::Sqlite
    {
        for row in rows {
            violation.columns = orphaned_columns::<E>(session, row).await.unwrap_or_default();
            if !violation.columns.is_empty() {
                break;
            }
        }
    }
    violation.into_error()
}

/// The columns of the row that refer to a record that is not there.
async fn orphaned_columns<E: EntityTrait>(
    session: &Session,
    row: &E::ActiveModel,
) -> Result<Vec<String>, sea_orm::DbErr>
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    use sea_orm::{Identity, RelationTrait};

    let mut orphaned = Vec::new();
    let relations = E::Relation::iter().map(|relation| relation.def()).collect::<Vec<_>>();
    for relation in relations.into_iter().filter(|relation| !relation.is_owner) {
        let (Identity::Unary(from), Identity::Unary(to)) = (&relation.from_col, &relation.to_col) else { continue };
        let Some(column) = E::Column::iter().find(|column| column.as_str() == from.to_string()) else { continue };
        let Some(value) = row.get(column).into_value() else { continue };
        let mut parent = Query::select();
        parent.expr(Expr::val(1)).from(relation.to_tbl.clone()).and_where(Expr::col(to.clone()).eq(value));
        if session.query_one(&parent).await?.is_none() {
            orphaned.push(column.as_str().to_owned());
        }
    }
    Ok(orphaned)
}

/// Sets a column by its name, where the table has it.
fn set<R: Record>(changes: &mut ChangeSet<R>, name: &str, value: Value) {
    if let Some(column) = column::<R>(name) {
        changes.set(column, value);
    }
}

/// Refuses text that PostgreSQL cannot store and SQLite would, so that both answer alike.
fn storable<E: EntityTrait>(row: &E::ActiveModel) -> Result<()>
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let refused = E::Column::iter()
        .filter(|column| match row.get(*column).into_value() {
            Some(Value::String(Some(text))) => text.contains('\0'),
            Some(Value::Json(Some(json))) => has_nul(&json),
            _ => false,
        })
        .map(|column| FieldError::new(column.as_str(), "nul", "must not contain the character U+0000"))
        .collect::<Vec<_>>();
    if refused.is_empty() { Ok(()) } else { Err(Error::Invalid(refused)) }
}

fn has_nul(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn version_conflict<R: Record>(found: &R, expected: i64) -> Error {
    let actual = found.version();
    debug_assert!(actual >= FIRST_VERSION, "versions count from {FIRST_VERSION}");
    Error::VersionConflict { noun: R::NOUN, id: found.id().to_string(), expected, actual }
}
