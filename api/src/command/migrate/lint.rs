//! `migrate lint`: what is dangerous about migrations, why, and what to do in its place.
//!
//! Statements are judged by their text: those of plain SQL files, or those that the migrations of this program run when
//! they are recorded. The schema before is known from the migrations before, and what a migration makes itself is exempt
//! from what only hurts those who use it. What a finding is about can be allowed in the code, by a comment with a reason:
//!
//! ```sql
//! -- lint: allow M10 because the table has a hundred rows
//! CREATE INDEX ix_plans_name ON plans (name);
//! ```
//!
//! A migration in Rust runs such a comment by itself, before its statement. One that allows what is not there is a finding.
//!
//! To add a rule: a line in `rule.rs`, its statements in the corpus of the tests, and then an arm in `judge.rs`.

mod act;
mod block;
mod cursor;
mod effect;
mod file;
mod judge;
mod known;
mod lock;
mod nature;
mod read;
mod record;
mod rows;
mod rule;
mod statement;
mod table;
mod trace;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use migration::{MigrationTrait, Migrator, MigratorTrait};
use sea_orm_migration::sea_orm::DbBackend;
use serde::Serialize;

use super::{Direction, MigrateError};
pub(super) use effect::Effects;
pub use effect::{Lock, Planned};
use judge::judge;
use known::Known;
pub use lock::Mode;
pub(super) use record::{OneWay, Recording, Scratch, record};
pub use rule::{Rule, UnknownRule};
use statement::{Silencer, Statement, split};
pub use trace::trace;

/// Something dangerous about a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: Rule,
    /// The file, or the name of the migration.
    pub migration: String,
    /// Which way of the migration, if it has two.
    pub direction: Option<Direction>,
    /// Which statement, from 1; 0 if it is about none.
    pub statement: usize,
    /// The line that the statement begins on; 0 if it is about none.
    pub line: u64,
    /// The statement.
    pub sql: String,
    /// What it does, in a few words.
    pub what: &'static str,
    /// Why that is dangerous.
    pub why: &'static str,
    /// What to do in its place.
    pub instead: String,
}

/// What the lint found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was found, and not silenced.
    pub findings: Vec<Finding>,
    /// How many findings are allowed by a comment.
    pub silenced: usize,
    /// How many migrations were looked at.
    pub migrations: usize,
    /// How many statements.
    pub statements: usize,
}

/// A migration to be judged.
struct Migration {
    name: String,
    up: Source,
    down: Option<Source>,
    /// Whether it can be taken back, or says why not, if that can be told.
    has_down: Option<bool>,
    /// Why it cannot be run on SQLite.
    sqlite: Option<String>,
}

/// SQL, piece by piece.
struct Source {
    name: String,
    /// Whether each piece is sent as it is; otherwise its statements are, one by one.
    sends_pieces: bool,
    pieces: Vec<String>,
    in_transaction: bool,
}

/// One way of a migration, taken apart.
struct Script {
    name: String,
    direction: Option<Direction>,
    statements: Vec<Statement>,
    left: Vec<Silencer>,
    in_transaction: bool,
}

/// Judges the migrations of this program, or those in files and folders of plain SQL.
///
/// # Errors
///
/// If a file cannot be read.
pub async fn lint(paths: &[PathBuf]) -> Result<Report, MigrateError> {
    if paths.is_empty() {
        return Ok(lint_migrations(&Migrator::migrations()).await);
    }
    let mut migrations = Vec::new();
    for path in paths {
        migrations.extend(file::read(path)?);
    }
    Ok(examine(migrations, |_| true))
}

/// Judges migrations of Rust, by what they run.
pub async fn lint_migrations(migrations: &[Box<dyn MigrationTrait>]) -> Report {
    examine(recorded(migrations).await, |_| true)
}

/// Judges those that are pending, on the schema that all others make, by what applying them does. Their way back is not
/// taken now; that there is none counts.
pub(super) async fn lint_pending(migrations: &[Box<dyn MigrationTrait>], pending: &[String]) -> Report {
    let mut report = examine(recorded(migrations).await, |name| pending.iter().any(|one| one == name));
    report.findings.retain(|finding| finding.direction != Some(Direction::Down));
    report
}

/// Judges the way up of a migration that comes after all others of this program.
pub(super) async fn lint_new(migration: Box<dyn MigrationTrait>) -> Report {
    let name = migration.name().to_owned();
    let migrations = Migrator::migrations().into_iter().chain([migration]).collect::<Vec<_>>();
    lint_pending(&migrations, &[name]).await
}

/// Judges one piece of SQL, after others that are only known of.
pub fn lint_sql(before: &[&str], sql: &str) -> Report {
    let mut known = Known::default();
    for sql in before {
        let source =
            Source { name: String::new(), sends_pieces: false, pieces: vec![(*sql).to_owned()], in_transaction: true };
        let (script, _) = Script::read(source, None);
        known.begin();
        judge(&script, &mut known);
    }
    let up = Source { name: "sql".to_owned(), sends_pieces: false, pieces: vec![sql.to_owned()], in_transaction: true };
    let mut report = Report::default();
    report.take(Migration { name: "sql".to_owned(), up, down: None, has_down: None, sqlite: None }, &mut known);
    report
}

/// Tells what a piece of PostgreSQL's SQL would lock, write anew and lose.
pub fn effects(sql: &str) -> Vec<Planned> {
    Effects::default().of(sql)
}

async fn recorded(migrations: &[Box<dyn MigrationTrait>]) -> Vec<Migration> {
    let mut recorded = Vec::with_capacity(migrations.len());
    for migration in migrations {
        let source = |recording: Recording| {
            let Recording { statements, in_transaction, failure, .. } = recording;
            (
                Source { name: migration.name().to_owned(), sends_pieces: true, pieces: statements, in_transaction },
                failure,
            )
        };
        let (up, up_failure) = source(record(migration.as_ref(), Direction::Up, DbBackend::Postgres).await);
        let down = record(migration.as_ref(), Direction::Down, DbBackend::Postgres).await;
        let is_declared = down.one_way.as_ref().is_some_and(|one_way| one_way.is_declared);
        let (down, down_failure) = source(down);
        let sqlite = [Direction::Up, Direction::Down].map(|way| record(migration.as_ref(), way, DbBackend::Sqlite));
        let [up_there, down_there] = sqlite;
        let (up_there, down_there) = (up_there.await.failure, down_there.await.failure);
        // What fails everywhere is no matter of SQLite.
        let fails_there = up_there.filter(|_| up_failure.is_none()).or(down_there.filter(|_| down_failure.is_none()));
        let has_down = Some(down_failure.is_none() || is_declared);
        recorded.push(Migration {
            name: migration.name().to_owned(),
            up,
            down: Some(down),
            has_down,
            sqlite: fails_there,
        });
    }
    recorded
}

/// Only what is about those that count is told.
fn examine(migrations: Vec<Migration>, counts: impl Fn(&str) -> bool) -> Report {
    let (mut told, mut untold, mut known) = (Report::default(), Report::default(), Known::default());
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for migration in migrations {
        let report = if counts(&migration.name) { &mut told } else { &mut untold };
        let version: String =
            migration.name.chars().take_while(|letter| !letter.is_alphabetic() || *letter == 'm').collect();
        let version = version.trim_matches(['_', 'm']).to_owned();
        if !version.is_empty()
            && let Some(first) = versions.insert(version.clone(), migration.name.clone())
        {
            report.about(Rule::M55, &migration, format!("another version than {version}, which {first} has"));
        }
        report.take(migration, &mut known);
    }
    told
}

impl Script {
    /// Takes a source apart, and tells what is wrong with it as a whole.
    fn read(source: Source, direction: Option<Direction>) -> (Self, Option<(u64, String)>) {
        let Source { name, sends_pieces, pieces, in_transaction } = source;
        let mut script = Self { name, direction, statements: Vec::new(), left: Vec::new(), in_transaction };
        for piece in pieces {
            let pieces = match split(&piece) {
                Ok(pieces) => pieces,
                Err(broken) => return (script, Some((broken.line, broken.message))),
            };
            script.in_transaction &= !pieces.outside_transaction;
            let mut left = std::mem::take(&mut script.left);
            let is_sent_with_others = sends_pieces && pieces.statements.len() > 1;
            for mut statement in pieces.statements {
                statement.is_sent_with_others = is_sent_with_others;
                statement.allowed.splice(0..0, left.drain(..));
                script.statements.push(statement);
            }
            script.left = left.into_iter().chain(pieces.left).collect();
        }
        (script, None)
    }
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn take(&mut self, migration: Migration, known: &mut Known) {
        self.migrations += 1;
        known.begin();
        if let Some(failure) = &migration.sqlite {
            let instead = format!(
                "a table with the new shape, the rows copied into it, and the old name given to it ({failure})"
            );
            self.about(Rule::M60, &migration, instead);
        }
        if migration.has_down == Some(false) {
            let instead = "a `down` that undoes what `up` does; or, where nothing can, `Err(irreversible(\"…\"))` with the \
                           reason, which is `-- irreversible because …` in an up.sql";
            self.about(Rule::M54, &migration, instead.to_owned());
        }
        let Migration { up, down, .. } = migration;
        let way = down.is_some().then_some(Direction::Up);
        self.judge(up, way, known);
        if let Some(down) = down {
            // What comes later stands on the way up.
            self.judge(down, Some(Direction::Down), &mut known.clone());
        }
    }

    fn about(&mut self, rule: Rule, migration: &Migration, instead: String) {
        let (sql, what, why) = (String::new(), rule.title(), rule.why());
        let migration = migration.up.name.clone();
        self.findings.push(Finding {
            rule,
            migration,
            direction: None,
            statement: 0,
            line: 0,
            sql,
            what,
            why,
            instead,
        });
    }

    fn judge(&mut self, source: Source, direction: Option<Direction>, known: &mut Known) {
        let (script, broken) = Script::read(source, direction);
        self.statements += script.statements.len();
        let at = |rule: Rule, statement: usize, line: u64, sql: &str, instead: String| Finding {
            rule,
            migration: script.name.clone(),
            direction,
            statement,
            line,
            sql: sql.to_owned(),
            what: rule.title(),
            why: rule.why(),
            instead,
        };
        if let Some((line, message)) = broken {
            self.findings.push(at(Rule::M49, 0, line, "", message));
        }
        let (mut findings, mut wrong) = (judge(&script, known), Vec::new());
        for (index, statement) in script.statements.iter().enumerate() {
            for silencer in &statement.allowed {
                let instead = silencer.wrong().unwrap_or_else(|| {
                    let before = findings.len();
                    let names = |finding: &Finding| silencer.rules.iter().any(|rule| rule == finding.rule.id());
                    let unused = silencer.rules.iter().find(|rule| {
                        // What is only seen when it is run is not found here.
                        let is_traced = [Rule::M61, Rule::M62].iter().any(|traced| traced.id() == rule.as_str());
                        !is_traced
                            && !findings
                                .iter()
                                .any(|finding| finding.statement == index + 1 && finding.rule.id() == rule.as_str())
                    });
                    let unused =
                        unused.map(|rule| format!("leave {rule} out of it: the statement has no such finding"));
                    findings.retain(|finding| finding.statement != index + 1 || !names(finding));
                    self.silenced += before - findings.len();
                    unused.unwrap_or_default()
                });
                if !instead.is_empty() {
                    wrong.push(at(Rule::M00, index + 1, silencer.line, &silencer.comment, instead));
                }
            }
        }
        for silencer in &script.left {
            let instead = "put it before the statement that it is about".to_owned();
            wrong.push(at(Rule::M00, 0, silencer.line, &silencer.comment, instead));
        }
        findings.extend(wrong);
        findings.sort_by_key(|finding| (finding.statement, finding.rule));
        self.findings.extend(findings);
    }
}

impl Silencer {
    /// What is wrong with the comment itself.
    fn wrong(&self) -> Option<String> {
        if self.rules.is_empty() || !self.has_reason {
            return Some("-- lint: allow M10 because … (the rule, and a reason)".to_owned());
        }
        let unknown = self.rules.iter().find(|rule| rule.parse::<Rule>().is_err())?;
        Some(format!("the name of a rule: there is none called {unknown}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { findings, silenced, migrations, statements } = self;
        for finding in findings {
            writeln!(f, "{finding}")?;
        }
        let plural = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
        write!(
            f,
            "{} in {} ({})",
            plural(findings.len(), "finding"),
            plural(*migrations, "migration"),
            plural(*statements, "statement")
        )?;
        if *silenced > 0 {
            write!(f, ", {silenced} more allowed by comments")?;
        }
        // What is about a migration as a whole has no statement to write over.
        match findings.iter().find(|finding| finding.statement > 0) {
            Some(Finding { rule, .. }) => {
                write!(f, "\nTo allow one, write over its statement: -- lint: allow {rule} because …")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, migration, direction, statement, line, sql, what, why, instead } = self;
        write!(f, "{migration}")?;
        match direction {
            Some(Direction::Up) => f.write_str(", up")?,
            Some(Direction::Down) => f.write_str(", down")?,
            None => {}
        }
        if *statement > 0 {
            write!(f, ", statement {statement} (line {line})")?;
        }
        writeln!(f, ": {rule} {what}")?;
        for line in sql.lines() {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  why: {why}")?;
        writeln!(f, "  instead: {}", instead.replace('\n', "\n    "))
    }
}
