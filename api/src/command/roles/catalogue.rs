//! What the server knows of the roles, and where that is not as it should be.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm_migration::{
    DbErr,
    sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, TryGetable, Value},
};
use serde::Serialize;

use super::{
    privilege::{Kind, Need, OF_SEQUENCES, OF_TABLES, Object, by_default, need},
    role::{Role, quoted},
};
use crate::command::migrate::Accounts;

/// Something that a role may do and need not, or may not do and has to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The role.
    pub role: Role,
    /// Whether it may do more than it needs, or less.
    pub how: Deviation,
    /// What it is, in a sentence.
    pub message: String,
}

/// In which way something is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deviation {
    /// More than is needed.
    TooMuch,
    /// Less than is needed.
    Missing,
}

/// Where a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) database: String,
    /// The first schema that the user may use.
    pub(super) schema: Option<String>,
    pub(super) user: String,
    pub(super) is_superuser: bool,
}

/// What one role holds on one object, by the names of privileges: on all of it, or on some columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    all: bool,
    columns: Vec<String>,
}

/// What the roles hold on the objects of the schema.
pub(super) struct Holdings {
    pub(super) objects: BTreeMap<String, Object>,
    held: BTreeMap<(String, Role, String), Held>,
}

const HERE: &str = "SELECT current_database()::text AS database, current_schema()::text AS schema, \
                    current_user::text AS \"user\", rolsuper AS is_superuser FROM pg_roles WHERE rolname = current_user";

/// Effective privileges, whether granted, owned, inherited or everybody's. The bits are those of a trigger before a row is
/// updated (16) or deleted (8); `refuse_change` is what such triggers call.
const HOLDINGS: &str = "
WITH object AS (
    SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind, pg_get_userbyid(c.relowner)::text AS owner,
           coalesce((SELECT bit_or(t.tgtype::integer) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                     WHERE t.tgrelid = c.oid AND p.proname = 'refuse_change' AND t.tgenabled IN ('O', 'A')), 0) AS refused
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), privilege (name, of_columns, of_sequences) AS (VALUES {privileges})
SELECT o.name, o.kind, o.owner, o.refused, r.rolname::text AS role, p.name AS privilege,
       CASE WHEN r.oid IS NULL THEN false
            WHEN p.of_sequences THEN has_sequence_privilege(r.oid, o.oid, p.name)
            ELSE has_table_privilege(r.oid, o.oid, p.name) END AS held,
       (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]')::text FROM pg_attribute a
        WHERE a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]')::text FROM pg_attribute a
        WHERE a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND CASE WHEN p.of_columns AND r.oid IS NOT NULL THEN has_column_privilege(r.oid, o.oid, a.attnum, p.name)
                   ELSE false END) AS held_columns
FROM object o
JOIN privilege p ON p.of_sequences = (o.kind = 'S')
LEFT JOIN pg_roles r ON r.rolname IN ($1, $2, $3)
ORDER BY o.name, r.rolname, p.name";

const ATTRIBUTES: &str = "SELECT rolname::text AS role, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, \
                          rolreplication, rolbypassrls FROM pg_roles WHERE rolname IN ($1, $2, $3, $4)";
const MEMBERSHIPS: &str = "SELECT m.rolname::text AS role, g.rolname::text AS granted FROM pg_auth_members a \
                           JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid \
                           WHERE m.rolname IN ($1, $2, $3) ORDER BY m.rolname, g.rolname";
const PLACES: &str = "SELECT rolname::text AS role, \
                      has_database_privilege(oid, current_database(), 'CONNECT') AS may_connect, \
                      has_database_privilege(oid, current_database(), 'CREATE') AS may_create_schemas, \
                      has_database_privilege(oid, current_database(), 'TEMPORARY') AS may_create_temporary, \
                      has_schema_privilege(oid, current_schema(), 'USAGE') AS may_use, \
                      has_schema_privilege(oid, current_schema(), 'CREATE') AS may_create \
                      FROM pg_roles WHERE rolname IN ($1, $2, $3, $4)";
const DEFAULTS: &str = "SELECT d.defaclobjtype::text AS kind, g.rolname::text AS role, a.privilege_type AS privilege \
                        FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole \
                        CROSS JOIN LATERAL aclexplode(d.defaclacl) a JOIN pg_roles g ON g.oid = a.grantee \
                        WHERE o.rolname = $1 AND d.defaclnamespace = current_schema()::regnamespace \
                        AND d.defaclobjtype IN ('r', 'S') AND g.rolname IN ($2, $3, $4)";
/// Who else owns what in the schema: the schema, what is in it but for what belongs to extensions, and functions.
const OWNERS: &str = "
SELECT what, owner FROM (
    SELECT 0 AS turn, format('the schema %s', nspname) AS what, pg_get_userbyid(nspowner)::text AS owner
    FROM pg_namespace WHERE oid = current_schema()::regnamespace
    UNION ALL
    SELECT 1, relname::text, pg_get_userbyid(relowner)::text FROM pg_class c
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 2, p.oid::regprocedure::text, pg_get_userbyid(proowner)::text FROM pg_proc p
    WHERE pronamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
) owned WHERE owner <> $1 ORDER BY turn, what";
/// What the user of this connection may do that only who migrates has to.
const POWERS: &str = "
SELECT rolsuper AS is_superuser, rolcreaterole AS may_create_roles, rolbypassrls AS passes_by_policies,
       has_schema_privilege(oid, current_schema(), 'CREATE') AS may_create,
       EXISTS (SELECT FROM pg_namespace WHERE oid = current_schema()::regnamespace
               AND pg_has_role(r.oid, nspowner, 'MEMBER')) AS owns_schema,
       (SELECT count(*) FROM pg_class c WHERE relnamespace = current_schema()::regnamespace
        AND relkind IN ('r', 'p', 'v', 'm', 'S') AND pg_has_role(r.oid, relowner, 'MEMBER')) AS owned
FROM pg_roles r WHERE rolname = current_user";

async fn rows<C: ConnectionTrait>(
    connection: &C,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = String>,
) -> Result<Vec<QueryResult>, DbErr> {
    let values = values.into_iter().map(Value::from);
    connection.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await
}

fn get<T: TryGetable>(row: &QueryResult, column: &str) -> Result<T, DbErr> {
    row.try_get("", column)
}

pub(super) async fn here<C: ConnectionTrait>(connection: &C) -> Result<Here, DbErr> {
    let rows = rows(connection, HERE, []).await?;
    let row = rows.first().ok_or_else(|| DbErr::RecordNotFound("the user of this connection".to_owned()))?;
    Ok(Here {
        database: get(row, "database")?,
        schema: get(row, "schema")?,
        user: get(row, "user")?,
        is_superuser: get(row, "is_superuser")?,
    })
}

impl Here {
    pub(super) fn name(&self, role: Role) -> String {
        role.name(&self.database)
    }

    fn role(&self, name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.name(*role) == name)
    }

    fn names<const N: usize>(&self, roles: [Role; N]) -> [String; N] {
        roles.map(|role| self.name(role))
    }

    /// The roles that are there.
    pub(super) async fn present<C: ConnectionTrait>(&self, connection: &C) -> Result<BTreeSet<Role>, DbErr> {
        let rows = rows(connection, ATTRIBUTES, self.names(Role::ALL)).await?;
        let roles = rows.iter().map(|row| Ok(self.role(&get::<String>(row, "role")?)));
        roles.filter_map(Result::transpose).collect()
    }
}

/// Everything about the roles that is not as it should be; that all are missing is one finding for each.
pub(super) async fn findings<C: ConnectionTrait>(
    connection: &C,
    here: &Here,
    accounts: &Accounts,
) -> Result<Vec<Finding>, DbErr> {
    let mut findings = Findings { here, all: Vec::new() };
    let present = findings.attributes(connection).await?;
    for role in Role::ALL {
        if !present.contains(&role) {
            findings.add(role, Deviation::Missing, format!("{} is not there", here.name(role)));
        }
    }
    findings.memberships(connection).await?;
    findings.places(connection).await?;
    if present.contains(&Role::Owner) {
        findings.owners(connection).await?;
        findings.defaults(connection, &present).await?;
    }
    let holdings = Holdings::read(connection, here).await?;
    for object in holdings.objects.values() {
        for role in Role::GRANTED {
            if present.contains(&role) {
                findings.privileges(role, object, &holdings, accounts);
            }
        }
    }
    Ok(findings.all)
}

struct Findings<'a> {
    here: &'a Here,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, role: Role, how: Deviation, message: String) {
        self.all.push(Finding { role, how, message });
    }

    /// Says so if a role may do something and should not, or the other way round.
    fn compare(&mut self, role: Role, may: bool, should: bool, what: &str) {
        let name = self.here.name(role);
        match (may, should) {
            (true, false) => self.add(role, Deviation::TooMuch, format!("{name} may {what}, and need not")),
            (false, true) => self.add(role, Deviation::Missing, format!("{name} may not {what}, and has to")),
            _ => {}
        }
    }

    async fn attributes<C: ConnectionTrait>(&mut self, connection: &C) -> Result<BTreeSet<Role>, DbErr> {
        let mut present = BTreeSet::new();
        for row in rows(connection, ATTRIBUTES, self.here.names(Role::ALL)).await? {
            let Some(role) = self.here.role(&get::<String>(&row, "role")?) else { continue };
            present.insert(role);
            self.compare(role, get(&row, "rolcanlogin")?, true, "log in");
            for (attribute, _, what) in TOO_MUCH {
                self.compare(role, get(&row, attribute)?, false, what);
            }
        }
        Ok(present)
    }

    async fn memberships<C: ConnectionTrait>(&mut self, connection: &C) -> Result<(), DbErr> {
        for (role, granted) in memberships(connection, self.here).await? {
            self.compare(role, true, false, &format!("do what {granted} may"));
        }
        Ok(())
    }

    async fn places<C: ConnectionTrait>(&mut self, connection: &C) -> Result<(), DbErr> {
        for row in rows(connection, PLACES, self.here.names(Role::ALL)).await? {
            let Some(role) = self.here.role(&get::<String>(&row, "role")?) else { continue };
            let is_owner = role == Role::Owner;
            self.compare(role, get(&row, "may_connect")?, true, "connect");
            self.compare(role, get(&row, "may_use")?, true, "use the schema");
            self.compare(role, get(&row, "may_create")?, is_owner, "create in the schema");
            self.compare(role, get(&row, "may_create_schemas")?, is_owner, "create schemas");
            if !is_owner {
                self.compare(role, get(&row, "may_create_temporary")?, false, "create temporary tables");
            }
        }
        Ok(())
    }

    async fn owners<C: ConnectionTrait>(&mut self, connection: &C) -> Result<(), DbErr> {
        let owner = self.here.name(Role::Owner);
        for row in rows(connection, OWNERS, [owner.clone()]).await? {
            let (what, other) = (get::<String>(&row, "what")?, get::<String>(&row, "owner")?);
            self.add(Role::Owner, Deviation::Missing, format!("{what} belongs to {other}, and should to {owner}"));
        }
        Ok(())
    }

    async fn defaults<C: ConnectionTrait>(&mut self, connection: &C, present: &BTreeSet<Role>) -> Result<(), DbErr> {
        let names = [Role::Owner, Role::App, Role::Read, Role::Backup].map(|role| self.here.name(role));
        let mut held = BTreeSet::new();
        for row in rows(connection, DEFAULTS, names).await? {
            let role = self.here.role(&get::<String>(&row, "role")?);
            held.extend(
                role.map(|role| Ok::<_, DbErr>((role, get(&row, "kind")?, get(&row, "privilege")?))).transpose()?,
            );
        }
        for role in Role::GRANTED.into_iter().filter(|role| present.contains(role)) {
            let (tables, sequences) = by_default(role);
            let kinds = [("r", "tables", tables), ("S", "sequences", sequences)];
            for (kind, kinds, needed) in kinds {
                let of_kind = held.iter().filter(|(of, is, _)| *of == role && *is == kind);
                let of_kind = of_kind.map(|(_, _, privilege): &(Role, String, String)| privilege.as_str());
                let of_kind = of_kind.collect::<BTreeSet<_>>();
                for privilege in of_kind.union(&needed.iter().copied().collect()) {
                    let (may, should) = (of_kind.contains(privilege), needed.contains(privilege));
                    self.compare(role, may, should, &format!("{privilege} {kinds} of later migrations"));
                }
            }
        }
        Ok(())
    }

    fn privileges(&mut self, role: Role, object: &Object, holdings: &Holdings, accounts: &Accounts) {
        for privilege in of_kind(object.kind) {
            let Held { all, columns } = holdings.of(object, role, privilege);
            let name = &object.name;
            match need(role, object, accounts, privilege) {
                Need::All => self.compare(role, all, true, &format!("{privilege} {name}")),
                Need::None if all || columns.is_empty() => {
                    self.compare(role, all, false, &format!("{privilege} {name}"));
                }
                Need::None => {
                    self.compare(role, true, false, &format!("{privilege} {name} ({})", columns.join(", ")));
                }
                Need::Columns(_) if all => {
                    self.compare(role, true, false, &format!("{privilege} all columns of {name}"));
                }
                Need::Columns(needed) => {
                    for column in &object.columns {
                        let (may, should) = (columns.contains(column), needed.contains(&column.as_str()));
                        self.compare(role, may, should, &format!("{privilege} {name} ({column})"));
                    }
                }
            }
        }
    }
}

/// What none of the roles needs, by the columns of the catalogue, and what takes it away.
const TOO_MUCH: [(&str, &str, &str); 5] = [
    ("rolsuper", "NOSUPERUSER", "do everything, as a superuser"),
    ("rolcreaterole", "NOCREATEROLE", "create roles"),
    ("rolcreatedb", "NOCREATEDB", "create databases"),
    ("rolreplication", "NOREPLICATION", "replicate"),
    ("rolbypassrls", "NOBYPASSRLS", "pass by policies of rows"),
];

/// What has to be said of a role that is there, for it to have the attributes that it needs and no others.
pub(super) async fn corrections_of<C: ConnectionTrait>(
    connection: &C,
    here: &Here,
    role: Role,
) -> Result<Vec<&'static str>, DbErr> {
    let rows = rows(connection, ATTRIBUTES, here.names(Role::ALL)).await?;
    let name = here.name(role);
    let Some(row) = rows.iter().find(|row| get::<String>(row, "role").is_ok_and(|role| role == name)) else {
        return Ok(Vec::new());
    };
    let mut corrections = if get(row, "rolcanlogin")? { Vec::new() } else { vec!["LOGIN"] };
    for (attribute, clause, _) in TOO_MUCH {
        if get(row, attribute)? {
            corrections.push(clause);
        }
    }
    Ok(corrections)
}

/// The roles that those of ours are members of.
pub(super) async fn memberships<C: ConnectionTrait>(connection: &C, here: &Here) -> Result<Vec<(Role, String)>, DbErr> {
    let rows = rows(connection, MEMBERSHIPS, here.names(Role::GRANTED)).await?;
    let member = |row: &QueryResult| Ok(here.role(&get::<String>(row, "role")?).zip(Some(get(row, "granted")?)));
    rows.iter().map(member).filter_map(Result::transpose).collect()
}

fn of_kind(kind: Kind) -> impl Iterator<Item = &'static str> {
    let (tables, sequences) = match kind {
        Kind::Sequence => (&[][..], &OF_SEQUENCES[..]),
        Kind::Table | Kind::View => (&OF_TABLES[..], &[][..]),
    };
    tables.iter().map(|(privilege, _)| *privilege).chain(sequences.iter().copied())
}

impl Holdings {
    pub(super) async fn read<C: ConnectionTrait>(connection: &C, here: &Here) -> Result<Self, DbErr> {
        let of_tables = OF_TABLES.iter().map(|(name, of_columns)| format!("('{name}', {of_columns}, false)"));
        let of_sequences = OF_SEQUENCES.iter().map(|name| format!("('{name}', false, true)"));
        let privileges = of_tables.chain(of_sequences).collect::<Vec<_>>().join(", ");
        let sql = HOLDINGS.replace("{privileges}", &privileges);
        let mut holdings = Self { objects: BTreeMap::new(), held: BTreeMap::new() };
        for row in rows(connection, sql, here.names(Role::GRANTED)).await? {
            let name: String = get(&row, "name")?;
            if !holdings.objects.contains_key(&name) {
                holdings.objects.insert(name.clone(), object(&row)?);
            }
            let role = get::<Option<String>>(&row, "role")?.and_then(|role| here.role(&role));
            if let Some(role) = role {
                let held = Held { all: get(&row, "held")?, columns: names(&get::<String>(&row, "held_columns")?)? };
                holdings.held.insert((name, role, get(&row, "privilege")?), held);
            }
        }
        Ok(holdings)
    }

    fn of(&self, object: &Object, role: Role, privilege: &str) -> Held {
        self.held.get(&(object.name.clone(), role, privilege.to_owned())).cloned().unwrap_or_default()
    }

    /// The statements that give the roles exactly what they need, for those objects where they have something else.
    pub(super) fn corrections(&self, here: &Here, accounts: &Accounts, present: &BTreeSet<Role>) -> Vec<String> {
        let mut statements = Vec::new();
        for object in self.objects.values() {
            let is_sequence = object.kind == Kind::Sequence;
            let on = format!("{} {}", if is_sequence { "SEQUENCE" } else { "TABLE" }, quoted(&object.name));
            for role in Role::GRANTED.into_iter().filter(|role| present.contains(role)) {
                let mut findings = Findings { here, all: Vec::new() };
                findings.privileges(role, object, self, accounts);
                if findings.all.is_empty() {
                    continue;
                }
                let name = quoted(&here.name(role));
                statements.push(format!("REVOKE ALL ON {on} FROM PUBLIC, {name}"));
                let granted = of_kind(object.kind).filter_map(|privilege| grant(role, object, accounts, privilege));
                let granted = granted.collect::<Vec<_>>().join(", ");
                if !granted.is_empty() {
                    statements.push(format!("GRANT {granted} ON {on} TO {name}"));
                }
            }
        }
        statements
    }
}

/// What of a GRANT gives a role what it needs of this kind.
fn grant(role: Role, object: &Object, accounts: &Accounts, privilege: &str) -> Option<String> {
    match need(role, object, accounts, privilege) {
        Need::None => None,
        Need::All => Some(privilege.to_owned()),
        Need::Columns(needed) => {
            let columns = object.columns.iter().filter(|column| needed.contains(&column.as_str()));
            let columns = columns.map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
            (!columns.is_empty()).then(|| format!("{privilege} ({columns})"))
        }
    }
}

fn object(row: &QueryResult) -> Result<Object, DbErr> {
    let refused: i32 = get(row, "refused")?;
    Ok(Object {
        name: get(row, "name")?,
        kind: match get::<String>(row, "kind")?.as_str() {
            "S" => Kind::Sequence,
            "v" | "m" => Kind::View,
            _ => Kind::Table,
        },
        owner: get(row, "owner")?,
        refuses_update: refused & 16 != 0,
        refuses_delete: refused & 8 != 0,
        columns: names(&get::<String>(row, "columns")?)?,
    })
}

fn names(json: &str) -> Result<Vec<String>, DbErr> {
    serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
}

/// What the user of this connection may do that only who migrates has to.
pub(super) async fn powers<C: ConnectionTrait>(connection: &C) -> Result<Vec<String>, DbErr> {
    let rows = rows(connection, POWERS, []).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    if get(row, "is_superuser")? {
        return Ok(vec!["it is a superuser".to_owned()]);
    }
    let owned: i64 = get(row, "owned")?;
    let is = |column: &str| get::<Option<bool>>(row, column).map(Option::unwrap_or_default);
    let powers = [
        (is("may_create_roles")?, "it may create roles".to_owned()),
        (is("passes_by_policies")?, "it passes by policies of rows".to_owned()),
        (is("owns_schema")?, "it owns the schema".to_owned()),
        (owned > 0, format!("it owns {owned} tables and sequences")),
        (is("may_create")?, "it may create in the schema".to_owned()),
    ];
    Ok(powers.into_iter().filter(|(may, _)| *may).map(|(_, power)| power).collect())
}
