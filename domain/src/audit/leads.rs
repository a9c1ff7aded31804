//! What leads to something sensitive: the names by which SQL of one's own gets at it.
//!
//! No database tells of reads. But a statement can read a table only by its name, or by that of a view, a function, a
//! partition or a virtual table whose definition has that name in it, and so on. So a statement with any of these names in
//! its text, be it in a comment, is taken for one that reads. It is looked through when it is first used.
//!
//! Not seen is a name that is put together of pieces, a view that was made anew for other tables since the statement was
//! first used, and who reads what was copied: of that, it is the copying that is told.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::reading::{Reading, Sensitive};
use crate::{error::Result, fault, sql::Sql};

/// What of PostgreSQL gives any table, by a name that is in no text: as XML, or as samples of its columns.
const ANY_TABLE: [&str; 5] = ["_to_xml", "pg_stats", "pg_statistic", "dblink", "u&\""];

/// Where a text is, which stays there as long as the program runs, and how long it is.
type Place = (usize, usize);

/// What statements lead to.
#[derive(Debug, Default)]
pub(crate) struct Leads(RwLock<HashMap<Place, Arc<[Sensitive]>>>);

impl Leads {
    /// What a statement may read, if it was looked through before, or need not be.
    pub(crate) fn known(&self, sql: &Sql) -> Option<Vec<Reading>> {
        if sql.text().split(';').all(reads_nothing) {
            return Some(Vec::new());
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(known.get(&place(sql))?.iter().cloned().map(Sensitive::read_of_any).collect())
    }

    /// Looks a statement through, for what leads to something sensitive in this database.
    pub(crate) async fn followed(&self, sql: &Sql, connection: &impl ConnectionTrait) -> Result<Vec<Reading>> {
        let definitions = definitions(connection).await.map_err(fault::unavailable)?;
        let found = Names::leading(Sensitive::all(), &definitions).in_text(sql.text());
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(place(sql), found.iter().cloned().collect());
        Ok(found.into_iter().map(Sensitive::read_of_any).collect())
    }
}

/// Whether it is one of the statements that may have to be the first of a transaction, before anything is looked up.
fn reads_nothing(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    ["", "LOCK", "SET"].iter().any(|word| word.eq_ignore_ascii_case(first))
}

fn place(sql: &Sql) -> Place {
    (sql.text().as_ptr().addr(), sql.text().len())
}

/// Names, in small letters, and what they lead to.
#[derive(Debug, Default)]
struct Names(HashMap<String, HashSet<Sensitive>>);

impl Names {
    /// What is in these tables, and what leads to it by way of these definitions, which are names and their texts.
    fn leading(tables: impl Iterator<Item = (String, Sensitive)>, definitions: &[(String, String)]) -> Self {
        let mut names = Self::default();
        for (table, what) in tables {
            names.0.entry(table.to_lowercase()).or_default().insert(what);
        }
        loop {
            let mut is_more = false;
            for (name, text) in definitions {
                let found = names.in_text(text);
                if !found.is_empty() {
                    let known = names.0.entry(name.to_lowercase()).or_default();
                    let before = known.len();
                    known.extend(found);
                    is_more |= known.len() > before;
                }
            }
            if !is_more {
                return names;
            }
        }
    }

    /// What a text leads to.
    fn in_text(&self, text: &str) -> HashSet<Sensitive> {
        let text = text.to_lowercase();
        if ANY_TABLE.iter().any(|name| text.contains(name)) {
            return self.0.values().flatten().cloned().collect();
        }
        let words = text.split(|letter| !is_of_a_word(letter)).filter_map(|word| self.0.get(word));
        // A name in quotes may have anything in it.
        let others = self.0.iter().filter(|(name, _)| !name.chars().all(is_of_a_word) && text.contains(*name));
        words.chain(others.map(|(_, what)| what)).flatten().cloned().collect()
    }
}

fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// What reads tables under another name, and the text that says which. What is dropped meanwhile has none.
async fn definitions(connection: &impl ConnectionTrait) -> Result<Vec<(String, String)>, DbErr> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT name, sql AS definition FROM sqlite_schema \
             WHERE type = 'view' OR type = 'table' AND sql LIKE 'CREATE VIRTUAL %'"
        }
        _ => {
            "SELECT relname::text AS name, coalesce(pg_get_viewdef(oid), '') AS definition FROM pg_class \
             WHERE relkind IN ('v', 'm') AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') \
             UNION ALL \
             SELECT proname::text, coalesce(pg_get_functiondef(oid), '') FROM pg_proc \
             WHERE prokind <> 'a' AND pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') \
             UNION ALL \
             SELECT proname::text, aggtransfn::text || ' ' || aggfinalfn::text FROM pg_aggregate \
             JOIN pg_proc ON pg_proc.oid = aggfnoid \
             WHERE pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') \
             UNION ALL \
             SELECT related.name, related.definition FROM pg_inherits \
             JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent, \
             LATERAL (VALUES (child.relname::text, parent.relname::text), (parent.relname::text, child.relname::text)) \
             AS related (name, definition)"
        }
    };
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await?;
    let read = |row: &QueryResult| Ok((row.try_get("", "name")?, row.try_get("", "definition")?));
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a text leads to something sensitive, where there are these views.
    fn leads(definitions: &[(&str, &str)]) -> impl Fn(&str) -> bool {
        let definitions = definitions.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let names = Names::leading(Sensitive::all(), &definitions.collect::<Vec<_>>());
        move |sql| !names.in_text(sql).is_empty()
    }

    #[test]
    fn a_name_leads_there_however_it_is_written() {
        let leads = leads(&[]);
        for sql in [
            "SELECT * FROM subscriptions",
            "select plan from Main.\"SUBSCRIPTIONS\" s",
            "SELECT 1 FROM users,subscriptions;",
            "TABLE subscriptions",
            "SELECT table_to_xml($1::regclass, true, true, '')",
            "SELECT * FROM [subscriptions]",
            "SELECT * FROM U&\"\\0073ubscriptions\"",
            "SELECT body FROM documents WHERE collection = $1",
        ] {
            assert!(leads(sql), "{sql}");
        }
        for sql in ["SELECT * FROM users", "SELECT * FROM old_subscriptions", "SELECT subscriptions_ FROM users", ""] {
            assert!(!leads(sql), "{sql}");
        }
    }

    #[test]
    fn what_is_defined_by_what_leads_there_leads_there() {
        let leads = leads(&[
            ("Third", "SELECT * FROM second"),
            ("second", "SELECT * FROM first"),
            ("first", "SELECT * FROM public.subscriptions"),
            ("round", "SELECT * FROM round"),
            ("other", "SELECT * FROM users"),
            ("Who pays?", "SELECT * FROM first"),
        ]);
        assert!(leads("SELECT * FROM first") && leads("SELECT third()") && leads("SELECT * FROM \"who pays?\""));
        assert!(!leads("SELECT * FROM round, other"));
    }
}
