//! The changes of one table, found one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    compare::Alteration,
    edit::Edit,
    named::{NamedCheck, NamedIndex, mentions},
};
use crate::command::entity::model::{Column, Fill, Reference};

/// The changes of a table, in the order in which they are found.
pub(super) struct Draft<'a> {
    pub(super) of: &'a Alteration<'a>,
    /// The columns that have another name, and which.
    pub(super) renamed: BTreeMap<String, String>,
    /// Those that stay, as they are called by then.
    pub(super) indexes: Vec<NamedIndex>,
    pub(super) checks: Vec<NamedCheck>,
    pub(super) edits: Vec<Edit>,
}

impl Draft<'_> {
    /// What a column is called in the end.
    pub(super) fn now(&self, column: &str) -> String {
        self.renamed.get(column).map_or_else(|| column.to_owned(), Clone::clone)
    }

    fn all_now(&self, columns: &[String]) -> Vec<String> {
        columns.iter().map(|column| self.now(column)).collect()
    }

    /// A reference that stays, in the names that there are in the end.
    fn reference_now(&self, reference: &Reference) -> Reference {
        let Reference { column, parent, .. } = reference;
        let parent = self.of.renamed.get(parent).unwrap_or(parent).clone();
        Reference { column: self.now(column), parent, ..reference.clone() }
    }

    fn stays(&self, reference: &Reference) -> bool {
        let now = self.reference_now(reference);
        self.of.after.references.get(&now.column) == Some(&now)
    }

    /// What is called after the table goes by its new name.
    pub(super) fn rename_table(&mut self) {
        let Alteration { from, to, before, .. } = *self.of;
        if from == to {
            return;
        }
        self.edits.push(Edit::RenameTable { from: from.to_owned(), to: to.to_owned() });
        for index in &mut self.indexes {
            let kind = index.kind();
            if let Some(rest) = index.name.strip_prefix(&format!("{kind}_{from}_")) {
                let name = format!("{kind}_{to}_{rest}");
                self.edits.push(Edit::RenameIndex { from: index.name.clone(), to: name.clone() });
                index.name = name;
            }
            index.definition = index.definition.replace(&format!(" ON {from} ("), &format!(" ON {to} ("));
        }
        for check in &mut self.checks {
            if let Some(rest) = check.name.strip_prefix(&format!("ck_{from}_")) {
                let name = format!("ck_{to}_{rest}");
                self.edits.push(Edit::RenameConstraint { from: check.name.clone(), to: name.clone() });
                check.name = name;
            }
        }
        for column in before.references.keys() {
            let [from, to] = [from, to].map(|table| format!("fk_{table}_{column}"));
            self.edits.push(Edit::RenameConstraint { from, to });
        }
    }

    pub(super) fn drop_references(&mut self) {
        let references = self.of.before.references.values();
        let dropped = references.filter(|reference| !self.stays(reference)).map(|reference| {
            let parent = self.reference_now(reference).parent;
            Edit::Unrefer(Reference { parent, ..reference.clone() })
        });
        self.edits.extend(dropped.collect::<Vec<_>>());
    }

    /// Indexes that are not asked for any more, and those and the checks that columns are in which go. Tells what these
    /// columns are to hold if they come back.
    pub(super) fn drop_what_hangs_on(&mut self, gone: &[&Column]) -> BTreeMap<String, Fill> {
        let Alteration { before, after, .. } = *self.of;
        let (indexes, checks) = (std::mem::take(&mut self.indexes), std::mem::take(&mut self.checks));
        let is_asked = |columns: &[String]| {
            let was_one = before.uniques.iter().any(|unique| unique == columns);
            !was_one || after.uniques.contains(&self.all_now(columns))
        };
        let (stay, go): (Vec<_>, Vec<_>) = indexes.into_iter().partition(|index| {
            let is_asked = !index.is_unique || index.columns.as_ref().is_none_or(|columns| is_asked(columns));
            is_asked && !gone.iter().any(|column| index.mentions(&column.name))
        });
        let is_lost = |check: &NamedCheck| gone.iter().any(|column| mentions(&check.condition, &column.name));
        let (lost, kept): (Vec<_>, Vec<_>) = checks.into_iter().partition(is_lost);
        let fill = |column: &&Column| {
            // No two rows may have the same in it.
            let is_unique = go.iter().any(|index| index.is_unique && index.mentions(&column.name));
            if column.is_optional || is_unique {
                return None;
            }
            let permitted = lost.iter().find_map(|check| check.first_value(&column.name));
            Some((column.name.clone(), permitted.or_else(|| Fill::neutral(column.kind))?))
        };
        let fills = gone.iter().copied().filter_map(|column| fill(&column)).collect();
        (self.indexes, self.checks) = (stay, kept);
        self.edits.extend(go.into_iter().map(Edit::DropIndex));
        self.edits.extend(lost.into_iter().map(Edit::DropCheck));
        fills
    }

    /// What is called after a column goes by its new name.
    pub(super) fn rename_columns(&mut self) {
        let Alteration { to: table, before, .. } = *self.of;
        let mut edits = Vec::new();
        for (was, is) in &self.renamed {
            edits.push(Edit::RenameColumn { from: was.clone(), to: is.clone() });
            if before.references.get(was).is_some_and(|reference| self.stays(reference)) {
                let [from, to] = [was, is].map(|column| format!("fk_{table}_{column}"));
                edits.push(Edit::RenameConstraint { from, to });
            }
        }
        edits.extend(self.indexes.iter().filter_map(|index| index.renamed(table, &self.renamed)));
        edits.extend(self.checks.iter().filter_map(|NamedCheck { name, condition: _ }| {
            let is = self.renamed.get(name.strip_prefix(&format!("ck_{table}_"))?)?;
            Some(Edit::RenameConstraint { from: name.clone(), to: format!("ck_{table}_{is}") })
        }));
        self.edits.extend(edits);
    }

    pub(super) fn add_references(&mut self) {
        let Alteration { to, before, after, .. } = *self.of;
        let were = before.references.values().map(|reference| self.reference_now(reference)).collect::<Vec<_>>();
        for reference in after.references.values().filter(|reference| !were.contains(reference)) {
            self.edits.push(Edit::Refer(reference.clone()));
            let column = &reference.column;
            let leads = |columns: &Vec<String>| columns.first() == Some(column);
            let is_indexed = self
                .indexes
                .iter()
                .filter_map(|index| index.columns.as_ref())
                .any(|columns| leads(&self.all_now(columns)));
            if !is_indexed && !leads(&after.key) && !after.uniques.iter().any(leads) {
                self.edits.push(Edit::Index(NamedIndex::new(to, false, vec![column.clone()])));
            }
        }
    }

    pub(super) fn add_uniques(&mut self) {
        let Alteration { to, before, after, .. } = *self.of;
        let were = before.uniques.iter().map(|unique| self.all_now(unique)).collect::<BTreeSet<_>>();
        let new = after.uniques.difference(&were);
        self.edits.extend(new.map(|unique| Edit::Index(NamedIndex::new(to, true, unique.clone()))));
    }
}
