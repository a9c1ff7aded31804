//! What becomes of documents.

use serde_json::{Map, Number, Value};

use super::{
    Document,
    kind::{FieldPath, Ordered, Owned, Scalar, order},
};
use crate::port::documents::DocumentsError;

/// Changes of one document, all at once. No two of them are about the same field, or one within another's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    pub edits: Vec<Edit>,
}

/// A change of one field, which is in no list. Objects on the way to it are made where there are none.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// The field becomes this; null is [`Unset`](Self::Unset).
    Set { field: FieldPath, value: Value },
    /// The field is no longer there.
    Unset { field: FieldPath },
    /// The number becomes greater by this; it is 0 where there is none.
    Inc { field: FieldPath, by: Scalar },
    /// The list gets this as its last item; it is empty where there is none.
    Push { field: FieldPath, value: Value },
    /// The list loses all items that are this.
    Pull { field: FieldPath, value: Scalar },
}

impl Edit {
    /// The field that it is about.
    pub fn field(&self) -> &FieldPath {
        match self {
            Self::Set { field, .. }
            | Self::Unset { field }
            | Self::Inc { field, .. }
            | Self::Push { field, .. }
            | Self::Pull { field, .. } => field,
        }
    }
}

impl Update {
    /// Changes a document. This is what an update means.
    ///
    /// # Errors
    /// [`DocumentsError::Refused`] if something is not what it takes: no number, no list, no object on the way to it, or a
    /// sum that is too large. Then some of it may have been done.
    pub fn apply(&self, document: &mut Document) -> Result<(), DocumentsError> {
        self.edits.iter().try_for_each(|edit| edit.apply(document))
    }
}

impl Edit {
    fn apply(&self, document: &mut Document) -> Result<(), DocumentsError> {
        let field = self.field();
        match self {
            Self::Set { value: Value::Null, .. } | Self::Unset { .. } => {
                remove(document, field);
                Ok(())
            }
            Self::Set { value, .. } => change(document, field, |_| Some(value.clone())),
            Self::Inc { by, .. } => change(document, field, |present| sum(present, by)),
            Self::Push { value, .. } => change(document, field, |present| {
                let mut items = list(present)?;
                items.push(value.clone());
                Some(items.into())
            }),
            Self::Pull { value, .. } => {
                if super::filter::value_of(document, field).is_none() {
                    return Ok(());
                }
                let (kind, wanted) = (value.kind(), Owned::from(value));
                let is_other = |item: &Value| {
                    Ordered::of(item, &kind).is_none_or(|found| order(found, wanted.as_ordered()).is_ne())
                };
                change(document, field, |present| {
                    let mut items = list(present)?;
                    items.retain(is_other);
                    Some(items.into())
                })
            }
        }
    }
}

fn list(present: Option<Value>) -> Option<Vec<Value>> {
    match present {
        None => Some(Vec::new()),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn sum(present: Option<Value>, by: &Scalar) -> Option<Value> {
    match (present, by) {
        (None, by) => Some(by.json()),
        (Some(Value::Number(present)), Scalar::Integer(by)) if present.is_i64() => {
            present.as_i64()?.checked_add(*by).map(Value::from)
        }
        (Some(Value::Number(present)), Scalar::Float(by)) => Number::from_f64(present.as_f64()? + by).map(Value::from),
        _ => None,
    }
}

/// Replaces what is in a field, where there may be nothing yet; objects on the way are made.
fn change(
    document: &mut Document,
    field: &FieldPath,
    to: impl FnOnce(Option<Value>) -> Option<Value>,
) -> Result<(), DocumentsError> {
    let refused = || DocumentsError::Refused(format!("{} is not what it has to be for this change", field.path));
    let names = field.names().collect::<Vec<_>>();
    let (last, way) = names.split_last().ok_or_else(refused)?;
    let mut object = document;
    for name in way {
        let inner = object.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        if inner.is_null() {
            *inner = Value::Object(Map::new());
        }
        object = inner.as_object_mut().ok_or_else(refused)?;
    }
    let present = object.get(*last).filter(|value| !value.is_null()).cloned();
    let value = to(present).ok_or_else(refused)?;
    object.insert((*last).to_owned(), value);
    Ok(())
}

fn remove(document: &mut Document, field: &FieldPath) {
    let names = field.names().collect::<Vec<_>>();
    let Some((last, way)) = names.split_last() else { return };
    let object = way.iter().try_fold(document, |object, name| object.get_mut(*name)?.as_object_mut());
    if let Some(object) = object {
        object.remove(*last);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Kind;

    fn changed(document: Value, edits: Vec<Edit>) -> Result<Value, DocumentsError> {
        let Value::Object(mut document) = document else { panic!("no document") };
        Update { edits }.apply(&mut document).map(|()| document.into())
    }

    fn at(path: &'static str, kind: Kind) -> FieldPath {
        FieldPath::new(path, kind)
    }

    #[test]
    fn fields_are_set_and_removed_and_objects_made_on_the_way() {
        let edits = vec![
            Edit::Set { field: at("a.b.c", Kind::Integer), value: json!(1) },
            Edit::Set { field: at("gone", Kind::Text), value: Value::Null },
            Edit::Unset { field: at("x.y", Kind::Text) },
            Edit::Unset { field: at("no.such", Kind::Text) },
        ];
        let document = json!({"a": {"d": 2}, "gone": "x", "x": {"y": 1, "z": 2}});
        assert_eq!(changed(document, edits).unwrap(), json!({"a": {"b": {"c": 1}, "d": 2}, "x": {"z": 2}}));
        let through = vec![Edit::Set { field: at("a.b", Kind::Integer), value: json!(1) }];
        assert_eq!(changed(json!({"a": null}), through.clone()).unwrap(), json!({"a": {"b": 1}}));
        changed(json!({"a": 5}), through).unwrap_err();
    }

    #[test]
    fn numbers_grow_and_never_wrap() {
        let inc = |by| vec![Edit::Inc { field: at("n", Kind::Integer), by }];
        assert_eq!(changed(json!({"n": 2}), inc(Scalar::Integer(-3))).unwrap(), json!({"n": -1}));
        assert_eq!(changed(json!({}), inc(Scalar::Integer(4))).unwrap(), json!({"n": 4}));
        assert_eq!(changed(json!({"n": 0.5}), inc(Scalar::Float(0.25))).unwrap(), json!({"n": 0.75}));
        changed(json!({"n": i64::MAX}), inc(Scalar::Integer(1))).unwrap_err();
        changed(json!({"n": 1e308}), inc(Scalar::Float(1.7e308))).unwrap_err();
        changed(json!({"n": "x"}), inc(Scalar::Integer(1))).unwrap_err();
    }

    #[test]
    fn lists_get_and_lose_items() {
        let field = || at("l", Kind::List(Box::new(Kind::Text)));
        let push = vec![Edit::Push { field: field(), value: json!("b") }];
        assert_eq!(changed(json!({"l": ["a"]}), push.clone()).unwrap(), json!({"l": ["a", "b"]}));
        assert_eq!(changed(json!({}), push.clone()).unwrap(), json!({"l": ["b"]}));
        changed(json!({"l": "a"}), push).unwrap_err();
        let pull = vec![Edit::Pull { field: field(), value: Scalar::Text("a".to_owned()) }];
        assert_eq!(changed(json!({"l": ["a", "b", "a", 1]}), pull.clone()).unwrap(), json!({"l": ["b", 1]}));
        assert_eq!(changed(json!({}), pull.clone()).unwrap(), json!({}));
        changed(json!({"l": "a"}), pull).unwrap_err();
    }
}
