//! Indexes and checks, with the names by which they are known.

use std::collections::BTreeMap;

use super::{ChangeError, edit::Edit};
use crate::{
    command::entity::model::Fill,
    schema::{Index, Table},
};

/// A check, in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedCheck {
    pub(super) name: String,
    pub(super) condition: String,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedIndex {
    pub(super) name: String,
    pub(super) is_unique: bool,
    /// Its columns, if it has nothing else and is called after them.
    pub(super) columns: Option<Vec<String>>,
    /// In SQL.
    pub(super) definition: String,
}

/// Whether a column is named in SQL.
pub(super) fn mentions(sql: &str, column: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut is_text = false;
    // What is between quotes is a value.
    let outside = sql.split('\'').filter(|_| {
        is_text = !is_text;
        is_text
    });
    outside.into_iter().any(|part| part.split(|letter| !is_part(letter)).any(|word| word == column))
}

impl NamedCheck {
    /// The first of the values that a column may have, where they are listed.
    pub(super) fn first_value(&self, column: &str) -> Option<Fill> {
        let (_, values) = self.condition.split_once(&format!("{column} in ("))?;
        let (value, _) = values.split_once([',', ')'])?;
        let value = value.trim();
        match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
            Some(text) => Some(Fill::Text(text.replace("''", "'"))),
            None => value.parse().ok().map(Fill::Integer),
        }
    }
}

impl NamedIndex {
    pub(super) fn new(table: &str, is_unique: bool, columns: Vec<String>) -> Self {
        let (kind, unique) = if is_unique { ("uq", "UNIQUE ") } else { ("ix", "") };
        let name = format!("{kind}_{table}_{}", columns.join("_"));
        let definition = format!("CREATE {unique}INDEX {name} ON {table} ({})", columns.join(", "));
        Self { name, is_unique, columns: Some(columns), definition }
    }

    pub(super) fn read(table: &str, name: &str, index: &Index) -> Self {
        let Index { is_unique, parts, predicate, .. } = index;
        let is_plain = |part: &String| part.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        let usual = Self::new(table, *is_unique, parts.clone());
        if predicate.is_none() && parts.iter().all(is_plain) && usual.name == name {
            return usual;
        }
        let unique = if *is_unique { "UNIQUE " } else { "" };
        let only = predicate.as_ref().map(|predicate| format!(" WHERE {predicate}")).unwrap_or_default();
        let definition = format!("CREATE {unique}INDEX {name} ON {table} ({}){only}", parts.join(", "));
        Self { name: name.to_owned(), is_unique: *is_unique, columns: None, definition }
    }

    /// What names of such begin with.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_unique { "uq" } else { "ix" }
    }

    pub(super) fn mentions(&self, column: &str) -> bool {
        self.definition.split_once('(').is_some_and(|(_, what)| mentions(what, column))
    }

    /// Its name follows those of its columns.
    pub(super) fn renamed(&self, table: &str, renamed: &BTreeMap<String, String>) -> Option<Edit> {
        let kind = self.kind();
        let called = self.name.strip_prefix(&format!("{kind}_{table}_"))?;
        let now = |column: &str| renamed.get(column).cloned();
        let to = match &self.columns {
            Some(columns) => {
                columns.iter().map(|column| now(column).unwrap_or_else(|| column.clone())).collect::<Vec<_>>().join("_")
            }
            None => now(called)?,
        };
        let to = format!("{kind}_{table}_{to}");
        (to != self.name).then(|| Edit::RenameIndex { from: self.name.clone(), to })
    }
}

pub(super) fn indexes(table: &str, known: &Table) -> Vec<NamedIndex> {
    known.indexes.iter().map(|(name, index)| NamedIndex::read(table, name, index)).collect()
}

pub(super) fn checks(table: &str, known: &Table) -> Result<Vec<NamedCheck>, ChangeError> {
    let named = known.checks.values().map(|check| {
        let name = check.name.clone();
        let name = name.ok_or_else(|| ChangeError::ByHand { what: format!("a check of {table} without a name") })?;
        let definition = &check.definition;
        let inner = definition.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        Ok(NamedCheck { name, condition: inner.map_or(definition.as_str(), |(inner, _)| inner).to_owned() })
    });
    named.collect()
}
