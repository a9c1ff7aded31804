//! error: E0505

use domain::*;

pub async fn commits(work: OpenWork, tag: NewTag) {
    let part = work.savepoint(|inner| async move { inner.insert(tag).await });
    work.commit().await.ok();
    part.await.ok();
}
