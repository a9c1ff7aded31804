//! The circuit breaker: after several failures in a row the server is left alone for a while, so that callers are
//! answered at once and a server that comes back is not run down by everybody who waited (M. Nygard, "Release It!",
//! 2nd ed. 2018, chapter 5).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::{Error, Unavailable};

/// When to stop asking a server that fails, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// How many failures in a row open it. A failure is a connection that could not be opened, and a statement that was
    /// not answered in time; whatever else the server answers is a success.
    pub failures: u32,
    /// How long it stays open before one caller may try again.
    pub open_for: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, open_for: Duration::from_secs(1) }
    }
}

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everybody may ask the server.
    Closed,
    /// Nobody may.
    Open,
    /// One caller tries whether it answers again; nobody else may ask.
    HalfOpen,
}

/// A circuit breaker. Who asks the server asks it first, and tells it how that ended.
#[derive(Debug)]
pub struct Breaker {
    /// What is asked, as a sentence names it.
    server: &'static str,
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// The server is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitOpen;

impl From<CircuitOpen> for Error {
    fn from(CircuitOpen: CircuitOpen) -> Self {
        Self::Unavailable { reason: Unavailable::CircuitOpen, cause: None }
    }
}

/// Leave to ask the server.
#[derive(Debug)]
pub enum Admission<'a> {
    /// Like everybody else.
    Granted,
    /// As the one who tries: has to find out whether the server answers.
    Probe(Probe<'a>),
}

/// The one attempt while the breaker is half open. Dropped without a word it counts as failed, so that a caller who
/// goes away does not leave it half open for ever.
#[derive(Debug)]
pub struct Probe<'a> {
    breaker: &'a Breaker,
    is_settled: bool,
}

impl Breaker {
    /// A closed one, for a server that is called this in what is logged: `the database`.
    pub fn new(server: &'static str, policy: BreakerPolicy) -> Self {
        Self { server, policy, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Asks for leave.
    ///
    /// # Errors
    /// If it is open, at once.
    pub fn admit(&self) -> Result<Admission<'_>, CircuitOpen> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(Admission::Granted),
            State::Open { until } if Instant::now() >= until => {
                *state = State::HalfOpen;
                tracing::info!("the circuit breaker is half open: one caller tries {}", self.server);
                Ok(Admission::Probe(Probe { breaker: self, is_settled: false }))
            }
            State::Open { .. } | State::HalfOpen => Err(CircuitOpen),
        }
    }

    /// The server answered.
    pub fn succeeded(&self) {
        let mut state = self.state();
        // What was asked before it opened says nothing about now; the probe does.
        if let State::Closed { failures } = &mut *state {
            *failures = 0;
        }
    }

    /// The server did not answer.
    pub fn failed(&self) {
        self.failed_times(1);
    }

    /// The server answered that asking again is of no use: it opens at once.
    pub fn refused(&self) {
        self.failed_times(self.policy.failures);
    }

    fn failed_times(&self, times: u32) {
        let mut state = self.state();
        let State::Closed { failures } = &mut *state else { return };
        *failures = failures.saturating_add(times);
        if *failures >= self.policy.failures {
            let failures = *failures;
            *state = State::Open { until: Instant::now() + self.policy.open_for };
            tracing::warn!(failures, open_for = ?self.policy.open_for, "the circuit breaker of {} opened", self.server);
        }
    }

    /// What it does at the moment.
    pub fn status(&self) -> BreakerState {
        match *self.state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe<'_> {
    /// The server answers again.
    pub fn succeeded(mut self) {
        self.is_settled = true;
        *self.breaker.state() = State::Closed { failures: 0 };
        tracing::info!("the circuit breaker of {} closed", self.breaker.server);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            *self.breaker.state() = State::Open { until: Instant::now() + self.breaker.policy.open_for };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(open_for: Duration) -> Breaker {
        Breaker::new("the server", BreakerPolicy { failures: 3, open_for })
    }

    fn opened(open_for: Duration) -> Breaker {
        let breaker = breaker(open_for);
        (0..3).for_each(|_| breaker.failed());
        breaker
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let breaker = breaker(LONG);
        for _ in 0..10 {
            breaker.failed();
            breaker.failed();
            breaker.succeeded();
        }
        assert_eq!(breaker.status(), BreakerState::Closed);
        assert_eq!(opened(LONG).status(), BreakerState::Open);
        assert!(opened(LONG).admit().is_err());
    }

    #[test]
    fn a_refusal_opens_it_at_once() {
        let breaker = breaker(LONG);
        breaker.refused();
        assert_eq!(breaker.status(), BreakerState::Open);
    }

    #[test]
    fn one_caller_tries_and_closes_it() {
        let breaker = opened(Duration::ZERO);
        let Admission::Probe(probe) = breaker.admit().unwrap() else { panic!("everybody was admitted") };
        assert_eq!(breaker.status(), BreakerState::HalfOpen);
        assert!(breaker.admit().is_err());
        probe.succeeded();
        assert_eq!(breaker.status(), BreakerState::Closed);
        assert!(matches!(breaker.admit(), Ok(Admission::Granted)));
    }

    #[test]
    fn a_try_that_fails_or_is_given_up_opens_it_again() {
        let breaker = opened(Duration::ZERO);
        drop(breaker.admit().unwrap());
        assert_eq!(breaker.status(), BreakerState::Open);
    }

    #[test]
    fn what_was_asked_before_it_opened_does_not_close_it() {
        let breaker = opened(LONG);
        breaker.succeeded();
        assert_eq!(breaker.status(), BreakerState::Open);
    }
}
