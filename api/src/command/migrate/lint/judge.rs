//! Holds what statements do to the rules.

mod alter;

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{
    Finding, Script,
    act::{
        Act, Change, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, Name, Relation, Type, quoted,
        quoted_all,
    },
    cursor::{bare, text},
    known::Known,
    lock::{self, Mode},
    nature::{is_long_after, is_repeatable, is_step},
    read::read,
    rule::Rule,
    statement::{Statement, tokens_of},
};
use crate::command::migrate::Direction;

/// How many bytes of a name PostgreSQL keeps.
const LONGEST_NAME: usize = 63;

/// In front of what has to run in a migration of its own.
const ALONE: &str = "in a migration of its own, without a transaction (`-- no transaction`, or `use_transaction` that answers \
                     `Some(false)`):\n";

/// Judges one script: a migration's way up, or its way down.
pub(super) struct Judge<'a> {
    known: &'a mut Known,
    script: &'a Script,
    at: usize,
    findings: Vec<Finding>,
    course: Course,
}

/// What happened so far in the script.
#[derive(Default)]
struct Course {
    /// The first table that everybody is locked out of.
    locked: Option<Name>,
    /// Whether it was said that something went on after that.
    went_on: bool,
    altered: BTreeMap<Name, String>,
    not_valid: BTreeSet<(Name, String)>,
    validated: BTreeSet<(Name, String)>,
    new_values: Vec<String>,
    dropped_tables: BTreeMap<Name, usize>,
    dropped_indexes: BTreeSet<String>,
    dropped_plain: BTreeSet<String>,
    is_utc: bool,
    /// Statements that look for rows that are alike.
    looks: Vec<String>,
    changes: Vec<(usize, Change)>,
    changes_schema: bool,
    references: Vec<(usize, Name, Vec<String>)>,
    new_tables: Vec<(usize, Name)>,
    granted: BTreeSet<Name>,
    untold: Vec<(usize, Name, String)>,
    told_anew: BTreeSet<String>,
    in_transaction_already: bool,
}

/// Judges a script, and takes in what it does.
pub(super) fn judge(script: &Script, known: &mut Known) -> Vec<Finding> {
    let rights_by_hand = known.rights_by_hand;
    let mut judge = Judge { known, script, at: 0, findings: Vec::new(), course: Course::default() };
    let acts: Vec<Act> = script.statements.iter().map(read).collect();
    for (at, (act, statement)) in acts.iter().zip(&script.statements).enumerate() {
        judge.at = at;
        judge.words(statement, act);
        judge.act(act, true);
    }
    judge.whole(&acts, rights_by_hand);
    judge.findings
}

impl Judge<'_> {
    fn find(&mut self, rule: Rule, instead: String) {
        self.find_at(self.at, rule, instead);
    }

    fn find_at(&mut self, at: usize, rule: Rule, instead: String) {
        let Some(statement) = self.script.statements.get(at) else { return };
        let found = Finding {
            rule,
            migration: self.script.name.clone(),
            direction: self.script.direction,
            statement: at + 1,
            line: statement.line,
            sql: statement.sql.clone(),
            what: rule.title(),
            why: rule.why(),
            instead,
        };
        if !self.findings.contains(&found) {
            self.findings.push(found);
        }
    }

    fn is_up(&self) -> bool {
        self.script.direction != Some(Direction::Down)
    }

    fn exists(&self, table: &Name) -> bool {
        !self.known.made_table(table)
    }

    /// What is told from the words of a statement alone.
    fn words(&mut self, statement: &Statement, act: &Act) {
        let inner = if matches!(act, Act::Block(_)) { bodies(&statement.tokens) } else { Vec::new() };
        let tokens: Vec<Token> = bare(&statement.tokens).into_iter().chain(inner).collect();
        for token in &tokens {
            if let Token::Word(word) = token
                && word.value.len() > LONGEST_NAME
            {
                let mut end = LONGEST_NAME;
                while !word.value.is_char_boundary(end) {
                    end -= 1;
                }
                self.find(
                    Rule::M45,
                    format!("a shorter name: of {} only {} would be left", word.value, &word.value[..end]),
                );
            }
        }
        if tokens.windows(2).any(|pair| decrypts(&pair[0]) && pair[1] == Token::LParen) {
            self.find(Rule::M58, "decrypt in the application, and leave what is stored as it is".to_owned());
        }
        let uses = |value: &String| tokens.iter().any(|token| text(token).as_ref() == Some(value));
        if let Some(value) = self.course.new_values.iter().find(|value| uses(value)).cloned()
            && self.script.in_transaction
        {
            self.find(Rule::M41, format!("use '{value}' in the next migration"));
        }
        let lower = statement.sql.to_lowercase();
        if lower.contains("having") && lower.contains("count") {
            self.course.looks.push(lower);
        }
    }

    fn act(&mut self, act: &Act, is_outer: bool) {
        self.goes_on(act);
        match act {
            Act::Block(acts) => {
                for act in acts {
                    self.act(act, false);
                }
                return;
            }
            Act::CreateTable(create) => self.create_table(create),
            Act::DropRelations { relation, names, .. } => self.drop_relations(*relation, names),
            Act::AlterTable { relation, table, actions } => self.alter_table(*relation, table, actions, is_outer),
            Act::CreateIndex(create) => self.create_index(create),
            Act::DropIndexes { names, concurrently, .. } => self.drop_indexes(names, *concurrently),
            Act::Reindex { what, name, concurrently } => {
                let whole = matches!(what.as_str(), "SCHEMA" | "DATABASE" | "SYSTEM");
                if !concurrently {
                    self.find(Rule::M13, format!("{ALONE}REINDEX {what} CONCURRENTLY {name};"));
                }
                if whole || *concurrently {
                    self.alone(&format!("REINDEX {what} CONCURRENTLY {name};"));
                }
            }
            Act::DropSchemas(names) => {
                for name in names.iter().filter(|name| !self.known.made_schema(name)).cloned().collect::<Vec<_>>() {
                    let instead =
                        format!("move what is used out of {}, and let an administrator drop it by hand", quoted(&name));
                    self.find(Rule::M03, instead);
                }
            }
            Act::DropDatabase(name) => {
                let instead = format!("let an administrator drop {} by hand, after a backup", quoted(name));
                self.find(Rule::M03, instead);
                self.alone("");
            }
            Act::DropEverything => {
                let instead = "let an administrator do it by hand, after REASSIGN OWNED and a backup";
                self.find(Rule::M03, instead.to_owned());
            }
            Act::RenameSchema { from, to } => {
                let instead = format!(
                    "create {}, move to it table by table with a view left behind, and drop {} last",
                    quoted(to),
                    quoted(from)
                );
                self.find(Rule::M06, instead);
            }
            Act::CreateEnum(name) => {
                self.find(
                    Rule::M40,
                    format!("a column of type text with CHECK (… IN (…)), or a table of the values of {name}"),
                );
            }
            Act::AddValue { name, value, is_placed, .. } if !self.known.made_type(name) => {
                if !is_placed {
                    self.find(Rule::M41, format!("ALTER TYPE {name} ADD VALUE IF NOT EXISTS '{value}' AFTER '…';"));
                }
                self.course.new_values.push(value.clone());
            }
            Act::RenameValue { name, from, to } => {
                let instead = format!(
                    "1. ALTER TYPE {name} ADD VALUE IF NOT EXISTS '{to}' AFTER '{from}'; 2. release code that reads both and \
                     writes '{to}'; 3. update the rows in batches; '{from}' stays unused"
                );
                self.find(Rule::M07, instead);
            }
            Act::RenameType(name) => {
                let instead = format!(
                    "a new type beside {name}, a new column of it, and both written until nobody reads the old one"
                );
                self.find(Rule::M07, instead);
            }
            Act::RenameAttribute(name) => {
                self.find(
                    Rule::M04,
                    format!("a new attribute of {name}, and both written until nobody reads the old one"),
                );
            }
            Act::DropCascade { what, name } => {
                self.find(
                    Rule::M01,
                    format!(
                        "drop the columns one by one after a release that does not use them, then DROP {what} {name};"
                    ),
                );
            }
            Act::Domain { name, is_constrained: true } => {
                self.find(Rule::M39, format!(
                        "{name} without constraints, and a CHECK on each column: ADD CONSTRAINT … CHECK (…) NOT VALID, then \
                         VALIDATE"
                    ));
            }
            Act::CreateSequence { is_small: true } => self.find(Rule::M35, "AS bigint".to_owned()),
            Act::CreateFunction { name, is_definer, has_path, .. } => {
                if *is_definer && !has_path {
                    self.find(Rule::M48, format!(
                            "… SECURITY DEFINER SET search_path = pg_catalog, pg_temp, and every name in {name} with its \
                             schema"
                        ));
                }
                self.course.told_anew.insert(name.name.clone());
            }
            Act::MakeDefiner(name) => {
                self.find(
                    Rule::M48,
                    format!("ALTER FUNCTION {name}(…) SECURITY DEFINER SET search_path = pg_catalog, pg_temp;"),
                );
            }
            Act::CreateTrigger { function, .. } => {
                self.course.told_anew.insert(function.name.clone());
            }
            Act::DropTrigger { name, table, .. } if !self.known.made_trigger(table, name) => {
                self.untold(table, Some(name))
            }
            Act::Truncate { tables, .. } => {
                for table in tables.iter().filter(|table| self.exists(table)).cloned().collect::<Vec<_>>() {
                    self.find(
                        Rule::M42,
                        format!("a backup first, then, outside migrations, {}", batch("DELETE", &table, "…")),
                    );
                }
            }
            Act::Change(change) => self.change(change),
            Act::Insert { columns, .. } => self.twice(columns, "given"),
            Act::Set { name, value } => self.set(name, value.as_deref()),
            Act::ResetAll => {
                self.set("lock_timeout", None);
                self.set("statement_timeout", None);
            }
            Act::Transaction if is_outer && !self.course.in_transaction_already => {
                self.course.in_transaction_already = true;
                self.find(
                    Rule::M46,
                    "leave it out: the runner begins and ends the transaction; without one, `-- no transaction`"
                        .to_owned(),
                );
            }
            Act::Vacuum { is_full, table } => {
                let table = table.as_ref().map_or_else(String::new, |table| format!(" {table}"));
                if *is_full {
                    self.find(Rule::M43, format!("VACUUM (ANALYZE){table}; or pg_repack, outside migrations"));
                }
                self.alone(&format!("VACUUM (ANALYZE){table};"));
            }
            Act::Cluster { table } => {
                let table = table.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
                self.find(Rule::M43, format!("pg_repack --table {table}, outside migrations"));
            }
            Act::Refresh { view, concurrently: false, with_data: true } if self.exists(view) => {
                self.find(
                    Rule::M43,
                    format!("with a unique index on {view}: REFRESH MATERIALIZED VIEW CONCURRENTLY {view};"),
                );
            }
            Act::Grant { tables, to_public } => {
                if *to_public {
                    self.find(Rule::M59, "GRANT … TO the role of the application, by name".to_owned());
                }
                self.course.granted.extend(tables.iter().cloned());
            }
            Act::Alone => self.alone(""),
            Act::Dynamic => {
                self.find(
                    Rule::M51,
                    "the statement itself, without EXECUTE, or `-- lint: allow M51 because …` over it".to_owned(),
                );
            }
            Act::Unreadable(message) => {
                self.find(
                    Rule::M51,
                    format!("another way to say it, or `-- lint: allow M51 because …` over it ({message})"),
                );
            }
            Act::Wrong(message) => self.find(Rule::M49, message.clone()),
            _ => {}
        }
        self.known.learn(act);
    }

    /// Whether a lock that keeps everybody out is held while this runs, and whether this takes one.
    fn goes_on(&mut self, act: &Act) {
        // What is in a block is looked at one by one.
        if matches!(act, Act::Block(_)) {
            return;
        }
        let (known, course) = (&*self.known, &mut self.course);
        let locks = lock::of(act);
        let takes = locks.iter().find(|(table, mode)| *mode == Mode::AccessExclusive && !known.made_table(table));
        if !self.script.in_transaction || !matches!(self.script.direction, None | Some(Direction::Up)) {
            return;
        }
        course.changes_schema |= matches!(act, Act::AlterTable { table, .. } if !known.made_table(table))
            || matches!(act, Act::CreateIndex(create) if !known.made_table(&create.table));
        if let Some(locked) = &course.locked
            && !course.went_on
            && is_long_after(act, locked)
        {
            course.went_on = true;
            let instead = format!(
                "two migrations: one that ends with what locks {locked}, and one that begins here; or the order reversed, so \
                 that the lock on {locked} comes last"
            );
            self.find(Rule::M29, instead);
        } else if let (None, Some((table, _))) = (&course.locked, takes) {
            course.locked = Some(table.clone());
        }
    }

    /// Whether the statement runs in a transaction: the runner's, or the one that PostgreSQL makes of several statements
    /// that are sent together.
    fn cannot_be_alone(&self) -> bool {
        self.script.in_transaction
            || self.script.statements.get(self.at).is_some_and(|statement| statement.is_sent_with_others)
    }

    /// What may neither be in a transaction nor have company.
    fn alone(&mut self, instead: &str) {
        if self.cannot_be_alone() {
            self.find(Rule::M11, format!("{ALONE}{instead}"));
        }
    }

    fn create_table(&mut self, create: &CreateTable) {
        let CreateTable { name, columns, constraints, is_temporary, .. } = create;
        self.twice(&columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>(), "there");
        if let Some(at) = self.course.dropped_tables.get(name).copied() {
            self.find_at(at, Rule::M52, format!("ALTER TABLE {name} …, or a table with a new name"));
        }
        let keys = constraints.iter().flat_map(|constraint| match &constraint.kind {
            ConstraintKind::PrimaryKey(columns) | ConstraintKind::ForeignKey { columns, .. } => columns.as_slice(),
            _ => &[],
        });
        let keys: BTreeSet<&String> = keys.collect();
        for column in columns {
            self.kind(&column.kind, &column.name);
            self.key(column, keys.contains(&column.name));
            self.references(name, &column.constraints);
        }
        self.references(name, constraints);
        if !is_temporary {
            self.course.new_tables.push((self.at, name.clone()));
        }
    }

    fn references(&mut self, table: &Name, constraints: &[Constraint]) {
        for constraint in constraints {
            if let ConstraintKind::ForeignKey { columns, .. } = &constraint.kind {
                self.course.references.push((self.at, table.clone(), columns.clone()));
            }
        }
    }

    /// What is wrong with a type, wherever it is used.
    fn kind(&mut self, kind: &Type, column: &str) {
        let column = quoted(column);
        match kind.name.as_str() {
            "json" => self.find(Rule::M27, format!("{column} jsonb")),
            "varchar" if !kind.arguments.is_empty() => {
                self.find(
                    Rule::M37,
                    format!("{column} text, with CHECK (length({column}) <= {})", kind.arguments.concat()),
                );
            }
            "char" => {
                let length = kind.arguments.first().map_or("1", String::as_str);
                self.find(Rule::M37, format!("{column} text, with CHECK (length({column}) = {length})"));
            }
            "timestamp" => self.find(Rule::M38, format!("{column} timestamptz")),
            _ => {}
        }
    }

    fn key(&mut self, column: &Column, is_key: bool) {
        let is_key = is_key
            || column.constraints.iter().any(|constraint| {
                matches!(constraint.kind, ConstraintKind::PrimaryKey(_) | ConstraintKind::ForeignKey { .. })
            });
        let name = quoted(&column.name);
        let identity = format!("{name} bigint GENERATED BY DEFAULT AS IDENTITY");
        match column.kind.name.as_str() {
            "integer" | "smallint" if is_key => self.find(Rule::M35, format!("{name} bigint, or uuid")),
            "serial" | "smallserial" => {
                self.find(Rule::M35, identity.clone());
                self.find(Rule::M36, identity);
            }
            "bigserial" => self.find(Rule::M36, identity),
            _ => {}
        }
    }

    fn twice(&mut self, names: &[String], done: &str) {
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            self.find(Rule::M49, format!("{} only once: it is {done} twice", quoted(name)));
        }
    }

    fn drop_relations(&mut self, relation: Relation, names: &[Name]) {
        for name in names {
            if !self.exists(name) {
                continue;
            }
            let words = relation.words();
            let instead = match relation {
                Relation::Table | Relation::ForeignTable => format!(
                    "1. a release that does not use {name}; 2. ALTER {words} {name} RENAME TO {}; 3. when nobody missed it \
                     for some days, DROP {words} {}; with a reason",
                    quoted(&format!("{}_unused", name.name)),
                    name.beside(&format!("{}_unused", name.name))
                ),
                Relation::View | Relation::MaterializedView => {
                    format!("1. a release that does not use {name}; 2. DROP {words} {name}; with a reason")
                }
            };
            self.find(Rule::M02, instead);
            self.course.dropped_tables.insert(name.clone(), self.at);
        }
    }

    fn create_index(&mut self, create: &CreateIndex) {
        let CreateIndex { name, table, columns, definition, is_unique, concurrently, only, .. } = create;
        self.twice(&columns.iter().flatten().cloned().collect::<Vec<_>>(), "indexed");
        if columns.len() > 3 && !is_unique {
            let first = columns.iter().take(3).flatten().cloned().collect::<Vec<_>>();
            self.find(Rule::M50, format!("an index on {table} ({}), or one for each query", quoted_all(&first)));
        }
        let unique = if *is_unique { "UNIQUE " } else { "" };
        let made_up = || {
            let parts: Vec<&str> = columns.iter().map(|column| column.as_deref().unwrap_or("expr")).collect();
            format!("{}_{}_{}", if *is_unique { "uq" } else { "ix" }, table.name, parts.join("_"))
        };
        let index = name.clone().unwrap_or_else(made_up);
        let again = table.beside(&index);
        let index = quoted(&index);
        let instead = format!(
            "{ALONE}DROP INDEX CONCURRENTLY IF EXISTS {again};\nCREATE {unique}INDEX CONCURRENTLY {index} ON {definition};"
        );
        if *concurrently {
            let dropped = name.as_ref().is_some_and(|name| self.course.dropped_indexes.contains(name));
            if self.cannot_be_alone() || self.has_company(name.as_deref()) {
                self.find(Rule::M11, instead.clone());
            }
            if !self.cannot_be_alone() && !dropped {
                self.find(Rule::M14, instead);
            }
        } else if self.exists(table) && !only {
            self.find(Rule::M10, instead);
        }
        self.made_unique(create);
    }

    /// Whether the script does more than make one index.
    fn has_company(&self, index: Option<&str>) -> bool {
        self.script.statements.iter().enumerate().any(|(at, statement)| {
            at != self.at
                && match read(statement) {
                    Act::DropIndexes { names, .. } => names.iter().any(|name| Some(name.name.as_str()) != index),
                    Act::Set { .. } | Act::Quick { .. } | Act::Query => false,
                    _ => true,
                }
        })
    }

    fn made_unique(&mut self, create: &CreateIndex) {
        let CreateIndex { name, table, columns, is_unique, .. } = create;
        if !is_unique || !self.exists(table) {
            return;
        }
        let in_place = name.as_ref().is_some_and(|name| self.course.dropped_plain.contains(name));
        let looked = self.course.looks.iter().any(|sql| sql.contains(&table.name.to_lowercase()));
        if !looked && (in_place || self.known.plain_index(table, columns).is_some()) {
            let columns = quoted_all(&columns.iter().flatten().cloned().collect::<Vec<_>>());
            let instead = format!(
                "a look first, in the migration before: DO $$ BEGIN IF EXISTS (SELECT FROM {table} GROUP BY {columns} HAVING \
                 count(*) > 1) THEN RAISE EXCEPTION 'rows of {table} are alike'; END IF; END $$;"
            );
            self.find(Rule::M16, instead);
        }
    }

    fn drop_indexes(&mut self, names: &[Name], concurrently: bool) {
        for name in names {
            let made = self.known.made_index(&name.name);
            if concurrently {
                self.alone(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name};"));
            } else if !made {
                self.find(Rule::M12, format!("{ALONE}DROP INDEX CONCURRENTLY IF EXISTS {name};"));
            }
            if self.known.index(&name.name).is_some_and(|index| !index.is_unique) {
                self.course.dropped_plain.insert(name.name.clone());
            }
            self.course.dropped_indexes.insert(name.name.clone());
        }
    }

    fn change(&mut self, change: &Change) {
        let Change { verb, table, is_bounded, sets, assignments, .. } = change;
        self.twice(sets, "set");
        if table.name == "pg_enum" {
            self.find(
                Rule::M07,
                "ALTER TYPE … ADD VALUE IF NOT EXISTS '…' AFTER '…'; the catalog is never changed by hand".to_owned(),
            );
            return;
        }
        if !self.exists(table) {
            return;
        }
        let is_batch = self.script.statements.get(self.at).is_some_and(|statement| statement.is_batch);
        if *is_bounded || is_batch {
            self.course.changes.push((self.at, change.clone()));
        } else {
            self.find(Rule::M28, batch(verb, table, assignments));
        }
    }

    fn set(&mut self, name: &str, value: Option<&str>) {
        let digits =
            value.map(|value| value.trim().trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).trim());
        let is_endless = matches!(digits, None | Some("0"));
        match name {
            "lock_timeout" if is_endless => {
                self.find(Rule::M30, "SET LOCAL lock_timeout = '2s'; or nothing: the runner sets it".to_owned())
            }
            "statement_timeout" if is_endless => {
                self.find(Rule::M31, "SET LOCAL statement_timeout = '60s'; or nothing: the runner sets it".to_owned())
            }
            "search_path" if value.is_some_and(|value| !value.trim().is_empty()) => {
                self.find(Rule::M48, "leave it out, and write every name with its schema".to_owned());
            }
            "timezone" => self.course.is_utc = value.is_some_and(|zone| zone.eq_ignore_ascii_case("utc")),
            _ => {}
        }
    }

    /// A table that caches are told of is no longer what its triggers think.
    fn untold(&mut self, table: &Name, trigger: Option<&str>) {
        let triggers = self.known.table(table).map(|table| &table.triggers);
        let function = match (trigger, triggers) {
            (Some(trigger), Some(triggers)) => {
                triggers.get(trigger).filter(|function| function.starts_with("cache_")).cloned()
            }
            (None, _) => self.known.cached_by(table).map(str::to_owned),
            _ => None,
        };
        if let Some(function) = function {
            self.course.untold.push((self.at, table.clone(), function));
        }
    }

    fn key_changed(&mut self, table: &Name, column: &str) {
        if let Some(function) = self.known.cached_by(table)
            && self.known.tells(function, column)
        {
            self.course.untold.push((self.at, table.clone(), function.to_owned()));
        }
    }

    /// What is told only when the whole script is known.
    fn whole(&mut self, acts: &[Act], rights_by_hand: bool) {
        let course = std::mem::take(&mut self.course);
        for (at, change) in course.changes.into_iter().filter(|_| course.changes_schema && self.script.in_transaction) {
            let instead = format!("a migration of its own: {}", batch(change.verb, &change.table, &change.assignments));
            self.find_at(at, Rule::M28, instead);
        }
        for (at, table, columns) in course.references {
            let is_known = self.known.table(&table).is_some_and(|table| table.is_whole)
                || columns.iter().all(|column| self.known.made_column(&table, column));
            if is_known && !self.known.is_indexed(&table, &columns) {
                let index = quoted(&format!("ix_{}_{}", table.name, columns.join("_")));
                let how = if self.known.made_table(&table) { "" } else { " CONCURRENTLY" };
                self.find_at(
                    at,
                    Rule::M19,
                    format!("CREATE INDEX{how} {index} ON {table} ({});", quoted_all(&columns)),
                );
            }
        }
        for (at, table, function) in course.untold {
            if !course.told_anew.contains(&function) {
                let instead = format!(
                    "in this migration, too: uncached(schema, \"{0}\"), then cached(schema, \"{0}\", …)",
                    table.name
                );
                self.find_at(at, Rule::M57, instead);
            }
        }
        if rights_by_hand {
            for (at, table) in course.new_tables {
                if !course.granted.contains(&table) {
                    let instead = format!(
                        "in this migration, too: GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO …, or ALTER TABLE \
                         {table} ENABLE ROW LEVEL SECURITY and its policies"
                    );
                    self.find_at(at, Rule::M59, instead);
                }
            }
        }
        if !self.script.in_transaction {
            // What is done in batches goes on where it was.
            let resumes = |at: usize| self.script.statements.get(at).is_some_and(|statement| statement.is_batch);
            let steps = acts.iter().enumerate().filter(|(at, act)| is_step(act) && !resumes(*at));
            let steps: Vec<(usize, &Act)> = steps.collect();
            for (at, act) in steps.iter().filter(|(_, act)| steps.len() > 1 && !is_repeatable(act)) {
                let _ = act;
                self.find_at(
                    *at,
                    Rule::M47,
                    "IF [NOT] EXISTS, OR REPLACE or ON CONFLICT DO NOTHING, or a migration of its own".to_owned(),
                );
            }
        }
    }
}

/// What blocks are made of.
fn bodies(tokens: &[TokenWithSpan]) -> Vec<Token> {
    let texts = tokens.iter().filter_map(|token| text(&token.token));
    texts
        .filter_map(|text| tokens_of(&text).ok())
        .flat_map(|tokens| bare(&tokens))
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect()
}

fn decrypts(token: &Token) -> bool {
    const FUNCTIONS: &[&str] = &[
        "decrypt",
        "decrypt_iv",
        "pgp_pub_decrypt",
        "pgp_pub_decrypt_bytea",
        "pgp_sym_decrypt",
        "pgp_sym_decrypt_bytea",
    ];
    matches!(token, Token::Word(word) if FUNCTIONS.contains(&word.value.to_lowercase().as_str()))
}

/// A change of many rows, in steps.
fn batch(verb: &str, table: &Name, assignments: &str) -> String {
    let change =
        if verb == "DELETE" { format!("DELETE FROM {table}") } else { format!("UPDATE {table} SET {assignments}") };
    format!(
        "in batches, each in its own transaction (`-- batch: {table} by id` over it, or `Backfill` in Rust): {change} WHERE id \
         BETWEEN $from AND $to"
    )
}
