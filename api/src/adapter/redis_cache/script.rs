//! Scripts that Redis runs, each at one moment.

use bb8_redis::redis::{self, Cmd, Value};
use domain::CacheError;

use crate::adapter::redis_connection::{Connections, Request};

/// A script, sent as its hash for as long as Redis remembers it.
#[derive(Debug)]
pub(super) struct Script {
    body: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(body: &'static str) -> Self {
        Self { body, hash: redis::Script::new(body).get_hash().to_owned() }
    }

    /// Its answer.
    pub(super) async fn run(
        &self,
        connections: &Connections,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> Result<Value, CacheError> {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).arg(arguments);
        connections.ask(Request::Script(&command, self.body)).await
    }
}
