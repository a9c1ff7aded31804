//! Events: what people did, for analysis. They are only ever added.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    User,
    document::{DocumentStore, Filter, Fold, Index, Pipeline, Typed, Unit, asc, document},
    noun::*,
};

/// How many events are read at once.
const BATCH: u64 = 500;

/// The id of an event.
pub type EventId = Id<Event>;

document! {
    /// Something that somebody did.
    pub struct Event = "event" in "events" {
        pub at as AT: Timestamp,
        /// What it was, as in `signed_up`.
        #[validate(length(min = 1, max = 100))]
        pub name as NAME: String,
        /// Who did it, if that is known.
        pub user_id as USER_ID: Option<Id<User>>,
        /// What belongs together, as what one visitor did.
        #[validate(length(max = 100))]
        pub session as SESSION: Option<String>,
        /// What else there is to say.
        #[serde(default)]
        pub properties as PROPERTIES: Value,
    }
    schema: 1,
    only_added: true,
    indexes: [
        Index::on("at", [asc(Event::AT)]),
        Index::on("name_at", [asc(Event::NAME), asc(Event::AT)]),
        Index::on("user_id_at", [asc(Event::USER_ID), asc(Event::AT)]),
    ],
}

/// What happened in a period; its end is not in it.
pub fn events_during(from: Timestamp, until: Timestamp) -> Typed<Event, Filter> {
    Event::AT.gte(from).and(Event::AT.lt(until))
}

/// How many events of each name there were in each hour, day, week or month: `since`, `name`, `count`.
pub fn events_per(unit: Unit, from: Timestamp, until: Timestamp) -> Typed<Event, Pipeline> {
    events_during(from, until)
        .pipeline()
        .group([("since", Event::AT.bucket(unit)), ("name", Event::NAME.key())], [("count", Fold::Count)])
}

/// How many different users did something in each hour, day, week or month: `since`, `users`.
pub fn active_users_per(unit: Unit, from: Timestamp, until: Timestamp) -> Typed<Event, Pipeline> {
    events_during(from, until)
        .and(Event::USER_ID.exists())
        .pipeline()
        .group([("since", Event::AT.bucket(unit))], [("users", Event::USER_ID.count_distinct())])
}

/// How many users did the first of these things in a period, and of those the second after it, and so on.
///
/// # Errors
/// Those of [`DocumentStore::list`].
pub async fn funnel(documents: &DocumentStore, steps: &[&str], from: Timestamp, until: Timestamp) -> Result<Vec<u64>> {
    let is_step = Event::NAME.is_in(steps.iter().map(|step| (*step).to_owned()));
    let of_users = events_during(from, until).and(is_step).and(Event::USER_ID.exists());
    let mut query = of_users.query().sort(Event::AT.ascending()).limit(BATCH);
    let mut reached = HashMap::<Id<User>, usize>::new();
    let mut counts = vec![0; steps.len()];
    loop {
        let listing = documents.list(query.clone()).await?;
        for event in &listing.documents {
            let Some(user) = event.user_id else { continue };
            let next = reached.entry(user).or_default();
            if steps.get(*next) == Some(&event.name.as_str()) {
                counts[*next] += 1;
                *next += 1;
            }
        }
        match listing.next {
            Some(next) => query = query.after(next),
            None => return Ok(counts),
        }
    }
}
