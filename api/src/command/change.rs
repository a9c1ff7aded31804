//! What has to change in a database for it to be as the entities say: worked out, said in Rust, and tried before anybody
//! sees it.
//!
//! Two sides are compared in what entities can say, which is the same of either: those that are generated from what the
//! migrations make, and those in the folder, which somebody changed. What no entity says, such as a check, stays as it is.
//! The steps are then taken in a scratch database. They have to lead to the entities that were asked for, and back to
//! exactly the schema that was there.

mod compare;
mod draft;
mod edit;
mod named;
mod step;

use std::{collections::BTreeMap, str::FromStr};

use migration::MigrationTrait;
use sea_orm_migration::{DbErr, MigrationName, SchemaManager};

use self::{edit::Edit, step::Step};
use super::entity::{
    EntityError,
    model::{Entity, Model},
};
use crate::schema::Schema;

/// What is the same under another name: `users.name=full_name`, or `users=people`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The column with its table, or the table.
    from: String,
    /// The new name alone.
    to: String,
}

impl FromStr for Renamed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty() && !to.contains('.'));
        let (from, to) = parts.ok_or("say it as users.name=full_name, or users=people")?;
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

/// What no comparison can tell.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Answers {
    /// What is the same under another name, as `users.name=full_name` or `users=people`
    #[arg(long = "rename", value_name = "FROM=TO")]
    pub renames: Vec<Renamed>,
    /// What is no more, where something new could be taken for it, as `users.name` or `users`
    #[arg(long = "drop", value_name = "NAME")]
    pub drops: Vec<String>,
}

/// Why a change was not worked out, or not said.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It may be a new name, and it may not.
    #[error(
        "{gone} is gone and {new} is new: if it is the same under another name, say --rename {gone}={}, and what is in it \
         stays; if not, --drop {gone}, and what is in it is lost",
        new.rsplit('.').next().unwrap_or(new)
    )]
    Ambiguous {
        /// What is no more.
        gone: String,
        /// What could be the same.
        new: String,
    },
    /// Something was said about what is not there, or not so.
    #[error("--{option} {said} fits nothing that has changed")]
    Unused {
        /// `rename` or `drop`.
        option: &'static str,
        /// What was said.
        said: String,
    },
    /// Rows that are there would have nothing in it.
    #[error(
        "{table}.{column} has to have a value, and the rows that are there have none: say it as \
         `#[sea_orm(default_value = …)]` in the entity, or make it an Option"
    )]
    Unfilled {
        /// The table.
        table: String,
        /// The new column.
        column: String,
    },
    /// Values of one type are none of the other.
    #[error(
        "{column} cannot become {to} from {from}: add a column of that type, fill it, and drop this one afterwards"
    )]
    Conversion {
        /// The column, with its table.
        column: String,
        /// What it is.
        from: String,
        /// What it should be.
        to: String,
    },
    /// What is compared with is not all that there is.
    #[error("{name} was written after this program was built: `cargo build` first, or take it out of the list again")]
    Unbuilt {
        /// The migration.
        name: String,
    },
    /// There are no steps for it.
    #[error("{what} is to be changed by hand: `migrate generate NAME` writes the start of it")]
    ByHand {
        /// What cannot be changed so.
        what: String,
    },
    /// The steps do not lead to what is asked for.
    #[error("no steps were found that lead there; tried, they fail: {}", cause(source))]
    Failed {
        /// What the scratch database said.
        #[source]
        source: DbErr,
    },
    /// They lead elsewhere.
    #[error("the steps that were found do not lead there: {} would not be as the entity says", tables.join(", "))]
    Missed {
        /// The tables that would be otherwise.
        tables: Vec<String>,
    },
    /// They cannot be taken back.
    #[error("the way back does not lead to where it came from: {}; write this one by hand", differences.join("; "))]
    OneWay {
        /// In what it would be otherwise.
        differences: Vec<String>,
    },
    /// The entities, or the scratch database.
    #[error(transparent)]
    Entity(#[from] EntityError),
}

/// Without the words of the library.
fn cause(error: &DbErr) -> String {
    match error {
        DbErr::Migration(says) | DbErr::Custom(says) => says.clone(),
        other => other.to_string(),
    }
}

/// What is done, in its order.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    /// What leads from the one to the other.
    pub(super) fn between(
        before: &Model,
        after: &Model,
        schema: &Schema,
        answers: &Answers,
    ) -> Result<Self, ChangeError> {
        Ok(Self { steps: compare::compare(before, after, schema, answers)? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn back(&self) -> Self {
        Self { steps: self.steps.iter().rev().map(Step::back).collect() }
    }

    /// Takes the steps.
    pub(super) async fn run(&self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        for step in &self.steps {
            step.run(schema).await?;
        }
        Ok(())
    }

    /// The code that does it, as the body of a function.
    fn code(&self) -> String {
        let statements = self.steps.iter().flat_map(Step::code).collect::<Vec<_>>();
        statements.join("?;\n        ")
    }

    /// The migration that does it, and its undoing: what stands at its head, what it uses, and the two bodies.
    pub(super) fn source(&self) -> Source {
        let (up, down) = (self.code(), self.back().code());
        let (head, uses) = step::uses(&format!("{up}\n{down}"));
        Source { head, uses, up, down }
    }

    /// What rows lose, each as a condition for those of a table that do: `users` and `name IS NOT NULL`.
    pub(super) fn losses(&self) -> Vec<(String, String, String)> {
        let mut losses = Vec::new();
        for step in &self.steps {
            match step {
                Step::Drop(table) => losses.push((table.name.clone(), table.name.clone(), "true".to_owned())),
                Step::Alter(alter) => losses.extend(alter.edits.iter().filter_map(|edit| match edit {
                    Edit::Drop(new) => {
                        let name = &new.column.name;
                        let what = format!("{}.{name}", alter.table);
                        Some((alter.table.clone(), what, format!("\"{name}\" IS NOT NULL")))
                    }
                    _ => None,
                })),
                Step::Create(_) => {}
            }
        }
        losses
    }

    /// What it does, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.steps.iter().flat_map(Step::code).map(|code| code.trim_end_matches(".await").to_owned()).collect()
    }

    /// As a migration that was compiled.
    pub(super) fn named(self, name: String) -> Named {
        Named { name, back: self.back(), plan: self }
    }
}

/// The parts of a migration's source.
pub(super) struct Source {
    pub(super) head: String,
    pub(super) uses: String,
    pub(super) up: String,
    pub(super) down: String,
}

/// A plan with a name: a migration that needs not be compiled.
#[derive(Debug, Clone)]
pub(super) struct Named {
    name: String,
    plan: Plan,
    back: Plan,
}

impl MigrationName for Named {
    fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Named {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        self.plan.run(schema).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        self.back.run(schema).await
    }
}

impl Answers {
    /// The tables that have another name, and which.
    fn renamed_tables(&mut self, before: &Model, after: &Model) -> Result<BTreeMap<String, String>, ChangeError> {
        let is_table = |renamed: &Renamed| {
            let Renamed { from, to } = renamed;
            before.contains_key(from) && !after.contains_key(from) && after.contains_key(to) && !before.contains_key(to)
        };
        let (tables, others) = std::mem::take(&mut self.renames).into_iter().partition::<Vec<_>, _>(is_table);
        self.renames = others;
        Ok(tables.into_iter().map(|Renamed { from, to }| (from, to)).collect())
    }

    /// The columns of a table that have another name, and which: as is said here, or in the entity.
    fn renamed_columns(
        &mut self,
        table: &str,
        before: &Entity,
        after: &Entity,
    ) -> Result<BTreeMap<String, String>, ChangeError> {
        let is_one = |from: &str, to: &str| {
            let was = before.column(from).is_some() && after.column(from).is_none();
            was && after.column(to).is_some() && before.column(to).is_none()
        };
        let mut renamed = BTreeMap::new();
        for column in &after.columns {
            if let Some(from) = &column.renamed_from
                && is_one(from, &column.name)
            {
                renamed.insert(from.clone(), column.name.clone());
            }
        }
        self.renames.retain(|Renamed { from, to }| match from.split_once('.') {
            Some((of, column)) if of == table && is_one(column, to) => {
                renamed.insert(column.to_owned(), to.clone());
                false
            }
            _ => true,
        });
        Ok(renamed)
    }

    /// Whether something may go, in whose place something came that could be the same.
    fn permit_drop(&mut self, gone: &str, new: Option<&str>) -> Result<(), ChangeError> {
        let before = self.drops.len();
        self.drops.retain(|said| said != gone);
        match new {
            Some(new) if self.drops.len() == before => {
                Err(ChangeError::Ambiguous { gone: gone.to_owned(), new: new.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Whoever says something that has no effect is mistaken about something.
    fn are_about(&self, before: &Model, after: &Model) -> Result<(), ChangeError> {
        let has = |model: &Model, name: &str| match name.split_once('.') {
            Some((table, column)) => model.get(table).is_some_and(|entity| entity.column(column).is_some()),
            None => model.contains_key(name),
        };
        for Renamed { from, to } in &self.renames {
            let to_name = from.split_once('.').map_or_else(|| to.clone(), |(table, _)| format!("{table}.{to}"));
            // A table that is renamed has its columns under its new name.
            let was = self.renames.iter().find(|of| from.split_once('.').is_some_and(|(table, _)| of.to == table));
            let from_name = match (was, from.split_once('.')) {
                (Some(was), Some((_, column))) => format!("{}.{column}", was.from),
                _ => from.clone(),
            };
            if !has(before, &from_name) || has(after, from) || !has(after, &to_name) {
                return Err(ChangeError::Unused { option: "rename", said: format!("{from}={to}") });
            }
        }
        match self.drops.iter().find(|name| has(after, name)) {
            Some(said) => Err(ChangeError::Unused { option: "drop", said: said.clone() }),
            None => Ok(()),
        }
    }
}
