//! `migrate`: takes a database along the history of the schema, and writes the start of its next step.
//!
//! The same verbs as `sea-orm-cli migrate`, without a cargo at hand, and with a say in what destroys data: nothing goes
//! down without being confirmed, and a production database is never emptied.

mod connection;
mod empty;
mod generate;
mod report;

use std::{
    fmt, io,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use migration::{Migrator, MigratorTrait};
use sea_orm_migration::{DbErr, sea_orm::DatabaseConnection};

pub use connection::connect;
pub use generate::{Generated, generate};
pub use report::{Direction, Output, Standing, Status, Step};

/// The verbs under `migrate`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum MigrateCommand {
    /// Apply pending migrations
    Up {
        /// How many [default: all]
        #[arg(short, long = "num", value_name = "COUNT")]
        number: Option<u32>,
    },
    /// Roll back applied migrations, the latest first
    Down {
        /// How many
        #[arg(short, long = "num", value_name = "COUNT", default_value_t = 1)]
        number: u32,
        /// Confirm that data may be lost
        #[arg(long)]
        yes: bool,
    },
    /// Go up or down until exactly the migrations up to a version are applied
    To {
        /// Name of the last migration to be applied, or the start of it
        version: String,
        /// Confirm that data may be lost, if the way leads down
        #[arg(long)]
        yes: bool,
    },
    /// List all migrations, and whether each is applied
    Status,
    /// Drop everything in the database, then apply all migrations
    Fresh {
        /// Confirm that all data will be lost
        #[arg(long)]
        yes: bool,
    },
    /// Roll back all applied migrations, then apply all
    Refresh {
        /// Confirm that all data will be lost
        #[arg(long)]
        yes: bool,
    },
    /// Roll back all applied migrations
    Reset {
        /// Confirm that all data will be lost
        #[arg(long)]
        yes: bool,
    },
    /// Write the start of a new migration, and enter it in the list
    Generate {
        /// What it does, such as "add avatar to users"
        name: String,
        /// Source folder of the migration crate
        #[arg(short, long, value_name = "FOLDER", default_value = "migration/src")]
        out: PathBuf,
    },
}

/// What the verbs depend on.
pub struct Context<'a> {
    /// The database: `postgres://` or `sqlite://`.
    pub database_url: &'a str,
    /// Whether it is one that must not be emptied.
    pub production: bool,
    /// The time that a new migration is named after.
    pub now: SystemTime,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database_url: _, production, now } = self;
        f.debug_struct("Context")
            .field("database_url", &"***")
            .field("production", production)
            .field("now", now)
            .finish()
    }
}

/// Why a verb was refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database URL cannot be read: it should look like postgres://user:password@host:5432/database")]
    Url(#[source] sqlx::Error),
    #[error("migrations run on postgres:// and sqlite:// only, and the database URL is neither")]
    UnknownDatabase,
    #[error("{database} cannot be opened: check the database URL, and whether the server runs")]
    Connect {
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("`migrate {verb}` loses data: add --yes if that is meant")]
    NotConfirmed { verb: &'static str },
    #[error("`migrate {verb}` empties the database, which is refused in production: write a migration instead")]
    RefusedInProduction { verb: &'static str },
    #[error("no single migration is called {version}: {}", suggestion(near))]
    UnknownVersion { version: String, near: Vec<String> },
    #[error("{name} could not be {}, after {} others: correct it and run again", direction.done(), completed.len())]
    Step {
        name: String,
        direction: Direction,
        completed: Vec<Step>,
        #[source]
        source: DbErr,
    },
    #[error("the history of the database cannot be read or does not fit: see `migrate status`")]
    History(#[source] DbErr),
    #[error("the database could not be emptied; it is as it was")]
    Empty(#[source] DbErr),
    #[error("{name:?} cannot name a migration: use a-z, 0-9, space, - and _, and at least one letter")]
    Name { name: String },
    #[error("{} has no place for a new {missing}: add it by hand", path.display())]
    Layout { path: PathBuf, missing: &'static str },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn suggestion(near: &[String]) -> String {
    if near.is_empty() {
        "`migrate status` lists them".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    }
}

/// Runs a verb of `migrate`.
///
/// # Errors
///
/// If the verb is not permitted, which is found out before the database is touched; if the database cannot be reached;
/// or as the function of that verb.
pub async fn run(command: MigrateCommand, context: &Context<'_>) -> Result<Output, MigrateError> {
    let production = context.production;
    match &command {
        MigrateCommand::Down { yes, .. } => permit("down", *yes, production)?,
        MigrateCommand::Fresh { yes } => permit("fresh", *yes, production)?,
        MigrateCommand::Refresh { yes } => permit("refresh", *yes, production)?,
        MigrateCommand::Reset { yes } => permit("reset", *yes, production)?,
        MigrateCommand::Generate { name, out } => return generate(name, out, context.now).map(Output::Generated),
        MigrateCommand::Up { .. } | MigrateCommand::To { .. } | MigrateCommand::Status => {}
    }
    let database = connect(context.database_url).await?;
    let outcome = match command {
        MigrateCommand::Up { number } => up(&database, number).await.map(Output::Steps),
        MigrateCommand::Down { number, yes } => down(&database, Some(number), yes, production).await.map(Output::Steps),
        MigrateCommand::To { version, yes } => to(&database, &version, yes, production).await.map(Output::Steps),
        MigrateCommand::Status => status(&database).await.map(Output::Status),
        MigrateCommand::Fresh { yes } => fresh(&database, yes, production).await.map(Output::Steps),
        MigrateCommand::Refresh { yes } => refresh(&database, yes, production).await.map(Output::Steps),
        MigrateCommand::Reset { yes } => reset(&database, yes, production).await.map(Output::Steps),
        MigrateCommand::Generate { name, out } => generate(&name, &out, context.now).map(Output::Generated),
    };
    if let Err(error) = database.close().await {
        tracing::warn!(%error, "the migrated database was not closed cleanly");
    }
    outcome
}

/// Whether a verb that destroys data may run.
///
/// # Errors
///
/// In production, if the verb empties the database; anywhere, if it is not confirmed.
fn permit(verb: &'static str, confirmed: bool, production: bool) -> Result<(), MigrateError> {
    if production && verb != "down" {
        Err(MigrateError::RefusedInProduction { verb })
    } else if !confirmed {
        Err(MigrateError::NotConfirmed { verb })
    } else {
        Ok(())
    }
}

/// Applies pending migrations, all or a number of them.
///
/// # Errors
///
/// If the history does not fit this program, or a migration fails; those before it stay applied.
pub async fn up(database: &DatabaseConnection, number: Option<u32>) -> Result<Vec<Step>, MigrateError> {
    let mut steps = Vec::new();
    let pending = names(Status::Pending, database).await?;
    take(database, Direction::Up, first(pending, number), &mut steps).await?;
    Ok(steps)
}

/// Rolls back applied migrations, all or a number of them, the latest first.
///
/// # Errors
///
/// If it is not confirmed, the history does not fit this program, or a migration fails; those before it stay rolled
/// back.
pub async fn down(
    database: &DatabaseConnection,
    number: Option<u32>,
    confirmed: bool,
    production: bool,
) -> Result<Vec<Step>, MigrateError> {
    permit("down", confirmed, production)?;
    let mut steps = Vec::new();
    let applied = names(Status::Applied, database).await?.into_iter().rev().collect();
    take(database, Direction::Down, first(applied, number), &mut steps).await?;
    Ok(steps)
}

/// Goes down or up until the migrations up to a version are applied, and no others. The start of a name will do, if it
/// is the start of one name only.
///
/// # Errors
///
/// If no migration is called that; if the way leads down and that is not confirmed; and as [`up`] and [`down`].
pub async fn to(
    database: &DatabaseConnection,
    version: &str,
    confirmed: bool,
    production: bool,
) -> Result<Vec<Step>, MigrateError> {
    let standings = status(database).await?;
    let names: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    let target = position(&names, version)?;
    let (wanted, unwanted) = standings.split_at(target + 1);
    let select = |part: &[Standing], status| -> Vec<String> {
        part.iter().filter(|standing| standing.status == status).map(|standing| standing.name.clone()).collect()
    };
    let below: Vec<String> = select(unwanted, Status::Applied).into_iter().rev().collect();
    if !below.is_empty() {
        permit("down", confirmed, production)?;
    }
    let mut steps = Vec::new();
    take(database, Direction::Down, below, &mut steps).await?;
    take(database, Direction::Up, select(wanted, Status::Pending), &mut steps).await?;
    Ok(steps)
}

/// Lists all migrations, and whether each is applied; writes nothing, so that a role without rights to may ask.
///
/// # Errors
///
/// If a migration is applied that this program does not have.
pub async fn status(database: &DatabaseConnection) -> Result<Vec<Standing>, MigrateError> {
    let migrations = Migrator::get_migration_with_status_read_only(database).await.map_err(MigrateError::History)?;
    Ok(migrations
        .iter()
        .map(|migration| Standing {
            name: migration.name().to_owned(),
            status: match migration.status() {
                sea_orm_migration::MigrationStatus::Applied => Status::Applied,
                sea_orm_migration::MigrationStatus::Pending => Status::Pending,
            },
        })
        .collect())
}

/// Drops everything in the database, whoever made it, and applies all migrations.
///
/// # Errors
///
/// In production; if it is not confirmed; and as [`up`].
pub async fn fresh(
    database: &DatabaseConnection,
    confirmed: bool,
    production: bool,
) -> Result<Vec<Step>, MigrateError> {
    permit("fresh", confirmed, production)?;
    let dropped = empty::empty(database).await.map_err(MigrateError::Empty)?;
    tracing::info!(dropped, "database emptied");
    up(database, None).await
}

/// Rolls back all applied migrations, then applies all.
///
/// # Errors
///
/// In production; if it is not confirmed; and as [`down`] and [`up`].
pub async fn refresh(
    database: &DatabaseConnection,
    confirmed: bool,
    production: bool,
) -> Result<Vec<Step>, MigrateError> {
    permit("refresh", confirmed, production)?;
    let mut steps = down(database, None, confirmed, production).await?;
    steps.extend(up(database, None).await?);
    Ok(steps)
}

/// Rolls back all applied migrations, and forgets that there were any.
///
/// # Errors
///
/// In production; if it is not confirmed; and as [`down`].
pub async fn reset(
    database: &DatabaseConnection,
    confirmed: bool,
    production: bool,
) -> Result<Vec<Step>, MigrateError> {
    permit("reset", confirmed, production)?;
    let steps = down(database, None, confirmed, production).await?;
    Migrator::uninstall(database).await.map_err(MigrateError::History)?;
    Ok(steps)
}

async fn names(status: Status, database: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let standings = self::status(database).await?;
    Ok(standings.into_iter().filter(|standing| standing.status == status).map(|standing| standing.name).collect())
}

fn first(mut names: Vec<String>, number: Option<u32>) -> Vec<String> {
    if let Some(number) = number {
        names.truncate(usize::try_from(number).unwrap_or(usize::MAX));
    }
    names
}

/// Takes one step after the other, in the order in which SeaORM would take them all, to tell how long each took.
async fn take(
    database: &DatabaseConnection,
    direction: Direction,
    names: Vec<String>,
    steps: &mut Vec<Step>,
) -> Result<(), MigrateError> {
    let count = names.len();
    for name in names {
        let start = Instant::now();
        let outcome = match direction {
            Direction::Up => Migrator::up(database, Some(1)).await,
            Direction::Down => Migrator::down(database, Some(1)).await,
        };
        if let Err(source) = outcome {
            return Err(MigrateError::Step { name, direction, completed: std::mem::take(steps), source });
        }
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        steps.push(Step { name, direction, duration_ms });
    }
    match direction {
        Direction::Up => tracing::info!(count, "migrations applied"),
        Direction::Down => tracing::info!(count, "migrations rolled back"),
    }
    Ok(())
}

fn position(names: &[&str], version: &str) -> Result<usize, MigrateError> {
    if let Some(exact) = names.iter().position(|name| *name == version) {
        return Ok(exact);
    }
    let starting: Vec<usize> =
        (0..names.len()).filter(|at| !version.is_empty() && names[*at].starts_with(version)).collect();
    match starting[..] {
        [only] => Ok(only),
        _ => Err(MigrateError::UnknownVersion { version: version.to_owned(), near: near(names, version) }),
    }
}

/// Up to three names that the version is a part of, or that are spelled alike, with their date or without.
fn near(names: &[&str], version: &str) -> Vec<String> {
    const COUNT: usize = 3;
    const CUTOFF: f32 = 0.6;
    let titles: Vec<&str> = names.iter().map(|name| name.splitn(3, '_').last().unwrap_or(name)).collect();
    let alike = similar::get_close_matches(version, names, COUNT, CUTOFF);
    let titled = similar::get_close_matches(version, &titles, COUNT, CUTOFF);
    let mut near: Vec<&str> =
        names.iter().copied().filter(|name| !version.is_empty() && name.contains(version)).collect();
    for found in alike.into_iter().chain(titled) {
        if let Some(name) = names.iter().find(|name| name.ends_with(found) && !near.contains(name)) {
            near.push(name);
        }
    }
    near.into_iter().take(COUNT).map(str::to_owned).collect()
}
