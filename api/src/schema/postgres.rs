//! Reads the current schema of a PostgreSQL database: one statement, and so at one moment, whose rows are the things in it
//! as JSON.

use sea_orm_migration::{
    DbErr,
    sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionSession, TransactionTrait},
};
use serde::de::DeserializeOwned;

use super::{Named, Schema};

/// Everything but what belongs to extensions.
pub(super) async fn read(connection: &(impl ConnectionTrait + TransactionTrait)) -> Result<Schema, DbErr> {
    let transaction = connection.begin().await?;
    let rows = async {
        // Names that are found by themselves are printed without their schema.
        let alone = "SELECT set_config('search_path', quote_ident(current_schema()), true)";
        transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, alone)).await?;
        transaction.query_all_raw(Statement::from_string(DbBackend::Postgres, everything())).await
    };
    let rows = rows.await;
    transaction.rollback().await?;
    let mut schema = Schema::default();
    for row in rows? {
        let [kind, name, body] = ["kind", "name", "body"].map(|column| row.try_get::<String>("", column));
        let (kind, name, body) = (kind?, name?, body?);
        match kind.as_str() {
            "table" => enter(&mut schema.tables, name, &body),
            "view" => enter(&mut schema.views, name, &body),
            "enum" => enter(&mut schema.enums, name, &body),
            "type" => enter(&mut schema.types, name, &body),
            "sequence" => enter(&mut schema.sequences, name, &body),
            _ => enter(&mut schema.functions, name, &body),
        }?;
    }
    Ok(schema)
}

fn enter<T: DeserializeOwned>(things: &mut Named<T>, name: String, body: &str) -> Result<(), DbErr> {
    let thing = serde_json::from_str(body).map_err(|error| DbErr::Type(format!("{name}: {error}")))?;
    things.insert(name, thing);
    Ok(())
}

fn everything() -> String {
    [tables(), views(), ENUMS.to_owned(), TYPES.to_owned(), sequences(), functions()].join(" UNION ALL ")
}

const HERE: &str = "current_schema()::regnamespace";

/// That a thing belongs to no extension.
fn is_ours(catalog: &str, oid: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} \
         AND e.deptype = 'e')"
    )
}

/// An object of what the rows of a query are, by their names.
fn named(value: &str, from: &str) -> String {
    format!("(SELECT coalesce(json_object_agg(named, {value}), '{{}}') FROM (SELECT {from}) things)")
}

/// Who may do what: as it was granted, or else as it is by itself.
fn grants(acl: &str, owner: &str, kind: char, columns_of: Option<&str>) -> String {
    let role = format!("CASE grantee WHEN 0 THEN 'PUBLIC' WHEN {owner} THEN 'owner' ELSE pg_get_userbyid(grantee) END");
    let option = "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END";
    let of_columns = columns_of.map(|table| {
        format!(
            " UNION SELECT {role}, privilege_type || format(' (%I)', a.attname) || {option} \
             FROM pg_attribute a, aclexplode(a.attacl) WHERE a.attrelid = {table} AND NOT a.attisdropped"
        )
    });
    let all = format!(
        "SELECT {role} AS role, privilege_type || {option} AS privilege \
         FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))){}",
        of_columns.unwrap_or_default()
    );
    named(
        "privileges",
        &format!("role AS named, json_agg(privilege ORDER BY privilege) AS privileges FROM ({all}) g GROUP BY role"),
    )
}

/// The names of columns, by the numbers that they have in a table.
fn columns(numbers: &str, table: &str) -> String {
    format!(
        "(SELECT json_agg(a.attname ORDER BY k.place) FROM unnest({numbers}) WITH ORDINALITY k (number, place) \
         JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number)"
    )
}

const ACTION: &str = "CASE {} WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set_null' \
                      WHEN 'd' THEN 'set_default' ELSE 'no_action' END";

/// The table that a foreign key refers to; with its schema only if that is another one.
const PARENT: &str = "(SELECT CASE WHEN f.relnamespace = current_schema()::regnamespace THEN f.relname::text \
                      ELSE f.oid::regclass::text END FROM pg_class f WHERE f.oid = confrelid)";

fn constraints(kinds: &str, value: &str) -> String {
    named(
        value,
        &format!(
            "conname AS named, x.* FROM pg_constraint x WHERE x.conrelid = c.oid AND x.contype IN ({kinds}) \
             AND x.contypid = 0"
        ),
    )
}

const INDEXES: &str = "
    i.relname AS named, json_build_object(
        'method', m.amname, 'is_unique', x.indisunique, 'is_valid', x.indisvalid,
        'parts', (SELECT json_agg(pg_get_indexdef(x.indexrelid, n, true)
                                  || CASE WHEN x.indoption[n - 1] & 1 = 1 THEN ' DESC' ELSE '' END ORDER BY n)
                  FROM generate_series(1, x.indnkeyatts) n),
        'predicate', pg_get_expr(x.indpred, x.indrelid, true),
        'definition', pg_get_indexdef(x.indexrelid, 0, true)) AS index
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
    WHERE x.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = x.indexrelid
                                                   AND o.conrelid = c.oid AND o.contype IN ('p', 'u', 'x'))";

const TRIGGERS: &str = "
    t.tgname AS named, json_build_object('definition', pg_get_triggerdef(t.oid, true),
                                               'is_enabled', t.tgenabled IN ('O', 'A')) AS trigger
    FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgparentid = 0";

const COLUMNS: &str = "
    SELECT coalesce(json_agg(json_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'is_nullable', NOT a.attnotnull,
        'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid, true) END,
        'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by_default' END,
        'generated', CASE WHEN a.attgenerated <> '' THEN json_build_object(
                         'expression', pg_get_expr(d.adbin, d.adrelid, true), 'is_stored', a.attgenerated = 's') END,
        'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
    ) ORDER BY a.attnum), '[]')
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped";

const OPTIONS: &str = "
    SELECT coalesce(json_agg(option), '[]') FROM (
        SELECT 'UNLOGGED' AS option WHERE c.relpersistence = 'u'
        UNION ALL SELECT 'FOREIGN' WHERE c.relkind = 'f'
        UNION ALL SELECT 'PARTITION BY ' || pg_get_partkeydef(c.oid) WHERE c.relkind = 'p'
        UNION ALL SELECT CASE WHEN c.relispartition
                             THEN format('PARTITION OF %s %s', h.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid))
                             ELSE format('INHERITS %s', h.inhparent::regclass) END
                  FROM pg_inherits h WHERE h.inhrelid = c.oid
        UNION ALL SELECT 'ROW LEVEL SECURITY' WHERE c.relrowsecurity
        UNION ALL SELECT 'FORCED ROW LEVEL SECURITY' WHERE c.relforcerowsecurity
        UNION ALL SELECT 'REPLICA IDENTITY ' || CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
                                                ELSE 'INDEX' END WHERE c.relreplident <> 'd'
        UNION ALL SELECT format('WITH (%s)', o) FROM unnest(c.reloptions) o
        UNION ALL SELECT pg_get_ruledef(r.oid, true) FROM pg_rewrite r WHERE r.ev_class = c.oid
        UNION ALL SELECT 'DISABLED FOREIGN KEYS' WHERE EXISTS (
            SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgisinternal AND t.tgenabled = 'D')
    ) options";

const POLICIES: &str = "
    p.polname AS named, format('AS %s FOR %s TO %s USING (%s) WITH CHECK (%s)',
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, p.polcmd,
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, ', ' ORDER BY r)
         FROM unnest(p.polroles) r),
        pg_get_expr(p.polqual, p.polrelid, true), pg_get_expr(p.polwithcheck, p.polrelid, true)) AS policy
    FROM pg_policy p WHERE p.polrelid = c.oid";

fn tables() -> String {
    let definition = "pg_get_constraintdef(oid, true)";
    let key = format!(
        "json_build_object('name', conname, 'columns', {}, 'definition', {definition})",
        columns("conkey", "conrelid")
    );
    let foreign = format!(
        "json_build_object('name', conname, 'columns', {}, 'table', {PARENT}, 'references', {}, \
         'on_update', {}, 'on_delete', {}, 'definition', {definition})",
        columns("conkey", "conrelid"),
        columns("confkey", "confrelid"),
        ACTION.replace("{}", "confupdtype"),
        ACTION.replace("{}", "confdeltype"),
    );
    let check = format!("json_build_object('name', conname, 'definition', {definition})");
    let fields = [
        ("columns", format!("({COLUMNS})")),
        ("primary_key", format!("(SELECT {key} FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')")),
        ("uniques", constraints("'u'", &key)),
        ("indexes", named("index", INDEXES)),
        ("foreign_keys", constraints("'f'", &foreign)),
        ("checks", constraints("'c'", &check)),
        ("constraints", constraints("'x'", definition)),
        ("triggers", named("trigger", TRIGGERS)),
        ("policies", named("policy", POLICIES)),
        ("options", format!("({OPTIONS})")),
        ("grants", grants("c.relacl", "c.relowner", 'r', Some("c.oid"))),
    ];
    let fields = fields.map(|(name, value)| format!("'{name}', {value}")).join(", ");
    format!(
        "SELECT 'table' AS kind, c.relname::text AS name, json_build_object({fields})::text AS body FROM pg_class c \
         WHERE c.relnamespace = {HERE} AND c.relkind IN ('r', 'p', 'f') AND {}",
        is_ours("pg_class", "c.oid")
    )
}

fn views() -> String {
    let fields = [
        ("definition", "btrim(pg_get_viewdef(c.oid, true), ' ;')".to_owned()),
        ("options", "coalesce(to_json(c.reloptions), '[]')".to_owned()),
        ("is_materialised", "c.relkind = 'm'".to_owned()),
        ("indexes", named("index", INDEXES)),
        ("triggers", named("trigger", TRIGGERS)),
        ("grants", grants("c.relacl", "c.relowner", 'r', Some("c.oid"))),
    ];
    let fields = fields.map(|(name, value)| format!("'{name}', {value}")).join(", ");
    format!(
        "SELECT 'view', c.relname::text, json_build_object({fields})::text FROM pg_class c \
         WHERE c.relnamespace = {HERE} AND c.relkind IN ('v', 'm') AND {}",
        is_ours("pg_class", "c.oid")
    )
}

const ENUMS: &str = "
    SELECT 'enum', t.typname::text, json_agg(e.enumlabel ORDER BY e.enumsortorder)::text
    FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = current_schema()::regnamespace AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')
    GROUP BY t.oid";

const TYPES: &str = "
    SELECT 'type', t.typname::text, to_json(CASE t.typtype
        WHEN 'd' THEN concat_ws(' ', 'DOMAIN AS', format_type(t.typbasetype, t.typtypmod),
            CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
            (SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid, true)), ' ' ORDER BY conname)
             FROM pg_constraint WHERE contypid = t.oid))
        WHEN 'r' THEN 'RANGE'
        ELSE format('AS (%s)', (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                                                  ORDER BY a.attnum)
                                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
                                                      AND NOT a.attisdropped)) END)::text
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace = current_schema()::regnamespace
      AND (t.typtype IN ('d', 'r') OR t.typtype = 'c' AND c.relkind = 'c') AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')";

fn sequences() -> String {
    let definition = "format('AS %s START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s%s', \
                      format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, \
                      CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)";
    let owner = "(SELECT format('%s.%s', o.relname, a.attname) FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid \
                 JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid \
                 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a')";
    let grants = grants("c.relacl", "c.relowner", 's', None);
    format!(
        "SELECT 'sequence', c.relname::text, json_build_object('definition', {definition}, 'owned_by', {owner}, \
         'grants', {grants})::text FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid \
         WHERE c.relnamespace = {HERE} AND NOT EXISTS (SELECT FROM pg_depend d \
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i') AND {}",
        is_ours("pg_class", "c.oid")
    )
}

fn functions() -> String {
    let kind = "CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END";
    // Of all that is printed this alone names the schema.
    let named = format!("format('CREATE OR REPLACE %s %s.', {kind}, p.pronamespace::regnamespace)");
    let definition = format!(
        "CASE p.prokind WHEN 'a' THEN (SELECT format('AGGREGATE %s %s %s', aggtransfn, aggfinalfn, agginitval) \
         FROM pg_aggregate WHERE aggfnoid = p.oid) ELSE format('CREATE OR REPLACE %s ', {kind}) \
         || substr(pg_get_functiondef(p.oid), length({named}) + 1) END"
    );
    let grants = grants("p.proacl", "p.proowner", 'f', None);
    format!(
        "SELECT 'function', p.oid::regprocedure::text, json_build_object('definition', {definition}, \
         'grants', {grants})::text FROM pg_proc p WHERE p.pronamespace = {HERE} AND {}",
        is_ours("pg_proc", "p.oid")
    )
}
