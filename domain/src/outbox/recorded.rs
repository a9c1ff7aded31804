//! What business code wants to be told to the documents.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{
    Event, LogEntry,
    document::{Documented, Kept},
    error::{Error, Result},
    fault,
    id::Id,
    unit_of_work::UnitOfWork,
};

/// Something that happened and is to be a document of its own, if and only if the unit of work commits that it happened in.
pub trait Recorded: Documented {
    /// Whether it is dropped, and counted as that, when too much waits to be delivered already. What is only for
    /// statistics may be.
    const MAY_BE_DROPPED: bool = false;

    /// What it is about, such as `users:01a1fc8a-8a3f-7000-bacc-b17b6c3df279`: of that, documents are delivered in order.
    fn entity(&self) -> String;
}

impl Recorded for Event {
    const MAY_BE_DROPPED: bool = true;

    fn entity(&self) -> String {
        match (&self.user_id, &self.session) {
            (Some(user), _) => format!("events:{user}"),
            (None, Some(session)) => format!("events:{session}"),
            (None, None) => "events".to_owned(),
        }
    }
}

impl Recorded for LogEntry {
    const MAY_BE_DROPPED: bool = true;

    fn entity(&self) -> String {
        self.entity.clone().unwrap_or_else(|| "logs".to_owned())
    }
}

impl UnitOfWork {
    /// Has a document delivered once this unit of work has committed, and never if it does not; the id that it will have.
    /// None if it is [dropped](Recorded::MAY_BE_DROPPED).
    ///
    /// # Errors
    /// [`Error::Invalid`] if it breaks its rules.
    pub async fn record<E: Recorded>(&self, event: &E) -> Result<Option<Id<E>>> {
        event.validate().map_err(Error::from)?;
        if E::MAY_BE_DROPPED && self.outbox().drops() {
            return Ok(None);
        }
        let id = self.stamp().id;
        let document = Kept { id: Id::<E>::new(id), version: 1, document: event.clone() }.to_document()?;
        let (body, entity) = (serde_json::Value::Object(document).to_string(), event.entity());
        self.run(async move |session| {
            let sql = match session.get_database_backend() {
                DbBackend::Sqlite => "INSERT INTO outbox (id, collection, entity, body) VALUES ($1, $2, $3, $4)",
                _ => {
                    "INSERT INTO outbox (id, collection, entity, body, context) \
                     VALUES ($1, $2, $3, $4, nullif(current_setting('seabed.context', true), ''))"
                }
            };
            let values = [id.into(), E::collection().name().into(), entity.into(), body.into()];
            let statement = Statement::from_sql_and_values(session.get_database_backend(), sql, values);
            session.execute_raw(statement).await.map(drop).map_err(fault::unavailable)
        })
        .await?;
        Ok(Some(Id::new(id)))
    }
}
