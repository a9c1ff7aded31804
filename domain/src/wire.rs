//! Records in the form in which they go over the wire: as JSON, written once, kept by the cache as it is, and passed
//! through without being read.

use std::{
    any::TypeId,
    collections::HashMap,
    marker::PhantomData,
    sync::{LazyLock, PoisonError, RwLock},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    id::Id,
    record::Record,
};

/// A record as JSON. Its id and version are known without reading that.
#[derive(Debug)]
pub struct Wire<R> {
    pub(crate) raw: RawRecord,
    record: PhantomData<fn() -> R>,
}

/// The same, of whatever noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) json: Bytes,
}

impl<R: Record> Wire<R> {
    /// Writes a record.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be written as JSON, as when a key of a map is no text.
    pub fn of(record: &R) -> Result<Self> {
        RawRecord::of(record).map(Self::from)
    }

    /// The record itself.
    ///
    /// # Errors
    /// [`Error::Internal`] if the JSON is not that of such a record.
    pub fn record(&self) -> Result<R> {
        serde_json::from_slice(&self.raw.json)
            .map_err(|error| Error::internal("a record on the wire could not be read", error))
    }

    /// Which record it is.
    pub fn id(&self) -> Id<R> {
        Id::new(self.raw.id)
    }

    /// Which version of it.
    pub fn version(&self) -> i64 {
        self.raw.version
    }

    /// The record as a JSON object.
    pub fn json(&self) -> &Bytes {
        &self.raw.json
    }
}

// Derived, it would ask the same of `R`, which is not there.
impl<R> Clone for Wire<R> {
    fn clone(&self) -> Self {
        self.raw.clone().into()
    }
}

impl<R> From<RawRecord> for Wire<R> {
    fn from(raw: RawRecord) -> Self {
        Self { raw, record: PhantomData }
    }
}

impl RawRecord {
    pub(crate) fn of<R: Record>(record: &R) -> Result<Self> {
        let json =
            serde_json::to_vec(record).map_err(|error| Error::internal("a record could not be written", error))?;
        Ok(Self { id: record.id().uuid(), version: record.version(), json: json.into() })
    }

    /// The id in a field of the record, if it holds one.
    pub(crate) fn reference(&self, field: &str) -> Result<Option<Uuid>> {
        let unreadable = |error| Error::internal("a record on the wire could not be read", error);
        let fields = serde_json::from_slice::<HashMap<&str, &serde_json::value::RawValue>>(&self.json);
        match fields.map_err(unreadable)?.get(field) {
            Some(value) => serde_json::from_str(value.get()).map_err(unreadable),
            None => Ok(None),
        }
    }
}

/// Packs records of one noun, and what goes with them, into one value for the cache.
pub(crate) fn pack<R: Record>(records: &[RawRecord], rest: &[u8]) -> Bytes {
    pack_as(shape::<R>(), records, rest)
}

/// The same, of what looks like that.
pub(crate) fn pack_as(shape: u64, records: &[RawRecord], rest: &[u8]) -> Bytes {
    let size = records.iter().map(|record| record.json.len() + 28).sum::<usize>() + rest.len() + 12;
    let mut packed = BytesMut::with_capacity(size);
    packed.put_u64(shape);
    packed.put_u32(length(records.len()));
    for RawRecord { id, version, json } in records {
        packed.put_u128(id.as_u128());
        packed.put_i64(*version);
        packed.put_u32(length(json.len()));
        packed.put_slice(json);
    }
    packed.put_slice(rest);
    packed.freeze()
}

/// Whether it was packed by a program in which the records look like this.
pub(crate) fn has_shape(packed: &Bytes, shape: u64) -> bool {
    packed.as_ref().try_get_u64() == Ok(shape)
}

/// What was packed, and what went with it.
///
/// # Errors
/// [`Error::Internal`] if it was not packed here.
pub(crate) fn unpack(packed: &Bytes) -> Result<(Vec<RawRecord>, Bytes)> {
    let cut_short = || Error::internal("a value of the cache is cut short", sea_orm::DbErr::Type("packed".to_owned()));
    taken_apart(packed.clone()).ok_or_else(cut_short)
}

fn taken_apart(mut rest: Bytes) -> Option<(Vec<RawRecord>, Bytes)> {
    rest.try_get_u64().ok()?;
    let count = rest.try_get_u32().ok()?;
    let mut records = Vec::with_capacity(count.min(1_000) as usize);
    for _ in 0..count {
        let id = Uuid::from_u128(rest.try_get_u128().ok()?);
        let version = rest.try_get_i64().ok()?;
        let size = rest.try_get_u32().ok()? as usize;
        if size > rest.len() {
            return None;
        }
        records.push(RawRecord { id, version, json: rest.split_to(size) });
    }
    Some((records, rest))
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A hash of what records of this noun look like, so that what another version of the program has kept is not misread.
pub(crate) fn shape<R: Record>() -> u64 {
    static SHAPES: LazyLock<RwLock<HashMap<TypeId, u64>>> = LazyLock::new(RwLock::default);
    let known = SHAPES.read().unwrap_or_else(PoisonError::into_inner).get(&TypeId::of::<R>()).copied();
    known.unwrap_or_else(|| {
        let schema = serde_json::to_vec(&schemars::schema_for!(R)).unwrap_or_default();
        let shape = Sha256::digest(&schema).as_slice().get_u64();
        SHAPES.write().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<R>(), shape);
        shape
    })
}
