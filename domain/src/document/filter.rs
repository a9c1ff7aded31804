//! Which documents.

use std::cmp::Ordering;

use serde_json::Value;

use super::{
    Document, WORDS,
    geo::{Area, Point},
    kind::{FieldPath, Kind, Ordered, Owned, Scalar, order},
};

/// What documents have to be like.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these hold; of none, everything.
    All(Vec<Self>),
    /// Any of these holds; of none, nothing.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The field has a value of the same kind which is, beside the given one, so. Through lists: any of its values.
    Compare { field: FieldPath, is: Comparison, value: Scalar },
    /// The field has one of these values.
    In { field: FieldPath, values: Vec<Scalar> },
    /// The field is there and not null. It is in no list, but may be one.
    Exists { field: FieldPath },
    /// The field is a list, and this holds for one of its items: its paths begin at the item.
    Element { field: FieldPath, matches: Box<Self> },
    /// The document has any of these [`words`](super::words), in [`WORDS`](super::WORDS).
    Text { words: Vec<String> },
    /// The field is a point in there. It is in no list.
    Within { field: FieldPath, area: Area },
}

/// How two values are beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Filter {
    /// Everything.
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// The document with this id.
    pub fn id(id: impl Into<String>) -> Self {
        Self::Compare { field: FieldPath::id(), is: Comparison::Eq, value: Scalar::Text(id.into()) }
    }
}

impl Comparison {
    /// Whether a value that is beside another in this order is so.
    fn takes(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
        }
    }
}

/// What a path begins at.
#[derive(Clone, Copy)]
enum Root<'a> {
    Document(&'a Document),
    Item(&'a Value),
}

impl Filter {
    /// Whether a document is so. This is what a filter means.
    pub fn matches(&self, document: &Document) -> bool {
        self.holds(Root::Document(document))
    }

    fn holds(&self, root: Root<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.holds(root)),
            Self::Any(any) => any.iter().any(|filter| filter.holds(root)),
            Self::Not(not) => !not.holds(root),
            Self::Compare { field, is, value } => is_any(root, field, is, value),
            Self::In { field, values } => values.iter().any(|value| is_any(root, field, &Comparison::Eq, value)),
            Self::Exists { field } => reach(root, field).iter().any(|value| !value.is_null()),
            Self::Element { field, matches } => reach(root, field)
                .into_iter()
                .filter_map(Value::as_array)
                .flatten()
                .any(|item| matches.holds(Root::Item(item))),
            Self::Text { words } => match root {
                Root::Document(document) => rank(document, words) > 0,
                Root::Item(_) => false,
            },
            Self::Within { field, area } => {
                reach(root, field).into_iter().any(|value| Point::of(value).is_some_and(|point| area.contains(point)))
            }
        }
    }
}

fn is_any(root: Root<'_>, field: &FieldPath, is: &Comparison, value: &Scalar) -> bool {
    let kind = value.kind();
    let wanted = Owned::from(value);
    let is_so = |value: &Value| {
        Ordered::of(value, &kind).is_some_and(|found| {
            // Values of other types stand elsewhere in the order, and are neither greater nor less.
            is.takes(order(found, wanted.as_ordered()))
        })
    };
    reach(root, field).into_iter().any(|value| match value {
        Value::Array(items) => items.iter().any(is_so),
        value => is_so(value),
    })
}

/// What is at the end of a path: through lists, in any of their items.
fn reach<'a>(root: Root<'a>, field: &FieldPath) -> Vec<&'a Value> {
    let names = field.names().collect::<Vec<_>>();
    let mut found = Vec::new();
    match (root, names.split_first()) {
        (Root::Document(document), Some((name, rest))) => {
            if let Some(value) = document.get(*name) {
                walk(value, rest, &mut found);
            }
        }
        (Root::Document(_), None) => {}
        (Root::Item(value), _) => walk(value, &names, &mut found),
    }
    found
}

fn walk<'a>(value: &'a Value, names: &[&str], found: &mut Vec<&'a Value>) {
    match (names.split_first(), value) {
        (None, value) => found.push(value),
        (Some((name, rest)), Value::Object(fields)) => {
            if let Some(value) = fields.get(*name) {
                walk(value, rest, found);
            }
        }
        (Some(_), Value::Array(items)) => items.iter().for_each(|item| walk(item, names, found)),
        (Some(_), _) => {}
    }
}

/// The value of a field that is in no list.
pub(crate) fn value_of<'a>(document: &'a Document, field: &FieldPath) -> Option<&'a Value> {
    let mut names = field.names();
    let first = document.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// The value of a scalar field that is in no list.
pub(crate) fn scalar_of<'a>(document: &'a Document, field: &FieldPath) -> Option<Ordered<'a>> {
    Ordered::of(value_of(document, field)?, &field.kind)
}

/// How many of the words a document has.
pub(crate) fn rank(document: &Document, words: &[String]) -> usize {
    let held = document.get(WORDS).and_then(Value::as_array);
    let holds = |word: &&String| held.is_some_and(|held| held.iter().any(|held| held.as_str() == Some(word)));
    words.iter().filter(holds).count()
}

/// The texts in a field, of a list all.
pub(crate) fn texts<'a>(document: &'a Document, field: &FieldPath) -> Vec<&'a str> {
    let found = reach(Root::Document(document), field);
    found
        .into_iter()
        .flat_map(|value| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            value => Vec::from_iter(value.as_str()),
        })
        .collect()
}

/// What the items of a kind are, through all lists.
pub(crate) fn item(kind: &Kind) -> &Kind {
    match kind {
        Kind::List(inner) => item(inner),
        kind => kind,
    }
}
