//! The business words of the application: its nouns with their rules and relations, and the units of work that change
//! them.
//!
//! One noun is one file: typed id, model, `New…`, `…Patch`, `…Filter`, relations, rules. What HTTP adds to it is in the
//! `api` crate. Generated entities, SeaORM's conditions and its connection stay in here. To add a noun, write its
//! migration, refresh the entities, copy the shape of `account.rs`, and give it a line among the nouns below. What is
//! kept as a document needs no migration: copy the shape of `log_entry.rs`, and name its collection in `document.rs`.

// This file alone is not formatted, so that a noun is one line of it.
#![cfg_attr(rustfmt, rustfmt_skip)]

mod audit;
mod breaker;
mod bulk;
mod changes;
mod coherence;
mod columns;
mod connection;
mod context;
mod deadline;
pub mod document;
mod engine;
mod error;
mod fault;
mod id;
mod idempotency;
mod interrupt;
mod memory;
mod noun;
mod outbox;
mod page;
mod pool;
mod pooler;
mod port;
mod query;
mod read;
mod record;
mod relation;
mod retry;
mod session;
mod shelf;
mod source;
mod sql;
mod store;
mod text;
mod transaction;
mod unit_of_work;
mod value;
mod wire;

pub use audit::{AuditEntry, AuditEntryId, Finding, Tampering, Verification};
pub use breaker::{Admission, Breaker, BreakerPolicy, BreakerState, CircuitOpen, Probe};
pub use changes::{ChangeKind, Changed, Changes, Notice, Noun};
pub use coherence::{CacheCounts, CachePolicy, CacheStatus, OnUnreachable};
pub use connection::StoreOptions;
pub use context::{Context, current_context, within_context};
pub use deadline::{Deadline, within};
pub use error::{Cause, Error, FieldError, Result, Unavailable};
pub use id::{Id, NotAnId};
pub use idempotency::Answer;
pub use memory::{NotASecret, Rankings, Secret, Session, SessionId, SessionPolicy, Sessions, Sets, Tokens, Values};
pub use outbox::{Backlog, DeadLetter, Delivery, Incident, OutboxPolicy, Recorded};
pub use page::{Cursor, DEFAULT_PAGE_SIZE, Listing, MAX_OFFSET, MAX_PAGE_SIZE, Page, Sort};
pub use pool::PoolStatus;
pub use pooler::Pooler;
pub use port::cache::{Cache, CacheError, Fill, InProcessCache, Key, LookUp, Observation, Slot, TOKEN_LIFE, Token};
pub use port::changes::{Announcement, Bus, BusError, Heard, InProcessBus, RowChange};
pub use port::documents::{Deviation, Difference, Documents, DocumentsError, IndexActivity, SqlDocuments, Taken, Write};
pub use port::memory::{InProcessMemory, Memory, MemoryError};
pub use port::clock::{Clock, ManualClock, SystemClock};
pub use record::{Caching, Filter, Insert, Patch, Record, UniqueText};
pub use relation::{Include, ManyToMany, Related, Relation, View};
pub use retry::RetryPolicy;
pub use shelf::StatementCounts;
pub use sql::{Parameter, Readable, Rows, Sql};
pub use store::{Database, Health, OpenWork, Store, StoreCounts};
pub use transaction::{Isolation, WriteOptions};
pub use unit_of_work::UnitOfWork;
pub use value::{Change, Day, Timestamp};
pub use wire::Wire;

// The nouns. All that is public in one is public here.
mod account;      pub use account::*;
mod content;      pub use content::*;
mod data_model;   pub use data_model::*;
mod profile;      pub use profile::*;
mod relationship; pub use relationship::*;
mod setting;      pub use setting::*;
mod subscription; pub use subscription::*;
mod tag;          pub use tag::*;
mod transfer;     pub use transfer::*;
mod user;         pub use user::*;

// The documents, likewise.
mod birth_chart;           pub use birth_chart::*;
mod event;                 pub use event::*;
mod log_entry;             pub use log_entry::*;
mod planetary_insight;     pub use planetary_insight::*;
mod timing_recommendation; pub use timing_recommendation::*;
