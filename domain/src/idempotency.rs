//! Idempotency keys: the answer to a request, kept in the same transaction as its effect, so that the same request
//! sent again gets the same answer and has no second effect.

use entity::idempotency_keys as row;
use sea_orm::{EntityTrait, IntoActiveModel};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
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

/// The HTTP status that is kept with an answer: only effects are remembered.
const CREATED: i64 = 201;

impl UnitOfWork {
    /// The answer that a key got before.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it was for another request: one with another fingerprint.
    pub async fn recall(&self, key: &str, fingerprint: &str) -> Result<Option<Answer>> {
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
    pub async fn remember(&self, key: &str, fingerprint: &str, answer: &Answer) -> Result<()> {
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
                Err(Error::refused("request_in_progress", "another request with this idempotency key came first"))
            }
            result => result,
        }
    }
}
