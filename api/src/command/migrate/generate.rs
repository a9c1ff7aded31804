//! Writes the start of a new migration, as far as its name tells, and enters it in `lib.rs`, touching nothing else there.

use std::{
    fmt, fs,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

use migration::{Migrator, MigratorTrait};
use sea_orm_migration::sea_orm::prelude::ChronoDateTimeUtc;
use serde::Serialize;

use super::MigrateError;
use crate::command::change::Source;

/// A migration: HEAD, USES, WHAT, UP and DOWN are yet to be said.
const MIGRATION: &str = r#"use sea_orm_migration::HEAD;
USES
/// WHAT
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, SCHEMA: &SchemaManager) -> Result<(), DbErr> {
        UP
    }

    async fn down(&self, SCHEMA: &SchemaManager) -> Result<(), DbErr> {
        DOWN
    }
}
"#;

/// What is in the place of those.
struct Said<'a> {
    head: &'a str,
    uses: &'a str,
    what: String,
    schema: &'a str,
    up: String,
    down: String,
}

impl Said<'_> {
    fn migration(&self) -> String {
        let Self { head, uses, what, schema, up, down } = self;
        // What is said last has the names of others in it.
        MIGRATION
            .replace("HEAD", head)
            .replace("USES", uses)
            .replace("SCHEMA", schema)
            .replace("WHAT", what)
            .replace("DOWN", down)
            .replace("UP", up)
    }
}

/// The migration that creates a table of records, and what else is said of it, such as `.columns([text("name")])`.
pub(in super::super) fn table_migration(table: &str, said: &[String]) -> String {
    let lines = said.iter().map(|said| format!("            {said}\n")).collect::<String>();
    let up = format!(
        "record(\"{table}\") // id, version, created_at, updated_at\n{lines}            .cached()\n            \
         .audited()\n            .create(schema)\n            .await"
    );
    Said {
        head: "{prelude::*, schema::*}",
        uses: "\nuse crate::convention::{drop_cached, record};\n",
        what: format!("Creates {table}."),
        schema: "schema",
        up,
        down: format!("drop_cached(schema, \"{table}\").await"),
    }
    .migration()
}

/// A migration that adds columns to a table, or takes them away.
fn column_migration(verb: &str, columns: &[&str], table: &str) -> String {
    let steps = |step: &dyn Fn(&str) -> String| {
        let step = |column: &&str| {
            format!("schema.alter_table(Table::alter().table(\"{table}\").{}.take()).await", step(column))
        };
        // SQLite takes one change at a time.
        columns.iter().map(step).collect::<Vec<_>>().join("?;\n        ")
    };
    let adding = steps(&|column| format!("add_column(text_null(\"{column}\"))"));
    let dropping = steps(&|column| format!("drop_column(\"{column}\")"));
    let (what, words) = (columns.join(" and "), if columns.len() == 1 { "it is" } else { "they are" });
    let note = |lines: &str| format!("// {lines}\n        ");
    let (what, up, down) = match verb {
        "add" => (
            format!("Adds {what} to {table}."),
            note(&format!("Text that may be missing, unless {words} something else: see `sea_orm_migration::schema`."))
                + &adding,
            dropping,
        ),
        _ => (
            format!("Takes {what} away from {table}."),
            dropping,
            note(&format!("Empty, whatever was there before; as {words} in the entity.")) + &adding,
        ),
    };
    Said { head: "{prelude::*, schema::text_null}", uses: "", what, schema: "schema", up, down }.migration()
}

/// A migration whose two ways were worked out.
pub(super) fn migration_of(what: &str, source: Source) -> String {
    let Source { head, uses, up, down } = source;
    Said { head: &head, uses: &uses, what: what.to_owned(), schema: "schema", up, down }.migration()
}

/// A migration of which nobody can tell what it is to do.
fn empty_migration() -> String {
    let fails = || "Err(DbErr::Migration(\"this migration is yet to be written\".to_owned()))".to_owned();
    let what = "What this migration is for.".to_owned();
    Said { head: "prelude::*", uses: "", what, schema: "_schema", up: fails(), down: fails() }.migration()
}

/// The files of a new migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The name of the migration.
    pub name: String,
    /// The new file.
    pub file: PathBuf,
    /// The list of migrations, with the new one at its end.
    pub list: PathBuf,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name: _, file, list } = self;
        writeln!(f, "wrote {}", file.display())?;
        writeln!(f, "entered it in {}", list.display())?;
        f.write_str("next: write what it is to do, then run `entity refresh`")
    }
}

/// Writes the start of a new migration into `folder`, the source folder of the migration crate, and enters it in its
/// `lib.rs`. It is named after the time, or after the latest migration if that is ahead of the clock.
///
/// # Errors
///
/// If the name has other characters than `a-z`, `0-9`, space, `-` and `_`, if `lib.rs` is not laid out as expected, or
/// if a file cannot be written. Then nothing has changed.
pub fn generate(name: &str, folder: &Path, now: SystemTime) -> Result<Generated, MigrateError> {
    let title = title(name)?;
    write(draft(&title, &start(&title), folder, now)?, folder)
}

/// Writes a draft into `folder`, and enters it in the list: both or neither.
pub(super) fn write(draft: Draft, folder: &Path) -> Result<Generated, MigrateError> {
    let Draft { name, content, list: after } = draft;
    let (file, list) = (folder.join(format!("{name}.rs")), folder.join("lib.rs"));
    fs::File::create_new(&file)
        .and_then(|mut created| created.write_all(content.as_bytes()))
        .map_err(|source| MigrateError::File { path: file.clone(), source })?;
    if let Err(source) = replace(&list, &after) {
        if let Err(error) = fs::remove_file(&file) {
            tracing::warn!(file = %file.display(), %error, "the start of a migration was left behind");
        }
        return Err(MigrateError::File { path: list, source });
    }
    Ok(Generated { name, file, list })
}

/// A new migration that nobody has written yet.
pub(in super::super) struct Draft {
    /// Its name.
    pub(in super::super) name: String,
    /// Its source.
    pub(in super::super) content: String,
    /// `lib.rs`, with the new one at the end of its list.
    pub(in super::super) list: String,
}

/// Names a migration of that title, for which there is a place in the `lib.rs` of `folder`.
pub(in super::super) fn draft(
    title: &str,
    content: &str,
    folder: &Path,
    now: SystemTime,
) -> Result<Draft, MigrateError> {
    let list = folder.join("lib.rs");
    let before = fs::read_to_string(&list).map_err(|source| MigrateError::File { path: list.clone(), source })?;
    let name = format!("m{}_{title}", stamp(&(in_sql(folder) + &before), now));
    let after = enter(&before, &name).map_err(|missing| MigrateError::Layout { path: list, missing })?;
    Ok(Draft { name, content: content.to_owned(), list: after })
}

/// A migration in the list of `folder` that this program does not have, because it was written after it was built.
pub(super) fn unbuilt(folder: &Path) -> Result<Option<String>, MigrateError> {
    let path = folder.join("lib.rs");
    let list = fs::read_to_string(&path).map_err(|source| MigrateError::File { path, source })?;
    let known = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect::<Vec<_>>();
    let listed = list.lines().map(str::trim).filter(|line| stamp_of(line).is_some());
    let names = listed.filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    Ok(names.map(str::to_owned).find(|name| !known.contains(name)))
}

/// The migrations in SQL, as the list would name them.
fn in_sql(folder: &Path) -> String {
    let folders = fs::read_dir(folder.join("../sql")).into_iter().flatten().flatten();
    let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    names.map(|name| format!("mod m{};\n", name.strip_prefix('m').unwrap_or(&name))).collect()
}

pub(super) fn title(name: &str) -> Result<String, MigrateError> {
    let permitted = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ' ' | '-' | '_');
    if !name.chars().all(permitted) || !name.contains(|c: char| c.is_ascii_lowercase()) {
        return Err(MigrateError::Name { name: name.to_owned() });
    }
    Ok(name.split([' ', '-', '_']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_"))
}

/// What a migration of that title starts with: `create_<table>`, `add_<column>_to_<table>` and
/// `remove_<column>_from_<table>` say what it does, and several columns are joined by `_and_`.
fn start(title: &str) -> String {
    if let Some(table) = title.strip_prefix("create_") {
        return table_migration(table, &[]);
    }
    let verbs = [("add", "add_", "_to_"), ("remove", "remove_", "_from_")];
    let columns = verbs.iter().find_map(|(verb, prefix, link)| {
        let (columns, table) = title.strip_prefix(prefix)?.rsplit_once(link)?;
        let columns = columns.split("_and_").collect::<Vec<_>>();
        let are_named = !table.is_empty() && columns.iter().all(|name| !name.is_empty());
        are_named.then_some((verb, columns, table))
    });
    match columns {
        Some((verb, columns, table)) => column_migration(verb, &columns, table),
        None => empty_migration(),
    }
}

/// Date and number of the new migration: its place in the list must be its place in the alphabet too.
fn stamp(list: &str, now: SystemTime) -> String {
    let now = ChronoDateTimeUtc::from(now).format("%Y%m%d_%H%M%S").to_string();
    match list.lines().filter_map(|line| stamp_of(line.trim())).max() {
        Some((day, number)) if now <= format!("{day}_{number:06}") => format!("{day}_{:06}", number + 1),
        _ => now,
    }
}

/// The date and number in a line such as `mod m20261121_000001_create_users;`.
fn stamp_of(line: &str) -> Option<(&str, u32)> {
    let name = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod m")?;
    let (day, rest) = name.split_once('_')?;
    let number = rest.get(..6)?;
    (day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit())).then_some((day, number.parse().ok()?))
}

/// The list with one more module and one more element of the vector in `fn migrations`, or what it has no place for.
fn enter(list: &str, name: &str) -> Result<String, &'static str> {
    let (after_modules, indent) = end_of_modules(list).ok_or("`mod`")?;
    let vector = vector(list).ok_or("migration in `fn migrations`")?;
    let element = format!("Box::new({name}::Migration)");
    let mut entered = String::with_capacity(list.len() + 2 * (name.len() + 32));
    entered.push_str(&list[..after_modules]);
    entered.push_str(&format!("{indent}mod {name};\n"));
    let inner = &list[vector.inner.clone()];
    if let Some((_, closing)) = inner.rsplit_once('\n') {
        // One element a line: the comma goes behind the last element, which a comment may follow.
        entered.push_str(&list[after_modules..vector.code_end]);
        entered.push_str(if vector.wants_comma { "," } else { "" });
        entered.push_str(&list[vector.code_end..vector.inner.end - closing.len()]);
        entered.push_str(&format!("{closing}    {element},\n{closing}"));
    } else {
        entered.push_str(&list[after_modules..vector.code_end]);
        entered.push_str(if vector.wants_comma { ", " } else { "" });
        entered.push_str(&element);
    }
    entered.push_str(&list[vector.inner.end..]);
    Ok(entered)
}

/// The end of the line of the last module, and its indentation.
fn end_of_modules(list: &str) -> Option<(usize, &str)> {
    let mut end = None;
    let mut at = 0;
    for line in list.split_inclusive('\n') {
        at += line.len();
        let code = line.trim();
        let module = code.strip_prefix("pub ").unwrap_or(code);
        if module.starts_with("mod ") && module.ends_with(';') && line.ends_with('\n') {
            end = Some((at, &line[..line.len() - line.trim_start().len()]));
        }
    }
    end
}

struct Vector {
    /// Between its brackets.
    inner: Range<usize>,
    /// Behind the last character in it that is neither space nor comment.
    code_end: usize,
    /// Whether that is the end of an element without a comma.
    wants_comma: bool,
}

/// The first vector behind `fn migrations`.
fn vector(list: &str) -> Option<Vector> {
    let function = list.find("fn migrations(")?;
    let start = function + list[function..].find("vec![")? + "vec![".len();
    let bytes = list.as_bytes();
    let (mut at, mut depth, mut code_end) = (start, 0_u32, start);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += list[at..].find('\n')?;
                continue;
            }
            b']' if depth == 0 => {
                let wants_comma = code_end > start && bytes[code_end - 1] != b',';
                return Some(Vector { inner: start..at, code_end, wants_comma });
            }
            b'[' | b'(' | b'{' => depth += 1,
            b']' | b')' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if !byte.is_ascii_whitespace() {
            code_end = at;
        }
    }
    None
}

/// Writes beside the file and renames, so that it is never there in half.
fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    let draft = path.with_extension("rs.new");
    fs::write(&draft, content)?;
    fs::rename(&draft, path).inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}
