//! Who reads what is sensitive: an entry of the audit trail, written before anything is given away.
//!
//! The database tells of changes by triggers; of reads there are none, so it is told here, where records and documents
//! leave the store by their types, and where SQL of one's own names something that [leads](super::leads) to them.
//!
//! Within a unit of work it is a part of that. What is undone is told of again, because it was read all the same.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, EntityName, Statement};
use serde_json::json;

use super::AUDIT;
use crate::{
    document::{self, Collection, Documented, Kept},
    error::Result,
    fault,
    id::Id,
    record::{Record, Stored},
    sql::Sql,
    store::Store,
    transaction::{Owner, WriteOptions},
    unit_of_work::UnitOfWork,
};

/// The table of all documents that are in this database.
const DOCUMENTS: &str = "documents";

/// Fields that nobody reads unseen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sensitive {
    /// The table or the collection that they are in.
    place: String,
    fields: &'static [&'static str],
}

/// That something sensitive is read, and of which it is.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    what: Sensitive,
    /// The ids; `*` for whichever.
    of: BTreeSet<String>,
}

/// A record with sensitive fields that is named below.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has sensitive fields, and SQL of one's own that reads them would not be seen",
    label = "name it in `sensitive!`, in domain/src/audit/reading.rs"
)]
pub(crate) trait Listed {}

/// Does not compile for a noun that is not listed.
pub(crate) const fn is_listed<R: Listed>() {}

/// The records with sensitive fields. One that is missing here does not compile.
macro_rules! sensitive {
    ($($noun:ident),* $(,)?) => {
        $(impl Listed for crate::$noun {})*

        fn records() -> impl Iterator<Item = Sensitive> {
            [$(Sensitive::of::<crate::$noun>()),*].into_iter().flatten()
        }
    };
}
sensitive!(Subscription);

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

    /// All that is sensitive in the database, and the tables that it is in.
    pub(super) fn all() -> impl Iterator<Item = (String, Self)> {
        let collections = document::collections().into_iter().filter_map(Self::of_collection);
        records().map(|what| (what.place.clone(), what)).chain(collections.map(|what| (DOCUMENTS.to_owned(), what)))
    }

    /// That they are read, of whichever.
    pub(crate) fn read_of_any(self) -> Reading {
        Reading { what: self, of: BTreeSet::from(["*".to_owned()]) }
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
    pub(crate) async fn tell(&self, readings: impl IntoIterator<Item = Reading>) -> Result<()> {
        let readings = readings.into_iter().collect::<Vec<_>>();
        if readings.is_empty() {
            return Ok(());
        }
        // Apart: nearly always nothing is sensitive.
        Box::pin(async {
            match UnitOfWork::present(self.outbox()) {
                Some(work) => work.tell(readings).await,
                None => self.tell_alone(readings).await,
            }
        })
        .await
    }

    /// The same, in a transaction of its own.
    pub(crate) async fn tell_alone(&self, readings: Vec<Reading>) -> Result<()> {
        let tell = move |work: UnitOfWork| {
            let readings = readings.clone();
            async move { work.take_down(&readings).await }
        };
        self.run(Owner::Verb("read", "what is sensitive"), WriteOptions::default(), tell).await
    }

    /// Takes down what a statement of one's own may read.
    pub(crate) async fn tell_of(&self, sql: &Sql) -> Result<()> {
        let leads = &self.outbox().leads;
        let readings = match leads.known(sql) {
            Some(readings) => readings,
            // The connection goes back before another is needed.
            None => leads.followed(sql, &self.reader().acquire().await?).await?,
        };
        self.tell(readings).await
    }
}

impl UnitOfWork {
    /// Takes down what is read, if that has to be, together with all else that is done here.
    pub(crate) async fn tell(&self, readings: impl IntoIterator<Item = Reading>) -> Result<()> {
        let readings = readings.into_iter().collect::<Vec<_>>();
        if !readings.is_empty() {
            self.readings().extend_from_slice(&readings);
        }
        self.take_down(&readings).await
    }

    /// Takes down what a statement of one's own may read.
    pub(crate) async fn tell_of(&self, sql: &Sql) -> Result<()> {
        let leads = &self.outbox().leads;
        let readings = match leads.known(sql) {
            Some(readings) => readings,
            None => self.run(async |session| leads.followed(sql, session).await).await?,
        };
        self.tell(readings).await
    }

    /// Takes readings down, and does not remember that for when it is undone.
    pub(crate) async fn take_down(&self, readings: &[Reading]) -> Result<()> {
        for reading in readings {
            self.take_one_down(reading).await?;
        }
        Ok(())
    }

    async fn take_one_down(&self, reading: &Reading) -> Result<()> {
        let Reading { what: Sensitive { place, fields }, of } = reading;
        let body = json!({ "action": "read", "fields": fields }).to_string();
        let values = [AUDIT.into(), place.as_str().into(), json!(of).to_string().into(), body.into()];
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
