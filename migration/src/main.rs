//! The door that `sea-orm-cli migrate` knocks at. The service has its own, `migrate`, over the same [`Migrator`].

use migration::{MigrationTrait, Migrator, MigratorTrait};
use sea_orm_migration::{MigratorTraitSelf, cli, prelude::*};

/// The same migrations, recorded in the table that the service is told to record them in.
struct Configured;

impl MigratorTraitSelf for Configured {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        <Migrator as MigratorTrait>::migrations()
    }

    #[expect(clippy::disallowed_methods, reason = "the service's configuration is none of this program's")]
    fn migration_table_name(&self) -> DynIden {
        match std::env::var("MIGRATION_TABLE") {
            Ok(name) if !name.is_empty() => Alias::new(name).into_iden(),
            _ => <Migrator as MigratorTrait>::migration_table_name(),
        }
    }
}

#[tokio::main]
async fn main() {
    cli::run_cli(Configured).await;
}
