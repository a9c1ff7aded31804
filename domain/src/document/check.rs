//! Whether what is asked for can be asked of a collection: the same for every adapter, before any of them is asked.

use std::borrow::Cow;

use super::{
    Collection, Edit, FieldPath, Filter, Fold, GroupKey, ID, IndexUse, Kind, Member, Pipeline, Query, Scalar, SortBy,
    SortKey, Stage, Update, filter::item,
};
use crate::port::documents::DocumentsError;

type Checked = Result<(), DocumentsError>;

fn unsupported(what: impl Into<Cow<'static, str>>) -> DocumentsError {
    DocumentsError::Unsupported(what.into())
}

/// What paths begin at.
enum Scope<'a> {
    Collection(&'a Collection),
    /// What a stage of a pipeline gives.
    Stage(Vec<Member>),
    /// An item of a list.
    Item(Kind),
}

impl Collection {
    /// Whether documents can be chosen so.
    ///
    /// # Errors
    /// [`DocumentsError::Unsupported`] if there is no such field, or it is not of that kind.
    pub fn check_filter(&self, filter: &Filter) -> Checked {
        Scope::Collection(self).filter(filter)
    }

    /// Whether this can be asked.
    ///
    /// # Errors
    /// Those of [`check_filter`](Self::check_filter), and the same of what is sorted by.
    pub fn check_query(&self, query: &Query) -> Checked {
        let scope = Scope::Collection(self);
        scope.filter(&query.filter)?;
        scope.sort(&query.sort)?;
        match &query.after {
            None => Ok(()),
            Some(after) if after.values.len() != query.sort.len() => Err(unsupported("a place in another order")),
            Some(after) => query.sort.iter().zip(&after.values).try_for_each(|(key, value)| match (&key.by, value) {
                (SortBy::Field(field), Some(value)) => fits(field, &field.kind, value),
                (SortBy::Field(_), None) => Ok(()),
                (SortBy::Rank { .. } | SortBy::Distance { .. }, _) => {
                    Err(unsupported("a place in an order by no field"))
                }
            }),
        }
    }

    /// Whether documents can be changed so.
    ///
    /// # Errors
    /// [`DocumentsError::Unsupported`] if there is no such field, it is in a list, it is not of that kind, or two changes
    /// are about the same.
    pub fn check_update(&self, update: &Update) -> Checked {
        let paths = update.edits.iter().map(|edit| edit.field().path.as_ref()).collect::<Vec<_>>();
        for (n, path) in paths.iter().enumerate() {
            let is_within =
                |other: &&&str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if paths.iter().enumerate().any(|(m, other)| m != n && is_within(&other)) {
                return Err(unsupported(format!("two changes of {path} at once")));
            }
        }
        if paths.contains(&ID) {
            return Err(unsupported("a change of an id"));
        }
        let scope = Scope::Collection(self);
        update.edits.iter().try_for_each(|edit| {
            let field = edit.field();
            // What is not known can be replaced as a whole, and what was known once be removed.
            let is_unknown = self.look_up(&field.path).is_none() && !field.path.contains('.');
            match edit {
                Edit::Set { .. } if is_unknown && self.members().is_none() => return Ok(()),
                Edit::Unset { .. } if is_unknown => return Ok(()),
                _ => {}
            }
            let kind = scope.alone(field)?;
            match (edit, &kind) {
                (Edit::Set { .. } | Edit::Unset { .. }, _) | (Edit::Push { .. }, Kind::List(_)) => Ok(()),
                (Edit::Inc { by, .. }, kind) if kind.is_number() => fits(field, kind, by),
                (Edit::Pull { value, .. }, Kind::List(kind)) => fits(field, kind, value),
                (Edit::Inc { .. } | Edit::Push { .. } | Edit::Pull { .. }, _) => Err(other_kind(field)),
            }
        })
    }

    /// Whether this can be asked.
    ///
    /// # Errors
    /// Those of [`check_filter`](Self::check_filter), and the same of what is grouped and sorted by.
    pub fn check_pipeline(&self, pipeline: &Pipeline) -> Checked {
        Scope::Collection(self).pipeline(pipeline, true)
    }
}

impl Scope<'_> {
    fn pipeline(self, pipeline: &Pipeline, may_have_facets: bool) -> Checked {
        pipeline.stages.iter().try_fold(self, |scope, stage| scope.stage(stage, may_have_facets)).map(drop)
    }

    fn stage(self, stage: &Stage, may_have_facets: bool) -> Result<Self, DocumentsError> {
        match stage {
            Stage::Match(filter) => self.filter(filter)?,
            Stage::Sort(keys) => {
                if keys.iter().any(|key| !matches!(key.by, SortBy::Field(_))) {
                    return Err(unsupported("an order by no field in a pipeline"));
                }
                self.sort(keys)?;
            }
            Stage::Limit(_) => {}
            Stage::Group { keys, folds } => {
                let key = |(name, key): &(Cow<'static, str>, GroupKey)| {
                    let kind = self.scalar(key.field())?;
                    match key {
                        GroupKey::Field(_) => Ok(Member { name: name.clone(), kind }),
                        GroupKey::Bucket { .. } if kind == Kind::Time => Ok(Member { name: name.clone(), kind }),
                        GroupKey::Bucket { field, .. } => Err(other_kind(field)),
                    }
                };
                let fold = |(name, fold): &(Cow<'static, str>, Fold)| {
                    let of = fold.field().map(|field| self.scalar(field)).transpose()?;
                    let kind = match (fold, of) {
                        (Fold::Count | Fold::CountDistinct(_), _) | (_, None) => Kind::Integer,
                        (Fold::Sum(_), Some(kind)) if kind.is_number() => kind,
                        (Fold::Avg(_), Some(kind)) if kind.is_number() => Kind::Float,
                        (Fold::Min(_) | Fold::Max(_), Some(kind)) => kind,
                        (Fold::Sum(field) | Fold::Avg(field), Some(_)) => return Err(other_kind(field)),
                    };
                    Ok(Member { name: name.clone(), kind })
                };
                let members = keys.iter().map(key).chain(folds.iter().map(fold)).collect::<Result<_, _>>()?;
                return named(members);
            }
            Stage::Count(name) => return named(vec![Member { name: name.clone(), kind: Kind::Integer }]),
            Stage::Facet(_) if !may_have_facets => return Err(unsupported("a facet within a facet")),
            Stage::Facet(facets) => {
                for (_, pipeline) in facets {
                    self.again().pipeline(pipeline, false)?;
                }
                let member = |(name, _): &(Cow<'static, str>, _)| Member { name: name.clone(), kind: Kind::Json };
                return named(facets.iter().map(member).collect());
            }
        }
        Ok(self)
    }

    fn again(&self) -> Self {
        match self {
            Self::Collection(collection) => Self::Collection(collection),
            Self::Stage(members) => Self::Stage(members.clone()),
            Self::Item(kind) => Self::Item(kind.clone()),
        }
    }

    fn filter(&self, filter: &Filter) -> Checked {
        match filter {
            Filter::All(filters) | Filter::Any(filters) => filters.iter().try_for_each(|filter| self.filter(filter)),
            Filter::Not(filter) => self.filter(filter),
            Filter::Compare { field, is: _, value } => {
                let (kind, _) = self.look_up(field)?;
                fits(field, item(&kind), value)
            }
            Filter::In { field, values } => {
                let (kind, _) = self.look_up(field)?;
                values.iter().try_for_each(|value| fits(field, item(&kind), value))
            }
            Filter::Exists { field } => self.alone(field).map(drop),
            Filter::Element { field, matches } => match self.alone(field)? {
                Kind::List(item) => Scope::Item(*item).filter(matches),
                _ => Err(other_kind(field)),
            },
            Filter::Text { .. } => self.has_words(),
            Filter::Within { field, .. } => self.point(field),
        }
    }

    fn sort(&self, keys: &[SortKey]) -> Checked {
        keys.iter().try_for_each(|key| match &key.by {
            SortBy::Field(field) => self.scalar(field).map(drop),
            SortBy::Rank { .. } => self.has_words(),
            SortBy::Distance { field, .. } => self.point(field),
        })
    }

    fn has_words(&self) -> Checked {
        let is_text = |collection: &&&Collection| {
            collection.indexes().iter().any(|index| matches!(index.is, IndexUse::Text { .. }))
        };
        match self {
            Self::Collection(collection) if is_text(&collection) => Ok(()),
            Self::Collection(_) | Self::Stage(_) | Self::Item(_) => Err(unsupported("words where none are kept")),
        }
    }

    fn point(&self, field: &FieldPath) -> Checked {
        match self.alone(field)? {
            Kind::Point => Ok(()),
            _ => Err(other_kind(field)),
        }
    }

    /// A scalar in no list, of the kind that is said.
    fn scalar(&self, field: &FieldPath) -> Result<Kind, DocumentsError> {
        let kind = self.alone(field)?;
        if kind.is_scalar() && kind == field.kind { Ok(kind) } else { Err(other_kind(field)) }
    }

    /// What is in no list.
    fn alone(&self, field: &FieldPath) -> Result<Kind, DocumentsError> {
        match self.look_up(field)? {
            (kind, false) => Ok(kind),
            (_, true) => Err(unsupported(format!("{} is in a list", field.path))),
        }
    }

    fn look_up(&self, field: &FieldPath) -> Result<(Kind, bool), DocumentsError> {
        let found = match self {
            Self::Collection(collection) => collection.look_up(&field.path),
            Self::Stage(members) => look_up(members, &field.path),
            Self::Item(kind) if field.path.is_empty() => Some((kind.clone(), false)),
            Self::Item(Kind::Object(members)) => look_up(members, &field.path),
            Self::Item(_) => None,
        };
        found.ok_or_else(|| unsupported(format!("there is no field {}", field.path)))
    }
}

/// What is at a path, and whether a list is on the way to it.
pub(super) fn look_up(mut members: &[Member], path: &str) -> Option<(Kind, bool)> {
    let mut through_list = false;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let mut kind = &members.iter().find(|member| member.name == name)?.kind;
        if names.peek().is_none() {
            return Some((kind.clone(), through_list));
        }
        while let Kind::List(item) = kind {
            through_list = true;
            kind = item;
        }
        let Kind::Object(inner) = kind else { return None };
        members = inner;
    }
    None
}

/// What a stage gives has names, each once.
fn named<'a>(members: Vec<Member>) -> Result<Scope<'a>, DocumentsError> {
    for (n, Member { name, .. }) in members.iter().enumerate() {
        if !is_name(name) || members[..n].iter().any(|other| other.name == *name) {
            return Err(unsupported(format!("{name:?} as the name of a result")));
        }
    }
    Ok(Scope::Stage(members))
}

fn fits(field: &FieldPath, kind: &Kind, value: &Scalar) -> Checked {
    let is_json = match value {
        Scalar::Float(number) => number.is_finite(),
        Scalar::Text(text) => !text.contains('\0'),
        Scalar::Integer(_) | Scalar::Boolean(_) | Scalar::Time(_) | Scalar::Day(_) | Scalar::Id(_) => true,
    };
    if *kind == value.kind() && is_json { Ok(()) } else { Err(other_kind(field)) }
}

fn other_kind(field: &FieldPath) -> DocumentsError {
    unsupported(format!("{} is not of that kind", field.path))
}

/// A letter, then letters, digits and underscores, of ASCII: what needs no quoting anywhere.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
