//! Restores into PostgreSQL, by its own programs, in one transaction.

use std::{ffi::OsString, fs};

use super::{
    DbError,
    dump::{Dump, Format},
    program,
    restore::contents,
};
use crate::command::migrate::Database;

pub(super) async fn restore(database: &Database, database_url: &str, name: &str, dump: &Dump) -> Result<(), DbError> {
    let found = contents(database).await?;
    if !found.is_empty() {
        return Err(DbError::NotEmpty { database: name.to_owned(), found });
    }
    let path = dump.path.clone().into_os_string();
    let (program, arguments): (_, Vec<OsString>) = match dump.format {
        Format::Plain => {
            check(dump)?;
            let arguments = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--file"];
            (program::find("psql").await?, arguments.map(OsString::from).into_iter().chain([path]).collect())
        }
        Format::Archive => {
            // Owners and grants are of the place that it comes from.
            let arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--dbname="];
            let mut arguments = arguments.map(OsString::from).to_vec();
            if let Some(last) = arguments.last_mut() {
                last.push(name);
            }
            (program::find("pg_restore").await?, arguments.into_iter().chain([path]).collect())
        }
        Format::File => return Err(dump.is_for_another()),
    };
    program::run(&program, &arguments, database_url).await
}

/// Whether it has nothing but SQL: `psql` has commands of its own, such as `\!`, which runs a program on this machine.
fn check(dump: &Dump) -> Result<(), DbError> {
    let bytes = fs::read(&dump.path).map_err(|source| DbError::File { path: dump.path.clone(), source })?;
    match command(&String::from_utf8_lossy(&bytes)) {
        Some(found) => {
            let why = format!("it has the command {found} for psql");
            Err(DbError::NoDump { path: dump.path.clone(), why })
        }
        None => Ok(()),
    }
}

/// Where the text goes on, and in what.
enum State {
    Sql,
    /// Until this comes again.
    Quoted(String),
    /// The data of a `COPY`.
    Data,
}

/// The first command for `psql` in a text, but for those that `pg_dump` itself writes.
fn command(text: &str) -> Option<String> {
    let mut state = State::Sql;
    let mut statement = String::new();
    for line in text.lines() {
        if matches!(state, State::Data) {
            if line == "\\." {
                state = State::Sql;
            }
            continue;
        }
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if let State::Quoted(end) = &state {
                match rest.find(end.as_str()) {
                    Some(at) => {
                        rest = rest.get(at + end.len()..).unwrap_or_default();
                        state = State::Sql;
                    }
                    None => rest = "",
                }
                continue;
            }
            let mut taken = first.len_utf8();
            match first {
                '\'' | '"' => state = State::Quoted(first.to_string()),
                '-' if rest.starts_with("--") => break,
                '/' if rest.starts_with("/*") => state = State::Quoted("*/".to_owned()),
                '$' => {
                    if let Some(tag) = dollar(rest) {
                        taken = tag.len();
                        state = State::Quoted(tag.to_owned());
                    }
                }
                ';' => {
                    let is_copy = statement.trim_start().to_lowercase().starts_with("copy ")
                        && statement.trim_end().to_lowercase().ends_with("from stdin");
                    statement.clear();
                    if is_copy {
                        state = State::Data;
                        break;
                    }
                }
                '\\' => {
                    let word = rest.split_whitespace().next().unwrap_or(rest);
                    if !["\\restrict", "\\unrestrict"].contains(&word) {
                        return Some(word.to_owned());
                    }
                    break;
                }
                _ => {}
            }
            if first != ';' {
                statement.push(first);
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        statement.push(' ');
    }
    None
}

/// The tag of a text in dollars that begins here, such as `$body$`.
fn dollar(text: &str) -> Option<&str> {
    let end = text.get(1..)?.find('$')? + 2;
    let tag = text.get(..end)?;
    tag.trim_matches('$').chars().all(|letter| letter.is_alphanumeric() || letter == '_').then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dump_has_is_sql() {
        let dump = "\\restrict abc\nSET x = 1;\nCREATE FUNCTION f() AS $_$ \\! $_$;\nCOPY public.a (b, \"c;\") FROM stdin;\n\
                    \\N\ta\\tb\n\\!x\n\\.\n\nINSERT INTO a VALUES ('\\! it''s', '\n\\! more');\n-- \\! nothing\n/* \n\\! */\n";
        assert_eq!(command(dump), None);
    }

    #[test]
    fn what_psql_would_do_besides_is_found() {
        for (text, found) in [
            ("\\! rm -r x", "\\!"),
            ("SELECT 1 \\g |cat", "\\g"),
            ("SELECT '$$'; \\i other.sql -- $$", "\\i"),
            ("COPY a FROM stdin;\nx\n\\.\n\\connect other", "\\connect"),
            ("SELECT $a$ $b$ $a$ \\o x", "\\o"),
            ("/* ' */ \\copy a from b", "\\copy"),
        ] {
            assert_eq!(command(text).as_deref(), Some(found), "{text}");
        }
    }
}
