//! Who asked for what is being done, and by which request: for the audit trail and the logs.

use std::{future::Future, sync::Arc};

use sea_orm::DbBackend;
use serde::{Deserialize, Serialize};

tokio::task_local! {
    static CONTEXT: Option<Arc<Context>>;
}

/// Who asked for what is being done, and how. All that is changed within it is written down with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// Who it is, if anybody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The address that was asked, with the names of its parameters in place of their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// By which method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// Does something in a context: units of work in it carry it into their transactions.
///
/// ```no_run
/// # async fn example(store: domain::Store, id: domain::TagId) -> domain::Result<()> {
/// let context = domain::Context { actor: Some("nightly import".to_owned()), ..domain::Context::default() };
/// domain::within_context(context, store.delete(id, 1)).await
/// # }
/// ```
// An async function would hold what it is given twice, and so would each around it: it would be copied for every request.
pub fn within_context<T>(context: impl Into<Arc<Context>>, doing: impl Future<Output = T>) -> impl Future<Output = T> {
    CONTEXT.scope(Some(context.into()), doing)
}

/// The context of what is being done, if there is one.
pub fn current_context() -> Option<Arc<Context>> {
    CONTEXT.try_with(Clone::clone).ok().flatten()
}

/// Goes on with it in another task, which knows nothing of this one.
pub(crate) fn inherited<T>(context: Option<Arc<Context>>, doing: impl Future<Output = T>) -> impl Future<Output = T> {
    CONTEXT.scope(context, doing)
}

impl Context {
    /// As a constant in SQL. What a client may choose is in it: there is no way out of the constant.
    pub(crate) fn constant(&self, backend: DbBackend) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        match backend {
            DbBackend::Sqlite => format!("'{}'", json.replace('\'', "''")),
            // In these quotes nothing has a meaning but their end, whatever the settings of the session say of backslashes.
            _ => format!("$seabed${}$seabed$", json.replace('$', "\\u0024")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_way_out_of_a_constant() {
        let bad = "'; DROP TABLE users; --$seabed$ \\' $$ \" \u{7f}".to_owned();
        let context = Context { request_id: Some(bad), ..Context::default() };
        let text = context.constant(DbBackend::Postgres);
        let inner = text.strip_prefix("$seabed$").and_then(|text| text.strip_suffix("$seabed$")).unwrap();
        assert!(!inner.contains('$'));
        assert_eq!(serde_json::from_str::<Context>(inner).unwrap(), context);
        let text = context.constant(DbBackend::Sqlite);
        let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap();
        assert!(!inner.replace("''", "").contains('\''));
        assert_eq!(serde_json::from_str::<Context>(&inner.replace("''", "'")).unwrap(), context);
    }
}
