//! What has to be done for tables to be as entities say.

use std::collections::{BTreeMap, BTreeSet};

use migration::convention::told_keys;

use super::{
    Answers, ChangeError,
    edit::{Edit, NamedCheck, NamedIndex, NewColumn},
    step::{Alter, Cached, OwnedKey, Step, TableSpec, Told},
};
use crate::{
    command::entity::model::{Column, Entity, Fill, Kind, Model, Reference},
    schema::{Index, Schema, Table},
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
struct Alteration<'a> {
    from: &'a str,
    to: &'a str,
    before: &'a Entity,
    after: &'a Entity,
    known: &'a Table,
    renamed: &'a BTreeMap<String, String>,
}

impl Alteration<'_> {
    fn steps(&self, answers: &mut Answers) -> Result<Vec<Step>, ChangeError> {
        let Self { from, to, before, after, .. } = *self;
        let renamed = answers.renamed_columns(to, before, after)?;
        let name_now = |column: &str| renamed.get(column).map_or_else(|| column.to_owned(), Clone::clone);
        let (new, gone) = self.come_and_gone(answers, &renamed)?;
        if before.key.iter().map(|column| name_now(column)).ne(after.key.iter().cloned()) {
            return Err(ChangeError::ByHand { what: format!("the primary key of {to}") });
        }
        let mut indexes = indexes(from, self.known);
        let mut checks = checks(from, self.known)?;
        let mut edits = Vec::new();
        if from != to {
            edits.push(Edit::RenameTable { from: from.to_owned(), to: to.to_owned() });
            self.call_after(&mut edits, &mut indexes, &mut checks);
        }

        let now = |reference: &Reference| Reference {
            column: name_now(&reference.column),
            parent: self.renamed.get(&reference.parent).unwrap_or(&reference.parent).clone(),
            ..reference.clone()
        };
        let stays = |reference: &Reference| after.references.get(&now(reference).column) == Some(&now(reference));
        let left = before.references.values().filter(|reference| !stays(reference));
        edits.extend(left.map(|reference| {
            let parent = self.renamed.get(&reference.parent).unwrap_or(&reference.parent).clone();
            Edit::Unrefer(Reference { parent, ..reference.clone() })
        }));

        let uniques_now = before.uniques.iter().map(|unique| unique.iter().map(|column| name_now(column)).collect());
        let uniques_now = uniques_now.collect::<BTreeSet<Vec<String>>>();
        let (stay, go): (Vec<_>, Vec<_>) = indexes.into_iter().partition(|index| {
            let now = |columns: &Vec<String>| columns.iter().map(|column| name_now(column)).collect::<Vec<_>>();
            let columns = index.columns.as_ref().map(now);
            let is_unasked = index.is_unique
                && columns.is_some_and(|columns| uniques_now.contains(&columns) && !after.uniques.contains(&columns));
            !is_unasked && !gone.iter().any(|column| index.mentions(&column.name))
        });
        let is_unique = |column: &str| go.iter().any(|index| index.is_unique && index.mentions(column));
        let bare =
            gone.iter().map(|column| column.name.clone()).filter(|name| is_unique(name)).collect::<BTreeSet<_>>();
        edits.extend(go.into_iter().map(Edit::DropIndex));
        let (kept, lost): (Vec<_>, Vec<_>) =
            checks.into_iter().partition(|check| !gone.iter().any(|column| mentions(&check.condition, &column.name)));
        let permitted = |column: &str| lost.iter().find_map(|check| check.first_value(column));
        let filled = |column: &Column| match column.is_optional || bare.contains(&column.name) {
            // No two rows may have the same.
            true => None,
            false => permitted(&column.name).or_else(|| Fill::neutral(column.kind)),
        };
        let filled = gone.iter().map(|column| (column.name.clone(), filled(column))).collect::<BTreeMap<_, _>>();
        edits.extend(lost.into_iter().map(Edit::DropCheck));

        for (was, is) in &renamed {
            edits.push(Edit::RenameColumn { from: was.clone(), to: is.clone() });
            if before.references.get(was).is_some_and(stays) {
                edits.push(Edit::RenameConstraint { from: format!("fk_{to}_{was}"), to: format!("fk_{to}_{is}") });
            }
        }
        edits.extend(stay.iter().filter_map(|index| index.renamed(to, &renamed)));
        let check_renamed = |check: &NamedCheck| {
            let column = check.name.strip_prefix(&format!("ck_{to}_"))?;
            let to = format!("ck_{to}_{}", renamed.get(column)?);
            Some(Edit::RenameConstraint { from: check.name.clone(), to })
        };
        edits.extend(kept.iter().filter_map(check_renamed));

        let default = |column: &str| self.known.column(column).and_then(|known| known.default.clone());
        edits.extend(gone.iter().map(|column| {
            let (default, filled) = (default(&column.name), filled.get(&column.name).cloned().flatten());
            Edit::Drop(NewColumn { column: Column { filled, ..(*column).clone() }, default })
        }));
        for column in &new {
            if !column.is_optional && column.filled.is_none() {
                let (table, column) = (to.to_owned(), column.name.clone());
                return Err(ChangeError::Unfilled { table, column });
            }
            edits.push(Edit::Add(NewColumn { column: (*column).clone(), default: None }));
        }

        let were = before.references.values().map(now).collect::<Vec<_>>();
        for reference in after.references.values().filter(|reference| !were.contains(reference)) {
            edits.push(Edit::Refer(reference.clone()));
            let column = &reference.column;
            let leads = |columns: &Vec<String>| columns.first() == Some(column);
            let is_indexed = stay
                .iter()
                .filter_map(|index| index.columns.as_ref())
                .any(|columns| columns.first().is_some_and(|first| name_now(first) == *column));
            if !is_indexed && !leads(&after.key) && !after.uniques.iter().any(leads) {
                edits.push(Edit::Index(NamedIndex::new(to, false, vec![column.clone()])));
            }
        }
        for unique in after.uniques.difference(&uniques_now) {
            edits.push(Edit::Index(NamedIndex::new(to, true, unique.clone())));
        }

        let mut steps = Vec::new();
        if !edits.is_empty() {
            let told = self.told(&edits);
            steps.push(Step::Alter(Alter { table: from.to_owned(), edits, told }));
        }
        let edits = self.of_values(&renamed)?;
        if !edits.is_empty() {
            steps.push(Step::Alter(Alter { table: to.to_owned(), edits, told: Told::default() }));
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

    /// What is called after a table that is renamed.
    fn call_after(&self, edits: &mut Vec<Edit>, indexes: &mut [NamedIndex], checks: &mut [NamedCheck]) {
        let Self { from, to, before, .. } = *self;
        for index in indexes {
            let kind = if index.is_unique { "uq" } else { "ix" };
            if let Some(rest) = index.name.strip_prefix(&format!("{kind}_{from}_")) {
                let name = format!("{kind}_{to}_{rest}");
                edits.push(Edit::RenameIndex { from: index.name.clone(), to: name.clone() });
                index.name = name;
            }
            index.definition = index.definition.replace(&format!(" ON {from} ("), &format!(" ON {to} ("));
        }
        for check in checks {
            if let Some(rest) = check.name.strip_prefix(&format!("ck_{from}_")) {
                let name = format!("ck_{to}_{rest}");
                edits.push(Edit::RenameConstraint { from: check.name.clone(), to: name.clone() });
                check.name = name;
            }
        }
        for column in before.references.keys() {
            let [from, to] = [from, to].map(|table| format!("fk_{table}_{column}"));
            edits.push(Edit::RenameConstraint { from, to });
        }
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

/// Whether a column is named in SQL.
fn mentions(sql: &str, column: &str) -> bool {
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
    fn first_value(&self, column: &str) -> Option<Fill> {
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

    fn read(table: &str, name: &str, index: &Index) -> Self {
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

    fn mentions(&self, column: &str) -> bool {
        self.definition.split_once('(').is_some_and(|(_, what)| mentions(what, column))
    }

    /// Its name follows those of its columns.
    fn renamed(&self, table: &str, renamed: &BTreeMap<String, String>) -> Option<Edit> {
        let kind = if self.is_unique { "uq" } else { "ix" };
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

fn indexes(table: &str, known: &Table) -> Vec<NamedIndex> {
    known.indexes.iter().map(|(name, index)| NamedIndex::read(table, name, index)).collect()
}

fn checks(table: &str, known: &Table) -> Result<Vec<NamedCheck>, ChangeError> {
    let named = known.checks.values().map(|check| {
        let name = check.name.clone();
        let name = name.ok_or_else(|| ChangeError::ByHand { what: format!("a check of {table} without a name") })?;
        let definition = &check.definition;
        let inner = definition.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        Ok(NamedCheck { name, condition: inner.map_or(definition.as_str(), |(inner, _)| inner).to_owned() })
    });
    named.collect()
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
