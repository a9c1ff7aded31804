//! Plays one of many processes that migrate a database at once.
//!
//! `ladder ours|bare LADDER DATABASE_URL LEASE_MS`: with our runner, or with that of the bare library. Prints the names
//! of the steps that it took, one a line.

use std::{process::ExitCode, time::Duration};

use api::command::{
    migrate::{Authority, Consent, Context, MigrateCommand, Output, run},
    signal,
};
use sea_orm_migration::MigratorTraitSelf;
use tests::ladder::Ladder;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = std::env::args().collect::<Vec<_>>();
    let [_, runner, ladder, url, lease] = &arguments[..] else { panic!("{arguments:?}") };
    let (ladder, lease) = (Ladder::named(ladder), Duration::from_millis(lease.parse().unwrap()));
    match runner.as_str() {
        "ours" => ours(ladder, url, lease).await,
        "bare" => bare(ladder, url).await,
        _ => panic!("{arguments:?}"),
    }
}

async fn ours(ladder: Ladder, database_url: &str, lease: Duration) -> ExitCode {
    let context = Context {
        database_url,
        authority: Authority::default(),
        options: ladder.options(lease),
        folder: "nowhere".into(),
        consent: Consent::default(),
        now: std::time::SystemTime::UNIX_EPOCH,
    };
    match run(MigrateCommand::Up { number: None, despite_lint: false }, &context, signal::heard().unwrap()).await {
        Ok(Output::Steps(steps)) => {
            steps.iter().for_each(|step| println!("{}", step.name));
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("{other:?}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "as the bare library does it")]
async fn bare(ladder: Ladder, url: &str) -> ExitCode {
    let database = sea_orm::Database::connect(url).await.unwrap();
    match MigratorTraitSelf::up(&ladder, &database, None).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
