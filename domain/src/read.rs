//! Reads through the cache.

use std::{any::type_name, collections::HashMap, sync::Arc};

use bytes::Bytes;
use sea_orm::{EntityName, IdenStatic};

use crate::{
    coherence::{Coherence, Refill},
    error::{Error, Result},
    id::Id,
    page::{Listing, Page},
    pool::Pool,
    port::cache::Key,
    query::{self, ID},
    record::{Caching, Filter, Record, UniqueText},
    relation::{self, Relation},
    store::Store,
    wire::{self, RawRecord, Wire},
};

/// Looks up a record.
pub(crate) async fn look_up<R: Record>(
    store: &Store,
    coherence: &Arc<Coherence>,
    id: Id<R>,
) -> Result<Option<Wire<R>>> {
    if let Caching::Refilled(_) = R::CACHED {
        coherence.refill_with(R::Entity::default().table_name(), || refill::<R>(store.reader(), coherence));
    }
    first(&look_up_in(store.reader(), coherence, id).await?)
}

async fn look_up_in<R: Record>(reader: &Pool, coherence: &Arc<Coherence>, id: Id<R>) -> Result<Bytes> {
    let key = Key::id(R::Entity::default().table_name(), ID, id.uuid());
    let load = || {
        let reader = reader.clone();
        async move { pack_one(query::look_up::<R, _>(&reader, id).await?) }
    };
    coherence.through(coherence.wanted::<R>(key, None), load).await
}

/// What reads a record again, while there is still somebody to read it for.
fn refill<R: Record>(reader: &Pool, coherence: &Arc<Coherence>) -> Refill {
    let (reader, coherence) = (reader.clone(), Arc::downgrade(coherence));
    Box::new(move |id| {
        let (reader, coherence) = (reader.clone(), coherence.clone());
        Box::pin(async move {
            if let Some(coherence) = coherence.upgrade()
                && let Err(error) = look_up_in(&reader, &coherence, Id::<R>::new(id)).await
            {
                tracing::debug!(%error, "what was written was not read again");
            }
        })
    })
}

/// Looks up the record with a unique text. It is kept under that, too, and forgotten when the row changes.
pub(crate) async fn look_up_by<R: Record>(
    store: &Store,
    coherence: &Arc<Coherence>,
    by: &UniqueText<R>,
    text: &str,
) -> Result<Option<Wire<R>>> {
    let key = Key::text(R::Entity::default().table_name(), by.0.as_str(), text);
    let load = || {
        let (reader, by, text) = (store.reader().clone(), UniqueText::<R>(by.0), text.to_owned());
        async move { pack_one(query::look_up_by(&reader, &by, &text).await?) }
    };
    first(&coherence.through(coherence.wanted::<R>(key, None), load).await?)
}

/// A page of a list. It is kept until anything in the table changes.
pub(crate) async fn list<F: Filter>(
    store: &Store,
    coherence: &Arc<Coherence>,
    filter: &F,
    page: &Page,
) -> Result<Listing<Wire<F::Record>>> {
    let table = <F::Record as crate::record::Stored>::Entity::default().table_name();
    let key = Key::of(&format!("{table}?{} {filter:?} {page:?}", type_name::<F>()));
    let load = || {
        let (reader, filter, page) = (store.reader().clone(), filter.clone(), page.clone());
        async move {
            let Listing { records, next } = query::list(&reader, &filter, &page).await?;
            let records = records.iter().map(RawRecord::of).collect::<Result<Vec<_>>>()?;
            let next = serde_json::to_vec(&next);
            let next = next.map_err(|error| Error::internal("a place in a list cannot be kept", error))?;
            Ok(wire::pack::<F::Record>(&records, &next))
        }
    };
    let wanted = coherence.wanted::<F::Record>(key, Some(Key::table(table)));
    let (records, next) = wire::unpack(&coherence.through(wanted, load).await?)?;
    let next = serde_json::from_slice(&next)
        .map_err(|error| Error::internal("a kept place in a list cannot be read", error))?;
    Ok(Listing { records: records.into_iter().map(Wire::from).collect(), next })
}

/// The related records of each of these. A record without any has no entry.
pub(crate) async fn related<F: Record, T: Record>(
    store: &Store,
    relation: &Relation<F, T>,
    of: &[Id<F>],
) -> Result<HashMap<Id<F>, Vec<T>>> {
    let of = of.iter().map(|id| id.uuid()).collect::<Vec<_>>();
    let mut related = HashMap::<_, Vec<_>>::new();
    match relation::kept(store, relation, &of) {
        Some((coherence, wanted)) => {
            let load = async |missing: Vec<usize>| {
                let missing = missing.into_iter().map(|place| of[place]).collect::<Vec<_>>();
                relation::Related::load(relation, store, &missing).await
            };
            let values = coherence.through_all(&wanted, load).await?;
            for (parent, value) in of.iter().zip(&values) {
                let records = wire::unpack(value)?.0.into_iter().map(|raw| Wire::from(raw).record());
                let records = records.collect::<Result<Vec<T>>>()?;
                if !records.is_empty() {
                    related.insert(Id::new(*parent), records);
                }
            }
        }
        None => {
            for (parent, record) in relation.pairs(store.reader(), &of).await? {
                related.entry(Id::new(parent)).or_default().push(record);
            }
        }
    }
    Ok(related)
}

fn pack_one<R: Record>(record: Option<R>) -> Result<Bytes> {
    let record = record.as_ref().map(RawRecord::of).transpose()?;
    Ok(wire::pack::<R>(record.as_slice(), &[]))
}

fn first<R: Record>(value: &Bytes) -> Result<Option<Wire<R>>> {
    Ok(wire::unpack(value)?.0.into_iter().next().map(Wire::from))
}
