//! What leads to something sensitive: the names by which SQL of one's own gets at it.
//!
//! No database tells of reads. But a statement can read a table only by its name, or by that of a view, a function, a
//! partition or a virtual table whose definition has that name in it, and so on. So a statement with any of these names in
//! its text, be it in a comment, is taken for one that reads. So is one that could read whatever it is told to by a value,
//! or by a text that it puts together: of all that is sensitive.
//!
//! A statement is looked through when it is first used, and again from time to time, because views may be made anew. Not
//! seen is who reads what was copied: of that, it is the copying that is told.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::reading::{Reading, Sensitive};
use crate::{
    error::Result,
    fault,
    sql::{
        Place, Sql,
        words::{is_of_a_word, names},
    },
};

/// What gives any table, by a name that need not be in the text: what runs SQL that it is given as a value, or puts together
/// as `EXECUTE` of PL/pgSQL does, and what reads files and pages.
const ANY_TABLE: [&str; 12] = [
    "connectby",
    "dbms_sql",
    EXECUTE,
    "get_raw_page",
    "lo_import",
    "pg_read_binary_file",
    "pg_read_file",
    "sqlite_dbpage",
    "ts_rewrite",
    "ts_stat",
    "vacuum",
    "xpath_table",
];

/// How the names begin of more of them: also what gives samples of columns, and what reads logs.
const ANY_TABLE_FAMILIES: [&str; 15] = [
    "bt_page",
    "crosstab",
    "cursor_to_xml",
    "database_to_xml",
    "dblink",
    "heap_page",
    "pg_get_wal",
    "pg_logical_slot",
    "pg_statistic",
    "pg_stats",
    "pg_toast",
    "query_to_xml",
    "schema_to_xml",
    "sqlite_stat",
    "table_to_xml",
];

const EXECUTE: &str = "execute";

/// What follows `DO` that is no text to be run.
const DONE: [&str; 4] = ["also", "instead", "nothing", "update"];

/// How many bytes a name has at most: `NAMEDATALEN` of PostgreSQL, without its end.
const MAX_NAME: usize = 63;

/// How long what was found in a statement is taken for what is in it.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// The first id that PostgreSQL gives to what is not its own: `FirstNormalObjectId`.
const FIRST_OF_OURS: i64 = 16_384;

/// What statements lead to, as it was when they were looked through.
#[derive(Debug, Default)]
pub(crate) struct Leads(RwLock<HashMap<Place, Found>>);

#[derive(Debug)]
struct Found {
    at: Instant,
    what: Arc<[Sensitive]>,
}

impl Leads {
    /// What a statement may read, if it was looked through lately, or need not be.
    pub(crate) fn known(&self, sql: &Sql) -> Option<Vec<Reading>> {
        if sql.nature().only_prepares {
            return Some(Vec::new());
        }
        self.known_at(sql, Instant::now())
    }

    fn known_at(&self, sql: &Sql, now: Instant) -> Option<Vec<Reading>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Found { at, what } = known.get(&sql.place())?;
        (now.duration_since(*at) < KNOWN_FOR).then(|| what.iter().cloned().map(Sensitive::read_of_any).collect())
    }

    /// Looks a statement through, for what leads to something sensitive in this database.
    pub(crate) async fn followed(&self, sql: &Sql, connection: &impl ConnectionTrait) -> Result<Vec<Reading>> {
        let at = Instant::now();
        let definitions = definitions(connection).await.map_err(fault::unavailable)?;
        let found = Names::leading(Sensitive::all(), &definitions).in_text(sql.text());
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(sql.place(), Found { at, what: found.iter().cloned().collect() });
        Ok(found.into_iter().map(Sensitive::read_of_any).collect())
    }
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
        let words = || names(&text);
        // What `DO` does is in a string, which may be written in many ways. `ON CONFLICT DO` and rules say what they do.
        let does = words().zip(words().skip(1)).any(|pair| pair.0 == "do" && !DONE.contains(&pair.1));
        // In `U&"…"` each letter of a name may be written as a number.
        if does || text.contains("u&\"") || words().any(gives_any_table) {
            return self.0.values().flatten().cloned().collect();
        }
        // A name in quotes may have anything in it.
        let others = self.0.iter().filter(|(name, _)| !name.chars().all(is_of_a_word) && text.contains(*name));
        words()
            .filter_map(|word| self.0.get(as_stored(word)))
            .chain(others.map(|(_, what)| what))
            .flatten()
            .cloned()
            .collect()
    }
}

/// PostgreSQL cuts off what is longer of a name.
fn as_stored(word: &str) -> &str {
    word.get(..MAX_NAME).unwrap_or(word)
}

fn gives_any_table(word: &str) -> bool {
    ANY_TABLE.contains(&word) || ANY_TABLE_FAMILIES.iter().any(|family| word.starts_with(family))
}

/// What reads tables under another name, and the text that says which. What is dropped meanwhile has none. In a language that
/// nobody here reads, anything may be put together.
async fn definitions(connection: &impl ConnectionTrait) -> Result<Vec<(String, String)>, DbErr> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT name, sql AS definition FROM sqlite_schema \
             WHERE type = 'view' OR type = 'table' AND sql LIKE 'CREATE VIRTUAL %'"
        }
        _ => {
            "SELECT relname::text AS name, CASE relkind WHEN 'f' THEN $1 ELSE coalesce(pg_get_viewdef(oid), '') END \
             AS definition FROM pg_class WHERE relkind IN ('v', 'm', 'f') AND oid::bigint >= $2 \
             UNION ALL \
             SELECT proname::text, coalesce(pg_get_functiondef(oid), '') FROM pg_proc WHERE prokind <> 'a' AND oid::bigint >= $2 \
             UNION ALL \
             SELECT proname::text, concat_ws(' ', aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn) \
             FROM pg_aggregate JOIN pg_proc ON pg_proc.oid = aggfnoid WHERE pg_proc.oid::bigint >= $2 \
             UNION ALL \
             SELECT lanname::text, $1 FROM pg_language WHERE lanname NOT IN ('c', 'internal', 'plpgsql', 'sql') \
             UNION ALL \
             SELECT oprname::text, oprcode::text FROM pg_operator WHERE oid::bigint >= $2 \
             UNION ALL \
             SELECT typname::text, castfunc::regproc::text FROM pg_cast \
             JOIN pg_type ON pg_type.oid IN (castsource, casttarget) AND pg_type.oid::bigint >= $2 WHERE castfunc <> 0 \
             UNION ALL \
             SELECT typname::text, pg_get_constraintdef(pg_constraint.oid) FROM pg_constraint \
             JOIN pg_type ON pg_type.oid = contypid WHERE pg_constraint.oid::bigint >= $2 \
             UNION ALL \
             SELECT relname::text, proname::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid \
             JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal \
             UNION ALL \
             SELECT relname::text, pg_get_ruledef(pg_rewrite.oid) FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class \
             WHERE rulename <> '_RETURN' AND pg_rewrite.oid::bigint >= $2 \
             UNION ALL \
             SELECT relname::text, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_class ON pg_class.oid = adrelid \
             WHERE pg_attrdef.oid::bigint >= $2 \
             UNION ALL \
             SELECT relname::text, concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)) \
             FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid \
             UNION ALL \
             SELECT related.name, related.definition FROM pg_inherits \
             JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent, \
             LATERAL (VALUES (child.relname::text, parent.relname::text), (parent.relname::text, child.relname::text)) \
             AS related (name, definition)"
        }
    };
    let values = [EXECUTE.into(), FIRST_OF_OURS.into()];
    let values = values.into_iter().filter(|_| backend == DbBackend::Postgres);
    let rows = connection.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
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
            "DO $$ BEGIN EXECUTE 'DELETE FROM sub' || 'scriptions'; END $$",
            "SELECT * FROM crosstab2($1)",
            "SELECT most_common_vals FROM pg_stats",
            "VACUUM INTO 'copy'",
            "DO E'BEGIN PERFORM * FROM sub\\x73criptions; END'",
        ] {
            assert!(leads(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM users",
            "SELECT * FROM old_subscriptions",
            "SELECT subscriptions_ FROM users",
            "SELECT executed, execute_at FROM users",
            "INSERT INTO users DEFAULT VALUES ON CONFLICT DO NOTHING",
            "",
        ] {
            assert!(!leads(sql), "{sql}");
        }
    }

    #[test]
    fn what_was_found_is_not_known_for_ever() {
        let leads = Leads::default();
        let sql = Sql::new("SELECT * FROM payers");
        let at = Instant::now();
        assert!(leads.known_at(&sql, at).is_none());
        let what = Sensitive::all().map(|(_, what)| what).collect();
        leads.0.write().unwrap().insert(sql.place(), Found { at, what });
        assert!(!leads.known_at(&sql, at + KNOWN_FOR / 2).unwrap().is_empty());
        assert!(leads.known_at(&sql, at + KNOWN_FOR).is_none());
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
            ("fourth", "CREATE FUNCTION fourth() LANGUAGE sql AS $function$SELECT plan FROM subscriptions$function$"),
        ]);
        assert!(leads("SELECT fourth()"));
        assert!(leads("SELECT * FROM first") && leads("SELECT third()") && leads("SELECT * FROM \"who pays?\""));
        assert!(!leads("SELECT * FROM round, other"));
    }
}
