//! Every kind of step that a schema may take, on both databases, there and back: tables, columns, indexes, constraints,
//! enumerations and views. The migrations here are the tests' own, as an application would write them.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DynIden, Statement, TransactionTrait};
use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, text, text_null, uuid, uuid_null},
};
use tests::on_both;

use crate::migration::dump;

/// A history of its own, beside the application's.
struct Books;

impl MigratorTrait for Books {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }

    fn migration_table_name() -> DynIden {
        Alias::new("seaql_migrations_of_books").into_iden()
    }
}

macro_rules! steps {
    ($($step:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Step {
            $($step),+
        }

        use Step::*;

        /// All of them, in their order.
        const STEPS: &[Step] = &[$($step),+];
    };
}

steps! {
    CreateTables,
    ChangeColumn,
    AddConstraints,
    DropConstraint,
    CreateEnumeration,
    ChangeEnumeration,
    AddColumn,
    RenameColumn,
    CreateIndexes,
    DropIndex,
    CreateView,
    ChangeView,
    DropView,
    DropColumn,
    RenameTable,
    DropTable,
}

const FAUST: &str = "INSERT INTO books (id, title, year, genre) \
                     VALUES ('018f0000-0000-7000-8000-000000000001', 'Faust', '1808', 'poem')";
const ANOTHER: &str = "INSERT INTO books (id, title, year, genre) \
                       VALUES ('018f0000-0000-7000-8000-000000000002', 'Faust', 1808, 'poem')";

impl Step {
    /// What can be done after it and not before, and what can be done before it and not after.
    fn makes_possible_and_impossible(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            CreateTables => (&["SELECT title FROM books", "SELECT id FROM shelves", "SELECT id FROM notes"], &[]),
            ChangeColumn => (&[], &["UPDATE books SET year = NULL"]),
            AddConstraints => (
                &[],
                &["UPDATE books SET year = -1", "UPDATE books SET shelf_id = '018f0000-0000-7000-8000-000000000009'"],
            ),
            DropConstraint => (&["UPDATE books SET year = -1"], &[]),
            CreateEnumeration => (&[], &["UPDATE books SET genre = 'essay'"]),
            ChangeEnumeration => (&["UPDATE books SET genre = 'essay'"], &[]),
            AddColumn => (&["SELECT author FROM books", "UPDATE books SET author = 'Goethe'"], &[]),
            RenameColumn => (&["SELECT writer FROM books"], &["SELECT author FROM books"]),
            CreateIndexes => (&[], &[ANOTHER]),
            DropIndex => (&[ANOTHER], &[]),
            CreateView => (&["SELECT title FROM poems"], &[]),
            ChangeView => (&["SELECT year FROM poems"], &[]),
            DropView => (&[], &["SELECT title FROM poems"]),
            DropColumn => (&[], &["SELECT writer FROM books"]),
            RenameTable => (&["SELECT id FROM remarks"], &["SELECT id FROM notes"]),
            DropTable => (&[], &["SELECT id FROM remarks"]),
        }
    }

    /// The table of books after it.
    fn books(self) -> Shape {
        match self {
            CreateTables => Shape::default(),
            ChangeColumn => Shape { year_is_number: true, ..Shape::default() },
            AddConstraints => Shape { year_is_number: true, has_shelf: true, has_check: true, genres: &[] },
            DropConstraint => Shape { has_check: false, ..AddConstraints.books() },
            CreateEnumeration => Shape { genres: &["novel", "poem"], ..DropConstraint.books() },
            _ => Shape { genres: &["novel", "poem", "essay"], ..DropConstraint.books() },
        }
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        match self {
            CreateTables => "m01_create_tables",
            ChangeColumn => "m02_change_column",
            AddConstraints => "m03_add_constraints",
            DropConstraint => "m04_drop_constraint",
            CreateEnumeration => "m05_create_enumeration",
            ChangeEnumeration => "m06_change_enumeration",
            AddColumn => "m07_add_column",
            RenameColumn => "m08_rename_column",
            CreateIndexes => "m09_create_indexes",
            DropIndex => "m10_drop_index",
            CreateView => "m11_create_view",
            ChangeView => "m12_change_view",
            DropView => "m13_drop_view",
            DropColumn => "m14_drop_column",
            RenameTable => "m15_rename_table",
            DropTable => "m16_drop_table",
        }
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        match self {
            CreateTables => {
                schema.create_table(Table::create().table("shelves").col(uuid("id").primary_key()).take()).await?;
                schema.create_table(notes("notes")).await?;
                schema.create_table(Shape::default().table("books")).await
            }
            ChangeColumn => {
                let change = "ALTER TABLE books ALTER COLUMN year TYPE bigint USING year::bigint; \
                              ALTER TABLE books ALTER COLUMN year SET DEFAULT 0, ALTER COLUMN year SET NOT NULL";
                change_books(schema, change, self.books(), "id, title, CAST(year AS INTEGER), genre, shelf_id").await
            }
            AddConstraints => {
                let change = "ALTER TABLE books ADD CONSTRAINT ck_books_year CHECK (year >= 0), \
                              ADD CONSTRAINT fk_books_shelf_id FOREIGN KEY (shelf_id) REFERENCES shelves (id)";
                change_books(schema, change, self.books(), "*").await
            }
            DropConstraint => {
                change_books(schema, "ALTER TABLE books DROP CONSTRAINT ck_books_year", self.books(), "*").await
            }
            CreateEnumeration => {
                let change = "CREATE TYPE genre AS ENUM ('novel', 'poem'); \
                              ALTER TABLE books ALTER COLUMN genre TYPE genre USING genre::genre";
                change_books(schema, change, self.books(), "*").await
            }
            ChangeEnumeration => {
                change_books(schema, "ALTER TYPE genre ADD VALUE 'essay' AFTER 'poem'", self.books(), "*").await
            }
            AddColumn => schema.alter_table(Table::alter().table("books").add_column(text_null("author")).take()).await,
            RenameColumn => {
                schema.alter_table(Table::alter().table("books").rename_column("author", "writer").take()).await
            }
            CreateIndexes => {
                schema.create_index(Index::create().name("ix_books_title").table("books").col("title").take()).await?;
                schema.create_index(unique_title()).await
            }
            DropIndex => schema.drop_index(Index::drop().name("uq_books_title_year").table("books").to_owned()).await,
            CreateView => run(schema, CREATE_VIEW).await,
            ChangeView => {
                run(schema, DROP_VIEW).await?;
                run(schema, "CREATE VIEW poems AS SELECT title, year FROM books WHERE genre = 'poem'").await
            }
            DropView => run(schema, DROP_VIEW).await,
            DropColumn => schema.alter_table(Table::alter().table("books").drop_column("writer").take()).await,
            RenameTable => schema.rename_table(Table::rename().table("notes", "remarks").take()).await,
            DropTable => schema.drop_table(Table::drop().table("remarks").take()).await,
        }
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let before = STEPS.iter().take_while(|step| *step != self).last().map(|step| step.books()).unwrap_or_default();
        match self {
            CreateTables => {
                for table in ["books", "notes", "shelves"] {
                    schema.drop_table(Table::drop().table(table).take()).await?;
                }
                Ok(())
            }
            ChangeColumn => {
                let change = "ALTER TABLE books ALTER COLUMN year DROP NOT NULL, ALTER COLUMN year DROP DEFAULT; \
                              ALTER TABLE books ALTER COLUMN year TYPE text USING year::text";
                change_books(schema, change, before, "id, title, CAST(year AS TEXT), genre, shelf_id").await
            }
            AddConstraints => {
                let change = "ALTER TABLE books DROP CONSTRAINT fk_books_shelf_id, DROP CONSTRAINT ck_books_year";
                change_books(schema, change, before, "*").await
            }
            DropConstraint => {
                let change = "ALTER TABLE books ADD CONSTRAINT ck_books_year CHECK (year >= 0)";
                change_books(schema, change, before, "*").await
            }
            CreateEnumeration => {
                let change = "ALTER TABLE books ALTER COLUMN genre TYPE text; DROP TYPE genre";
                change_books(schema, change, before, "*").await
            }
            // PostgreSQL takes no value out of an enumeration; the type is made anew.
            ChangeEnumeration => {
                let change = "ALTER TYPE genre RENAME TO old_genre; CREATE TYPE genre AS ENUM ('novel', 'poem'); \
                              ALTER TABLE books ALTER COLUMN genre TYPE genre USING genre::text::genre; \
                              DROP TYPE old_genre";
                change_books(schema, change, before, "*").await
            }
            AddColumn => schema.alter_table(Table::alter().table("books").drop_column("author").take()).await,
            RenameColumn => {
                schema.alter_table(Table::alter().table("books").rename_column("writer", "author").take()).await
            }
            CreateIndexes => {
                for name in ["uq_books_title_year", "ix_books_title"] {
                    schema.drop_index(Index::drop().name(name).table("books").to_owned()).await?;
                }
                Ok(())
            }
            DropIndex => schema.create_index(unique_title()).await,
            CreateView => run(schema, DROP_VIEW).await,
            ChangeView => {
                run(schema, DROP_VIEW).await?;
                run(schema, CREATE_VIEW).await
            }
            DropView => run(schema, "CREATE VIEW poems AS SELECT title, year FROM books WHERE genre = 'poem'").await,
            DropColumn => {
                schema.alter_table(Table::alter().table("books").add_column(text_null("writer")).take()).await
            }
            RenameTable => schema.rename_table(Table::rename().table("remarks", "notes").take()).await,
            DropTable => schema.create_table(notes("remarks")).await,
        }
    }
}

const CREATE_VIEW: &str = "CREATE VIEW poems AS SELECT title FROM books WHERE genre = 'poem'";
const DROP_VIEW: &str = "DROP VIEW poems";

fn notes(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).col(uuid("id")).col(text("text")).take()
}

fn unique_title() -> IndexCreateStatement {
    Index::create().name("uq_books_title_year").table("books").col("title").col("year").unique().take()
}

async fn run(schema: &SchemaManager<'_>, statements: &str) -> Result<(), DbErr> {
    schema.get_connection().execute_unprepared(statements).await.map(|_| ())
}

/// How the table of books looks.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    year_is_number: bool,
    has_shelf: bool,
    has_check: bool,
    /// The values of the enumeration; text, if there are none.
    genres: &'static [&'static str],
}

impl Shape {
    fn table(self, name: &'static str) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(name).col(uuid("id").primary_key()).col(text("title"));
        table.col(if self.year_is_number { big_integer("year").default(0).take() } else { text_null("year") });
        table.col(text("genre")).col(uuid_null("shelf_id"));
        if self.has_shelf {
            table
                .foreign_key(ForeignKey::create().name("fk_books_shelf_id").from(name, "shelf_id").to("shelves", "id"));
        }
        if self.has_check {
            table.check(Check::named(Alias::new("ck_books_year"), Expr::col("year").gte(0)));
        }
        if !self.genres.is_empty() {
            let is_known = Expr::col("genre").is_in(self.genres.iter().copied());
            table.check(Check::named(Alias::new("ck_books_genre"), is_known));
        }
        table.take()
    }
}

/// Changes the table of books: on PostgreSQL by these statements; on SQLite, which cannot change a column or a
/// constraint, by a new table in the place of the old one (<https://sqlite.org/lang_altertable.html>, section 7).
async fn change_books(schema: &SchemaManager<'_>, change: &str, shape: Shape, copied: &str) -> Result<(), DbErr> {
    if schema.get_database_backend() == DbBackend::Postgres {
        return run(schema, change).await;
    }
    schema.create_table(shape.table("new_books")).await?;
    run(schema, &format!("INSERT INTO new_books SELECT {copied} FROM books")).await?;
    run(schema, "DROP TABLE books; ALTER TABLE new_books RENAME TO books").await
}

/// Whether the database takes a statement; nothing is left of it.
async fn is_possible(database: &DatabaseConnection, statement: &str) -> bool {
    let transaction = database.begin().await.unwrap();
    let outcome = transaction.execute_unprepared(statement).await;
    transaction.rollback().await.unwrap();
    outcome.is_ok()
}

async fn assert_possible(database: &DatabaseConnection, statements: &[&str], expected: bool, when: &str) {
    for statement in statements {
        assert_eq!(is_possible(database, statement).await, expected, "{statement}, {when}");
    }
}

/// The one book that is there all the time.
async fn book(database: &DatabaseConnection) -> (String, String) {
    let sql = "SELECT title, CAST(year AS text) AS year FROM books WHERE genre = 'poem'";
    let row = database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await.unwrap();
    let row = row.unwrap();
    (row.try_get("", "title").unwrap(), row.try_get("", "year").unwrap())
}

on_both!(
    async fn every_step_can_be_taken_and_taken_back(database: TestDatabase) {
        let database = database.connect().await;
        let faust = ("Faust".to_owned(), "1808".to_owned());
        let mut before = dump(&database).await;
        for step in STEPS {
            let (possible, impossible) = step.makes_possible_and_impossible();
            let assert_before = async |when: &str| {
                let when = format!("{when} {step:?}");
                assert_possible(&database, possible, false, &when).await;
                // Where there is no table yet nothing is possible.
                if *step != CreateTables {
                    assert_possible(&database, impossible, true, &when).await;
                    assert_eq!(book(&database).await, faust, "{when}");
                }
            };
            let assert_after = async |when: &str| {
                let when = format!("{when} {step:?}");
                assert_possible(&database, possible, true, &when).await;
                assert_possible(&database, impossible, false, &when).await;
            };
            assert_before("before").await;
            Books::up(&database, Some(1)).await.unwrap();
            assert_after("after").await;
            let after = dump(&database).await;
            assert_ne!(after, before, "{step:?} changes nothing");
            Books::down(&database, Some(1)).await.unwrap();
            assert_before("back before").await;
            assert_eq!(dump(&database).await, before, "{step:?} leaves something behind");
            Books::up(&database, Some(1)).await.unwrap();
            assert_after("again after").await;
            assert_eq!(dump(&database).await, after, "{step:?} is another one the second time");
            if *step == CreateTables {
                database.execute_unprepared(FAUST).await.unwrap();
            }
            assert_eq!(book(&database).await, faust, "after {step:?}");
            before = after;
        }
        // All the way back to the first, with the book.
        Books::down(&database, Some(STEPS.len() as u32 - 1)).await.unwrap();
        assert_eq!(book(&database).await, faust);
        Books::up(&database, None).await.unwrap();
        assert_eq!(dump(&database).await, before);
        database.close().await.unwrap();
    }
);
