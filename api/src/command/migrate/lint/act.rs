//! What a statement does to a schema, in the words of PostgreSQL.

use std::fmt;

use sqlparser::tokenizer::Token;

/// A name, with its schema unless that is `public`; folded as PostgreSQL folds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl Name {
    /// Another name in the same schema.
    pub(super) fn beside(&self, name: &str) -> Self {
        Self { schema: self.schema.clone(), name: name.to_owned() }
    }
}

/// As it is written in SQL.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

/// A name in SQL: in quotes if it needs any.
pub(super) fn quoted(name: &str) -> String {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    if starts && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_') {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Names in SQL, in a row.
pub(super) fn quoted_all(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// A type, under the shortest of its names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) is_array: bool,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, arguments, is_array } = self;
        f.write_str(name)?;
        if !arguments.is_empty() {
            write!(f, "({})", arguments.join(", "))?;
        }
        if *is_array { f.write_str("[]") } else { Ok(()) }
    }
}

/// A column as it is created or added.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) not_null: bool,
    pub(super) default: Option<Vec<Token>>,
    /// What it is computed from.
    pub(super) generated: Option<Vec<Token>>,
    pub(super) is_identity: bool,
    /// What is said of it beside its type.
    pub(super) constraints: Vec<Constraint>,
}

/// A constraint of a table, or of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constraint {
    pub(super) name: Option<String>,
    pub(super) kind: ConstraintKind,
    pub(super) not_valid: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConstraintKind {
    Check(Vec<Token>),
    Unique(Vec<String>),
    PrimaryKey(Vec<String>),
    /// Unique, or a primary key, by an index that is there.
    ByIndex(String),
    ForeignKey {
        columns: Vec<String>,
        parent: Name,
    },
    Exclusion,
}

/// What can be created, dropped and renamed like a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Table,
    View,
    MaterializedView,
    ForeignTable,
}

impl Relation {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::ForeignTable => "FOREIGN TABLE",
        }
    }
}

/// One part of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    AddColumn {
        column: Column,
        if_not_exists: bool,
    },
    DropColumn {
        column: String,
        if_exists: bool,
    },
    AddConstraint(Constraint),
    DropConstraint {
        name: String,
        if_exists: bool,
    },
    ValidateConstraint(String),
    SetType {
        column: String,
        kind: Type,
        collates: bool,
        using: Option<Vec<Token>>,
    },
    SetNotNull(String),
    DropNotNull(String),
    /// A default, an identity, an expression: what is said of rows to come.
    SetColumn,
    DropDefault(String),
    /// How a column or a table is stored and counted, which readers and writers do not wait for.
    SetStorage,
    RenameColumn {
        from: String,
        to: String,
    },
    RenameConstraint {
        from: String,
        to: String,
    },
    Rename(String),
    SetSchema(String),
    /// Another tablespace or access method, or another way of logging.
    Rewrite,
    Attach {
        partition: Name,
    },
    Detach {
        partition: Name,
        concurrently: bool,
        finalize: bool,
    },
    DisableTrigger(String),
    EnableTrigger,
    RowSecurity {
        is_on: bool,
    },
    Owner,
    /// What else takes the strongest lock for a moment.
    Other,
}

/// What one statement does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    CreateTable(CreateTable),
    CreateView {
        name: Name,
        is_materialized: bool,
    },
    DropRelations {
        relation: Relation,
        names: Vec<Name>,
        if_exists: bool,
    },
    AlterTable {
        relation: Relation,
        table: Name,
        actions: Vec<Action>,
    },
    CreateIndex(CreateIndex),
    DropIndexes {
        names: Vec<Name>,
        concurrently: bool,
        if_exists: bool,
    },
    Reindex {
        what: String,
        name: Name,
        concurrently: bool,
    },
    CreateSchema(String),
    DropSchemas(Vec<String>),
    DropDatabase(String),
    DropEverything,
    RenameSchema {
        from: String,
        to: String,
    },
    CreateEnum(Name),
    AddValue {
        name: Name,
        value: String,
        is_placed: bool,
        if_not_exists: bool,
    },
    RenameValue {
        name: Name,
        from: String,
        to: String,
    },
    RenameType(Name),
    RenameAttribute(Name),
    /// A type, a domain or an extension, with what uses it.
    DropCascade {
        what: String,
        name: Name,
    },
    Domain {
        name: Name,
        is_constrained: bool,
    },
    CreateSequence {
        is_small: bool,
    },
    CreateFunction {
        name: Name,
        is_definer: bool,
        has_path: bool,
        replaces: bool,
        body: Vec<Token>,
    },
    MakeDefiner(Name),
    CreateTrigger {
        name: String,
        table: Name,
        function: Name,
        replaces: bool,
    },
    DropTrigger {
        name: String,
        table: Name,
        if_exists: bool,
    },
    Truncate {
        tables: Vec<Name>,
        cascade: bool,
    },
    Change(Change),
    Insert {
        table: Name,
        columns: Vec<String>,
        is_repeatable: bool,
    },
    Set {
        name: String,
        value: Option<String>,
    },
    ResetAll,
    Transaction,
    Lock {
        tables: Vec<Name>,
        mode: String,
    },
    Vacuum {
        is_full: bool,
        table: Option<Name>,
    },
    Cluster {
        table: Option<Name>,
    },
    Refresh {
        view: Name,
        concurrently: bool,
        with_data: bool,
    },
    Grant {
        tables: Vec<Name>,
        to_public: bool,
    },
    /// What cannot run in a transaction, for another reason than those above.
    Alone,
    /// A block: what it does, statement by statement.
    Block(Vec<Act>),
    Query,
    /// What needs no table, or only a comment on it.
    Quick {
        is_repeatable: bool,
    },
    /// What takes a lock on a table, as rules and policies do.
    OnTable {
        table: Name,
    },
    /// SQL that is put together as it runs.
    Dynamic,
    Unreadable(String),
    Wrong(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct CreateTable {
    pub(super) name: Name,
    pub(super) is_temporary: bool,
    pub(super) if_not_exists: bool,
    pub(super) of_query: bool,
    pub(super) columns: Vec<Column>,
    pub(super) constraints: Vec<Constraint>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct CreateIndex {
    pub(super) name: Option<String>,
    pub(super) table: Name,
    /// Its columns; an expression is none.
    pub(super) columns: Vec<Option<String>>,
    /// From behind `ON`, as it was written.
    pub(super) definition: String,
    pub(super) is_unique: bool,
    pub(super) is_partial: bool,
    pub(super) concurrently: bool,
    pub(super) if_not_exists: bool,
    pub(super) only: bool,
}

/// An `UPDATE`, a `DELETE` or a `MERGE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) verb: &'static str,
    pub(super) table: Name,
    /// Whether it is about few rows: a batch, a range of keys, or some rows by their keys.
    pub(super) is_bounded: bool,
    /// The columns that it sets.
    pub(super) sets: Vec<String>,
    /// Whether what it sets was null before.
    pub(super) fills: bool,
    /// What stands behind `SET`, as far as `WHERE`; as it was written.
    pub(super) assignments: String,
}
