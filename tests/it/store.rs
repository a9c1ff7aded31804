//! Finding, listing, making, changing and deleting records: the same for every noun.

use std::process::Command;

use domain::{
    Account, AccountPatch, Change, Content, ContentPatch, DataModel, DataModelPatch, Database, Error, Id, Insert,
    NewAccount, NewContent, NewDataModel, NewProfile, NewRelationship, NewSetting, NewSubscription, NewTag,
    NewTransfer, NewUser, Patch, Profile, ProfilePatch, Record, Relationship, RelationshipPatch, Setting, SettingPatch,
    Sql, Store, Subscription, SubscriptionPatch, Tag, TagPatch, Transfer, User, UserPatch,
};
use serde_json::{Value, json};
use tests::on_both;

use crate::fixture::{self, NOBODY, account, count, mistakes, model, read, store, user};

/// A noun by examples, as JSON: what is not said here is the same for all.
struct Example {
    /// A new record.
    new: Value,
    /// Another one beside it.
    other: Value,
    /// One that cannot be beside it, and the pointer to why.
    duplicate: Option<(Value, &'static str)>,
    /// New records with one mistake: pointer, code.
    invalid: Vec<(Value, &'static str, &'static str)>,
    /// Changes, each of the fields that it names and of no others.
    patches: Vec<Value>,
    /// Changes with one mistake.
    invalid_patches: Vec<(Value, &'static str, &'static str)>,
    /// Changes of a wrong shape.
    misshapen_patches: Vec<Value>,
}

impl Example {
    /// The new record with one field of another value.
    fn with(&self, field: &str, value: impl Into<Value>) -> Value {
        changed(&self.new, field, value)
    }
}

fn changed(of: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut new = of.clone();
    new[field] = value.into();
    new
}

fn example(new: Value, other: Value) -> Example {
    Example {
        new,
        other,
        duplicate: None,
        invalid: Vec::new(),
        patches: Vec::new(),
        invalid_patches: Vec::new(),
        misshapen_patches: Vec::new(),
    }
}

on_both!(
    async fn users(database: TestDatabase) {
        let mut users = example(
            json!({"email": "Ada@Example.org", "name": "Ada", "role": "admin", "avatar": "https://example.org/a.png"}),
            json!({"email": "bob@example.org", "name": "Bob"}),
        );
        users.duplicate = Some((users.with("email", "aDA@eXAMPLE.org"), "/email"));
        users.invalid = vec![
            (users.with("email", "ada"), "/email", "email"),
            (users.with("name", ""), "/name", "blank"),
            (users.with("avatar", "javascript:alert(1)"), "/avatar", "url"),
            (users.with("profile", json!({"city": " Graz"})), "/profile/city", "blank"),
            (users.with("name", "a\0b"), "/name", "nul"),
        ];
        users.patches = vec![
            json!({}),
            json!({"name": "Ada Lovelace"}),
            json!({"avatar": null}),
            json!({"avatar": "http://example.org/b.png", "role": "member"}),
            json!({"last_active_at": "2026-01-02T03:04:05.000006Z", "status": "suspended"}),
            json!({"last_active_at": null}),
        ];
        users.invalid_patches = vec![
            (json!({"email": "ada"}), "/email", "email"),
            (json!({"name": "two\nlines"}), "/name", "line"),
            (json!({"name": "a\0b"}), "/name", "nul"),
        ];
        users.misshapen_patches =
            vec![json!({"email": null}), json!({"role": "king"}), json!({"status": "gone"}), json!({"nmae": "Ada"})];
        prove::<User, NewUser, UserPatch>(&store(&database).await, users).await;
    }

    async fn profiles(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        let mut profiles = example(
            json!({"user_id": ada.id, "bio": "…", "city": "Graz", "birth_date": "1815-12-10", "avatar_url": null}),
            json!({"user_id": bob.id}),
        );
        profiles.duplicate = Some((json!({"user_id": ada.id}), "/user_id"));
        profiles.invalid = vec![
            (profiles.with("user_id", NOBODY.to_string()), "/user_id", "reference"),
            (profiles.with("bio", "x".repeat(4_001)), "/bio", "length"),
            (profiles.with("city", "Graz "), "/city", "blank"),
            (profiles.with("avatar_url", "ftp://example.org"), "/avatar_url", "url"),
        ];
        profiles.patches = vec![
            json!({"bio": null}),
            json!({"city": "Wien", "bio": "new"}),
            json!({"birth_date": "0001-01-01"}),
            json!({"birth_date": null}),
        ];
        profiles.invalid_patches = vec![(json!({"city": "a\rb"}), "/city", "line")];
        profiles.misshapen_patches = vec![json!({"user_id": bob.id}), json!({"birth_date": "1815-13-10"})];
        prove::<Profile, NewProfile, ProfilePatch>(&store, profiles).await;
    }

    async fn settings(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let mut settings = example(
            json!({"scope": "user", "user_id": ada.id, "key": "appearance.theme", "value": "dark"}),
            json!({"scope": "application", "key": "appearance.theme", "value": "light"}),
        );
        settings.duplicate = Some((settings.with("value", "light"), "/user_id"));
        settings.invalid = vec![
            (settings.with("key", "colour"), "/key", "unknown"),
            (settings.with("value", 1), "/value", "schema"),
            (settings.with("user_id", Value::Null), "/user_id", "required"),
            (settings.with("scope", "application"), "/user_id", "scope"),
            (settings.with("user_id", NOBODY.to_string()), "/user_id", "reference"),
        ];
        settings.patches = vec![json!({"value": "system"})];
        settings.invalid_patches = vec![(json!({"value": "purple"}), "/value", "schema")];
        settings.misshapen_patches = vec![json!({"key": "locale"})];
        prove::<Setting, NewSetting, SettingPatch>(&store, settings).await;
    }

    async fn accounts(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        let mut accounts = example(
            json!({"owner_id": ada.id, "currency": "EUR", "balance": i64::MAX}),
            json!({"owner_id": ada.id, "currency": "JPY"}),
        );
        accounts.invalid = vec![
            (accounts.with("owner_id", NOBODY.to_string()), "/owner_id", "reference"),
            (accounts.with("balance", -1), "/balance", "range"),
        ];
        accounts.patches = vec![json!({"owner_id": bob.id})];
        accounts.invalid_patches = vec![(json!({"owner_id": NOBODY}), "/owner_id", "reference")];
        accounts.misshapen_patches = vec![json!({"balance": 1}), json!({"owner_id": null})];
        prove::<Account, NewAccount, AccountPatch>(&store, accounts).await;
    }

    async fn subscriptions(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        let new = |user: &User| {
            json!({
                "user_id": user.id, "plan": "gold", "status": "active", "stripe_customer_id": "cus_1",
                "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z",
            })
        };
        let mut subscriptions = example(new(&ada), new(&bob));
        subscriptions.duplicate = Some((new(&ada), "/user_id"));
        subscriptions.invalid = vec![
            (subscriptions.with("status", "canceled"), "/status", "first_status"),
            (subscriptions.with("period_end", "2026-01-01T00:00:00Z"), "/period_end", "period"),
            (subscriptions.with("plan", " "), "/plan", "blank"),
            (
                changed(&subscriptions.with("status", "trialing"), "user_id", NOBODY.to_string()),
                "/user_id",
                "reference",
            ),
        ];
        subscriptions.patches = vec![
            json!({"plan": "silver"}),
            json!({"stripe_customer_id": null}),
            json!({"period_end": "2026-03-01T00:00:00Z", "status": "past_due"}),
        ];
        subscriptions.invalid_patches = vec![(json!({"period_end": "2025-01-01T00:00:00Z"}), "/period_end", "period")];
        subscriptions.misshapen_patches = vec![json!({"user_id": bob.id}), json!({"status": null})];
        prove::<Subscription, NewSubscription, SubscriptionPatch>(&store, subscriptions).await;
    }

    async fn contents(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let mut contents = example(
            json!({"author_id": ada.id, "title": "One", "body": "", "status": "published"}),
            json!({"author_id": ada.id, "title": "One", "body": "\u{10ffff} two"}),
        );
        contents.invalid = vec![
            (contents.with("author_id", NOBODY.to_string()), "/author_id", "reference"),
            (contents.with("title", "x".repeat(201)), "/title", "length"),
            (contents.with("body", "\0"), "/body", "nul"),
            (contents.with("tags", json!([NOBODY])), "/tags/0", "reference"),
        ];
        contents.patches = vec![json!({"title": "Two"}), json!({"status": "archived", "body": "three"})];
        contents.invalid_patches = vec![(json!({"title": ""}), "/title", "blank")];
        contents.misshapen_patches = vec![json!({"title": null}), json!({"tags": []})];
        prove::<Content, NewContent, ContentPatch>(&store, contents).await;
    }

    async fn tags(database: TestDatabase) {
        let mut tags = example(json!({"name": "straße"}), json!({"name": "strasse"}));
        tags.duplicate = Some((json!({"name": "STRAßE"}), "/name"));
        tags.invalid =
            vec![(json!({"name": ""}), "/name", "blank"), (json!({"name": "x".repeat(65)}), "/name", "length")];
        tags.patches = vec![json!({"name": "weg"})];
        tags.invalid_patches = vec![(json!({"name": " weg"}), "/name", "blank")];
        tags.misshapen_patches = vec![json!({"name": null}), json!({"name": 1})];
        prove::<Tag, NewTag, TagPatch>(&store(&database).await, tags).await;
    }

    async fn data_models(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let field = json!({"name": "total", "kind": "decimal", "required": true, "unique": false});
        let mut models =
            example(json!({"owner_id": ada.id, "name": "order", "fields": [field]}), json!({"name": "customer"}));
        models.duplicate = Some((json!({"name": "order"}), "/name"));
        models.invalid = vec![
            (json!({"owner_id": NOBODY, "name": "bill"}), "/owner_id", "reference"),
            (models.with("fields", json!([field, field])), "/fields/1/name", "unique"),
            (models.with("name", "\t"), "/name", "blank"),
        ];
        models.patches = vec![json!({"owner_id": null}), json!({"fields": []}), json!({"name": "bill"})];
        models.invalid_patches =
            vec![(json!({"fields": [{"name": "A", "kind": "text"}]}), "/fields/0/name", "identifier")];
        models.misshapen_patches = vec![json!({"name": null}), json!({"fields": [{"name": "a", "kind": "colour"}]})];
        prove::<DataModel, NewDataModel, DataModelPatch>(&store, models).await;
    }

    async fn relationships(database: TestDatabase) {
        let store = store(&database).await;
        let (order, item) = (model(&store, "order").await, model(&store, "item").await);
        let mut edges = example(
            json!({"from_model_id": order.id, "to_model_id": item.id, "kind": "references"}),
            json!({"from_model_id": item.id, "to_model_id": order.id, "kind": "references"}),
        );
        edges.duplicate = Some((edges.new.clone(), "/from_model_id"));
        edges.invalid = vec![
            (edges.with("to_model_id", NOBODY.to_string()), "/to_model_id", "reference"),
            (
                changed(&edges.with("kind", "contains"), "to_model_id", order.id.to_string()),
                "/to_model_id",
                "self_link",
            ),
        ];
        edges.patches = vec![json!({"kind": "contains"})];
        edges.misshapen_patches = vec![json!({"to_model_id": order.id}), json!({"kind": null})];
        prove::<Relationship, NewRelationship, RelationshipPatch>(&store, edges).await;
    }

    async fn transfers_are_only_ever_added(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let (from, to) = (account(&store, ada.id, 10).await, account(&store, ada.id, 0).await);
        let mut transfers = example(
            json!({"from_account_id": from.id, "to_account_id": to.id, "amount": 3}),
            json!({"from_account_id": to.id, "to_account_id": from.id, "amount": 1}),
        );
        transfers.invalid = vec![
            (transfers.with("amount", 0), "/amount", "range"),
            (transfers.with("to_account_id", from.id.to_string()), "/to_account_id", "same_account"),
            (transfers.with("from_account_id", NOBODY.to_string()), "/from_account_id", "reference"),
        ];
        let made = prove_making::<Transfer, NewTransfer>(&store, &transfers).await;
        assert!(store.delete(made.id, 1).await.is_err());
        assert_eq!(store.find(made.id).await.unwrap(), made);
        let balances = [store.find(from.id).await.unwrap().balance, store.find(to.id).await.unwrap().balance];
        assert_eq!(balances, [8, 2]);
    }
);

/// Everything that a noun can do.
async fn prove<R, N, P>(store: &Store, example: Example)
where
    R: Record,
    N: Insert<Record = R>,
    P: Patch<Record = R>,
{
    let made = prove_making::<R, N>(store, &example).await;
    let changed = prove_changing::<R, P>(store, made, &example).await;
    prove_deleting::<R>(store, changed).await;
}

/// Returns the record that the example's `new` made; the other one is there too.
async fn prove_making<R: Record, N: Insert<Record = R>>(store: &Store, example: &Example) -> R {
    let absent = Id::<R>::new(NOBODY);
    assert!(store.look_up(absent).await.unwrap().is_none());
    assert_not_found(store.find(absent).await, absent);
    assert_eq!(count::<R>(store).await, 0);
    assert_eq!(example.duplicate.is_some(), is_unique(store, &table_of::<R>()).await, "a duplicate of {}", R::NOUN);

    let made = store.insert(read::<N>(example.new.clone())).await.unwrap();
    let other = store.insert(read::<N>(example.other.clone())).await.unwrap();
    assert_eq!((made.version(), other.version()), (1, 1));
    for (record, new) in [(&made, &example.new), (&other, &example.other)] {
        assert_same(record, &store.find(record.id()).await.unwrap());
        assert_same(record, &store.look_up(record.id()).await.unwrap().unwrap());
        let shown = fixture::json(record);
        for (field, value) in new.as_object().unwrap().iter().filter(|(field, _)| *field != "tags") {
            let folded = field == "name" && R::NOUN == "tag";
            let expected = if folded { value.as_str().unwrap().to_lowercase().into() } else { value.clone() };
            assert_eq!(shown[field], expected, "{field} of {shown}");
        }
    }
    if let Some((duplicate, pointer)) = &example.duplicate {
        let (kind, found) = mistakes(store.insert(read::<N>(duplicate.clone())).await);
        assert_eq!((kind, found[0].0.as_str(), found[0].1.as_str()), ("conflict", *pointer, "unique"));
    }
    for (new, pointer, code) in &example.invalid {
        assert_refused(mistakes(store.insert(read::<N>(new.clone())).await), pointer, code);
    }
    let unknown_field = changed(&example.new, "surprise", 1);
    assert!(serde_json::from_value::<N>(unknown_field).is_err());

    let listed = fixture::all_pages(store, &R::Filter::default(), "id", 1).await;
    assert_eq!(listed.iter().map(fixture::json).collect::<Vec<_>>(), [fixture::json(&made), fixture::json(&other)]);
    assert_eq!(count::<R>(store).await, 2, "what was refused was stored");
    made
}

/// The table of a noun.
fn table_of<R: Record>() -> String {
    format!("{}s", R::NOUN.replace(' ', "_"))
}

/// Whether anything but the id must be unique in a table.
async fn is_unique(store: &Store, table: &str) -> bool {
    let indexes = match store.database() {
        Database::Sqlite => {
            "SELECT name FROM pragma_index_list($1) WHERE \"unique\" AND origin <> 'pk' AND name LIKE 'uq\\_%' ESCAPE '\\'"
        }
        Database::Postgres => {
            "SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
             WHERE indrelid = $1::text::regclass AND indisunique AND NOT indisprimary"
        }
    };
    !store.query(Sql::new(indexes).bind(table)).await.unwrap().is_empty()
}

on_both!(
    /// Each table whose rows have an id as records have it is a noun, and has a test above. Those that wait in the outbox
    /// have ids too.
    async fn no_noun_is_forgotten(database: TestDatabase) {
        let store = store(&database).await;
        let tables = match store.database() {
            Database::Sqlite => {
                "SELECT child.name FROM sqlite_master AS child JOIN pragma_table_info(child.name) AS field \
                 WHERE child.type = 'table' AND field.name = 'id' AND field.type = 'uuid_text'"
            }
            Database::Postgres => {
                "SELECT table_name::text AS name FROM information_schema.columns \
                 WHERE table_schema = 'public' AND column_name = 'id' AND data_type = 'uuid'"
            }
        };
        let tables = store.query(Sql::new(tables)).await.unwrap().column::<String>("name").unwrap();
        assert!(tables.len() >= 10, "{tables:?}");
        let output =
            Command::new(std::env::current_exe().unwrap()).args(["--list", "--format=terse"]).output().unwrap();
        let tests = String::from_utf8(output.stdout).unwrap();
        for table in tables.iter().filter(|table| *table != "outbox") {
            for backend in ["sqlite", "postgres"] {
                let is_of_it = |test: &str| test.starts_with(&format!("store::{table}")) && test.contains(backend);
                assert!(tests.lines().any(is_of_it), "{table} has no test on {backend}");
            }
        }
    }
);

/// Each change touches what it names and nothing else, and needs the version that was seen.
async fn prove_changing<R: Record, P: Patch<Record = R>>(store: &Store, mut record: R, example: &Example) -> R {
    for patch in &example.patches {
        let mut expected = fixture::json(&record);
        for (field, value) in patch.as_object().unwrap() {
            expected[field] = value.clone();
        }
        let version = record.version();
        record = store.update(record.id(), version, read::<P>(patch.clone())).await.unwrap();
        let shown = fixture::json(&record);
        expected["version"] = (version + 1).into();
        expected["updated_at"] = shown["updated_at"].clone();
        assert_eq!(shown, expected, "after {patch}");
        assert!(shown["updated_at"].as_str() > shown["created_at"].as_str());
        assert_same(&record, &store.find(record.id()).await.unwrap());

        let stale = store.update(record.id(), version, read::<P>(patch.clone())).await;
        assert_conflict(stale, version, version + 1);
    }
    for (patch, pointer, code) in &example.invalid_patches {
        let refused = store.update(record.id(), record.version(), read::<P>(patch.clone())).await;
        assert_refused(mistakes(refused), pointer, code);
    }
    for patch in &example.misshapen_patches {
        assert!(serde_json::from_value::<P>(patch.clone()).is_err(), "{patch} was taken");
    }
    assert_same(&record, &store.find(record.id()).await.unwrap());
    let absent = Id::<R>::new(NOBODY);
    assert_not_found(store.update(absent, 1, read::<P>(json!({}))).await, absent);
    record
}

async fn prove_deleting<R: Record>(store: &Store, record: R) {
    let (id, version) = (record.id(), record.version());
    for wrong in [version - 1, version + 1, 0, i64::MIN, i64::MAX] {
        assert_conflict(store.delete(id, wrong).await, wrong, version);
    }
    assert_same(&record, &store.find(id).await.unwrap());
    store.delete(id, version).await.unwrap();
    assert!(store.look_up(id).await.unwrap().is_none());
    assert_eq!(count::<R>(store).await, 1, "another record was deleted too");
    assert_not_found(store.delete(id, version).await, id);
}

#[track_caller]
fn assert_same<R: Record>(a: &R, b: &R) {
    assert_eq!(fixture::json(a), fixture::json(b));
}

/// The one field is to blame, for this reason and maybe for others.
#[track_caller]
fn assert_refused((kind, found): (&str, Vec<(String, String)>), pointer: &str, code: &str) {
    assert_eq!(kind, "invalid");
    assert!(found.iter().all(|(at, _)| at == pointer), "{found:?}, not {pointer}");
    assert!(found.iter().any(|(_, found)| found == code), "{found:?}, not {code}");
}

#[track_caller]
fn assert_not_found<T, R: Record>(result: domain::Result<T>, absent: Id<R>) {
    match result.map(|_| ()) {
        Err(Error::NotFound { noun, id }) => assert_eq!((noun, id), (R::NOUN, absent.to_string())),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_conflict<T>(result: domain::Result<T>, seen: i64, present: i64) {
    match result.map(|_| ()) {
        Err(Error::VersionConflict { expected, actual, .. }) => assert_eq!((expected, actual), (seen, present)),
        other => panic!("{other:?}"),
    }
}

on_both!(
    /// A null is a wish to clear, and no field at all a wish to keep.
    async fn a_patch_keeps_clears_and_sets(database: TestDatabase) {
        let patch = read::<UserPatch>(json!({"avatar": null}));
        assert_eq!((patch.avatar, patch.name), (Change::Set(None), Change::Keep));
        let store = store(&database).await;
        let new = NewUser { avatar: Some("https://example.org".to_owned()), ..fixture::new_user("ada") };
        let ada = store.insert(new).await.unwrap();
        let kept = store.update(ada.id, 1, UserPatch { name: Change::Set("A".into()), ..Default::default() }).await;
        assert_eq!(kept.unwrap().avatar, ada.avatar);
        let cleared = store.update(ada.id, 2, UserPatch { avatar: Change::Set(None), ..Default::default() }).await;
        assert_eq!(cleared.unwrap().avatar, None);
        let null = serde_json::from_value::<UserPatch>(json!({"name": null}));
        assert!(null.unwrap_err().to_string().contains("null"));
    }

    /// Of two who saw the same version, one is told that the other came first.
    async fn of_concurrent_changes_one_wins(database: TestDatabase) {
        let store = store(&database).await;
        let tag = fixture::tag(&store, "tag").await;
        let rename = |n: usize| store.update(tag.id, 1, TagPatch { name: Change::Set(format!("tag{n}")) });
        let results = futures_util::future::join_all((0..8).map(rename)).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for lost in results.into_iter().filter(|result| result.is_err()) {
            assert_conflict(lost, 1, 2);
        }
    }
);
