//! What ends a process from outside.

use std::io;

/// Who asks it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A person, with Ctrl-C: SIGINT.
    Interrupt,
    /// What runs it, such as an orchestrator: SIGTERM.
    Terminate,
}

/// Waits until it is asked to end. From this call on, not only from the first poll, no signal ends it in the middle of
/// something.
///
/// # Errors
/// If signals cannot be heard.
#[cfg(unix)]
pub fn heard() -> io::Result<impl Future<Output = Signal> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    })
}

/// Waits until it is asked to end.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn heard() -> io::Result<impl Future<Output = Signal> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    })
}
