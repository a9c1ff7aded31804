//! Business rules: they look at what is so in the transaction that writes, and nobody slips past them.

use domain::{
    Account, AccountId, Change, Content, DataModel, Error, NewAccount, NewRelationship, NewSubscription, NewTransfer,
    Relationship, RelationshipKind, Result, Store, SubscriptionPatch, Transfer,
};
use serde_json::json;
use tests::{Backend, on_both};

use crate::fixture::{account, count, instant, mistakes, model, new_content, new_user, one, open, options, read, user};

/// More connections than callers, so that these meet in the database and not before it.
async fn store(database: &tests::TestDatabase) -> Store {
    open(&domain::StoreOptions { max_connections: 8, ..options(&database.url) }).await
}

fn transfer(from: AccountId, to: AccountId, amount: i64) -> NewTransfer {
    NewTransfer { from_account_id: from, to_account_id: to, amount }
}

fn is_insufficient<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Refused { code: "insufficient_funds", .. }))
}

async fn balance(store: &Store, account: AccountId) -> i64 {
    store.find::<Account>(account).await.unwrap().balance
}

fn contains(from: &DataModel, to: &DataModel) -> NewRelationship {
    NewRelationship { from_model_id: from.id, to_model_id: to.id, kind: RelationshipKind::Contains }
}

on_both!(
    /// The account, its owner and the money in it are there for nobody else yet.
    async fn a_rule_sees_what_its_unit_of_work_has_written(database: TestDatabase) {
        let store = store(&database).await;
        let accounts = store
            .write(|work| async move {
                let owner_id = work.insert(new_user("ada")).await?.id;
                let mut accounts = Vec::new();
                for balance in [10, 0, 0] {
                    let currency = "EUR".parse().unwrap();
                    accounts.push(work.insert(NewAccount { owner_id, currency, balance }).await?.id);
                }
                work.insert(transfer(accounts[0], accounts[1], 10)).await?;
                // There is money for this one only because of the one before; and none for the last.
                work.insert(transfer(accounts[1], accounts[2], 10)).await?;
                assert!(is_insufficient(&work.insert(transfer(accounts[1], accounts[2], 1)).await));
                Ok(accounts)
            })
            .await
            .unwrap();
        for (account, expected) in accounts.into_iter().zip([0, 0, 10]) {
            assert_eq!(balance(&store, account).await, expected);
        }
        assert_eq!(count::<Transfer>(&store).await, 2);

        let models = [model(&store, "a").await, model(&store, "b").await, model(&store, "c").await];
        let circle = store.write(move |work| {
            let [a, b, c] = models.clone();
            async move {
                work.insert(contains(&a, &b)).await?;
                work.insert(contains(&b, &c)).await?;
                work.insert(contains(&c, &a)).await
            }
        });
        assert_eq!(mistakes(circle.await), one("invalid", "/to_model_id", "cycle"));
        assert_eq!(count::<Relationship>(&store).await, 0);
    }

    /// A rule about two fields looks at the one that stays, as the unit of work has left it.
    async fn a_rule_sees_the_fields_that_a_change_keeps(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let new = json!({
            "user_id": ada.id, "plan": "gold", "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z",
        });
        let made = store.insert(read::<NewSubscription>(new)).await.unwrap();
        let starts = |text| SubscriptionPatch { period_start: Change::Set(instant(text)), ..Default::default() };
        let ends = |text| SubscriptionPatch { period_end: Change::Set(instant(text)), ..Default::default() };
        let wrong = one("invalid", "/period_end", "period");
        assert_eq!(mistakes(store.update(made.id, 1, starts("2026-02-01T00:00:00Z")).await), wrong);
        assert_eq!(mistakes(store.update(made.id, 1, ends("2026-01-01T00:00:00Z")).await), wrong);
        let moved = store.write(move |work| async move {
            work.update(made.id, 1, ends("2026-04-01T00:00:00Z")).await?;
            work.update(made.id, 2, starts("2026-03-01T00:00:00Z")).await
        });
        assert_eq!(moved.await.unwrap().version, 3);
        // Each is right beside what both have seen; together they are not, and one of them is told so.
        let (start, end) = tokio::join!(
            store.update(made.id, 3, starts("2026-03-20T00:00:00Z")),
            store.update(made.id, 3, ends("2026-03-10T00:00:00Z")),
        );
        assert!(start.is_ok() != end.is_ok(), "{start:?} {end:?}");
        let found = store.find(made.id).await.unwrap();
        assert!(found.period_end > found.period_start);
    }

    async fn a_rule_that_refuses_undoes_nothing_else(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let (rich, poor) = (account(&store, ada.id, 5).await.id, account(&store, ada.id, 0).await.id);
        store
            .write(move |work| async move {
                work.insert(new_content(ada.id, "before")).await?;
                assert!(is_insufficient(&work.insert(transfer(poor, rich, 1)).await));
                let part = work.savepoint(|part| async move {
                    part.insert(new_content(ada.id, "undone")).await?;
                    part.insert(transfer(rich, poor, 5)).await?;
                    part.insert(transfer(rich, poor, 1)).await
                });
                assert!(is_insufficient(&part.await));
                work.insert(transfer(rich, poor, 2)).await?;
                work.insert(new_content(ada.id, "after")).await
            })
            .await
            .unwrap();
        assert_eq!((balance(&store, rich).await, balance(&store, poor).await), (3, 2));
        assert_eq!((count::<Transfer>(&store).await, count::<Content>(&store).await), (1, 2));
    }

    /// Each alone is right; whoever comes second is refused, because the first has written.
    async fn two_at_once_do_not_both_pass_a_rule(database: TestDatabase) {
        let rounds = match database.backend() {
            Backend::Postgres => 40,
            Backend::Sqlite => 10,
        };
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        for round in 0..rounds {
            let (from, to) = (account(&store, ada.id, 10).await.id, account(&store, ada.id, 0).await.id);
            let all_of_it = futures_util::future::join_all((0..4).map(|_| store.insert(transfer(from, to, 10))));
            let results = all_of_it.await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
            assert!(results.iter().all(|result| result.is_ok() || is_insufficient(result)), "{results:?}");
            assert_eq!((balance(&store, from).await, balance(&store, to).await), (0, 10));

            // Two edges that have no model in common close a circle with two that are there.
            let name = |letter: &str| format!("{letter}{round}");
            let [a, b] = [model(&store, &name("a")).await, model(&store, &name("b")).await];
            let [c, d] = [model(&store, &name("c")).await, model(&store, &name("d")).await];
            store.insert(contains(&b, &c)).await.unwrap();
            store.insert(contains(&d, &a)).await.unwrap();
            let (one_way, other) = tokio::join!(store.insert(contains(&a, &b)), store.insert(contains(&c, &d)));
            assert!(one_way.is_ok() != other.is_ok(), "{one_way:?} {other:?}");
            let refused = if one_way.is_ok() { other } else { one_way };
            assert_eq!(mistakes(refused), one("invalid", "/to_model_id", "cycle"));
        }
    }
);
