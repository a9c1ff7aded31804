//! Log entries: what was done and what failed, one line each, for as long as anybody looks at it.

use std::time::Duration;

use crate::{
    User,
    document::{Filter, Fold, Index, Pipeline, Typed, asc, desc, document},
    noun::*,
};

/// How long log entries are kept: thirty days.
pub const LOG_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The id of a log entry.
pub type LogEntryId = Id<LogEntry>;

text_enum! {
    /// How much a log entry matters.
    pub enum Level {
        /// For who looks for a fault.
        Debug = "debug",
        /// Something was done.
        Info = "info",
        /// Something was not as it should be, and went well.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

document! {
    /// What was done, or what failed.
    pub struct LogEntry = "log entry" in "logs" {
        pub timestamp as TIMESTAMP: Timestamp,
        pub level as LEVEL: Level,
        /// Who did it, if that is known.
        pub user_id as USER_ID: Option<Id<User>>,
        /// What was called: the route, with its parameters by their names.
        #[validate(length(max = 500))]
        pub endpoint as ENDPOINT: Option<String>,
        #[validate(length(max = 20))]
        pub method as METHOD: Option<String>,
        #[validate(length(max = 100))]
        pub request_id as REQUEST_ID: Option<String>,
        #[validate(length(max = 10000))]
        pub message as MESSAGE: Option<String>,
        /// What was done to it: `insert`, `update`, `delete`.
        #[validate(length(max = 50))]
        pub action as ACTION: Option<String>,
        /// What it was done to, as in `users:01890a5d-ac96-774b-bcce-b302099a8057`.
        #[validate(length(max = 200))]
        pub entity as ENTITY: Option<String>,
    }
    schema: 1,
    only_added: true,
    indexes: [
        Index::on("timestamp_level", [desc(LogEntry::TIMESTAMP), asc(LogEntry::LEVEL)]),
        Index::on("user_id_timestamp", [asc(LogEntry::USER_ID), desc(LogEntry::TIMESTAMP)]),
        Index::on("endpoint_method", [asc(LogEntry::ENDPOINT), asc(LogEntry::METHOD)]),
        Index::on("request_id", [asc(LogEntry::REQUEST_ID)]),
        Index::text("words", [LogEntry::MESSAGE.untyped()]),
        Index::ttl("retention", LogEntry::TIMESTAMP, LOG_RETENTION),
    ],
}

/// The endpoints that were called most often in a period, with how often: `endpoint`, `method`, `count`.
pub fn top_endpoints(from: Timestamp, until: Timestamp, limit: u64) -> Typed<LogEntry, Pipeline> {
    during(from, until)
        .and(LogEntry::ENDPOINT.exists())
        .pipeline()
        .group([("endpoint", LogEntry::ENDPOINT.key()), ("method", LogEntry::METHOD.key())], [("count", Fold::Count)])
        .greatest::<i64>("count")
        .limit(limit)
}

/// What was logged in a period; its end is not in it.
fn during(from: Timestamp, until: Timestamp) -> Typed<LogEntry, Filter> {
    LogEntry::TIMESTAMP.gte(from).and(LogEntry::TIMESTAMP.lt(until))
}
