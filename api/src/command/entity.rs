//! `entity refresh` and `entity check`: the generated crate never drifts from the migrations.
//!
//! Both migrate a scratch database, read its schema and generate from it what `sea-orm-cli generate entity -l
//! --entity-format dense --er-diagram` and `cargo fmt` make of PostgreSQL, to the byte, whether the scratch database is
//! SQLite or PostgreSQL. Of SQLite, `sea-orm-cli` itself makes a little less: it takes the columns of a partial unique
//! index for unique, and relations come in another order.

mod folder;
mod foreign;
mod render;
mod schema;
mod scratch;
mod tables;

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use migration::MigrationTrait;
use sea_orm_codegen::EntityFormat;
use sea_orm_migration::DbErr;
use serde::Serialize;

pub use folder::{Change, Difference};

/// The verbs under `entity`.
#[derive(clap::Subcommand)]
pub enum EntityCommand {
    /// Regenerate the entities from the migrations
    Refresh(RefreshOptions),
    /// Show what a refresh would change, and fail if that is anything
    Check(RefreshOptions),
    /// Generate entities for a database that other programs have made
    Generate(GenerateOptions),
}

/// Where to generate from, and where to.
#[derive(Clone, clap::Args)]
pub struct RefreshOptions {
    /// PostgreSQL server on which to make the scratch database [default: SQLite in a temporary folder]
    ///
    /// The database that the URL names is left alone.
    #[arg(short = 'u', long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Source folder of the entity crate
    #[arg(short, long, value_name = "FOLDER", default_value = "entity/src")]
    pub out: PathBuf,
}

impl fmt::Debug for RefreshOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database_url, out } = self;
        f.debug_struct("RefreshOptions")
            .field("database_url", &database_url.as_ref().map(|_| "***"))
            .field("out", out)
            .finish()
    }
}

/// What to generate entities for, and where to.
#[derive(Clone, clap::Args)]
pub struct GenerateOptions {
    /// The database: postgres:// or sqlite://
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// Source folder of a crate of its own
    #[arg(short, long, value_name = "FOLDER")]
    pub out: PathBuf,
}

impl fmt::Debug for GenerateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from: _, out } = self;
        f.debug_struct("GenerateOptions").field("from", &"***").field("out", out).finish()
    }
}

/// What a command found or did.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// The outcome of `entity refresh`.
    Refreshed(Report),
    /// The outcome of `entity check`.
    Checked(Check),
    /// The outcome of `entity generate`.
    Generated(Generated),
}

/// What was generated for a database that other programs have made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// What was written.
    #[serde(flatten)]
    pub report: Report,
    /// Tables, and columns as in `orders.total`, for which there is nothing in the entities, each with the reason.
    pub left_out: Vec<String>,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left_out.iter().try_for_each(|left_out| writeln!(f, "left out {left_out}"))?;
        self.report.fmt(f)
    }
}

impl Output {
    /// Whether the process should exit with 0: a check that found a difference should exit with 1.
    pub fn is_success(&self) -> bool {
        match self {
            Self::Refreshed(_) | Self::Generated(_) => true,
            Self::Checked(check) => check.is_clean(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refreshed(report) => report.fmt(f),
            Self::Checked(check) => check.fmt(f),
            Self::Generated(generated) => generated.fmt(f),
        }
    }
}

/// What a refresh wrote; the names are relative to the folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files that were not there.
    pub added: Vec<String>,
    /// Files that were different.
    pub changed: Vec<String>,
    /// Files of tables that are gone.
    pub removed: Vec<String>,
    /// How many files were right already; they were not touched.
    pub unchanged: usize,
}

impl Report {
    /// Whether nothing had to be written.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, changed, removed, unchanged } = self;
        for (verb, files) in [("added", added), ("changed", changed), ("removed", removed)] {
            for file in files {
                writeln!(f, "{verb:<8} {file}")?;
            }
        }
        write!(
            f,
            "entities: {} added, {} changed, {} removed, {unchanged} unchanged",
            added.len(),
            changed.len(),
            removed.len()
        )
    }
}

/// What a refresh would write.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The files that would change, each with its unified diff; empty if the entities are fresh.
    pub differences: Vec<Difference>,
    /// How many files are right already.
    pub unchanged: usize,
}

impl Check {
    /// Whether a refresh would write nothing.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "the entities match the migrations ({} files)", self.unchanged);
        }
        for difference in &self.differences {
            f.write_str(&difference.diff)?;
        }
        let count = self.differences.len();
        write!(f, "{count} of {} files differ: run `entity refresh`", count + self.unchanged)
    }
}

/// Why the entities could not be generated, compared or written.
#[derive(Debug, thiserror::Error)]
pub enum EntityError {
    #[error("the database URL cannot be read: it should look like postgres://user:password@host:5432/database")]
    Url(#[source] sqlx::Error),
    #[error("no scratch database on `{scheme}`: give a postgres:// URL, or none to use SQLite")]
    UnknownDatabase { scheme: String },
    #[error("the server for the scratch database does not answer: check the URL, or give none to use SQLite")]
    Connect(#[source] sqlx::Error),
    #[error("no scratch database could be created: the role needs CREATEDB, or give no URL to use SQLite")]
    Create(#[source] sqlx::Error),
    #[error("the scratch database {name} could not be dropped: drop it by hand")]
    Drop {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the scratch database could not be migrated: correct the migration that fails")]
    Migrate(#[source] DbErr),
    #[error("the schema of the scratch database could not be read")]
    Discover(#[source] Box<dyn Error + Send + Sync>),
    #[error("interrupted; nothing was written")]
    Interrupted,
    #[error("column {table}.{column} is {found}, which makes other entities on PostgreSQL than on SQLite: {advice}")]
    Column { table: String, column: String, found: String, advice: &'static str },
    #[error(
        "the foreign keys of {table} would come in another order on the other database, and give its relations other \
         names: name each fk_{table}_<columns>"
    )]
    ForeignKeys { table: String },
    #[error("{table} has a UNIQUE constraint on ({columns}), whose name SQLite forgets: make it a named unique index")]
    Unique { table: String, columns: String },
    #[error("no entities could be generated from the schema")]
    Generate(#[source] sea_orm_codegen::Error),
    #[error("rustfmt is not installed: run `rustup component add rustfmt`")]
    RustfmtMissing,
    #[error("rustfmt refused the generated entities: {message}")]
    Rustfmt { message: String },
    #[error("{} was not generated: move it out, the folder holds generated files only", path.display())]
    Foreign { path: PathBuf },
    #[error("{} is not there: run from the folder of the workspace, or say --out", path.display())]
    NoFolder { path: PathBuf },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Runs a verb of `entity`.
///
/// # Errors
///
/// As [`refresh`] and [`check`].
pub async fn run(command: EntityCommand) -> Result<Output, EntityError> {
    match command {
        EntityCommand::Refresh(options) => refresh(options).await.map(Output::Refreshed),
        EntityCommand::Check(options) => check(options).await.map(Output::Checked),
        EntityCommand::Generate(options) => generate_from(options).await.map(Output::Generated),
    }
}

/// Regenerates the entity crate from the migrations.
///
/// Files that are right already are not touched, so that nothing is compiled again. If anything fails, the folder is as
/// it was.
///
/// # Errors
///
/// If the scratch database cannot be made or migrated, if a column would give different entities on the two databases,
/// if rustfmt is missing, or if the folder cannot be written or holds a file that was not generated.
pub async fn refresh(options: RefreshOptions) -> Result<Report, EntityError> {
    write(&options.out, &generate(&options, None).await?)
}

/// Generates entities for a database that other programs have made, such as a restored dump. Nothing is asked of it but
/// that an entity can be written at all.
///
/// # Errors
///
/// If the database cannot be read, if rustfmt is missing, or if the folder cannot be written or holds a file that was not
/// generated.
pub async fn generate_from(options: GenerateOptions) -> Result<Generated, EntityError> {
    let (tables, left_out) = foreign::discover(&options.from).await?;
    // Of all formats the one in which relations cannot be called like columns.
    let files = render::render(tables, EntityFormat::Compact, &options.out).await?;
    Ok(Generated { report: write(&options.out, &files)?, left_out })
}

fn write(out: &Path, files: &render::Files) -> Result<Report, EntityError> {
    let comparison = folder::compare(out, files)?;
    folder::replace(out, files, &comparison.differences)?;
    let mut report = Report { unchanged: comparison.unchanged, ..Report::default() };
    for Difference { file, change, .. } in comparison.differences {
        match change {
            Change::Added => report.added.push(file),
            Change::Changed => report.changed.push(file),
            Change::Removed => report.removed.push(file),
        }
    }
    Ok(report)
}

/// Compares the entity crate with what a refresh would make of it; writes nothing.
///
/// # Errors
///
/// As [`refresh`]. A difference is no error: see [`Check::is_clean`].
pub async fn check(options: RefreshOptions) -> Result<Check, EntityError> {
    let files = generate(&options, None).await?;
    folder::compare(&options.out, &files)
}

/// The same, as it will be once a migration is among them that was just written.
///
/// # Errors
///
/// As [`refresh`].
pub(super) async fn refresh_after(
    options: RefreshOptions,
    last: Arc<dyn MigrationTrait>,
) -> Result<Report, EntityError> {
    write(&options.out, &generate(&options, Some(last)).await?)
}

/// Formats sources as rustfmt formats those in a folder.
///
/// # Errors
///
/// If rustfmt is missing or refuses them.
pub(super) async fn format(sources: &mut [(PathBuf, String)], folder: &Path) -> Result<(), EntityError> {
    let names = 0..sources.len();
    let mut files = names.map(|n| format!("{n}.rs")).zip(sources.iter().map(|(_, text)| text.clone())).collect();
    render::rustfmt(&mut files, folder).await?;
    for (n, (_, text)) in sources.iter_mut().enumerate() {
        *text = files.remove(&format!("{n}.rs")).unwrap_or_default();
    }
    Ok(())
}

async fn generate(
    options: &RefreshOptions,
    last: Option<Arc<dyn MigrationTrait>>,
) -> Result<render::Files, EntityError> {
    let tables = scratch::discover(options.database_url.as_deref(), last.clone()).await?;
    let mut files = render::render(tables, EntityFormat::Dense, &options.out).await?;
    // From SQLite in any case, so that it is the same to the byte.
    files.insert(tables::DESCRIPTION.to_owned(), tables::describe(&scratch::schema(last).await?));
    Ok(files)
}
