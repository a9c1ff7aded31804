//! Relationships: typed edges between two data models. What contains or extends must not do so in a circle.

use entity::relationships as row;
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbBackend};
use serde::Deserialize;

use crate::{
    DataModel, DataModelId, fault,
    noun::*,
    record::{Filter, Narrow},
    sql::Sql,
};

/// The id of a relationship.
pub type RelationshipId = Id<Relationship>;

text_enum! {
    /// What one data model is to another.
    pub enum RelationshipKind {
        /// It points to it, or to itself.
        References = "references",
        /// It has it as a part.
        Contains = "contains",
        /// It is a special case of it.
        Extends = "extends",
    }
}

record! {
    /// A typed edge from one data model to another.
    pub struct Relationship = "relationship" in relationships {
        pub from_model_id: DataModelId,
        pub to_model_id: DataModelId,
        pub kind: RelationshipKind,
    }
    sort: [kind, created_at],
    filter: RelationshipFilter,
    relations: {
        /// Where it begins.
        FROM: Relation<Relationship, DataModel> = Relation::belongs_to("from", "from_model_id"),
        /// Where it leads.
        TO: Relation<Relationship, DataModel> = Relation::belongs_to("to", "to_model_id"),
    },
}

new! {
    /// What is needed to make a relationship.
    pub struct NewRelationship => Relationship {
        pub from_model_id: DataModelId,
        pub to_model_id: DataModelId,
        pub kind: RelationshipKind,
    }
}

patch! {
    /// A change of a relationship.
    pub struct RelationshipPatch => Relationship keeps { from_model_id, to_model_id } {
        pub kind: Change<RelationshipKind>,
    }
}

/// Which relationships are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RelationshipFilter {
    pub from_model_id: Option<DataModelId>,
    pub to_model_id: Option<DataModelId>,
    /// On either end.
    pub model_id: Option<DataModelId>,
    pub kind: Option<RelationshipKind>,
}

#[async_trait]
impl Insert for NewRelationship {
    // An edge may close a circle with one that was made just before.
    const ONE_BY_ONE: bool = true;

    async fn before(&self, work: &UnitOfWork) -> Result<()> {
        refuse_circles(work, self.from_model_id, self.to_model_id, self.kind).await
    }
}

#[async_trait]
impl Patch for RelationshipPatch {
    async fn before(&self, id: RelationshipId, work: &UnitOfWork) -> Result<()> {
        let Some(&kind) = self.kind.as_set() else { return Ok(()) };
        let present = work.find(id).await?;
        refuse_circles(work, present.from_model_id, present.to_model_id, kind).await
    }
}

/// Whether `$1` is reached from `$2` along edges of the kind `$3`. `UNION` forgets what was seen before, so that it ends.
const REACHES: Sql = Sql::new(
    "WITH RECURSIVE reached (id) AS (\
         SELECT $2 \
         UNION \
         SELECT edge.to_model_id FROM relationships AS edge JOIN reached ON edge.from_model_id = reached.id \
         WHERE edge.kind = $3\
     ) SELECT id FROM reached WHERE id = $1",
);

/// An edge closes a circle if its beginning is already reached from its end. Containing and extending are looked at
/// apart: what contains may well be what is extended.
async fn refuse_circles(work: &UnitOfWork, from: DataModelId, to: DataModelId, kind: RelationshipKind) -> Result<()> {
    if kind == RelationshipKind::References {
        return Ok(());
    }
    if from == to {
        let message = "must be another model: only what references may lead to itself";
        return Err(Error::invalid("to_model_id", "self_link", message));
    }
    hold_graph(work).await?;
    if work.query(REACHES.bind(from).bind(to).bind(kind.as_str())).await?.is_empty() {
        return Ok(());
    }
    let message = format!("leads back to from_model_id: what {kind} must not go in a circle");
    Err(Error::invalid("to_model_id", "cycle", message))
}

/// Lets one unit of work at a time add to the graph, until it ends. No row will do for that on PostgreSQL: the edges of
/// a circle may be written at once by units of work that have no model in common (A to B and C to D, where B to C and D
/// to A are there), and a row that is still to be written cannot be locked. An advisory lock stops only those that could
/// close a circle, while a lock on the table would stop references too. It is one lock for both kinds, so that it cannot
/// be taken in two orders; and it is a statement of its own, so that the next one sees what was committed while it
/// waited. SQLite has one writer at a time anyway.
async fn hold_graph(work: &UnitOfWork) -> Result<()> {
    work.run(async |transaction| match transaction.get_database_backend() {
        DbBackend::Postgres => {
            let lock = "SELECT pg_advisory_xact_lock('relationships'::regclass::oid::bigint)";
            transaction.execute_unprepared(lock).await.map(|_| ()).map_err(fault::unavailable)
        }
        _ => Ok(()),
    })
    .await
}

impl Narrow for RelationshipFilter {
    fn condition(&self) -> Condition {
        let Self { from_model_id, to_model_id, model_id, kind } = self;
        let from = |id: DataModelId| row::Column::FromModelId.eq(id.uuid());
        let to = |id: DataModelId| row::Column::ToModelId.eq(id.uuid());
        Condition::all()
            .add_option(from_model_id.map(from))
            .add_option(to_model_id.map(to))
            .add_option(model_id.map(|id| Condition::any().add(from(id)).add(to(id))))
            .add_option(kind.map(|kind| row::Column::Kind.eq(kind.as_str())))
    }
}

impl Filter for RelationshipFilter {
    type Record = Relationship;
}
