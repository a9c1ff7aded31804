//! Plays the processes that the tests of the harness need: a service, and a run of tests that ends as it is told.
//!
//! `rehearse serve` announces itself and answers as the service does. `rehearse run` starts the run's shared server, makes
//! a database, prints the run's folder and the database's URL, and ends when its input ends; `rehearse mongo` does the same
//! with the run's MongoDB server.

use std::{io::Read, process::ExitCode};

use axum::{Router, routing::get};
use tests::{Backend, database, mongo, run::Run};

#[tokio::main]
async fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve().await,
        Some("run") => run(database(Backend::Postgres).await.unwrap().url.clone()),
        Some("mongo") => run(mongo::shared().await.unwrap().uri("any")),
        other => {
            eprintln!("rehearse: unknown part {other:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

async fn serve() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    let environment = async || {
        let mut environment: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        environment.sort();
        environment.join("\n")
    };
    let routes = Router::new().route("/health/ready", get(async || "ready")).route("/environment", get(environment));
    let end = async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        terminated.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(end).await.unwrap();
}

fn run(url: String) {
    println!("{}\n{url}", Run::current().folder().display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
