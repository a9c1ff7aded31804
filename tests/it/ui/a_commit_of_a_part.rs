//! error: E0599

use domain::*;

pub async fn commits(work: UnitOfWork) {
    work.savepoint(|inner| async move { inner.commit().await }).await.ok();
}
