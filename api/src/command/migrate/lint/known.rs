//! What is known of a schema from the statements that made it.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::tokenizer::Token;

use super::act::{Act, Action, Column, Constraint, ConstraintKind, CreateIndex, Name, Type};

/// The schema as far as the migrations before tell, and what this one made of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    tables: BTreeMap<Name, Table>,
    indexes: BTreeMap<String, Index>,
    /// What the functions that triggers call are made of.
    functions: BTreeMap<String, Vec<Token>>,
    /// Whether tables are given rights by hand, or their rows are kept apart by policies.
    pub(super) rights_by_hand: bool,
    pub(super) made: Made,
}

/// What a migration made itself, so that nobody uses it yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    tables: BTreeSet<Name>,
    columns: BTreeSet<(Name, String)>,
    constraints: BTreeSet<(Name, String)>,
    indexes: BTreeSet<String>,
    schemas: BTreeSet<String>,
    triggers: BTreeSet<(Name, String)>,
    types: BTreeSet<Name>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// Whether its creation was seen, so that what is not here is not there.
    pub(super) is_whole: bool,
    pub(super) columns: BTreeMap<String, Type>,
    pub(super) constraints: Vec<Constraint>,
    /// Columns that are computed, with what from.
    pub(super) generated: Vec<Vec<Token>>,
    /// Its triggers, with what they call.
    pub(super) triggers: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) table: Name,
    pub(super) columns: Vec<Option<String>>,
    pub(super) is_unique: bool,
    pub(super) is_partial: bool,
}

impl Known {
    pub(super) fn table(&self, name: &Name) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(super) fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.get(name)
    }

    pub(super) fn made_table(&self, name: &Name) -> bool {
        self.made.tables.contains(name) || name.schema.as_ref().is_some_and(|schema| self.made.schemas.contains(schema))
    }

    pub(super) fn made_column(&self, table: &Name, column: &str) -> bool {
        self.made_table(table) || self.made.columns.contains(&(table.clone(), column.to_owned()))
    }

    pub(super) fn made_constraint(&self, table: &Name, constraint: &str) -> bool {
        self.made_table(table) || self.made.constraints.contains(&(table.clone(), constraint.to_owned()))
    }

    pub(super) fn made_index(&self, name: &str) -> bool {
        self.made.indexes.contains(name)
    }

    pub(super) fn made_schema(&self, name: &str) -> bool {
        self.made.schemas.contains(name)
    }

    pub(super) fn made_trigger(&self, table: &Name, name: &str) -> bool {
        self.made_table(table) || self.made.triggers.contains(&(table.clone(), name.to_owned()))
    }

    pub(super) fn made_type(&self, name: &Name) -> bool {
        self.made.types.contains(name)
    }

    /// Whether rows can be found by these columns: an index, a key or a unique constraint begins with them.
    pub(super) fn is_indexed(&self, table: &Name, columns: &[String]) -> bool {
        let begins = |indexed: &[Option<String>]| {
            let first: BTreeSet<_> = indexed.iter().take(columns.len()).flatten().collect();
            first == columns.iter().collect()
        };
        let by_index =
            self.indexes.values().any(|index| index.table == *table && !index.is_partial && begins(&index.columns));
        let constraints = self.tables.get(table).into_iter().flat_map(|table| &table.constraints);
        by_index
            || constraints.into_iter().any(|constraint| match &constraint.kind {
                ConstraintKind::Unique(keys) | ConstraintKind::PrimaryKey(keys) => {
                    begins(&keys.iter().cloned().map(Some).collect::<Vec<_>>())
                }
                _ => false,
            })
    }

    /// An index on exactly these columns that lets rows be alike.
    pub(super) fn plain_index(&self, table: &Name, columns: &[Option<String>]) -> Option<&str> {
        let mut alike = self.indexes.iter().filter(|(_, index)| {
            index.table == *table && !index.is_unique && !index.is_partial && index.columns == columns
        });
        alike.next().map(|(name, _)| name.as_str())
    }

    /// What depends on a column: a check, a key, a computed column, or, if asked for, an index.
    pub(super) fn dependents(&self, table: &Name, column: &str, with_indexes: bool) -> Vec<String> {
        let mut found = Vec::new();
        let Some(known) = self.tables.get(table) else { return found };
        let names = |columns: &[String]| columns.iter().any(|name| name == column);
        for constraint in &known.constraints {
            let kind = match &constraint.kind {
                ConstraintKind::Check(condition) if mentions(condition, column) => "the check",
                ConstraintKind::ForeignKey { columns, .. } if with_indexes && names(columns) => "the foreign key",
                ConstraintKind::Unique(columns) if with_indexes && names(columns) => "the unique constraint",
                ConstraintKind::PrimaryKey(columns) if with_indexes && names(columns) => "the primary key",
                _ => continue,
            };
            found.push(constraint.name.as_ref().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}")));
        }
        if known.generated.iter().any(|expression| mentions(expression, column)) {
            found.push("a computed column".to_owned());
        }
        let indexes = self.indexes.iter().filter(|(_, index)| {
            with_indexes && index.table == *table && index.columns.iter().flatten().any(|name| name == column)
        });
        found.extend(indexes.map(|(name, _)| format!("the index {name}")));
        found
    }

    /// The trigger functions that tell caches of a table: by convention, what is called `cache_…`.
    pub(super) fn cached_by(&self, table: &Name) -> Option<&str> {
        let triggers = &self.tables.get(table)?.triggers;
        triggers.values().map(String::as_str).find(|function| function.starts_with("cache_"))
    }

    /// Whether a trigger function names a column.
    pub(super) fn tells(&self, function: &str, column: &str) -> bool {
        self.functions.get(function).is_some_and(|body| mentions(body, column))
    }

    /// Begins another migration.
    pub(super) fn begin(&mut self) {
        self.made = Made::default();
    }

    /// Takes in what a statement did.
    pub(super) fn learn(&mut self, act: &Act) {
        match act {
            Act::Block(acts) => acts.iter().for_each(|act| self.learn(act)),
            Act::CreateTable(create) => {
                let table = self.tables.entry(create.name.clone()).or_default();
                // One that may be there already may be another.
                if !create.if_not_exists || !table.is_whole {
                    *table = Table { is_whole: !create.of_query, ..Table::default() };
                    table.constraints.clone_from(&create.constraints);
                    create.columns.iter().for_each(|column| table.add(&create.name, column));
                }
                self.made.tables.insert(create.name.clone());
            }
            Act::CreateView { name, .. } => {
                self.made.tables.insert(name.clone());
            }
            Act::DropRelations { names, .. } => {
                for name in names {
                    self.tables.remove(name);
                    self.indexes.retain(|_, index| index.table != *name);
                }
            }
            Act::AlterTable { table, actions, .. } => actions.iter().for_each(|action| self.alter(table, action)),
            Act::CreateIndex(create) => self.create_index(create),
            Act::DropIndexes { names, .. } => {
                for name in names {
                    self.indexes.remove(&name.name);
                }
            }
            Act::CreateSchema(name) => {
                self.made.schemas.insert(name.clone());
            }
            Act::CreateEnum(name) => {
                self.made.types.insert(name.clone());
            }
            Act::CreateFunction { name, body, .. } => {
                self.functions.insert(name.name.clone(), body.clone());
            }
            Act::CreateTrigger { name, table, function, .. } => {
                self.made.triggers.insert((table.clone(), name.clone()));
                let triggers = &mut self.tables.entry(table.clone()).or_default().triggers;
                triggers.insert(name.clone(), function.name.clone());
            }
            Act::DropTrigger { name, table, .. } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.triggers.remove(name);
                }
            }
            Act::Grant { tables, .. } => self.rights_by_hand |= !tables.is_empty(),
            _ => {}
        }
    }

    fn create_index(&mut self, create: &CreateIndex) {
        let CreateIndex { name, table, columns, is_unique, is_partial, .. } = create;
        // PostgreSQL makes up a name like this.
        let made_up = || {
            let parts = columns.iter().map(|column| column.as_deref().unwrap_or("expr"));
            format!("{}_{}_idx", table.name, parts.collect::<Vec<_>>().join("_"))
        };
        let name = name.clone().unwrap_or_else(made_up);
        let (table, columns, is_unique, is_partial) = (table.clone(), columns.clone(), *is_unique, *is_partial);
        self.indexes.insert(name.clone(), Index { table, columns, is_unique, is_partial });
        self.made.indexes.insert(name);
    }

    fn alter(&mut self, name: &Name, action: &Action) {
        let table = self.tables.entry(name.clone()).or_default();
        match action {
            Action::AddColumn { column, .. } => {
                table.add(name, column);
                self.made.columns.insert((name.clone(), column.name.clone()));
            }
            Action::DropColumn { column, .. } => {
                table.columns.remove(column);
                let uses = |columns: &[String]| columns.contains(column);
                table.constraints.retain(|constraint| match &constraint.kind {
                    ConstraintKind::Check(condition) => !mentions(condition, column),
                    ConstraintKind::Unique(columns)
                    | ConstraintKind::PrimaryKey(columns)
                    | ConstraintKind::ForeignKey { columns, .. } => !uses(columns),
                    ConstraintKind::ByIndex(_) | ConstraintKind::Exclusion => true,
                });
                self.indexes.retain(|_, index| {
                    index.table != *name || !index.columns.iter().flatten().any(|indexed| indexed == column)
                });
            }
            Action::AddConstraint(constraint) => {
                let mut constraint = constraint.clone();
                if let ConstraintKind::ByIndex(index) = &constraint.kind
                    && let Some(index) = self.indexes.get(index)
                {
                    constraint.kind = ConstraintKind::Unique(index.columns.iter().flatten().cloned().collect());
                }
                if let Some(called) = &constraint.name {
                    self.made.constraints.insert((name.clone(), called.clone()));
                }
                table.constraints.push(constraint);
            }
            Action::DropConstraint { name, .. } => {
                table.constraints.retain(|constraint| constraint.name.as_ref() != Some(name));
            }
            Action::ValidateConstraint(name) => {
                for constraint in table.constraints.iter_mut().filter(|found| found.name.as_ref() == Some(name)) {
                    constraint.not_valid = false;
                }
            }
            Action::SetType { column, kind, .. } => {
                table.columns.insert(column.clone(), kind.clone());
            }
            Action::RenameColumn { from, to } => {
                if let Some(kind) = table.columns.remove(from) {
                    table.columns.insert(to.clone(), kind);
                }
                self.made.columns.insert((name.clone(), to.clone()));
            }
            Action::Rename(to) => {
                let to = name.beside(to);
                if let Some(table) = self.tables.remove(name) {
                    self.tables.insert(to.clone(), table);
                }
                for index in self.indexes.values_mut().filter(|index| index.table == *name) {
                    index.table = to.clone();
                }
                if self.made.tables.contains(name) {
                    self.made.tables.insert(to);
                }
            }
            Action::RowSecurity { is_on: true } => self.rights_by_hand = true,
            _ => {}
        }
    }
}

impl Table {
    fn add(&mut self, table: &Name, column: &Column) {
        self.columns.insert(column.name.clone(), column.kind.clone());
        self.generated.extend(column.generated.clone());
        for constraint in &column.constraints {
            let mut constraint = constraint.clone();
            // PostgreSQL makes up a name like this.
            let suffix = match &constraint.kind {
                ConstraintKind::Check(_) => Some("check"),
                ConstraintKind::Unique(_) => Some("key"),
                ConstraintKind::ForeignKey { .. } => Some("fkey"),
                _ => None,
            };
            let made_up = suffix.map(|suffix| format!("{}_{}_{suffix}", table.name, column.name));
            constraint.name = constraint.name.or(made_up);
            self.constraints.push(constraint);
        }
    }
}

/// Whether an expression names a column.
pub(super) fn mentions(tokens: &[Token], column: &str) -> bool {
    tokens.iter().any(|token| match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == column,
        Token::Word(word) => word.value.eq_ignore_ascii_case(column),
        _ => false,
    })
}
