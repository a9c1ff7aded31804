//! Finds migrations in plain SQL: files, and folders of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Migration, Source};
use crate::command::migrate::MigrateError;

/// The migrations in a file, or in a folder: its files, or those in a folder for each version, in the order of their names.
pub(super) fn read(path: &Path) -> Result<Vec<Migration>, MigrateError> {
    if !path.is_dir() {
        return Ok(vec![single(path)?]);
    }
    let mut found = Vec::new();
    for path in entries(path)? {
        if path.is_dir() {
            found.extend(version(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(single(&path)?);
        }
    }
    if found.is_empty()
        && let Some(migration) = version(path)?
    {
        found.push(migration);
    }
    Ok(found)
}

fn single(path: &Path) -> Result<Migration, MigrateError> {
    let up = Source {
        name: path.display().to_string(),
        sends_pieces: false,
        pieces: vec![text(path)?],
        in_transaction: true,
    };
    Ok(Migration { name: name(path), up, down: None, has_down: None, sqlite: None })
}

/// A folder with the way up, and the way down.
fn version(folder: &Path) -> Result<Option<Migration>, MigrateError> {
    let source = |way: &str| -> Result<Option<Source>, MigrateError> {
        // What is for SQLite alone is another language.
        let paths = [format!("{way}.postgres.sql"), format!("{way}.sql")].map(|file| folder.join(file));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else { return Ok(None) };
        Ok(Some(Source {
            name: path.display().to_string(),
            sends_pieces: false,
            pieces: vec![text(&path)?],
            in_transaction: true,
        }))
    };
    let Some(up) = source("up")? else { return Ok(None) };
    let down = source("down")?;
    let is_declared = up.pieces.iter().any(|sql| migration::irreversible_because(sql).is_some());
    let has_down = Some(down.is_some() || is_declared);
    Ok(Some(Migration { name: name(folder), up, down, has_down, sqlite: None }))
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, MigrateError> {
    let failed = |source| MigrateError::File { path: folder.to_path_buf(), source };
    let entries = fs::read_dir(folder).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String, MigrateError> {
    fs::read_to_string(path).map_err(|source| MigrateError::File { path: path.to_path_buf(), source })
}
