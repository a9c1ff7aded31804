//! Documents and questions made by chance, about few values, so that many are equal.

use domain::{
    Day, Timestamp,
    document::{
        After, Area, Comparison, Document, Edit, FieldPath, Filter, Fold, GroupKey, Kind, Pipeline, Point, Polygon,
        Query, Scalar, SortBy, SortKey, Stage, Unit, Update, words,
    },
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{field, sample};
use crate::fixture::{instant, read};

const TEXTS: &[&str] = &["", "a", "A", "ab", "ä", "b", "Z", "é", "𝄞", "ﬀ", "10", "9", "%", "a'b\"\\"];
const NOTES: &[&str] =
    &["the quick brown fox", "Quick, quick!", "le café brun", "", "fox & cafe: the end", "öde Füchse"];
const FLOATS: &[f64] = &[0.0, -0.5, 0.25, 1.0, 1.5, 100.75, -3.0];
const RATIOS: &[f64] = &[0.1, 0.2, 0.30000000000000004, 0.3, 1e16, -1e300, 5e-324, 1.0, 2.7182818284590455];
const INTEGERS: &[i64] = &[-5, 0, 1, 2, 3, 100, 999];
const LARGE: &[i64] = &[i64::MIN, i64::MAX, i64::MAX - 1, 0, 9_007_199_254_740_993, 9_007_199_254_740_992];
const TIMES: &[&str] = &[
    "1969-12-31T23:59:59.999Z",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.001Z",
    "2026-01-04T23:59:59.999Z",
    "2026-01-05T00:00:00Z",
    "2026-01-31T12:30:00Z",
    "2026-01-31T12:59:00Z",
    "2026-02-01T00:30:00+01:00",
];
const DAYS: &[&str] = &["0001-01-01", "1999-12-31", "2024-02-29", "2026-01-31"];
const OWNERS: &[Uuid] = &[Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(u128::MAX)];
/// Near to each other, on both sides of the line of dates, and at a pole.
const PLACES: &[(f64, f64)] = &[
    (16.37, 48.21),
    (16.5, 48.0),
    (14.29, 48.31),
    (179.9, -17.0),
    (-179.9, -17.5),
    (0.0, 89.5),
    (120.0, 89.0),
    (0.0, 0.0),
];

fn pick<T: Copy>(chance: &mut StdRng, from: &[T]) -> T {
    *from.choose(chance).unwrap()
}

fn point(chance: &mut StdRng) -> Point {
    let (longitude, latitude) = pick(chance, PLACES);
    Point::new(longitude, latitude).unwrap()
}

/// The fields that can be compared, sorted by and grouped by.
fn scalars() -> Vec<FieldPath> {
    vec![
        field("_id", Kind::Text),
        field("text", Kind::Text),
        field("count", Kind::Integer),
        field("large", Kind::Integer),
        field("amount", Kind::Float),
        field("ratio", Kind::Float),
        field("truth", Kind::Boolean),
        field("at", Kind::Time),
        field("day", Kind::Day),
        field("owner", Kind::Id),
        field("inner.text", Kind::Text),
        field("inner.count", Kind::Integer),
    ]
}

fn scalar(chance: &mut StdRng, field: &FieldPath) -> Scalar {
    match field.kind {
        Kind::Integer if field.path == "large" => Scalar::Integer(pick(chance, LARGE)),
        Kind::Integer => Scalar::Integer(pick(chance, INTEGERS)),
        Kind::Float if field.path == "ratio" => Scalar::Float(pick(chance, RATIOS)),
        Kind::Float => Scalar::Float(pick(chance, FLOATS)),
        Kind::Boolean => Scalar::Boolean(chance.random()),
        Kind::Time => Scalar::Time(instant(pick(chance, TIMES))),
        Kind::Day => Scalar::Day(read::<Day>(json!(pick(chance, DAYS)))),
        Kind::Id => Scalar::Id(pick(chance, OWNERS)),
        _ if field.path == "_id" => Scalar::Text(format!("{:03}", chance.random_range(0..130))),
        _ => Scalar::Text(pick(chance, TEXTS).to_owned()),
    }
}

/// A document in which any field may be missing, or null.
pub(super) fn document(chance: &mut StdRng, id: &str) -> Document {
    let mut fields = Map::new();
    for path in scalars().into_iter().filter(|field| !field.path.contains(['_', '.'])) {
        match chance.random_range(0..10) {
            0 | 1 => {}
            2 => drop(fields.insert(path.path.into_owned(), Value::Null)),
            _ => drop(fields.insert(path.path.to_string(), scalar(chance, &path).json())),
        }
    }
    let part = |chance: &mut StdRng| {
        let mut part = json!({"name": pick(chance, TEXTS)});
        if chance.random_bool(0.8) {
            part["count"] = pick(chance, INTEGERS).into();
        }
        part
    };
    if chance.random_bool(0.7) {
        fields.insert("note".to_owned(), pick(chance, NOTES).into());
    }
    if chance.random_bool(0.8) {
        fields.insert("place".to_owned(), serde_json::to_value(point(chance)).unwrap());
    }
    if chance.random_bool(0.7) {
        let tags = (0..chance.random_range(0..4)).map(|_| pick(chance, TEXTS)).collect::<Vec<_>>();
        fields.insert("tags".to_owned(), json!(tags));
    }
    if chance.random_bool(0.7) {
        let mut inner = json!({"count": pick(chance, INTEGERS)});
        if chance.random_bool(0.7) {
            inner["text"] = pick(chance, TEXTS).into();
        }
        fields.insert("inner".to_owned(), inner);
    }
    if chance.random_bool(0.7) {
        let parts = (0..chance.random_range(0..4)).map(|_| part(chance)).collect();
        fields.insert("parts".to_owned(), parts);
    }
    if chance.random_bool(0.3) {
        fields.insert("anything".to_owned(), json!({"x": [1, null, {"y": 2.5}]}));
    }
    sample(id, fields.into())
}

fn compare(chance: &mut StdRng, field: FieldPath) -> Filter {
    let is = pick(
        chance,
        &[Comparison::Eq, Comparison::Eq, Comparison::Gt, Comparison::Gte, Comparison::Lt, Comparison::Lte],
    );
    let value = scalar(chance, &field);
    Filter::Compare { field, is, value }
}

/// Conditions of every form, within each other.
pub(super) fn filter(chance: &mut StdRng, depth: u32) -> Filter {
    let some =
        |chance: &mut StdRng, depth| (0..chance.random_range(0..4)).map(|_| filter(chance, depth)).collect::<Vec<_>>();
    let form = if depth == 0 { chance.random_range(4..16) } else { chance.random_range(0..16) };
    match form {
        0 | 1 => Filter::All(some(chance, depth - 1)),
        2 => Filter::Any(some(chance, depth - 1)),
        3 => Filter::Not(Box::new(filter(chance, depth - 1))),
        4..=7 => {
            let field = scalars().choose(chance).unwrap().clone();
            compare(chance, field)
        }
        8 => {
            let field = scalars().choose(chance).unwrap().clone();
            let values = (0..chance.random_range(0..4)).map(|_| scalar(chance, &field)).collect();
            Filter::In { field, values }
        }
        9 => {
            let field =
                [field("tags", Kind::Text), field("parts.name", Kind::Text), field("parts.count", Kind::Integer)];
            let field = field.choose(chance).unwrap().clone();
            compare(chance, field)
        }
        10 => {
            let field = [
                field("note", Kind::Text),
                field("inner", Kind::Json),
                field("tags", Kind::Json),
                field("inner.text", Kind::Text),
            ];
            Filter::Exists { field: field.choose(chance).unwrap().clone() }
        }
        11 => {
            let both = vec![compare(chance, field("name", Kind::Text)), compare(chance, field("count", Kind::Integer))];
            Filter::Element { field: field("parts", Kind::Json), matches: Box::new(Filter::All(both)) }
        }
        12 => {
            let matches = Box::new(compare(chance, field("", Kind::Text)));
            Filter::Element { field: field("tags", Kind::Json), matches }
        }
        13 => Filter::Text { words: words(pick(chance, NOTES)) },
        14 => {
            let metres = pick(chance, &[0.0, 1_000.0, 30_000.0, 200_000.0, 3e6, 2.1e7]);
            Filter::Within { field: field("place", Kind::Point), area: Area::Circle { center: point(chance), metres } }
        }
        _ => {
            let (longitude, latitude) =
                pick(chance, &[(16.0, 48.0), (15.0, 47.0), (-175.0, -16.0), (5.0, 2.0), (10.0, 70.0)]);
            let size = pick(chance, &[0.45, 2.3, 11.7, 19.1]);
            let corner = |(x, y): (f64, f64)| {
                let longitude = (longitude + x * size + 540.0).rem_euclid(360.0) - 180.0;
                Point::new(longitude, latitude + y * size).unwrap()
            };
            let corners = [(-1.0, -0.9), (0.95, -1.0), (1.0, 1.0), (0.1, 0.3), (-1.0, 0.9)].map(corner);
            Filter::Within {
                field: field("place", Kind::Point),
                area: Area::Polygon(Polygon::new(corners.into()).unwrap()),
            }
        }
    }
}

fn sort(chance: &mut StdRng) -> Vec<SortKey> {
    let key = |chance: &mut StdRng| {
        let field = scalars().choose(chance).unwrap().clone();
        SortKey { by: SortBy::Field(field), is_descending: chance.random() }
    };
    (0..chance.random_range(0..3)).map(|_| key(chance)).collect()
}

/// A question about some documents.
pub(super) fn query(chance: &mut StdRng, documents: &[Document]) -> Query {
    let mut query = Query { filter: filter(chance, 2), sort: sort(chance), ..Query::default() };
    match chance.random_range(0..10) {
        0 => query.sort = vec![SortKey { by: SortBy::Rank { words: words(pick(chance, NOTES)) }, is_descending: true }],
        1 => {
            let by = SortBy::Distance { field: field("place", Kind::Point), from: point(chance) };
            query.sort = vec![SortKey { by, is_descending: chance.random() }];
        }
        2..=6 => query.after = After::document(&query, documents.choose(chance).unwrap()),
        _ => {}
    }
    query.skip = pick(chance, &[0, 0, 0, 1, 7]);
    query.limit = pick(chance, &[None, None, Some(0), Some(1), Some(5), Some(50)]);
    if chance.random_bool(0.2) {
        query.fields = Some(vec!["text".into(), "inner".into(), "nothing".into()]);
    }
    query
}

fn fold(chance: &mut StdRng) -> Fold {
    let number = pick(chance, &["count", "inner.count", "amount"]);
    let number = field(number, if number == "amount" { Kind::Float } else { Kind::Integer });
    let any = scalars().choose(chance).unwrap().clone();
    match chance.random_range(0..6) {
        0 => Fold::Count,
        1 => Fold::Sum(number),
        2 => Fold::Avg(number),
        3 => Fold::Min(any),
        4 => Fold::Max(any),
        _ => Fold::CountDistinct(any),
    }
}

fn group_key(chance: &mut StdRng) -> GroupKey {
    if chance.random_bool(0.3) {
        let unit = pick(chance, &[Unit::Hour, Unit::Day, Unit::Week, Unit::Month]);
        return GroupKey::Bucket { field: field("at", Kind::Time), unit };
    }
    GroupKey::Field(scalars().choose(chance).unwrap().clone())
}

fn stages(chance: &mut StdRng) -> Vec<Stage> {
    let mut stages = vec![Stage::Match(filter(chance, 1))];
    if chance.random_bool(0.3) {
        stages.push(Stage::Sort(sort(chance)));
        stages.push(Stage::Limit(chance.random_range(0..60)));
    }
    match chance.random_range(0..6) {
        0 => stages.push(Stage::Count("count".into())),
        1 => {}
        _ => {
            let names = ["key", "other"];
            let keys = names[..chance.random_range(0..3)].iter().map(|name| ((*name).into(), group_key(chance)));
            let keys = keys.collect::<Vec<_>>();
            let mut folds = vec![("documents".into(), Fold::Count)];
            folds.extend((0..chance.random_range(0..3)).map(|n| (format!("fold{n}").into(), fold(chance))));
            stages.push(Stage::Group { keys, folds });
            let count = || field("documents", Kind::Integer);
            if chance.random_bool(0.3) {
                let value = Scalar::Integer(chance.random_range(0..10));
                stages.push(Stage::Match(Filter::Compare { field: count(), is: Comparison::Gt, value }));
            }
            if chance.random_bool(0.5) {
                stages.push(Stage::Sort(vec![SortKey { by: SortBy::Field(count()), is_descending: chance.random() }]));
                stages.push(Stage::Limit(chance.random_range(1..5)));
            }
        }
    }
    stages
}

/// Stages of every form.
pub(super) fn pipeline(chance: &mut StdRng) -> Pipeline {
    if chance.random_bool(0.2) {
        let facets = ["one", "two"].map(|name| (name.into(), Pipeline { stages: stages(chance) }));
        return Pipeline { stages: vec![Stage::Match(filter(chance, 1)), Stage::Facet(facets.into())] };
    }
    Pipeline { stages: stages(chance) }
}

/// Changes of every form, of different fields.
pub(super) fn update(chance: &mut StdRng) -> Update {
    let tags = || field("tags", Kind::List(Box::new(Kind::Text)));
    let mut edits = Vec::new();
    if chance.random_bool(0.5) {
        let field = pick(chance, &["text", "inner.text"]);
        edits.push(Edit::Set { field: super::field(field, Kind::Text), value: pick(chance, TEXTS).into() });
    }
    if chance.random_bool(0.3) {
        edits.push(Edit::Unset { field: field(pick(chance, &["truth", "day", "place"]), Kind::Json) });
    }
    if chance.random_bool(0.4) {
        edits.push(Edit::Inc { field: field("count", Kind::Integer), by: Scalar::Integer(pick(chance, INTEGERS)) });
    }
    if chance.random_bool(0.3) {
        edits.push(Edit::Inc { field: field("amount", Kind::Float), by: Scalar::Float(pick(chance, FLOATS)) });
    }
    match chance.random_range(0..3) {
        0 => edits.push(Edit::Push { field: tags(), value: pick(chance, TEXTS).into() }),
        1 => edits.push(Edit::Pull { field: tags(), value: Scalar::Text(pick(chance, TEXTS).to_owned()) }),
        _ => {}
    }
    if chance.random_bool(0.2) {
        let at = Scalar::Time(read::<Timestamp>(json!(pick(chance, TIMES)))).json();
        edits.push(Edit::Set { field: field("at", Kind::Time), value: at });
    }
    Update { edits }
}
