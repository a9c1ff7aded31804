//! The door to the documents: what can be found, listed and written, by their types.

use std::{collections::HashSet, ops::Deref, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    After, Collection, Comparison, Document, Documented, Edit, FieldPath, Filter, ID, IndexUse, Kind, Pipeline, Query,
    SCHEMA, Scalar, Typed, Update, VERSION, WORDS, filter::texts, words,
};
use crate::{
    audit::{Reading, Sensitive},
    error::{Error, FieldError, Result},
    id::Id,
    port::{
        clock::Clock,
        documents::{Difference, Documents, DocumentsError, Taken, Write},
    },
    record::FIRST_VERSION,
    store::Store,
};

/// How often expired documents are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How many documents are upgraded at once.
const BATCH: u64 = 200;

/// The application's documents. Cheap to clone.
///
/// ```no_run
/// # async fn example(store: domain::Store) -> domain::Result<()> {
/// use std::sync::Arc;
///
/// use domain::{LogEntry, SqlDocuments, document::DocumentStore};
///
/// let documents = DocumentStore::new(Arc::new(SqlDocuments::new(&store)), &store);
/// let failures = LogEntry::LEVEL.eq(domain::Level::Error).query().sort(LogEntry::TIMESTAMP.descending()).limit(50);
/// for failure in documents.list(failures).await?.documents {
///     println!("{} {:?}", failure.timestamp, failure.message);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DocumentStore {
    documents: Arc<dyn Documents>,
    /// The store that they belong to, which does not know of them.
    store: Arc<Store>,
}

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kept<D> {
    #[serde(bound = "")]
    pub id: Id<D>,
    /// How often it was written: 1 at first.
    pub version: i64,
    #[serde(flatten)]
    pub document: D,
}

impl<D> Deref for Kept<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.document
    }
}

/// Documents in order.
#[derive(Debug, Clone)]
pub struct DocumentListing<D> {
    pub documents: Vec<Kept<D>>,
    /// Where the next ones begin; none if these are the last, or the order is by no field.
    pub next: Option<After>,
}

impl<D: Documented> Kept<D> {
    /// As the port takes it, with its words.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is no JSON object.
    pub fn to_document(&self) -> Result<Document> {
        let mut fields = fields_of(&self.document)?;
        let found = words_of(D::collection(), &fields);
        fields.insert(ID.to_owned(), self.id.to_string().into());
        fields.insert(VERSION.to_owned(), self.version.into());
        fields.insert(SCHEMA.to_owned(), D::collection().version().into());
        if let Some(found) = found {
            fields.insert(WORDS.to_owned(), found);
        }
        Ok(fields)
    }

    /// Reads what the port gives, also if it was written in an older version of the schema.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is no such document.
    pub fn from_document(document: Document) -> Result<Self> {
        let (id, version) = (id_of(&document), version_of(&document));
        let id = id.parse().map_err(|error| Error::internal("a document has no id of its kind", error))?;
        let fields = Value::Object(upgraded::<D>(document));
        let document =
            D::deserialize(fields).map_err(|error| Error::internal("a document is not of its kind", error))?;
        Ok(Self { id, version, document })
    }
}

fn fields_of<D: Documented>(document: &D) -> Result<Document> {
    match serde_json::to_value(document) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::internal("a document is no object", DocumentsError::Unexpected)),
        Err(error) => Err(Error::internal("a document is no JSON", error)),
    }
}

/// The words of the fields that can be searched for words, if there are such fields.
fn words_of(collection: &Collection, fields: &Document) -> Option<Value> {
    let mut searched = collection.indexes().iter().filter_map(|index| match &index.is {
        IndexUse::Text { fields } => Some(fields),
        IndexUse::Fields { .. } | IndexUse::Geo { .. } | IndexUse::Ttl { .. } => None,
    });
    let text = searched.next()?.iter().flat_map(|field| texts(fields, field)).collect::<Vec<_>>().join(" ");
    Some(words(&text).into_iter().map(Value::from).collect())
}

/// The fields of a document in the present version of the schema, without those that are ours.
fn upgraded<D: Documented>(mut document: Document) -> Document {
    let schema = document.get(SCHEMA).and_then(Value::as_i64).unwrap_or_else(|| D::collection().version());
    document.retain(|name, _| ![ID, VERSION, SCHEMA, WORDS].contains(&name.as_str()));
    if schema < D::collection().version() {
        D::upgrade(&mut document, schema);
    }
    document
}

fn id_of(document: &Document) -> &str {
    document.get(ID).and_then(Value::as_str).unwrap_or_default()
}

fn version_of(document: &Document) -> i64 {
    document.get(VERSION).and_then(Value::as_i64).unwrap_or(FIRST_VERSION)
}

fn version_field() -> FieldPath {
    FieldPath::new(VERSION, Kind::Integer)
}

/// The document with this id, in this version.
fn seen(id: &str, version: i64) -> Filter {
    let is_version = Filter::Compare { field: version_field(), is: Comparison::Eq, value: Scalar::Integer(version) };
    Filter::All(vec![Filter::id(id), is_version])
}

/// Documents of an older version of the schema.
fn old<D: Documented>() -> Filter {
    let field = FieldPath::new(SCHEMA, Kind::Integer);
    Filter::Compare { field, is: Comparison::Lt, value: Scalar::Integer(D::collection().version()) }
}

/// What makes one document of another: by its fields at the top, which no list is on the way to.
fn difference(collection: &Collection, from: &Document, to: &Document) -> Update {
    let field = |name: &str| {
        let kind = collection.look_up(name).map_or(Kind::Json, |(kind, _)| kind);
        FieldPath::new(name.to_owned(), kind)
    };
    let set = to.iter().filter(|(name, value)| !value.is_null() && from.get(*name) != Some(value));
    let set = set.map(|(name, value)| Edit::Set { field: field(name), value: value.clone() });
    let unset = from.keys().filter(|name| to.get(*name).is_none_or(Value::is_null));
    let unset = unset.map(|name| Edit::Unset { field: field(name) });
    Update { edits: set.chain(unset).collect() }
}

/// What the error means for a document of this kind.
fn explain(collection: &Collection, error: DocumentsError) -> Error {
    let conflict = |field: &str| FieldError::new(field, "unique", "is already taken");
    match error {
        DocumentsError::Duplicate(Taken::Id) => Error::Conflict(vec![conflict("id")]),
        DocumentsError::Duplicate(Taken::Index(name)) => {
            let keys =
                collection.indexes().iter().filter(|index| index.name == name).filter_map(|index| match &index.is {
                    IndexUse::Fields { keys, .. } => Some(keys),
                    IndexUse::Text { .. } | IndexUse::Geo { .. } | IndexUse::Ttl { .. } => None,
                });
            let fields = keys.flatten().map(|key| conflict(&key.field.path.replace('.', "/"))).collect::<Vec<_>>();
            Error::Conflict(if fields.is_empty() { vec![conflict("")] } else { fields })
        }
        DocumentsError::Refused(why) => Error::invalid("", "schema", why),
        error => Error::Documents(error),
    }
}

impl DocumentStore {
    /// Documents that this adapter keeps; ids and times come from where the store has them.
    pub fn new(documents: Arc<dyn Documents>, store: &Store) -> Self {
        Self { documents, store: Arc::new(store.without_documents()) }
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.store.clock()
    }

    /// The store that they belong to.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What keeps them, which tells nobody who reads what.
    pub(crate) fn port(&self) -> &Arc<dyn Documents> {
        &self.documents
    }

    /// Asks whether they can be reached.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.documents.ping().await?)
    }

    /// Makes what all collections need. See [`Documents::prepare`].
    pub async fn prepare(&self) -> Result<()> {
        Ok(self.documents.prepare(&super::collections()).await?)
    }

    /// Where what is there differs from what all collections declare.
    pub async fn drift(&self) -> Result<Vec<Difference>> {
        Ok(self.documents.drift(&super::collections()).await?)
    }

    /// Deletes some of what has expired; how many documents. To be called again while there are any.
    pub async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        for collection in super::collections() {
            swept += self.documents.sweep(collection, self.clock().now()).await?;
        }
        Ok(swept)
    }

    /// Deletes what has expired from now on, for as long as anybody has these documents.
    pub(crate) fn keep_swept(&self) {
        let (documents, clock) = (Arc::downgrade(&self.documents), Arc::clone(self.clock()));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let Some(documents) = documents.upgrade() else { return };
                for collection in super::collections() {
                    // The more there are the longer it takes, but nobody waits for it.
                    while matches!(documents.sweep(collection, clock.now()).await, Ok(1..)) {}
                }
            }
        });
    }

    /// Makes a document.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it breaks a rule of its kind, [`Error::Conflict`] if another has what must be unique.
    pub async fn insert<D: Documented>(&self, document: D) -> Result<Kept<D>> {
        self.insert_as(Id::new(self.store.ids().next(self.clock().now())), document).await
    }

    /// Makes a document with an id that the caller knows: again, it is [`Error::Conflict`].
    pub async fn insert_as<D: Documented>(&self, id: Id<D>, document: D) -> Result<Kept<D>> {
        document.validate()?;
        let kept = Kept { id, version: FIRST_VERSION, document };
        let outcomes = self.documents.insert(D::collection(), vec![kept.to_document()?]).await?;
        match outcomes.into_iter().next() {
            Some(Ok(())) => Ok(kept),
            Some(Err(error)) => Err(explain(D::collection(), error)),
            None => Err(DocumentsError::Unexpected.into()),
        }
    }

    /// Makes many documents. One outcome for each, in order: one that is refused does not keep the others out.
    pub async fn insert_all<D: Documented>(&self, documents: Vec<D>) -> Result<Vec<Result<Kept<D>>>> {
        let now = self.clock().now();
        let checked = documents.into_iter().map(|document| {
            document.validate()?;
            let kept = Kept { id: Id::new(self.store.ids().next(now)), version: FIRST_VERSION, document };
            kept.to_document().map(|document| (kept, document))
        });
        let checked = checked.collect::<Vec<Result<_>>>();
        let valid = checked.iter().filter_map(|checked| Some(checked.as_ref().ok()?.1.clone())).collect();
        let mut outcomes = self.documents.insert(D::collection(), valid).await?.into_iter();
        let outcome = |checked: Result<(Kept<D>, Document)>| {
            let (kept, _) = checked?;
            let outcome = outcomes.next().ok_or(DocumentsError::Unexpected)?;
            outcome.map(|()| kept).map_err(|error| explain(D::collection(), error))
        };
        Ok(checked.into_iter().map(outcome).collect())
    }

    /// Finds a document.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn find<D: Documented>(&self, id: Id<D>) -> Result<Kept<D>> {
        self.look_up(id).await?.ok_or_else(|| not_found::<D>(id))
    }

    /// Looks a document up that may not be there.
    pub async fn look_up<D: Documented>(&self, id: Id<D>) -> Result<Option<Kept<D>>> {
        let found = self.stored(D::collection(), &id.to_string()).await?.map(Kept::from_document).transpose()?;
        self.store.tell(Reading::of_documents(found.iter())).await?;
        Ok(found)
    }

    async fn stored(&self, collection: &Collection, id: &str) -> Result<Option<Document>> {
        let query = Query { filter: Filter::id(id), limit: Some(1), ..Query::default() };
        Ok(self.documents.find(collection, &query).await?.into_iter().next())
    }

    /// Answers a question. With a limit it says where the next ones begin.
    pub async fn list<D: Documented>(&self, query: Typed<D, Query>) -> Result<DocumentListing<D>> {
        let mut query = Query { fields: None, ..query.into_inner() };
        let limit = query.limit;
        query.limit = limit.map(|limit| limit.saturating_add(1));
        let mut found = self.documents.find(D::collection(), &query).await?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let is_last = found.len() <= limit;
        found.truncate(limit);
        let next = found.last().filter(|_| !is_last).and_then(|last| After::document(&query, last));
        let documents = found.into_iter().map(Kept::from_document).collect::<Result<Vec<_>>>()?;
        self.store.tell(Reading::of_documents(&documents)).await?;
        Ok(DocumentListing { documents, next })
    }

    /// How many documents are so.
    pub async fn count<D: Documented>(&self, filter: &Typed<D, Filter>) -> Result<u64> {
        Ok(self.documents.count(D::collection(), filter.as_inner()).await?)
    }

    /// What follows from the documents of a kind. Where something in them is sensitive, all of them are taken for read.
    pub async fn aggregate<D: Documented>(&self, pipeline: &Typed<D, Pipeline>) -> Result<Vec<Document>> {
        let sensitive = Sensitive::of_collection(D::collection());
        self.store.tell(sensitive.map(Sensitive::read_of_any)).await?;
        Ok(self.documents.aggregate(D::collection(), pipeline.as_inner()).await?)
    }

    /// Changes a document that was seen in this version.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::VersionConflict`] if somebody else changed it since; [`Error::Invalid`] if it would
    /// break a rule of its kind.
    pub async fn update<D: Documented>(&self, id: Id<D>, version: i64, update: &Typed<D, Update>) -> Result<Kept<D>> {
        may_change::<D>()?;
        let collection = D::collection();
        collection.check_update(update.as_inner())?;
        let stored = self.stored(collection, &id.to_string()).await?.ok_or_else(|| not_found::<D>(id))?;
        check_version::<D>(id, version, &stored)?;
        let mut fields = upgraded::<D>(stored.clone());
        update.as_inner().apply(&mut fields).map_err(|error| explain(collection, error))?;
        let document =
            D::deserialize(Value::Object(fields)).map_err(|error| Error::invalid("", "schema", error.to_string()))?;
        document.validate()?;
        let kept = Kept { id, version: version + 1, document };
        // What was not changed is given too. Before it is written: what is written cannot fail any more.
        self.store.tell(Reading::of_documents([&kept])).await?;
        self.replace(&stored, &kept).await?;
        Ok(kept)
    }

    /// Merges fields into a document that was seen in this version, as RFC 7396 says: an object into the object that is
    /// there, and null removes what is.
    ///
    /// # Errors
    /// Those of [`update`](Self::update); [`Error::Invalid`] names what is no field.
    pub async fn merge<D: Documented>(&self, id: Id<D>, version: i64, fields: Document) -> Result<Kept<D>> {
        may_change::<D>()?;
        let stored = self.stored(D::collection(), &id.to_string()).await?.ok_or_else(|| not_found::<D>(id))?;
        check_version::<D>(id, version, &stored)?;
        let mut merged = Value::Object(upgraded::<D>(stored.clone()));
        merge(&mut merged, Value::Object(fields));
        let document = D::deserialize(&merged).map_err(|error| Error::invalid("", "schema", error.to_string()))?;
        all_taken(&merged, &document)?;
        document.validate()?;
        let kept = Kept { id, version: version + 1, document };
        // What was not changed is given too. Before it is written: what is written cannot fail any more.
        self.store.tell(Reading::of_documents([&kept])).await?;
        self.replace(&stored, &kept).await?;
        Ok(kept)
    }

    /// Puts a document in the place of what was stored, if that is there still.
    async fn replace<D: Documented>(&self, stored: &Document, kept: &Kept<D>) -> Result<()> {
        let (collection, id) = (D::collection(), kept.id.to_string());
        let update = difference(collection, stored, &kept.to_document()?);
        let filter = seen(&id, version_of(stored));
        let written = self.documents.update(collection, &filter, &update).await;
        if written.map_err(|error| explain(collection, error))? == 0 {
            return Err(self.changed(kept.id, version_of(stored)).await?);
        }
        Ok(())
    }

    /// Why a document is not there in the version that was seen.
    async fn changed<D: Documented>(&self, id: Id<D>, version: i64) -> Result<Error> {
        Ok(match self.stored(D::collection(), &id.to_string()).await? {
            None => not_found::<D>(id),
            Some(stored) => match check_version::<D>(id, version, &stored) {
                Err(error) => error,
                Ok(()) => DocumentsError::Conflict.into(),
            },
        })
    }

    /// Deletes a document that was seen in this version.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::VersionConflict`] if somebody else changed it since.
    pub async fn delete<D: Documented>(&self, id: Id<D>, version: i64) -> Result<()> {
        may_change::<D>()?;
        match self.documents.delete(D::collection(), &seen(&id.to_string(), version)).await? {
            0 => Err(self.changed(id, version).await?),
            _ => Ok(()),
        }
    }

    /// Changes every document that is so; how many. Rules that look at several fields at once are not looked at, and the
    /// words of a document are not found anew: what is searched for words is changed one by one.
    pub async fn update_all<D: Documented>(&self, filter: &Typed<D, Filter>, update: Typed<D, Update>) -> Result<u64> {
        may_change::<D>()?;
        let collection = D::collection();
        let mut update = update.into_inner();
        let searched = collection.indexes().iter().filter_map(|index| match &index.is {
            IndexUse::Text { fields } => Some(fields),
            IndexUse::Fields { .. } | IndexUse::Geo { .. } | IndexUse::Ttl { .. } => None,
        });
        let top = |field: &FieldPath| field.names().next().unwrap_or_default().to_owned();
        let searched = searched.flatten().map(top).collect::<HashSet<_>>();
        if update.edits.iter().any(|edit| searched.contains(&top(edit.field()))) {
            let what = "what is searched for words is changed one by one";
            return Err(DocumentsError::Unsupported(what.into()).into());
        }
        if self.documents.count(collection, &old::<D>()).await? > 0 {
            self.upgrade_all::<D>().await?;
        }
        update.edits.push(Edit::Inc { field: version_field(), by: Scalar::Integer(1) });
        let updated = self.documents.update(collection, filter.as_inner(), &update).await;
        updated.map_err(|error| explain(collection, error))
    }

    /// Deletes every document that is so; how many.
    pub async fn delete_all<D: Documented>(&self, filter: &Typed<D, Filter>) -> Result<u64> {
        Ok(self.documents.delete(D::collection(), filter.as_inner()).await?)
    }

    /// Writes all documents in the present version of their schema, so that filters find them by it; how many were not.
    /// They are read in it in any case.
    pub async fn upgrade_all<D: Documented>(&self) -> Result<u64> {
        let mut count = 0;
        loop {
            let query = Query { filter: old::<D>(), limit: Some(BATCH), ..Query::default() };
            let found = self.documents.find(D::collection(), &query).await?;
            if found.is_empty() {
                return Ok(count);
            }
            for stored in found {
                let kept = Kept::<D>::from_document(stored.clone())?;
                let kept = Kept { version: kept.version + 1, ..kept };
                match self.replace(&stored, &kept).await {
                    Ok(()) => count += 1,
                    // It is found again, or gone.
                    Err(Error::VersionConflict { .. } | Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Does several writes, or none: see [`Documents::write`].
    pub async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>> {
        Ok(self.documents.write(writes).await?)
    }

    /// The documents of any collection, as JSON, by their ids. What is declared of a collection holds here too.
    pub fn untyped(&self, collection: &str) -> Untyped<'_> {
        let declared = super::collections().into_iter().find(|declared| declared.name() == collection).cloned();
        let collection = declared.unwrap_or_else(|| Collection::untyped(collection.to_owned()));
        Untyped { store: self, collection }
    }
}

/// The documents of one collection, whatever they are.
pub struct Untyped<'a> {
    store: &'a DocumentStore,
    collection: Collection,
}

impl Untyped<'_> {
    /// Makes a document.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one with this id.
    pub async fn insert(&self, id: &str, mut document: Document) -> Result<()> {
        document.insert(ID.to_owned(), id.into());
        let outcomes = self.store.documents.insert(&self.collection, vec![document]).await?;
        let outcome = outcomes.into_iter().next().unwrap_or(Err(DocumentsError::Unexpected));
        outcome.map_err(|error| explain(&self.collection, error))
    }

    /// Looks a document up that may not be there.
    pub async fn look_up(&self, id: &str) -> Result<Option<Document>> {
        let found = self.store.stored(&self.collection, id).await?;
        let sensitive = Sensitive::of_collection(&self.collection);
        let read = found.is_some().then(|| id.to_owned());
        self.store.store.tell(sensitive.and_then(|sensitive| sensitive.read(read))).await?;
        Ok(found)
    }

    /// Changes fields at the top of a document, and removes those that are null; whether there was one.
    pub async fn update(&self, id: &str, fields: Document) -> Result<bool> {
        let edit = |(name, value): (String, Value)| {
            let kind = self.collection.look_up(&name).map_or(Kind::Json, |(kind, _)| kind);
            Edit::Set { field: FieldPath::new(name, kind), value }
        };
        let update = Update { edits: fields.into_iter().map(edit).collect() };
        let updated = self.store.documents.update(&self.collection, &Filter::id(id), &update).await;
        Ok(updated.map_err(|error| explain(&self.collection, error))? > 0)
    }

    /// Deletes a document; whether there was one.
    pub async fn delete(&self, id: &str) -> Result<bool> {
        Ok(self.store.documents.delete(&self.collection, &Filter::id(id)).await? > 0)
    }
}

/// Merges as RFC 7396 says.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Document::new());
    }
    if let Value::Object(fields) = into {
        for (name, value) in patch {
            if value.is_null() {
                fields.remove(&name);
            } else {
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

/// Whether all that was given became a part of the document: what did not is no field of it.
///
/// # Errors
/// [`Error::Invalid`], with a pointer to each.
pub fn all_taken<D: Documented>(given: &Value, document: &D) -> Result<()> {
    let mut unknown = Vec::new();
    compare(given, &Value::Object(fields_of(document)?), "", &mut unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    let unknown = unknown.into_iter().map(|pointer| FieldError {
        pointer,
        code: "unknown".into(),
        message: "is not a field here".to_owned(),
    });
    Err(Error::Invalid(unknown.collect()))
}

/// Gathers the pointers to what is given and was not taken.
fn compare(given: &Value, taken: &Value, at: &str, unknown: &mut Vec<String>) {
    match (given, taken) {
        (Value::Object(given), Value::Object(taken)) => {
            for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                match taken.get(name) {
                    Some(taken) => compare(value, taken, &at, unknown),
                    None => unknown.push(at),
                }
            }
        }
        (Value::Array(given), Value::Array(taken)) => {
            for (place, (given, taken)) in given.iter().zip(taken).enumerate() {
                compare(given, taken, &format!("{at}/{place}"), unknown);
            }
        }
        _ => {}
    }
}

fn not_found<D: Documented>(id: Id<D>) -> Error {
    Error::NotFound { noun: D::NOUN, id: id.to_string() }
}

fn check_version<D: Documented>(id: Id<D>, expected: i64, stored: &Document) -> Result<()> {
    let actual = version_of(stored);
    if actual == expected {
        return Ok(());
    }
    Err(Error::VersionConflict { noun: D::NOUN, id: id.to_string(), expected, actual })
}

fn may_change<D: Documented>() -> Result<()> {
    if D::ONLY_ADDED {
        return Err(Error::refused("only_added", format!("a {} is never changed", D::NOUN)));
    }
    Ok(())
}
