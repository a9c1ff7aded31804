//! Relations: one to one, one to many, many to many, and what is loaded along with a record.

use domain::{
    Change, Content, DataModel, Error, Include, NewContent, NewDataModel, NewProfile, NewSetting, NewUser, Profile,
    ProfileFields, Scope, Setting, Store, Tag, TagId, User, UserId,
};
use serde_json::{Value, json};
use tests::{Postgres, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{
    NOBODY, account, content, count, mistakes, new_content, new_user, one, page, store, tag, user, wires,
};

fn lives_in(city: &str) -> ProfileFields {
    ProfileFields { city: Some(city.to_owned()), ..ProfileFields::default() }
}

async fn set_profile(store: &Store, user: UserId, seen: Option<i64>, city: &'static str) -> domain::Result<Profile> {
    store.write(move |work| async move { Profile::set(user, seen, lives_in(city), &work).await }).await
}

async fn titles(store: &Store, author: UserId) -> Vec<String> {
    let mut related = store.related(&User::CONTENTS, &[author]).await.unwrap();
    related.remove(&author).unwrap_or_default().into_iter().map(|content| content.title).collect()
}

async fn names_of_tags(store: &Store, content: domain::ContentId) -> Vec<String> {
    let mut related = store.related(Content::TAGS.relation(), &[content]).await.unwrap();
    related.remove(&content).unwrap_or_default().into_iter().map(|tag| tag.name).collect()
}

async fn in_use<R: domain::Record>(store: &Store, record: &R) -> Vec<(&'static str, u64)> {
    match store.delete(record.id(), record.version()).await {
        Err(Error::InUse { counts, .. }) => counts,
        other => panic!("{other:?}"),
    }
}

on_both!(
    async fn a_profile_is_set_replaced_and_cleared(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        assert!(matches!(Profile::find_of(ada.id, &store).await, Err(Error::NotFound { noun: "profile", .. })));
        assert!(matches!(
            Profile::find_of(domain::Id::new(NOBODY), &store).await,
            Err(Error::NotFound { noun: "user", .. })
        ));
        assert!(set_profile(&store, ada.id, Some(1), "Graz").await.is_err(), "one was said to have been seen");

        let first = set_profile(&store, ada.id, None, "Graz").await.unwrap();
        assert_eq!(Profile::find_of(ada.id, &store).await.unwrap(), first);
        let unseen = set_profile(&store, ada.id, None, "Linz").await;
        assert!(matches!(unseen, Err(Error::VersionRequired { noun: "profile", actual: 1, .. })), "{unseen:?}");
        let second = set_profile(&store, ada.id, Some(1), "Wien").await.unwrap();
        assert_eq!((second.id, second.version, second.city.as_deref()), (first.id, 2, Some("Wien")));

        let loaded = store.related(&User::PROFILE, &[ada.id, bob.id]).await.unwrap();
        assert_eq!(loaded.into_iter().collect::<Vec<_>>(), [(ada.id, vec![second.clone()])]);
        let owners = store.related(&Profile::USER, &[second.id]).await.unwrap();
        assert_eq!(owners[&second.id], std::slice::from_ref(&ada));

        let clear = |seen| store.write(move |work| async move { Profile::clear(ada.id, seen, &work).await });
        assert!(matches!(clear(1).await, Err(Error::VersionConflict { expected: 1, actual: 2, .. })));
        clear(2).await.unwrap();
        assert!(matches!(clear(2).await, Err(Error::NotFound { .. })));
        assert_eq!(count::<Profile>(&store).await, 0);
    }

    async fn a_user_has_one_profile_at_most(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let profile = || NewProfile { user_id: ada.id, bio: None, city: None, birth_date: None, avatar_url: None };
        store.insert(profile()).await.unwrap();
        assert_eq!(mistakes(store.insert(profile()).await), one("conflict", "/user_id", "unique"));
        assert_eq!(count::<Profile>(&store).await, 1);
    }

    async fn a_user_is_made_with_a_profile_or_not_at_all(database: TestDatabase) {
        let store = store(&database).await;
        let with = |city: &str| NewUser { profile: Some(lives_in(city)), ..new_user("ada") };
        assert_eq!(mistakes(store.insert(with("a\0")).await), one("invalid", "/profile/city", "nul"));
        assert_eq!(count::<User>(&store).await, 0);
        let ada = store.insert(with("Graz")).await.unwrap();
        assert_eq!(Profile::find_of(ada.id, &store).await.unwrap().city.as_deref(), Some("Graz"));
    }

    async fn contents_are_loaded_in_the_order_of_their_creation(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob, eve) = (user(&store, "ada").await, user(&store, "bob").await, user(&store, "eve").await);
        for n in 0..30 {
            content(&store, if n % 3 == 0 { bob.id } else { ada.id }, &format!("{n:02}")).await;
        }
        let of =
            |wanted: fn(i32) -> bool| (0..30).filter(|n| wanted(*n)).map(|n| format!("{n:02}")).collect::<Vec<_>>();
        assert_eq!(titles(&store, ada.id).await, of(|n| n % 3 != 0));
        assert_eq!(titles(&store, bob.id).await, of(|n| n % 3 == 0));
        let loaded = store.related(&User::CONTENTS, &[ada.id, bob.id, eve.id]).await.unwrap();
        assert_eq!((loaded.len(), loaded[&ada.id].len(), loaded[&bob.id].len()), (2, 20, 10));
        let authors = store.related(&Content::AUTHOR, &[loaded[&bob.id][0].id]).await.unwrap();
        assert_eq!(authors.into_values().next().unwrap(), [bob]);
    }

    async fn a_content_is_made_with_its_tags_or_not_at_all(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let tags = [tag(&store, "c").await.id, tag(&store, "a").await.id, tag(&store, "b").await.id];
        let with = |tags: Vec<TagId>| NewContent { tags, ..new_content(ada.id, "one") };
        let missing = store.insert(with(vec![tags[0], domain::Id::new(NOBODY)])).await;
        assert_eq!(mistakes(missing), one("invalid", "/tags/1", "reference"));
        assert_eq!(count::<Content>(&store).await, 0);
        assert_eq!(mistakes(store.insert(with(vec![tags[0]; 101])).await), one("invalid", "/tags", "length"));
        let made = store.insert(with(tags.to_vec())).await.unwrap();
        assert_eq!(names_of_tags(&store, made.id).await, ["c", "a", "b"]);
    }

    /// Of a user, some records forbid to delete them, some go with them and some stay without them.
    async fn deleting_a_user_restricts_cascades_and_clears(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        for owner in [&ada, &bob] {
            let value = json!("dark");
            let key = "appearance.theme".to_owned();
            store.insert(NewSetting { scope: Scope::User, user_id: Some(owner.id), key, value }).await.unwrap();
            let name = format!("model of {}", owner.name);
            store.insert(NewDataModel { owner_id: Some(owner.id), name, fields: Vec::new() }).await.unwrap();
        }
        let profile = set_profile(&store, ada.id, None, "Graz").await.unwrap();
        let contents = [content(&store, ada.id, "one").await, content(&store, ada.id, "two").await];
        let account = account(&store, ada.id, 0).await;

        assert_eq!(in_use(&store, &ada).await, [("profiles", 1), ("accounts", 1), ("contents", 2)]);
        let settings = || count::<Setting>(&store);
        assert_eq!(settings().await, 2, "a refusal changes nothing");
        store.delete(profile.id, 1).await.unwrap();
        store.delete(account.id, 1).await.unwrap();
        store.delete(contents[0].id, 1).await.unwrap();
        assert_eq!(in_use(&store, &ada).await, [("contents", 1)]);
        store.delete(contents[1].id, 1).await.unwrap();
        store.delete(ada.id, 1).await.unwrap();

        assert_eq!(settings().await, 1);
        let models = store.list(&domain::DataModelFilter::default(), &page("id")).await.unwrap().records;
        let shown = models.iter().map(|model| (model.owner_id, model.version)).collect::<Vec<_>>();
        assert_eq!(shown, [(None, 2), (Some(bob.id), 1)], "forgetting the owner is a change of that model only");
        assert!(models[0].updated_at > models[0].created_at);
        assert_eq!(count::<User>(&store).await, 1);
    }

    async fn a_model_with_edges_stays_and_each_is_counted_once(database: TestDatabase) {
        let store = store(&database).await;
        let (order, item) = (crate::fixture::model(&store, "order").await, crate::fixture::model(&store, "item").await);
        let edge = |from: &DataModel, to: &DataModel| domain::NewRelationship {
            from_model_id: from.id,
            to_model_id: to.id,
            kind: domain::RelationshipKind::References,
        };
        let itself = store.insert(edge(&order, &order)).await.unwrap();
        let other = store.insert(edge(&item, &order)).await.unwrap();
        assert_eq!(in_use(&store, &order).await, [("relationships", 2)]);
        store.delete(itself.id, 1).await.unwrap();
        store.delete(other.id, 1).await.unwrap();
        store.delete(order.id, 1).await.unwrap();
    }

    async fn tags_are_linked_ordered_and_unlinked(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let (first, second) = (content(&store, ada.id, "one").await.id, content(&store, ada.id, "two").await.id);
        let tags = [tag(&store, "a").await, tag(&store, "b").await, tag(&store, "c").await].map(|tag| tag.id);
        let link = |content, tag, position| {
            store.write(move |work| async move { work.link(&Content::TAGS, content, tag, position).await })
        };
        let unlink =
            |content, tag| store.write(move |work| async move { work.unlink(&Content::TAGS, content, tag).await });

        assert!(link(first, tags[2], None).await.unwrap());
        assert!(link(first, tags[1], None).await.unwrap());
        assert!(link(second, tags[1], None).await.unwrap());
        assert_eq!(names_of_tags(&store, first).await, ["c", "b"]);
        assert!(!link(first, tags[2], None).await.unwrap(), "it is linked already");
        assert_eq!(names_of_tags(&store, first).await, ["c", "b"], "and keeps its place");
        assert!(!link(first, tags[2], Some(7)).await.unwrap());
        assert_eq!(names_of_tags(&store, first).await, ["b", "c"], "or gets the one it is given");
        assert!(link(first, tags[0], Some(-1)).await.unwrap());
        assert_eq!(names_of_tags(&store, first).await, ["a", "b", "c"]);

        let absent = link(first, domain::Id::new(NOBODY), None).await;
        assert!(matches!(absent, Err(Error::NotFound { noun: "tag", .. })));
        let absent = link(domain::Id::new(NOBODY), tags[0], None).await;
        assert!(matches!(absent, Err(Error::NotFound { noun: "content", .. })));

        assert!(unlink(first, tags[1]).await.unwrap());
        assert!(!unlink(first, tags[1]).await.unwrap());
        assert_eq!(names_of_tags(&store, first).await, ["a", "c"]);
        assert_eq!(names_of_tags(&store, second).await, ["b"], "another content's links are its own");

        // A tag that is in use stays, and goes with no content.
        let used = store.find(tags[1]).await.unwrap();
        assert_eq!(in_use(&store, &used).await, [("content_tags", 1)]);
        store.delete(second, 1).await.unwrap();
        assert_eq!(count::<Tag>(&store).await, 3);
        store.delete(tags[1], 1).await.unwrap();
    }

    async fn a_set_of_tags_replaces_all_in_its_order(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let content = content(&store, ada.id, "one").await.id;
        let mut tags = Vec::new();
        for name in ["a", "b", "c", "d"] {
            tags.push(tag(&store, name).await.id);
        }
        let set = |order: &[usize]| {
            let order = order.iter().map(|&n| tags[n]).collect::<Vec<_>>();
            store.write(move |work| {
                let order = order.clone();
                async move { Content::set_tags(content, &order, &work).await }
            })
        };
        for order in [&[2, 0, 1][..], &[1, 2, 3], &[3, 2, 1, 0], &[], &[0]] {
            let expected = order.iter().map(|n| ["a", "b", "c", "d"][*n]).collect::<Vec<_>>();
            let returned = set(order).await.unwrap();
            assert_eq!(returned.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), expected);
            assert_eq!(names_of_tags(&store, content).await, expected);
        }
        // What is named twice is linked once.
        let twice = set(&[0, 1, 0]).await;
        assert!(twice.is_err() || names_of_tags(&store, content).await.len() == 2, "{twice:?}");
        let tags = vec![domain::Id::new(NOBODY)];
        let unknown = store.write(move |work| {
            let tags = tags.clone();
            async move { Content::set_tags(content, &tags, &work).await }
        });
        let before = names_of_tags(&store, content).await;
        assert_eq!(mistakes(unknown.await), one("invalid", "/tags/0", "reference"));
        assert_eq!(names_of_tags(&store, content).await, before);
    }

    /// Many at once link the same: one link is made.
    async fn the_same_link_made_at_once_is_one(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let (content, tag) = (content(&store, ada.id, "one").await.id, tag(&store, "a").await.id);
        let link = |_| store.write(move |work| async move { work.link(&Content::TAGS, content, tag, None).await });
        for result in futures_util::future::join_all((0..8).map(link)).await {
            result.unwrap();
        }
        assert_eq!(names_of_tags(&store, content).await, ["a"]);
    }

    async fn includes_are_nested_where_they_belong(database: TestDatabase) {
        let store = store(&database).await;
        let users = populate(&store, 3).await;
        let includes = Include::parse::<User>("profile,contents.tags,contents.author").unwrap();
        let views = serde_json::to_value(store.with_related(wires(&users), &includes).await.unwrap()).unwrap();
        assert_eq!(views[1]["profile"]["city"], "city 1");
        assert_eq!(views[2]["profile"], Value::Null, "nothing is not left out");
        assert_eq!(views[0]["contents"], json!([]));
        let contents = views[2]["contents"].as_array().unwrap();
        assert_eq!(contents.iter().map(|content| &content["title"]).collect::<Vec<_>>(), ["2.0", "2.1"]);
        assert_eq!(contents[1]["tags"].as_array().unwrap().len(), 2);
        assert_eq!(contents[1]["author"]["id"], views[2]["id"]);

        let refused = |text: &str| mistakes(Include::parse::<User>(text).map(|_| ()));
        let too_many = vec!["profile"; 17].join(",");
        for text in ["tags", "profile.nothing", "contents.", ".", "contents.author.contents.tags", &too_many] {
            assert_eq!(refused(text), ("invalid", vec![("/include".to_owned(), "include".to_owned())]), "{text}");
        }
    }
);

/// Users, the `n`th with `n` contents of two tags each; those with an odd number have a profile.
async fn populate(store: &Store, count: usize) -> Vec<User> {
    let tags = [tag(store, "one").await.id, tag(store, "two").await.id];
    let mut users = Vec::new();
    for n in 0..count {
        let profile = (n % 2 == 1).then(|| lives_in(&format!("city {n}")));
        let user = store.insert(NewUser { profile, ..new_user(&format!("user{n}")) }).await.unwrap();
        for m in 0..n.min(5) {
            let new = NewContent { tags: tags.to_vec(), ..new_content(user.id, &format!("{n}.{m}")) };
            store.insert(new).await.unwrap();
        }
        users.push(user);
    }
    users
}

/// Counted by the server itself.
#[test]
fn includes_take_as_many_statements_for_many_as_for_one() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private_with(&["log_statement=all"]).await);
        let store = store(&server.database().await).await;
        let users = populate(&store, 50).await;
        let includes = Include::parse::<User>("profile,contents.tags").unwrap();
        let statements = async |of: Vec<User>| {
            let already = server.log().len();
            store.with_related(wires(&of), &includes).await.unwrap();
            let log = server.log();
            log[already..].lines().filter(|line| line.contains("execute ") || line.contains("statement: ")).count()
        };
        let for_one = statements(vec![users[7].clone()]).await;
        let for_all = statements(users.clone()).await;
        assert_eq!(for_one, for_all);
        assert_eq!(for_all, 3, "one for each relation");
        let page = async || {
            let already = server.log().len();
            let listed = store.list(&domain::UserFilter::default(), &page("id")).await.unwrap();
            store.with_related(wires(&listed.records), &includes).await.unwrap();
            server.log()[already..].lines().filter(|line| line.contains("execute ")).count()
        };
        assert!(page().await <= 5);
    });
}

on_both!(
    async fn a_child_may_change_its_parent(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        let account = account(&store, ada.id, 1).await;
        let moved = store.update(account.id, 1, domain::AccountPatch { owner_id: Change::Set(bob.id) }).await.unwrap();
        let owners = store.related(&domain::Account::OWNER, &[moved.id]).await.unwrap();
        assert_eq!(owners[&moved.id], [bob]);
        store.delete(ada.id, 1).await.unwrap();
    }
);
