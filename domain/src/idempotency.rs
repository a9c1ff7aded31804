//! Idempotency keys: the answer to a request, kept in the same transaction as its effect, so that the same request
//! sent again gets the same answer and has no second effect. That also settles a commit of which nobody knows whether it
//! happened: the key is there, or it is not.

use std::{future::Future, sync::Arc};

use entity::idempotency_keys as row;
use sea_orm::{EntityTrait, IntoActiveModel};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    store::Store,
    transaction::WriteOptions,
    unit_of_work::UnitOfWork,
};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// The record that was made.
    pub id: Uuid,
    /// Its version then.
    pub version: i64,
    /// It, as it was shown.
    pub body: String,
}

impl Store {
    /// Does work in a unit of work, like [`write`](Self::write), but once for each key: asked again with the same key, it
    /// gives the answer of the first time. When a commit's outcome is unknown, it finds out.
    ///
    /// The fingerprint says what the key is used for, such as a hash of the request.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Invalid`] if the key was used for something else; [`Error::Refused`] while somebody else
    /// is at work with it; [`Error::UnknownOutcome`] only when it could not be found out in time.
    pub async fn write_once<F, Fut>(&self, key: &str, fingerprint: &str, work: F) -> Result<Answer>
    where
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer>> + Send + 'static,
    {
        self.write_once_with(WriteOptions::default(), key, fingerprint, work).await
    }

    /// The same, where something else is wanted than usual: another isolation level, or another time limit.
    pub async fn write_once_with<F, Fut>(
        &self,
        options: WriteOptions,
        key: &str,
        fingerprint: &str,
        work: F,
    ) -> Result<Answer>
    where
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer>> + Send + 'static,
    {
        let once = Arc::new((key.to_owned(), fingerprint.to_owned(), work));
        let (mut attempt, mut is_unknown) = (1, false);
        loop {
            let once = Arc::clone(&once);
            let answer = self.write_with(options, move |unit| {
                let once = Arc::clone(&once);
                async move {
                    let (key, fingerprint, work) = &*once;
                    if let Some(answer) = unit.recall(key, fingerprint).await? {
                        return Ok(answer);
                    }
                    let answer = work(unit.clone()).await?;
                    unit.remember(key, fingerprint, &answer).await?;
                    Ok(answer)
                }
            });
            match answer.await {
                Err(Error::UnknownOutcome(_)) if self.retry().pause(attempt).await => is_unknown = true,
                // The first attempt came to its end after all, just now.
                Err(Error::Refused { code: IN_PROGRESS, .. }) if is_unknown && self.retry().pause(attempt).await => {}
                Err(error) if is_refusal(&error) => return self.answered(key, fingerprint).await?.ok_or(error),
                answer => return answer,
            }
            attempt += 1;
        }
    }

    /// The answer that a key got meanwhile, when the work was refused: what it asks for may be what the same request has
    /// already done, as when it takes the money that is missing now.
    async fn answered(&self, key: &str, fingerprint: &str) -> Result<Option<Answer>> {
        let once = Arc::new((key.to_owned(), fingerprint.to_owned()));
        self.write(move |unit| {
            let once = Arc::clone(&once);
            async move { unit.recall(&once.0, &once.1).await }
        })
        .await
    }
}

/// Whether it says that the work cannot be done as things are, and not that something is broken.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Refused { code, .. } => *code != IN_PROGRESS,
        error => !matches!(
            error,
            Error::Unavailable { .. } | Error::UnknownOutcome(_) | Error::Forbidden(_) | Error::Internal { .. }
        ),
    }
}

/// The code of the refusal while another request with the same key is under way.
const IN_PROGRESS: &str = "request_in_progress";

/// The HTTP status that is kept with an answer: only effects are remembered.
const CREATED: i64 = 201;

impl UnitOfWork {
    /// The answer that a key got before.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it was for another request: one with another fingerprint.
    pub(crate) async fn recall(&self, key: &str, fingerprint: &str) -> Result<Option<Answer>> {
        let found = self
            .run(async |transaction| row::Entity::find_by_id(key).one(transaction).await.map_err(fault::unavailable))
            .await?;
        let Some(row::Model { fingerprint: used_for, body, .. }) = found else { return Ok(None) };
        if used_for != fingerprint {
            let message = "was used for another request";
            return Err(Error::invalid("Idempotency-Key", "idempotency_key", message));
        }
        let answer = serde_json::from_str(&body).map_err(|error| Error::internal("an answer could not be read", error));
        answer.map(Some)
    }

    /// Keeps the answer to the request with this key.
    ///
    /// # Errors
    /// [`Error::Refused`] if another request with the key took effect meanwhile.
    pub(crate) async fn remember(&self, key: &str, fingerprint: &str, answer: &Answer) -> Result<()> {
        let body =
            serde_json::to_string(answer).map_err(|error| Error::internal("an answer could not be kept", error))?;
        let row = row::Model {
            key: key.to_owned(),
            fingerprint: fingerprint.to_owned(),
            status: CREATED,
            body,
            created_at: self.now().into(),
        };
        match self.insert_row::<row::Entity>(row.into_active_model()).await {
            Err(Error::Conflict(_)) => {
                Err(Error::refused(IN_PROGRESS, "another request with this idempotency key came first"))
            }
            result => result,
        }
    }
}
