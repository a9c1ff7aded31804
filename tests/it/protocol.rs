//! The coherent cache's protocol, looked at in every state that it can get into, and without each of its rules.
//!
//! One reader stands for many where only one token can be alive at a time: readers without one are all alike.

use tests::{
    protocol::{
        ALIVE, DELTA, FOR_EVER, Faults, NOT_TOO_OLD, Protocol, Trace, Variant, WITHOUT_A_CLOCK, circumstances,
        counterexample,
    },
    run::rounds,
};

/// Both promises hold, nothing is stuck, and there was as much to look at as there should be.
#[track_caller]
fn holds(protocol: Protocol, at_least: usize) {
    let outcome = protocol.check();
    println!("{outcome}");
    assert!(outcome.broken.is_empty(), "{protocol:?}\n{outcome}");
    assert!(outcome.alive.is_some(), "never: {ALIVE}\n{protocol:?}");
    assert!(outcome.states >= at_least, "{} states only\n{protocol:?}", outcome.states);
}

/// Two writers and a relay; in the long form one more commit.
fn writers(faults: Faults) -> Protocol {
    let commits = u8::try_from(rounds(2, 3)).unwrap();
    Protocol { readers: 1, relays: 1, commits, faults, ..Protocol::default() }
}

/// One writer and two relays; in the long form one more commit.
fn relays(faults: Faults) -> Protocol {
    let commits = u8::try_from(rounds(1, 2)).unwrap();
    Protocol { writers: 1, readers: 1, commits, faults, ..Protocol::default() }
}

/// One of each, and the lease is watched; in the long form there is one more renewal.
fn watching(faults: Faults) -> Protocol {
    let renewals = u8::try_from(rounds(2, 3)).unwrap();
    Protocol { writers: 1, readers: 1, relays: 1, commits: 1, watches: true, renewals, faults, ..Protocol::default() }
}

fn none() -> Faults {
    Faults::default()
}

#[test]
fn it_holds_while_writers_cannot_reach_redis_and_keys_are_evicted() {
    holds(writers(Faults { lost: 1, evict: 1, ..none() }), 500_000);
}

#[test]
fn it_holds_when_a_writer_crashes_and_redis_forgets() {
    holds(writers(Faults { crash: 1, flush: 1, ..none() }), 200_000);
}

#[test]
fn it_holds_when_redis_starts_again_with_nothing() {
    holds(writers(Faults { restart: 1, ..none() }), 100_000);
}

#[test]
fn it_holds_when_the_database_fails_over() {
    holds(writers(Faults { failover: 1, ..none() }), 350_000);
}

#[test]
fn it_holds_when_everything_changes() {
    holds(Protocol { has_star: true, ..writers(none()) }, 50_000);
}

#[test]
fn it_holds_for_lists() {
    let lists = writers(Faults { evict: 1, ..none() });
    holds(Protocol { is_list: true, writers: 1, ..lists }, 100_000);
}

#[test]
fn it_holds_with_two_relays() {
    holds(relays(Faults { lost: 1, ..none() }), 50_000);
    holds(relays(Faults { flush: 1, ..none() }), 80_000);
    holds(relays(Faults { restart: 1, ..none() }), 100_000);
}

#[test]
fn it_holds_when_several_things_go_wrong() {
    let one = Protocol { relays: 1, ..relays(none()) };
    let faults = Faults { failover: 1, restart: 1, lost: 1, evict: 1, ..none() };
    holds(Protocol { faults, ..one }, 150_000);
    let faults = Faults { restart: 1, lost: 1, evict: 1, ..none() };
    holds(Protocol { faults, has_star: true, ..one }, 100_000);
    let faults = Faults { failover: 1, flush: 1, ..none() };
    holds(Protocol { faults, commits: 2, ..one }, 100_000);
}

/// What is restored may have a lease that is still alive; but nothing in it is older than Δ, and it ends with the lease.
#[test]
fn what_is_restored_is_served_for_a_moment_at_most() {
    // Two readers: one's token is in memory and the other's in the snapshot.
    let two_readers = Protocol { readers: 2, ..writers(Faults { restore: 1, ..none() }) };
    holds(Protocol { writers: 1, ..two_readers }, 200_000);
}

#[test]
fn what_is_restored_is_not_served_to_those_who_watch_the_lease() {
    holds(watching(Faults { restore: 1, ..none() }), 500_000);
}

#[test]
fn a_clock_that_stands_still_makes_twice_delta_of_delta() {
    let protocol = watching(Faults { still: FOR_EVER, ..none() });
    holds(Protocol { limit: WITHOUT_A_CLOCK, renewals: 3, ..protocol }, 200_000);
    // And nothing less.
    let trace = Protocol { limit: DELTA, ..protocol }.counterexample(NOT_TOO_OLD).expect("more than is promised");
    println!("{trace}");
}

#[test]
fn a_clock_that_is_set_back_makes_no_more_of_it() {
    holds(Protocol { limit: WITHOUT_A_CLOCK, ..watching(Faults { back: 1, ..none() }) }, 100_000);
}

/// Each rule is there for a reason, and the checker sees it.
#[test]
fn without_any_of_its_rules_it_does_not_hold() {
    for variant in Variant::ALL {
        let (protocol, promise) = circumstances(variant);
        let steps = counterexample(variant).unwrap_or_else(|| panic!("{variant:?} keeps {promise:?}"));
        println!("{variant:?} breaks the promise that {promise}:\n{}", Trace(steps.clone()));
        assert!(protocol.breaks(&steps, promise), "{variant:?}");
        // It is the rule that makes the difference, as far as the same steps can be taken with it.
        assert!(!Protocol { variant: None, ..protocol }.breaks(&steps, promise), "{variant:?}");
    }
}
