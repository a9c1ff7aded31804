//! Delivery by the service itself, as real processes: killed at any point, stopped, without its database, and by hand.

mod trail;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Client;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::{
    Backend, PATIENCE, Postgres, TestApp, TestDatabase,
    app::Launch,
    eventually, on_both, or_skip,
    run::{self, rounds},
    within,
};
use tokio::task::JoinHandle;

use self::trail::{Trail, assert_unbroken, delivered};

/// How often a process is killed, in the short form and in the long one, on each database.
const KILLED: (usize, usize) = (50, 500);
/// Processes on one database: two of them deliver at once, or one after the other.
const PROCESSES: usize = 2;
const CLIENTS: usize = 3;

/// Clients that write as fast as they are answered, in all the ways that there are.
struct Load {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

/// Money to move, so that one unit of work changes several rows.
#[derive(Clone)]
struct Fixture {
    accounts: Vec<Value>,
}

impl Fixture {
    async fn on(app: &TestApp) -> Self {
        let made = async |path: &str, new: Value| {
            let answer = app.client().post(app.url(path)).json(&new).send().await.unwrap();
            answer.error_for_status().unwrap().json::<Value>().await.unwrap()["id"].clone()
        };
        let owner = made("/v1/users", json!({"email": "ada@example.org", "name": "Ada"})).await;
        let mut accounts = Vec::new();
        for _ in 0..3 {
            let new = json!({"owner_id": owner, "currency": "EUR", "balance": 1_000});
            accounts.push(made("/v1/accounts", new).await);
        }
        Self { accounts }
    }
}

impl Load {
    fn start(bases: Vec<String>, fixture: &Fixture, seed: u64) -> Self {
        let (is_over, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..CLIENTS).map(|number| {
            let base = bases[number % bases.len()].clone();
            let (is_over, acknowledged, fixture) = (Arc::clone(&is_over), Arc::clone(&acknowledged), fixture.clone());
            tokio::spawn(async move {
                let client = Client::new();
                let mut chance = StdRng::seed_from_u64(seed * 100 + number as u64);
                let mut n = 0;
                while !is_over.load(Ordering::SeqCst) {
                    n += 1;
                    let done = write(&client, &base, &fixture, &mut chance, &format!("{seed} {number} {n}")).await;
                    acknowledged.fetch_add(usize::from(done), Ordering::SeqCst);
                }
            })
        });
        let clients = clients.collect();
        Self { is_over, acknowledged, clients }
    }

    async fn end(self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// Makes a tag, changes it, deletes it or not; is refused; moves money or has too little of it. Whether all was answered.
async fn write(client: &Client, base: &str, fixture: &Fixture, chance: &mut StdRng, name: &str) -> bool {
    let send = async |request: reqwest::RequestBuilder| {
        let answer = request.timeout(Duration::from_secs(20)).send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json::<Value>().await.unwrap_or_default()))
    };
    let Some((status, tag)) = send(client.post(format!("{base}/v1/tags")).json(&json!({ "name": name }))).await else {
        return false;
    };
    if !status.is_success() {
        return false;
    }
    // Undone: the name is taken.
    send(client.post(format!("{base}/v1/tags")).json(&json!({ "name": name }))).await;
    let path = format!("{base}/v1/tags/{}", tag["id"].as_str().unwrap());
    let change = json!({"name": format!("{name} renamed")});
    send(client.patch(&path).header("if-match", "\"1\"").json(&change)).await;
    if chance.random_bool(0.3) {
        send(client.delete(&path).header("if-match", "\"2\"")).await;
    }
    let (from, to) = (chance.random_range(0..3), chance.random_range(1..3));
    let transfer = json!({
        "from_account_id": fixture.accounts[from],
        "to_account_id": fixture.accounts[(from + to) % 3],
        // Often more than there is.
        "amount": chance.random_range(1..900),
    });
    send(client.post(format!("{base}/v1/transfers")).json(&transfer)).await.is_some()
}

/// Waits until nothing is left to deliver.
async fn until_delivered(database: &TestDatabase) {
    let outside = database.connect().await;
    eventually("all is delivered", PATIENCE, async || {
        (trail::count(&outside, "SELECT count(*) FROM outbox").await == 0).then_some(())
    })
    .await;
    outside.close().await.unwrap();
}

on_both!(
    within run::limit(Duration::from_secs(200));

    async fn whatever_is_killed_each_committed_change_is_one_entry_and_no_other(database: TestDatabase) {
        let mut chance = StdRng::seed_from_u64(11);
        let mut apps = Vec::new();
        for _ in 0..PROCESSES {
            apps.push(TestApp::start(&database).await);
        }
        let fixture = Fixture::on(&apps[0]).await;
        let mut acknowledged = 0;
        for round in 0..rounds(KILLED.0, KILLED.1) {
            let bases = apps.iter().map(|app| app.url("")).collect();
            let load = Load::start(bases, &fixture, round as u64);
            tokio::time::sleep(Duration::from_millis(chance.random_range(20..400))).await;
            let place = chance.random_range(0..PROCESSES);
            apps[place].kill().await;
            acknowledged += load.end().await;
            apps[place] = Launch::default().database(&database).start().await;
        }
        until_delivered(&database).await;
        assert!(acknowledged > rounds(KILLED.0, KILLED.1), "{acknowledged}");
        let trail = Trail::read(&database).await;
        assert!(trail.entries.len() > acknowledged * 3, "{} of {acknowledged}", trail.entries.len());
        assert_unbroken(&trail);
        // And its hashes.
        let environment = [("DATABASE_URL", database.url.as_str())];
        let output = TestApp::run(&["--json", "audit", "verify"], &environment).await;
        assert_eq!((output.code(), output.json()["entries"].as_u64()), (Some(0), Some(trail.entries.len() as u64)), "{}", output.stdout);
        trail::assert_the_check_finds_faults(trail);
    }

    async fn what_was_acknowledged_is_delivered_when_the_service_ends(database: TestDatabase) {
        let mut app = TestApp::start(&database).await;
        let fixture = Fixture::on(&app).await;
        let load = Load::start(vec![app.url("")], &fixture, 1);
        eventually("there is load", PATIENCE, async || {
            (load.acknowledged.load(Ordering::SeqCst) > 20).then_some(())
        })
        .await;
        assert!(app.stop().await.success(), "{}", app.output());
        load.end().await;
        let outside = database.connect().await;
        assert_eq!(trail::count(&outside, "SELECT count(*) FROM outbox").await, 0);
        assert_unbroken(&Trail::read(&database).await);
    }

    async fn an_entry_tells_of_the_request_that_caused_it(database: TestDatabase) {
        let app = TestApp::start(&database).await;
        let post = app.client().post(app.url("/v1/tags")).header("x-request-id", "it's-$seabed$-1");
        let tag = post.json(&json!({"name": "a"})).send().await.unwrap().json::<Value>().await.unwrap();
        let patch = app.client().patch(app.url(&format!("/v1/tags/{}", tag["id"].as_str().unwrap())));
        let patch = patch.header("x-request-id", "second").header("if-match", "\"1\"");
        patch.json(&json!({"name": "b"})).send().await.unwrap().error_for_status().unwrap();
        until_delivered(&database).await;
        for collection in ["audit", "logs"] {
            let entries = delivered(&database, collection).await;
            let said = entries.iter().map(|entry| {
                ["action", "method", "endpoint", "request_id"].map(|field| entry[field].as_str().unwrap().to_owned())
            });
            let mut said = said.collect::<Vec<_>>();
            said.sort();
            let expected = [["insert", "POST", "/v1/tags", "it's-$seabed$-1"], ["update", "PATCH", "/v1/tags/{id}", "second"]];
            assert_eq!(said, expected, "{collection}");
        }
    }

    async fn the_commands_tell_what_waits_and_what_is_wrong(database: TestDatabase) {
        let environment = [("DATABASE_URL", database.url.as_str())];
        let run = async |arguments: &[&str]| TestApp::run(arguments, &environment).await;
        let outside = database.connect().await;
        for name in ["one", "two", "three"] {
            let id = if database.backend() == Backend::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
            let now = "'2026-01-01T00:00:00+00:00'";
            let sql = format!("INSERT INTO tags VALUES ({id}, 1, {now}, {now}, '{name}')");
            outside.execute_unprepared(&sql).await.unwrap();
        }
        let status = run(&["--json", "outbox", "status"]).await;
        assert_eq!((status.code(), &status.json()["rows"], &status.json()["dead"]), (Some(0), &json!(3), &json!(0)));
        let mut app = TestApp::start(&database).await;
        until_delivered(&database).await;
        eventually("health says so", PATIENCE, async || {
            let health = app.client().get(app.url("/health")).send().await.unwrap().json::<Value>().await.unwrap();
            let documents = &health["documents"];
            (documents["status"] == "up" && documents["delivered"] == 3 && documents["waiting"] == 0).then_some(())
        })
        .await;
        app.stop().await;
        assert_eq!(run(&["audit", "verify"]).await.code(), Some(0));

        // What somebody wrote by hand and nobody can deliver.
        let dead = "INSERT INTO outbox (collection, entity, body, dead_at, reason) VALUES ('x', 'x', '[]', '2026-01-01T00:00:00+00:00', 'why not')";
        outside.execute_unprepared(dead).await.unwrap();
        let status = run(&["outbox", "status"]).await;
        assert!(status.stdout.contains("1 were given up") && status.stdout.contains("why not"), "{}", status.stdout);
        let doctor = run(&["doctor"]).await;
        assert!(doctor.stdout.contains("1 documents were refused and given up"), "{}", doctor.stdout);
        assert_eq!(run(&["outbox", "drop"]).await.code(), Some(77));
        assert_eq!(run(&["outbox", "retry", "no-id"]).await.code(), Some(2));
        let retried = run(&["--json", "outbox", "retry"]).await;
        assert_eq!((retried.code(), retried.json()), (Some(0), json!({"retried": 1})));
        outside.execute_unprepared("UPDATE outbox SET dead_at = '2026-01-01T00:00:00+00:00'").await.unwrap();
        let dropped = run(&["--json", "--yes", "outbox", "drop"]).await;
        assert_eq!((dropped.code(), dropped.json()), (Some(0), json!({"dropped": 1})));

        outside.execute_unprepared("DELETE FROM documents WHERE collection = 'audit' AND id = (SELECT max(id) FROM documents WHERE collection = 'audit')").await.unwrap();
        let verified = run(&["--json", "audit", "verify"]).await;
        assert_eq!((verified.code(), verified.json()["tampering"].as_array().map(Vec::len)), (Some(1), Some(1)), "{}", verified.stdout);
    }
);

/// The database is gone for a while: each request that fails for that is one entry of the log, once there is one again.
#[test]
fn whatever_is_answered_with_a_fault_is_one_entry_of_the_log() {
    within(run::limit(Duration::from_secs(120)), async {
        let mut server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        let app = TestApp::start(&database).await;
        app.client().post(app.url("/v1/tags")).json(&json!({"name": "a"})).send().await.unwrap();
        server.kill().await;
        let mut failed = Vec::new();
        for n in 0..20 {
            let id = format!("request-{n}");
            let get = app.client().get(app.url("/v1/tags?sort=name")).header("x-request-id", &id);
            let answer = get.send().await.unwrap();
            if answer.status().is_server_error() {
                failed.push((id, answer.status().as_u16()));
            }
        }
        assert!(failed.len() >= 15, "{failed:?}");
        server.start().await;
        // What the client did wrong is no fault.
        eventually("it answers", PATIENCE, async || {
            let get =
                app.client().get(app.url("/v1/tags/nothing")).header("x-request-id", "no-fault").send().await.unwrap();
            (!get.status().is_server_error()).then_some(())
        })
        .await;
        let logged = eventually("all are there", PATIENCE, async || {
            let logged = delivered(&database, "logs").await;
            let of = |id: &str| logged.iter().filter(|entry| entry["request_id"] == id).count();
            failed.iter().all(|(id, _)| of(id) > 0).then_some(logged)
        });
        let logged = logged.await;
        for (id, status) in &failed {
            let of = logged
                .iter()
                .filter(|entry| entry["request_id"] == **id && entry["code"] != "retried")
                .collect::<Vec<_>>();
            assert_eq!(of.len(), 1, "{id}: {of:?}");
            assert_eq!(
                (&of[0]["level"], &of[0]["status"], &of[0]["method"]),
                (&json!("error"), &json!(status), &json!("GET"))
            );
        }
        assert!(!logged.iter().any(|entry| entry["request_id"] == "no-fault"));
    });
}
