//! `migrate diff`: the migration that leads from what the migrations make to what the entities say, or to another
//! database, there and back.

use std::{fmt, path::PathBuf, sync::Arc, time::SystemTime};

use migration::MigrationTrait;
use serde::Serialize;

use super::{
    MigrateError,
    generate::{Draft, Generated, draft, migration_of, title, unbuilt, write},
    lint::{Report, lint_new},
};
use crate::{
    command::{
        change::{Answers, ChangeError, Plan},
        entity::{self, EntityError, RefreshOptions, model::Entity},
        generate::capitalised,
    },
    schema::Difference,
};

/// What to lead to, and what no comparison can tell of that.
#[derive(Clone, clap::Args)]
pub struct DiffOptions {
    /// What it does, such as "add nickname to users"
    pub name: String,
    #[command(flatten)]
    pub answers: Answers,
    /// A database to become like, in place of the entities: postgres:// or sqlite://
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Source folder of the entities
    #[arg(long, value_name = "FOLDER", default_value = "entity/src")]
    pub entities: PathBuf,
    /// Source folder of the migration crate [default: MIGRATION_DIR]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

impl fmt::Debug for DiffOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, answers, to, entities, out } = self;
        f.debug_struct("DiffOptions")
            .field("name", name)
            .field("answers", answers)
            .field("to", &to.as_ref().map(|_| "***"))
            .field("entities", entities)
            .field("out", out)
            .finish()
    }
}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Diff {
    /// The migration; none if there is nothing to be done.
    pub migration: Option<Generated>,
    /// What it does, as it is said in it.
    pub changes: Vec<String>,
    /// The files of the entities that were written anew.
    pub entities: Vec<PathBuf>,
    /// What the lint says of it.
    pub lint: Report,
    /// In what the other database is otherwise still, because no entity says it: to be written by hand.
    pub left: Vec<String>,
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { migration, changes, entities, lint, left } = self;
        for change in changes {
            writeln!(f, "{change}")?;
        }
        for left in left {
            writeln!(f, "not written, because no entity says it: {left}")?;
        }
        let Some(Generated { name: _, file, list }) = migration else {
            return f.write_str("nothing to write: the migrations make what is asked for");
        };
        writeln!(f, "wrote {}", file.display())?;
        writeln!(f, "entered it in {}", list.display())?;
        entities.iter().try_for_each(|file| writeln!(f, "changed {}", file.display()))?;
        if !lint.is_clean() {
            writeln!(f, "\n{lint}\n")?;
        }
        f.write_str("it was tried, up and down, on an empty database; read it, then build, and run `migrate up`")
    }
}

/// Works out the migration, tries it, writes it into `folder`, the source folder of the migration crate, and refreshes the
/// entities.
///
/// # Errors
///
/// As [`work_out`]; if the name is none, or a file cannot be written. Then nothing has changed.
pub async fn diff(options: DiffOptions, folder: PathBuf, now: SystemTime) -> Result<Diff, MigrateError> {
    let (title, folder) = (title(&options.name)?, options.out.clone().unwrap_or(folder));
    if let Some(name) = unbuilt(&folder)? {
        return Err(ChangeError::Unbuilt { name }.into());
    }
    let WorkedOut { plan, left } = work_out(&options).await?;
    let changes = plan.lines();
    if plan.is_empty() {
        return Ok(Diff { migration: None, changes, entities: Vec::new(), lint: Report::default(), left });
    }
    let content = migration_of(&format!("{}.", capitalised(&title.replace('_', " "))), plan.source());
    let draft = draft(&title, &content, &folder, now)?;
    let mut files = vec![(PathBuf::from(format!("{}.rs", draft.name)), draft.content.clone())];
    entity::format(&mut files, &folder).await.map_err(ChangeError::from)?;
    let content = files.into_iter().map(|(_, text)| text).next().unwrap_or_default();
    let migration = plan.named(draft.name.clone());
    let generated = write(Draft { content, ..draft }, &folder)?;
    let refresh = RefreshOptions { database_url: None, out: options.entities.clone() };
    let refreshed = entity::refresh_after(refresh, Arc::new(migration.clone())).await.map_err(ChangeError::from)?;
    let entities = [refreshed.added, refreshed.changed, refreshed.removed].concat();
    let entities = entities.iter().map(|file| options.entities.join(file)).collect();
    let lint = lint_new(Box::new(migration)).await;
    Ok(Diff { migration: Some(generated), changes, entities, lint, left })
}

/// A migration that leads to what was asked for.
#[derive(Debug)]
pub struct WorkedOut {
    plan: Plan,
    /// In what the other database is otherwise still.
    left: Vec<String>,
}

impl WorkedOut {
    /// The migration, as it would be once it is written and compiled.
    pub fn migration(&self) -> Arc<dyn MigrationTrait> {
        Arc::new(self.plan.clone().named("the migration that is yet to be written".to_owned()))
    }

    /// What it does, as it would be said in it.
    pub fn changes(&self) -> Vec<String> {
        self.plan.lines()
    }

    /// Its source.
    pub fn source(&self) -> String {
        migration_of("What is worked out.", self.plan.source())
    }
}

/// Works out the migration, and tries it in a scratch database; writes nothing.
///
/// # Errors
///
/// If an entity cannot be understood, something may be a new name or a loss, the change is one to be written by hand, or
/// the way back would not be one.
pub async fn work_out(options: &DiffOptions) -> Result<WorkedOut, MigrateError> {
    Ok(work(options).await?)
}

async fn work(options: &DiffOptions) -> Result<WorkedOut, ChangeError> {
    let DiffOptions { name: _, answers, to, entities, out: _ } = options;
    let (before, schema) = entity::present(entities).await?;
    let wanted = match to {
        Some(url) => entity::of_database(url, entities).await?.0,
        None => entity::wanted(entities)?,
    };
    let plan = Plan::between(&before, &wanted, &schema, answers)?;
    let migration = Arc::new(plan.clone().named(String::new()));
    if !plan.is_empty() {
        let tried = entity::try_out(migration.clone(), entities).await.map_err(|error| match error {
            EntityError::Migrate(source) => ChangeError::Failed { source },
            other => other.into(),
        })?;
        let is_missed =
            |table: &String, entity: &Entity| !tried.model.get(table).is_some_and(|made| made.is_as(entity));
        let missed = wanted.iter().filter(|(table, entity)| is_missed(table, entity));
        let missed = missed.map(|(table, _)| table.clone()).collect::<Vec<_>>();
        if !missed.is_empty() {
            return Err(ChangeError::Missed { tables: missed });
        }
        if !tried.differences.is_empty() {
            return Err(ChangeError::OneWay { differences: named(&tried.differences) });
        }
    }
    let left = match to {
        Some(url) => named(&entity::compared(url, Some(migration)).await?),
        None => Vec::new(),
    };
    Ok(WorkedOut { plan, left })
}

fn named(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}
