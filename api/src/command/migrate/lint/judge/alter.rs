//! Holds changes of tables to the rules.

use sqlparser::tokenizer::Token;

use super::{
    super::{
        act::{Action, Column, Constraint, ConstraintKind, Name, Relation, Type, quoted, quoted_all},
        nature::{is_cast_only, is_combinable, is_volatile, is_widening, says_not_null},
        rule::Rule,
        statement::is,
    },
    ALONE, Judge,
};

impl Judge<'_> {
    pub(super) fn alter_table(&mut self, relation: Relation, table: &Name, actions: &[Action], is_outer: bool) {
        let added = actions.iter().filter_map(|action| match action {
            Action::AddColumn { column, .. } => Some(column.name.clone()),
            _ => None,
        });
        self.twice(&added.collect::<Vec<_>>(), "added");
        for action in actions {
            self.action(relation, table, action);
        }
        // A column cannot come with a default for the rows that there are only, and lose it in the same statement.
        let fills =
            |action: &Action| matches!(action, Action::DropDefault(name) if self.known.made_column(table, name));
        let is_cheap = actions.iter().all(fills);
        let is_one_of_several = relation == Relation::Table && self.is_up() && actions.iter().all(is_combinable);
        if self.exists(table) && is_one_of_several && !is_cheap {
            let statement = &self.script.statements[self.at];
            let sql = if is_outer { statement.sql.clone() } else { format!("ALTER TABLE {table} …") };
            match self.course.altered.get(table) {
                Some(before) => {
                    let instead = format!("{before}, … (with the actions of this one)");
                    self.find(Rule::M32, instead);
                }
                None => drop(self.course.altered.insert(table.clone(), sql)),
            }
        }
    }

    fn action(&mut self, relation: Relation, table: &Name, action: &Action) {
        // Types and names are judged in new tables, too.
        match action {
            Action::AddColumn { column, .. } => {
                self.kind(&column.kind, &column.name);
                self.key(column, false);
                self.references(table, &column.constraints);
            }
            Action::SetType { column, kind, .. } => self.kind(kind, column),
            Action::AddConstraint(constraint) => self.references(table, std::slice::from_ref(constraint)),
            Action::RowSecurity { is_on: true } => drop(self.course.granted.insert(table.clone())),
            _ => {}
        }
        if !self.exists(table) {
            return;
        }
        let words = relation.words();
        match action {
            Action::AddColumn { column, .. } => self.add_column(table, column),
            Action::DropColumn { column, .. } if !self.known.made_column(table, column) => {
                let quoted = quoted(column);
                self.find(Rule::M01, format!(
                    "1. a release whose entity has no {quoted}, with ALTER {words} {table} ALTER COLUMN {quoted} DROP NOT NULL \
                     if it is needed; 2. in the release after it, ALTER {words} {table} DROP COLUMN {quoted}; with a reason"
                ));
                self.key_changed(table, column);
            }
            Action::AddConstraint(constraint) => self.add_constraint(table, constraint),
            Action::DropConstraint { name, .. } if !self.known.made_constraint(table, name) => {
                self.drop_constraint(table, name)
            }
            Action::ValidateConstraint(name) => {
                let pair = (table.clone(), name.clone());
                if self.course.not_valid.contains(&pair) && self.script.in_transaction {
                    self.find(
                        Rule::M20,
                        format!("in the next migration: ALTER TABLE {table} VALIDATE CONSTRAINT {};", quoted(name)),
                    );
                }
                self.course.validated.insert(pair);
            }
            Action::SetType { column, kind, collates, using } => {
                self.set_type(
                    table,
                    column,
                    kind,
                    *collates || using.as_ref().is_some_and(|using| !is_cast_only(using, column, kind)),
                    using.is_some(),
                );
            }
            Action::SetNotNull(column)
                if !self.known.made_column(table, column) && !self.is_never_null(table, column) =>
            {
                let (name, column) = (quoted(&format!("{}_{column}_not_null", table.name)), quoted(column));
                self.find(Rule::M22, format!(
                    "1. ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID; 2. in the next \
                     migration, ALTER TABLE {table} VALIDATE CONSTRAINT {name}; 3. then ALTER TABLE {table} ALTER COLUMN \
                     {column} SET NOT NULL, DROP CONSTRAINT {name};"
                ));
            }
            Action::DropNotNull(column) if !self.known.made_column(table, column) => {
                let column = quoted(column);
                self.find(Rule::M33, format!(
                    "1. a release whose entity reads {column} of {table} as Option; 2. this statement, with a reason"
                ));
            }
            Action::RenameColumn { from, to } if !self.known.made_column(table, from) => {
                self.find(Rule::M04, format!(
                    "1. ALTER {words} {table} ADD COLUMN {to} …; 2. a release that writes both; 3. copy {from} to {to} in \
                     batches; 4. a release that uses {to} only; 5. drop {from}",
                    from = quoted(from), to = quoted(to)
                ));
                self.key_changed(table, from);
            }
            Action::Rename(to) => {
                let to = table.beside(to);
                self.find(Rule::M05, format!(
                    "CREATE VIEW {to} AS SELECT * FROM {table}; and, when nobody uses {table} any more, both in one migration: \
                     DROP VIEW {to}; ALTER {words} {table} RENAME TO {};", quoted(&to.name)
                ));
                self.untold(table, None);
            }
            Action::SetSchema(schema) => {
                let there = Name { schema: Some(schema.clone()), name: table.name.clone() };
                self.find(Rule::M05, format!(
                    "CREATE VIEW {there} AS SELECT * FROM {table}; and move the table when nobody uses {table} any more"
                ));
            }
            Action::Rewrite => self.find(
                Rule::M43,
                format!("a new table beside {table}, filled in batches, or pg_repack, outside migrations"),
            ),
            Action::Detach { partition, concurrently, finalize } => {
                let instead = format!("ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY;");
                if *concurrently {
                    self.alone(&instead);
                } else if !finalize {
                    self.find(Rule::M44, format!("{ALONE}{instead}"));
                }
            }
            Action::Attach { partition } if self.exists(partition) && !self.is_checked(partition) => {
                self.find(Rule::M44, format!(
                    "1. ALTER TABLE {partition} ADD CONSTRAINT … CHECK (what the partition is for) NOT VALID; 2. in the next \
                     migration, ALTER TABLE {partition} VALIDATE CONSTRAINT …; 3. then this statement"
                ));
            }
            Action::DisableTrigger(_) => self.untold(table, None),
            Action::RowSecurity { is_on: false } => {
                self.find(Rule::M59, format!("a policy for who may see more: CREATE POLICY … ON {table} TO …"));
            }
            _ => {}
        }
    }

    fn add_column(&mut self, table: &Name, column: &Column) {
        let name = quoted(&column.name);
        let Column { kind, not_null, default, generated, is_identity, constraints, .. } = column;
        let serial = matches!(kind.name.as_str(), "serial" | "bigserial" | "smallserial");
        let has_value = serial || *is_identity || generated.is_some();
        let is_nothing = |tokens: &Vec<Token>| matches!(&tokens[..], [Token::Word(word)] if is(word, "NULL"));
        let default = default.as_ref().filter(|default| !is_nothing(default));
        let is_primary = constraints.iter().any(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey(_)));
        if *not_null && !has_value && default.is_none() {
            self.find(Rule::M23, format!(
                "ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT …; or 1. ADD COLUMN {name} {kind}; 2. fill it in \
                 batches; 3. SET NOT NULL by way of a check (M22)"
            ));
        }
        if default.is_some_and(|default| is_volatile(default)) {
            let default =
                default.map(|tokens| tokens.iter().map(ToString::to_string).collect::<String>()).unwrap_or_default();
            self.find(Rule::M24, format!(
                "1. ALTER TABLE {table} ADD COLUMN {name} {kind}; 2. ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT \
                 {default}; 3. fill the rows that are there in batches"
            ));
        }
        if has_value {
            self.find(Rule::M25, if generated.is_some() {
                format!(
                    "a view over {table} that computes {name}, or a column that a trigger fills, and the rows that are there \
                     in batches"
                )
            } else {
                format!(
                    "1. ALTER TABLE {table} ADD COLUMN {name} bigint; 2. a sequence as its default; 3. number the rows that \
                     are there in batches"
                )
            });
        }
        for constraint in constraints {
            let mut constraint = constraint.clone();
            if matches!(constraint.kind, ConstraintKind::ForeignKey { .. }) && default.is_none() {
                // Where nothing refers to anything, PostgreSQL does not look.
                continue;
            }
            constraint.name.get_or_insert_with(|| {
                let suffix = if is_primary { "pkey" } else { "key" };
                format!("{}_{}_{suffix}", table.name, column.name)
            });
            self.add_constraint(table, &constraint);
        }
    }

    fn add_constraint(&mut self, table: &Name, constraint: &Constraint) {
        let Constraint { name, kind, not_valid } = constraint;
        let named = |kind: &str, columns: &[String]| {
            quoted(&name.clone().unwrap_or_else(|| format!("{kind}_{}_{}", table.name, columns.join("_"))))
        };
        let by_index = |name: &str, columns: &[String], words: &str| {
            let index = quoted(&format!("uq_{}_{}", table.name, columns.join("_")));
            let again = table.beside(&format!("uq_{}_{}", table.name, columns.join("_")));
            format!(
                "1. {ALONE}DROP INDEX CONCURRENTLY IF EXISTS {again};\nCREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} \
                 ({});\n2. ALTER TABLE {table} ADD CONSTRAINT {name} {words} USING INDEX {index};",
                quoted_all(columns)
            )
        };
        if let Some(name) = name
            && *not_valid
        {
            self.course.not_valid.insert((table.clone(), name.clone()));
        }
        match kind {
            ConstraintKind::Unique(columns) => {
                self.find(Rule::M15, by_index(&named("uq", columns), columns, "UNIQUE"));
            }
            ConstraintKind::PrimaryKey(columns) => {
                let instead = format!(
                    "SET NOT NULL first, by way of a check (M22); then {}",
                    by_index(&named("pk", columns), columns, "PRIMARY KEY")
                );
                self.find(Rule::M17, instead);
            }
            ConstraintKind::ForeignKey { columns, parent } if !not_valid => {
                let name = named("fk", columns);
                self.find(Rule::M18, format!(
                    "1. ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {parent} NOT VALID; 2. in the \
                     next migration, ALTER TABLE {table} VALIDATE CONSTRAINT {name};",
                    quoted_all(columns)
                ));
            }
            ConstraintKind::Check(condition) if !not_valid => {
                let name = named("ck", &[]);
                let condition: Vec<String> = condition.iter().map(ToString::to_string).collect();
                self.find(Rule::M21, format!(
                    "1. ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({}) NOT VALID; 2. in the next migration, ALTER TABLE \
                     {table} VALIDATE CONSTRAINT {name};",
                    condition.join(" ")
                ));
            }
            ConstraintKind::Exclusion => {
                self.find(
                    Rule::M26,
                    format!(
                        "a new table with the constraint, filled from {table} in batches, and then used in its place"
                    ),
                );
            }
            _ => {}
        }
    }

    fn drop_constraint(&mut self, table: &Name, name: &str) {
        let known = self.known.table(table);
        let found = known
            .and_then(|known| known.constraints.iter().find(|constraint| constraint.name.as_deref() == Some(name)));
        let is_check = match found {
            Some(constraint) => matches!(constraint.kind, ConstraintKind::Check(_)),
            None => ["check", "chk", "ck", "not_null", "notnull", "nn"]
                .iter()
                .any(|part| name.split('_').any(|word| word == *part) || name.ends_with(part)),
        };
        if !is_check {
            self.find(Rule::M53, format!(
                "look for {name} in the code that reads constraints' names and for what counts on it; then this statement, with \
                 a reason"
            ));
        }
    }

    fn set_type(&mut self, table: &Name, column: &str, kind: &Type, changes_values: bool, has_using: bool) {
        if self.known.made_column(table, column) {
            return;
        }
        let before = self.known.table(table).and_then(|table| table.columns.get(column)).cloned();
        if before.as_ref() == Some(kind) && !changes_values {
            return;
        }
        let rewrites =
            changes_values || before.as_ref().is_none_or(|before| !is_widening(before, kind, self.course.is_utc));
        let (name, new) = (quoted(column), quoted(&format!("{column}_new")));
        if rewrites {
            let unknown = if before.is_none() && !has_using { " (its type before is not known here)" } else { "" };
            self.find(Rule::M08, format!(
                "1. ALTER TABLE {table} ADD COLUMN {new} {kind}; 2. a release that writes both; 3. fill {new} from {name} in \
                 batches; 4. a release that uses {new}; 5. drop {name}{unknown}"
            ));
        }
        let dependents = self.known.dependents(table, column, rewrites);
        if !dependents.is_empty() {
            self.find(Rule::M09, format!(
                "drop {} first, and add it again afterwards (NOT VALID, or CONCURRENTLY), each in a migration of its own",
                dependents.join(", ")
            ));
        }
        if rewrites {
            self.key_changed(table, column);
        }
    }

    /// Whether a check says that a column is never NULL, and was validated.
    fn is_never_null(&self, table: &Name, column: &str) -> bool {
        let constraints = self.known.table(table).into_iter().flat_map(|table| &table.constraints);
        let mut checks = constraints.filter_map(|constraint| match &constraint.kind {
            ConstraintKind::Check(condition) if says_not_null(condition, column) => Some(!constraint.not_valid),
            _ => None,
        });
        // Of a constraint that was made elsewhere, only the name is known.
        let named = self.course.validated.iter().any(|(of, name)| of == table && name.contains(column));
        checks.any(|is_valid| is_valid) || named
    }

    fn is_checked(&self, table: &Name) -> bool {
        let constraints = self.known.table(table).into_iter().flat_map(|table| &table.constraints);
        constraints
            .into_iter()
            .any(|constraint| matches!(constraint.kind, ConstraintKind::Check(_)) && !constraint.not_valid)
    }
}
