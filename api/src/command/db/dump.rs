//! What a dump is, by how it begins.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::DbError;

/// A dump.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

/// What it is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// SQL.
    Plain,
    /// What `pg_restore` reads.
    Archive,
    /// A SQLite database.
    File,
}

impl Dump {
    /// Looks at its beginning.
    pub(super) fn read(path: &Path) -> Result<Self, DbError> {
        const LOOK: u64 = 16;
        let failed = |source| DbError::File { path: path.to_path_buf(), source };
        // Not by the name that it was given, because the programs run elsewhere.
        let path = std::path::absolute(path).map_err(failed)?;
        let mut start = Vec::new();
        File::open(&path).and_then(|file| file.take(LOOK).read_to_end(&mut start)).map_err(failed)?;
        let format = match start.as_slice() {
            start if start.starts_with(b"PGDMP") || start.starts_with(b"toc.dat\0") => Format::Archive,
            start if start.starts_with(b"SQLite format 3\0") => Format::File,
            start if start.contains(&0) || start.starts_with(&[0x1f, 0x8b]) => {
                return Err(DbError::NoDump {
                    path,
                    why: "it is neither SQL nor an archive; unpack it first".to_owned(),
                });
            }
            _ => Format::Plain,
        };
        Ok(Self { path, format })
    }

    /// That it is for another kind of database.
    pub(super) fn is_for_another(&self) -> DbError {
        let why = match self.format {
            Format::Archive => "it is an archive of PostgreSQL's",
            Format::File => "it is a SQLite database",
            Format::Plain => "it is SQL for another database",
        };
        DbError::NoDump { path: self.path.clone(), why: why.to_owned() }
    }
}
