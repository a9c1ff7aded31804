//! Subscriptions: each takes only the steps that there are, and a user has one active one at most.

use domain::{
    Change, Error, NewSubscription, Store, Subscription, SubscriptionPatch, SubscriptionStatus, SubscriptionStatus::*,
    UserId,
};
use tests::on_both;

use crate::fixture::{instant, mistakes, one, store, user};

fn new(user: UserId, status: SubscriptionStatus) -> NewSubscription {
    NewSubscription {
        user_id: user,
        plan: "gold".to_owned(),
        status: Some(status),
        stripe_customer_id: Some("cus_1".to_owned()),
        period_start: instant("2026-01-01T00:00:00Z"),
        period_end: instant("2026-02-01T00:00:00Z"),
    }
}

async fn step(store: &Store, from: &Subscription, to: SubscriptionStatus) -> domain::Result<Subscription> {
    let patch = SubscriptionPatch { status: Change::Set(to), ..SubscriptionPatch::default() };
    store.update(from.id, from.version, patch).await
}

/// A subscription of a new user that stands like this, and came there by steps that there are.
async fn standing(store: &Store, name: &str, status: SubscriptionStatus) -> Subscription {
    let owner = user(store, name).await;
    let made = store.insert(new(owner.id, Trialing)).await.unwrap();
    match status {
        Trialing => made,
        PastDue => step(store, &step(store, &made, Active).await.unwrap(), PastDue).await.unwrap(),
        other => step(store, &made, other).await.unwrap(),
    }
}

on_both!(
    async fn only_the_steps_that_there_are_can_be_taken(database: TestDatabase) {
        let store = store(&database).await;
        let steps = [
            (Trialing, Active),
            (Trialing, Canceled),
            (Active, PastDue),
            (Active, Canceled),
            (PastDue, Active),
            (PastDue, Canceled),
        ];
        for &from in SubscriptionStatus::ALL {
            for &to in SubscriptionStatus::ALL {
                let before = standing(&store, &format!("{from}-{to}"), from).await;
                assert_eq!(before.status, from);
                let stepped = step(&store, &before, to).await;
                if from == to || steps.contains(&(from, to)) {
                    assert_eq!(stepped.unwrap().status, to, "{from}");
                } else {
                    assert!(matches!(stepped, Err(Error::Refused { code: "illegal_status", .. })), "{from} to {to}");
                    assert_eq!(store.find(before.id).await.unwrap(), before);
                }
            }
        }
        let ada = user(&store, "ada").await.id;
        for status in [PastDue, Canceled] {
            assert_eq!(mistakes(store.insert(new(ada, status)).await), one("invalid", "/status", "first_status"));
        }
    }

    async fn a_user_has_one_active_subscription_at_most(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await.id, user(&store, "bob").await.id);
        let second_is_refused = one("conflict", "/user_id", "unique");
        let first = store.insert(new(ada, Active)).await.unwrap();
        assert_eq!(mistakes(store.insert(new(ada, Active)).await), second_is_refused);
        store.insert(new(bob, Active)).await.unwrap();
        // Any number of others.
        let trial = store.insert(new(ada, Trialing)).await.unwrap();
        store.insert(new(ada, Trialing)).await.unwrap();
        assert_eq!(mistakes(step(&store, &trial, Active).await), second_is_refused);
        step(&store, &first, Canceled).await.unwrap();
        step(&store, &trial, Active).await.unwrap();
    }

    async fn of_many_that_become_active_at_once_one_does(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await.id;
        let mut trials = Vec::new();
        for _ in 0..8 {
            trials.push(store.insert(new(ada, Trialing)).await.unwrap());
        }
        let steps = futures_util::future::join_all(trials.iter().map(|trial| step(&store, trial, Active))).await;
        assert_eq!(steps.iter().filter(|step| step.is_ok()).count(), 1);
        for refused in steps.into_iter().filter(|step| step.is_err()) {
            assert_eq!(mistakes(refused), one("conflict", "/user_id", "unique"));
        }
    }
);
