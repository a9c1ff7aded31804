//! Documents in MongoDB: what they mean is what the evaluator says, and what MongoDB alone can do wrong it does not.

use std::time::{Duration, Instant};

use api::adapter::{
    mongo_connection::{MongoConnection, MongoOptions},
    mongo_documents::{MongoDocuments, value},
};
use domain::{
    Deviation, Difference, Documents, DocumentsError, Level, LogEntry, Taken, Timestamp, UserId, Write,
    document::{
        After, Area, Collection, Comparison, Direction, Document, Documented, Edit, FieldPath, Filter, Fold, GroupKey,
        Index, IndexKey, IndexUse, Kind, Member, Pipeline, Point, Polygon, Query, Scalar, SortBy, SortKey, Stage, Unit,
        Update, WORDS, words,
    },
};
use futures_util::future::join_all;
use mongodb::bson::{self, doc};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tests::{Mongo, PATIENCE, Skip, eventually, mongo, or_skip, run::LIMIT, within};

const SEED: u64 = 20_260_103;

fn member(name: &'static str, kind: Kind) -> Member {
    Member { name: name.into(), kind }
}

fn list(kind: Kind) -> Kind {
    Kind::List(Box::new(kind))
}

fn window() -> Vec<Member> {
    vec![member("start", Kind::Time), member("score", Kind::Integer), member("notes", list(Kind::Text))]
}

fn members() -> Vec<Member> {
    vec![
        member("name", Kind::Text),
        member("n", Kind::Integer),
        member("f", Kind::Float),
        member("ok", Kind::Boolean),
        member("at", Kind::Time),
        member("day", Kind::Day),
        member("owner", Kind::Id),
        member("place", Kind::Point),
        member("tags", list(Kind::Text)),
        member("numbers", list(Kind::Integer)),
        member("windows", list(Kind::Object(window()))),
        member("born", Kind::Object(vec![member("city", Kind::Text), member("year", Kind::Integer)])),
        member("extra", Kind::Json),
    ]
}

fn at(path: &str) -> FieldPath {
    let things = Collection::new("any", None, members(), Vec::new(), 1, json!(true));
    let (mut kind, _) = things.look_up(path).unwrap();
    while let Kind::List(item) = kind {
        kind = *item;
    }
    FieldPath::new(path.to_owned(), kind)
}

/// As it is, also a list.
fn whole(path: &str) -> FieldPath {
    let things = Collection::new("any", None, members(), Vec::new(), 1, json!(true));
    FieldPath::new(path.to_owned(), things.look_up(path).unwrap().0)
}

fn key(path: &str, direction: Direction) -> IndexKey {
    IndexKey { field: at(path), direction }
}

fn index(name: &'static str, is: IndexUse) -> Index {
    Index { name: name.into(), is }
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Thing",
        "type": "object",
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[^#]*$" },
            "n": { "type": ["integer", "null"], "format": "int64", "minimum": -1000, "maximum": 1000 },
            "f": { "type": ["number", "null"], "format": "double", "exclusiveMinimum": -100.0 },
            "ok": { "type": "boolean" },
            "at": { "type": "string", "format": "date-time" },
            "day": { "type": "string", "format": "date" },
            "owner": { "type": "string", "format": "uuid" },
            "place": schemars::SchemaGenerator::default().subschema_for::<Point>(),
            "tags": { "type": "array", "items": { "enum": ["a", "b", "c", "$d"] }, "maxItems": 4 },
            "numbers": { "type": "array", "items": { "type": "integer" } },
            "windows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "start": { "type": "string", "format": "date-time" },
                        "score": { "oneOf": [{ "const": 1, "description": "low" }, { "const": 2 }, { "const": 3 }] },
                        "notes": { "type": "array", "items": { "type": "string" } },
                    },
                    "required": ["start"],
                },
            },
            "born": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": { "city": { "type": "string" }, "year": { "type": "integer" } },
                        "required": ["city"],
                    },
                    { "type": "null" },
                ],
            },
            "extra": true,
        },
        "required": ["name"],
        "additionalProperties": false,
    })
}

fn things(name: &'static str) -> Collection {
    let indexes = vec![
        index(
            "by_n",
            IndexUse::Fields {
                keys: vec![key("n", Direction::Descending), key("name", Direction::Ascending)],
                is_unique: false,
            },
        ),
        index("by_words", IndexUse::Text { fields: vec![at("name")] }),
        index("by_place", IndexUse::Geo { field: at("place") }),
        index(
            "by_window",
            IndexUse::Fields { keys: vec![key("windows.start", Direction::Ascending)], is_unique: false },
        ),
    ];
    Collection::new(name, None, members(), indexes, 1, schema())
}

/// An adapter on a database of its own.
async fn documents() -> Result<MongoDocuments, Skip> {
    let server = mongo::shared().await?;
    Ok(patient(&server.uri(&server.new_database())))
}

fn patient(uri: &str) -> MongoDocuments {
    let options = MongoOptions {
        min_connections: 0,
        max_connections: 8,
        connect_timeout: PATIENCE / 2,
        server_selection_timeout: PATIENCE / 2,
        timeout: PATIENCE,
        ..MongoOptions::new(uri)
    };
    MongoDocuments::new(MongoConnection::new(options))
}

fn object(value: Value) -> Document {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

/// What chance has made so far, and will make: the same for the same seed.
struct Chance(StdRng);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit)
    }

    fn is(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).unwrap()
    }

    fn text(&mut self) -> &'static str {
        self.one(&["a", "b", "B", "ß", "z z", "blue bird", "Blue Café", "$n", "日本", "a.b"])
    }

    fn instant(&mut self) -> Timestamp {
        let text = self.one(&[
            "2025-12-31T23:59:59.999Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:30:00.5Z",
            "2026-01-05T00:00:00Z",
            "2026-02-28T13:00:00Z",
            "1969-12-31T23:00:00.001Z",
        ]);
        Timestamp::new(chrono::DateTime::parse_from_rfc3339(text).unwrap())
    }

    fn owner(&mut self) -> &'static str {
        self.one(&["018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-00000000000A"])
    }

    fn point(&mut self) -> Point {
        let mut degrees = |limit: i32| f64::from(self.0.random_range(-limit * 100..=limit * 100)) / 100.0;
        let (longitude, latitude) = (degrees(30), degrees(30));
        Point::new(longitude, latitude).unwrap()
    }

    fn document(&mut self, n: usize) -> Document {
        let mut document = object(json!({ "_id": format!("id{n:03}"), "name": self.text() }));
        let name = document["name"].as_str().unwrap().to_owned();
        document.insert(WORDS.to_owned(), words(&name).into());
        let mut with = |chance: &mut Self, name: &str, value: Value| {
            if chance.is(70) {
                document.insert(name.to_owned(), value);
            }
        };
        let (value, half) = (self.below(7), self.below(9));
        with(self, "n", json!(i64::try_from(value).unwrap() - 3));
        with(self, "f", json!(half as f64 / 4.0 - 1.0));
        let value = self.is(50);
        with(self, "ok", json!(value));
        let value = self.instant();
        with(self, "at", Scalar::Time(value).json());
        let value = self.one(&["2026-01-01", "2026-01-02", "1999-12-31"]);
        with(self, "day", json!(value));
        let value = self.owner();
        with(self, "owner", json!(value));
        let value = self.point();
        with(self, "place", serde_json::to_value(value).unwrap());
        let tags = (0..self.below(4)).map(|_| self.one(&["a", "b", "c", "$d"])).collect::<Vec<_>>();
        with(self, "tags", json!(tags));
        let numbers = (0..self.below(4)).map(|_| self.below(6)).collect::<Vec<_>>();
        with(self, "numbers", json!(numbers));
        let windows = (0..self.below(3)).map(|_| {
            let notes = (0..self.below(3)).map(|_| self.text()).collect::<Vec<_>>();
            let mut window = json!({ "start": Scalar::Time(self.instant()).json(), "notes": notes });
            if self.is(60) {
                window["score"] = json!(self.below(3) + 1);
            }
            window
        });
        let windows = windows.collect::<Vec<_>>();
        with(self, "windows", json!(windows));
        let mut born = json!({ "city": self.text() });
        if self.is(60) {
            born["year"] = json!(self.below(3));
        }
        with(self, "born", born);
        let value = self.one(&[0, 1, 2, 3]);
        let extra = [json!({"a": [null, 1, 1.5, {"b": "2026-01-01T00:00:00Z"}]}), json!([]), json!("x"), json!(7)];
        with(self, "extra", extra[value].clone());
        document
    }

    fn scalar(&mut self, path: &str) -> Scalar {
        match at(path).kind {
            Kind::Text if path == "tags" => Scalar::Text(self.one(&["a", "b", "$d"]).to_owned()),
            Kind::Text => Scalar::Text(self.text().to_owned()),
            Kind::Integer => Scalar::Integer(i64::try_from(self.below(7)).unwrap() - 2),
            Kind::Float => Scalar::Float(self.below(9) as f64 / 4.0 - 1.0),
            Kind::Boolean => Scalar::Boolean(self.is(50)),
            Kind::Time => Scalar::Time(self.instant()),
            Kind::Day => Scalar::read(&json!(self.one(&["2026-01-01", "2026-01-02"])), &Kind::Day).unwrap(),
            Kind::Id => Scalar::read(&json!(self.owner()), &Kind::Id).unwrap(),
            kind => panic!("{kind:?} is no scalar"),
        }
    }

    fn comparison(&mut self) -> Comparison {
        self.one(&[Comparison::Eq, Comparison::Gt, Comparison::Gte, Comparison::Lt, Comparison::Lte])
    }

    fn area(&mut self) -> Area {
        if self.is(50) {
            let metres = self.one(&[0.0, 500_000.0, 1_500_000.0, 30_000_000.0]);
            return Area::Circle { center: self.point(), metres };
        }
        loop {
            let corners = (0..self.below(3) + 3).map(|_| self.point()).collect();
            if let Ok(polygon) = Polygon::new(corners) {
                return Area::Polygon(polygon);
            }
        }
    }

    fn filter(&mut self, depth: usize) -> Filter {
        const SCALARS: &[&str] = &[
            "_id",
            "name",
            "n",
            "f",
            "ok",
            "at",
            "day",
            "owner",
            "tags",
            "numbers",
            "windows.start",
            "windows.score",
            "windows.notes",
            "born.city",
            "born.year",
        ];
        let several = |chance: &mut Self| (0..chance.below(3)).map(|_| chance.filter(depth - 1)).collect();
        match self.below(if depth == 0 { 7 } else { 10 }) {
            0..3 => {
                let path = self.one(SCALARS);
                Filter::Compare { field: at(path), is: self.comparison(), value: self.scalar(path) }
            }
            3 => {
                let path = self.one(SCALARS);
                Filter::In { field: at(path), values: (0..self.below(3)).map(|_| self.scalar(path)).collect() }
            }
            4 => Filter::Exists {
                field: whole(self.one(&["n", "tags", "windows", "born", "born.year", "extra", "place"])),
            },
            5 if self.is(50) => Filter::Text { words: words(self.one(&["blue", "café bird", "nothing", "a z"])) },
            5 => Filter::Within { field: at("place"), area: self.area() },
            6 => self.element(),
            7 => Filter::All(several(self)),
            8 => Filter::Any(several(self)),
            _ => Filter::Not(Box::new(self.filter(depth - 1))),
        }
    }

    fn element(&mut self) -> Filter {
        if self.is(50) {
            let path = self.one(&["tags", "numbers"]);
            let item = FieldPath::new("", at(path).kind);
            let of_item = |chance: &mut Self| Filter::Compare {
                field: item.clone(),
                is: chance.comparison(),
                value: chance.scalar(path),
            };
            let matches = match self.below(4) {
                0 => of_item(self),
                1 => Filter::All(vec![of_item(self), of_item(self)]),
                2 => Filter::Any(vec![of_item(self), Filter::Not(Box::new(of_item(self)))]),
                _ => Filter::Not(Box::new(of_item(self))),
            };
            return Filter::Element { field: whole(path), matches: Box::new(matches) };
        }
        let of_window = |chance: &mut Self| {
            let name = chance.one(&["start", "score", "notes"]);
            let value = chance.scalar(&format!("windows.{name}"));
            let field = FieldPath::new(name, value.kind());
            Filter::Compare { field, is: chance.comparison(), value }
        };
        let matches = match self.below(3) {
            0 => of_window(self),
            1 => Filter::All(vec![of_window(self), Filter::Not(Box::new(of_window(self)))]),
            _ => Filter::Any(vec![of_window(self), Filter::Exists { field: FieldPath::new("score", Kind::Integer) }]),
        };
        Filter::Element { field: whole("windows"), matches: Box::new(matches) }
    }

    fn sort_field(&mut self, of: &[&str]) -> SortKey {
        SortKey { by: SortBy::Field(at(self.one(of))), is_descending: self.is(50) }
    }

    fn query(&mut self, documents: &[Document]) -> Query {
        const FIELDS: &[&str] = &["name", "n", "f", "ok", "at", "day", "owner", "born.city", "born.year", "_id"];
        let sort = (0..self.below(3)).map(|_| match self.below(8) {
            0 => SortKey { by: SortBy::Rank { words: words("blue bird a") }, is_descending: self.is(80) },
            1 => {
                SortKey { by: SortBy::Distance { field: at("place"), from: self.point() }, is_descending: self.is(20) }
            }
            _ => self.sort_field(FIELDS),
        });
        let sort = sort.collect();
        let mut query = Query { filter: self.filter(2), sort, ..Query::default() };
        if self.is(40) {
            let document = &documents[self.below(documents.len())];
            query.after = After::document(&query, document);
        }
        if self.is(30) {
            query.skip = self.below(10) as u64;
        }
        if self.is(50) {
            query.limit = Some(self.below(12) as u64);
        }
        if self.is(30) {
            query.fields = Some((0..self.below(3)).map(|_| self.one(&["name", "tags", "born", "at"]).into()).collect());
        }
        query
    }

    fn pipeline(&mut self) -> Pipeline {
        let mut stages = vec![Stage::Match(self.filter(1))];
        if self.is(40) {
            stages.push(Stage::Sort(vec![self.sort_field(&["name", "n", "ok"])]));
        }
        if self.is(30) {
            stages.push(Stage::Sort(vec![self.sort_field(&["day", "f"])]));
        }
        if self.is(30) {
            stages.push(Stage::Limit(self.below(30) as u64));
        }
        match self.below(4) {
            0 => {}
            1 => stages.push(Stage::Count("count".into())),
            2 => stages.extend(self.grouped()),
            _ => {
                let facets = vec![
                    ("some".into(), Pipeline { stages: vec![Stage::Limit(self.below(5) as u64)] }),
                    ("count".into(), Pipeline { stages: vec![Stage::Match(self.filter(1)), Stage::Count("n".into())] }),
                    ("groups".into(), Pipeline { stages: self.grouped() }),
                ];
                stages.push(Stage::Facet(facets));
            }
        }
        Pipeline { stages }
    }

    fn grouped(&mut self) -> Vec<Stage> {
        let unit = self.one(&[Unit::Hour, Unit::Day, Unit::Week, Unit::Month]);
        let keys = [
            ("name".into(), GroupKey::Field(at("name"))),
            ("year".into(), GroupKey::Field(at("born.year"))),
            ("at".into(), GroupKey::Bucket { field: at("at"), unit }),
            ("ok".into(), GroupKey::Field(at("ok"))),
        ];
        let keys = keys.into_iter().filter(|_| self.is(40)).collect();
        let folds = vec![
            ("count".into(), Fold::Count),
            ("sum".into(), Fold::Sum(at("n"))),
            ("sum_f".into(), Fold::Sum(at("f"))),
            ("avg".into(), Fold::Avg(at("f"))),
            ("min".into(), Fold::Min(at("day"))),
            ("max".into(), Fold::Max(at("at"))),
            ("owners".into(), Fold::CountDistinct(at("owner"))),
        ];
        let mut stages = vec![Stage::Group { keys, folds }];
        let count = || FieldPath::new("count", Kind::Integer);
        if self.is(40) {
            stages.push(Stage::Match(Filter::Compare {
                field: count(),
                is: Comparison::Gt,
                value: Scalar::Integer(i64::try_from(self.below(3)).unwrap()),
            }));
        }
        if self.is(60) {
            stages.push(Stage::Sort(vec![SortKey { by: SortBy::Field(count()), is_descending: true }]));
            stages.push(Stage::Limit(self.below(4) as u64 + 1));
        }
        stages
    }

    fn update(&mut self) -> Update {
        let mut edits = vec![
            Edit::Inc { field: at("n"), by: Scalar::Integer(i64::try_from(self.below(5)).unwrap() - 2) },
            Edit::Inc { field: at("f"), by: Scalar::Float(0.25) },
            Edit::Set { field: at("at"), value: Scalar::Time(self.instant()).json() },
            Edit::Set { field: at("born.city"), value: json!(self.text()) },
            Edit::Set { field: at("ok"), value: Value::Null },
            Edit::Unset { field: whole("extra") },
            Edit::Push { field: whole("numbers"), value: json!(self.below(6)) },
            Edit::Pull { field: whole("tags"), value: self.scalar("tags") },
        ];
        edits.retain(|_| self.is(40));
        Update { edits }
    }
}

/// Adds the documents, and gives them as they are kept.
async fn fill(documents: &MongoDocuments, things: &Collection, chance: &mut Chance, count: usize) -> Vec<Document> {
    let made = (0..count).map(|n| chance.document(n)).collect::<Vec<_>>();
    let outcomes = documents.insert(things, made.clone()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    made.into_iter().map(|document| things.admit(document).unwrap()).collect()
}

async fn all(documents: &MongoDocuments, things: &Collection) -> Vec<Document> {
    documents.find(things, &Query::default()).await.unwrap()
}

fn one(document: Value) -> Vec<Document> {
    vec![object(document)]
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let things = things("things");
        documents.prepare(&[&things]).await.unwrap();
        let kept = fill(&documents, &things, &mut Chance::new(SEED), 60).await;
        assert_eq!(all(&documents, &things).await, kept);

        // What is not known of is kept as it is.
        let loose = Collection::untyped("loose");
        documents.prepare(&[&loose]).await.unwrap();
        let any = json!({ "_id": "any", "a": [1, 1.0, -0.5, i64::MIN, 1e300, null, true, {"b": {}}], "at": "2026-01-01T00:00:00Z" });
        assert_eq!(documents.insert(&loose, one(any.clone())).await.unwrap(), [Ok(())]);
        assert_eq!(all(&documents, &loose).await, [object(any)]);
        assert_eq!(documents.count(&loose, &Filter::id("any")).await, Ok(1));
    });
}

#[test]
fn questions_are_answered_as_the_evaluator_does() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let (things, chance) = (things("things"), &mut Chance::new(SEED));
        documents.prepare(&[&things]).await.unwrap();
        let kept = fill(&documents, &things, chance, 60).await;
        let mut found_some = 0;
        for _ in 0..400 {
            let query = chance.query(&kept);
            let expected = query.run(kept.clone());
            let found = documents.find(&things, &query).await;
            assert_eq!(found.as_ref(), Ok(&expected), "{query:#?}");
            found_some += usize::from(!expected.is_empty());
            let count = kept.iter().filter(|document| query.filter.matches(document)).count();
            assert_eq!(documents.count(&things, &query.filter).await, Ok(count as u64), "{query:#?}");
        }
        assert!(found_some > 100, "{found_some}");
    });
}

#[test]
fn pipelines_are_answered_as_the_evaluator_does() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let (things, chance) = (things("things"), &mut Chance::new(SEED));
        documents.prepare(&[&things]).await.unwrap();
        let kept = fill(&documents, &things, chance, 60).await;
        for _ in 0..300 {
            let pipeline = chance.pipeline();
            let found = documents.aggregate(&things, &pipeline).await;
            assert_eq!(found, Ok(pipeline.run(kept.clone())), "{pipeline:#?}");
        }
    });
}

#[test]
fn changes_are_made_as_the_evaluator_does() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let (things, chance) = (things("things"), &mut Chance::new(SEED));
        documents.prepare(&[&things]).await.unwrap();
        let mut kept = fill(&documents, &things, chance, 30).await;
        for _ in 0..100 {
            let (filter, update) = (chance.filter(1), chance.update());
            let mut changed = 0;
            for document in kept.iter_mut().filter(|document| filter.matches(document)) {
                update.apply(document).unwrap();
                changed += 1;
            }
            assert_eq!(documents.update(&things, &filter, &update).await, Ok(changed), "{filter:?} {update:?}");
            assert_eq!(all(&documents, &things).await, kept, "{filter:?} {update:?}");
        }
        let gone = Filter::Exists { field: at("n") };
        let count = kept.iter().filter(|document| gone.matches(document)).count() as u64;
        assert_eq!(documents.delete(&things, &gone).await, Ok(count));
        assert_eq!(documents.delete(&things, &gone).await, Ok(0));
    });
}

#[test]
fn what_cannot_be_changed_is_refused() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let things = things("things");
        documents.prepare(&[&things]).await.unwrap();
        documents.insert(&things, one(json!({ "_id": "a", "name": "a", "n": 999 }))).await.unwrap();
        for edit in [
            Edit::Inc { field: at("n"), by: Scalar::Integer(i64::MAX) },
            Edit::Inc { field: at("n"), by: Scalar::Integer(2) },
            Edit::Set { field: at("name"), value: json!("#") },
            Edit::Set { field: at("name"), value: json!(5) },
            Edit::Set { field: at("at"), value: json!("tomorrow") },
            Edit::Set { field: whole("extra"), value: json!({ "$where": 1 }) },
            Edit::Unset { field: at("name") },
        ] {
            let update = Update { edits: vec![edit] };
            let refused = documents.update(&things, &Filter::id("a"), &update).await;
            assert!(matches!(refused, Err(DocumentsError::Refused(_))), "{update:?} {refused:?}");
        }
        assert_eq!(all(&documents, &things).await[0]["n"], 999);
    });
}

#[test]
fn what_is_refused_keeps_nothing_else_out() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let unique =
            vec![index("one_n", IndexUse::Fields { keys: vec![key("n", Direction::Ascending)], is_unique: true })];
        let things = Collection::new("things", None, members(), unique, 1, schema());
        documents.prepare(&[&things]).await.unwrap();
        let thing = |id: &str, n: Value| object(json!({ "_id": id, "name": "x", "n": n }));
        let made = vec![
            thing("a", json!(1)),
            thing("a", json!(2)),
            thing("b", json!(1)),
            object(json!({ "_id": "c" })),
            thing("d", Value::Null),
            thing("e", Value::Null),
            thing("f", json!(3)),
        ];
        let outcomes = documents.insert(&things, made).await.unwrap();
        assert_eq!(outcomes[0], Ok(()));
        assert_eq!(outcomes[1], Err(DocumentsError::Duplicate(Taken::Id)));
        assert_eq!(outcomes[2], Err(DocumentsError::Duplicate(Taken::Index("one_n".to_owned()))));
        assert!(matches!(&outcomes[3], Err(DocumentsError::Refused(why)) if why.contains("name")), "{outcomes:?}");
        // Without the field, none is held to it.
        assert_eq!(outcomes[4..], [Ok(()), Ok(()), Ok(())]);
        let repeated = documents.insert(&things, vec![thing("a", json!(1)), thing("g", json!(4))]).await.unwrap();
        assert_eq!(repeated, [Err(DocumentsError::Duplicate(Taken::Id)), Ok(())]);
        assert_eq!(documents.insert(&things, Vec::new()).await, Ok(Vec::new()));
        assert_eq!(all(&documents, &things).await.len(), 5);
        let update = Update { edits: vec![Edit::Set { field: at("n"), value: json!(3) }] };
        let taken = DocumentsError::Duplicate(Taken::Index("one_n".to_owned()));
        assert_eq!(documents.update(&things, &Filter::id("a"), &update).await, Err(taken));
        let large = object(json!({ "_id": "h", "name": "x", "extra": "x".repeat(17 << 20) }));
        let outcomes = documents.insert(&things, vec![large, thing("i", json!(5))]).await.unwrap();
        assert!(matches!(&outcomes[..], [Err(DocumentsError::Refused(_)), Ok(())]), "{outcomes:?}");
    });
}

/// Both look at the same documents: MongoDB's validator is made of the schema, and is the one that cannot be bypassed.
#[test]
fn the_validator_agrees_with_the_schema() {
    within(LIMIT, async {
        let server = or_skip!(mongo::shared().await);
        let name = server.new_database();
        let documents = patient(&server.uri(&name));
        let (things, chance) = (things("things"), &mut Chance::new(SEED));
        documents.prepare(&[&things]).await.unwrap();
        let collection = server.client().await.database(&name).collection::<bson::Document>("things");
        let (mut taken, mut refused) = (0, 0);
        for n in 0..1000 {
            let mut document = chance.document(n);
            if n % 2 == 1 {
                chance.spoil(&mut document);
            }
            let admitted = things.admit(document.clone());
            // As it would be kept by somebody who checks nothing.
            document.entry("_schema").or_insert_with(|| 1.into());
            document.entry("_version").or_insert_with(|| 1.into());
            document.retain(|_, value| !value.is_null());
            let inserted = collection.insert_one(value::document(&things, &document)).await;
            assert_eq!(inserted.is_ok(), admitted.is_ok(), "{document:#?}\n{inserted:?}\n{admitted:?}");
            match admitted {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(taken > 500 && refused > 300, "{taken} taken, {refused} refused");
    });
}

impl Chance {
    /// Makes something of it that is, as a rule, not as the schema has it.
    fn spoil(&mut self, document: &mut Document) {
        let (name, value) = match self.below(22) {
            0 => ("name", json!("")),
            1 => ("name", json!("x".repeat(21))),
            2 => ("name", json!("日".repeat(20))),
            3 => ("name", json!("a#b")),
            4 => ("name", Value::Null),
            5 => ("n", json!(1001)),
            6 => ("n", json!(1.5)),
            7 => ("n", json!("1")),
            8 => ("f", json!(-100.0)),
            9 => ("f", json!(1)),
            10 => ("f", json!("1")),
            11 => ("ok", json!(1)),
            12 => ("at", json!("2026-13-01T00:00:00Z")),
            13 => ("owner", json!("nobody")),
            14 => ("place", json!({ "type": "Point", "coordinates": [181.0, 0.0] })),
            15 => ("place", json!({ "type": "Point", "coordinates": [0.0, 0.0], "name": "here" })),
            16 => ("tags", json!(["a", "e"])),
            17 => ("tags", json!(["a", "a", "a", "a", "a"])),
            18 => ("windows", json!([{ "score": 1 }])),
            19 => ("windows", json!([{ "start": "2026-01-01T00:00:00Z", "score": 4 }])),
            20 => ("born", json!({ "year": 1 })),
            _ => ("unknown", json!(1)),
        };
        document.insert(name.to_owned(), value);
    }
}

#[test]
fn another_version_is_not_held_to_the_schema() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let things = things("things");
        documents.prepare(&[&things]).await.unwrap();
        let old = json!({ "_id": "old", "_schema": 0, "_version": 1, "called": "x", "n": "three" });
        assert_eq!(documents.insert(&things, one(old.clone())).await.unwrap(), [Ok(())]);
        assert_eq!(all(&documents, &things).await, [object(old)]);
        // The next version brings its own validator, and takes what was written before.
        let next = Collection::new("things", None, members(), Vec::new(), 2, json!({ "required": ["n"] }));
        assert!(documents.drift(&[&next]).await.unwrap().contains(&difference("validator", Deviation::Different)));
        documents.prepare(&[&next]).await.unwrap();
        let made = vec![
            object(json!({ "_id": "v1", "_schema": 1, "name": "x" })),
            object(json!({ "_id": "v2", "name": "x" })),
            object(json!({ "_id": "v3", "n": 1 })),
        ];
        let outcomes = documents.insert(&next, made).await.unwrap();
        assert!(matches!(&outcomes[..], [Ok(()), Err(DocumentsError::Refused(_)), Ok(())]), "{outcomes:?}");
    });
}

fn difference(what: &str, how: Deviation) -> Difference {
    Difference { collection: "things".to_owned(), what: what.to_owned(), how }
}

#[test]
fn drift_is_found_in_both_directions() {
    within(LIMIT, async {
        let server = or_skip!(mongo::shared().await);
        let name = server.new_database();
        let documents = patient(&server.uri(&name));
        let things = things("things");
        let missing = ["validator", "by_n", "by_words", "by_place", "by_window"];
        let missing = missing.map(|what| difference(what, Deviation::Missing));
        assert_eq!(documents.drift(&[&things]).await.unwrap(), missing);
        for _ in 0..3 {
            documents.prepare(&[&things]).await.unwrap();
            assert_eq!(documents.drift(&[&things]).await, Ok(Vec::new()));
        }
        // Several at once, as when several instances start.
        let other = self::things("others");
        let several = &[&other];
        let prepared = join_all((0..4).map(|_| documents.prepare(several))).await;
        assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
        assert_eq!(documents.drift(&[&other]).await, Ok(Vec::new()));

        let database = server.client().await.database(&name);
        let collection = database.collection::<bson::Document>("things");
        collection.drop_index("by_words").await.unwrap();
        collection.drop_index("by_n").await.unwrap();
        let by_hand = |name: &str, keys| {
            let options = mongodb::options::IndexOptions::builder().name(name.to_owned()).build();
            mongodb::IndexModel::builder().keys(keys).options(options).build()
        };
        collection.create_index(by_hand("by_n", doc! { "n": 1 })).await.unwrap();
        collection.create_index(by_hand("by_hand", doc! { "ok": 1 })).await.unwrap();
        database.run_command(doc! { "collMod": "things", "validator": { "n": 1 } }).await.unwrap();
        let drifted = [
            difference("validator", Deviation::Different),
            difference("by_n", Deviation::Different),
            difference("by_words", Deviation::Missing),
            difference("by_hand", Deviation::Undeclared),
        ];
        assert_eq!(documents.drift(&[&things]).await.unwrap(), drifted);
        // What was not declared is left alone.
        documents.prepare(&[&things]).await.unwrap();
        assert_eq!(documents.drift(&[&things]).await.unwrap(), [drifted[3].clone()]);
    });
}

#[test]
fn what_cannot_be_made_is_said_when_it_is_declared() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let parallel = vec![index(
            "parallel",
            IndexUse::Fields {
                keys: vec![key("tags", Direction::Ascending), key("numbers", Direction::Ascending)],
                is_unique: false,
            },
        )];
        let odd = json!({ "properties": { "n": { "if": { "minimum": 3 } } } });
        for collection in [
            Collection::new("things", None, members(), parallel, 1, json!(true)),
            Collection::new("things", None, members(), Vec::new(), 1, odd),
        ] {
            let refused = documents.prepare(&[&things("first"), &collection]).await;
            assert!(matches!(refused, Err(DocumentsError::Unsupported(_))), "{refused:?}");
        }
        assert_eq!(documents.drift(&[&things("first")]).await.unwrap().len(), 5, "nothing was made");
    });
}

#[test]
fn what_has_expired_vanishes() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let ttl = vec![index("expires", IndexUse::Ttl { field: at("at"), after: Duration::from_secs(3600) })];
        let things = Collection::new("things", None, members(), ttl, 1, json!(true));
        documents.prepare(&[&things]).await.unwrap();
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let ago = |minutes: i64| Scalar::Time(Timestamp::new(now - chrono::Duration::minutes(minutes))).json();
        let made = vec![
            object(json!({ "_id": "old", "at": ago(61) })),
            object(json!({ "_id": "new", "at": ago(59) })),
            object(json!({ "_id": "timeless" })),
        ];
        documents.insert(&things, made).await.unwrap();
        eventually("it vanishes", PATIENCE, async || (all(&documents, &things).await.len() == 2).then_some(())).await;
        assert_eq!(documents.sweep(&things, Timestamp::new(now)).await, Ok(0), "nobody else has to");
    });
}

fn insert(things: &Collection, id: &str) -> Write {
    let document = object(json!({ "_id": id, "name": "x", "n": 0 }));
    Write::Insert { collection: things.clone(), document }
}

fn increase(things: &Collection, id: &str, must_match: bool) -> Write {
    let update = Update { edits: vec![Edit::Inc { field: at("n"), by: Scalar::Integer(1) }] };
    Write::Update { collection: things.clone(), filter: Filter::id(id), update, must_match }
}

fn delete(things: &Collection, id: &str, must_match: bool) -> Write {
    Write::Delete { collection: things.clone(), filter: Filter::id(id), must_match }
}

async fn ids(documents: &MongoDocuments, things: &Collection) -> Vec<String> {
    let ids = all(documents, things).await.into_iter();
    ids.map(|document| document["_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn several_writes_are_done_together_or_not_at_all() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let (things, others) = (things("things"), things("others"));
        documents.prepare(&[&things, &others]).await.unwrap();
        let together =
            vec![insert(&things, "a"), insert(&others, "b"), increase(&things, "a", true), delete(&others, "c", false)];
        assert_eq!(documents.write(together).await, Ok(vec![1, 1, 1, 0]));
        for (last, error) in [
            (insert(&others, "b"), DocumentsError::Duplicate(Taken::Id)),
            (increase(&others, "z", true), DocumentsError::NoMatch(2)),
            (delete(&others, "z", true), DocumentsError::NoMatch(2)),
        ] {
            let writes = vec![insert(&things, "new"), increase(&things, "a", true), last];
            assert_eq!(documents.write(writes).await, Err(error));
            assert_eq!(ids(&documents, &things).await, ["a"]);
            assert_eq!(all(&documents, &things).await[0]["n"], 1);
        }
        let spoiled = Write::Insert { collection: things.clone(), document: object(json!({ "_id": "s" })) };
        let refused = documents.write(vec![insert(&things, "new"), spoiled]).await;
        assert!(matches!(refused, Err(DocumentsError::Refused(_))), "{refused:?}");
        assert_eq!(ids(&documents, &things).await, ["a"]);
        assert_eq!(documents.write(Vec::new()).await, Ok(Vec::new()));
        assert_eq!(documents.write(vec![increase(&things, "z", true)]).await, Err(DocumentsError::NoMatch(0)));
    });
}

#[test]
fn a_transaction_that_others_got_in_the_way_of_is_tried_again() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let documents = patient(&server.uri("any"));
        let things = things("things");
        documents.prepare(&[&things]).await.unwrap();
        documents.write(vec![insert(&things, "a")]).await.unwrap();
        let both = || vec![increase(&things, "a", true), increase(&things, "a", true)];
        server
            .fail(
                3,
                doc! { "failCommands": ["update"], "errorCode": 112, "errorLabels": ["TransientTransactionError"] },
            )
            .await;
        assert_eq!(documents.write(both()).await, Ok(vec![1, 1]));
        assert_eq!(all(&documents, &things).await[0]["n"], 2);
        let unknown = doc! { "failCommands": ["commitTransaction"], "errorCode": 50,
        "errorLabels": ["UnknownTransactionCommitResult", "RetryableWriteError"] };
        server.fail(2, unknown).await;
        assert_eq!(documents.write(both()).await, Ok(vec![1, 1]), "a commit is done once");
        assert_eq!(all(&documents, &things).await[0]["n"], 4);

        let written = join_all((0..8).map(|_| documents.write(both()))).await;
        let done = written.iter().filter(|written| written.is_ok()).count();
        assert!(
            written.iter().flat_map(|written| written.as_ref().err()).all(|error| *error == DocumentsError::Conflict)
        );
        assert!(done > 0);
        assert_eq!(all(&documents, &things).await[0]["n"], json!(4 + 2 * done), "all or nothing, and nothing twice");
    });
}

#[test]
fn a_standalone_server_says_what_it_needs() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::standalone().await);
        let documents = patient(&server.uri("any"));
        let things = things("things");
        documents.prepare(&[&things]).await.unwrap();
        let two = vec![insert(&things, "a"), insert(&things, "b")];
        assert_eq!(documents.write(two).await, Err(DocumentsError::NeedsReplicaSet));
        assert!(all(&documents, &things).await.is_empty());
        // One at a time needs none.
        assert_eq!(documents.write(vec![insert(&things, "a")]).await, Ok(vec![1]));
        assert_eq!(documents.write(vec![increase(&things, "a", true)]).await, Ok(vec![1]));
        assert_eq!(documents.insert(&things, one(json!({ "_id": "b", "name": "b" }))).await.unwrap(), [Ok(())]);
        assert_eq!(documents.write(vec![delete(&things, "a", true)]).await, Ok(vec![1]));
    });
}

#[test]
fn an_index_is_used() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let (things, chance) = (things("things"), &mut Chance::new(SEED));
        documents.prepare(&[&things]).await.unwrap();
        fill(&documents, &things, chance, 200).await;
        let integer = |is, value| Filter::Compare { field: at("n"), is, value: Scalar::Integer(value) };
        let circle = Area::Circle { center: chance.point(), metres: 1000.0 };
        let start =
            Filter::Compare { field: at("windows.start"), is: Comparison::Lt, value: Scalar::Time(chance.instant()) };
        for filter in [
            Filter::id("id001"),
            integer(Comparison::Eq, 2),
            Filter::All(vec![integer(Comparison::Gt, 0), integer(Comparison::Lt, 2)]),
            Filter::Text { words: words("blue bird") },
            Filter::Within { field: at("place"), area: circle },
            start,
        ] {
            let query = Query { filter, ..Query::default() };
            let stages = documents.explain(&things, &query).await.unwrap();
            let is_scan = stages.iter().any(|stage| stage == "COLLSCAN");
            let is_index = stages.iter().any(|stage| stage.starts_with("IXSCAN") || stage == "IDHACK");
            assert!(is_index && !is_scan, "{query:?} {stages:?}");
        }
    });
}

/// The three questions that are asked of the log every day.
#[test]
fn the_log_is_looked_up_by_its_indexes() {
    within(LIMIT, async {
        let documents = or_skip!(documents().await);
        let logs = LogEntry::collection();
        documents.prepare(&[logs]).await.unwrap();
        let mut chance = Chance::new(SEED);
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let entries = (0..500).map(|n| {
            object(json!({
                "_id": format!("{n}"),
                "timestamp": Scalar::Time(Timestamp::new(now - chrono::Duration::seconds(n))).json(),
                "level": chance.one(&["info", "warning", "error"]),
                "user_id": chance.owner(),
                "endpoint": chance.one(&["/v1/users", "/v1/tags"]),
                "method": chance.one(&["GET", "POST"]),
            }))
        });
        let outcomes = documents.insert(logs, entries.collect()).await.unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes[0]);
        let owner = chance.owner().parse::<UserId>().unwrap();
        let since = Timestamp::new(now - chrono::Duration::minutes(1));
        for (query, index) in [
            (
                LogEntry::TIMESTAMP
                    .gte(since)
                    .and(LogEntry::LEVEL.eq(Level::Error))
                    .query()
                    .sort(LogEntry::TIMESTAMP.descending()),
                "timestamp_level",
            ),
            (LogEntry::USER_ID.eq(owner).query().sort(LogEntry::TIMESTAMP.descending()), "user_id_timestamp"),
            (LogEntry::ENDPOINT.eq("/v1/users").and(LogEntry::METHOD.eq("GET")).query(), "endpoint_method"),
        ] {
            let query = query.limit(50).into_inner();
            let plan = documents.explain(logs, &query).await.unwrap();
            assert!(plan.iter().any(|stage| stage == &format!("IXSCAN {index}")), "{query:?} {plan:?}");
            assert!(!plan.iter().any(|stage| stage == "COLLSCAN"), "{plan:?}");
            assert!(!documents.find(logs, &query).await.unwrap().is_empty());
        }
    });
}

#[test]
fn named_connections_have_databases_and_pools_of_their_own() {
    within(LIMIT, async {
        let (server, other) = (or_skip!(Mongo::private().await), or_skip!(mongo::shared().await));
        let app = other.new_database();
        let connection = |uri: String, app: &str| {
            let uri = format!("{uri}&appName={app}");
            MongoConnection::new(MongoOptions { min_connections: 2, max_connections: 4, ..MongoOptions::new(uri) })
        };
        let named = [("logs".to_owned(), connection(other.uri(&app), &app))];
        let usual = connection(server.uri("any"), "usual");
        let documents = MongoDocuments::new(usual).with_named(named.into());
        let logs = Collection::new("logs", Some("logs"), members(), Vec::new(), 1, json!(true));
        let (things, unknown) =
            (things("things"), Collection::new("others", Some("none"), members(), Vec::new(), 1, json!(true)));
        documents.prepare(&[&logs, &things, &unknown]).await.unwrap();
        for collection in [&logs, &things, &unknown] {
            documents.insert(collection, one(json!({ "_id": "a", "name": "a" }))).await.unwrap();
            assert_eq!(all(&documents, collection).await.len(), 1);
        }
        let names = async |client: mongodb::Client, database: &str| {
            let mut names = client.database(database).list_collection_names().await.unwrap();
            names.sort();
            names
        };
        assert_eq!(names(other.client().await, &app).await, ["logs"]);
        assert_eq!(names(server.client().await, "any").await, ["others", "things"]);
        assert!(server.connections("usual").await >= 2 && other.connections(&app).await >= 2);
        let both = vec![insert(&logs, "b"), insert(&things, "b")];
        assert!(matches!(documents.write(both).await, Err(DocumentsError::Unsupported(_))));
        documents.close().await;
        eventually("no connection is left", PATIENCE, async || {
            (server.connections("usual").await + other.connections(&app).await == 0).then_some(())
        })
        .await;
        assert_eq!(documents.ping().await, Err(DocumentsError::Unavailable));
    });
}

#[test]
fn a_server_that_is_not_there_holds_nobody_up() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        let limit = Duration::from_millis(500);
        let options = MongoOptions { server_selection_timeout: limit, ..MongoOptions::new(server.uri("any")) };
        let documents = MongoDocuments::new(MongoConnection::new(options));
        let things = things("things");
        eventually("it is prepared", PATIENCE, async || documents.prepare(&[&things]).await.ok()).await;
        documents.write(vec![insert(&things, "a"), insert(&things, "b")]).await.unwrap();
        server.kill().await;
        let start = Instant::now();
        for _ in 0..50 {
            let error = documents.insert(&things, one(json!({ "_id": "c", "name": "c" }))).await.unwrap_err();
            assert!(error.is_passing(), "{error}");
        }
        assert!(start.elapsed() < limit * 8, "{:?}", start.elapsed());
        server.start().await;
        eventually("it is used again", PATIENCE, async || documents.ping().await.ok()).await;
        assert_eq!(ids(&documents, &things).await, ["a", "b"]);
    });
}
