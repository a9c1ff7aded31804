//! Data models: descriptions of what an application keeps, field by field. Relationships join them.

use std::collections::HashSet;

use entity::relationships;
use schemars::JsonSchema;
use sea_orm::JsonValue;
use serde::{Deserialize, Serialize};

use crate::{Relationship, User, UserId, noun::*};

/// How long the name of a field may be: PostgreSQL cuts off what is longer.
const MAX_FIELD_NAME: usize = 63;

/// The id of a data model.
pub type DataModelId = Id<DataModel>;

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Characters.
    Text,
    /// A whole number.
    Integer,
    /// An exact number with a fraction.
    Decimal,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// An instant.
    Timestamp,
    /// Any JSON.
    Json,
    /// The id of a record of another model.
    Reference,
}

/// One field of a data model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// A small letter, then small letters, digits and underscores: at most 63 characters.
    pub name: String,
    pub kind: FieldKind,
    /// Whether every record must have a value.
    #[serde(default)]
    pub required: bool,
    /// Whether no two records may have the same value.
    #[serde(default)]
    pub unique: bool,
}

record! {
    /// A description of what an application keeps.
    pub struct DataModel = "data model" in data_models {
        /// Nobody, once the owner is gone.
        pub owner_id: Option<UserId>,
        pub name: String,
        pub fields: Vec<Field>,
    }
    sort: [name, created_at],
    filter: DataModelFilter { owner_id: UserId, name: String },
    relations: {
        /// Whose it is.
        OWNER: Relation<DataModel, User> = Relation::belongs_to("owner", "owner_id"),
        /// The edges that lead from it to other models.
        OUTGOING: Relation<DataModel, Relationship> =
            Relation::has_many("relationships", relationships::Column::FromModelId),
        /// The edges that lead to it.
        INCOMING: Relation<DataModel, Relationship> =
            Relation::has_many("referenced_by", relationships::Column::ToModelId),
    },
    children: [Restrict relationships.from_model_id, Restrict relationships.to_model_id],
}

new! {
    /// What is needed to make a data model.
    pub struct NewDataModel => DataModel {
        pub owner_id: Option<UserId>,
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub name: String,
        #[serde(default)]
        #[validate(length(max = 200))]
        pub fields: Vec<Field>,
    }
}

patch! {
    /// A change of a data model. Fields are replaced all at once.
    pub struct DataModelPatch => DataModel {
        pub owner_id: Change<Option<UserId>>,
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub name: Change<String>,
        #[validate(length(max = 200))]
        pub fields: Change<Vec<Field>>,
    }
}

#[async_trait]
impl Insert for NewDataModel {
    async fn before(&self, _work: &UnitOfWork) -> Result<()> {
        check(&self.fields)
    }
}

#[async_trait]
impl Patch for DataModelPatch {
    async fn before(&self, _id: DataModelId, _work: &UnitOfWork) -> Result<()> {
        self.fields.as_set().map_or(Ok(()), |fields| check(fields))
    }
}

impl ColumnValue for Vec<Field> {
    type Column = JsonValue;

    // Written out, because it cannot fail, as serialising in general can.
    fn into_column(self) -> JsonValue {
        self.into_iter().map(JsonValue::from).collect()
    }

    fn from_column(column: JsonValue) -> Result<Self> {
        serde_json::from_value(column).map_err(|error| Error::internal("a data model holds what are no fields", error))
    }
}

impl From<Field> for JsonValue {
    fn from(Field { name, kind, required, unique }: Field) -> Self {
        serde_json::json!({ "name": name, "kind": kind, "required": required, "unique": unique })
    }
}

/// Each name is an identifier, and no two are the same. Checked here, where all fields are seen and each can be pointed
/// at.
fn check(fields: &[Field]) -> Result<()> {
    let mut taken = HashSet::new();
    let wrong = |(index, field): (usize, &Field)| {
        let at = format!("fields/{index}/name");
        if !is_identifier(&field.name) {
            let message = "must be a small letter, then small letters, digits and underscores: at most 63 characters";
            Some(FieldError::new(&at, "identifier", message))
        } else if !taken.insert(field.name.clone()) {
            Some(FieldError::new(&at, "unique", "is the name of an earlier field"))
        } else {
            None
        }
    };
    let wrong = fields.iter().enumerate().filter_map(wrong).collect::<Vec<_>>();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}

fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_FIELD_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Field {
        Field { name: name.to_owned(), kind: FieldKind::Text, required: true, unique: false }
    }

    #[test]
    fn a_field_has_an_identifier_for_a_name() {
        for name in ["a", "a_1", "order_id", &"x".repeat(63)] {
            assert!(is_identifier(name), "{name}");
        }
        for name in ["", "_a", "1a", "A", "aB", "a-b", "a b", "ä", "aä", "a\0", "a\n", &"x".repeat(64)] {
            assert!(!is_identifier(name), "{name}");
        }
    }

    #[test]
    fn names_differ_within_a_model_and_each_mistake_is_pointed_at() {
        assert!(check(&[field("a"), field("b")]).is_ok());
        let Err(Error::Invalid(errors)) = check(&[field("a"), field("B"), field("c"), field("a")]) else {
            panic!("two mistakes were let through");
        };
        let errors = errors.iter().map(|error| (error.pointer.as_str(), error.code.as_ref())).collect::<Vec<_>>();
        assert_eq!(errors, [("/fields/1/name", "identifier"), ("/fields/3/name", "unique")]);
    }

    #[test]
    fn a_field_is_stored_as_it_is_read() {
        let stored = JsonValue::from(field("a"));
        assert_eq!(stored, serde_json::to_value(field("a")).unwrap());
        assert_eq!(serde_json::from_value::<Field>(stored).unwrap(), field("a"));
    }
}
