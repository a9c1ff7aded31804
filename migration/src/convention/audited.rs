//! How the database itself tells who changed what, so that no statement can pass by the audit trail.
//!
//! Triggers on an audited table add a row to `outbox` for each row that is changed, in the transaction that changes it:
//! undone with it, and not to be forgotten by a statement that nobody thought of. Its `entity` is the table and the
//! primary key, such as `users:01a1fc8a-8a3f-7000-bacc-b17b6c3df279`; its `body` has the action and the row before and
//! after, with `***` in place of what is secret. TRUNCATE is one row, of the entity `users:*`.
//!
//! On PostgreSQL a column that is added later is told of by itself. On SQLite the triggers name the columns: whoever adds
//! one calls [`audited`] again, and who drops one [`unaudited`] before.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, Statement},
};

/// Makes the triggers of a table that exists, anew if they are there. Of the columns that are masked it is only told
/// whether they hold something.
pub async fn audited(schema: &SchemaManager<'_>, table: &str, masked: &[&str]) -> Result<(), DbErr> {
    let connection = schema.get_connection();
    let statements = match schema.get_database_backend() {
        DbBackend::Sqlite => sqlite(table, &columns_of_sqlite(connection, table).await?, masked),
        _ => {
            // Named in full, because whoever writes, such as a dump that is restored, may have another search path.
            let sql = "SELECT quote_ident(current_schema())";
            let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
            let place = row.ok_or_else(|| DbErr::Migration("there is no current schema".to_owned()))?;
            postgres(&place.try_get_by_index::<String>(0)?, table, &key_of_postgres(connection, table).await?, masked)
        }
    };
    for statement in statements {
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// Removes the triggers of a table.
pub async fn unaudited(schema: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let connection = schema.get_connection();
    let (events, on_table): (&[_], _) = match schema.get_database_backend() {
        DbBackend::Sqlite => (&["insert", "update", "delete"], String::new()),
        _ => (&["row", "truncate"], format!(" ON {table}")),
    };
    for event in events {
        connection.execute_unprepared(&format!("DROP TRIGGER audit_{table}_{event}{on_table}")).await?;
    }
    drop_function(schema, table).await
}

/// The columns whose values the triggers of a table do not tell; none if it is not audited.
pub(super) async fn masked(schema: &SchemaManager<'_>, table: &str) -> Result<Option<Vec<String>>, DbErr> {
    const MASKS: [&str; 2] = ["\" IS NULL, NULL, '***'", "\" IS NOT NULL THEN '***'"];

    let backend = schema.get_database_backend();
    let (sql, name) = match backend {
        DbBackend::Sqlite => {
            ("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = $1", format!("audit_{table}_insert"))
        }
        _ => ("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure($1)", format!("audit_{table}()")),
    };
    let asked = Statement::from_sql_and_values(backend, sql, [name.into()]);
    let Some(row) = schema.get_connection().query_one_raw(asked).await? else { return Ok(None) };
    let text: String = row.try_get_by_index(0)?;
    let mut columns = Vec::new();
    for at in MASKS.iter().flat_map(|mask| text.match_indices(mask)).map(|(at, _)| at) {
        if let Some((_, column)) = text.get(..at).and_then(|before| before.rsplit_once('"'))
            && !columns.iter().any(|known| known == column)
        {
            columns.push(column.to_owned());
        }
    }
    Ok(Some(columns))
}

/// Triggers go with their table; what they call on PostgreSQL does not.
pub(super) async fn drop_function(schema: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    if schema.get_database_backend() != DbBackend::Sqlite {
        schema.get_connection().execute_unprepared(&format!("DROP FUNCTION IF EXISTS audit_{table}()")).await?;
    }
    Ok(())
}

/// The columns of the primary key, in its order.
async fn key_of_postgres(connection: &SchemaManagerConnection<'_>, table: &str) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT a.attname::text FROM pg_index i \
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
               WHERE i.indrelid = $1::regclass AND i.indisprimary \
               ORDER BY array_position(i.indkey::smallint[], a.attnum)";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [table.into()]);
    let rows = connection.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// A column as SQLite knows it.
struct Column {
    name: String,
    /// As it was declared, in lower case.
    kind: String,
    /// Its place in the primary key, counted from 1; 0 if it is not in it.
    place_in_key: i64,
}

async fn columns_of_sqlite(connection: &SchemaManagerConnection<'_>, table: &str) -> Result<Vec<Column>, DbErr> {
    let sql = "SELECT name, lower(type) AS type, pk FROM pragma_table_info($1) ORDER BY cid";
    let rows = connection.query_all_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, [table.into()])).await?;
    let read = |row: &sea_orm_migration::sea_orm::QueryResult| {
        Ok(Column {
            name: row.try_get("", "name")?,
            kind: row.try_get("", "type")?,
            place_in_key: row.try_get("", "pk")?,
        })
    };
    rows.iter().map(read).collect()
}

/// One function, with all in fixed SQL so that it is planned once in a session, and the triggers that call it. Measured
/// on PostgreSQL 15, it is faster for each row than once for each statement, which has to join the old rows to the new.
fn postgres(place: &str, table: &str, key: &[String], masked: &[&str]) -> Vec<String> {
    let entity = |row: &str| {
        let key = key.iter().map(|column| format!(" || ':' || {row}.\"{column}\"")).collect::<String>();
        format!("'{table}'{key}")
    };
    let json = |row: &str| {
        if masked.is_empty() {
            return format!("row_to_json({row})::text");
        }
        let masks =
            masked.iter().map(|column| format!("'{column}', CASE WHEN {row}.\"{column}\" IS NOT NULL THEN '***' END"));
        format!("(to_jsonb({row}) || jsonb_build_object({}))::text", masks.collect::<Vec<_>>().join(", "))
    };
    let (old, new) = (json("OLD"), json("NEW"));
    let tell = |entity: String, body: String| {
        format!(
            "INSERT INTO {place}.outbox (collection, entity, body, context) \
             VALUES ('audit', {entity}, {body}, nullif(current_setting('seabed.context', true), ''))"
        )
    };
    let insert = tell(entity("NEW"), format!("'{{\"action\":\"insert\",\"after\":' || {new} || '}}'"));
    let update = tell(
        entity("NEW"),
        format!("'{{\"action\":\"update\",\"before\":' || {old} || ',\"after\":' || {new} || '}}'"),
    );
    let delete = tell(entity("OLD"), format!("'{{\"action\":\"delete\",\"before\":' || {old} || '}}'"));
    let truncate = tell(format!("'{table}:*'"), "'{\"action\":\"truncate\"}'".to_owned());
    let function = format!(
        "CREATE OR REPLACE FUNCTION {place}.audit_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF TG_OP = 'INSERT' THEN {insert}; ELSIF TG_OP = 'UPDATE' THEN {update}; ELSIF TG_OP = 'DELETE' THEN {delete}; \
         ELSE {truncate}; END IF; RETURN NULL; END $$"
    );
    let trigger = |name: &str, events: &str, each: &str| {
        format!(
            "CREATE OR REPLACE TRIGGER audit_{table}_{name} AFTER {events} ON {table} \
             FOR EACH {each} EXECUTE FUNCTION {place}.audit_{table}()"
        )
    };
    vec![function, trigger("row", "INSERT OR UPDATE OR DELETE", "ROW"), trigger("truncate", "TRUNCATE", "STATEMENT")]
}

/// A trigger for each event.
fn sqlite(table: &str, columns: &[Column], masked: &[&str]) -> Vec<String> {
    let mut key = columns.iter().filter(|column| column.place_in_key > 0).collect::<Vec<_>>();
    key.sort_by_key(|column| column.place_in_key);
    let entity = |row: &str| {
        let key = key.iter().map(|column| format!(" || ':' || {}", column.value(row))).collect::<String>();
        format!("'{table}'{key}")
    };
    let json = |row: &str| {
        let value = |column: &Column| match masked.contains(&column.name.as_str()) {
            true => format!("'{0}', iif({row}.\"{0}\" IS NULL, NULL, '***')", column.name),
            false => format!("'{}', {}", column.name, column.value(row)),
        };
        format!("json_object({})", columns.iter().map(value).collect::<Vec<_>>().join(", "))
    };
    let (old, new) = (json("OLD"), json("NEW"));
    let trigger = |(event, row, rows): (&str, &str, String)| {
        let (name, entity) = (event.to_lowercase(), entity(row));
        [
            format!("DROP TRIGGER IF EXISTS audit_{table}_{name}"),
            format!(
                "CREATE TRIGGER audit_{table}_{name} AFTER {event} ON {table} BEGIN \
                 INSERT INTO outbox (collection, entity, body) \
                 VALUES ('audit', {entity}, json_object('action', '{name}', {rows})); END"
            ),
        ]
    };
    [
        ("INSERT", "NEW", format!("'after', {new}")),
        ("UPDATE", "NEW", format!("'before', {old}, 'after', {new}")),
        ("DELETE", "OLD", format!("'before', {old}")),
    ]
    .map(trigger)
    .concat()
}

impl Column {
    /// The value as PostgreSQL would have it in JSON, whatever is in the column: to tell of a row must never fail.
    fn value(&self, row: &str) -> String {
        let value = format!("{row}.\"{}\"", self.name);
        let hex = format!("lower(hex({value}))");
        let other = match self.kind.as_str() {
            kind if kind.contains("json") => format!("iif(json_valid({value}), json({value}), {value})"),
            kind if kind.contains("bool") => {
                format!("json(CASE {value} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE 'null' END)")
            }
            kind if kind.contains("int") => return value,
            _ => value.clone(),
        };
        let blob = if self.kind.contains("uuid") {
            let parts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
            parts.map(|(from, length)| format!("substr({hex}, {from}, {length})")).join(" || '-' || ")
        } else {
            hex
        };
        format!("iif(typeof({value}) = 'blob', {blob}, {other})")
    }
}
