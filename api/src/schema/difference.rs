//! In what two databases differ.

use std::{collections::BTreeSet, fmt};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Check, Column, ForeignKey, Function, Grants, Index, Key, Named, Schema, Sequence, Table, Trigger, View};

/// Something in which a database is not as another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// What differs.
    pub part: Part,
    /// How.
    pub change: Change,
}

/// A part of a schema. Where a name of a table is told, it may be that of a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// An enumeration.
    Enumeration(String),
    /// A domain or a composite type.
    Type(String),
    /// A sequence.
    Sequence(String),
    /// A function or a procedure, with the types of its arguments.
    Function(String),
    /// A table.
    Table(String),
    /// A column, by its table and its name.
    Column(String, String),
    /// The primary key of a table.
    PrimaryKey(String),
    /// A unique constraint.
    Unique(String, String),
    /// A check.
    Check(String, String),
    /// Another constraint.
    Constraint(String, String),
    /// A foreign key.
    ForeignKey(String, String),
    /// An index.
    Index(String, String),
    /// A trigger.
    Trigger(String, String),
    /// A policy.
    Policy(String, String),
    /// Something said of a table.
    Option(String, String),
    /// A view.
    View(String),
    /// What a role may do with this part.
    Grant(Box<Part>, String, String),
}

/// How something differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is in the second only.
    Added,
    /// It is in the first only.
    Removed,
    /// It is in both, and different.
    Changed {
        /// In this.
        aspect: Aspect,
        /// As it is in the first; empty if there is none.
        from: String,
        /// As it is in the second; empty if there is none.
        to: String,
    },
}

/// What it is about something that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The type of a column.
    Type,
    /// Whether a column may be null.
    Nullability,
    /// The default of a column.
    Default,
    /// How a column is numbered.
    Identity,
    /// What a column is computed by.
    Expression,
    /// The collation of a column.
    Collation,
    /// The name of something that is known otherwise.
    Name,
    /// Whether it works: an index is valid, a trigger fires.
    State,
    /// The column that a sequence goes with.
    Owner,
    /// The values of an enumeration.
    Values,
    /// Everything else, as SQL says it.
    Definition,
}

/// Everything in which the second is not as the first.
pub fn differences(from: &Schema, to: &Schema) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    found.each(
        &from.enums,
        &to.enums,
        |name| Part::Enumeration(name.to_owned()),
        |found, part, from, to| {
            found.changed(part, Aspect::Values, from.join(", "), to.join(", "));
        },
    );
    found.texts(&from.types, &to.types, |name| Part::Type(name.to_owned()));
    found.each(&from.sequences, &to.sequences, |name| Part::Sequence(name.to_owned()), Found::sequence);
    found.each(&from.functions, &to.functions, |name| Part::Function(name.to_owned()), Found::function);
    found.each(&from.tables, &to.tables, |name| Part::Table(name.to_owned()), Found::table);
    found.each(&from.views, &to.views, |name| Part::View(name.to_owned()), Found::view);
    found.0
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, part: Part, change: Change) {
        self.0.push(Difference { part, change });
    }

    fn changed(&mut self, part: &Part, aspect: Aspect, from: impl Into<String>, to: impl Into<String>) {
        let (from, to) = (from.into(), to.into());
        if from != to {
            self.add(part.clone(), Change::Changed { aspect, from, to });
        }
    }

    /// Things by their names: what is in one only, and what the comparison of the others finds.
    fn each<T>(
        &mut self,
        from: &Named<T>,
        to: &Named<T>,
        part: impl Fn(&str) -> Part,
        compare: impl Fn(&mut Self, &Part, &T, &T),
    ) {
        for name in from.keys().chain(to.keys()).collect::<BTreeSet<_>>() {
            match (from.get(name), to.get(name)) {
                (Some(from), Some(to)) => compare(self, &part(name), from, to),
                (Some(_), None) => self.add(part(name), Change::Removed),
                _ => self.add(part(name), Change::Added),
            }
        }
    }

    fn texts(&mut self, from: &Named<String>, to: &Named<String>, part: impl Fn(&str) -> Part) {
        self.each(from, to, part, |found, part, from, to| found.changed(part, Aspect::Definition, from, to));
    }

    fn table(&mut self, part: &Part, from: &Table, to: &Table) {
        let Part::Table(table) = part else { return };
        let of = |kind: fn(String, String) -> Part| move |name: &str| kind(table.clone(), name.to_owned());
        let columns = |table: &Table| {
            table.columns.iter().map(|column| (column.name.clone(), column.clone())).collect::<Named<_>>()
        };
        self.each(&columns(from), &columns(to), of(Part::Column), Self::column);
        let key =
            |table: &Table| table.primary_key.iter().map(|key| (String::new(), key.clone())).collect::<Named<_>>();
        self.each(&key(from), &key(to), |_| Part::PrimaryKey(table.clone()), Self::key);
        self.each(&from.uniques, &to.uniques, of(Part::Unique), Self::key);
        self.each(&from.checks, &to.checks, of(Part::Check), |found, part, from: &Check, to| {
            found.changed(part, Aspect::Definition, &from.definition, &to.definition);
        });
        self.texts(&from.constraints, &to.constraints, of(Part::Constraint));
        self.each(&from.foreign_keys, &to.foreign_keys, of(Part::ForeignKey), |found, part, from: &ForeignKey, to| {
            found.name(part, from.name.as_ref(), to.name.as_ref());
            found.changed(part, Aspect::Definition, &from.definition, &to.definition);
        });
        self.each(&from.indexes, &to.indexes, of(Part::Index), Self::index);
        self.each(&from.triggers, &to.triggers, of(Part::Trigger), Self::trigger);
        self.texts(&from.policies, &to.policies, of(Part::Policy));
        self.options(&from.options, &to.options, of(Part::Option));
        self.grants(part, &from.grants, &to.grants);
    }

    fn column(&mut self, part: &Part, from: &Column, to: &Column) {
        let nullability = |column: &Column| if column.is_nullable { "nullable" } else { "not null" };
        let identity = |column: &Column| column.identity.map(super::Identity::sql).unwrap_or_default();
        let generated = |column: &Column| {
            let generated = column.generated.as_ref();
            let kept = |is_stored| if is_stored { "stored" } else { "virtual" };
            generated.map(|by| format!("({}) {}", by.expression, kept(by.is_stored))).unwrap_or_default()
        };
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        self.changed(part, Aspect::Type, &from.kind, &to.kind);
        self.changed(part, Aspect::Nullability, nullability(from), nullability(to));
        self.changed(part, Aspect::Default, or_none(&from.default), or_none(&to.default));
        self.changed(part, Aspect::Identity, identity(from), identity(to));
        self.changed(part, Aspect::Expression, generated(from), generated(to));
        self.changed(part, Aspect::Collation, or_none(&from.collation), or_none(&to.collation));
    }

    fn key(&mut self, part: &Part, from: &Key, to: &Key) {
        self.name(part, from.name.as_ref(), to.name.as_ref());
        self.changed(part, Aspect::Definition, &from.definition, &to.definition);
    }

    fn name(&mut self, part: &Part, from: Option<&String>, to: Option<&String>) {
        let or_none = |name: Option<&String>| name.cloned().unwrap_or_default();
        self.changed(part, Aspect::Name, or_none(from), or_none(to));
    }

    fn index(&mut self, part: &Part, from: &Index, to: &Index) {
        let state = |index: &Index| if index.is_valid { "valid" } else { "invalid" };
        self.changed(part, Aspect::Definition, &from.definition, &to.definition);
        self.changed(part, Aspect::State, state(from), state(to));
    }

    fn trigger(&mut self, part: &Part, from: &Trigger, to: &Trigger) {
        let state = |trigger: &Trigger| if trigger.is_enabled { "enabled" } else { "disabled" };
        self.changed(part, Aspect::Definition, &from.definition, &to.definition);
        self.changed(part, Aspect::State, state(from), state(to));
    }

    fn sequence(&mut self, part: &Part, from: &Sequence, to: &Sequence) {
        let owner = |sequence: &Sequence| sequence.owned_by.clone().unwrap_or_default();
        self.changed(part, Aspect::Definition, &from.definition, &to.definition);
        self.changed(part, Aspect::Owner, owner(from), owner(to));
        self.grants(part, &from.grants, &to.grants);
    }

    fn function(&mut self, part: &Part, from: &Function, to: &Function) {
        self.changed(part, Aspect::Definition, &from.definition, &to.definition);
        self.grants(part, &from.grants, &to.grants);
    }

    fn view(&mut self, part: &Part, from: &View, to: &View) {
        let Part::View(view) = part else { return };
        let of = |kind: fn(String, String) -> Part| move |name: &str| kind(view.clone(), name.to_owned());
        let definition = |view: &View| {
            let kind = if view.is_materialised { "MATERIALIZED VIEW" } else { "VIEW" };
            format!("{kind} AS {}", view.definition)
        };
        self.changed(part, Aspect::Definition, definition(from), definition(to));
        self.options(&from.options, &to.options, of(Part::Option));
        self.each(&from.indexes, &to.indexes, of(Part::Index), Self::index);
        self.each(&from.triggers, &to.triggers, of(Part::Trigger), Self::trigger);
        self.grants(part, &from.grants, &to.grants);
    }

    fn options(&mut self, from: &BTreeSet<String>, to: &BTreeSet<String>, part: impl Fn(&str) -> Part) {
        let named = |options: &BTreeSet<String>| options.iter().map(|name| (name.clone(), ())).collect::<Named<_>>();
        self.each(&named(from), &named(to), part, |_, _, (), ()| {});
    }

    fn grants(&mut self, part: &Part, from: &Grants, to: &Grants) {
        let each = |grants: &Grants| {
            let of_role = |(role, what): (&String, &BTreeSet<String>)| {
                what.iter().map(|privilege| (role.clone(), privilege.clone())).collect::<Vec<_>>()
            };
            grants.iter().flat_map(of_role).collect::<BTreeSet<_>>()
        };
        let (from, to) = (each(from), each(to));
        for (role, privilege) in from.union(&to) {
            let grant = (role.clone(), privilege.clone());
            let change = match (from.contains(&grant), to.contains(&grant)) {
                (true, true) => continue,
                (true, false) => Change::Removed,
                (false, _) => Change::Added,
            };
            self.add(Part::Grant(Box::new(part.clone()), grant.0, grant.1), change);
        }
    }
}

impl Part {
    /// What kind of thing it is, as programs are told.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Enumeration(_) => "enumeration",
            Self::Type(_) => "type",
            Self::Sequence(_) => "sequence",
            Self::Function(_) => "function",
            Self::Table(_) => "table",
            Self::Column(..) => "column",
            Self::PrimaryKey(_) => "primary_key",
            Self::Unique(..) => "unique",
            Self::Check(..) => "check",
            Self::Constraint(..) => "constraint",
            Self::ForeignKey(..) => "foreign_key",
            Self::Index(..) => "index",
            Self::Trigger(..) => "trigger",
            Self::Policy(..) => "policy",
            Self::Option(..) => "option",
            Self::View(_) => "view",
            Self::Grant(..) => "grant",
        }
    }

    /// The table or view that it is, or is in.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Enumeration(_) | Self::Type(_) | Self::Sequence(_) | Self::Function(_) => None,
            Self::Table(table)
            | Self::View(table)
            | Self::PrimaryKey(table)
            | Self::Column(table, _)
            | Self::Unique(table, _)
            | Self::Check(table, _)
            | Self::Constraint(table, _)
            | Self::ForeignKey(table, _)
            | Self::Index(table, _)
            | Self::Trigger(table, _)
            | Self::Policy(table, _)
            | Self::Option(table, _) => Some(table),
            Self::Grant(part, ..) => part.table(),
        }
    }

    /// Its name, within the table where it is in one.
    pub fn name(&self) -> &str {
        match self {
            Self::Enumeration(name)
            | Self::Type(name)
            | Self::Sequence(name)
            | Self::Function(name)
            | Self::Table(name)
            | Self::View(name)
            | Self::PrimaryKey(name)
            | Self::Column(_, name)
            | Self::Unique(_, name)
            | Self::Check(_, name)
            | Self::Constraint(_, name)
            | Self::ForeignKey(_, name)
            | Self::Index(_, name)
            | Self::Trigger(_, name)
            | Self::Policy(_, name)
            | Self::Option(_, name) => name,
            Self::Grant(part, ..) => part.name(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enumeration(name) => write!(f, "the enumeration {name}"),
            Self::Type(name) => write!(f, "the type {name}"),
            Self::Sequence(name) => write!(f, "the sequence {name}"),
            Self::Function(name) => write!(f, "the function {name}"),
            Self::Table(name) => write!(f, "the table {name}"),
            Self::View(name) => write!(f, "the view {name}"),
            Self::Column(table, name) => write!(f, "the column {table}.{name}"),
            Self::PrimaryKey(table) => write!(f, "the primary key of {table}"),
            Self::Unique(table, name) => write!(f, "the unique constraint {name} of {table}"),
            Self::Check(table, name) => write!(f, "the check {name} of {table}"),
            Self::Constraint(table, name) => write!(f, "the constraint {name} of {table}"),
            Self::ForeignKey(table, name) => write!(f, "the foreign key {name} of {table}"),
            Self::Index(table, name) => write!(f, "the index {name} of {table}"),
            Self::Trigger(table, name) => write!(f, "the trigger {name} of {table}"),
            Self::Policy(table, name) => write!(f, "the policy {name} of {table}"),
            Self::Option(table, name) => write!(f, "{name} of {table}"),
            Self::Grant(part, role, privilege) => write!(f, "the grant of {privilege} on {part} to {role}"),
        }
    }
}

impl Aspect {
    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Nullability => "nullability",
            Self::Default => "default",
            Self::Identity => "identity",
            Self::Expression => "expression",
            Self::Collation => "collation",
            Self::Name => "name",
            Self::State => "state",
            Self::Owner => "owner",
            Self::Values => "values",
            Self::Definition => "definition",
        }
    }
}

/// A sentence about the second, as seen from the first.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, change } = self;
        match change {
            Change::Added => write!(f, "{part} is there and should not be"),
            Change::Removed => write!(f, "{part} is missing"),
            Change::Changed { aspect, from, to } => {
                let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
                write!(f, "{part} has the {} {}, which should be {}", aspect.word(), or_none(to), or_none(from))
            }
        }
    }
}

impl Serialize for Difference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = serializer.serialize_struct("Difference", 8)?;
        shape.serialize_field("kind", self.part.kind())?;
        shape.serialize_field("table", &self.part.table())?;
        shape.serialize_field("name", self.part.name())?;
        let (change, aspect, from, to) = match &self.change {
            Change::Added => ("added", None, None, None),
            Change::Removed => ("removed", None, None, None),
            Change::Changed { aspect, from, to } => ("changed", Some(aspect.word()), Some(from), Some(to)),
        };
        shape.serialize_field("change", change)?;
        shape.serialize_field("aspect", &aspect)?;
        shape.serialize_field("from", &from)?;
        shape.serialize_field("to", &to)?;
        shape.serialize_field("message", &self.to_string())?;
        shape.end()
    }
}
