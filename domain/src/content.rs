//! Contents: what authors write, with tags in an order of the author's choice.

use entity::contents as row;
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, Condition};
use serde::Deserialize;

use crate::{
    Tag, TagId, User, UserId,
    noun::*,
    record::{FIRST_VERSION, Filter, Narrow, NewRow, Stamp},
    relation::Junction,
};

/// How many tags a content may have.
const MAX_TAGS: usize = 100;

/// The id of a content.
pub type ContentId = Id<Content>;

text_enum! {
    /// How far a content has come.
    pub enum ContentStatus {
        /// For its author only.
        Draft = "draft",
        /// For everybody.
        Published = "published",
        /// Kept, and no longer shown.
        Archived = "archived",
    }
}

record! {
    /// What an author wrote.
    pub struct Content = "content" in contents {
        pub author_id: UserId,
        pub title: String,
        pub body: String,
        pub status: ContentStatus,
    }
    sort: [title, created_at, updated_at],
    filter: ContentFilter,
    relations: {
        /// Who wrote it.
        AUTHOR: Relation<Content, User> = Relation::belongs_to("author", "author_id"),
        /// The words to find it by.
        TAGS: ManyToMany<Content, Tag> =
            ManyToMany::via("tags", Junction { table: "content_tags", from: "content_id", to: "tag_id" }),
    },
    children: [Cascade content_tags.content_id],
}

/// What is needed to make a content.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewContent {
    pub author_id: UserId,
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    pub title: String,
    #[validate(length(max = 500_000))]
    pub body: String,
    /// A draft, if nothing is said.
    pub status: Option<ContentStatus>,
    /// Linked in this order.
    #[serde(default)]
    pub tags: Vec<TagId>,
}

patch! {
    /// A change of a content.
    pub struct ContentPatch => Content keeps { author_id } {
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub title: Change<String>,
        #[validate(length(max = 500_000))]
        pub body: Change<String>,
        pub status: Change<ContentStatus>,
    }
}
impl Patch for ContentPatch {}

/// Which contents are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContentFilter {
    pub author_id: Option<UserId>,
    pub status: Option<ContentStatus>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
}

impl Content {
    /// Makes these, in this order, the tags of a content.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) if the content is not there;
    /// [`Error::Invalid`](crate::Error::Invalid) for a tag that is not there, or more than 100.
    pub async fn set_tags(id: ContentId, tags: &[TagId], work: &UnitOfWork) -> Result<Vec<Tag>> {
        if tags.len() > MAX_TAGS {
            return Err(too_many_tags());
        }
        work.set_links(&Self::TAGS, id, tags).await.map_err(|error| error.within("tags"))?;
        work.related(Self::TAGS.relation(), id).await
    }
}

fn too_many_tags() -> Error {
    Error::invalid("tags", "length", format!("must have at most {MAX_TAGS} tags"))
}

impl NewRow for NewContent {
    type Record = Content;

    fn into_row(self, Stamp { id, now }: Stamp) -> row::Model {
        let Self { author_id, title, body, status, tags: _ } = self;
        row::Model {
            id,
            version: FIRST_VERSION,
            created_at: now.into(),
            updated_at: now.into(),
            author_id: author_id.uuid(),
            title,
            body,
            status: status.unwrap_or(ContentStatus::Draft).into_column(),
        }
    }
}

#[async_trait]
impl Insert for NewContent {
    async fn after(&self, content: &Content, work: &UnitOfWork) -> Result<()> {
        if self.tags.is_empty() {
            return Ok(());
        }
        Content::set_tags(content.id, &self.tags, work).await.map(|_| ())
    }

    async fn after_all(new: &[Self], contents: &[Content], work: &UnitOfWork) -> Result<()> {
        if let Some(index) = new.iter().position(|new| new.tags.len() > MAX_TAGS) {
            return Err(too_many_tags().within(&index.to_string()));
        }
        let links = new.iter().zip(contents).map(|(new, content)| (content.id, new.tags.as_slice()));
        work.link_all(&Content::TAGS, &links.collect::<Vec<_>>(), "tags").await
    }
}

impl Narrow for ContentFilter {
    fn condition(&self) -> Condition {
        let Self { author_id, status, created_after, created_before } = self;
        Condition::all()
            .add_option(author_id.map(|id| row::Column::AuthorId.eq(id.uuid())))
            .add_option(status.map(|status| row::Column::Status.eq(status.as_str())))
            .add_option(created_after.map(|at| row::Column::CreatedAt.gt(at.utc())))
            .add_option(created_before.map(|at| row::Column::CreatedAt.lt(at.utc())))
    }
}

impl Filter for ContentFilter {
    type Record = Content;
}
