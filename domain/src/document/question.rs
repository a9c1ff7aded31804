//! A question in words, as an address asks it: fields by their paths, values as text.

use super::{
    After, Area, Collection, Comparison, Documented, FieldPath, Filter, IndexUse, Kind, Member, Point, Query, Scalar,
    SortBy, SortKey, Typed, words,
};
use crate::error::{Error, Result};

/// Which documents are asked for, in which order, and how many.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// What fields have to be: the path, how, and the value. Those on fields inside of the same list are about one item
    /// of it together.
    pub conditions: Vec<(String, Comparison, String)>,
    /// Words of which documents have any. Those with most of them come first, unless another order is asked for.
    pub words: Option<String>,
    /// A place from which documents are not farther than so many metres. The nearest come first, unless another order is
    /// asked for.
    pub near: Option<(Point, f64)>,
    /// The path of a field, behind a minus if descending.
    pub sort: Option<String>,
    /// How many at most.
    pub limit: Option<u64>,
    /// Only what comes after this place in the order.
    pub after: Option<After>,
}

impl Question {
    /// The same for documents of a kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it asks for what is not there: its pointer names the part.
    pub fn query<D: Documented>(&self) -> Result<Typed<D, Query>> {
        let collection = D::collection();
        let mut all = conditions(collection, &self.conditions)?;
        let mut usual = None;
        if let Some(text) = &self.words {
            let has_words = collection.indexes().iter().any(|index| matches!(index.is, IndexUse::Text { .. }));
            if !has_words {
                return Err(Error::invalid("words", "words", "cannot be asked for here"));
            }
            let words = words(text);
            all.push(Filter::Text { words: words.clone() });
            usual = Some(SortKey { by: SortBy::Rank { words }, is_descending: true });
        }
        if let Some((center, metres)) = self.near {
            let place = collection.indexes().iter().find_map(|index| match &index.is {
                IndexUse::Geo { field } => Some(field.clone()),
                IndexUse::Fields { .. } | IndexUse::Text { .. } | IndexUse::Ttl { .. } => None,
            });
            let field = place.ok_or_else(|| Error::invalid("near", "near", "cannot be asked for here"))?;
            all.push(Filter::Within { field: field.clone(), area: Area::Circle { center, metres } });
            usual = Some(SortKey { by: SortBy::Distance { field, from: center }, is_descending: false });
        }
        let sort = match &self.sort {
            Some(text) => Some(order(collection, text)?),
            None => usual,
        };
        let (limit, after) = (self.limit, self.after.clone());
        let sort = sort.into_iter().collect();
        Ok(Typed::new(Query { filter: Filter::All(all), sort, after, limit, ..Query::default() }))
    }
}

impl Collection {
    /// The fields that can be asked for by their values, and what those are.
    pub fn askable(&self) -> Vec<FieldPath> {
        let mut found = Vec::new();
        gather(self.members().unwrap_or_default(), "", &mut found);
        found
    }

    /// The fields that documents can be put in order by.
    pub fn sortable(&self) -> Vec<FieldPath> {
        let is_in_list =
            |field: &FieldPath| self.look_up(&field.path).is_none_or(|(kind, through)| through || !kind.is_scalar());
        self.askable().into_iter().filter(|field| !is_in_list(field)).collect()
    }
}

fn gather(members: &[Member], prefix: &str, found: &mut Vec<FieldPath>) {
    for Member { name, kind } in members {
        let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        match item(kind) {
            Kind::Object(members) => gather(members, &path, found),
            kind if kind.is_scalar() => found.push(FieldPath::new(path, kind.clone())),
            _ => {}
        }
    }
}

/// What a list is a list of; anything else itself.
fn item(kind: &Kind) -> &Kind {
    match kind {
        Kind::List(inner) => item(inner),
        other => other,
    }
}

/// A condition, before it is known what is said of the same item.
struct Condition {
    /// The list that it is inside of.
    list: Option<String>,
    filter: Filter,
}

fn conditions(collection: &Collection, asked: &[(String, Comparison, String)]) -> Result<Vec<Filter>> {
    let found = asked.iter().map(|(path, is, text)| condition(collection, path, *is, text));
    let mut alone = Vec::new();
    let mut together = Vec::<(String, Vec<Filter>)>::new();
    for Condition { list, filter } in found.collect::<Result<Vec<_>>>()? {
        match list {
            None => alone.push(filter),
            Some(list) => match together.iter_mut().find(|(known, _)| *known == list) {
                Some((_, filters)) => filters.push(filter),
                None => together.push((list, vec![filter])),
            },
        }
    }
    let elements = together.into_iter().map(|(path, filters)| {
        let kind = collection.look_up(&path).map_or(Kind::Json, |(kind, _)| kind);
        Filter::Element { field: FieldPath::new(path, kind), matches: Box::new(Filter::All(filters)) }
    });
    alone.extend(elements);
    Ok(alone)
}

fn condition(collection: &Collection, path: &str, is: Comparison, text: &str) -> Result<Condition> {
    let name = format!("filter[{path}]");
    let askable = collection.askable();
    let Some(field) = askable.iter().find(|field| field.path == path) else {
        let known = askable.iter().map(|field| &*field.path).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid(&name, "filter", format!("is not known here; known are {known}")));
    };
    let value = scalar(&field.kind, text)
        .ok_or_else(|| Error::invalid(&name, "filter", format!("must be {}", described(&field.kind))))?;
    let list = path
        .match_indices('.')
        .map(|(end, _)| &path[..end])
        .find(|prefix| collection.look_up(prefix).is_some_and(|(kind, _)| matches!(kind, Kind::List(_))));
    let within = list.map_or(path, |list| &path[list.len() + 1..]).to_owned();
    let filter = Filter::Compare { field: FieldPath::new(within, field.kind.clone()), is, value };
    Ok(Condition { list: list.map(str::to_owned), filter })
}

fn order(collection: &Collection, text: &str) -> Result<SortKey> {
    let (path, is_descending) = text.strip_prefix('-').map_or((text, false), |path| (path, true));
    let sortable = collection.sortable();
    let Some(field) = sortable.iter().find(|field| field.path == path) else {
        let known = sortable.iter().map(|field| &*field.path).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid("sort", "sort", format!("must be one of {known}")));
    };
    Ok(SortKey { by: SortBy::Field(field.clone()), is_descending })
}

fn scalar(kind: &Kind, text: &str) -> Option<Scalar> {
    let value = match kind {
        Kind::Integer => text.parse::<i64>().ok()?.into(),
        Kind::Float => text.parse::<f64>().ok().filter(|number| number.is_finite())?.into(),
        Kind::Boolean => text.parse::<bool>().ok()?.into(),
        _ => text.into(),
    };
    Scalar::read(&value, kind)
}

fn described(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer => "a whole number",
        Kind::Float => "a number",
        Kind::Boolean => "true or false",
        Kind::Time => "an instant such as 2026-01-31T12:00:00Z",
        Kind::Day => "a day such as 2026-01-31",
        Kind::Id => "an id",
        Kind::Text | Kind::Point | Kind::List(_) | Kind::Object(_) | Kind::Json => "a text",
    }
}
