//! Changing and deleting all that pass a filter: each record by its rules, and all of them or none.

use domain::{
    Content, ContentFilter, ContentPatch, DataModel, Error, NewRelationship, NewSubscription, NewUser, Relationship,
    RelationshipFilter, RelationshipKind, RelationshipPatch, Role, Store, Subscription, SubscriptionFilter,
    SubscriptionPatch, TagFilter, TagPatch, TransferFilter, User, UserFilter, UserPatch,
};
use serde_json::{Value, json};
use tests::on_both;

use crate::fixture::{
    self, account, all_pages, content, count, mistakes, model, new_tag, new_user, one, read, store, tag, tag_names,
    user,
};

/// All records of a kind, as the service shows them.
async fn all<F: domain::Filter>(store: &Store) -> Vec<Value> {
    all_pages(store, &F::default(), "id", 200).await.iter().map(fixture::json).collect()
}

async fn editor(store: &Store, name: &str) -> User {
    let avatar = Some("https://example.org/a.png".to_owned());
    store.insert(NewUser { role: Some(Role::Editor), avatar, ..new_user(name) }).await.unwrap()
}

async fn edge(store: &Store, from: &DataModel, to: &DataModel) -> Relationship {
    let (from_model_id, to_model_id) = (from.id, to.id);
    store.insert(NewRelationship { from_model_id, to_model_id, kind: RelationshipKind::References }).await.unwrap()
}

async fn subscription(store: &Store, user: &User, status: &str) -> Subscription {
    let new = json!({
        "user_id": user.id, "plan": "gold", "status": status,
        "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z",
    });
    store.insert(read::<NewSubscription>(new)).await.unwrap()
}

on_both!(
    /// Fields that are not named stay, and so do records that do not pass.
    async fn what_passes_is_changed_where_it_is_named(database: TestDatabase) {
        let store = store(&database).await;
        for name in ["ada", "bob", "eve"] {
            editor(&store, name).await;
            user(&store, &format!("{name}2")).await;
        }
        let before = all::<UserFilter>(&store).await;
        let editors = read::<UserFilter>(json!({"role": "editor"}));
        let patch = json!({"status": "suspended", "last_active_at": "2026-01-02T03:04:05Z"});
        assert_eq!(store.update_all(&editors, read::<UserPatch>(patch.clone())).await.unwrap(), 3);

        let mut times = std::collections::BTreeSet::new();
        for (before, after) in before.iter().zip(all::<UserFilter>(&store).await) {
            let mut expected = before.clone();
            if before["role"] == "editor" {
                for (field, value) in patch.as_object().unwrap() {
                    expected[field] = value.clone();
                }
                expected["version"] = json!(2);
                expected["updated_at"] = after["updated_at"].clone();
                times.insert(after["updated_at"].to_string());
                assert!(after["updated_at"].as_str() > after["created_at"].as_str());
            }
            assert_eq!(after, expected);
        }
        assert_eq!(times.len(), 1, "all at the same time");

        let nobody = read::<UserFilter>(json!({"email": "nobody@example.org"}));
        assert_eq!(store.update_all(&nobody, read::<UserPatch>(patch)).await.unwrap(), 0);
        let wrong = store.update_all(&nobody, read::<UserPatch>(json!({"name": ""}))).await;
        assert_eq!(mistakes(wrong).1[0].0, "/name", "what is wrong is so for nobody, too");
    }

    async fn what_passes_is_deleted_and_counted(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        let tag = tag(&store, "tag").await.id;
        for n in 0..5 {
            let author = if n % 2 == 0 { ada.id } else { bob.id };
            let content = content(&store, author, &format!("{n}")).await.id;
            let link =
                move |work: domain::UnitOfWork| async move { work.link(&Content::TAGS, content, tag, None).await };
            store.write(link).await.unwrap();
        }
        let of_ada = ContentFilter { author_id: Some(ada.id), ..ContentFilter::default() };
        assert_eq!(store.delete_all(&of_ada).await.unwrap(), 3);
        assert_eq!(store.delete_all(&of_ada).await.unwrap(), 0, "nothing was there any more");
        assert_eq!(all::<ContentFilter>(&store).await.iter().map(|one| &one["title"]).collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(store.delete_all(&ContentFilter::default()).await.unwrap(), 2);
        // Their links went with them.
        assert_eq!(store.delete_all(&TagFilter::default()).await.unwrap(), 1);
    }

    async fn every_record_is_asked_by_its_rules(database: TestDatabase) {
        let store = store(&database).await;
        let mut subscriptions = Vec::new();
        for (name, status) in [("ada", "active"), ("bob", "active"), ("eve", "trialing")] {
            subscriptions.push(subscription(&store, &user(&store, name).await, status).await);
        }
        let gold = read::<SubscriptionFilter>(json!({"plan": "gold"}));
        let change = |patch: Value| store.update_all(&gold, read::<SubscriptionPatch>(patch));
        let before = all::<SubscriptionFilter>(&store).await;
        // The last of them may not take this step; nor does the end of any come before its start.
        let refused = change(json!({"status": "past_due", "plan": "silver"})).await;
        assert!(matches!(refused, Err(Error::Refused { code: "illegal_status", .. })), "{refused:?}");
        let refused = change(json!({"period_end": "2025-01-01T00:00:00Z"})).await;
        assert_eq!(mistakes(refused), one("invalid", "/period_end", "period"));
        assert_eq!(all::<SubscriptionFilter>(&store).await, before);
        assert_eq!(change(json!({"status": "canceled"})).await.unwrap(), 3);

        // Each edge could be changed, but not both: the second sees what became of the first.
        let (order, item) = (model(&store, "order").await, model(&store, "item").await);
        let edges = [edge(&store, &order, &item).await, edge(&store, &item, &order).await];
        let contains = read::<RelationshipPatch>(json!({"kind": "contains"}));
        let refused = store.update_all(&RelationshipFilter::default(), contains).await;
        assert_eq!(mistakes(refused), one("invalid", "/to_model_id", "cycle"));
        for edge in edges {
            assert_eq!(store.find(edge.id).await.unwrap(), edge);
        }
    }

    /// What could not be done to all is done to none, and the unit of work goes on.
    async fn all_or_none(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        content(&store, bob.id, "one").await;
        store
            .write(|work| async move {
                work.insert(new_tag("before")).await?;
                let in_use = work.delete_all(&UserFilter::default()).await;
                assert!(matches!(&in_use, Err(Error::InUse { counts, .. }) if counts[..] == [("contents", 1)]));
                // The database itself refuses the second of these.
                work.insert(new_tag("other")).await?;
                let same = work.update_all(&TagFilter::default(), read::<TagPatch>(json!({"name": "same"}))).await;
                assert_eq!(mistakes(same), one("conflict", "/name", "unique"));
                work.insert(new_tag("after")).await.map(|_| ())
            })
            .await
            .unwrap();
        assert_eq!(store.find(ada.id).await.unwrap(), ada);
        assert_eq!(count::<User>(&store).await, 2);
        assert_eq!(tag_names(&store).await, ["before", "other", "after"]);
    }

    async fn what_is_only_ever_added_stays(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let (from, to) = (account(&store, ada.id, 9).await, account(&store, ada.id, 0).await);
        let new = domain::NewTransfer { from_account_id: from.id, to_account_id: to.id, amount: 9 };
        let transfer = store.insert(new).await.unwrap();
        store.delete_all(&TransferFilter::default()).await.unwrap_err();
        assert_eq!(store.find(transfer.id).await.unwrap(), transfer);
    }

    /// Nobody overtakes, and nobody waits for whoever waits for them.
    async fn many_at_once_come_one_after_the_other(database: TestDatabase) {
        const CALLERS: i64 = 8;
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        for n in 0..20 {
            content(&store, ada.id, &format!("{n}")).await;
        }
        let change = |caller: i64| {
            let patch = read::<ContentPatch>(json!({"body": format!("by {caller}")}));
            let store = &store;
            async move { store.update_all(&ContentFilter::default(), patch).await }
        };
        for changed in futures_util::future::join_all((0..CALLERS).map(change)).await {
            assert_eq!(changed.unwrap(), 20);
        }
        let contents = all::<ContentFilter>(&store).await;
        assert!(contents.iter().all(|content| content["version"] == 1 + CALLERS), "{contents:?}");
        assert!(contents.iter().all(|content| content["body"] == contents[0]["body"]), "{contents:?}");
    }
);
