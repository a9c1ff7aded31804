//! Who reads what is sensitive: an entry of the audit trail, written before anything is given away.
//!
//! The database tells of changes by triggers; of reads there are none, so it is told here, where records and documents
//! leave the store by their types. What is read by SQL of one's own, or by the port of the documents, is not told.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, EntityName, Statement};
use serde_json::json;

use super::AUDIT;
use crate::{
    document::{Collection, Documented, Kept},
    error::Result,
    fault,
    id::Id,
    record::{Record, Stored},
    store::Store,
    transaction::{Owner, WriteOptions},
    unit_of_work::UnitOfWork,
};

/// Fields that nobody reads unseen.
#[derive(Debug, Clone)]
pub struct Sensitive {
    /// The table or the collection that they are in.
    place: String,
    fields: &'static [&'static str],
}

/// That something sensitive is read, and of which it is.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    what: Sensitive,
    /// The ids.
    of: BTreeSet<String>,
}

impl Sensitive {
    /// The sensitive fields of a record, if it has any.
    pub(crate) fn of<R: Record>() -> Option<Self> {
        let place = || <R as Stored>::Entity::default().table_name().to_owned();
        (!R::SENSITIVE.is_empty()).then(|| Self { place: place(), fields: R::SENSITIVE })
    }

    /// The sensitive fields of a document, if it has any.
    pub(crate) fn of_collection(collection: &Collection) -> Option<Self> {
        let fields = collection.sensitive();
        (!fields.is_empty()).then(|| Self { place: collection.name().to_owned(), fields })
    }

    /// That they are read of these, if there are any.
    pub(crate) fn read(self, of: impl IntoIterator<Item = String>) -> Option<Reading> {
        let of = of.into_iter().collect::<BTreeSet<_>>();
        (!of.is_empty()).then_some(Reading { what: self, of })
    }
}

impl Reading {
    /// That these records are read, if anything in them is sensitive.
    pub(crate) fn of<R: Record>(ids: impl IntoIterator<Item = Id<R>>) -> Option<Self> {
        Sensitive::of::<R>()?.read(ids.into_iter().map(|id| id.to_string()))
    }

    /// The same of documents.
    pub(crate) fn of_documents<'a, D: Documented>(read: impl IntoIterator<Item = &'a Kept<D>>) -> Option<Self> {
        Sensitive::of_collection(D::collection())?.read(read.into_iter().map(|kept| kept.id.to_string()))
    }
}

impl Store {
    /// Takes down what is read, if that has to be: what cannot be taken down is not given. Within a unit of work it is a
    /// part of that, because SQLite would have it wait for its end.
    pub(crate) async fn tell(&self, reading: Option<Reading>) -> Result<()> {
        let Some(reading) = reading else { return Ok(()) };
        if let Some(work) = UnitOfWork::present(self.outbox()) {
            return work.tell(Some(reading)).await;
        }
        let tell = move |work: UnitOfWork| {
            let reading = reading.clone();
            async move { work.tell(Some(reading)).await }
        };
        self.run(Owner::Verb("read", "what is sensitive"), WriteOptions::default(), tell).await
    }
}

impl UnitOfWork {
    /// Takes down what is read, if that has to be, together with all else that is done here.
    pub(crate) async fn tell(&self, reading: Option<Reading>) -> Result<()> {
        let Some(Reading { what: Sensitive { place, fields }, of }) = reading else { return Ok(()) };
        let body = json!({ "action": "read", "fields": fields }).to_string();
        let values = [AUDIT.into(), place.into(), json!(of).to_string().into(), body.into()];
        self.run(async move |session| {
            let sql = match session.get_database_backend() {
                DbBackend::Sqlite => {
                    "INSERT INTO outbox (collection, entity, body) SELECT $1, $2 || ':' || value, $4 FROM json_each($3)"
                }
                _ => {
                    "INSERT INTO outbox (collection, entity, body, context) \
                     SELECT $1, $2 || ':' || value, $4, nullif(current_setting('seabed.context', true), '') \
                     FROM json_array_elements_text($3::json)"
                }
            };
            let statement = Statement::from_sql_and_values(session.get_database_backend(), sql, values);
            session.execute_raw(statement).await.map(drop).map_err(fault::unavailable)
        })
        .await
    }
}
