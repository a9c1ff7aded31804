//! The locks that statements take on tables, as PostgreSQL's documentation of explicit locking has them.

use std::fmt;

use serde::{Serialize, Serializer};

use super::act::{Act, Action, Constraint, ConstraintKind, Name};

/// A mode of PostgreSQL's locks on tables, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Of reading.
    AccessShare,
    /// Of `SELECT … FOR UPDATE`.
    RowShare,
    /// Of writing rows.
    RowExclusive,
    /// Of one change of the schema at a time, which readers and writers do not feel.
    ShareUpdateExclusive,
    /// Of building an index: no writer.
    Share,
    /// Of triggers and foreign keys: no writer, and nobody else who takes it.
    ShareRowExclusive,
    /// No writer, nor whoever locks rows.
    Exclusive,
    /// Nobody else at all.
    AccessExclusive,
}

impl Mode {
    /// All modes, from the weakest to the strongest.
    pub const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// Whom it keeps waiting.
    pub fn keeps_out(self) -> &'static str {
        match self {
            Self::AccessShare | Self::RowShare | Self::RowExclusive | Self::ShareUpdateExclusive => "nobody",
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => "writers",
            Self::AccessExclusive => "readers and writers",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a statement locks: tables that it names, and how. What a query reads is not followed.
pub(super) fn of(act: &Act) -> Vec<(Name, Mode)> {
    let one = |table: &Name, mode| vec![(table.clone(), mode)];
    let strongest = |names: &[Name]| names.iter().map(|name| (name.clone(), Mode::AccessExclusive)).collect();
    match act {
        Act::Block(acts) => acts.iter().flat_map(of).collect(),
        Act::CreateTable(create) => {
            let own = create.columns.iter().flat_map(|column| &column.constraints);
            let parents = own.chain(&create.constraints).filter_map(|constraint| match &constraint.kind {
                ConstraintKind::ForeignKey { parent, .. } => Some((parent.clone(), Mode::ShareRowExclusive)),
                _ => None,
            });
            parents.collect()
        }
        Act::DropRelations { names, .. } => strongest(names),
        Act::Truncate { tables, .. } => strongest(tables),
        // What table an index is of is not said; it is locked like its table.
        Act::DropIndexes { names, concurrently: false, .. } => strongest(names),
        Act::DropIndexes { names, .. } => names.iter().map(|name| (name.clone(), Mode::ShareUpdateExclusive)).collect(),
        Act::AlterTable { table, actions, .. } => alter(table, actions),
        Act::CreateIndex(create) if create.concurrently => one(&create.table, Mode::ShareUpdateExclusive),
        Act::CreateIndex(create) => one(&create.table, Mode::Share),
        Act::Reindex { name, concurrently: true, .. } => one(name, Mode::ShareUpdateExclusive),
        Act::Reindex { name, .. } => one(name, Mode::Share),
        Act::CreateTrigger { table, .. } => one(table, Mode::ShareRowExclusive),
        Act::DropTrigger { table, .. } | Act::OnTable { table } => one(table, Mode::AccessExclusive),
        Act::Change(change) => one(&change.table, Mode::RowExclusive),
        Act::Insert { table, .. } => one(table, Mode::RowExclusive),
        Act::Lock { tables, mode } => {
            let mode = Mode::ALL.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(mode));
            tables.iter().map(|table| (table.clone(), mode.unwrap_or(Mode::AccessExclusive))).collect()
        }
        Act::Vacuum { is_full, table: Some(table) } => {
            one(table, if *is_full { Mode::AccessExclusive } else { Mode::ShareUpdateExclusive })
        }
        Act::Cluster { table: Some(table) } => one(table, Mode::AccessExclusive),
        Act::Refresh { view, concurrently, .. } => {
            one(view, if *concurrently { Mode::Exclusive } else { Mode::AccessExclusive })
        }
        _ => Vec::new(),
    }
}

fn alter(table: &Name, actions: &[Action]) -> Vec<(Name, Mode)> {
    let mode = actions.iter().map(action).max().unwrap_or(Mode::AccessExclusive);
    let mut locks = vec![(table.clone(), mode)];
    for action in actions {
        match action {
            Action::AddColumn { column, .. } => locks.extend(parents(&column.constraints)),
            Action::AddConstraint(constraint) => locks.extend(parents(std::slice::from_ref(constraint))),
            Action::Attach { partition } => locks.push((partition.clone(), Mode::AccessExclusive)),
            Action::Detach { partition, concurrently, .. } => {
                let mode = if *concurrently { Mode::ShareUpdateExclusive } else { Mode::AccessExclusive };
                locks.push((partition.clone(), mode));
            }
            _ => {}
        }
    }
    locks
}

fn parents(constraints: &[Constraint]) -> impl Iterator<Item = (Name, Mode)> {
    constraints.iter().filter_map(|constraint| match &constraint.kind {
        ConstraintKind::ForeignKey { parent, .. } => Some((parent.clone(), Mode::ShareRowExclusive)),
        _ => None,
    })
}

fn action(action: &Action) -> Mode {
    match action {
        Action::AddConstraint(constraint) if matches!(constraint.kind, ConstraintKind::ForeignKey { .. }) => {
            Mode::ShareRowExclusive
        }
        Action::DisableTrigger(_) | Action::EnableTrigger => Mode::ShareRowExclusive,
        Action::ValidateConstraint(_) | Action::SetStorage | Action::Attach { .. } => Mode::ShareUpdateExclusive,
        Action::Detach { concurrently, finalize, .. } if *concurrently || *finalize => Mode::ShareUpdateExclusive,
        _ => Mode::AccessExclusive,
    }
}
