//! What has to be done for tables to be as entities say.

use std::collections::BTreeMap;

use migration::convention::told_keys;

use super::{
    Answers, ChangeError,
    draft::Draft,
    edit::{Edit, NewColumn},
    named::{NamedIndex, checks, indexes},
    step::{Alter, Cached, OwnedKey, Step, TableSpec, Told},
};
use crate::{
    command::entity::model::{Column, Entity, Kind, Model, Reference},
    schema::{Schema, Table},
};

/// The steps from how tables are to how they should be. What no entity says of them, such as their checks, stays as it is
/// in the schema.
pub(super) fn compare(
    before: &Model,
    after: &Model,
    schema: &Schema,
    answers: &Answers,
) -> Result<Vec<Step>, ChangeError> {
    answers.are_about(before, after)?;
    let mut answers = answers.clone();
    let renamed = answers.renamed_tables(before, after)?;
    let is_new = |table: &&String| !before.contains_key(*table) && !renamed.values().any(|to| to == *table);
    let new = after.keys().filter(is_new).collect::<Vec<_>>();
    let gone = before.keys().filter(|table| !after.contains_key(*table) && !renamed.contains_key(*table));
    let gone = gone.collect::<Vec<_>>();
    for &table in &gone {
        let is_like = |other: &&&String| looks_like(&before[table], &after[**other]);
        let taken_for = new.iter().find(is_like).map(|other| (*other).clone());
        answers.permit_drop(table, taken_for.as_deref())?;
    }

    let mut steps = Vec::new();
    for table in in_order(&new, |table| &after[table]) {
        steps.push(Step::Create(TableSpec::new(table, &after[table])));
    }
    for (table, entity) in before {
        let to = renamed.get(table).unwrap_or(table);
        let Some(wanted) = after.get(to) else { continue };
        let empty = Table::default();
        let known = schema.tables.get(table).unwrap_or(&empty);
        let alter = Alteration { from: table, to, before: entity, after: wanted, known, renamed: &renamed };
        steps.extend(alter.steps(&mut answers)?);
    }
    let mut dropped = in_order(&gone, |table| &before[table]);
    dropped.reverse();
    for table in dropped {
        let empty = Table::default();
        let known = schema.tables.get(table).unwrap_or(&empty);
        steps.push(Step::Drop(dropped_table(table, &before[table], known)?));
    }
    Ok(steps)
}

/// Whether one may be the other under another name.
fn looks_like(one: &Entity, other: &Entity) -> bool {
    let is_in_both = |column: &&Column| other.column(&column.name).is_some_and(|there| there.is_as(column));
    let shared = one.columns.iter().filter(is_in_both).count();
    2 * shared > one.columns.len()
}

/// Tables, each behind those of them that it refers to.
fn in_order<'a>(tables: &[&'a String], entity: impl Fn(&str) -> &'a Entity) -> Vec<&'a String> {
    let mut left = tables.to_vec();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |table: &&String| {
            let parents = entity(table).references.values().map(|reference| &reference.parent);
            parents.filter(|parent| parent != table).any(|parent| left.contains(&parent))
        };
        // In a circle, any: the database says what is wrong with it.
        let at = left.iter().position(|table| !waits(table)).unwrap_or_default();
        ordered.push(left.remove(at));
    }
    ordered
}

/// A table that is there, and should be another.
#[derive(Clone, Copy)]
pub(super) struct Alteration<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) before: &'a Entity,
    pub(super) after: &'a Entity,
    known: &'a Table,
    /// The tables that have another name, and which.
    pub(super) renamed: &'a BTreeMap<String, String>,
}

impl Alteration<'_> {
    fn steps(&self, answers: &mut Answers) -> Result<Vec<Step>, ChangeError> {
        let Self { from, to, before, after, known, .. } = *self;
        let renamed = answers.renamed_columns(to, before, after)?;
        let (new, gone) = self.come_and_gone(answers, &renamed)?;
        let (indexes, checks) = (indexes(from, known), checks(from, known)?);
        let mut draft = Draft { of: self, renamed, indexes, checks, edits: Vec::new() };
        if before.key.iter().map(|column| draft.now(column)).ne(after.key.iter().cloned()) {
            return Err(ChangeError::ByHand { what: format!("the primary key of {to}") });
        }
        draft.rename_table();
        draft.drop_references();
        let fills = draft.drop_what_hangs_on(&gone);
        draft.rename_columns();
        for column in gone {
            let default = known.column(&column.name).and_then(|known| known.default.clone());
            let column = Column { filled: fills.get(&column.name).cloned(), ..column.clone() };
            draft.edits.push(Edit::Drop(NewColumn { column, default }));
        }
        for column in new {
            if !column.is_optional && column.filled.is_none() {
                return Err(ChangeError::Unfilled { table: to.to_owned(), column: column.name.clone() });
            }
            draft.edits.push(Edit::Add(NewColumn { column: column.clone(), default: None }));
        }
        draft.add_references();
        draft.add_uniques();

        let values = self.of_values(&draft.renamed)?;
        let mut steps = Vec::new();
        if !draft.edits.is_empty() {
            let told = self.told(&draft.edits);
            steps.push(Step::Alter(Alter { table: from.to_owned(), edits: draft.edits, told }));
        }
        if !values.is_empty() {
            steps.push(Step::Alter(Alter { table: to.to_owned(), edits: values, told: Told::default() }));
        }
        Ok(steps)
    }

    /// The new columns, and those that are no more.
    fn come_and_gone(
        &self,
        answers: &mut Answers,
        renamed: &BTreeMap<String, String>,
    ) -> Result<(Vec<&Column>, Vec<&Column>), ChangeError> {
        let Self { to, before, after, .. } = *self;
        let is_new = |column: &&Column| {
            before.column(&column.name).is_none() && !renamed.values().any(|name| *name == column.name)
        };
        let is_gone = |column: &&Column| after.column(&column.name).is_none() && !renamed.contains_key(&column.name);
        let new = after.columns.iter().filter(is_new).collect::<Vec<_>>();
        let gone = before.columns.iter().filter(is_gone).collect::<Vec<_>>();
        for column in &gone {
            let is_like = |other: &&&Column| other.kind.is_as(column.kind);
            let taken_for = new.iter().find(is_like).map(|other| format!("{to}.{}", other.name));
            answers.permit_drop(&format!("{to}.{}", column.name), taken_for.as_deref())?;
        }
        Ok((new, gone))
    }

    /// What the cache and the audit trail are told, where that changes.
    fn told(&self, edits: &[Edit]) -> Told {
        let Self { from, to, .. } = *self;
        let mut told = Told::of(from, self.known);
        let is_renamed = from != to;
        if let Some((before, after)) = &mut told.keys {
            for edit in edits {
                self.tell(edit, after);
            }
            if before == after && !is_renamed {
                told.keys = None;
            }
        }
        if let Some((before, after)) = &mut told.masked {
            for edit in edits {
                match edit {
                    Edit::Drop(new) => after.retain(|column| *column != new.column.name),
                    Edit::RenameColumn { from, to } => {
                        after.iter_mut().filter(|column| *column == from).for_each(|column| column.clone_from(to));
                    }
                    _ => {}
                }
            }
            if before == after {
                told.masked = None;
            }
        }
        told
    }

    fn tell(&self, edit: &Edit, keys: &mut Vec<OwnedKey>) {
        let after = self.after;
        let is_of = |key: &OwnedKey, name: &str| key.column() == Some(name);
        let key = |name: &str| {
            let is_id = after.column(name).is_some_and(|column| column.kind == Kind::Uuid);
            if is_id { OwnedKey::Id(name.to_owned()) } else { OwnedKey::Text(name.to_owned()) }
        };
        let is_looked_up =
            |name: &str| after.references.contains_key(name) || after.uniques.contains(&vec![name.to_owned()]);
        match edit {
            Edit::Drop(new) => keys.retain(|key| !is_of(key, &new.column.name)),
            Edit::RenameColumn { from, to } => {
                keys.iter_mut().filter(|key| is_of(key, from)).for_each(|key| key.rename(to));
            }
            Edit::Refer(Reference { column, .. }) if !keys.iter().any(|key| is_of(key, column)) => {
                keys.push(key(column));
            }
            Edit::Index(NamedIndex { is_unique: true, columns: Some(columns), .. }) => {
                if let [column] = columns.as_slice()
                    && !keys.iter().any(|key| is_of(key, column))
                {
                    keys.push(key(column));
                }
            }
            Edit::Unrefer(Reference { column, .. }) if !is_looked_up(column) => {
                keys.retain(|key| !is_of(key, column));
            }
            Edit::DropIndex(NamedIndex { is_unique: true, columns: Some(columns), .. }) => {
                if let [column] = columns.as_slice()
                    && !is_looked_up(column)
                {
                    keys.retain(|key| !is_of(key, column));
                }
            }
            _ => {}
        }
    }

    /// Columns whose values are other.
    fn of_values(&self, renamed: &BTreeMap<String, String>) -> Result<Vec<Edit>, ChangeError> {
        let mut edits = Vec::new();
        for was in &self.before.columns {
            let name = renamed.get(&was.name).unwrap_or(&was.name);
            let Some(is) = self.after.column(name) else { continue };
            if !was.kind.is_as(is.kind) {
                if !is_convertible(was.kind, is.kind) {
                    let column = format!("{}.{name}", self.to);
                    return Err(ChangeError::Conversion { column, from: was.kind.words(), to: is.kind.words() });
                }
                edits.push(Edit::Retype { column: name.clone(), from: was.kind, to: is.kind });
            }
            match (was.is_optional, is.is_optional) {
                (false, true) => edits.push(Edit::Optional(name.clone())),
                (true, false) => edits.push(Edit::Required { column: name.clone(), filled: is.filled.clone() }),
                _ => {}
            }
        }
        Ok(edits)
    }
}

/// Whether there is no doubt which value becomes which, on either database, and whether that can be taken back.
fn is_convertible(from: Kind, to: Kind) -> bool {
    use Kind::{BigInteger, Double, Float, Json, JsonBinary, SmallInteger, Text, Varchar};

    let family = |kind: Kind| match kind {
        Text | Varchar(_) => 1,
        SmallInteger | BigInteger => 2,
        Float | Double => 3,
        Json | JsonBinary => 4,
        _ => 0,
    };
    let is_text = |kind: Kind| family(kind) == 1;
    let is_integer = |kind: Kind| family(kind) == 2;
    family(from) != 0 && family(from) == family(to)
        || is_text(from) && is_integer(to)
        || is_integer(from) && is_text(to)
}

/// A table that goes, with all that is needed to make it again.
fn dropped_table(table: &str, entity: &Entity, known: &Table) -> Result<TableSpec, ChangeError> {
    let default = |column: &Column| known.column(&column.name).and_then(|known| known.default.clone());
    let columns = entity.columns.iter().map(|column| NewColumn { column: column.clone(), default: default(column) });
    Ok(TableSpec {
        name: table.to_owned(),
        columns: columns.collect(),
        key: entity.key.clone(),
        references: entity.references.values().cloned().collect(),
        indexes: indexes(table, known),
        checks: checks(table, known)?,
        cached: Told::of(table, known).keys.map_or(Cached::Nothing, |(keys, _)| Cached::By(keys)),
        is_audited: known.triggers.contains_key(&format!("audit_{table}_insert")),
    })
}

impl Told {
    /// What is told of a table as it is.
    fn of(table: &str, known: &Table) -> Self {
        let text = |kind: &str| known.triggers.get(&format!("{kind}_{table}_insert")).map(|found| &found.definition);
        let keys = text("cache").map(|text| told_keys(text, table).iter().map(OwnedKey::of).collect::<Vec<_>>());
        let masked = text("audit").map(|text| {
            let is_masked = |name: &String| text.contains(&format!("new.{name} is null, null, '***'"));
            known.columns.iter().map(|column| column.name.clone()).filter(is_masked).collect::<Vec<_>>()
        });
        Self { keys: keys.map(|keys| (keys.clone(), keys)), masked: masked.map(|masked| (masked.clone(), masked)) }
    }
}
