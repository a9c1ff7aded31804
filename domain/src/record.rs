//! What a noun says about itself.
//!
//! [`Record`], [`Insert`], [`Patch`] and [`Filter`] are what the outside sees. Each stands on a trait that is public but
//! cannot be named outside this crate, because it speaks of the generated entity, which never leaves the domain.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, Condition, EntityTrait, FromQueryResult, IdenStatic,
    IntoActiveModel, Iterable, ModelTrait, PrimaryKeyTrait,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;
use validator::Validate;

use crate::{error::Result, id::Id, relation::Related, unit_of_work::UnitOfWork, value::Timestamp};

/// A kind of record that the application keeps, and one of its records as business code holds it.
pub trait Record:
    Stored + Clone + std::fmt::Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// What a list of these may be narrowed by.
    type Filter: Filter<Record = Self>;

    /// The noun, in the singular, as messages say it.
    const NOUN: &'static str;

    /// Whether records of this kind are only ever added; their table refuses anything else, too.
    const ONLY_ADDED: bool = false;

    /// How long copies of these records are kept.
    const CACHED: Caching = Caching::Usual;

    /// Fields that nobody reads unseen: that a record was read is an entry of the audit trail, written before it is given.
    const SENSITIVE: &'static [&'static str] = &[];

    /// The id of this record.
    fn id(&self) -> Id<Self>;

    /// How often it was written: 1 at first. Changing or deleting it needs the version that was seen.
    fn version(&self) -> i64;

    /// What becomes of what refers to a record when that is deleted, for people; empty if nothing does.
    fn on_delete() -> String {
        let fates = [
            (OnDelete::Restrict, "Refused while it has any of"),
            (OnDelete::Cascade, "Deleted along with it"),
            (OnDelete::Clear, "Kept, without it"),
        ];
        let told = fates.into_iter().filter_map(|(fate, what)| {
            let children = Self::CHILDREN.iter().filter(|child| child.on_delete == fate);
            let mut tables = children.map(|child| child.table.replace('_', " ")).collect::<Vec<_>>();
            tables.dedup();
            (!tables.is_empty()).then(|| format!("{what}: {}.", tables.join(", ")))
        });
        told.collect::<Vec<_>>().join(" ")
    }

    /// The relations that can be loaded along with a record, by name.
    fn relations() -> &'static [&'static dyn Related] {
        &[]
    }
}

/// How long copies of a record are kept. However long that is, a copy is gone when the record has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// As long as the [policy](crate::CachePolicy) says.
    Usual,
    /// So long.
    For(Duration),
    /// So long after it was last looked up.
    Sliding(Duration),
    /// So long, and read again as soon as it was written, so that the next reader finds it: for what is read much more
    /// often than it is written. Only what a process has looked up before is read again by it.
    Refilled(Duration),
    /// Not at all.
    Never,
}

/// A sentence for people.
impl fmt::Display for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("Copies are kept for CACHE_TTL."),
            Self::For(life) => write!(f, "Copies are kept for {} s.", life.as_secs()),
            Self::Sliding(life) => write!(f, "Copies are kept for {} s after they were last read.", life.as_secs()),
            Self::Refilled(life) => {
                write!(f, "Copies are kept for {} s, and made anew as soon as a record was written.", life.as_secs())
            }
            Self::Never => f.write_str("No copies are kept."),
        }
    }
}

/// What is needed to make a record.
#[async_trait]
pub trait Insert: NewRow + Validate + JsonSchema + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Whether [`before`](Self::before) looks at other records of the same noun. Then
    /// [`insert_all`](UnitOfWork::insert_all) writes each before it looks at the next.
    const ONE_BY_ONE: bool = false;

    /// Rules that need the database, and what has to happen with it: run in the same transaction, before the row is
    /// written.
    async fn before(&self, _work: &UnitOfWork) -> Result<()> {
        Ok(())
    }

    /// What is written along with the record, in the same transaction, after its row.
    async fn after(&self, _record: &Self::Record, _work: &UnitOfWork) -> Result<()> {
        Ok(())
    }

    /// The same for many records at once: worth writing where it saves statements.
    async fn after_all(new: &[Self], records: &[Self::Record], work: &UnitOfWork) -> Result<()> {
        for (index, (new, record)) in new.iter().zip(records).enumerate() {
            new.after(record, work).await.map_err(|error| error.within(&index.to_string()))?;
        }
        Ok(())
    }
}

/// A change of some fields of a record.
#[async_trait]
pub trait Patch: ChangedRow + Validate + JsonSchema + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Rules that need the database: run in the same transaction, before the row is changed.
    async fn before(&self, _id: Id<Self::Record>, _work: &UnitOfWork) -> Result<()> {
        Ok(())
    }
}

/// What a list of records may be narrowed by: an absent field narrows nothing.
pub trait Filter:
    Narrow + std::fmt::Debug + JsonSchema + DeserializeOwned + Default + Clone + Send + Sync + 'static
{
    /// The records that it is about.
    type Record: Record;
}

/// The id and the time that a new row gets.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub(crate) id: Uuid,
    pub(crate) now: Timestamp,
}

/// The first version of a record.
pub(crate) const FIRST_VERSION: i64 = 1;

/// How a record lies in the database.
pub trait Stored: Sized {
    /// The generated entity of its table.
    type Entity: EntityTrait<
            Model: IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>
                       + ModelTrait<Entity = Self::Entity>
                       + FromQueryResult
                       + Clone
                       + Send
                       + Sync,
            ActiveModel: ActiveModelTrait<Entity = Self::Entity> + ActiveModelBehavior + Send + Sync,
            Column: Iterable + ColumnTrait + Send + Sync + 'static,
            PrimaryKey: PrimaryKeyTrait,
        >;

    /// The columns by which a list may be sorted, beside the id. They hold no nulls.
    const SORTABLE: &'static [Column<Self>] = &[];

    /// What refers to these records, and what becomes of it when one is deleted.
    const CHILDREN: &'static [Child] = &[];

    /// Takes a row apart, field by field, so that a new column has to be decided about.
    fn from_row(row: Row<Self>) -> Result<Self>;
}

/// A row of the table of `R`.
pub(crate) type Row<R> = <<R as Stored>::Entity as EntityTrait>::Model;
/// A row of the table of `R`, each column set or not.
pub(crate) type ChangeSet<R> = <<R as Stored>::Entity as EntityTrait>::ActiveModel;
/// A column of the table of `R`.
pub(crate) type Column<R> = <<R as Stored>::Entity as EntityTrait>::Column;

/// A text that no two records have, whatever the case of its ASCII letters: one can be looked up by it.
pub struct UniqueText<R: Stored>(pub(crate) Column<R>);

/// How a new record becomes a row.
pub trait NewRow {
    /// What it makes.
    type Record: Record;

    /// Builds the row by full literal, so that a new column has to be decided about.
    fn into_row(self, stamp: Stamp) -> Row<Self::Record>;
}

/// How a patch becomes a change of a row.
pub trait ChangedRow {
    /// What it changes.
    type Record: Record;

    /// Says for every column whether it is set, by full literal. Id, version and times are set elsewhere.
    fn into_changes(self) -> ChangeSet<Self::Record>;
}

/// How a filter becomes a condition.
pub trait Narrow {
    /// The condition on the rows.
    fn condition(&self) -> Condition;
}

/// Rows that refer to a record that is to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// Their table.
    pub(crate) table: &'static str,
    /// The column that refers.
    pub(crate) column: &'static str,
    /// What becomes of them.
    pub(crate) on_delete: OnDelete,
}

/// What becomes of rows whose parent is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    /// The parent cannot be deleted; the answer counts them.
    Restrict,
    /// They go with it.
    Cascade,
    /// They stay and forget it, which is a change of theirs.
    Clear,
}

/// The column of that name, if the table has it.
pub(crate) fn column<R: Stored>(name: &str) -> Option<Column<R>> {
    Column::<R>::iter().find(|column| column.as_str() == name)
}
