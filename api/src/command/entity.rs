//! `entity refresh` and `entity check`: the generated crate never drifts from the migrations.
//!
//! Both migrate a scratch database, read its schema and generate from it what `sea-orm-cli generate entity -l
//! --entity-format dense --er-diagram` and `cargo fmt` make of PostgreSQL, to the byte, whether the scratch database is
//! SQLite or PostgreSQL. Of SQLite, `sea-orm-cli` itself makes a little less: it takes the columns of a partial unique
//! index for unique, and relations come in another order.

mod folder;
mod foreign;
pub(super) mod model;
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
use sea_query::TableCreateStatement;
use serde::Serialize;

use self::model::Model;
use crate::schema::{Schema, differences};

pub use folder::{Change, Difference};

/// The verbs under `entity`.
#[derive(clap::Subcommand)]
pub enum EntityCommand {
    /// Regenerate the entities from the migrations
    Refresh(RefreshOptions),
    /// Show what a refresh would change, and fail if that is anything
    Check(CheckOptions),
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

/// What to compare with.
#[derive(Clone, clap::Args)]
pub struct CheckOptions {
    #[command(flatten)]
    pub with: RefreshOptions,
    /// A database to compare with, in place of what the migrations make: postgres:// or sqlite://
    #[arg(long, value_name = "URL", conflicts_with = "database_url")]
    pub against: Option<String>,
}

impl fmt::Debug for CheckOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with, against } = self;
        f.debug_struct("CheckOptions").field("with", with).field("against", &against.as_ref().map(|_| "***")).finish()
    }
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
    #[error("entity/src/{file} cannot be understood: {why}")]
    Source { file: String, why: String },
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
        EntityCommand::Check(CheckOptions { with, against: None }) => check(with).await.map(Output::Checked),
        EntityCommand::Check(CheckOptions { with, against: Some(url) }) => {
            check_against(&url, &with.out).await.map(Output::Checked)
        }
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

/// Compares the entity crate with what there would be to generate from a database that is in use.
///
/// # Errors
///
/// If it cannot be read, or has columns that make other entities on another database.
pub async fn check_against(url: &str, out: &Path) -> Result<Check, EntityError> {
    let (tables, _) = scratch::read_database(url).await?;
    let files = render::render(tables, EntityFormat::Dense, out).await?;
    let mut check = folder::compare(out, &files)?;
    // What is said of the tables besides is said of what the migrations make.
    check.differences.retain(|difference| difference.file != tables::DESCRIPTION);
    Ok(check)
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

/// What the entities in a folder say, whether or not they are as they were generated.
///
/// # Errors
///
/// If a file cannot be read, or has something in it that no entity says of tables on both databases.
pub(super) fn wanted(folder: &Path) -> Result<Model, EntityError> {
    model::read_folder(folder)
}

/// What entities say of what the migrations make, and what that is.
///
/// # Errors
///
/// As [`refresh`].
pub(super) async fn present(folder: &Path) -> Result<(Model, Schema), EntityError> {
    let (tables, schema) = scratch::present().await?;
    Ok((said(tables, folder).await?, schema))
}

/// What entities say of a database, and what it is.
///
/// # Errors
///
/// If it cannot be read, or has columns that make other entities on another database.
pub(super) async fn of_database(url: &str, folder: &Path) -> Result<(Model, Schema), EntityError> {
    let (tables, schema) = scratch::read_database(url).await?;
    Ok((said(tables, folder).await?, schema))
}

/// What a migration makes of what the others made.
pub(super) struct Tried {
    /// What entities say of it.
    pub(super) model: Model,
    /// In what the schema is not as it was, once it is taken back.
    pub(super) differences: Vec<crate::schema::Difference>,
}

/// Takes a migration up and down in a scratch database.
///
/// # Errors
///
/// If it fails, which is [`EntityError::Migrate`]; and as [`refresh`].
pub(super) async fn try_out(last: Arc<dyn MigrationTrait>, folder: &Path) -> Result<Tried, EntityError> {
    let scratch::Tried { tables, before, back } = scratch::try_out(last).await?;
    Ok(Tried { model: said(tables, folder).await?, differences: differences(&before, &back) })
}

/// In what a database is not as the migrations make it, with this one behind them. Grants do not count, nor do tables that
/// no entity is made for.
///
/// # Errors
///
/// If it cannot be read, or there is no scratch database beside it.
pub(super) async fn compared(
    url: &str,
    last: Option<Arc<dyn MigrationTrait>>,
) -> Result<Vec<crate::schema::Difference>, EntityError> {
    let (_, found) = scratch::read_database(url).await?;
    let made = scratch::schema_on(Some(url), last).await?;
    let bare = |schema: Schema| schema.without_tables(|name| !schema::is_generated_from(name)).without_grants(|_| true);
    Ok(differences(&bare(made), &bare(found)))
}

async fn said(tables: Vec<TableCreateStatement>, folder: &Path) -> Result<Model, EntityError> {
    model::read(&render::render(tables, EntityFormat::Dense, folder).await?)
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
