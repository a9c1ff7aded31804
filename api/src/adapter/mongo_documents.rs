//! Documents in MongoDB.

mod filter;
mod index;
mod pipeline;
mod query;
mod schema;
mod transaction;
pub mod value;

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{
    Difference, Documents, DocumentsError, IndexActivity, Timestamp, Write,
    document::{Collection, Document, Filter, Pipeline, Query, Update},
};
use mongodb::{
    Cursor,
    bson::{self, Bson, RawDocumentBuf},
    error::{ErrorKind, InsertManyError},
};

use self::{
    index::Declared,
    query::{Find, Question},
};
use super::mongo_connection::{Failure, MongoConnection, of_code};

/// The longest that MongoDB takes; its own counting begins at the same number.
const MAX_BYTES: usize = 16 << 20;

/// Documents in MongoDB: in the database of a connection, and those of collections that name another one there.
#[derive(Debug, Clone)]
pub struct MongoDocuments {
    usual: MongoConnection,
    named: BTreeMap<String, MongoConnection>,
}

impl MongoDocuments {
    /// Documents on this connection.
    pub fn new(usual: MongoConnection) -> Self {
        Self { usual, named: BTreeMap::new() }
    }

    /// And those of collections that name another connection, on that.
    #[must_use]
    pub fn with_named(self, named: BTreeMap<String, MongoConnection>) -> Self {
        Self { named, ..self }
    }

    /// The connections, by their names; the usual one has none.
    pub fn connections(&self) -> impl Iterator<Item = (Option<&str>, &MongoConnection)> {
        let named = self.named.iter().map(|(name, connection)| (Some(name.as_str()), connection));
        [(None, &self.usual)].into_iter().chain(named)
    }

    /// The one that a collection is on: the one that it names, if there is one of that name, or else the usual one.
    ///
    /// # Errors
    /// If it has a name that means something to MongoDB.
    fn connection(&self, collection: &Collection) -> Result<&MongoConnection, DocumentsError> {
        let name = collection.name().as_bytes();
        let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if !is_name {
            return Err(DocumentsError::Unsupported("a collection of such a name".into()));
        }
        Ok(collection.connection().and_then(|name| self.named.get(name)).unwrap_or(&self.usual))
    }
}

/// A document that may be kept, in the form in which it is sent.
fn admitted(collection: &Collection, document: Document) -> Result<RawDocumentBuf, DocumentsError> {
    let document = value::document(collection, &collection.admit(document)?);
    let raw = RawDocumentBuf::try_from(&document).map_err(|_| DocumentsError::Unexpected)?;
    match raw.as_bytes().len() {
        0..=MAX_BYTES => Ok(raw),
        _ => Err(DocumentsError::Refused("it is larger than 16 MiB".to_owned())),
    }
}

#[async_trait]
impl Documents for MongoDocuments {
    async fn prepare(&self, collections: &[&Collection]) -> Result<(), DocumentsError> {
        // All are looked at before anything is made.
        let declared =
            collections.iter().map(|collection| Ok((self.connection(collection)?, Declared::of(collection)?)));
        for (connection, declared) in declared.collect::<Result<Vec<_>, DocumentsError>>()? {
            declared.prepare(connection).await?;
        }
        Ok(())
    }

    async fn drift(&self, collections: &[&Collection]) -> Result<Vec<Difference>, DocumentsError> {
        let mut differences = Vec::new();
        for collection in collections {
            differences.extend(Declared::of(collection)?.drift(self.connection(collection)?).await?);
        }
        Ok(differences)
    }

    async fn index_activity(&self, collections: &[&Collection]) -> Result<Vec<IndexActivity>, DocumentsError> {
        let mut activity = Vec::new();
        for collection in collections {
            activity.extend(index::activity(collection, self.connection(collection)?).await?);
        }
        Ok(activity)
    }

    async fn insert(
        &self,
        collection: &Collection,
        documents: Vec<Document>,
    ) -> Result<Vec<Result<(), DocumentsError>>, DocumentsError> {
        let mut outcomes = Vec::with_capacity(documents.len());
        let mut sent = Vec::new();
        let mut places = Vec::new();
        for document in documents {
            match admitted(collection, document) {
                Ok(document) => {
                    places.push(outcomes.len());
                    sent.push(document);
                    outcomes.push(Ok(()));
                }
                Err(error) => outcomes.push(Err(error)),
            }
        }
        if sent.is_empty() {
            return Ok(outcomes);
        }
        let inserted = self.connection(collection)?.ask(|asked| async move {
            let collection = asked.database.collection::<RawDocumentBuf>(collection.name());
            match collection.insert_many(&sent).ordered(false).await {
                Ok(_) => Ok(Vec::new()),
                Err(error) => match *error.kind {
                    ErrorKind::InsertMany(InsertManyError {
                        write_errors: Some(errors),
                        write_concern_error: None,
                        ..
                    }) => Ok(errors),
                    _ => Err(error),
                },
            }
        });
        for error in inserted.await.map_err(Failure::meaning)? {
            let outcome = places.get(error.index).and_then(|place| outcomes.get_mut(*place));
            if let Some(outcome) = outcome {
                *outcome = Err(of_code(error.code, &error.message, error.details.as_ref()));
            }
        }
        Ok(outcomes)
    }

    async fn find(&self, collection: &Collection, query: &Query) -> Result<Vec<Document>, DocumentsError> {
        collection.check_query(query)?;
        // To MongoDB, no limit is 0.
        if query.limit == Some(0) {
            return Ok(Vec::new());
        }
        let question = query::question(query)?;
        let connection = self.connection(collection)?;
        let limit = connection.timeout();
        let found = connection.ask(|asked| async move {
            let documents = asked.database.collection::<bson::Document>(collection.name());
            match question {
                Question::Aggregate(stages) => {
                    all(documents.aggregate(stages).allow_disk_use(true).max_time(limit).await?).await
                }
                Question::Find(find) => {
                    let Find { filter, sort, skip, limit: most, fields } = *find;
                    let mut find = documents.find(filter).sort(sort).skip(skip).allow_disk_use(true).max_time(limit);
                    if let Some(most) = most {
                        // Without being told it answers with 101 of them, and has to be asked again for the others; being
                        // told of just as many it keeps its cursor, for more that cannot be.
                        let batch = u32::try_from(most.saturating_add(1)).unwrap_or(u32::MAX);
                        find = find.limit(most).batch_size(batch);
                    }
                    if let Some(fields) = fields {
                        find = find.projection(fields);
                    }
                    all(find.await?).await
                }
            }
        });
        found.await.map_err(Failure::meaning)
    }

    async fn count(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        collection.check_filter(filter)?;
        let filter = filter::filter(filter)?;
        let connection = self.connection(collection)?;
        let limit = connection.timeout();
        let counted = connection.ask(|asked| async move {
            let documents = asked.database.collection::<bson::Document>(collection.name());
            documents.count_documents(filter).max_time(limit).await
        });
        counted.await.map_err(Failure::meaning)
    }

    async fn update(&self, collection: &Collection, filter: &Filter, update: &Update) -> Result<u64, DocumentsError> {
        collection.check_filter(filter)?;
        collection.check_update(update)?;
        let chosen = filter::filter(filter)?;
        let Some(changes) = query::update(collection, update)? else { return self.count(collection, filter).await };
        let updated = self.connection(collection)?.ask(|asked| async move {
            let documents = asked.database.collection::<bson::Document>(collection.name());
            documents.update_many(chosen, changes).await
        });
        Ok(updated.await.map_err(Failure::meaning_of_change)?.matched_count)
    }

    async fn delete(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        collection.check_filter(filter)?;
        let filter = filter::filter(filter)?;
        let deleted = self.connection(collection)?.ask(|asked| async move {
            asked.database.collection::<bson::Document>(collection.name()).delete_many(filter).await
        });
        Ok(deleted.await.map_err(Failure::meaning)?.deleted_count)
    }

    async fn aggregate(&self, collection: &Collection, pipeline: &Pipeline) -> Result<Vec<Document>, DocumentsError> {
        collection.check_pipeline(pipeline)?;
        let stages = pipeline::stages(pipeline)?;
        let connection = self.connection(collection)?;
        let limit = connection.timeout();
        let found = connection.ask(|asked| async move {
            let documents = asked.database.collection::<bson::Document>(collection.name());
            all(documents.aggregate(stages).allow_disk_use(true).max_time(limit).await?).await
        });
        Ok(pipeline::finish(pipeline, found.await.map_err(Failure::meaning)?))
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, DocumentsError> {
        transaction::write(self, writes).await
    }

    /// MongoDB does it by itself.
    async fn sweep(&self, _: &Collection, _: Timestamp) -> Result<u64, DocumentsError> {
        Ok(0)
    }

    async fn close(&self) {
        for (_, connection) in self.connections() {
            connection.close().await;
        }
    }

    async fn ping(&self) -> Result<(), DocumentsError> {
        for (_, connection) in self.connections() {
            connection.ping().await?;
        }
        Ok(())
    }
}

impl MongoDocuments {
    /// How MongoDB would answer a question: the stages of its plan, from the last to the first, with the
    /// indexes that they use: `IXSCAN timestamp_level`.
    ///
    /// # Errors
    /// Those of [`find`](Documents::find).
    pub async fn explain(&self, collection: &Collection, query: &Query) -> Result<Vec<String>, DocumentsError> {
        collection.check_query(query)?;
        let command = match query::question(query)? {
            Question::Aggregate(stages) => {
                bson::doc! { "aggregate": collection.name(), "pipeline": stages, "cursor": {} }
            }
            Question::Find(find) => {
                let Find { filter, sort, skip, limit, fields } = *find;
                let (skip, limit) = (i64::try_from(skip).unwrap_or(i64::MAX), limit.unwrap_or_default());
                let fields = fields.unwrap_or_default();
                bson::doc! {
                    "find": collection.name(), "filter": filter, "sort": sort, "skip": skip, "limit": limit,
                    "projection": fields,
                }
            }
        };
        let explained = self.connection(collection)?.ask(|asked| async move {
            let explain = bson::doc! { "explain": command, "verbosity": "queryPlanner" };
            asked.database.run_command(explain).await
        });
        let mut stages = Vec::new();
        collect_stages(&Bson::Document(explained.await.map_err(Failure::meaning)?), &mut stages);
        Ok(stages)
    }
}

fn collect_stages(plan: &Bson, stages: &mut Vec<String>) {
    match plan {
        Bson::Document(plan) => {
            if let Ok(stage) = plan.get_str("stage") {
                let index = plan.get_str("indexName").map(|index| format!(" {index}")).unwrap_or_default();
                stages.push(format!("{stage}{index}"));
            }
            let inner = plan.iter().filter(|(name, _)| *name != "rejectedPlans");
            inner.for_each(|(_, plan)| collect_stages(plan, stages));
        }
        Bson::Array(plans) => plans.iter().for_each(|plan| collect_stages(plan, stages)),
        _ => {}
    }
}

/// All that a cursor finds, read where it lies: to make a tree of it for the driver first would take as long again.
async fn all(mut cursor: Cursor<bson::Document>) -> mongodb::error::Result<Vec<Document>> {
    let mut found = Vec::new();
    while cursor.advance().await? {
        found.push(value::fields_of(cursor.current())?);
    }
    Ok(found)
}
