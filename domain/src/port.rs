//! The seams between technologies: each trait beside the adapter that needs no service.

pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod documents;
pub(crate) mod memory;
