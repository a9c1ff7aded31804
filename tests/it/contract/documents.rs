//! The contract of documents: what their port says, of each of its adapters; and that each of them answers whatever it is
//! asked as the evaluator does.

use std::{sync::Arc, time::Duration};

use api::adapter::{
    mongo_connection::{MongoConnection, MongoOptions},
    mongo_documents::MongoDocuments,
};
use domain::{
    Deviation, Difference, Documents, DocumentsError, SqlDocuments, Store, Taken, Write,
    document::{
        Collection, Comparison, Direction, Document, Edit, FieldPath, Filter, ID, Index, IndexKey, IndexUse, Kind,
        Member, Query, Scalar, SortBy, SortKey, Update, words,
    },
};
use futures_util::future::join_all;
use mongodb::{IndexModel, bson, options::IndexOptions};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::{Backend, PATIENCE, TestDatabase, eventually, or_skip, run::LIMIT, within};

use crate::fixture;

/// What keeps documents, and what it needs.
pub(super) struct Subject {
    documents: Arc<dyn Documents>,
    server: Server,
}

/// Where the documents are: to prepare and to look behind the back of what is tested.
enum Server {
    Sql { store: Box<Store>, database: TestDatabase },
    Mongo { documents: MongoDocuments, database: mongodb::Database },
}

impl Subject {
    pub(super) async fn sql(backend: Backend) -> Result<Self, tests::Skip> {
        let database = tests::database(backend).await?;
        let store = fixture::store(&database).await;
        Ok(Self {
            documents: Arc::new(SqlDocuments::new(&store)),
            server: Server::Sql { store: Box::new(store), database },
        })
    }

    pub(super) async fn mongo() -> Result<Self, tests::Skip> {
        let server = tests::mongo::shared().await?;
        let name = server.new_database();
        let options = MongoOptions { min_connections: 0, timeout: PATIENCE, ..MongoOptions::new(server.uri(&name)) };
        let documents = MongoDocuments::new(MongoConnection::new(options));
        let database = server.client().await.database(&name);
        Ok(Self { documents: Arc::new(documents.clone()), server: Server::Mongo { documents, database } })
    }

    /// Loses an index.
    async fn drop_index(&self, collection: &str, name: &str) {
        match &self.server {
            Server::Sql { database, .. } => {
                let connection = database.connect().await;
                connection.execute_unprepared(&format!("DROP INDEX \"documents_{collection}_{name}\"")).await.unwrap();
                connection.close().await.unwrap();
            }
            Server::Mongo { database, .. } => {
                database.collection::<bson::Document>(collection).drop_index(name).await.unwrap();
            }
        }
    }

    /// Gets an index that nobody declared.
    async fn add_index(&self, collection: &str, name: &str) {
        match &self.server {
            Server::Sql { database, .. } => {
                let connection = database.connect().await;
                let sql = format!(
                    "CREATE INDEX \"documents_{collection}_{name}\" ON documents (id) WHERE collection = '{collection}'"
                );
                connection.execute_unprepared(&sql).await.unwrap();
                connection.close().await.unwrap();
            }
            Server::Mongo { database, .. } => {
                let options = IndexOptions::builder().name(name.to_owned()).build();
                let index =
                    IndexModel::builder().keys(bson::doc! { format!("undeclared_{name}"): 1 }).options(options).build();
                database.collection::<bson::Document>(collection).create_index(index).await.unwrap();
            }
        }
    }

    /// Whether what has expired vanishes without a sweep, by the server's own clock.
    fn expires_by_itself(&self) -> bool {
        matches!(self.server, Server::Mongo { .. })
    }

    /// Can no longer be reached.
    async fn end(&self) {
        match &self.server {
            Server::Sql { store, .. } => store.close().await,
            Server::Mongo { documents, .. } => documents.close().await,
        }
    }
}

/// Makes of one body a test for each adapter, each on a new `Subject`. A further adapter is a further module in here.
macro_rules! on_each_adapter {
    ($($(#[$attribute:meta])* async fn $name:ident($subject:ident: Subject) $body:block)+) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                #[test]
                fn sqlite() {
                    within(LIMIT, async { body(Subject::sql(Backend::Sqlite).await.unwrap()).await });
                }

                #[test]
                fn postgres() {
                    within(LIMIT, async { body(or_skip!(Subject::sql(Backend::Postgres).await)).await });
                }

                #[test]
                fn mongo() {
                    within(LIMIT, async { body(or_skip!(Subject::mongo().await)).await });
                }

                async fn body($subject: Subject) $body
            }
        )+
    };
}

mod any;
mod differential;

fn member(name: &'static str, kind: Kind) -> Member {
    Member { name: name.into(), kind }
}

fn field(path: &'static str, kind: Kind) -> FieldPath {
    FieldPath::new(path, kind)
}

fn key(path: &'static str, kind: Kind, direction: Direction) -> IndexKey {
    IndexKey { field: field(path, kind), direction }
}

/// A collection with a field of each kind and an index of each use.
fn samples() -> Collection {
    let members = vec![
        member("text", Kind::Text),
        member("note", Kind::Text),
        member("code", Kind::Text),
        member("count", Kind::Integer),
        member("large", Kind::Integer),
        member("amount", Kind::Float),
        member("ratio", Kind::Float),
        member("truth", Kind::Boolean),
        member("at", Kind::Time),
        member("expires", Kind::Time),
        member("day", Kind::Day),
        member("owner", Kind::Id),
        member("place", Kind::Point),
        member("tags", Kind::List(Box::new(Kind::Text))),
        member("inner", Kind::Object(vec![member("text", Kind::Text), member("count", Kind::Integer)])),
        member(
            "parts",
            Kind::List(Box::new(Kind::Object(vec![member("name", Kind::Text), member("count", Kind::Integer)]))),
        ),
        member("anything", Kind::Json),
    ];
    let both = [key("text", Kind::Text, Direction::Ascending), key("count", Kind::Integer, Direction::Descending)];
    let indexes = vec![
        Index::on("text_count", both),
        Index::on("at", [key("at", Kind::Time, Direction::Descending)]),
        Index::on("amount", [key("amount", Kind::Float, Direction::Ascending)]),
        Index::on("truth", [key("truth", Kind::Boolean, Direction::Ascending)]),
        Index::unique("code", [key("code", Kind::Text, Direction::Ascending)]),
        Index::text("words", [field("note", Kind::Text)]),
        Index { name: "place".into(), is: IndexUse::Geo { field: field("place", Kind::Point) } },
        Index {
            name: "expiry".into(),
            is: IndexUse::Ttl { field: field("expires", Kind::Time), after: Duration::from_secs(60) },
        },
    ];
    let schema = json!({
        "type": "object",
        "properties": {
            "text": { "type": "string", "maxLength": 1_000 },
            "count": { "type": "integer", "minimum": -1_000_000, "maximum": 1_000_000 },
            "truth": { "type": "boolean" },
        },
    });
    Collection::new("samples", None, members, indexes, 1, schema)
}

/// A document of that collection, with its words.
fn sample(id: &str, fields: Value) -> Document {
    let Value::Object(mut document) = fields else { panic!("no object: {fields}") };
    if let Some(note) = document.get("note").and_then(Value::as_str) {
        let words = words(note);
        document.insert("_words".to_owned(), json!(words));
    }
    document.insert(ID.to_owned(), id.into());
    document
}

async fn prepared(subject: &Subject) -> Collection {
    let collection = samples();
    subject.documents.prepare(&[&collection]).await.unwrap();
    collection
}

async fn inserted(subject: &Subject, collection: &Collection, documents: Vec<Document>) {
    for outcome in subject.documents.insert(collection, documents).await.unwrap() {
        outcome.unwrap();
    }
}

async fn look_up(subject: &Subject, collection: &Collection, id: &str) -> Option<Document> {
    let query = Query { filter: Filter::id(id), ..Query::default() };
    let mut found = subject.documents.find(collection, &query).await.unwrap();
    assert!(found.len() < 2);
    found.pop()
}

fn set(path: &'static str, kind: Kind, value: Value) -> Update {
    Update { edits: vec![Edit::Set { field: field(path, kind), value }] }
}

fn inc(path: &'static str, by: i64) -> Update {
    Update { edits: vec![Edit::Inc { field: field(path, Kind::Integer), by: Scalar::Integer(by) }] }
}

fn eq(path: &'static str, value: Scalar) -> Filter {
    Filter::Compare { field: field(path, value.kind()), is: Comparison::Eq, value }
}

on_each_adapter!(
    async fn what_is_inserted_is_found_as_what_it_is(subject: Subject) {
        let collection = prepared(&subject).await;
        let full = sample(
            "“Ö”/1",
            json!({
                "text": "a\"\\\n\u{1}é𝄞", "count": -7, "large": i64::MIN, "amount": 2, "ratio": 0.1, "truth": false,
                "at": "2026-01-31T13:00:00.1239+01:00", "day": "2026-02-28",
                "owner": "01890A5D-AC96-774B-BCCE-B302099A8057", "note": null,
                "place": {"type": "Point", "coordinates": [16, -48.25]}, "tags": ["b", "a"],
                "inner": {"text": null, "count": 1, "else": [null]}, "parts": [{"name": "x", "count": null}],
                "anything": {"null": null, "list": [1, 1.5, 1e16, 1e300, 5e-324, 18446744073709551615_u64, -0.0, {}]},
            }),
        );
        inserted(&subject, &collection, vec![full.clone()]).await;
        let expected = json!({
            "_id": "“Ö”/1", "_version": 1, "_schema": 1,
            "text": "a\"\\\n\u{1}é𝄞", "count": -7, "large": i64::MIN, "amount": 2.0, "ratio": 0.1, "truth": false,
            "at": "2026-01-31T12:00:00.123Z", "day": "2026-02-28", "owner": "01890a5d-ac96-774b-bcce-b302099a8057",
            "place": {"type": "Point", "coordinates": [16.0, -48.25]}, "tags": ["b", "a"],
            "inner": {"count": 1, "else": [null]}, "parts": [{"name": "x"}],
            "anything": {
                "null": null,
                "list": [1, 1.5, 10_000_000_000_000_000_i64, 1e300, 5e-324, 1.8446744073709552e19, 0.0, {}],
            },
        });
        assert_eq!(Value::from(look_up(&subject, &collection, "“Ö”/1").await.unwrap()), expected);
        assert_eq!(Value::from(collection.admit(full).unwrap()), expected);
        assert_eq!(look_up(&subject, &collection, "“Ö”/").await, None);
        let elsewhere = Collection::untyped("elsewhere");
        assert_eq!(look_up(&subject, &elsewhere, "“Ö”/1").await, None);
    }

    async fn each_document_has_an_outcome_of_its_own(subject: Subject) {
        let collection = prepared(&subject).await;
        inserted(&subject, &collection, vec![sample("there", json!({"code": "a"}))]).await;
        let documents = vec![
            sample("one", json!({})),
            sample("there", json!({"text": "another"})),
            sample("two", json!({"code": "a"})),
            sample("three", json!({"count": 2_000_000})),
            sample("four", json!({"count": "four"})),
            sample("five", json!({"text": "\0"})),
            sample("six", json!({"a.b": 1})),
            sample("one", json!({"text": "again"})),
            sample("seven", json!({"code": "b"})),
            sample("eight", json!({"code": "b"})),
            sample("", json!({})),
            sample("nine", json!({})),
        ];
        let outcomes = subject.documents.insert(&collection, documents).await.unwrap();
        let refused = |outcome: &Result<(), DocumentsError>| matches!(outcome, Err(DocumentsError::Refused(_)));
        let is_there = || Err(DocumentsError::Duplicate(Taken::Id));
        let has_code = || Err(DocumentsError::Duplicate(Taken::Index("code".to_owned())));
        assert_eq!(outcomes[0..3], [Ok(()), is_there(), has_code()]);
        assert!(outcomes[3..7].iter().all(refused), "{outcomes:?}");
        assert_eq!(outcomes[7..10], [is_there(), Ok(()), has_code()]);
        assert!(refused(&outcomes[10]) && outcomes[11].is_ok(), "{outcomes:?}");
        assert_eq!(subject.documents.count(&collection, &Filter::everything()).await.unwrap(), 4);
        assert_eq!(look_up(&subject, &collection, "one").await.unwrap().get("text"), None);
        assert!(subject.documents.insert(&collection, Vec::new()).await.unwrap().is_empty());
    }

    async fn what_lacks_a_unique_field_is_not_held_to_it(subject: Subject) {
        let collection = prepared(&subject).await;
        let without = (0..3).map(|n| sample(&n.to_string(), json!({"code": null}))).collect();
        inserted(&subject, &collection, without).await;
        inserted(&subject, &collection, vec![sample("a", json!({"code": "a"})), sample("b", json!({"code": "b"}))])
            .await;
        let update = set("code", Kind::Text, json!("a"));
        let error = subject.documents.update(&collection, &Filter::id("b"), &update).await.unwrap_err();
        assert_eq!(error, DocumentsError::Duplicate(Taken::Index("code".to_owned())));
        assert_eq!(
            subject.documents.update(&collection, &Filter::id("0"), &set("code", Kind::Text, json!("c"))).await,
            Ok(1)
        );
    }

    async fn a_change_that_breaks_the_schema_is_refused(subject: Subject) {
        let collection = prepared(&subject).await;
        inserted(&subject, &collection, vec![sample("a", json!({"count": 999_999, "text": "x"}))]).await;
        for update in [
            inc("count", 2),
            set("count", Kind::Integer, json!(1.5)),
            set("text", Kind::Text, json!(1)),
            set("text", Kind::Text, json!("x".repeat(1_001))),
            set("at", Kind::Time, json!("yesterday")),
            set("place", Kind::Point, json!({"type": "Point", "coordinates": [0, 91]})),
            inc("large", i64::MAX).and_then(inc("inner.count", i64::MAX)),
        ] {
            let outcome = subject.documents.update(&collection, &Filter::id("a"), &update).await;
            if update.edits.len() == 1 {
                assert!(matches!(outcome, Err(DocumentsError::Refused(_))), "{update:?}: {outcome:?}");
            } else {
                assert_eq!(outcome, Ok(1));
            }
        }
        let outcome = subject.documents.update(&collection, &Filter::id("a"), &inc("large", 1)).await;
        assert!(matches!(outcome, Err(DocumentsError::Refused(_))), "{outcome:?}");
        let found = look_up(&subject, &collection, "a").await.unwrap();
        assert_eq!((&found["count"], &found["text"]), (&json!(999_999), &json!("x")));
        // What was written in an older version is not held to the schema.
        let mut old = sample("old", json!({"count": "many"}));
        old.insert("_schema".to_owned(), 0.into());
        inserted(&subject, &collection, vec![old]).await;
        assert_eq!(look_up(&subject, &collection, "old").await.unwrap()["count"], "many");
        let found = subject.documents.find(&collection, &by("count", Kind::Integer)).await.unwrap();
        match subject.server {
            Server::Sql { .. } => assert_eq!(ids(&found), ["old", "a"], "it has no value of that kind"),
            // Which goes by what values are, and not by what they should be, until the document is upgraded.
            Server::Mongo { .. } => assert_eq!(found.len(), 2),
        }
    }

    async fn all_of_several_writes_are_done_or_none(subject: Subject) {
        let collection = prepared(&subject).await;
        let other = Collection::untyped("others");
        inserted(&subject, &collection, vec![sample("a", json!({"count": 1})), sample("b", json!({"count": 2}))]).await;
        let writes = |last: Write| {
            vec![
                Write::Insert { collection: other.clone(), document: sample("x", json!({"free": [1]})) },
                Write::Update {
                    collection: collection.clone(),
                    filter: Filter::everything(),
                    update: inc("count", 10),
                    must_match: true,
                },
                Write::Delete { collection: collection.clone(), filter: Filter::id("b"), must_match: true },
                last,
            ]
        };
        let failing = [
            (
                Write::Delete { collection: collection.clone(), filter: Filter::id("b"), must_match: true },
                DocumentsError::NoMatch(3),
            ),
            (
                Write::Insert { collection: collection.clone(), document: sample("a", json!({})) },
                DocumentsError::Duplicate(Taken::Id),
            ),
        ];
        for (last, error) in failing {
            assert_eq!(subject.documents.write(writes(last)).await, Err(error));
            assert_eq!(look_up(&subject, &other, "x").await, None);
            assert_eq!(look_up(&subject, &collection, "b").await.unwrap()["count"], 2);
        }
        let last = Write::Delete { collection: collection.clone(), filter: Filter::id("b"), must_match: false };
        assert_eq!(subject.documents.write(writes(last)).await, Ok(vec![1, 2, 1, 0]));
        assert_eq!(look_up(&subject, &collection, "a").await.unwrap()["count"], 11);
        assert_eq!(look_up(&subject, &collection, "b").await, None);
        assert_eq!(look_up(&subject, &other, "x").await.unwrap()["free"], json!([1]));
        assert_eq!(subject.documents.write(Vec::new()).await, Ok(Vec::new()));
    }

    async fn of_many_changes_at_once_none_is_lost(subject: Subject) {
        let collection = prepared(&subject).await;
        inserted(&subject, &collection, vec![sample("a", json!({})), sample("b", json!({}))]).await;
        let changes = (0..40).map(|n| {
            let (documents, collection) = (Arc::clone(&subject.documents), collection.clone());
            let filter = if n % 4 == 0 { Filter::everything() } else { Filter::id("a") };
            tokio::spawn(async move { documents.update(&collection, &filter, &inc("count", 1)).await })
        });
        for changed in join_all(changes).await {
            changed.unwrap().unwrap();
        }
        assert_eq!(look_up(&subject, &collection, "a").await.unwrap()["count"], 40);
        assert_eq!(look_up(&subject, &collection, "b").await.unwrap()["count"], 10);
        // Of many who insert the same, one does.
        let inserts = (0..20).map(|_| {
            let (documents, collection) = (Arc::clone(&subject.documents), collection.clone());
            tokio::spawn(async move { documents.insert(&collection, vec![sample("c", json!({"code": "c"}))]).await })
        });
        let outcomes =
            join_all(inserts).await.into_iter().map(|done| done.unwrap().unwrap().remove(0)).collect::<Vec<_>>();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(
            outcomes
                .iter()
                .all(|outcome| !matches!(outcome, Err(error) if !matches!(error, DocumentsError::Duplicate(_))))
        );
    }

    async fn more_than_a_batch_is_found_changed_and_deleted(subject: Subject) {
        let collection = prepared(&subject).await;
        let all = (0..1_234).map(|n| {
            sample(&format!("{n:04}"), json!({"count": n, "tags": [if n % 3 == 0 { "three" } else { "other" }]}))
        });
        inserted(&subject, &collection, all.collect()).await;
        assert_eq!(subject.documents.count(&collection, &Filter::everything()).await, Ok(1_234));
        let tagged = eq("tags", Scalar::Text("three".to_owned()));
        let found =
            subject.documents.find(&collection, &Query { filter: tagged.clone(), ..Query::default() }).await.unwrap();
        assert_eq!(found.len(), 412);
        assert!(found.is_sorted_by_key(|document| document[ID].as_str().unwrap().to_owned()));
        let last = Query { sort: vec![descending("count", Kind::Integer)], skip: 1_230, ..Query::default() };
        assert_eq!(ids(&subject.documents.find(&collection, &last).await.unwrap()), ["0003", "0002", "0001", "0000"]);
        assert_eq!(subject.documents.update(&collection, &tagged, &inc("large", 1)).await, Ok(412));
        assert_eq!(subject.documents.count(&collection, &eq("large", Scalar::Integer(1))).await, Ok(412));
        assert_eq!(subject.documents.delete(&collection, &tagged).await, Ok(412));
        assert_eq!(subject.documents.delete(&collection, &Filter::everything()).await, Ok(822));
        assert_eq!(subject.documents.delete(&collection, &Filter::everything()).await, Ok(0));
    }

    async fn what_has_expired_is_swept(subject: Subject) {
        let collection = prepared(&subject).await;
        let (before, now) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
        let documents = vec![
            sample("old", json!({"expires": before})),
            sample("older", json!({"expires": "2025-01-01T00:00:00Z"})),
            sample("new", json!({"expires": "2026-01-01T00:00:00.001Z"})),
            sample("for ever", json!({})),
        ];
        inserted(&subject, &collection, documents).await;
        if subject.expires_by_itself() {
            assert_eq!(subject.documents.sweep(&collection, fixture::instant(now)).await, Ok(0));
            let left = async || subject.documents.find(&collection, &Query::default()).await.unwrap();
            let is_gone = async || (ids(&left().await) == ["for ever"]).then_some(());
            return eventually("what has expired is gone", PATIENCE, is_gone).await;
        }
        assert_eq!(subject.documents.sweep(&collection, fixture::instant(now)).await, Ok(2));
        assert_eq!(subject.documents.sweep(&collection, fixture::instant(now)).await, Ok(0));
        let left = subject.documents.find(&collection, &Query::default()).await.unwrap();
        assert_eq!(ids(&left), ["for ever", "new"]);
    }

    async fn what_is_declared_is_made_once_and_drift_is_told(subject: Subject) {
        let collection = samples();
        let missing = subject.documents.drift(&[&collection]).await.unwrap();
        assert!(
            missing.len() >= 7 && missing.iter().all(|difference| difference.how == Deviation::Missing),
            "{missing:?}"
        );
        for _ in 0..2 {
            subject.documents.prepare(&[&collection]).await.unwrap();
            assert_eq!(subject.documents.drift(&[&collection]).await.unwrap(), []);
        }
        let difference = |what: &str, how| Difference { collection: "samples".to_owned(), what: what.to_owned(), how };
        subject.drop_index("samples", "at").await;
        subject.add_index("samples", "extra").await;
        subject.drop_index("samples", "code").await;
        subject.add_index("samples", "code").await;
        let mut drift = subject.documents.drift(&[&collection]).await.unwrap();
        drift.sort_by(|a, b| a.what.cmp(&b.what));
        let expected = [
            difference("at", Deviation::Missing),
            difference("code", Deviation::Different),
            difference("extra", Deviation::Undeclared),
        ];
        assert_eq!(drift, expected);
        subject.documents.prepare(&[&collection]).await.unwrap();
        assert_eq!(
            subject.documents.drift(&[&collection]).await.unwrap(),
            [difference("extra", Deviation::Undeclared)]
        );
        // Many at once.
        let preparing = (0..4).map(|_| {
            let (documents, collection) = (Arc::clone(&subject.documents), samples());
            tokio::spawn(async move { documents.prepare(&[&collection]).await })
        });
        for prepared in join_all(preparing).await {
            prepared.unwrap().unwrap();
        }
    }

    async fn what_cannot_be_done_is_said_and_not_done(subject: Subject) {
        let collection = prepared(&subject).await;
        inserted(&subject, &collection, vec![sample("a", json!({"count": 1}))]).await;
        let tags = Kind::List(Box::new(Kind::Text));
        let filters = [
            eq("nothing", Scalar::Integer(1)),
            eq("count", Scalar::Text("1".to_owned())),
            eq("amount", Scalar::Float(f64::NAN)),
            eq("anything.deep", Scalar::Integer(1)),
            eq("place", Scalar::Integer(1)),
            Filter::Exists { field: field("parts.name", Kind::Text) },
            Filter::Element { field: field("text", Kind::Text), matches: Box::new(Filter::everything()) },
            eq("text'; DROP TABLE documents; --", Scalar::Integer(1)),
        ];
        for filter in filters {
            let unsupported =
                |error: DocumentsError| assert!(matches!(error, DocumentsError::Unsupported(_)), "{error:?}");
            unsupported(subject.documents.count(&collection, &filter).await.unwrap_err());
            unsupported(subject.documents.update(&collection, &filter, &inc("count", 1)).await.unwrap_err());
            unsupported(subject.documents.delete(&collection, &filter).await.unwrap_err());
            let query = Query { filter, ..Query::default() };
            unsupported(subject.documents.find(&collection, &query).await.unwrap_err());
        }
        for sort in [
            descending("tags", tags.clone()),
            descending("parts.count", Kind::Integer),
            descending("anything", Kind::Json),
        ] {
            let query = Query { sort: vec![sort], ..Query::default() };
            subject.documents.find(&collection, &query).await.unwrap_err();
        }
        let twice = Update {
            edits: vec![inc("inner.count", 1).edits.remove(0), set("inner", Kind::Json, json!({})).edits.remove(0)],
        };
        for update in
            [twice, inc("text", 1), set("_id", Kind::Text, json!("b")), set("parts.name", Kind::Text, json!("b"))]
        {
            let error = subject.documents.update(&collection, &Filter::everything(), &update).await.unwrap_err();
            assert!(matches!(error, DocumentsError::Unsupported(_)), "{update:?}: {error:?}");
        }
        let injected = Collection::untyped("x' OR '1' = '1");
        subject.documents.count(&injected, &Filter::everything()).await.unwrap_err();
        let in_list = Index::unique("tags", [key("tags", tags, Direction::Ascending)]);
        let members = collection.members().unwrap().to_vec();
        let not_possible = Collection::new("samples", None, members, vec![in_list], 1, json!(true));
        let error = subject.documents.prepare(&[&not_possible]).await.unwrap_err();
        assert!(matches!(error, DocumentsError::Unsupported(_)), "{error:?}");
        assert_eq!(look_up(&subject, &collection, "a").await.unwrap()["count"], 1);
    }

    async fn what_cannot_be_reached_says_so(subject: Subject) {
        let collection = prepared(&subject).await;
        subject.documents.ping().await.unwrap();
        subject.end().await;
        assert_eq!(subject.documents.ping().await, Err(DocumentsError::Unavailable));
        assert_eq!(subject.documents.count(&collection, &Filter::everything()).await, Err(DocumentsError::Unavailable));
        let outcome = subject.documents.insert(&collection, vec![sample("a", json!({}))]).await;
        assert_eq!(outcome, Err(DocumentsError::Unavailable));
        assert!(DocumentsError::Unavailable.is_passing());
    }
);

fn ids(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| document[ID].as_str().unwrap()).collect()
}

fn by(path: &'static str, kind: Kind) -> Query {
    let sort = vec![SortKey { by: SortBy::Field(field(path, kind)), is_descending: false }];
    Query { sort, ..Query::default() }
}

fn descending(path: &'static str, kind: Kind) -> SortKey {
    SortKey { by: SortBy::Field(field(path, kind)), is_descending: true }
}

/// Both updates.
trait AndThen {
    fn and_then(self, other: Update) -> Update;
}

impl AndThen for Update {
    fn and_then(mut self, other: Update) -> Update {
        self.edits.extend(other.edits);
        self
    }
}
