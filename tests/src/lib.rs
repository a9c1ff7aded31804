//! The harness that the workspace's tests stand on.
//!
//! It owns everything that a test needs from outside of it: private servers ([`Postgres`], [`PgBouncer`], [`Redis`],
//! [`Mongo`]), databases with the schema
//! in place ([`database()`], [`on_both!`]), the service as a real process ([`TestApp`]), faults on the network ([`Proxy`])
//! and the scoreboard of what is proven ([`scoreboard`]). It deliberately holds no business words: builders of users and
//! contents belong to the tests that need them.
//!
//! Two rules keep it trustworthy. Nothing outlives the run: every process it starts is ended when the run ends, however
//! it ends (see [`run`]). And nothing is silently green: a test that cannot run says `skipped`, and fails where skips
//! are not allowed (see [`Skip`]).
//!
//! To add one more server, write a file like `postgres.rs` with a `private()` that uses [`process::spawn`]; share one
//! between tests only when its start is too slow to repeat.

pub mod app;
pub mod certificate;
pub mod database;
pub mod documents;
pub mod history;
pub mod ladder;
pub mod mongo;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod protocol;
pub mod proxy;
pub mod redis;
pub mod run;
pub mod scoreboard;
mod skip;
mod small_disk;
pub mod staleness;
mod wait;

pub use app::{Output, TestApp};
pub use certificate::{Authority, Certificate};
pub use database::{Backend, TestDatabase, database};
pub use mongo::{Mongo, MongoUser};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use process::Signal;
pub use proxy::{Fault, Proxy, Schedule, Toward, Trap};
pub use redis::Redis;
pub use run::within;
pub use skip::Skip;
pub use wait::{PATIENCE, eventually, poll};

/// What the macros of this crate expand to; not for use by hand.
#[doc(hidden)]
pub mod expansion {
    pub use crate::{run::run_named, skip::name_of};
}
