//! The same for MongoDB.

use mongodb::{
    Client,
    bson::{Document, doc},
    error::ErrorKind,
};
use tests::{Authority, Mongo, MongoUser, Proxy, mongo};

use super::*;

async fn client(uri: &str) -> Client {
    let mut options = mongodb::options::ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(2));
    Client::with_options(options).unwrap()
}

async fn insert(client: &Client, word: &str) -> mongodb::error::Result<()> {
    let words = client.database("harness").collection::<Document>("words");
    words.insert_one(doc! { "_id": word }).await.map(drop)
}

async fn words(client: &Client) -> u64 {
    client.database("harness").collection::<Document>("words").count_documents(doc! {}).await.unwrap()
}

#[test]
fn a_private_server_stops_starts_and_survives_a_kill() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        insert(&server.client().await, "kept").await.unwrap();
        server.kill().await;
        assert!(TcpStream::connect(server.address()).await.is_err());
        server.start().await;
        assert_eq!(words(&server.client().await).await, 1);
        insert(&server.client().await, "more").await.unwrap();
        server.stop().await;
        server.start().await;
        assert_eq!(words(&server.client().await).await, 2);
        // It is found by the name of its set, too.
        assert_eq!(words(&client(&server.uri_of_set("any")).await).await, 2);
    });
}

#[test]
fn a_set_has_transactions_and_a_standalone_server_has_none() {
    within(LIMIT, async {
        async fn commits(server: &Mongo) -> bool {
            let client = server.client().await;
            insert(&client, "outside").await.unwrap();
            let mut session = client.start_session().await.unwrap();
            session.start_transaction().await.unwrap();
            let words = client.database("harness").collection::<Document>("words");
            let inserted = words.insert_one(doc! { "_id": "inside" }).session(&mut session).await;
            inserted.is_ok() && session.commit_transaction().await.is_ok()
        }
        assert!(commits(&or_skip!(Mongo::private().await)).await);
        assert!(!commits(&or_skip!(Mongo::standalone().await)).await);
    });
}

#[test]
fn a_paused_server_does_not_answer() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let client = client(&server.uri("any")).await;
        insert(&client, "before").await.unwrap();
        server.pause();
        let answer = tokio::time::timeout(Duration::from_millis(300), insert(&client, "during")).await;
        assert!(answer.is_err(), "{answer:?}");
        server.resume();
        eventually("it answers", PATIENCE, async || insert(&client, "after").await.ok()).await;
        // It ends also when it is paused.
        server.pause();
    });
}

#[test]
fn it_fails_on_command_and_heals() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let client = client(&server.uri("any")).await;
        server.fail(1, doc! { "failCommands": ["insert"], "errorCode": 26 }).await;
        let refused = insert(&client, "one").await.unwrap_err();
        assert!(matches!(*refused.kind, ErrorKind::Command(ref error) if error.code == 26), "{refused:?}");
        insert(&client, "one").await.unwrap();
        server.fail_always(doc! { "failCommands": ["insert"], "closeConnection": true }).await;
        assert!(insert(&client, "two").await.is_err());
        assert!(insert(&client, "two").await.is_err());
        server.heal().await;
        eventually("it is healed", PATIENCE, async || insert(&client, "three").await.ok()).await;
    });
}

#[test]
fn it_asks_who_one_is() {
    within(LIMIT, async {
        let ada = MongoUser { name: "ada", password: "secret", role: "readWriteAnyDatabase" };
        let mut server = or_skip!(Mongo::private_with_users(&[ada]).await);
        insert(&client(&server.uri_as("ada", "secret", "any")).await, "hers").await.unwrap();
        assert!(insert(&client(&server.uri_as("ada", "guessed", "any")).await, "theirs").await.is_err());
        assert!(insert(&client(&server.uri("any")).await, "nobody's").await.is_err());
        server.restart().await;
        assert_eq!(words(&server.client().await).await, 1);
    });
}

#[test]
fn it_encrypts() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Mongo::private_with_tls(&authority).await);
        let with =
            |authority: &Authority| format!("{}&tls=true&tlsCAFile={}", server.uri("any"), authority.root().display());
        insert(&client(&with(&authority)).await, "encrypted").await.unwrap();
        assert!(insert(&client(&with(&Authority::new())).await, "strange").await.is_err());
        assert!(insert(&client(&server.uri("any")).await, "plain").await.is_err());
        assert_eq!(words(&server.client().await).await, 1);
    });
}

#[test]
fn it_works_through_a_proxy() {
    within(LIMIT, async {
        let server = or_skip!(mongo::shared().await);
        let proxy = Proxy::to(server.address()).await;
        let database = server.new_database();
        let named = proxy.url(&format!("{}&appName={database}", server.uri(&database)));
        let client = client(&named).await;
        let ping = async || client.database("any").run_command(doc! { "ping": 1 }).await;
        ping().await.unwrap();
        assert!(server.connections(&database).await > 0);
        proxy.refuse().await;
        assert!(ping().await.is_err());
        proxy.forward().await;
        eventually("it answers", PATIENCE, async || ping().await.ok()).await;
        drop(client);
        eventually("nobody is left", PATIENCE, async || (server.connections(&database).await == 0).then_some(())).await;
    });
}

#[test]
fn the_shared_server_is_gone_with_the_run() {
    within(LIMIT, async {
        // Where it cannot start, there is nothing to rehearse.
        or_skip!(mongo::shared().await);
        for is_killed in [false, true] {
            let (mut run, folder, server) = rehearse(Command::new(REHEARSE).arg("mongo").env_remove("NEXTEST_RUN_ID"));
            if is_killed {
                run.kill().unwrap();
            }
            drop(run.stdin.take());
            run.wait().unwrap();
            assert_gone(&folder, &server).await;
        }
    });
}

#[test]
fn a_skip_says_that_it_is_not_installed() {
    let empty = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "harness::mongo::a_paused_server_does_not_answer"]).env_remove("NEXTEST_RUN_ID");
    let skipped = test.env("SEABED_TESTS_NO_SKIP", "0").env("SEABED_MONGOD_BIN", empty.path()).output().unwrap();
    assert!(skipped.status.success());
    let line = "skipped: harness::mongo::a_paused_server_does_not_answer: MongoDB is not installed";
    assert!(String::from_utf8_lossy(&skipped.stderr).contains(line), "{skipped:?}");
}
