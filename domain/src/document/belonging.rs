//! Documents that belong to records: they go when those go, and those that are left behind are found.

use std::collections::HashSet;

use sea_orm::{
    ConnectionTrait, EntityName,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use uuid::Uuid;

use super::{Collection, Documented, DocumentsOf, FieldPath, Filter, GroupKey, Kind, Pipeline, Scalar, Stage};
use crate::{User, error::Result, fault, record::Record, store::Store};

/// How many records are looked for at once.
const BATCH: usize = 500;
/// How many ids of what is missing are told.
const TOLD: usize = 10;

/// Documents of which each belongs to one record: it has the record's id in a field. When the record is deleted, be it by
/// hand, they are deleted too, as soon as that is delivered.
#[derive(Debug, Clone)]
pub struct Belonging {
    /// The table of the records.
    pub table: &'static str,
    /// The collection of the documents.
    pub collection: &'static Collection,
    /// The field with the id of the record.
    pub field: FieldPath,
}

/// All documents that belong to records.
pub fn belongings() -> Vec<Belonging> {
    vec![
        Belonging::by(&User::BIRTH_CHARTS),
        Belonging::by(&User::PLANETARY_INSIGHTS),
        Belonging::by(&User::TIMING_RECOMMENDATIONS),
    ]
}

/// Documents whose records are not there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dangling {
    pub collection: String,
    /// The field that leads nowhere.
    pub field: String,
    /// How many documents.
    pub documents: u64,
    /// Some of the ids that it has.
    pub records: Vec<Uuid>,
}

impl Belonging {
    fn by<F: Record, D: Documented>(relation: &DocumentsOf<F, D>) -> Self {
        let table = F::Entity::default().table_name();
        Self { table, collection: D::collection(), field: relation.field() }
    }

    /// The documents that belong to these records.
    pub(crate) fn of(&self, records: impl IntoIterator<Item = Uuid>) -> Filter {
        Filter::In { field: self.field.clone(), values: records.into_iter().map(Scalar::Id).collect() }
    }
}

impl Store {
    /// Looks for documents whose records are not there. A document that is made while its record is deleted may be left;
    /// and one whose record is deleted is one until that was delivered.
    pub async fn dangling(&self) -> Result<Vec<Dangling>> {
        let documents = self.documents()?.port();
        let mut found = Vec::new();
        for belonging in belongings() {
            let keys = vec![("record".into(), GroupKey::Field(belonging.field.clone()))];
            let pipeline = Pipeline { stages: vec![Stage::Group { keys, folds: Vec::new() }] };
            let groups = documents.aggregate(belonging.collection, &pipeline).await?;
            let records = groups.iter().filter_map(|group| match Scalar::read(group.get("record")?, &Kind::Id)? {
                Scalar::Id(id) => Some(id),
                _ => None,
            });
            let records = records.collect::<Vec<_>>();
            let mut missing = Vec::new();
            for batch in records.chunks(BATCH) {
                let there = self.there(belonging.table, batch).await?;
                missing.extend(batch.iter().copied().filter(|id| !there.contains(id)));
            }
            if missing.is_empty() {
                continue;
            }
            let mut count = 0;
            for batch in missing.chunks(BATCH) {
                count += documents.count(belonging.collection, &belonging.of(batch.iter().copied())).await?;
            }
            missing.truncate(TOLD);
            found.push(Dangling {
                collection: belonging.collection.name().to_owned(),
                field: belonging.field.path.to_string(),
                documents: count,
                records: missing,
            });
        }
        Ok(found)
    }

    /// Which of these rows there are.
    async fn there(&self, table: &str, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        let mut select = Query::select();
        select.column("id").from(Alias::new(table)).and_where(Expr::col("id").is_in(ids.iter().copied()));
        let rows = self.reader().query_all(&select).await.map_err(fault::unavailable)?;
        rows.iter().map(|row| row.try_get::<Uuid>("", "id").map_err(fault::unreadable)).collect()
    }
}
