//! What was acknowledged is there, whatever is killed in the middle of the work, and however often: the service, the
//! server, or both.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tests::{
    PATIENCE, Postgres, Signal, TestApp, eventually, on_both, or_skip,
    run::{self, rounds},
    within,
};
use tokio::task::JoinHandle;

const CLIENTS: usize = 4;
const ACCOUNTS: usize = 4;
const OPENING: i64 = 1_000_000_000;
/// How much must have been acknowledged before anything is killed.
const ENOUGH: usize = 200;
/// How often each test kills, in its short form and in its long one.
const KILLED: (usize, usize) = (2, 200);

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// By its path, each record as the last answer showed it.
    acknowledged: HashMap<String, Value>,
    /// The names of tags that it was said of that they were not made.
    refused: HashSet<String>,
}

/// One request's fate.
enum Fate {
    Done(Value),
    Refused,
    /// There was no answer, or one that says just that.
    Unknown,
}

/// Clients that write as fast as they are answered, until they are told to end.
struct Load {
    told: Arc<Mutex<Told>>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(app: &TestApp, accounts: &[Value], round: usize) -> Self {
        let (told, is_over) = (Arc::<Mutex<Told>>::default(), Arc::new(AtomicBool::new(false)));
        let clients = (0..CLIENTS).map(|number| {
            let (base, accounts) = (app.url(""), accounts.to_owned());
            let (told, is_over) = (Arc::clone(&told), Arc::clone(&is_over));
            tokio::spawn(async move {
                let client = Client::new();
                for n in (0..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    write(&client, &base, &format!("{round} {number} {n}"), payment(&accounts, number, n), &told).await;
                }
            })
        });
        let clients = clients.collect();
        Self { told, is_over, clients }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Told) -> bool) {
        eventually(what, PATIENCE, async || is_so(&self.told.lock().unwrap()).then_some(())).await;
    }

    async fn until_enough(&self) {
        self.until("there is something to lose", |told| told.acknowledged.len() > ENOUGH).await;
    }

    /// Ends it; what was told.
    async fn end(self) -> Told {
        self.is_over.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        Arc::into_inner(self.told).unwrap().into_inner().unwrap()
    }
}

fn payment(accounts: &[Value], number: usize, n: usize) -> Value {
    let (from, to) = (&accounts[n % ACCOUNTS], &accounts[(n + 1 + number % (ACCOUNTS - 1)) % ACCOUNTS]);
    json!({"from_account_id": from, "to_account_id": to, "amount": 1 + n % 7})
}

/// Makes a tag, renames it, and moves money; notes what was answered.
async fn write(client: &Client, base: &str, name: &str, payment: Value, told: &Mutex<Told>) {
    let note = |path: &str, record: Value| {
        let path = format!("{path}/{}", record["id"].as_str().unwrap());
        told.lock().unwrap().acknowledged.insert(path.clone(), record);
        path
    };
    match fate(client.post(format!("{base}/v1/tags")).json(&json!({ "name": name }))).await {
        Fate::Done(tag) => {
            let path = note("/v1/tags", tag);
            let rename = client.patch(format!("{base}{path}")).header("if-match", "\"1\"");
            if let Fate::Done(tag) = fate(rename.json(&json!({"name": format!("{name} renamed")}))).await {
                note("/v1/tags", tag);
            }
        }
        Fate::Refused => drop(told.lock().unwrap().refused.insert(name.to_owned())),
        Fate::Unknown => {}
    }
    if let Fate::Done(transfer) = fate(client.post(format!("{base}/v1/transfers")).json(&payment)).await {
        note("/v1/transfers", transfer);
    }
}

async fn fate(request: RequestBuilder) -> Fate {
    let Ok(answer) = request.send().await else { return Fate::Unknown };
    let is_done = answer.status().is_success();
    match answer.json::<Value>().await {
        Ok(record) if is_done => Fate::Done(record),
        Ok(problem) if problem["code"] != "unknown_outcome" => Fate::Refused,
        _ => Fate::Unknown,
    }
}

/// The accounts that money is moved between, and what was told in all rounds.
struct Ledger {
    accounts: Vec<Value>,
    told: Told,
}

impl Ledger {
    async fn open(app: &TestApp) -> Self {
        let made = async |path: &str, new: Value| {
            let answer = app.client().post(app.url(path)).json(&new).send().await.unwrap();
            answer.json::<Value>().await.unwrap()["id"].clone()
        };
        let owner = made("/v1/users", json!({"email": "ada@example.org", "name": "Ada"})).await;
        let mut accounts = Vec::new();
        for _ in 0..ACCOUNTS {
            let new = json!({"owner_id": owner, "currency": "EUR", "balance": OPENING});
            accounts.push(made("/v1/accounts", new).await);
        }
        Self { accounts, told: Told::default() }
    }

    /// Everything that was ever acknowledged is there, nothing is that was refused, and what is there is whole.
    async fn assert_kept(&mut self, app: &TestApp, told: Told) {
        assert!(told.acknowledged.len() > ENOUGH);
        self.told.acknowledged.extend(told.acknowledged);
        self.told.refused.extend(told.refused);

        let (tags, transfers) = (all(app, "/v1/tags").await, all(app, "/v1/transfers").await);
        for (path, told) in &self.told.acknowledged {
            let Some(found) = tags.get(path).or(transfers.get(path)) else { panic!("{path} is gone: {told}") };
            // A change may have been made that nobody was told of any more.
            let versions = found["version"].as_i64().zip(told["version"].as_i64());
            assert!(found == told || versions == Some((2, 1)), "{found}, after {told} was acknowledged");
        }
        for tag in tags.values() {
            let name = tag["name"].as_str().unwrap();
            assert!(!self.told.refused.contains(name), "{name} was refused, and is there");
        }

        // Each account holds what the transfers say, so that none was made by half.
        let mut moved = HashMap::<&Value, i64>::new();
        for transfer in transfers.values() {
            let amount = transfer["amount"].as_i64().unwrap();
            *moved.entry(&transfer["from_account_id"]).or_default() -= amount;
            *moved.entry(&transfer["to_account_id"]).or_default() += amount;
        }
        let accounts = all(app, "/v1/accounts").await;
        assert_eq!(accounts.len(), ACCOUNTS);
        for account in accounts.values() {
            let moved = moved.get(&account["id"]).copied().unwrap_or_default();
            assert_eq!(account["balance"], OPENING + moved, "{account}");
        }
    }
}

/// All records of a kind, by their paths.
async fn all(app: &TestApp, path: &str) -> HashMap<String, Value> {
    let mut records = HashMap::new();
    let mut address = format!("{path}?page_size=200");
    loop {
        let answer = app.client().get(app.url(&address)).send().await.unwrap().error_for_status().unwrap();
        let page = answer.json::<Value>().await.unwrap();
        for record in page["items"].as_array().unwrap() {
            records.insert(format!("{path}/{}", record["id"].as_str().unwrap()), record.clone());
        }
        let Some(token) = page["next_page_token"].as_str() else { return records };
        address = format!("{path}?page_size=200&page_token={token}");
    }
}

on_both!(
    within run::limit(Duration::from_secs(120));

    async fn what_was_acknowledged_survives_the_end_of_the_service(database: TestDatabase) {
        let mut app = TestApp::start(&database).await;
        let mut ledger = Ledger::open(&app).await;
        for round in 0..rounds(KILLED.0, KILLED.1) {
            let load = Load::start(&app, &ledger.accounts, round);
            load.until_enough().await;
            app.kill().await;
            let told = load.end().await;
            app = TestApp::start(&database).await;
            ledger.assert_kept(&app, told).await;
        }
    }
);

/// With `fsync` on, as in production.
#[test]
fn what_was_acknowledged_survives_the_end_of_everything() {
    within(run::limit(Duration::from_secs(120)), async {
        let mut server = or_skip!(Postgres::private_with(&["fsync=on"]).await);
        let database = server.database().await;
        let mut app = TestApp::start(&database).await;
        let mut ledger = Ledger::open(&app).await;
        for round in 0..rounds(KILLED.0, KILLED.1) {
            let load = Load::start(&app, &ledger.accounts, round);
            load.until_enough().await;
            if round % 2 == 0 {
                app.signal(Signal::KILL);
                server.kill().await;
                app.kill().await;
                let told = load.end().await;
                server.start().await;
                app = TestApp::start(&database).await;
                ledger.assert_kept(&app, told).await;
            } else {
                // The service is left, and tells its clients no.
                server.kill().await;
                load.until("the service says no", |told| told.refused.len() > CLIENTS).await;
                let told = load.end().await;
                server.start().await;
                app.wait_until_ready().await;
                ledger.assert_kept(&app, told).await;
            }
        }
    });
}
