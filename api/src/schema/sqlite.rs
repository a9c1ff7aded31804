//! Reads a SQLite database: what its pragmas tell, and, of what they do not tell, the text that made it.

use std::collections::BTreeSet;

use sea_orm_migration::{
    DbErr,
    sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, TransactionSession, TransactionTrait},
};
use sqlparser::tokenizer::Token;

use super::{
    Action, Check, Column, ForeignKey, Generated, Identity, Index, Key, Schema, Table, Trigger, View,
    text::{bare, is, named, parenthesised, parts, tokens, with_sorted_objects, written},
};

// Without the tables in which virtual ones are stored.
const THINGS: &str = "
    SELECT s.type, s.name, s.tbl_name, coalesce(s.sql, '') AS sql, coalesce(l.wr, 0) AS wr, coalesce(l.strict, 0) AS strict
    FROM sqlite_schema s
    LEFT JOIN pragma_table_list l ON l.schema = 'main' AND l.name = s.name AND s.type IN ('table', 'view')
    WHERE s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND coalesce(l.type, '') <> 'shadow'
      AND s.tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')
    ORDER BY s.rowid";

const COLUMNS: &str = "
    SELECT s.name AS of, c.name, lower(c.type) AS type, c.\"notnull\" AS not_null, c.dflt_value AS value, c.pk, c.hidden
    FROM sqlite_schema s, pragma_table_xinfo(s.name) c WHERE s.type = 'table' AND c.hidden <> 1 ORDER BY s.name, c.cid";

const FOREIGN_KEYS: &str = "
    SELECT s.name AS of, k.id, k.\"table\" AS parent, k.\"from\" AS here, k.\"to\" AS there, k.on_update, k.on_delete
    FROM sqlite_schema s, pragma_foreign_key_list(s.name) k WHERE s.type = 'table' ORDER BY s.name, k.id DESC, k.seq";

const UNIQUES: &str = "
    SELECT s.name AS of, l.seq, i.name
    FROM sqlite_schema s, pragma_index_list(s.name) l, pragma_index_info(l.name) i
    WHERE s.type = 'table' AND l.origin = 'u' ORDER BY s.name, l.seq DESC, i.seqno";

pub(super) async fn read(connection: &(impl ConnectionTrait + TransactionTrait)) -> Result<Schema, DbErr> {
    let transaction = connection.begin().await?;
    let query = async |sql: &str| transaction.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await;
    let rows = async {
        Ok::<_, DbErr>([query(THINGS).await?, query(COLUMNS).await?, query(FOREIGN_KEYS).await?, query(UNIQUES).await?])
    };
    let rows = rows.await;
    transaction.rollback().await?;
    let [things, columns, foreign_keys, uniques] = rows?;
    let mut schema = Schema::default();
    for thing in &things {
        enter(&mut schema, thing)?;
    }
    let mut keys: Vec<(String, i64, String)> = Vec::new();
    for row in &columns {
        let of: String = row.try_get("", "of")?;
        let Some(table) = schema.tables.get_mut(&of) else { continue };
        let column = column(row, &table.columns)?;
        let place: i64 = row.try_get("", "pk")?;
        if place > 0 {
            keys.push((of, place, column.name.clone()));
        }
        match table.columns.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&column.name)) {
            Some(known) => *known = column,
            None => table.columns.push(column),
        }
    }
    keys.sort();
    for (of, _, column) in keys {
        let Some(table) = schema.tables.get_mut(&of) else { continue };
        let new = Key { name: None, columns: Vec::new(), definition: String::new() };
        table.primary_key.get_or_insert(new).columns.push(column);
    }
    for table in schema.tables.values_mut() {
        if let Some(key) = &mut table.primary_key {
            key.definition = format!("PRIMARY KEY ({})", key.columns.join(", "));
        }
    }
    refer(&mut schema, &foreign_keys)?;
    unique(&mut schema, &uniques)?;
    Ok(schema)
}

/// Enters a thing as far as its text tells.
fn enter(schema: &mut Schema, row: &QueryResult) -> Result<(), DbErr> {
    let [kind, name, of, sql] = ["type", "name", "tbl_name", "sql"].map(|column| row.try_get::<String>("", column));
    let (kind, name, of, sql) = (kind?, name?, of?, sql?);
    match kind.as_str() {
        "table" => {
            let mut table = Written::of(&sql).table();
            for (column, option) in [("wr", "WITHOUT ROWID"), ("strict", "STRICT")] {
                if row.try_get::<i64>("", column)? != 0 {
                    table.options.insert(option.to_owned());
                }
            }
            schema.tables.insert(name, table);
        }
        "view" => {
            let tokens = tokens(&sql);
            let definition = match tokens.iter().position(|token| is(Some(token), "AS")) {
                Some(at) => written(tokens.get(at + 1..).unwrap_or_default()),
                None => bare(&sql),
            };
            schema.views.insert(name, View { definition, ..View::default() });
        }
        "index" => {
            if let Some(table) = schema.tables.get_mut(&of) {
                table.indexes.insert(name, index(&sql));
            }
        }
        _ => {
            let definition = match tokens(&sql) {
                tokens if tokens.is_empty() => bare(&sql),
                tokens => written(&with_sorted_objects(&tokens)),
            };
            let trigger = Trigger { definition, is_enabled: true };
            match (schema.tables.get_mut(&of), schema.views.get_mut(&of)) {
                (Some(table), _) => table.triggers.insert(name, trigger),
                (None, Some(view)) => view.triggers.insert(name, trigger),
                (None, None) => None,
            };
        }
    }
    Ok(())
}

fn index(sql: &str) -> Index {
    let tokens = tokens(sql);
    let (on, after) = parenthesised(&tokens).unwrap_or_default();
    Index {
        method: "btree".to_owned(),
        is_unique: is(tokens.get(1), "UNIQUE"),
        parts: parts(on).into_iter().map(written).collect(),
        predicate: is(after.first(), "WHERE").then(|| written(after.get(1..).unwrap_or_default())),
        is_valid: true,
        definition: bare(sql),
    }
}

/// A column as the pragma tells it, with what the text told of it.
fn column(row: &QueryResult, written: &[Column]) -> Result<Column, DbErr> {
    let name: String = row.try_get("", "name")?;
    let written = written.iter().find(|column| column.name.eq_ignore_ascii_case(&name));
    let default: Option<String> = row.try_get("", "value")?;
    let hidden: i64 = row.try_get("", "hidden")?;
    let is_computed = hidden > 1;
    Ok(Column {
        kind: row.try_get("", "type")?,
        is_nullable: row.try_get::<i64>("", "not_null")? == 0,
        default: default.map(|value| bare(&value)).filter(|value| value != "null" && !is_computed),
        identity: written.and_then(|column| column.identity),
        generated: written.and_then(|column| column.generated.clone()),
        collation: written.and_then(|column| column.collation.clone()),
        name,
    })
}

/// The foreign keys, which the pragma tells from the last one to the first. Their names, and whether they wait for the
/// end of a transaction, are in the text only, in its order.
fn refer(schema: &mut Schema, rows: &[QueryResult]) -> Result<(), DbErr> {
    let keys =
        schema.tables.iter().filter_map(|(name, table)| Some((name.clone(), table.primary_key.clone()?.columns)));
    let keys = keys.collect::<super::Named<_>>();
    for (of, table) in &mut schema.tables {
        let told = std::mem::take(&mut table.foreign_keys).into_values().collect::<Vec<_>>();
        let mut found: Vec<(i64, ForeignKey)> = Vec::new();
        for row in rows {
            if row.try_get::<String>("", "of")? != *of {
                continue;
            }
            let id: i64 = row.try_get("", "id")?;
            if found.last().is_none_or(|(last, _)| *last != id) {
                let action = |column: &str| Ok::<_, DbErr>(action(&row.try_get::<String>("", column)?));
                let key = ForeignKey {
                    name: None,
                    columns: Vec::new(),
                    table: row.try_get("", "parent")?,
                    references: Vec::new(),
                    on_update: action("on_update")?,
                    on_delete: action("on_delete")?,
                    definition: String::new(),
                };
                found.push((id, key));
            }
            let Some((_, key)) = found.last_mut() else { continue };
            key.columns.push(row.try_get("", "here")?);
            key.references.extend(row.try_get::<Option<String>>("", "there")?);
        }
        let is_told = told.len() == found.len();
        for (at, (_, mut key)) in found.into_iter().enumerate() {
            if key.references.is_empty() {
                // The primary key is meant.
                key.references = keys.get(&key.table).cloned().unwrap_or_default();
            }
            let told = told.get(at).filter(|_| is_told);
            let waits = told.map(|told| told.definition.as_str()).unwrap_or_default();
            key.name = told.and_then(|told| told.name.clone());
            let ForeignKey { columns, table: parent, references, on_update, on_delete, .. } = &key;
            let (columns, references) = (columns.join(", "), references.join(", "));
            let (on_update, on_delete) = (on_update.sql(), on_delete.sql());
            key.definition = format!(
                "FOREIGN KEY ({columns}) REFERENCES {parent} ({references}) ON UPDATE {on_update} ON DELETE {on_delete}{waits}"
            );
            let name = key.name.clone().unwrap_or_else(|| format!("({columns}) to {}", key.table));
            table.foreign_keys.insert(name, key);
        }
    }
    Ok(())
}

fn action(word: &str) -> Action {
    match word {
        "RESTRICT" => Action::Restrict,
        "CASCADE" => Action::Cascade,
        "SET NULL" => Action::SetNull,
        "SET DEFAULT" => Action::SetDefault,
        _ => Action::NoAction,
    }
}

/// The unique constraints, which the text names.
fn unique(schema: &mut Schema, rows: &[QueryResult]) -> Result<(), DbErr> {
    for (of, table) in &mut schema.tables {
        let told = std::mem::take(&mut table.uniques);
        let mut found: Vec<(i64, Vec<String>)> = Vec::new();
        for row in rows {
            if row.try_get::<String>("", "of")? != *of {
                continue;
            }
            let place: i64 = row.try_get("", "seq")?;
            if found.last().is_none_or(|(last, _)| *last != place) {
                found.push((place, Vec::new()));
            }
            if let Some((_, columns)) = found.last_mut() {
                columns.extend(row.try_get::<Option<String>>("", "name")?);
            }
        }
        for (_, columns) in found {
            let list = columns.join(", ");
            let name = told.values().find(|told| told.columns.join(", ").eq_ignore_ascii_case(&list));
            let name = name.and_then(|told| told.name.clone());
            let key = Key { name: name.clone(), columns, definition: format!("UNIQUE ({list})") };
            table.uniques.insert(name.unwrap_or_else(|| format!("({list})")), key);
        }
    }
    Ok(())
}

/// What the text of a table tells that no pragma does.
struct Written {
    tokens: Vec<Token>,
    table: Table,
}

impl Written {
    fn of(sql: &str) -> Self {
        Self { tokens: tokens(sql), table: Table::default() }
    }

    fn table(mut self) -> Table {
        let tokens = std::mem::take(&mut self.tokens);
        if is(tokens.get(1), "VIRTUAL") {
            let using = tokens.iter().position(|token| is(Some(token), "USING")).unwrap_or_default();
            self.table.options = BTreeSet::from([written(tokens.get(using..).unwrap_or_default())]);
            return self.table;
        }
        let Some((inner, _)) = parenthesised(&tokens) else { return self.table };
        for part in parts(inner) {
            let is_named = is(part.first(), "CONSTRAINT");
            let first = if is_named { part.get(2) } else { part.first() };
            if ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].iter().any(|word| is(first, word)) {
                self.constraints(part, None);
            } else if let Some(name) = named(part.first()) {
                self.table.columns.push(Column {
                    name: name.clone(),
                    kind: String::new(),
                    is_nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    collation: None,
                });
                self.constraints(part.get(1..).unwrap_or_default(), Some(&name));
            }
        }
        self.table
    }

    /// The constraints of a column, or one of the table.
    fn constraints(&mut self, mut rest: &[Token], column: Option<&str>) {
        let mut name: Option<String> = None;
        while let Some(first) = rest.first() {
            let next = rest.get(1);
            let mut taken = 1;
            if is(Some(first), "CONSTRAINT") {
                name = named(next);
                taken = 2;
            } else if is(Some(first), "CHECK") && next == Some(&Token::LParen) {
                let Some((inner, after)) = parenthesised(rest) else { return };
                let definition = format!("CHECK ({})", written(inner));
                let name = name.take();
                self.table
                    .checks
                    .insert(name.clone().unwrap_or_else(|| definition.clone()), Check { name, definition });
                taken = rest.len() - after.len();
            } else if is(Some(first), "REFERENCES") {
                let waits = rest.windows(2).any(|pair| is(pair.first(), "INITIALLY") && is(pair.get(1), "DEFERRED"));
                self.reference(name.take(), waits);
            } else if is(Some(first), "UNIQUE") {
                let columns = match column {
                    Some(column) => vec![column.to_owned()],
                    None => self::columns(rest),
                };
                let key = Key { name: name.take(), columns, definition: String::new() };
                self.table.uniques.insert(format!("{}", self.table.uniques.len()), key);
            } else if is(Some(first), "PRIMARY") {
                let key = Key { name: name.take(), columns: Vec::new(), definition: String::new() };
                self.table.primary_key = Some(key);
            } else if let Some(told) = column.and_then(|_| self.table.columns.last_mut()) {
                if is(Some(first), "AUTOINCREMENT") {
                    told.identity = Some(Identity::AutoIncrement);
                } else if is(Some(first), "COLLATE") {
                    told.collation = named(next).map(|name| name.to_ascii_lowercase());
                    taken = 2;
                } else if is(Some(first), "AS") && next == Some(&Token::LParen) {
                    let Some((inner, after)) = parenthesised(rest) else { return };
                    let is_stored = is(after.first(), "STORED");
                    told.generated = Some(Generated { expression: written(inner), is_stored });
                    taken = rest.len() - after.len();
                } else if *first == Token::LParen {
                    let Some((_, after)) = parenthesised(rest) else { return };
                    taken = rest.len() - after.len();
                }
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn reference(&mut self, name: Option<String>, waits: bool) {
        // In the order of the text.
        let place = format!("{:06}", self.table.foreign_keys.len());
        let key = ForeignKey {
            name,
            columns: Vec::new(),
            table: String::new(),
            references: Vec::new(),
            on_update: Action::NoAction,
            on_delete: Action::NoAction,
            definition: if waits { " DEFERRABLE INITIALLY DEFERRED".to_owned() } else { String::new() },
        };
        self.table.foreign_keys.insert(place, key);
    }
}

/// The columns in the parentheses of a constraint.
fn columns(tokens: &[Token]) -> Vec<String> {
    let (inner, _) = parenthesised(tokens).unwrap_or_default();
    parts(inner).into_iter().filter_map(|part| named(part.first())).collect()
}
