//! SQL text, built once: SeaORM says what a statement looks like when it is first needed, and not again. That takes
//! longer than the database's client needs for all the rest of a read.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use sea_orm::{DbBackend, Statement, Value, Values};

/// What a text depends on, beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Text {
    /// The type whose statement it is.
    pub(crate) of: TypeId,
    /// What the statement does.
    pub(crate) does: &'static str,
    /// What else it depends on: which columns, or how many parameters.
    pub(crate) with: u64,
}

/// What was built so far, and whether it is for SQLite.
type Texts = HashMap<(Text, bool), Arc<str>>;

static TEXTS: LazyLock<RwLock<Texts>> = LazyLock::new(RwLock::default);

impl Text {
    /// The statement with these values for its parameters; it is built if its text is not known yet.
    pub(crate) fn with_values(
        self,
        backend: DbBackend,
        values: Vec<Value>,
        build: impl FnOnce(DbBackend) -> Statement,
    ) -> Statement {
        let key = (self, backend == DbBackend::Sqlite);
        let known = TEXTS.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let text = known.unwrap_or_else(|| {
            let text = Arc::<str>::from(build(backend).sql);
            TEXTS.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(text).clone()
        });
        Statement { sql: text.as_ref().to_owned(), values: Some(Values(values)), db_backend: backend }
    }
}
