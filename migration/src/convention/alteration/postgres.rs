//! How PostgreSQL is told.

use sea_orm_migration::prelude::*;

use super::{
    Change,
    place::{Place, kind, quoted},
};

impl Place<'_> {
    pub(super) async fn on_postgres(&mut self, change: Change) -> Result<(), DbErr> {
        let table = quoted(&self.table);
        match change {
            Change::Remark(sql) | Change::Statement(sql) => self.alone(sql).await,
            Change::RenameTable(to) => {
                self.flush().await?;
                self.rename_table(to).await
            }
            Change::Add { column, filled: None } => self.add(column),
            Change::Add { mut column, filled: Some(value) } => {
                let name = quoted(&column.get_column_name());
                self.add(column.default(value).take())?;
                // Of a column that is not there yet, nothing is said in the same statement.
                self.alone(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")).await
            }
            Change::Drop(column) => self.clause(format!("DROP COLUMN {}", quoted(&column))),
            Change::Rename { from, to } => {
                let (from, to) = (quoted(&from), quoted(&to));
                self.alone(format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}")).await
            }
            Change::Retype(column) => {
                let (name, kind) = (quoted(&column.get_column_name()), kind(&column, PostgresQueryBuilder));
                self.clause(format!("ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}"))
            }
            Change::Optional(column) => self.clause(format!("ALTER COLUMN {} DROP NOT NULL", quoted(&column))),
            Change::Required { column, filled: _ } => {
                self.clause(format!("ALTER COLUMN {} SET NOT NULL", quoted(&column)))
            }
            Change::Refer(reference) => {
                let statement = reference.statement(&self.table).to_string(PostgresQueryBuilder);
                self.clause(self.clause_of(&statement))
            }
            Change::Unrefer(column) => {
                self.clause(format!("DROP CONSTRAINT {}", quoted(&format!("fk_{}_{column}", self.table))))
            }
            Change::Check { name, condition } => {
                let condition = Query::select().expr(condition).to_string(PostgresQueryBuilder);
                let condition = condition.trim_start_matches("SELECT ");
                self.clause(format!("ADD CONSTRAINT {} CHECK ({condition})", quoted(&name)))
            }
            Change::DropCheck(name) => self.clause(format!("DROP CONSTRAINT {}", quoted(&name))),
            Change::RenameConstraint { from, to } => {
                let (from, to) = (quoted(&from), quoted(&to));
                self.alone(format!("ALTER TABLE {table} RENAME CONSTRAINT {from} TO {to}")).await
            }
            Change::Index { name, is_unique, columns } => {
                self.flush().await?;
                self.index(&name, is_unique, &columns).await
            }
            Change::DropIndex(name) => self.alone(format!("DROP INDEX {}", quoted(&name))).await,
            Change::RenameIndex { from, to } => {
                self.alone(format!("ALTER INDEX {} RENAME TO {}", quoted(&from), quoted(&to))).await
            }
        }
    }

    fn add(&mut self, column: ColumnDef) -> Result<(), DbErr> {
        let statement =
            Table::alter().table(Alias::new(&self.table)).add_column(column).to_string(PostgresQueryBuilder);
        self.clause(self.clause_of(&statement))
    }

    /// A clause of `ALTER TABLE`, out of a whole statement.
    fn clause_of(&self, statement: &str) -> String {
        let start = format!("ALTER TABLE {} ", quoted(&self.table));
        statement.strip_prefix(&start).unwrap_or(statement).to_owned()
    }
}
