//! What statements do to a database in use: whom they keep waiting, what they write anew, what is gone afterwards.

use serde::Serialize;

use super::{
    act::{Act, Action, Column, Name, Relation, quoted},
    known::Known,
    lock::{self, Mode},
    nature::{is_cast_only, is_volatile, is_widening},
    read::read,
    statement::split,
};

/// A lock that a statement takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// What it is taken on: a table, or an index.
    pub on: String,
    /// Its mode, in PostgreSQL's words.
    pub mode: Mode,
    /// Who waits for it: nobody, writers, or readers and writers.
    pub keeps_out: &'static str,
}

/// A statement, with what it does to a database in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The statement.
    pub sql: String,
    /// What it locks, but for what the migration made itself; on PostgreSQL only, since SQLite locks its whole file.
    pub locks: Vec<Lock>,
    /// What is written anew, row by row, or looked at.
    pub rewrites: Vec<String>,
    /// What cannot be had back.
    pub loses: Vec<String>,
}

/// Tells the effects of migrations, one after the other.
#[derive(Debug, Default)]
pub(in crate::command::migrate) struct Effects {
    known: Known,
}

impl Effects {
    /// Begins another migration.
    pub(in crate::command::migrate) fn begin(&mut self) {
        self.known.begin();
    }

    /// What a piece of PostgreSQL's SQL does, statement by statement.
    pub(in crate::command::migrate) fn of(&mut self, sql: &str) -> Vec<Planned> {
        let Ok(pieces) = split(sql) else { return vec![Planned::plain(sql)] };
        let planned = pieces.statements.iter().map(|statement| {
            let act = read(statement);
            let locks = lock::of(&act)
                .into_iter()
                .filter(|(on, _)| !self.known.made_table(on) && !self.known.made_index(&on.name));
            let locks = locks.map(|(on, mode)| Lock { on: on.to_string(), mode, keeps_out: mode.keeps_out() });
            let mut planned = Planned { locks: locks.collect(), ..Planned::plain(&statement.sql) };
            self.tell(&act, &mut planned);
            self.known.learn(&act);
            planned
        });
        planned.collect()
    }

    fn tell(&self, act: &Act, planned: &mut Planned) {
        let Planned { rewrites, loses, .. } = planned;
        match act {
            Act::Block(acts) => acts.iter().for_each(|act| self.tell(act, planned)),
            Act::DropRelations { relation: Relation::Table | Relation::ForeignTable, names, .. } => {
                loses.extend(names.iter().map(|name| format!("every row of {name}")));
            }
            Act::DropSchemas(names) => loses.extend(names.iter().map(|name| format!("everything in {}", quoted(name)))),
            Act::DropDatabase(name) => loses.push(format!("everything in {}", quoted(name))),
            Act::DropEverything => loses.push("everything that a role owns".to_owned()),
            Act::DropCascade { what, name } => {
                loses.push(format!("every column that uses the {} {name}", what.to_lowercase()))
            }
            Act::Truncate { tables, cascade } => {
                let others = if *cascade { ", and of every table that refers to it" } else { "" };
                loses.extend(tables.iter().map(|name| format!("every row of {name}{others}")));
            }
            Act::Change(change) if change.fills => {}
            Act::Change(change) if change.verb == "DELETE" => loses.push(format!("rows of {}", change.table)),
            Act::Change(change) => loses.push(format!("what rows of {} had before", change.table)),
            Act::AlterTable { table, actions, .. } => {
                actions.iter().for_each(|action| self.action(table, action, planned))
            }
            Act::CreateIndex(create) if !self.known.made_table(&create.table) => {
                rewrites.push(format!("{}: an index is built from every row", create.table));
            }
            Act::Reindex { name, .. } => rewrites.push(format!("{name}: its index is built anew")),
            Act::Vacuum { is_full: true, table: Some(table) } | Act::Cluster { table: Some(table) } => {
                rewrites.push(format!("{table}: every row"));
            }
            Act::Refresh { view, .. } => rewrites.push(format!("{view}: every row")),
            _ => {}
        }
    }

    fn action(&self, table: &Name, action: &Action, planned: &mut Planned) {
        let Planned { rewrites, loses, .. } = planned;
        let made = self.known.made_table(table);
        match action {
            Action::DropColumn { column, .. } => loses.push(format!("what is in {} of {table}", quoted(column))),
            Action::AddColumn { column, .. } if !made && is_written(column) => {
                rewrites.push(format!("{table}: every row, for {}", quoted(&column.name)));
            }
            Action::SetType { column, kind, collates, using } if !made => {
                let before = self.known.table(table).and_then(|table| table.columns.get(column));
                let keeps = before.is_some_and(|before| is_widening(before, kind, false));
                let converts = using.as_ref().is_some_and(|using| !is_cast_only(using, column, kind));
                if !keeps || *collates || converts {
                    rewrites.push(format!("{table}: every row, as {} becomes {kind}", quoted(column)));
                    loses.push(format!("what of {} in {table} does not fit into {kind}", quoted(column)));
                }
            }
            Action::Rewrite if !made => rewrites.push(format!("{table}: every row")),
            Action::ValidateConstraint(name) => {
                rewrites.push(format!("{table}: every row is looked at, for {}", quoted(name)))
            }
            Action::SetNotNull(column) if !made => {
                rewrites.push(format!("{table}: every row is looked at, for {}", quoted(column)))
            }
            Action::AddConstraint(constraint) if !made && !constraint.not_valid => {
                rewrites.push(format!(
                    "{table}: every row is looked at, for {}",
                    constraint.name.as_deref().unwrap_or("the constraint")
                ));
            }
            _ => {}
        }
    }
}

impl Planned {
    /// A statement of which nothing more is told.
    pub(in crate::command::migrate) fn plain(sql: &str) -> Self {
        Self { sql: sql.to_owned(), locks: Vec::new(), rewrites: Vec::new(), loses: Vec::new() }
    }
}

/// Whether adding a column writes the rows that are there.
fn is_written(column: &Column) -> bool {
    let is_serial = matches!(column.kind.name.as_str(), "serial" | "bigserial" | "smallserial");
    is_serial
        || column.is_identity
        || column.generated.is_some()
        || column.default.as_ref().is_some_and(|default| is_volatile(default))
}
