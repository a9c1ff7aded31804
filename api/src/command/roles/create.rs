//! Makes the roles, and gives each what it needs and nothing else: all of it, or nothing.

use std::collections::BTreeMap;

use sea_orm_migration::{
    DbErr,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

use super::{
    RolesError,
    catalogue::{Here, Holdings, corrections_of, memberships},
    password,
    role::{Role, quoted},
};
use crate::command::migrate::Accounts;

/// What becomes the owner's, of whatever kind, but for what belongs to extensions, and sequences that go with their table.
const TRANSFERS: &str = "
SELECT statement FROM (
    SELECT 0 AS turn, oid, format('ALTER SCHEMA %I OWNER TO %I', nspname, $1) AS statement, nspowner AS owner
    FROM pg_namespace WHERE oid = current_schema()::regnamespace
    UNION ALL
    SELECT (relkind <> 'S')::integer + 1, oid, format('ALTER TABLE %s OWNER TO %I', oid::regclass, $1), relowner
    FROM pg_class c WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype IN ('e', 'a', 'i'))
    UNION ALL
    SELECT 3, oid, format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, $1), proowner
    FROM pg_proc p WHERE pronamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 4, t.oid, format('ALTER TYPE %s OWNER TO %I', t.oid::regtype, $1), typowner
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE typnamespace = current_schema()::regnamespace AND (typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
) transfers
WHERE owner <> (SELECT oid FROM pg_roles WHERE rolname = $1)
  AND ($2 OR owner = (SELECT oid FROM pg_roles WHERE rolname = current_user))
ORDER BY turn, oid";

/// Who makes the roles, for what, and with which passwords.
pub(super) struct Creation<'a, C> {
    /// In a transaction.
    pub(super) connection: &'a C,
    pub(super) here: &'a Here,
    pub(super) accounts: &'a Accounts,
    /// Those that were given.
    pub(super) passwords: BTreeMap<Role, &'a str>,
    /// Whether roles that are there get new ones.
    pub(super) renew: bool,
}

/// A role that is there now.
pub(super) struct Made {
    pub(super) role: Role,
    pub(super) is_new: bool,
    /// If it was made up here, so that nobody knows it yet.
    pub(super) password: Option<String>,
}

impl<C: ConnectionTrait> Creation<'_, C> {
    /// Makes what is missing.
    ///
    /// # Errors
    /// If it may not.
    pub(super) async fn make(&self) -> Result<Vec<Made>, RolesError> {
        let schema = self.here.schema.as_deref().ok_or(RolesError::NoSchema)?;
        self.say("SELECT pg_advisory_xact_lock(hashtext('seabed roles'))").await?;
        let made = self.make_roles().await?;
        let [owner, app, read, backup] = Role::ALL.map(|role| quoted(&self.here.name(role)));
        if !self.here.is_superuser && self.here.user != self.here.name(Role::Owner) {
            // What becomes the owner's is given by a member of it.
            self.say(&format!("GRANT {owner} TO {}", quoted(&self.here.user))).await?;
        }
        for (role, granted) in memberships(self.connection, self.here).await? {
            self.say(&format!("REVOKE {} FROM {}", quoted(&granted), quoted(&self.here.name(role)))).await?;
        }
        let (database, named) = (quoted(&self.here.database), quoted(schema));
        let granted = format!("{app}, {read}, {backup}");
        for statement in [
            format!("REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC, {granted}"),
            format!("GRANT CONNECT ON DATABASE {database} TO {owner}, {granted}"),
            format!("GRANT CREATE ON DATABASE {database} TO {owner}"),
        ] {
            self.say(&statement).await?;
        }
        transfer(self.connection, self.here, true).await?;
        for statement in [
            format!("REVOKE CREATE ON SCHEMA {named} FROM PUBLIC, {granted}"),
            format!("GRANT USAGE ON SCHEMA {named} TO {granted}"),
        ] {
            self.say(&statement).await?;
        }
        self.set_defaults(&owner, &named).await?;
        settle(self.connection, self.here, self.accounts).await?;
        Ok(made)
    }

    async fn make_roles(&self) -> Result<Vec<Made>, RolesError> {
        /// How long a name may be: PostgreSQL cuts off what is longer.
        const LONGEST: usize = 63;
        let present = self.here.present(self.connection).await?;
        let mut made = Vec::new();
        for role in Role::ALL {
            let name = self.here.name(role);
            if name.len() > LONGEST {
                return Err(RolesError::TooLong { name });
            }
            let is_new = !present.contains(&role);
            let given = self.passwords.get(&role).copied();
            let password = (given.is_none() && (is_new || self.renew)).then(password::random);
            let mut clauses = if is_new { vec!["LOGIN".to_owned()] } else { Vec::new() };
            if let Some(password) = given.or(password.as_deref()) {
                let verifier = password::verifier(password).ok_or(RolesError::Password)?;
                clauses.push(format!("PASSWORD '{verifier}'"));
            }
            // Only what is wrong, because the rest takes a superuser even to be said.
            let corrections = corrections_of(self.connection, self.here, role).await?;
            clauses.extend(corrections.into_iter().map(str::to_owned));
            if !clauses.is_empty() {
                let verb = if is_new { "CREATE" } else { "ALTER" };
                self.say(&format!("{verb} ROLE {} {}", quoted(&name), clauses.join(" "))).await?;
            }
            made.push(Made { role, is_new, password });
        }
        Ok(made)
    }

    /// So that tables of later migrations can be used as soon as they are there, whatever program made them.
    async fn set_defaults(&self, owner: &str, schema: &str) -> Result<(), RolesError> {
        for role in Role::GRANTED {
            let (tables, sequences) = super::privilege::by_default(role);
            let name = quoted(&self.here.name(role));
            for (kind, privileges) in [("TABLES", tables), ("SEQUENCES", sequences)] {
                let of = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}");
                self.say(&format!("{of} REVOKE ALL ON {kind} FROM {name}")).await?;
                if !privileges.is_empty() {
                    self.say(&format!("{of} GRANT {} ON {kind} TO {name}", privileges.join(", "))).await?;
                }
            }
        }
        Ok(())
    }

    async fn say(&self, statement: &str) -> Result<(), DbErr> {
        self.connection.execute_unprepared(statement).await.map(drop)
    }
}

/// Makes what is in the schema the owner's: whatever it is, or what is this user's own. How much that was.
pub(super) async fn transfer<C: ConnectionTrait>(connection: &C, here: &Here, is_all: bool) -> Result<usize, DbErr> {
    let values = [here.name(Role::Owner).into(), is_all.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, TRANSFERS, values);
    let rows = connection.query_all_raw(statement).await?;
    for row in &rows {
        connection.execute_unprepared(&row.try_get::<String>("", "statement")?).await?;
    }
    Ok(rows.len())
}

/// Gives the roles that are there exactly what they need on each table and sequence; how many statements that took.
pub(super) async fn settle<C: ConnectionTrait>(
    connection: &C,
    here: &Here,
    accounts: &Accounts,
) -> Result<usize, DbErr> {
    let present = here.present(connection).await?;
    if Role::GRANTED.iter().all(|role| !present.contains(role)) {
        return Ok(0);
    }
    let corrections = Holdings::read(connection, here).await?.corrections(here, accounts, &present);
    for statement in &corrections {
        connection.execute_unprepared(statement).await?;
    }
    Ok(corrections.len())
}
