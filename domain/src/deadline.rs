//! Until when something has to be done.

use std::{future::Future, task, time::Duration};

use futures_util::{FutureExt, future};
use tokio::time::Instant;

use crate::{
    context,
    error::{Error, Result},
};

tokio::task_local! {
    static REQUEST: Option<Instant>;
}

/// Which of the limits of time was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// No connection could be opened in time. (That none came free in time is
    /// [`PoolExhausted`](crate::Unavailable::PoolExhausted).)
    Connect,
    /// A statement took too long, or nothing was heard of it.
    Statement,
    /// Another transaction held what this one needs for too long.
    Lock,
    /// A unit of work took too long.
    Transaction,
    /// The request that all of it was for took too long.
    Request,
}

/// Does something that has to be done within a time: reads and units of work in it end before, and give up what cannot
/// be done any more. A limit within another can only be sooner.
///
/// ```no_run
/// # async fn example(store: domain::Store, id: domain::UserId) -> domain::Result<()> {
/// use std::time::Duration;
///
/// let user = domain::within(Duration::from_millis(200), store.find(id)).await?;
/// # Ok(())
/// # }
/// ```
// None of these is an async function: see `within_context`.
pub fn within<T>(limit: Duration, doing: impl Future<Output = T>) -> impl Future<Output = T> {
    // When it begins, and not when it is made: then it is not yet within another.
    let begin = move |_: &mut task::Context<'_>| {
        let until = Instant::now() + limit;
        REQUEST.scope(Some(request().map_or(until, |outer| outer.min(until))), doing)
    };
    future::lazy(begin).flatten()
}

/// When the request that is being worked on has to be done.
pub(crate) fn request() -> Option<Instant> {
    REQUEST.try_with(|until| *until).ok().flatten()
}

/// Goes on with it in another task, which knows nothing of this one.
pub(crate) fn inherited<T>(until: Option<Instant>, doing: impl Future<Output = T>) -> impl Future<Output = T> {
    REQUEST.scope(until, doing)
}

/// Does something that has to come to its end even if the request is late.
pub(crate) fn unlimited<T>(doing: impl Future<Output = T>) -> impl Future<Output = T> {
    REQUEST.scope(None, doing)
}

/// What is left of a limit, given that of the request.
pub(crate) fn at_most(limit: Duration) -> Instant {
    let until = Instant::now() + limit;
    request().map_or(until, |request| request.min(until))
}

/// Runs to the end in a task of its own, whether or not the caller still waits: a cancelled `BEGIN` would leave the
/// connection in a transaction that nobody knows of, and the next borrower's writes in it; a cancelled read is one that
/// others may wait for.
pub(crate) async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let work = tracing::Instrument::in_current_span(inherited(request(), work));
    match tokio::spawn(context::inherited(context::current_context(), work)).await {
        Ok(result) => result,
        Err(panicked) => Err(Error::internal("the work panicked and was undone", panicked)),
    }
}
