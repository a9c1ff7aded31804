//! A row of the outbox, and the documents that it becomes.

use chrono::{DateTime, FixedOffset};
use sea_orm::{DbErr, QueryResult};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Level, LogEntry,
    audit::{self, AUDIT, Seal},
    context::Context,
    document::{Document, ID, Kept},
    id::Id,
    value::Timestamp,
};

/// The collection of what happens, and of what goes wrong.
pub(crate) const LOGS: &str = "logs";

/// What is to be delivered.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) number: i64,
    /// What the document will be known by.
    pub(crate) id: Uuid,
    pub(crate) collection: String,
    pub(crate) entity: String,
    /// None if it is no JSON object: somebody else wrote it.
    pub(crate) body: Option<Document>,
    pub(crate) context: Context,
    pub(crate) at: Timestamp,
    /// Its place in the audit trail, once it has one.
    pub(crate) seal: Option<Seal>,
    pub(crate) attempts: i64,
}

/// The columns that [`Row::read`] reads.
pub(super) const COLUMNS: &str =
    "number, id, collection, entity, body, context, at, sequence, previous, hash, attempts";

impl Row {
    pub(super) fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let body = row.try_get::<String>("", "body")?;
        let context = row.try_get::<Option<String>>("", "context")?;
        Ok(Self {
            number: row.try_get("", "number")?,
            id: row.try_get("", "id")?,
            collection: row.try_get("", "collection")?,
            entity: row.try_get("", "entity")?,
            body: serde_json::from_str(&body).ok(),
            // Whoever sets it by hand may set anything.
            context: context.and_then(|context| serde_json::from_str(&context).ok()).unwrap_or_default(),
            at: row.try_get::<DateTime<FixedOffset>>("", "at")?.into(),
            seal: seal(row)?,
            attempts: row.try_get("", "attempts")?,
        })
    }

    /// Whether it belongs to the audit trail, and has no place in it yet.
    pub(super) fn wants_seal(&self) -> bool {
        self.collection == AUDIT && self.seal.is_none()
    }

    /// Whether it says what was done.
    pub(super) fn is_change(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.get("action").is_some_and(Value::is_string))
    }

    /// The record that is gone, by its table and id, if the row says that.
    pub(super) fn deleted(&self) -> Option<(&str, Uuid)> {
        let action = self.body.as_ref().filter(|_| self.collection == AUDIT)?.get("action")?;
        let (table, id) = self.entity.split_once(':')?;
        let id = Uuid::try_parse(id).ok()?;
        (action == "delete").then_some((table, id))
    }

    /// The documents that it becomes, by the collections that they are for: an entry of the audit trail is one of the log
    /// as well, because those who look at what happens are not those who look after the trail.
    ///
    /// # Errors
    /// Why it can be none.
    pub(super) fn documents(&self) -> Result<Vec<(&str, Document)>, String> {
        let body = self.body.as_ref().ok_or("it is no JSON object")?;
        if self.collection != AUDIT {
            let mut document = body.clone();
            document.entry(ID).or_insert_with(|| self.id.to_string().into());
            return Ok(vec![(&self.collection, document)]);
        }
        let seal = self.seal.as_ref().ok_or("it is no entry of the audit trail")?;
        let mut entry = audit::entry(self, seal.sequence, &seal.previous).map_err(|error| error.to_string())?;
        entry.insert(audit::HASH.to_owned(), seal.hash.clone().into());
        let activity = LogEntry {
            action: body.get("action").and_then(Value::as_str).map(str::to_owned),
            entity: Some(shortened(&self.entity, MAX_ENTITY)),
            ..log_entry(Level::Info, self.at, &self.context)
        };
        let activity = Kept { id: Id::new(self.id), version: 1, document: activity }.to_document();
        Ok(vec![(AUDIT, entry), (LOGS, activity.map_err(|error| error.to_string())?)])
    }
}

/// The place of a row in the audit trail.
pub(super) fn seal(row: &QueryResult) -> Result<Option<Seal>, DbErr> {
    let hash = row.try_get::<Option<String>>("", "hash")?.unwrap_or_default();
    let previous = row.try_get::<Option<String>>("", "previous")?.unwrap_or_default();
    Ok(row.try_get::<Option<i64>>("", "sequence")?.map(|sequence| Seal { sequence, previous, hash }))
}

/// How long these may be in the log.
const MAX_ENTITY: usize = 200;
const MAX_ENDPOINT: usize = 500;

/// The beginning of a text that may be too long.
pub(super) fn shortened(text: &str, max: usize) -> String {
    text.chars().filter(|letter| *letter != '\0').take(max).collect()
}

/// What is said in each entry of the log.
pub(super) fn log_entry(level: Level, timestamp: Timestamp, context: &Context) -> LogEntry {
    let Context { actor, request_id, endpoint, method } = context;
    LogEntry {
        timestamp,
        level,
        // An actor that is no user is one all the same, and is in the audit trail.
        user_id: actor.as_ref().and_then(|actor| Uuid::try_parse(actor).ok()).map(Id::new),
        endpoint: endpoint.as_ref().map(|endpoint| shortened(endpoint, MAX_ENDPOINT)),
        method: method.as_ref().map(|method| shortened(method, 20)),
        request_id: request_id.as_ref().map(|id| shortened(id, 100)),
        message: None,
        action: None,
        entity: None,
    }
}
