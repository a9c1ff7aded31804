//! The rules: what each finds, and why that is dangerous.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

macro_rules! rules {
    ($($rule:ident $title:literal, $why:literal;)+) => {
        /// A rule that migrations are held to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $title] $rule,)+
        }

        impl Rule {
            /// All rules, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// Its stable name.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$rule => stringify!($rule),)+
                }
            }

            /// What it finds, in a few words.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$rule => $title,)+
                }
            }

            /// Why that is dangerous.
            pub fn why(self) -> &'static str {
                match self {
                    $(Self::$rule => $why,)+
                }
            }
        }
    };
}

// What cannot be told from the text has a rule all the same, so that its number is never given away: M34 needs the schema
// after the migration and the entities, M55 and M56 are kept by the runner,
// and M61 and M62 are seen when migrations are run.
rules! {
    M00 "a silencer that silences nothing",
        "it would go on to silence what comes later, and nobody would know why it is there";
    M01 "drops a column",
        "running code still selects it, because SeaORM lists columns by name, and what was in it is gone for good";
    M02 "drops a table",
        "running code still reads it, and what was in it is gone for good";
    M03 "drops a schema or a database",
        "everything in it is gone for good";
    M04 "renames a column",
        "running code still uses the old name and fails until it is replaced everywhere";
    M05 "renames a table",
        "running code still uses the old name and fails until it is replaced everywhere";
    M06 "renames a schema",
        "running code still uses the old name and fails until it is replaced everywhere";
    M07 "renames or reorders a value of an enumeration",
        "running code still writes the old value and fails until it is replaced everywhere";
    M08 "changes the type of a column",
        "every row is written anew, while nobody can read or write the table";
    M09 "changes the type of a column that a check, a key, an index or another column depends on",
        "what depends on it is checked or built anew, while nobody can read or write the table";
    M10 "creates an index without CONCURRENTLY",
        "nobody can write to the table until the index is built";
    M11 "runs in a transaction, or with others, what has to run alone",
        "PostgreSQL refuses it in a transaction, and a migration without one that fails half-way stays half-done";
    M12 "drops an index without CONCURRENTLY",
        "it waits for everyone who uses the table, and meanwhile nobody else can";
    M13 "builds an index anew without CONCURRENTLY",
        "nobody can write to the table, or read by that index, until it is built";
    M14 "does not remove what an earlier attempt left",
        "CREATE INDEX CONCURRENTLY that fails leaves an invalid index, which IF NOT EXISTS takes for a good one and which \
         makes a second attempt fail";
    M15 "adds a unique constraint that builds its index",
        "nobody can read or write the table until the index is built";
    M16 "makes unique what was not",
        "it fails when rows are there that are alike, which only production may have";
    M17 "adds a primary key that builds its index",
        "nobody can read or write the table until the index is built and every row was looked at";
    M18 "adds a foreign key and validates it at once",
        "nobody can write to either table until every row was looked at";
    M19 "adds a foreign key without an index",
        "each delete of a referenced row looks at every row that might refer to it";
    M20 "validates a constraint in the transaction that adds it",
        "the strong lock that adding takes is kept while every row is looked at";
    M21 "adds a check and validates it at once",
        "nobody can read or write the table until every row was looked at";
    M22 "sets NOT NULL on a column that has rows",
        "nobody can read or write the table until every row was looked at";
    M23 "adds a column that is NOT NULL and has no default",
        "it fails as soon as the table has a row";
    M24 "adds a column whose default differs from row to row",
        "every row is written anew, while nobody can read or write the table";
    M25 "adds a column that is computed or numbered for every row",
        "every row is written anew, while nobody can read or write the table";
    M26 "adds an exclusion constraint",
        "nobody can read or write the table until its index is built, and there is no other way to add one";
    M27 "has a column of type json",
        "json knows no equality: DISTINCT, GROUP BY and UNION fail on it";
    M28 "changes many rows at once, or together with the schema",
        "the rows stay locked until the transaction ends, and so does what the schema's change has locked";
    M29 "goes on after it has locked everybody out",
        "the lock is kept until the transaction ends, so that readers wait for all that follows";
    M30 "waits for locks without end",
        "while it waits, everyone who comes later waits behind it";
    M31 "lets a statement run without end",
        "what takes too long is never cancelled";
    M32 "changes one table in several statements",
        "each of them waits for the lock and may look at every row again";
    M33 "lets a column be NULL",
        "running code that reads it as always there fails on the first row where it is not";
    M34 "leaves a schema that the entities do not fit",
        "reading such a row fails";
    M35 "has a key that ends at 2147483647",
        "inserts fail when the numbers are used up, and widening the key rewrites every table that has it";
    M36 "uses serial",
        "its sequence has an owner and rights of its own, which dumps and grants forget; an identity has not";
    M37 "limits the length in the type",
        "another limit is another type, and char(n) is padded; a check can be changed without a rewrite";
    M38 "has a time without a time zone",
        "what it means depends on who reads it";
    M39 "has a domain with a constraint",
        "changing it looks at every row of every table that uses it";
    M40 "creates an enumeration",
        "a value can never be removed from it";
    M41 "adds a value to an enumeration without saying where, or uses it at once",
        "it goes to the end, whatever order was meant, and it cannot be used before the transaction has ended";
    M42 "empties a table",
        "what was in it is gone, with CASCADE also from every table that refers to it";
    M43 "writes a table anew",
        "nobody can use it until that is done";
    M44 "attaches or detaches a partition under a strong lock",
        "nobody can use the tables meanwhile; attaching looks at every row unless a check says what they are like";
    M45 "has a name of more than 63 bytes",
        "PostgreSQL cuts it off without an error, and what asks for the whole name finds nothing";
    M46 "begins or ends a transaction",
        "that is up to the runner, which would take what comes later for undone or done when it is not";
    M47 "cannot be run again",
        "without a transaction, what was done before a failure stays, and the next attempt fails on it";
    M48 "leaves open where names are looked up",
        "whoever can create a table or a function can put one in the place of what was meant";
    M49 "is no correct SQL",
        "it fails when it is run";
    M50 "has an index of more than three columns",
        "it is large, slows writes, and is used by few queries";
    M51 "is not understood",
        "what it does is not known, so that no other rule can find anything in it";
    M52 "drops a table and creates it again",
        "run where the table is in use, it loses what was in it";
    M53 "drops a constraint that code relies on",
        "what it kept out comes in, and an error that code counts on never comes";
    M54 "cannot be taken back",
        "there is no way to the version before when this one fails in production";
    M55 "has a version that another has, too",
        "which of them runs first, or at all, is left to chance";
    M56 "runs beside another migrator",
        "both would run the same migration";
    M57 "changes a cached table and not what tells the caches",
        "readers would go on to see what is no longer so";
    M58 "puts in plain what was encrypted",
        "whoever reads the database, its log or its backup reads it";
    M59 "gives rights to everybody, or to nobody",
        "rows can be read that were meant to be kept apart, or the application is refused its own table";
    M60 "cannot be run on SQLite",
        "the embedded profile would have another schema, or none";
    M61 "writes a table anew, which its text does not tell",
        "nobody can read or write the table until every row is written, and nobody who read the migration knew";
    M62 "locks everybody out of a table, which its text does not tell",
        "readers and writers wait until the transaction ends, and nobody who read the migration knew";
}

/// No rule is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRule;

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(id: &str) -> Result<Self, UnknownRule> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id).ok_or(UnknownRule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
