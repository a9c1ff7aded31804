//! Documents in the application's own database: JSON in one table, PostgreSQL's or SQLite's.
//!
//! SQL narrows, and where it cannot say all of a filter or an order the evaluator says the rest, over what was found: so
//! an answer is never another than that of the evaluator, and only slower. SQL says filters on scalar fields, on words and
//! on `exists`, and orders by scalar fields; what is said of the items of a list, of places (but for their latitude), and
//! on SQLite of fractions, is left to the evaluator, and so is what pipelines make of the documents that match.

mod index;
mod narrow;

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use self::narrow::{Columns, Conditions, Narrowed};
use super::{Difference, Documents, DocumentsError, IndexActivity, Taken, Write};
use crate::{
    document::{Collection, Document, Filter, ID, IndexUse, Owned, Pipeline, Query, SortKey, Stage, Update, time_text},
    error::{Error, Result, Unavailable},
    fault,
    session::Session,
    store::Store,
    transaction::{Owner, WriteOptions},
    unit_of_work::UnitOfWork,
    value::Timestamp,
};

/// How many documents are read, written or deleted by one statement.
const BATCH: usize = 500;

/// Documents in the database of a store, by its connections and within its limits of time.
#[derive(Clone)]
pub struct SqlDocuments {
    store: Store,
}

/// A statement that selects documents, as far as SQL can say which.
struct Selection {
    sql: String,
    values: Vec<Value>,
}

impl SqlDocuments {
    /// The documents in the database of this store.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    /// How the database would go about a question, in its own words.
    pub async fn explain(&self, collection: &Collection, query: &Query) -> Result<Vec<String>, DocumentsError> {
        check_name(collection)?;
        collection.check_query(query)?;
        let backend = self.backend();
        let explain = if backend == DbBackend::Sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
        let keys = ordered(backend, &query.sort);
        let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(BATCH);
        let Selection { sql, values } = select(backend, collection, &query.filter, keys, None, limit, "");
        let statement = Statement::from_sql_and_values(backend, format!("{explain} {sql}"), values);
        let session = self.store.reader().acquire().await?;
        // By reading, a connection of SQLite notices indexes that it has not seen yet. Explaining reads nothing.
        let look = Statement::from_string(backend, "SELECT 1 FROM documents LIMIT 1");
        session.query_all_raw(look).await.map_err(fault::unavailable)?;
        let rows = session.query_all_raw(statement).await.map_err(fault::unavailable)?;
        let line = if backend == DbBackend::Sqlite { "detail" } else { "QUERY PLAN" };
        let lines = rows.iter().map(|row| row.try_get("", line)).collect::<Result<_, DbErr>>();
        Ok(lines.map_err(fault::unavailable)?)
    }

    fn backend(&self) -> DbBackend {
        self.store.reader().get_database_backend()
    }

    /// Does work in one transaction, and again where the database asks for that.
    async fn transact<T, F, Fut>(&self, verb: &'static str, work: F) -> Result<T, DocumentsError>
    where
        T: Send + 'static,
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        Ok(self.store.run(Owner::Verb(verb, "documents"), WriteOptions::default(), work).await?)
    }

    /// Adds each of some documents whose ids differ; which ids were taken in.
    async fn insert_batch(&self, collection: &Collection, documents: &[&Document]) -> Result<HashSet<String>> {
        let backend = self.backend();
        let (rows, values) = rows_of(backend, collection, documents)?;
        let sql =
            format!("INSERT INTO documents (collection, id, body) VALUES {rows} ON CONFLICT DO NOTHING RETURNING id");
        // Not by the pool itself, which would send it again when the connection breaks.
        let session = self.store.writer().acquire().await?;
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let rows = session.query_all_raw(statement).await.map_err(fault::unavailable)?;
        rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, DbErr>>().map_err(fault::unavailable)
    }

    async fn insert_one(&self, collection: &Collection, document: &Document) -> Result<(), DocumentsError> {
        let session = self.store.writer().acquire().await?;
        insert_one(&session, collection, document).await?;
        Ok(())
    }
}

#[async_trait]
impl Documents for SqlDocuments {
    async fn prepare(&self, collections: &[&Collection]) -> Result<(), DocumentsError> {
        for &collection in collections {
            let wanted = Arc::new(index::wanted(self.backend(), collection)?);
            collection.validator().map_err(|error| DocumentsError::Unsupported(error.to_owned().into()))?;
            let collection = collection.clone();
            self.transact("prepare", move |work| {
                let (collection, wanted) = (collection.clone(), Arc::clone(&wanted));
                async move { work.run(async |session| index::make(session, &collection, &wanted).await).await }
            })
            .await?;
        }
        Ok(())
    }

    async fn drift(&self, collections: &[&Collection]) -> Result<Vec<Difference>, DocumentsError> {
        let mut differences = Vec::new();
        for collection in collections {
            let wanted = index::wanted(self.backend(), collection)?;
            let present = index::present(self.store.reader(), collection).await?;
            differences.extend(index::differences(collection, &wanted, present));
        }
        Ok(differences)
    }

    async fn index_activity(&self, collections: &[&Collection]) -> Result<Vec<IndexActivity>, DocumentsError> {
        let mut activity = Vec::new();
        for collection in collections {
            activity.extend(index::activity(self.store.reader(), collection).await?);
        }
        Ok(activity)
    }

    async fn insert(
        &self,
        collection: &Collection,
        documents: Vec<Document>,
    ) -> Result<Vec<Result<(), DocumentsError>>, DocumentsError> {
        check_name(collection)?;
        let admitted = documents.into_iter().map(|document| collection.admit(document)).collect::<Vec<_>>();
        let mut outcomes =
            admitted.iter().map(|admitted| admitted.as_ref().map(drop).map_err(Clone::clone)).collect::<Vec<_>>();
        let mut seen = HashSet::new();
        let first = |(place, admitted): (usize, &Result<Document, DocumentsError>)| {
            let document = admitted.as_ref().ok()?;
            seen.insert(id_of(document).to_owned()).then_some(place)
        };
        let first = admitted.iter().enumerate().filter_map(first).collect::<Vec<_>>();
        let mut taken_in = vec![false; admitted.len()];
        for places in first.chunks(BATCH) {
            let batch = places.iter().filter_map(|&place| admitted[place].as_ref().ok()).collect::<Vec<_>>();
            let ids = self.insert_batch(collection, &batch).await?;
            for &place in places {
                taken_in[place] = admitted[place].as_ref().is_ok_and(|document| ids.contains(id_of(document)));
            }
        }
        // The others are asked for one by one, to learn why.
        for (place, admitted) in admitted.iter().enumerate() {
            if let (Ok(document), false) = (admitted, taken_in[place]) {
                outcomes[place] = match self.insert_one(collection, document).await {
                    Err(error) if error.is_passing() => return Err(error),
                    outcome => outcome,
                };
            }
        }
        Ok(outcomes)
    }

    async fn find(&self, collection: &Collection, query: &Query) -> Result<Vec<Document>, DocumentsError> {
        check_name(collection)?;
        collection.check_query(query)?;
        Ok(find(self.store.reader(), collection, query).await?)
    }

    async fn count(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        check_name(collection)?;
        collection.check_filter(filter)?;
        Ok(count(self.store.reader(), collection, filter).await?)
    }

    async fn update(&self, collection: &Collection, filter: &Filter, update: &Update) -> Result<u64, DocumentsError> {
        let (collection, filter, update) = (collection.clone(), filter.clone(), update.clone());
        let write = vec![Write::Update { collection, filter, update, must_match: false }];
        Ok(self.write(write).await?.into_iter().sum())
    }

    async fn delete(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        let (collection, filter) = (collection.clone(), filter.clone());
        Ok(self.write(vec![Write::Delete { collection, filter, must_match: false }]).await?.into_iter().sum())
    }

    async fn aggregate(&self, collection: &Collection, pipeline: &Pipeline) -> Result<Vec<Document>, DocumentsError> {
        check_name(collection)?;
        collection.check_pipeline(pipeline)?;
        let reader = self.store.reader();
        let (filter, stages) = pipeline.narrowed();
        if let [Stage::Count(name)] = &pipeline.stages[stages..] {
            let count = count(reader, collection, &filter).await?;
            return Ok(vec![Document::from_iter([(name.clone().into_owned(), count.into())])]);
        }
        let found = find(reader, collection, &Query { filter, ..Query::default() }).await?;
        Ok(Pipeline { stages: pipeline.stages[stages..].to_vec() }.run(found))
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, DocumentsError> {
        let mut checked = Vec::with_capacity(writes.len());
        for mut write in writes {
            match &mut write {
                Write::Insert { collection, document } => {
                    check_name(collection)?;
                    *document = collection.admit(std::mem::take(document))?;
                }
                Write::Update { collection, filter, update, must_match: _ } => {
                    check_name(collection)?;
                    collection.check_filter(filter)?;
                    collection.check_update(update)?;
                }
                Write::Delete { collection, filter, must_match: _ } => {
                    check_name(collection)?;
                    collection.check_filter(filter)?;
                }
            }
            checked.push(write);
        }
        let writes = Arc::new(checked);
        self.transact("write", move |work| {
            let writes = Arc::clone(&writes);
            async move {
                let mut counts = Vec::with_capacity(writes.len());
                for (place, write) in writes.iter().enumerate() {
                    counts.push(work.run(async |session| one(session, place, write).await).await?);
                }
                Ok(counts)
            }
        })
        .await
    }

    async fn sweep(&self, collection: &Collection, now: Timestamp) -> Result<u64, DocumentsError> {
        check_name(collection)?;
        let backend = self.backend();
        let mut swept = 0;
        for index in collection.indexes() {
            let IndexUse::Ttl { field, after } = &index.is else { continue };
            let Some(column) = (Columns { backend }).scalar(field) else { continue };
            let Some(before) = now.utc().checked_sub_signed(chrono::TimeDelta::from_std(*after).unwrap_or_default())
            else {
                continue;
            };
            let lock = if backend == DbBackend::Sqlite { "" } else { " FOR UPDATE SKIP LOCKED" };
            // As long as an instant is: text of another length is none.
            let sql = format!(
                "DELETE FROM documents WHERE collection = '{name}' AND id IN (SELECT id FROM documents \
                 WHERE collection = '{name}' AND {column} <= $1 AND length({column}) = 24 ORDER BY {column} LIMIT {BATCH}{lock})",
                name = collection.name()
            );
            let statement = Statement::from_sql_and_values(backend, sql, [time_text(Timestamp::new(before)).into()]);
            let session = self.store.writer().acquire().await?;
            swept += session.execute_raw(statement).await.map_err(fault::unavailable)?.rows_affected();
        }
        Ok(swept)
    }

    async fn ping(&self) -> Result<(), DocumentsError> {
        Ok(self.store.ping().await.map(drop)?)
    }
}

/// Does one of several writes.
async fn one(session: &Session, place: usize, write: &Write) -> Result<u64> {
    let (count, must_match) = match write {
        Write::Insert { collection, document } => {
            insert_one(session, collection, document).await?;
            (1, false)
        }
        Write::Update { collection, filter, update, must_match } => {
            (update_all(session, collection, filter, update).await?, *must_match)
        }
        Write::Delete { collection, filter, must_match } => {
            (delete_all(session, collection, filter).await?, *must_match)
        }
    };
    if count == 0 && must_match { Err(DocumentsError::NoMatch(place).into()) } else { Ok(count) }
}

async fn insert_one(session: &Session, collection: &Collection, document: &Document) -> Result<()> {
    let backend = session.get_database_backend();
    let (rows, values) = rows_of(backend, collection, &[document])?;
    let sql = format!("INSERT INTO documents (collection, id, body) VALUES {rows}");
    let statement = Statement::from_sql_and_values(backend, sql, values);
    session.execute_raw(statement).await.map(drop).map_err(|error| taken(collection, error))
}

/// Changes what passes the filter, in the order of the ids, so that two that want the same do not wait for each other.
async fn update_all(session: &Session, collection: &Collection, filter: &Filter, update: &Update) -> Result<u64> {
    let backend = session.get_database_backend();
    let (mut count, mut after) = (0, None);
    loop {
        let batch = lock_batch(session, collection, filter, after).await?;
        let changed = batch.passing.into_iter().map(|mut document| {
            update.apply(&mut document)?;
            collection.admit(document)
        });
        let changed = changed.collect::<Result<Vec<_>, _>>()?;
        if !changed.is_empty() {
            let (rows, values) = rows_of(backend, collection, &changed.iter().collect::<Vec<_>>())?;
            let sql = format!(
                "INSERT INTO documents (collection, id, body) VALUES {rows} \
                 ON CONFLICT (collection, id) DO UPDATE SET body = excluded.body"
            );
            let statement = Statement::from_sql_and_values(backend, sql, values);
            session.execute_raw(statement).await.map_err(|error| taken(collection, error))?;
        }
        count += changed.len() as u64;
        match batch.last {
            Some(last) => after = Some(last),
            None => return Ok(count),
        }
    }
}

async fn delete_all(session: &Session, collection: &Collection, filter: &Filter) -> Result<u64> {
    let backend = session.get_database_backend();
    let mut conditions = Conditions::new(backend, collection);
    let Narrowed { sql, is_exact } = conditions.filter(filter);
    if is_exact {
        let sql = format!("DELETE FROM documents WHERE collection = '{}' AND {sql}", collection.name());
        let statement = Statement::from_sql_and_values(backend, sql, conditions.values);
        return Ok(session.execute_raw(statement).await.map_err(fault::unavailable)?.rows_affected());
    }
    let (mut count, mut after) = (0, None);
    loop {
        let batch = lock_batch(session, collection, filter, after).await?;
        let ids = batch.passing.iter().map(id_of).map(Value::from).collect::<Vec<_>>();
        if !ids.is_empty() {
            let which = (1..=ids.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
            let sql = format!("DELETE FROM documents WHERE collection = '{}' AND id IN ({which})", collection.name());
            count += ids.len() as u64;
            let statement = Statement::from_sql_and_values(backend, sql, ids);
            session.execute_raw(statement).await.map_err(fault::unavailable)?;
        }
        match batch.last {
            Some(last) => after = Some(last),
            None => return Ok(count),
        }
    }
}

/// Some of the documents that a filter is about.
struct Batch {
    passing: Vec<Document>,
    /// The id of the last one that was looked at, if there may be more.
    last: Option<String>,
}

/// Documents behind an id, which nobody else changes until the transaction ends.
async fn lock_batch(
    session: &Session,
    collection: &Collection,
    filter: &Filter,
    after: Option<String>,
) -> Result<Batch> {
    let backend = session.get_database_backend();
    let lock = if backend == DbBackend::Sqlite { "" } else { " FOR UPDATE" };
    let place = after.as_deref().map(|id| (&[][..], id));
    let selection = select(backend, collection, filter, Some(&[]), place, BATCH, lock);
    let found = fetch(session, collection, &selection).await?;
    let last = if found.len() < BATCH { None } else { found.last().map(|document| id_of(document).to_owned()) };
    // Also where the filter was exact: the row may have changed while it was waited for.
    let passing = found.into_iter().filter(|document| filter.matches(document)).collect();
    Ok(Batch { passing, last })
}

/// The answer to a question.
async fn find<C: ConnectionTrait>(connection: &C, collection: &Collection, query: &Query) -> Result<Vec<Document>> {
    let backend = connection.get_database_backend();
    let Some(keys) = ordered(backend, &query.sort) else {
        let all = Query { filter: query.filter.clone(), ..Query::default() };
        let found = Box::pin(find(connection, collection, &all)).await?;
        return Ok(query.arrange(found));
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let wanted = query.limit.map_or(usize::MAX, |limit| size(query.skip.saturating_add(limit)));
    let mut place = query.after.as_ref().map(|after| {
        let values = after.values.iter().map(|value| value.as_ref().map(Owned::from)).collect::<Vec<_>>();
        (values, after.id.clone())
    });
    let is_exact = Conditions::new(backend, collection).filter(&query.filter).is_exact;
    let mut found = Vec::new();
    while found.len() < wanted {
        let behind = place.as_ref().map(|(values, id)| (values.as_slice(), id.as_str()));
        // What passes may be rare among what is found.
        let limit = if is_exact { (wanted - found.len()).min(BATCH) } else { BATCH };
        let selection = select(backend, collection, &query.filter, Some(keys), behind, limit, "");
        let batch = fetch(connection, collection, &selection).await?;
        let is_last = batch.len() < limit;
        place = batch.last().map(|last| (keys.iter().map(|key| key.value(last)).collect(), id_of(last).to_owned()));
        found.extend(batch.into_iter().filter(|document| is_exact || query.filter.matches(document)));
        if is_last {
            break;
        }
    }
    found.truncate(wanted);
    Ok(found.into_iter().skip(size(query.skip)).map(|document| query.project(document)).collect())
}

async fn count<C: ConnectionTrait>(connection: &C, collection: &Collection, filter: &Filter) -> Result<u64> {
    let backend = connection.get_database_backend();
    let mut conditions = Conditions::new(backend, collection);
    let Narrowed { sql, is_exact } = conditions.filter(filter);
    if !is_exact {
        let query = Query { filter: filter.clone(), ..Query::default() };
        return Ok(find(connection, collection, &query).await?.len() as u64);
    }
    let sql = format!("SELECT count(*) AS count FROM documents WHERE collection = '{}' AND {sql}", collection.name());
    let statement = Statement::from_sql_and_values(backend, sql, conditions.values);
    let row = connection.query_one_raw(statement).await.map_err(fault::unavailable)?;
    let count = row.map(|row| row.try_get::<i64>("", "count")).transpose().map_err(fault::unavailable)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// The keys of an order, if SQL can make it.
fn ordered(backend: DbBackend, keys: &[SortKey]) -> Option<&[SortKey]> {
    (Columns { backend }).order(keys).map(|_| keys)
}

/// Documents in an order that SQL can make, behind a place in it.
fn select(
    backend: DbBackend,
    collection: &Collection,
    filter: &Filter,
    keys: Option<&[SortKey]>,
    behind: Option<(&[Option<Owned>], &str)>,
    limit: usize,
    lock: &str,
) -> Selection {
    let mut conditions = Conditions::new(backend, collection);
    let Narrowed { sql, is_exact: _ } = conditions.filter(filter);
    let keys = keys.unwrap_or_default();
    let behind = behind.map(|(values, id)| format!(" AND {}", conditions.after(keys, values, id))).unwrap_or_default();
    let order = (Columns { backend }).order(keys).unwrap_or_else(|| "id".to_owned());
    let body = if backend == DbBackend::Sqlite { "body" } else { "body::text" };
    // The collection is written out, because a partial index is used only where it is plain that it may be.
    let sql = format!(
        "SELECT id, {body} AS body FROM documents WHERE collection = '{}' AND {sql}{behind} ORDER BY {order} LIMIT {limit}{lock}",
        collection.name()
    );
    Selection { sql, values: conditions.values }
}

async fn fetch<C: ConnectionTrait>(
    connection: &C,
    collection: &Collection,
    selection: &Selection,
) -> Result<Vec<Document>> {
    let backend = connection.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, &selection.sql, selection.values.clone());
    let rows = connection.query_all_raw(statement).await.map_err(fault::unavailable)?;
    rows.iter().map(|row| read(collection, row)).collect()
}

fn read(collection: &Collection, row: &QueryResult) -> Result<Document> {
    let column = |name| row.try_get::<String>("", name).map_err(fault::unavailable);
    let mut document = serde_json::from_str::<Document>(&column("body")?)
        .map_err(|error| Error::internal("a row of documents holds no document", error))?;
    document.insert(ID.to_owned(), column("id")?.into());
    Ok(collection.restore(document))
}

/// Documents as rows of a statement, and their values.
fn rows_of(backend: DbBackend, collection: &Collection, documents: &[&Document]) -> Result<(String, Vec<Value>)> {
    let cast = if backend == DbBackend::Sqlite { "" } else { "::jsonb" };
    let (mut rows, mut values) = (Vec::with_capacity(documents.len()), Vec::with_capacity(2 * documents.len()));
    for document in documents {
        let fields = document.iter().filter(|(name, _)| *name != ID).collect::<std::collections::BTreeMap<_, _>>();
        let body = serde_json::to_string(&fields).map_err(|error| Error::internal("a document is no JSON", error))?;
        values.extend([id_of(document).into(), body.into()]);
        rows.push(format!("('{}', ${}, ${}{cast})", collection.name(), values.len() - 1, values.len()));
    }
    Ok((rows.join(", "), values))
}

fn id_of(document: &Document) -> &str {
    document.get(ID).and_then(|id| id.as_str()).unwrap_or_default()
}

/// The name goes into statements as it is.
fn check_name(collection: &Collection) -> Result<(), DocumentsError> {
    if crate::document::is_name(collection.name()) {
        Ok(())
    } else {
        Err(DocumentsError::Unsupported(format!("{:?} as the name of a collection", collection.name()).into()))
    }
}

/// What a document could not be written for.
fn taken(collection: &Collection, error: DbErr) -> Error {
    match fault::unique_constraint(&error) {
        Some(name) => {
            let index = name.strip_prefix(&format!("documents_{}_", collection.name())).map(str::to_owned);
            DocumentsError::Duplicate(index.map_or(Taken::Id, Taken::Index)).into()
        }
        None => fault::unavailable(error),
    }
}

impl From<Error> for DocumentsError {
    fn from(error: Error) -> Self {
        match error {
            Error::Documents(error) => error,
            Error::Unavailable { reason, cause: _ } => match reason {
                Unavailable::Authentication => Self::AuthFailed,
                Unavailable::Timeout(_) => Self::Timeout,
                Unavailable::Serialization | Unavailable::Deadlock | Unavailable::Busy => Self::Conflict,
                Unavailable::PoolExhausted
                | Unavailable::Network
                | Unavailable::ReadOnly
                | Unavailable::DiskFull
                | Unavailable::TooManyConnections
                | Unavailable::CircuitOpen
                | Unavailable::Closed => Self::Unavailable,
            },
            Error::UnknownOutcome(_) => Self::Timeout,
            error => {
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "documents could not be read or written");
                Self::Unexpected
            }
        }
    }
}
