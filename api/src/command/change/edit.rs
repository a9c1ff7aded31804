//! What is done to a table: said in Rust for a migration, done at once to try it, and taken back.

use migration::convention::{Alteration, Key};
use sea_orm_migration::prelude::*;

use super::named::{NamedCheck, NamedIndex};
use crate::{
    command::entity::model::{Column, Fill, Kind, Reference},
    schema::Action,
};

/// One change of a table. Names are those at its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    RenameTable {
        from: String,
        to: String,
    },
    RenameColumn {
        from: String,
        to: String,
    },
    Add(NewColumn),
    /// With what it holds afterwards if that is taken back: what was in it is lost.
    Drop(NewColumn),
    Retype {
        column: String,
        from: Kind,
        to: Kind,
    },
    Optional(String),
    Required {
        column: String,
        filled: Option<Fill>,
    },
    Refer(Reference),
    Unrefer(Reference),
    Check(NamedCheck),
    DropCheck(NamedCheck),
    RenameConstraint {
        from: String,
        to: String,
    },
    Index(NamedIndex),
    DropIndex(NamedIndex),
    RenameIndex {
        from: String,
        to: String,
    },
}

/// A column with what no entity says of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewColumn {
    pub(super) column: Column,
    /// What is in it when nothing is said, in SQL.
    pub(super) default: Option<String>,
}

impl Edit {
    /// What takes it back.
    pub(super) fn back(&self) -> Self {
        match self.clone() {
            Self::RenameTable { from, to } => Self::RenameTable { from: to, to: from },
            Self::RenameColumn { from, to } => Self::RenameColumn { from: to, to: from },
            Self::Add(column) => Self::Drop(column),
            Self::Drop(new) => Self::Add(new),
            Self::Retype { column, from, to } => Self::Retype { column, from: to, to: from },
            // No value is made up: where there is none, the way back is refused.
            Self::Optional(column) => Self::Required { column, filled: None },
            Self::Required { column, .. } => Self::Optional(column),
            Self::Refer(reference) => Self::Unrefer(reference),
            Self::Unrefer(reference) => Self::Refer(reference),
            Self::Check(check) => Self::DropCheck(check),
            Self::DropCheck(check) => Self::Check(check),
            Self::RenameConstraint { from, to } => Self::RenameConstraint { from: to, to: from },
            Self::Index(index) => Self::DropIndex(index),
            Self::DropIndex(index) => Self::Index(index),
            Self::RenameIndex { from, to } => Self::RenameIndex { from: to, to: from },
        }
    }

    /// The call that says it.
    pub(super) fn code(&self) -> String {
        let names = |method: &str, from: &str, to: &str| format!(".{method}({from:?}, {to:?})");
        match self {
            Self::RenameTable { from: _, to } => format!(".rename_table({to:?})"),
            Self::RenameColumn { from, to } => names("rename_column", from, to),
            Self::Add(new) => match &new.column.filled {
                Some(fill) if new.is_to_be_filled() => format!(".add_column_filled({}, {})", new.code(), fill.code()),
                _ => format!(".add_column({})", new.code()),
            },
            Self::Drop(new) => format!(".drop_column({:?})", new.column.name),
            Self::Retype { column, from: _, to } => format!(".retype({})", to.code(column, false)),
            Self::Optional(column) => format!(".optional({column:?})"),
            Self::Required { column, filled: None } => format!(".required({column:?})"),
            Self::Required { column, filled: Some(fill) } => format!(".required_filled({column:?}, {})", fill.code()),
            Self::Refer(reference) => match reference {
                reference if reference.is_usual() => names("references", &reference.column, &reference.parent),
                Reference { column, parent, on_update, on_delete } => {
                    let [on_update, on_delete] = [on_update, on_delete].map(|action| Reference::action(*action).1);
                    format!(".references_as({column:?}, {parent:?}, {on_update}, {on_delete})")
                }
            },
            Self::Unrefer(reference) => format!(".without_reference({:?})", reference.column),
            Self::Check(NamedCheck { name, condition }) => format!(".check({name:?}, Expr::cust({condition:?}))"),
            Self::DropCheck(check) => format!(".without_check({:?})", check.name),
            Self::RenameConstraint { from, to } => names("rename_constraint", from, to),
            Self::Index(NamedIndex { columns: Some(columns), is_unique, .. }) => {
                format!(".{}(&{columns:?})", if *is_unique { "unique" } else { "index" })
            }
            Self::Index(index) => format!(".statement({:?})", index.definition),
            Self::DropIndex(index) => format!(".without_index({:?})", index.name),
            Self::RenameIndex { from, to } => names("rename_index", from, to),
        }
    }

    /// Does what that call does.
    pub(super) fn add_to<'a>(&self, alteration: Alteration<'a>) -> Alteration<'a> {
        match self.clone() {
            Self::RenameTable { from: _, to } => alteration.rename_table(to),
            Self::RenameColumn { from, to } => alteration.rename_column(from, to),
            Self::Add(new) => match &new.column.filled {
                Some(fill) if new.is_to_be_filled() => alteration.add_column_filled(new.definition(), fill.value()),
                _ => alteration.add_column(new.definition()),
            },
            Self::Drop(new) => alteration.drop_column(new.column.name),
            Self::Retype { column, from: _, to } => alteration.retype(to.column(&column, false)),
            Self::Optional(column) => alteration.optional(column),
            Self::Required { column, filled: None } => alteration.required(column),
            Self::Required { column, filled: Some(fill) } => alteration.required_filled(column, fill.value()),
            Self::Refer(Reference { column, parent, on_update, on_delete }) => {
                let [on_update, on_delete] = [on_update, on_delete].map(|action| Reference::action(action).0);
                alteration.references_as(column, parent, on_update, on_delete)
            }
            Self::Unrefer(reference) => alteration.without_reference(reference.column),
            Self::Check(NamedCheck { name, condition }) => alteration.check(name, Expr::cust(condition)),
            Self::DropCheck(check) => alteration.without_check(check.name),
            Self::RenameConstraint { from, to } => alteration.rename_constraint(from, to),
            Self::Index(NamedIndex { columns: Some(columns), is_unique: true, .. }) => alteration.unique(&columns),
            Self::Index(NamedIndex { columns: Some(columns), .. }) => alteration.index(&columns),
            Self::Index(index) => alteration.statement(index.definition),
            Self::DropIndex(index) => alteration.without_index(index.name),
            Self::RenameIndex { from, to } => alteration.rename_index(from, to),
        }
    }
}

impl Reference {
    /// Whether it is as the convention has it.
    pub(super) fn is_usual(&self) -> bool {
        self.on_update == Action::NoAction && self.on_delete == Action::Restrict
    }
}

impl NewColumn {
    /// Whether rows that there are have to be given something that new ones are not.
    fn is_to_be_filled(&self) -> bool {
        !self.column.is_optional && self.default.is_none()
    }

    /// The code that makes it.
    pub(super) fn code(&self) -> String {
        let Self { column: Column { name, kind, is_optional, .. }, default } = self;
        let code = kind.code(name, *is_optional);
        match default {
            Some(default) => format!("{code}.default(Expr::cust({default:?})).take()"),
            None => code,
        }
    }

    /// What that code makes.
    pub(super) fn definition(&self) -> ColumnDef {
        let Self { column: Column { name, kind, is_optional, .. }, default } = self;
        let mut column = kind.column(name, *is_optional);
        if let Some(default) = default {
            column.default(Expr::cust(default.clone()));
        }
        column
    }
}

/// A key of the cache, as Rust has it.
pub(super) fn key_code(key: &Key<'_>) -> String {
    match key {
        Key::Row => "Key::Row".to_owned(),
        Key::Id(column) => format!("Key::Id({column:?})"),
        Key::Text(column) => format!("Key::Text({column:?})"),
    }
}
