//! The protocol's model and the code are the same thing: what breaks the model without one of its rules is done to the
//! real stores, caches and servers, step by step. With that rule taken out of them, too, they serve what the model says;
//! as they are, they do not.
//!
//! The steps of the model are the calls of the port, so a [`Gate`] before and after each of them is enough to hold
//! everybody until it is their turn. What is between two gates, as the read of the database is between `acquire` and
//! `fill`, happens when the one before it opens.
//!
//! Three of the counterexamples cannot be replayed: a failover needs a second PostgreSQL (`DeleteOnAnyTimeline`), and
//! lists are told apart by their stamps, which no single row shows (`StampOfFill`, `CountedStamps`). Some rules cannot be
//! taken out, because they are inside of one step of the adapter or of the relay (see [`rule`]); then only the code as it
//! is walks through their counterexample. And the clock of Redis cannot be held: where it stands still, its lease does not
//! end, and relays are told a time that stands still.

mod broken;
mod driver;
mod gate;

use std::time::Duration;

use tests::{
    Backend, Redis, database, or_skip,
    protocol::{Step, Trace, Variant, circumstances, counterexample},
    run::LIMIT,
    within,
};

use self::driver::{
    Driver,
    Looked::{self, Bypass, Hit, Miss},
    Outcome,
};

/// Where a rule is kept, which says whether it can be taken out from outside.
enum Rule {
    /// Between the steps, or in what is around one.
    Outside,
    /// Within one step, or within the relay, which gives up a round that takes too long whatever else it does.
    Inside,
    /// Its counterexample has steps that cannot be taken here.
    Elsewhere,
}

fn rule(variant: Variant) -> Rule {
    match variant {
        Variant::NoTokens
        | Variant::Tombstones
        | Variant::NoLease
        | Variant::NoEpoch
        | Variant::OutboxAlone
        | Variant::NoWait
        | Variant::WaitFromBegin
        | Variant::DeleteBeforeInvalidate
        | Variant::ReadBeforeAcquire
        | Variant::JoinEarlierLoad
        | Variant::EpochOfFill
        | Variant::RunFromMemory
        | Variant::StarKeepsLease
        | Variant::NoOwnClock => Rule::Outside,
        // Tokens are drawn by the adapter, and what it saw of the lease is its own.
        Variant::CountedNames | Variant::FirstSeen | Variant::SightsOutliveConnection => Rule::Inside,
        // The relay ends the round before the step that would break the promise.
        Variant::DeadlineFromRenewal | Variant::ObserveAfterRead | Variant::RelayWithoutClock => Rule::Inside,
        Variant::DeleteOnAnyTimeline | Variant::StampOfFill | Variant::CountedStamps => Rule::Elsewhere,
    }
}

/// The steps that break a promise, after a round of the relay: the code does not fill a cache that nobody has renewed yet.
fn steps(variant: Variant) -> Vec<Step> {
    let steps = counterexample(variant).expect("the model breaks");
    let round = [Step::Observe(0), Step::ReadOutbox(0), Step::Renew(0)];
    // A transaction may begin before that, and a reader may look.
    let is_begun = steps.windows(3).any(|steps| steps == round) && !matches!(steps[0], Step::Read(_));
    if is_begun || steps[0] == Step::ReadOutbox(0) {
        return steps;
    }
    let steps = [&round, &steps[..]].concat();
    let (protocol, promise) = circumstances(variant);
    assert!(protocol.breaks(&steps, promise), "no more than that is changed\n{}", Trace(steps));
    steps
}

/// Replays the counterexample, with its rule or without it, until it ends as it should: what a rule is for, it does.
async fn replay(variant: Variant, is_broken: bool, expected: Looked) -> Result<Outcome, tests::Skip> {
    let steps = steps(variant);
    println!("{variant:?}, {}\n{}", if is_broken { "broken" } else { "as it is" }, Trace(steps.clone()));
    // Time passes for the machine, too. Where it was too slow for the steps to be taken, it has more of it next time.
    for freshness in [1, 2, 4, 8].map(Duration::from_secs) {
        let database = database(Backend::Postgres).await?;
        let server = Redis::private().await?;
        let mut driver = Driver::begin(&database, server, freshness, variant, is_broken).await;
        let outcome = driver.replay(&steps).await;
        driver.end().await;
        println!("{outcome:?} with {freshness:?}");
        match outcome {
            Some(outcome) if is_broken && !outcome.served.is_empty() => return Ok(outcome),
            Some(outcome) if !is_broken && (outcome.looked == Some(expected) || !outcome.served.is_empty()) => {
                return Ok(outcome);
            }
            _ => {}
        }
    }
    panic!("{variant:?} could not be replayed");
}

macro_rules! replays {
    ($($name:ident: $variant:ident => $looked:ident,)+) => {
        $(
            #[test]
            fn $name() {
                within(LIMIT, async {
                    let variant = Variant::$variant;
                    if matches!(rule(variant), Rule::Outside) {
                        or_skip!(replay(variant, true, Hit).await);
                    }
                    let outcome = or_skip!(replay(variant, false, $looked).await);
                    assert!(outcome.served.is_empty(), "{outcome:?}");
                });
            }
        )+

        #[test]
        fn everything_that_can_be_replayed_is() {
            let replayed = [$(Variant::$variant),+];
            for variant in Variant::ALL {
                assert_eq!(replayed.contains(&variant), !matches!(rule(variant), Rule::Elsewhere), "{variant:?}");
            }
        }
    };
}

// What the cache says in the last step when it has the rule: only what nobody knows to have been acknowledged is a hit.
replays! {
    a_reader_without_a_token_fills_nothing: NoTokens => Miss,
    a_mark_that_ends_is_no_token: Tombstones => Miss,
    nothing_is_served_without_a_lease: NoLease => Bypass,
    nothing_is_served_of_another_epoch: NoEpoch => Miss,
    the_relay_alone_is_too_late: OutboxAlone => Miss,
    a_writer_that_is_cut_off_waits: NoWait => Hit,
    and_counts_from_after_the_commit: WaitFromBegin => Hit,
    rows_are_deleted_after_they_are_applied: DeleteBeforeInvalidate => Miss,
    a_token_is_taken_before_the_read: ReadBeforeAcquire => Miss,
    a_load_that_began_earlier_is_not_joined: JoinEarlierLoad => Miss,
    names_of_tokens_do_not_repeat: CountedNames => Miss,
    a_token_is_of_its_epoch: EpochOfFill => Miss,
    a_renewal_is_for_the_server_that_was_observed: RunFromMemory => Bypass,
    a_lease_is_counted_from_the_observation: DeadlineFromRenewal => Bypass,
    the_observation_comes_before_the_read: ObserveAfterRead => Miss,
    when_everything_changes_the_lease_ends: StarKeepsLease => Bypass,
    the_lease_is_watched: NoOwnClock => Bypass,
    and_trusted_only_when_it_moves: FirstSeen => Bypass,
    a_relay_watches_its_own_clock: RelayWithoutClock => Bypass,
    another_server_is_watched_anew: SightsOutliveConnection => Bypass,
}
