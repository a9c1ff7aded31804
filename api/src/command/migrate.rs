//! `migrate`: takes a database along the history of the schema, and writes the start of its next step.
//!
//! The same verbs and the same history as `sea-orm-cli migrate`, without a cargo at hand, and with what that lacks: one
//! migrator at a time, however many start; a log of who applied what, from which source; a limit to how long anybody
//! waits behind a migration; a say in what loses data (see [`Consent`]); and an end that leaves nothing in doubt when
//! somebody presses Ctrl-C, or the process is gone.

mod authority;
mod baseline;
mod checksum;
mod connection;
mod consent;
mod diff;
mod drift;
mod empty;
mod error;
mod fault;
mod gate;
mod generate;
mod grant;
pub mod lint;
mod lock;
mod log;
mod options;
mod pace;
mod plan;
mod refusal;
mod report;
mod standing;
mod start;
mod step;
mod tables;
mod verb;
mod who;

use std::{
    fmt,
    path::PathBuf,
    pin::{Pin, pin},
    time::{Duration, SystemTime},
};

pub use authority::Authority;
pub use baseline::baseline;
pub use connection::{Database, connect};
pub(crate) use connection::{file_of, name_of};
pub use consent::Consent;
pub use diff::{Diff, DiffOptions, WorkedOut, diff, work_out};
pub use drift::{Drift, UnknownSchema, drift};
pub use error::{Cancelled, MigrateError};
pub(crate) use fault::is_forbidden;
pub use generate::{Generated, generate};
pub(super) use generate::{draft, table_migration};
pub use grant::{GrantError, Granted};
pub(crate) use options::Accounts;
pub use options::{Options, Program};
pub use plan::{Plan, PlannedStep, plan};
pub use refusal::{Refusal, refusals};
pub use report::{Direction, Output, Overview, Refusals, Step, StepStatus};
pub use standing::{Begun, Problem, Record, Rows, Standing, Status, status};
pub(crate) use start::may_migrate;
pub use start::prepare_schema;
pub use verb::{Address, MigrateCommand};

use migration::{Migrator, MigratorTrait};
use sea_orm_migration::sea_orm::DbBackend;

use super::{roles, signal::Signal};
use connection::Place;
use lock::Lock;
use log::Action;
use step::{Runner, unrecorded};

/// What the verbs depend on.
pub struct Context<'a> {
    /// The database, as the service uses it: `postgres://` or `sqlite://`.
    pub database_url: &'a str,
    /// What this process has to show.
    pub authority: Authority<'a>,
    /// How migrations are run, and which.
    pub options: Options,
    /// Source folder of the migration crate.
    pub folder: PathBuf,
    /// What was said about losing data.
    pub consent: Consent<'a>,
    /// The time that a new migration is named after.
    pub now: SystemTime,
}

impl Context<'_> {
    /// Where the database is reached to be migrated.
    fn address(&self) -> &str {
        self.authority.database_url.unwrap_or(self.database_url)
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database_url: _, authority, options, folder, consent, now } = self;
        f.debug_struct("Context")
            .field("database_url", &"***")
            .field("authority", authority)
            .field("options", options)
            .field("folder", folder)
            .field("consent", consent)
            .field("now", now)
            .finish()
    }
}

/// How long to wait for what was cancelled to end: longer than SQLite waits for the lock of another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a verb of `migrate`, until it is done or somebody asks for the end: then the statement that runs is cancelled and
/// its migration undone, and those before it stay.
///
/// # Errors
///
/// If the verb is not permitted, which is found out before the database is touched; if the database cannot be reached; if
/// somebody asked for the end; or as the function of that verb.
pub async fn run(
    command: MigrateCommand,
    context: &Context<'_>,
    asked_to_end: impl Future<Output = Signal>,
) -> Result<Output, MigrateError> {
    if let MigrateCommand::Generate { name, out } = &command {
        let folder = out.as_ref().unwrap_or(&context.folder);
        return generate(name, folder, context.now).map(Output::Generated);
    }
    if let MigrateCommand::Diff(options) = command {
        return diff(*options, context.folder.clone(), context.now).await.map(Output::Diff);
    }
    if let MigrateCommand::Lint { paths, trace } = &command {
        let report = match trace {
            Some(server) => lint::trace(&server.0, context.options.program.migrations).await,
            None => lint::lint(paths).await,
        };
        return report.map(Output::Lint);
    }
    let service = Place::read(context.database_url)?;
    let place = Place::read(context.address())?;
    if let MigrateCommand::Grant { life } = command {
        return Ok(Output::Granted(context.authority.grant(&place, &context.options, context.now, life)?));
    }
    let verb = command.writes();
    let outcome = match verb {
        Some(verb) => context.authority.permit(verb, (&place, &service), &context.options, context.now),
        None => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => run_permitted(command, place, context, asked_to_end).await,
        Err(error) => Err(error),
    };
    if let (Some(verb), Err(error)) = (verb, &outcome)
        && error.is_refusal()
    {
        refusal::record(service, &context.options, verb, error).await;
    }
    outcome
}

async fn run_permitted(
    command: MigrateCommand,
    place: Place,
    context: &Context<'_>,
    asked_to_end: impl Future<Output = Signal>,
) -> Result<Output, MigrateError> {
    if let MigrateCommand::Plan { down, number } = command
        && place.is_missing()
    {
        let migrations = Migrator::migrations();
        let names = migrations.iter().map(|migration| migration.name().to_owned()).collect();
        let names = if down { Vec::new() } else { first(names, number) };
        return Ok(Output::Plan(plan(&migrations, &names, Direction::Up, DbBackend::Sqlite).await?));
    }
    if let Some(verb) = command.loses_data() {
        context.consent.permit(verb, &place.name())?;
    }
    let options = options(&command, context)?;
    let mut asked_to_end = pin!(asked_to_end);
    let database = tokio::select! {
        opened = place.open(&options) => opened?,
        signal = &mut asked_to_end => return Err(MigrateError::ended(signal)),
    };
    let outcome = {
        let mut work = pin!(work(command, &database, context));
        tokio::select! {
            outcome = &mut work => outcome,
            signal = asked_to_end => end(signal, &database, work).await,
        }
    };
    if !matches!(outcome, Err(MigrateError::NotCancelled { .. })) {
        database.close().await;
    }
    outcome
}

/// How it is run, after what was said for this once. In production nothing is: what is dangerous is allowed in the
/// migration itself, where others read it.
fn options(command: &MigrateCommand, context: &Context<'_>) -> Result<Options, MigrateError> {
    let (despite_lint, forget_irreversible) = command.overrides();
    for (is_said, flag) in [(despite_lint, "despite-lint"), (forget_irreversible, "forget-irreversible")] {
        if is_said && context.consent.production {
            return Err(MigrateError::NotInProduction { flag });
        }
    }
    let options = context.options.clone();
    Ok(Options {
        despite_lint: options.despite_lint || despite_lint,
        forget_irreversible: options.forget_irreversible || forget_irreversible,
        ..options
    })
}

async fn work(command: MigrateCommand, database: &Database, context: &Context<'_>) -> Result<Output, MigrateError> {
    let consent = context.consent;
    let steps = match command {
        MigrateCommand::Up { number, .. } => up(database, number).await?,
        MigrateCommand::Down { number, .. } => down(database, Some(number), consent).await?,
        MigrateCommand::To { version, .. } => to(database, &version, consent).await?,
        MigrateCommand::Fresh => fresh(database, consent).await?,
        MigrateCommand::Refresh => refresh(database, consent).await?,
        MigrateCommand::Reset { .. } => reset(database, consent).await?,
        MigrateCommand::Status => {
            let (mut standings, refusals) = (status(database).await?, refusals(database).await?);
            gate::explain(database, &mut standings).await;
            return Ok(Output::Status(Overview { standings, refusals }));
        }
        MigrateCommand::Refusals => return refusals(database).await.map(|all| Output::Refusals(Refusals(all))),
        MigrateCommand::Plan { down, number } => return planned(database, down, number).await.map(Output::Plan),
        MigrateCommand::Baseline { version } => {
            return baseline(database, &version).await.map(|baseline| Output::Baseline { baseline });
        }
        MigrateCommand::Accept { version } => {
            return accept(database, &version).await.map(|accepted| Output::Accepted { accepted });
        }
        // They want no database, and were done before there was one.
        MigrateCommand::Grant { .. }
        | MigrateCommand::Lint { .. }
        | MigrateCommand::Diff(_)
        | MigrateCommand::Generate { .. } => Vec::new(),
    };
    Ok(Output::Steps(steps))
}

/// Cancels what runs and waits until it has ended, so that what is told about it is so.
async fn end(
    signal: Signal,
    database: &Database,
    work: Pin<&mut impl Future<Output = Result<Output, MigrateError>>>,
) -> Result<Output, MigrateError> {
    database.end(signal);
    let cancelled = async {
        tokio::select! {
            outcome = work => outcome,
            never = database.cancel() => match never {},
        }
    };
    match tokio::time::timeout(PATIENCE, cancelled).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ MigrateError::Ended { .. })) => Err(error),
        // Cancelled before the first step.
        Ok(Err(_)) => Err(MigrateError::ended(signal)),
        Err(_) => Err(MigrateError::NotCancelled { signal }),
    }
}

/// Applies pending migrations, all or a number of them; while another migrator does, it waits, and applies what is left.
///
/// # Errors
///
/// If a migration is not what was applied or has no place in the order, if the lint finds something in what is pending and
/// the database is in use, or if one fails; those before it stay applied.
pub async fn up(database: &Database, number: Option<u32>) -> Result<Vec<Step>, MigrateError> {
    let standings = status(database).await?;
    refuse(&standings, |_| true)?;
    if pending(&standings, number).is_empty() {
        return adopt(database, &standings).await.map(|()| Vec::new());
    }
    alone(database, async |runner, steps| go_up(runner, number, steps).await).await
}

/// Rolls back applied migrations, all or a number of them, the latest first.
///
/// # Errors
///
/// If it is not permitted, one is applied that this program does not have or cannot be rolled back, or one fails; those
/// before it stay rolled back.
pub async fn down(database: &Database, number: Option<u32>, consent: Consent<'_>) -> Result<Vec<Step>, MigrateError> {
    consent.permit("down", database.name())?;
    alone(database, async |runner, steps| go_down(runner, number, steps).await).await
}

/// Goes down or up until the migrations up to a version are applied, and no others. The start of a name will do, if it
/// is the start of one name only.
///
/// # Errors
///
/// If no migration is called that; if the way leads down and that is not permitted; and as [`up`] and [`down`].
pub async fn to(database: &Database, version: &str, consent: Consent<'_>) -> Result<Vec<Step>, MigrateError> {
    let find = async || {
        let way = Way::to(version, status(database).await?)?;
        if !way.down.is_empty() {
            consent.permit("to", database.name())?;
        }
        Ok::<_, MigrateError>(way)
    };
    let way = find().await?;
    if way.down.is_empty() && way.up.is_empty() {
        return Ok(Vec::new());
    }
    alone(database, async |runner, steps| {
        let Way { down, up } = find().await?;
        gate::judge(database, &up).await?;
        descend(runner, down, steps).await?;
        runner.take(Direction::Up, up, steps).await
    })
    .await
}

/// Drops everything in the database, whoever made it, and applies all migrations. What was logged about migrations stays.
///
/// # Errors
///
/// If it is not permitted; and as [`up`].
pub async fn fresh(database: &Database, consent: Consent<'_>) -> Result<Vec<Step>, MigrateError> {
    consent.permit("fresh", database.name())?;
    alone(database, async |runner, steps| {
        let dropped = empty::empty(database, database.tables().ours()).await.map_err(MigrateError::Empty)?;
        tracing::info!(dropped, "database emptied");
        install(database).await?;
        go_up(runner, None, steps).await
    })
    .await
}

/// Rolls back all applied migrations, then applies all.
///
/// # Errors
///
/// If it is not permitted; and as [`down`] and [`up`].
pub async fn refresh(database: &Database, consent: Consent<'_>) -> Result<Vec<Step>, MigrateError> {
    consent.permit("refresh", database.name())?;
    alone(database, async |runner, steps| {
        go_down(runner, None, steps).await?;
        go_up(runner, None, steps).await
    })
    .await
}

/// Rolls back all applied migrations, and forgets that there were any, but for the log.
///
/// # Errors
///
/// If it is not permitted; and as [`down`].
pub async fn reset(database: &Database, consent: Consent<'_>) -> Result<Vec<Step>, MigrateError> {
    consent.permit("reset", database.name())?;
    alone(database, async |runner, steps| {
        go_down(runner, None, steps).await?;
        let dropped = database.tables().execute(&**database, "DROP TABLE IF EXISTS {history}", []).await;
        dropped.map(|_| ()).map_err(MigrateError::History)
    })
    .await
}

/// Takes what an edited migration is now for what was applied, and tells its name.
///
/// # Errors
///
/// If no migration is called that, or it is not edited.
pub async fn accept(database: &Database, version: &str) -> Result<String, MigrateError> {
    let standings = status(database).await?;
    let names: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    let Standing { name, problem, .. } = &standings[position(&names, version)?];
    if !matches!(problem, Some(Problem::Edited { .. })) {
        return Err(MigrateError::NotEdited { name: name.clone() });
    }
    alone(database, async |runner, _| runner.enter(Action::Accept, &[name]).await.map_err(MigrateError::History))
        .await?;
    Ok(name.clone())
}

/// Does something while no other migrator does anything; tells the steps that it took.
async fn alone(
    database: &Database,
    work: impl AsyncFnOnce(&Runner<'_>, &mut Vec<Step>) -> Result<(), MigrateError>,
) -> Result<Vec<Step>, MigrateError> {
    let lock = Lock::take(database).await?;
    let outcome = async {
        install(database).await?;
        let mut steps = Vec::new();
        let outcome = work(&Runner { database, lock: &lock }, &mut steps).await.map(|()| steps);
        roles::settle_after_migrating(database, &database.options().accounts()).await;
        outcome
    };
    let outcome = outcome.await;
    lock.release().await;
    outcome
}

async fn install(database: &Database) -> Result<(), MigrateError> {
    loop {
        match database.tables().install(database, false).await {
            Err(error) if fault::is_contended(&error) => database.go_on()?,
            installed => return installed.map_err(MigrateError::Install),
        }
    }
}

/// Writes down what another program has applied, if there is any and this user may.
async fn adopt(database: &Database, standings: &[Standing]) -> Result<(), MigrateError> {
    if unrecorded(standings).next().is_none() {
        return Ok(());
    }
    let adopted = alone(database, async |runner, _| {
        let standings = status(database).await?;
        runner.adopt(&standings).await.map_err(MigrateError::Lock)
    });
    match adopted.await {
        Err(MigrateError::Lock(error) | MigrateError::Install(error)) if is_forbidden(&error) => {
            tracing::debug!(%error, "what another program has applied was not written down");
            Ok(())
        }
        adopted => adopted.map(|_| ()),
    }
}

async fn go_up(runner: &Runner<'_>, number: Option<u32>, steps: &mut Vec<Step>) -> Result<(), MigrateError> {
    let standings = status(runner.database).await?;
    refuse(&standings, |_| true)?;
    runner.adopt(&standings).await.map_err(MigrateError::Lock)?;
    let pending = pending(&standings, number);
    gate::judge(runner.database, &pending).await?;
    runner.take(Direction::Up, pending, steps).await
}

async fn go_down(runner: &Runner<'_>, number: Option<u32>, steps: &mut Vec<Step>) -> Result<(), MigrateError> {
    let standings = status(runner.database).await?;
    refuse(&standings, |problem| matches!(problem, Problem::Missing | Problem::Duplicate { .. }))?;
    let applied = names(Status::Applied, &standings).into_iter().rev().collect();
    descend(runner, first(applied, number), steps).await
}

/// Rolls back these migrations, if all of them can be; what cannot, and is to be forgotten, stays as it is.
async fn descend(runner: &Runner<'_>, names: Vec<String>, steps: &mut Vec<Step>) -> Result<(), MigrateError> {
    let forgotten = gate::one_way(runner.database, &names).await?;
    if forgotten.is_empty() {
        return runner.take(Direction::Down, names, steps).await;
    }
    for name in names {
        if forgotten.contains(&name) {
            runner.forget(name, steps).await?;
        } else {
            runner.take(Direction::Down, vec![name], steps).await?;
        }
    }
    Ok(())
}

fn names(status: Status, standings: &[Standing]) -> Vec<String> {
    standings.iter().filter(|standing| standing.status == status).map(|standing| standing.name.clone()).collect()
}

fn pending(standings: &[Standing], number: Option<u32>) -> Vec<String> {
    first(names(Status::Pending, standings), number)
}

/// What going up or down would do from where the database stands.
async fn planned(database: &Database, down: bool, number: Option<u32>) -> Result<Plan, MigrateError> {
    let standings = status(database).await?;
    let (names, direction) = if down {
        let applied = names(Status::Applied, &standings).into_iter().rev().collect();
        (first(applied, number.or(Some(1))), Direction::Down)
    } else {
        (pending(&standings, number), Direction::Up)
    };
    plan(database.migrations(), &names, direction, database.get_database_backend()).await
}

fn first(mut names: Vec<String>, number: Option<u32>) -> Vec<String> {
    if let Some(number) = number {
        names.truncate(usize::try_from(number).unwrap_or(usize::MAX));
    }
    names
}

/// What keeps migrations from being applied, by their names.
fn problems(standings: &[Standing]) -> impl Iterator<Item = (&String, &Problem)> {
    standings.iter().filter_map(|standing| Some((&standing.name, standing.problem.as_ref()?)))
}

/// Goes no further if there is any such problem.
fn refuse(standings: &[Standing], counts: impl Fn(&Problem) -> bool) -> Result<(), MigrateError> {
    let problems = problems(standings).filter(|(_, problem)| counts(problem));
    let problems = problems.map(|(name, problem)| (name.clone(), problem.clone())).collect::<Vec<_>>();
    if problems.is_empty() { Ok(()) } else { Err(MigrateError::Refused { problems }) }
}

/// What lies between a database and a version.
struct Way {
    down: Vec<String>,
    up: Vec<String>,
}

impl Way {
    fn to(version: &str, mut standings: Vec<Standing>) -> Result<Self, MigrateError> {
        refuse(&standings, |problem| matches!(problem, Problem::Missing | Problem::Duplicate { .. }))?;
        let all: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
        let target = position(&all, version)?;
        let above = standings.split_off(target + 1);
        let down = names(Status::Applied, &above).into_iter().rev().collect();
        let up = names(Status::Pending, &standings);
        if !up.is_empty() {
            // What is above is gone by then.
            let last = standings.iter().rposition(|standing| standing.status == Status::Applied).unwrap_or(0);
            for standing in &mut standings[last..] {
                standing.problem.take_if(|problem| matches!(problem, Problem::OutOfOrder { .. }));
            }
            refuse(&standings, |_| true)?;
        }
        Ok(Self { down, up })
    }
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
