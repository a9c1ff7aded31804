//! Tags: words to find contents by. Their names are unique, whatever their case.

use std::time::Duration;

use crate::{noun::*, value::folded};

/// The id of a tag.
pub type TagId = Id<Tag>;

record! {
    /// A word to find contents by.
    pub struct Tag = "tag" in tags {
        /// In lower case and Unicode's composed form.
        pub name: String,
    }
    sort: [name, created_at],
    filter: TagFilter { name: String => folded(&name) },
    cached: Caching::Sliding(Duration::from_secs(3_600)),
    unique: {
        /// In the form in which it is kept.
        BY_NAME: name,
    },
    children: [Restrict content_tags.tag_id],
}

new! {
    /// What is needed to make a tag.
    pub struct NewTag => Tag {
        #[validate(length(min = 1, max = 64), custom(function = "line"))]
        pub name: String => folded(&name),
    }
}
impl Insert for NewTag {}

patch! {
    /// A change of a tag.
    pub struct TagPatch => Tag {
        #[validate(length(min = 1, max = 64), custom(function = "line"))]
        pub name: Change<String> => name.map(|name| folded(&name)),
    }
}
impl Patch for TagPatch {}
