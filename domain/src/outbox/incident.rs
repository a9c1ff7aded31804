//! What went wrong: each is one entry of the log, with the request that it happened in.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::row::{log_entry, shortened};
use crate::{
    Level, LogEntry,
    context::Context,
    document::{Document, Kept},
    error::Result,
    id::Id,
    value::Timestamp,
};

/// How many may wait to be taken down.
const MOST: usize = 10_000;

/// Something that went wrong.
#[derive(Debug, Clone)]
pub struct Incident {
    /// What it is: a stable word.
    pub code: String,
    /// What happened, for who looks into it.
    pub message: String,
    /// What was answered, if it is known.
    pub status: Option<u16>,
    /// By whose request.
    pub context: Context,
}

/// An incident that has a time and an id, by which it is known however often it is taken down.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) id: Uuid,
    pub(super) at: Timestamp,
    pub(super) incident: Incident,
}

/// Those that nobody has taken down yet.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    incidents: VecDeque<Noted>,
    lost: u64,
}

impl Queue {
    pub(super) fn push(&self, noted: Noted) {
        let mut waiting = self.waiting();
        if waiting.incidents.len() < MOST {
            waiting.incidents.push_back(noted);
        } else {
            waiting.lost += 1;
        }
    }

    /// The oldest; they go on waiting until they are told to be taken down.
    pub(super) fn first(&self, most: usize) -> Vec<Noted> {
        self.waiting().incidents.iter().take(most).cloned().collect()
    }

    /// The oldest of this count are taken down.
    pub(super) fn taken_down(&self, count: usize) {
        let mut waiting = self.waiting();
        let count = count.min(waiting.incidents.len());
        waiting.incidents.drain(..count);
    }

    /// How many wait, and how many were lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        let waiting = self.waiting();
        (waiting.incidents.len() as u64, waiting.lost)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a message may be in the log.
const MAX_MESSAGE: usize = 10_000;

impl Noted {
    /// The entry of the log.
    pub(super) fn document(&self) -> Result<Document> {
        let Incident { code, message, status, context } = &self.incident;
        let message = Some(shortened(message, MAX_MESSAGE));
        let entry = LogEntry { message, ..log_entry(Level::Error, self.at, context) };
        let mut document = Kept { id: Id::new(self.id), version: 1, document: entry }.to_document()?;
        document.insert("code".to_owned(), code.as_str().into());
        if let Some(status) = status {
            document.insert("status".to_owned(), (*status).into());
        }
        Ok(document)
    }
}
