//! error: E0603

pub fn names<R: domain::record::Stored>() {}
