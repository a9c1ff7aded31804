//! The door that `sea-orm-cli migrate` knocks at. The service has its own, `migrate`, over the same [`Migrator`].

use migration::Migrator;
use sea_orm_migration::cli;

#[tokio::main]
async fn main() {
    cli::run_cli(Migrator).await;
}
