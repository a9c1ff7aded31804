//! Documents that go wrong when they are told to: before any others, or in memory.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use domain::{
    Difference, Documents, DocumentsError, Taken, Timestamp, Write,
    document::{After, Collection, Document, Filter, Pipeline, Query, Scalar, SortBy, Update},
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It cannot be reached.
    Away,
    /// It does what it is asked, and nobody hears of it.
    Deaf,
    /// It does half of what it is asked, and nobody hears of it.
    Half,
    /// It refuses documents in which this text is.
    Refuses(&'static str),
}

/// Documents in front of which there may be trouble.
#[derive(Clone)]
pub struct Troubled {
    inner: Arc<dyn Documents>,
    trouble: Arc<Mutex<Trouble>>,
}

impl Troubled {
    /// Without trouble as yet.
    pub fn before(inner: Arc<dyn Documents>) -> Self {
        Self { inner, trouble: Arc::new(Mutex::new(Trouble::None)) }
    }

    /// From now on.
    pub fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap()
    }

    fn check(&self) -> Result<(), DocumentsError> {
        if self.trouble() == Trouble::Away { Err(DocumentsError::Unavailable) } else { Ok(()) }
    }
}

#[async_trait]
impl Documents for Troubled {
    async fn prepare(&self, collections: &[&Collection]) -> Result<(), DocumentsError> {
        self.check()?;
        self.inner.prepare(collections).await
    }

    async fn drift(&self, collections: &[&Collection]) -> Result<Vec<Difference>, DocumentsError> {
        self.check()?;
        self.inner.drift(collections).await
    }

    async fn insert(
        &self,
        collection: &Collection,
        mut documents: Vec<Document>,
    ) -> Result<Vec<Result<(), DocumentsError>>, DocumentsError> {
        match self.trouble() {
            Trouble::None => self.inner.insert(collection, documents).await,
            Trouble::Away => Err(DocumentsError::Unavailable),
            Trouble::Deaf => {
                self.inner.insert(collection, documents).await?;
                Err(DocumentsError::Timeout)
            }
            Trouble::Half => {
                documents.truncate(documents.len().div_ceil(2));
                self.inner.insert(collection, documents).await?;
                Err(DocumentsError::Timeout)
            }
            Trouble::Refuses(text) => {
                let mut outcomes = Vec::new();
                for document in documents {
                    outcomes.push(match serde_json::to_string(&document).unwrap().contains(text) {
                        true => Err(DocumentsError::Refused(format!("it has {text} in it"))),
                        false => self.inner.insert(collection, vec![document]).await?.remove(0),
                    });
                }
                Ok(outcomes)
            }
        }
    }

    async fn find(&self, collection: &Collection, query: &Query) -> Result<Vec<Document>, DocumentsError> {
        self.check()?;
        self.inner.find(collection, query).await
    }

    async fn count(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        self.check()?;
        self.inner.count(collection, filter).await
    }

    async fn update(&self, collection: &Collection, filter: &Filter, update: &Update) -> Result<u64, DocumentsError> {
        self.check()?;
        self.inner.update(collection, filter, update).await
    }

    async fn delete(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError> {
        self.check()?;
        self.inner.delete(collection, filter).await
    }

    async fn aggregate(&self, collection: &Collection, pipeline: &Pipeline) -> Result<Vec<Document>, DocumentsError> {
        self.check()?;
        self.inner.aggregate(collection, pipeline).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, DocumentsError> {
        self.check()?;
        self.inner.write(writes).await
    }

    async fn sweep(&self, collection: &Collection, now: Timestamp) -> Result<u64, DocumentsError> {
        self.check()?;
        self.inner.sweep(collection, now).await
    }

    async fn ping(&self) -> Result<(), DocumentsError> {
        self.check()?;
        self.inner.ping().await
    }
}

/// Documents in memory, in the order in which they came: as much as it takes to deliver to them and to read them in the
/// order of a number. The test may do with them what it likes.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<Mutex<BTreeMap<String, Vec<Document>>>>);

impl InMemory {
    /// All of them, by collection.
    pub fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Document>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Documents for InMemory {
    async fn prepare(&self, _collections: &[&Collection]) -> Result<(), DocumentsError> {
        Ok(())
    }

    async fn drift(&self, _collections: &[&Collection]) -> Result<Vec<Difference>, DocumentsError> {
        Ok(Vec::new())
    }

    async fn insert(
        &self,
        collection: &Collection,
        documents: Vec<Document>,
    ) -> Result<Vec<Result<(), DocumentsError>>, DocumentsError> {
        let mut all = self.all();
        let there = all.entry(collection.name().to_owned()).or_default();
        let id = |document: &Document| document["_id"].as_str().unwrap().to_owned();
        let mut ids = there.iter().map(id).collect::<HashSet<_>>();
        let insert = |document: Document| {
            if !ids.insert(id(&document)) {
                return Err(DocumentsError::Duplicate(Taken::Id));
            }
            there.push(document);
            Ok(())
        };
        Ok(documents.into_iter().map(insert).collect())
    }

    async fn find(&self, collection: &Collection, query: &Query) -> Result<Vec<Document>, DocumentsError> {
        let mut found = self.all().get(collection.name()).cloned().unwrap_or_default();
        let place = |document: &Document| {
            let SortBy::Field(field) = &query.sort[0].by else { panic!("{query:?}") };
            (document.get(field.path.as_ref()).and_then(|n| n.as_i64()), document["_id"].as_str().unwrap().to_owned())
        };
        if !query.sort.is_empty() {
            found.sort_by_key(place);
        }
        if let Some(After { values, id }) = &query.after {
            let Some(Scalar::Integer(n)) = values[0] else { panic!("{query:?}") };
            found.retain(|document| place(document) > (Some(n), id.clone()));
        }
        found.truncate(query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
        Ok(found)
    }

    async fn count(&self, collection: &Collection, _filter: &Filter) -> Result<u64, DocumentsError> {
        Ok(self.all().get(collection.name()).map_or(0, Vec::len) as u64)
    }

    async fn update(&self, _: &Collection, _: &Filter, _: &Update) -> Result<u64, DocumentsError> {
        Err(DocumentsError::Unsupported("updates".into()))
    }

    async fn delete(&self, _: &Collection, _: &Filter) -> Result<u64, DocumentsError> {
        Err(DocumentsError::Unsupported("deletes".into()))
    }

    async fn aggregate(&self, _: &Collection, _: &Pipeline) -> Result<Vec<Document>, DocumentsError> {
        Err(DocumentsError::Unsupported("aggregations".into()))
    }

    async fn write(&self, _: Vec<Write>) -> Result<Vec<u64>, DocumentsError> {
        Err(DocumentsError::Unsupported("several writes".into()))
    }

    async fn sweep(&self, _: &Collection, _: Timestamp) -> Result<u64, DocumentsError> {
        Ok(0)
    }

    async fn ping(&self) -> Result<(), DocumentsError> {
        Ok(())
    }
}
