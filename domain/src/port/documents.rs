//! The seam between the application and what keeps its documents.
//!
//! What is asked for is said in the language of [`document`](crate::document), and means what the evaluator there makes
//! of it. An adapter that cannot do something says so when the collection is [prepared](Documents::prepare) or by
//! [`DocumentsError::Unsupported`], and never answers otherwise. Whatever an adapter is asked it has looked at by the
//! collection ([`Collection::check_filter`] and so on), and what it is to keep, also after a change, it keeps in the form
//! in which the collection [admits](Collection::admit) it.

mod sql;

use std::{borrow::Cow, fmt};

use async_trait::async_trait;

pub use self::sql::SqlDocuments;
use crate::{
    document::{Collection, Document, Filter, Index, Pipeline, Query, Update, collections},
    value::Timestamp,
};

/// Keeps documents. [`SqlDocuments`] needs no service beside the database.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// Makes what these collections need: their indexes, and what checks their documents. What is there and is another is
    /// made anew; what nobody declared is left alone. Doing it again does nothing.
    ///
    /// # Errors
    /// [`DocumentsError::Unsupported`] if a collection declares what this adapter cannot do.
    async fn prepare(&self, collections: &[&Collection]) -> Result<(), DocumentsError>;

    /// Where what is there differs from what these collections declare, in both directions.
    async fn drift(&self, collections: &[&Collection]) -> Result<Vec<Difference>, DocumentsError>;

    /// How often each index of these collections was used, as far as the server counts that; nothing if it does not.
    async fn index_activity(&self, _collections: &[&Collection]) -> Result<Vec<IndexActivity>, DocumentsError> {
        Ok(Vec::new())
    }

    /// Adds documents. One outcome for each, in order: one that is refused does not keep the others out. That its id is
    /// there already is [`DocumentsError::Duplicate`], which tells whoever repeats an insert that it is done.
    async fn insert(
        &self,
        collection: &Collection,
        documents: Vec<Document>,
    ) -> Result<Vec<Result<(), DocumentsError>>, DocumentsError>;

    /// Answers a question.
    async fn find(&self, collection: &Collection, query: &Query) -> Result<Vec<Document>, DocumentsError>;

    /// How many documents are so.
    async fn count(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError>;

    /// Changes documents; how many there were. Each is changed as a whole or not at all; if one cannot be, an error says
    /// so, and others may have been changed.
    async fn update(&self, collection: &Collection, filter: &Filter, update: &Update) -> Result<u64, DocumentsError>;

    /// Deletes documents; how many there were.
    async fn delete(&self, collection: &Collection, filter: &Filter) -> Result<u64, DocumentsError>;

    /// What follows from the documents of a collection.
    async fn aggregate(&self, collection: &Collection, pipeline: &Pipeline) -> Result<Vec<Document>, DocumentsError>;

    /// Does all of these, in order, or none; how many documents each was about.
    ///
    /// # Errors
    /// [`DocumentsError::NeedsReplicaSet`] where the server knows no transactions.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, DocumentsError>;

    /// Deletes some of what has expired by now, where nobody else does; how many. To be called again while there are any.
    async fn sweep(&self, collection: &Collection, now: Timestamp) -> Result<u64, DocumentsError>;

    /// Whether it answers.
    async fn ping(&self) -> Result<(), DocumentsError>;

    /// Ends connections of its own, if it has any. Nothing is answered after that.
    async fn close(&self) {}
}

/// One of several writes that are done together.
#[derive(Debug, Clone)]
pub enum Write {
    /// Adds a document; it failing for any reason undoes all.
    Insert { collection: Collection, document: Document },
    /// Changes documents. If it has to find some and there are none, all is undone.
    Update { collection: Collection, filter: Filter, update: Update, must_match: bool },
    /// Deletes documents. If it has to find some and there are none, all is undone.
    Delete { collection: Collection, filter: Filter, must_match: bool },
}

/// How often an index was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexActivity {
    /// The collection.
    pub collection: String,
    /// The index by its name.
    pub index: String,
    /// How many operations have used it.
    pub uses: u64,
    /// Since when they are counted, at the earliest: an index that was made later is counted since then. None if that is not
    /// known, as on a PostgreSQL whose counts nobody has reset: it also begins anew after a crash.
    pub since: Option<Timestamp>,
}

impl IndexActivity {
    /// The index as its collection declares it, if it does.
    pub fn declared(&self) -> Option<&'static Index> {
        let collection = collections().into_iter().find(|collection| collection.name() == self.collection)?;
        collection.indexes().iter().find(|index| index.name == self.index)
    }

    /// Whether it only costs, for all that is known: nobody looked anything up in it, and it is for nothing else.
    pub fn is_unused(&self) -> bool {
        self.uses == 0 && !self.declared().is_some_and(Index::works_unasked)
    }
}

/// Something that is other than was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The collection.
    pub collection: String,
    /// An index by its name, or `validator`.
    pub what: String,
    pub how: Deviation,
}

/// How something is other than was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deviation {
    /// It is not there.
    Missing,
    /// It is there and nobody declared it.
    Undeclared,
    /// It is there, and is another.
    Different,
}

/// Why nothing was done, or not all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DocumentsError {
    /// It cannot be reached, or failed so often that it is left alone for a while.
    Unavailable,
    /// It refuses this user, or this password.
    AuthFailed,
    /// It did not answer in time: what was to be written may be.
    Timeout,
    /// A document with this id is there already, or one with the same values in a unique index.
    Duplicate(Taken),
    /// A document is not as its collection declares: what a person may be told.
    Refused(String),
    /// The write at this place had to find a document, and there was none.
    NoMatch(usize),
    /// Several documents at once need a replica set.
    NeedsReplicaSet,
    /// The adapter, or the language, cannot do this.
    Unsupported(Cow<'static, str>),
    /// Concurrent writes got in the way, in every attempt.
    Conflict,
    /// It answered with something that has no place in the protocol.
    Unexpected,
}

/// What another document has already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Taken {
    Id,
    /// The values of the unique index of this name.
    Index(String),
}

impl DocumentsError {
    /// Whether the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable | Self::AuthFailed | Self::Timeout | Self::Conflict => true,
            Self::Duplicate(_)
            | Self::Refused(_)
            | Self::NoMatch(_)
            | Self::NeedsReplicaSet
            | Self::Unsupported(_)
            | Self::Unexpected => false,
        }
    }
}

impl fmt::Display for DocumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("it cannot be reached"),
            Self::AuthFailed => f.write_str("it refuses the user or the password"),
            Self::Timeout => f.write_str("it does not answer in time"),
            Self::Duplicate(Taken::Id) => f.write_str("a document with this id is there already"),
            Self::Duplicate(Taken::Index(name)) => write!(f, "another document has the same in the index {name}"),
            Self::Refused(why) => write!(f, "the document is refused: {why}"),
            Self::NoMatch(_) => f.write_str("there is no such document"),
            Self::NeedsReplicaSet => f.write_str("it needs a replica set to write several documents at once"),
            Self::Unsupported(what) => write!(f, "it cannot do this: {what}"),
            Self::Conflict => f.write_str("concurrent writes got in the way"),
            Self::Unexpected => f.write_str("it gave an answer that was not understood"),
        }
    }
}

impl std::error::Error for DocumentsError {}
