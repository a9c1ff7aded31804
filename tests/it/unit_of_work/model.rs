//! Random trees of savepoints, and what must be left of them.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{Result, Store, UnitOfWork};
use futures_util::FutureExt;
use rand::{RngExt, rngs::StdRng};
use tokio::sync::Notify;

use super::{fail, refusal};
use crate::fixture::new_tag;

const DEEPEST: usize = 6;

/// A unit of work, with its savepoints.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) whole: Part,
    pub(super) hand: Hand,
}

/// Who ends the unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// The store, by what the work returns.
    Store,
    /// A commit by hand, if it returned without an error.
    Commit,
    /// A rollback by hand.
    Rollback,
    /// Nobody: the handle is dropped.
    Nobody,
}

/// What is done between a beginning and an ending.
#[derive(Debug, Clone)]
pub(super) struct Part {
    steps: Vec<Step>,
    ending: Ending,
}

#[derive(Debug, Clone)]
enum Step {
    Write,
    /// A statement that fails.
    Fail {
        is_swallowed: bool,
    },
    /// A savepoint, and whether its failure is swallowed.
    Part {
        part: Part,
        is_swallowed: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Ok,
    Error,
    /// It may be caught around the part.
    Panic {
        is_caught: bool,
    },
    /// It stops, and is dropped.
    Dropped,
}

/// What the model says of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// What it wrote is there, if all around it is kept.
    Kept(Vec<String>),
    /// It is gone as if it had never begun.
    Undone,
    /// It was left in its middle, so that nothing of the whole may be kept.
    Doomed,
}

impl Tree {
    pub(super) fn random(chance: &mut StdRng) -> Self {
        let hand = match chance.random_range(0..10) {
            0..6 => Hand::Store,
            6 | 7 => Hand::Commit,
            8 => Hand::Rollback,
            _ => Hand::Nobody,
        };
        let mut whole = Part::random(chance, DEEPEST);
        if whole.ending == Ending::Dropped || hand != Hand::Store {
            whole.ending = Ending::Ok;
        }
        Self { whole, hand }
    }

    /// The names that must be there afterwards, in their order; none if it must fail.
    pub(super) fn left(&self, name: &str) -> Option<Vec<String>> {
        match (self.whole.left(name), self.hand) {
            (Left::Kept(names), Hand::Store | Hand::Commit) => Some(names),
            _ => None,
        }
    }

    /// Does it, in a task of its own so that it may panic.
    pub(super) async fn run(self, name: String, store: &Store) -> Result<()> {
        let Self { whole, hand } = self;
        if hand == Hand::Store {
            return store.write(move |work| whole.clone().run(name.clone(), work, Arc::default())).await;
        }
        let store = store.clone();
        let by_hand = tokio::spawn(async move {
            let work = store.begin().await?;
            let result = whole.run(name, work.clone(), Arc::default()).await;
            match (hand, result) {
                (Hand::Commit, Ok(())) => work.commit().await,
                (Hand::Commit | Hand::Rollback, result) => work.rollback().await.and(result).and(Err(refusal())),
                (Hand::Store | Hand::Nobody, _) => Err(refusal()),
            }
        });
        by_hand.await.unwrap_or_else(|_| Err(refusal()))
    }
}

impl Part {
    fn random(chance: &mut StdRng, depth: usize) -> Self {
        let steps = (0..chance.random_range(1..=4)).map(|_| match chance.random_range(0..100) {
            0..4 => Step::Fail { is_swallowed: chance.random_bool(0.7) },
            4..50 if depth > 0 => {
                Step::Part { part: Self::random(chance, depth - 1), is_swallowed: chance.random_bool(0.8) }
            }
            _ => Step::Write,
        });
        let steps = steps.collect();
        let ending = match chance.random_range(0..100) {
            0 => Ending::Panic { is_caught: true },
            1 => Ending::Panic { is_caught: false },
            2 => Ending::Dropped,
            3..25 => Ending::Error,
            _ => Ending::Ok,
        };
        Self { steps, ending }
    }

    /// What is left of it, by the rules alone.
    pub(super) fn left(&self, name: &str) -> Left {
        let (mut kept, mut has_failed) = (Vec::new(), false);
        for (n, step) in self.steps.iter().enumerate() {
            let name = format!("{name}.{n}");
            match step {
                Step::Write | Step::Fail { is_swallowed: false } if has_failed => return Left::Undone,
                Step::Write => kept.push(name),
                Step::Fail { is_swallowed } => {
                    has_failed = true;
                    if !is_swallowed {
                        return Left::Undone;
                    }
                }
                // Nothing more can be done, a savepoint neither.
                Step::Part { is_swallowed, .. } if has_failed => {
                    if !is_swallowed {
                        return Left::Undone;
                    }
                }
                Step::Part { part, is_swallowed } => match part.left(&name) {
                    Left::Kept(names) => kept.extend(names),
                    Left::Undone if *is_swallowed => {}
                    Left::Undone => return Left::Undone,
                    Left::Doomed => return Left::Doomed,
                },
            }
        }
        match self.ending {
            Ending::Panic { .. } | Ending::Dropped => Left::Doomed,
            Ending::Ok if !has_failed => Left::Kept(kept),
            Ending::Ok | Ending::Error => Left::Undone,
        }
    }

    /// Does it. `stopped` is told when it stands still, to be dropped.
    fn run(
        self,
        name: String,
        work: UnitOfWork,
        stopped: Arc<Notify>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            for (n, step) in self.steps.into_iter().enumerate() {
                let name = format!("{name}.{n}");
                match step {
                    Step::Write => drop(work.insert(new_tag(name)).await?),
                    Step::Fail { is_swallowed: true } => fail(&work).await,
                    Step::Fail { is_swallowed: false } => drop(work.insert(new_tag("taken")).await?),
                    Step::Part { part, is_swallowed } => {
                        let result = part.run_in_savepoint(name, &work).await;
                        if !is_swallowed {
                            result?;
                        }
                    }
                }
            }
            match self.ending {
                Ending::Ok => Ok(()),
                Ending::Error => Err(refusal()),
                Ending::Panic { .. } => panic!("this is a drill"),
                Ending::Dropped => {
                    stopped.notify_one();
                    std::future::pending().await
                }
            }
        })
    }

    async fn run_in_savepoint(self, name: String, work: &UnitOfWork) -> Result<()> {
        let (stopped, has_begun) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (told, catches) = (name.clone(), self.ending == Ending::Panic { is_caught: true });
        let (stops, begins) = (Arc::clone(&stopped), Arc::clone(&has_begun));
        let part = work.savepoint(move |inner| {
            begins.store(true, Ordering::SeqCst);
            self.run(name, inner, stops)
        });
        let ended = tokio::select! {
            result = AssertUnwindSafe(part).catch_unwind() => match result {
                Ok(result) => Some(result),
                Err(panic) if !catches => std::panic::resume_unwind(panic),
                Err(_) => None,
            },
            () = stopped.notified() => None,
        };
        match ended {
            Some(result) => result,
            None => {
                assert!(has_begun.load(Ordering::SeqCst));
                // Nobody can tell what it has written, so that nothing more can be done, and the failure of that can not
                // be swallowed: otherwise this would be there in the end.
                work.insert(new_tag(format!("after {told}"))).await.ok();
                Ok(())
            }
        }
    }
}
