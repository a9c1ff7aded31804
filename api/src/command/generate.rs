//! `generate record`: a new noun with all that it needs, from its name and its fields: a migration, the entities, the
//! noun itself, its routes and a test. What is written compiles and passes as it is, and is there to be changed.

mod field;
mod list;
mod noun;
mod source;
mod tree;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::Serialize;

pub(super) use self::noun::{capitalised, lasting};
use self::{
    field::Field,
    noun::{Noun, Parents},
    tree::{Draft, Tree},
};
use super::{
    entity::{self, EntityError, RefreshOptions},
    migrate::{self, MigrateError},
};

/// The verbs under `generate`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum GenerateCommand {
    /// Write a new noun: its migration, entity, model, routes and test
    Record(RecordOptions),
}

/// A noun to be written.
#[derive(Debug, Clone, clap::Args)]
pub struct RecordOptions {
    /// What one of them is called, such as `invoice` or `credit_card`
    name: String,
    /// Its fields, as `number:text:unique`, `note:text:optional` or `user_id:users`; types are text, integer, boolean,
    /// date, timestamp, and the tables of other nouns
    #[arg(required = true, value_name = "FIELD:TYPE")]
    fields: Vec<Field>,
    /// What several of them are called, if that is not the name with an s
    #[arg(long, value_name = "NAME")]
    plural: Option<String>,
    /// Folder of the workspace
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    workspace: PathBuf,
}

/// What was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The new files.
    pub written: Vec<PathBuf>,
    /// Those that were added to.
    pub changed: Vec<PathBuf>,
    /// Where it is served.
    pub path: String,
    /// The name of its test.
    pub test: String,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, changed, path, test } = self;
        for file in written {
            writeln!(f, "wrote    {}", file.display())?;
        }
        for file in changed {
            writeln!(f, "added to {}", file.display())?;
        }
        write!(f, "next: `cargo test -p tests {test}`; `cargo run -- migrate up && cargo run` serves it at {path}")
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("{name:?} is no name for a noun or a field: use a-z, 0-9 and _, and no word of Rust's own")]
    Name { name: String },
    #[error("{table} is no table of a noun; there are {known}")]
    UnknownTable { table: String, known: String },
    #[error("the field {name} is named twice, or is one that every record has")]
    Field { name: String },
    #[error("there has to be a field that can be changed, and that is no reference")]
    NothingToChange,
    #[error("{} is there already: take another name", path.display())]
    Exists { path: PathBuf },
    #[error("{} has no list to which {what} could be added", path.display())]
    Layout { path: PathBuf, what: String },
    #[error("{} cannot be read or written: run from the folder of the workspace, or say --workspace", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Entity(#[from] EntityError),
}

/// Runs a verb of `generate`. New migrations are named after the time `now`.
///
/// # Errors
///
/// As [`record`].
pub async fn run(command: GenerateCommand, now: SystemTime) -> Result<Generated, GenerateError> {
    match command {
        GenerateCommand::Record(options) => record(options, now).await,
    }
}

/// Writes a new noun into the workspace. If anything fails, the workspace is as it was.
///
/// # Errors
///
/// If a name cannot be one or is taken, a field refers to what is not there, a list does not look as expected, or a file
/// cannot be written; and as [`entity::refresh`].
pub async fn record(options: RecordOptions, now: SystemTime) -> Result<Generated, GenerateError> {
    let RecordOptions { name, fields, plural, workspace } = options;
    let tree = Tree::at(workspace);
    let parents = Parents::read(&tree)?;
    let noun = Noun::new(&name, plural.as_deref(), fields, &parents)?;

    let migrations = Path::new("migration/src");
    let title = format!("create_{}", noun.table);
    let migration = migrate::draft(&title, &source::migration(&noun), &tree.path(migrations), now)?;
    let mut new = vec![
        (migrations.join(format!("{}.rs", migration.name)), migration.content),
        (PathBuf::from(format!("domain/src/{}.rs", noun.name)), source::domain(&noun)),
        (PathBuf::from(format!("tests/it/{}.rs", noun.name)), source::test(&noun)),
    ];
    entity::format(&mut new, &tree.path("")).await?;

    let mut draft = Draft::new(&tree);
    for (file, content) in new {
        draft.create(file, content)?;
    }
    draft.replace(migrations.join("lib.rs"), |_| Some(migration.list))?;
    draft.replace("domain/src/lib.rs", |text| list::with_module(text, &noun.name))?;
    draft.replace("api/src/route.rs", |text| list::with_routes(text, &noun))?;
    draft.replace("tests/it/main.rs", |text| list::with_test(text, &noun.name))?;

    let written = draft.write()?;
    let options = RefreshOptions { database_url: None, out: tree.path("entity/src") };
    let step = noun.step(migration.name);
    let refreshed = match entity::refresh_after(options, Arc::new(step)).await {
        Ok(refreshed) => refreshed,
        Err(error) => {
            written.undo();
            return Err(error.into());
        }
    };
    let entities = |files: Vec<String>| files.into_iter().map(|file| Path::new("entity/src").join(file));
    let (mut created, mut changed) = written.paths();
    created.extend(entities(refreshed.added));
    changed.extend(entities(refreshed.changed));
    Ok(Generated { written: created, changed, path: noun.path(), test: noun.name })
}
