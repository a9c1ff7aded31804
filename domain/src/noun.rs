//! What a noun is written with. `use crate::noun::*` in its file, and name the other nouns that it speaks of.

pub(crate) use async_trait::async_trait;
pub(crate) use validator::Validate;

pub(crate) use crate::{
    columns::{ColumnValue, new, patch, record},
    error::{Error, FieldError, Result},
    id::Id,
    record::{Caching, Insert, Patch},
    relation::{ManyToMany, Relation},
    store::Store,
    unit_of_work::UnitOfWork,
    value::{Change, Day, Timestamp, email, line, text_enum, web_address},
};
