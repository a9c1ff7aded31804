//! Compares the domain's store with SeaORM as its guides show it, and with sqlx and SQL written by hand: in one
//! process, on one database, in turns, so that what disturbs one disturbs all. What counts are the ratios; absolute
//! times are those of the machine.
//!
//! `cargo bench -p tests --bench domain` measures on SQLite; with `SEABED_BENCH_DATABASE_URL=postgres://…` on that
//! PostgreSQL server, in a database that is made for the run; with `SEABED_BENCH_DATABASE_URL=private` on a server that
//! is started for it. `SEABED_BENCH_ROUNDS` sets how many rounds there are.

mod bare;
mod contender;
mod counter;
#[path = "../shared/fixture.rs"]
mod fixture;
mod guides;
#[path = "../shared/measure.rs"]
mod measure;
mod ours;
#[path = "../shared/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use bare::{BarePostgres, BareSqlite};
use contender::{Contender, Operation, Place, Places};
use counter::Counter;
use fixture::{Fixture, Outcome};
use guides::Guides;
use measure::{load_average, median};
use ours::Ours;
use tests::Postgres;

/// How many rounds, if nothing is said.
const ROUNDS: usize = 9;
/// How often an operation is done to count its statements.
const COUNTED: u64 = 10;

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(compare())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is configured by its own variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn compare() -> Outcome<()> {
    let mut server = variable("SEABED_BENCH_DATABASE_URL");
    let mut _private = None;
    if server.as_deref() == Some("private") {
        let postgres = Postgres::private().await.map_err(|skip| skip.to_string())?;
        server = Some(postgres.url("postgres"));
        _private = Some(postgres);
    }
    let fixture = Fixture::make(server.as_deref()).await?;
    // One contender over and over, for a profiler to look at.
    if let Some(name) = variable("SEABED_BENCH_ONLY") {
        profile(&fixture, &name).await?;
        return fixture.remove().await;
    }
    println!("domain on {}, load average {}", if server.is_some() { "PostgreSQL" } else { "SQLite" }, load_average());
    println!();
    match server {
        Some(_) => {
            rounds(&fixture, &BarePostgres::connect(&fixture.url).await?).await?;
            let relay = Counter::to(&fixture.url).await?;
            statements(&fixture, &relay).await?;
        }
        None => rounds(&fixture, &BareSqlite::connect(&fixture.url).await?).await?,
    }
    println!();
    println!("load average {}", load_average());
    fixture.remove().await
}

async fn profile(fixture: &Fixture, name: &str) -> Outcome<()> {
    let ours = Ours::connect(&fixture.url).await?;
    let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name).ok_or("unknown operation")?;
    let (mut places, started, mut times) = (Places::new(0), Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(10) {
        operation.run(&ours, &places.next(fixture, operation)).await?;
        times += 1;
    }
    println!("{times} times {name}");
    Ok(())
}

/// What an operation costs.
#[derive(Clone, Copy)]
struct Cost {
    cpu_us: f64,
    wall_us: f64,
}

/// The processor time of this process so far.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// Does an operation at each place; what it costs, and how much was seen.
async fn measured(contender: &impl Contender, operation: Operation, places: &[Place]) -> Outcome<(Cost, usize)> {
    let (cpu_before, started) = (cpu(), Instant::now());
    let mut seen = 0;
    for place in places {
        seen += operation.run(contender, place).await?;
    }
    let (cpu, wall) = (cpu() - cpu_before, started.elapsed());
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / places.len() as f64;
    Ok((Cost { cpu_us: micros(cpu), wall_us: micros(wall) }, seen))
}

async fn rounds(fixture: &Fixture, bare: &impl Contender) -> Outcome<()> {
    let ours = Ours::connect(&fixture.url).await?;
    let guides = Guides::connect(&fixture.url).await?;
    let mut places = [Places::new(0), Places::new(1), Places::new(2)];
    let rounds = variable("SEABED_BENCH_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    println!("| operation | CPU ours/SeaORM | CPU ours/sqlx | wall ours/SeaORM | wall ours/sqlx |");
    println!("|---|---|---|---|---|");
    let mut footnotes = Vec::new();
    for operation in Operation::ALL {
        let mut costs = Vec::new();
        for round in 0..=rounds {
            // The first round warms up.
            let times = if round == 0 { operation.times() / 5 + 1 } else { operation.times() };
            let [a, b, c] =
                places.each_mut().map(|places| (0..times).map(|_| places.next(fixture, operation)).collect::<Vec<_>>());
            let (a, seen_by_a) = measured(&ours, operation, &a).await?;
            let (b, seen_by_b) = measured(&guides, operation, &b).await?;
            let (c, seen_by_c) = measured(bare, operation, &c).await?;
            assert_eq!([seen_by_b, seen_by_c], [seen_by_a; 2], "not all did the same in {operation:?}");
            if round > 0 {
                costs.push([a, b, c]);
            }
        }
        let ratio = |by: usize, cost: fn(&Cost) -> f64| {
            median(costs.iter().map(|round| cost(&round[0]) / cost(&round[by])).collect())
        };
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            operation.name(),
            ratio(1, |cost| cost.cpu_us),
            ratio(2, |cost| cost.cpu_us),
            ratio(1, |cost| cost.wall_us),
            ratio(2, |cost| cost.wall_us),
        );
        let cpu = |of: usize| median(costs.iter().map(|round| round[of].cpu_us).collect());
        footnotes.push(format!("{} {:.0}/{:.0}/{:.0}", operation.name(), cpu(0), cpu(1), cpu(2)));
    }
    println!();
    println!("CPU µs ours/SeaORM/sqlx, of this machine: {}.", footnotes.join("; "));
    Ok(())
}

/// Counts what each contender sends for each operation.
async fn statements(fixture: &Fixture, relay: &Counter) -> Outcome<()> {
    println!();
    println!("| operation | statements (round trips): ours | SeaORM | sqlx |");
    println!("|---|---|---|---|");
    let mut counts = vec![Vec::new(); Operation::ALL.len()];
    count(fixture, relay, &Ours::connect(&relay.url).await?, 0, &mut counts).await?;
    count(fixture, relay, &Guides::connect(&relay.url).await?, 1, &mut counts).await?;
    count(fixture, relay, &BarePostgres::connect(&relay.url).await?, 2, &mut counts).await?;
    for (operation, counts) in Operation::ALL.into_iter().zip(counts) {
        println!("| {} | {} |", operation.name(), counts.join(" | "));
    }
    Ok(())
}

async fn count(
    fixture: &Fixture,
    relay: &Counter,
    contender: &impl Contender,
    number: usize,
    counts: &mut [Vec<String>],
) -> Outcome<()> {
    let mut places = Places::counting(number);
    for (operation, counts) in Operation::ALL.into_iter().zip(counts) {
        // Often enough that every statement is prepared.
        for _ in 0..COUNTED {
            operation.run(contender, &places.next(fixture, operation)).await?;
        }
        let before = relay.counted();
        for _ in 0..COUNTED {
            operation.run(contender, &places.next(fixture, operation)).await?;
        }
        let after = relay.counted();
        let each = |after: u64, before: u64| (after - before) as f64 / COUNTED as f64;
        counts.push(format!("{} ({})", each(after.0, before.0), each(after.1, before.1)));
    }
    Ok(())
}
