//! The seams between technologies: each trait beside the adapter that needs no service.

pub(crate) mod clock;
