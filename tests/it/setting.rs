//! Settings: what holds for a user is their own, or else the application's, or else what holds where nothing is set.

use domain::{Change, NewSetting, Scope, SettingPatch, Store, Theme, UserId, setting_key as key};
use serde_json::{Value, json};
use tests::on_both;

use crate::fixture::{execute, mistakes, one, store, user};

fn new(owner: Option<UserId>, key: &str, value: impl Into<Value>) -> NewSetting {
    let scope = if owner.is_some() { Scope::User } else { Scope::Application };
    NewSetting { scope, user_id: owner, key: key.to_owned(), value: value.into() }
}

async fn theme(store: &Store, user: Option<UserId>) -> Theme {
    store.setting::<key::AppearanceTheme>(user).await.unwrap()
}

on_both!(
    async fn a_user_s_own_wins_over_the_application_s(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await.id, user(&store, "bob").await.id);
        let themes =
            async || [theme(&store, Some(ada)).await, theme(&store, Some(bob)).await, theme(&store, None).await];
        assert_eq!(themes().await, [Theme::System; 3], "nothing is set");
        let own = store.insert(new(Some(ada), "appearance.theme", "dark")).await.unwrap();
        assert_eq!(themes().await, [Theme::Dark, Theme::System, Theme::System]);
        let common = store.insert(new(None, "appearance.theme", "light")).await.unwrap();
        assert_eq!(themes().await, [Theme::Dark, Theme::Light, Theme::Light]);
        let change = SettingPatch { value: Change::Set(json!("system")) };
        store.update(own.id, 1, change.clone()).await.unwrap();
        assert_eq!(themes().await, [Theme::System, Theme::Light, Theme::Light]);
        store.delete(own.id, 2).await.unwrap();
        assert_eq!(themes().await, [Theme::Light; 3]);
        store.update(common.id, 1, change).await.unwrap();
        assert_eq!(themes().await, [Theme::System; 3]);
    }

    async fn every_key_has_values_of_its_own_type(database: TestDatabase) {
        let store = store(&database).await;
        let ada = Some(user(&store, "ada").await.id);
        assert_eq!(store.setting::<key::ListPageSize>(ada).await.unwrap().0, 50);
        for (key, value) in [
            ("list.page_size", json!(20)),
            ("locale", json!("de-AT")),
            ("notifications.email", json!(false)),
            ("time_zone", json!("Europe/Vienna")),
        ] {
            store.insert(new(ada, key, value)).await.unwrap();
        }
        assert_eq!(store.setting::<key::ListPageSize>(ada).await.unwrap().0, 20);
        assert_eq!(store.setting::<key::Locale>(ada).await.unwrap().0, "de-AT");
        assert!(!store.setting::<key::NotificationsEmail>(ada).await.unwrap());
        assert!(store.setting::<key::NotificationsEmail>(None).await.unwrap());
        assert_eq!(store.setting::<key::TimeZone>(ada).await.unwrap().0, "Europe/Vienna");

        for (key, value) in [
            ("list.page_size", json!(201)),
            ("list.page_size", json!("20")),
            ("locale", json!("de_AT")),
            ("notifications.email", json!("yes")),
            ("time_zone", json!(1)),
            ("appearance.theme", json!("purple")),
        ] {
            let refused = store.insert(new(None, key, value.clone())).await;
            assert_eq!(mistakes(refused), one("invalid", "/value", "schema"), "{key} {value}");
        }
        // What came past the types is not handed out as if it were right.
        execute(&store, domain::Sql::new("UPDATE settings SET value = $1").bind(json!({"a": 1}))).await.unwrap();
        assert!(store.setting::<key::Locale>(ada).await.is_err());
    }

    async fn a_key_is_set_once_for_each(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await.id, user(&store, "bob").await.id);
        for owner in [None, Some(ada), Some(bob)] {
            store.insert(new(owner, "locale", "de")).await.unwrap();
            let (kind, found) = mistakes(store.insert(new(owner, "locale", "en")).await);
            assert_eq!(kind, "conflict");
            assert!(found.contains(&("/key".to_owned(), "unique".to_owned())), "{found:?}");
            store.insert(new(owner, "time_zone", "UTC")).await.unwrap();
        }
    }
);
