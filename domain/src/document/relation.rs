//! From records to the documents that are about them.

use std::{collections::HashMap, marker::PhantomData};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{DocumentStore, Documented, Field, FieldPath, Filter, Kept, Kind, Query, Scalar, filter::value_of};
use crate::{
    audit::{Reading, Sensitive},
    coherence::{Coherence, Wanted},
    error::{Error, Result},
    id::Id,
    port::documents::DocumentsError,
    record::Record,
    relation::Related,
    store::Store,
    wire::{self, RawRecord},
};

/// How many records one question is about.
const PARENTS: usize = 1_000;

/// From records of `F` to the documents of `D` that are about one: those have its id in a field. They come in the order of
/// their creation.
pub struct DocumentsOf<F, D> {
    name: &'static str,
    path: &'static str,
    types: PhantomData<fn() -> (F, D)>,
}

impl<F: Record, D: Documented> DocumentsOf<F, D> {
    /// By the field that has the id.
    pub(crate) const fn by(name: &'static str, field: Field<D, Id<F>>) -> Self {
        Self { name, path: field.into_path(), types: PhantomData }
    }

    /// That field.
    pub(crate) fn field(&self) -> FieldPath {
        FieldPath::new(self.path, Kind::Id)
    }
}

impl DocumentStore {
    /// The documents that are about these records, in one question. A record without any has no entry.
    pub async fn related<F: Record, D: Documented>(
        &self,
        relation: &DocumentsOf<F, D>,
        of: &[Id<F>],
    ) -> Result<HashMap<Id<F>, Vec<Kept<D>>>> {
        let of = of.iter().map(|id| id.uuid()).collect::<Vec<_>>();
        let related = self.about(relation, &of).await?;
        self.store().tell(Reading::of_documents(related.values().flatten())).await?;
        Ok(related.into_iter().map(|(id, documents)| (Id::new(id), documents)).collect())
    }

    async fn about<F: Record, D: Documented>(
        &self,
        relation: &DocumentsOf<F, D>,
        of: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Kept<D>>>> {
        let field = relation.field();
        let mut related = HashMap::<_, Vec<_>>::new();
        for of in of.chunks(PARENTS) {
            let values = of.iter().copied().map(Scalar::Id).collect();
            let filter = Filter::In { field: field.clone(), values };
            let query = Query { filter, ..Query::default() };
            for document in self.port().find(D::collection(), &query).await? {
                let about = value_of(&document, &field).and_then(|value| Scalar::read(value, &Kind::Id));
                let Some(Scalar::Id(about)) = about else { return Err(DocumentsError::Unexpected.into()) };
                related.entry(about).or_default().push(Kept::from_document(document)?);
            }
        }
        Ok(related)
    }
}

#[async_trait]
impl<F: Record, D: Documented> Related for DocumentsOf<F, D> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn next(&self) -> &'static [&'static dyn Related] {
        &[]
    }

    fn is_many(&self) -> bool {
        true
    }

    fn found_by(&self, parent: &RawRecord) -> Result<Option<Uuid>> {
        Ok(Some(parent.id))
    }

    // The database does not tell what changes in documents.
    fn wanted(&self, _: &Coherence, _: Uuid) -> Option<Wanted> {
        None
    }

    fn sensitive(&self) -> Option<Sensitive> {
        Sensitive::of_collection(D::collection())
    }

    async fn load(&self, store: &Store, found_by: &[Uuid]) -> Result<Vec<Bytes>> {
        let related = store.documents()?.about(self, found_by).await?;
        let packed = found_by.iter().map(|id| {
            let documents = related.get(id).map_or(&[][..], Vec::as_slice).iter().map(raw);
            Ok(wire::pack_as(UNCACHED, &documents.collect::<Result<Vec<_>>>()?, &[]))
        });
        packed.collect()
    }
}

/// The shape of what is never kept.
const UNCACHED: u64 = 0;

fn raw<D: Documented>(kept: &Kept<D>) -> Result<RawRecord> {
    let json = serde_json::to_vec(kept).map_err(|error| Error::internal("a document could not be written", error))?;
    Ok(RawRecord { id: kept.id.uuid(), version: kept.version, json: json.into() })
}
