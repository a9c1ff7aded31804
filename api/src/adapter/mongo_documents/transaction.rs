//! Several writes, all or none.

use std::time::Duration;

use domain::{DocumentsError, Write, document::Collection};
use mongodb::{
    ClientSession,
    bson::{Document, RawDocumentBuf},
    error::{Error, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::{MongoDocuments, admitted, filter, query};
use crate::adapter::mongo_connection::{Asked, MongoConnection};

/// How often a transaction is tried that others got in the way of, if there is time.
const ATTEMPTS: u32 = 10;
/// How long is waited after the first of them; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// How often a commit is asked for of which it is not known whether it was done: it is done once.
const COMMITS: u32 = 3;

/// One of the writes.
struct Step {
    collection: String,
    action: Action,
    must_match: bool,
    /// Whether it is done as a whole or not at all by itself.
    is_atomic: bool,
}

enum Action {
    Insert(RawDocumentBuf),
    Update {
        filter: Document,
        changes: Document,
    },
    /// A change of nothing: whether there is something to be changed.
    Count {
        filter: Document,
    },
    Delete {
        filter: Document,
    },
}

/// How a transaction ended, as far as it was answered.
enum Outcome {
    Committed(Vec<u64>),
    NoMatch(usize),
    Unknown,
}

pub(super) async fn write(documents: &MongoDocuments, writes: Vec<Write>) -> Result<Vec<u64>, DocumentsError> {
    let mut connections = Vec::new();
    let mut steps = Vec::new();
    for write in writes {
        let (connection, step) = step(documents, write)?;
        connections.push(connection);
        steps.push(step);
    }
    let Some(connection) = connections.first() else { return Ok(Vec::new()) };
    if connections.iter().any(|other| !connection.is_same(other)) {
        return Err(DocumentsError::Unsupported("writing on several connections at once".into()));
    }
    let steps = &steps;
    let done = Instant::now() + connection.timeout();
    for attempt in 1.. {
        let outcome = connection.ask(|asked| async move {
            match steps.as_slice() {
                [step] if step.is_atomic => alone(&asked, step).await,
                steps => together(&asked, steps).await,
            }
        });
        match outcome.await {
            Ok(Outcome::Committed(counts)) => return Ok(counts),
            Ok(Outcome::NoMatch(index)) => return Err(DocumentsError::NoMatch(index)),
            Ok(Outcome::Unknown) => return Err(DocumentsError::Timeout),
            Err(failure) => {
                let wait = FIRST_WAIT * 2_u32.saturating_pow(attempt - 1);
                let wait = wait.mul_f64(rand::rng().random_range(0.5..1.5));
                if !failure.is_transient() || attempt >= ATTEMPTS || Instant::now() + wait >= done {
                    return Err(failure.meaning_of_change());
                }
                sleep(wait).await;
            }
        }
    }
    Err(DocumentsError::Conflict)
}

fn step(documents: &MongoDocuments, write: Write) -> Result<(&MongoConnection, Step), DocumentsError> {
    let of = |collection: &Collection| -> Result<_, DocumentsError> {
        Ok((documents.connection(collection)?, collection.name().to_owned()))
    };
    match write {
        Write::Insert { collection, document } => {
            let (connection, name) = of(&collection)?;
            let action = Action::Insert(admitted(&collection, document)?);
            Ok((connection, Step { collection: name, action, must_match: false, is_atomic: true }))
        }
        Write::Update { collection, filter, update, must_match } => {
            collection.check_filter(&filter)?;
            collection.check_update(&update)?;
            let (connection, name) = of(&collection)?;
            let is_atomic = filter::is_about_one(&filter);
            let filter = filter::filter(&filter)?;
            let action = match query::update(&collection, &update)? {
                Some(changes) => Action::Update { filter, changes },
                None => Action::Count { filter },
            };
            Ok((connection, Step { collection: name, action, must_match, is_atomic }))
        }
        Write::Delete { collection, filter, must_match } => {
            collection.check_filter(&filter)?;
            let (connection, name) = of(&collection)?;
            let is_atomic = filter::is_about_one(&filter);
            let action = Action::Delete { filter: filter::filter(&filter)? };
            Ok((connection, Step { collection: name, action, must_match, is_atomic }))
        }
    }
}

/// What is one write to the server needs no transaction, and so no replica set.
async fn alone(asked: &Asked, step: &Step) -> Result<Outcome, Error> {
    let count = step.run(asked, None).await?;
    Ok(if count == 0 && step.must_match { Outcome::NoMatch(0) } else { Outcome::Committed(vec![count]) })
}

async fn together(asked: &Asked, steps: &[Step]) -> Result<Outcome, Error> {
    let mut session = asked.client.start_session().await?;
    session.start_transaction().read_concern(ReadConcern::snapshot()).await?;
    let mut counts = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let ran = step.run(asked, Some(&mut session)).await;
        if !matches!(ran, Ok(count) if count > 0 || !step.must_match) {
            // Where that fails, the server undoes it by itself.
            session.abort_transaction().await.ok();
        }
        match ran? {
            0 if step.must_match => return Ok(Outcome::NoMatch(index)),
            count => counts.push(count),
        }
    }
    for _ in 0..COMMITS {
        match session.commit_transaction().await {
            Ok(()) => return Ok(Outcome::Committed(counts)),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::Unknown)
}

impl Step {
    /// Does it, and tells how many documents it was about.
    async fn run(&self, asked: &Asked, session: Option<&mut ClientSession>) -> Result<u64, Error> {
        /// What is done in the session, if there is one.
        macro_rules! within {
            ($action:expr) => {
                match session {
                    Some(session) => $action.session(session).await?,
                    None => $action.await?,
                }
            };
        }
        match &self.action {
            Action::Insert(document) => {
                let collection = asked.database.collection::<RawDocumentBuf>(&self.collection);
                within!(collection.insert_one(document));
                Ok(1)
            }
            Action::Update { filter, changes } => {
                let collection = asked.database.collection::<Document>(&self.collection);
                Ok(within!(collection.update_many(filter.clone(), changes.clone())).matched_count)
            }
            Action::Count { filter } => {
                let collection = asked.database.collection::<Document>(&self.collection);
                Ok(within!(collection.count_documents(filter.clone())))
            }
            Action::Delete { filter } => {
                let collection = asked.database.collection::<Document>(&self.collection);
                Ok(within!(collection.delete_many(filter.clone())).deleted_count)
            }
        }
    }
}
