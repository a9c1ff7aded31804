//! Tags: words to find contents by. Their names are unique, whatever their case.

use entity::tags as row;
use schemars::JsonSchema;
use sea_orm::{ActiveValue::NotSet, ColumnTrait, Condition};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    columns::record,
    id::Id,
    record::{ChangedRow, FIRST_VERSION, Filter, Insert, Narrow, NewRow, Patch, Stamp},
    value::{Change, Timestamp, folded, line},
};

/// The id of a tag.
pub type TagId = Id<Tag>;

/// A word to find contents by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tag {
    pub id: TagId,
    pub version: i64,
    /// In lower case and Unicode's composed form.
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is needed to make a tag.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewTag {
    #[validate(length(min = 1, max = 64), custom(function = "line"))]
    pub name: String,
}

/// A change of a tag.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct TagPatch {
    #[validate(length(min = 1, max = 64), custom(function = "line"))]
    pub name: Change<String>,
}

/// Which tags are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TagFilter {
    pub name: Option<String>,
}

record! {
    Tag = "tag" in row { name },
    filter: TagFilter,
    sort: [Name, CreatedAt],
    relations: [],
    children: [Restrict content_tags.tag_id],
}

impl NewRow for NewTag {
    type Record = Tag;

    fn into_row(self, Stamp { id, now }: Stamp) -> row::Model {
        let Self { name } = self;
        let name = folded(&name);
        row::Model { id, version: FIRST_VERSION, created_at: now.into(), updated_at: now.into(), name }
    }
}

impl Insert for NewTag {}

impl ChangedRow for TagPatch {
    type Record = Tag;

    fn into_changes(self) -> row::ActiveModel {
        let Self { name } = self;
        row::ActiveModel {
            id: NotSet,
            version: NotSet,
            created_at: NotSet,
            updated_at: NotSet,
            name: name.map(|name| folded(&name)).into_column(),
        }
    }
}

impl Patch for TagPatch {}

impl Narrow for TagFilter {
    fn condition(&self) -> Condition {
        let Self { name } = self;
        Condition::all().add_option(name.as_ref().map(|name| row::Column::Name.eq(folded(name))))
    }
}

impl Filter for TagFilter {
    type Record = Tag;
}
