//! The files of the workspace, of which all are written or none.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::GenerateError;

/// The workspace.
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// The names, without the ending, and the texts of the sources in a folder.
    pub(super) fn sources(&self, folder: &str) -> Result<Vec<(String, String)>, GenerateError> {
        let folder = self.path(folder);
        let failed = |source| GenerateError::File { path: folder.clone(), source };
        let mut sources = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let (Some(name), Some("rs")) =
                (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|ending| ending.to_str()))
            {
                sources.push((name.to_owned(), read(&path)?));
            }
        }
        Ok(sources)
    }

    /// Whether a file is there and has this text in it.
    pub(super) fn contains(&self, path: &str, text: &str) -> bool {
        fs::read_to_string(self.path(path)).is_ok_and(|source| source.contains(text))
    }
}

/// What is to be written.
pub(super) struct Draft<'a> {
    tree: &'a Tree,
    edits: Vec<Edit>,
}

struct Edit {
    path: PathBuf,
    /// What was there.
    before: Option<String>,
    after: String,
}

impl<'a> Draft<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, edits: Vec::new() }
    }

    /// A file that must not be there yet.
    pub(super) fn create(&mut self, path: PathBuf, after: String) -> Result<(), GenerateError> {
        if self.tree.path(&path).exists() {
            return Err(GenerateError::Exists { path });
        }
        self.edits.push(Edit { path, before: None, after });
        Ok(())
    }

    /// Another text in the place of the one that is there, if there is a place for it.
    pub(super) fn replace(
        &mut self,
        path: impl Into<PathBuf>,
        change: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(), GenerateError> {
        let path = path.into();
        let before = read(&self.tree.path(&path))?;
        let Some(after) = change(&before) else {
            return Err(GenerateError::Layout { path, what: "a line for the new noun".to_owned() });
        };
        self.edits.push(Edit { path, before: Some(before), after });
        Ok(())
    }

    /// Writes everything, or leaves everything as it was.
    pub(super) fn write(self) -> Result<Written<'a>, GenerateError> {
        let Self { tree, edits } = self;
        let mut written = Written { tree, edits: Vec::new() };
        for edit in edits {
            let path = tree.path(&edit.path);
            if let Err(source) = put(&path, &edit.after) {
                written.undo();
                return Err(GenerateError::File { path, source });
            }
            written.edits.push(edit);
        }
        Ok(written)
    }
}

/// What was written.
pub(super) struct Written<'a> {
    tree: &'a Tree,
    edits: Vec<Edit>,
}

impl Written<'_> {
    /// Puts everything back.
    pub(super) fn undo(self) {
        for Edit { path, before, .. } in self.edits.into_iter().rev() {
            let path = self.tree.path(path);
            let undone = match before {
                Some(before) => put(&path, &before),
                None => fs::remove_file(&path),
            };
            if let Err(error) = undone {
                tracing::error!(file = %path.display(), %error, "what was half done could not be undone");
            }
        }
    }

    /// The new files, and those that were changed.
    pub(super) fn paths(self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (new, changed) = self.edits.into_iter().partition::<Vec<_>, _>(|edit| edit.before.is_none());
        let paths = |edits: Vec<Edit>| edits.into_iter().map(|edit| edit.path).collect();
        (paths(new), paths(changed))
    }
}

fn read(path: &Path) -> Result<String, GenerateError> {
    fs::read_to_string(path).map_err(|source| GenerateError::File { path: path.to_path_buf(), source })
}

/// Writes beside the file and renames, so that it is never there in half.
fn put(path: &Path, content: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".generate-").tempfile_in(folder)?;
    draft.write_all(content.as_bytes())?;
    // Such files can be read by their owner only; sources are as others beside them.
    let permissions = fs::metadata(folder.join("lib.rs")).or_else(|_| fs::metadata(folder.join("main.rs")));
    if let Ok(metadata) = permissions {
        fs::set_permissions(draft.path(), metadata.permissions())?;
    }
    draft.persist(path).map(drop).map_err(|error| error.error)
}
