//! The fault proxy: a network that fails exactly when and how it is told.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tests::{
    Backend, Fault, PATIENCE, Proxy, Schedule, TestDatabase, Toward, Trap, database, eventually, or_skip, run::LIMIT,
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Longer than anything takes that happens at all.
const SILENCE: Duration = Duration::from_millis(200);

#[test]
fn a_proxy_forwards_refuses_cuts_and_swallows() {
    within(LIMIT, async {
        let proxy = Proxy::to(echo().await).await;
        assert_eq!(
            proxy.url("postgres://me:secret@localhost:5432/mine?x=1"),
            format!("postgres://me:secret@{}/mine?x=1", proxy.address())
        );
        let mut client = connect(&proxy).await;
        assert_eq!(ask(&mut client, "one").await.unwrap(), "one");
        assert_eq!((proxy.connections(), proxy.open_connections()), (1, 1));

        proxy.cut().await;
        assert_eq!(ask(&mut client, "two").await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!((proxy.connections(), proxy.open_connections()), (1, 0));

        proxy.refuse().await;
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        proxy.forward().await;
        let mut old = connect(&proxy).await;
        assert_eq!(ask(&mut old, "three").await.unwrap(), "three");

        proxy.black_hole().await;
        let mut new = connect(&proxy).await;
        assert!(tokio::time::timeout(SILENCE, ask(&mut old, "four")).await.is_err());
        assert!(tokio::time::timeout(SILENCE, ask(&mut new, "four")).await.is_err());
        proxy.forward().await;
        assert_eq!(hear(&mut new, 4).await.unwrap(), "four", "what was on its way arrives when the network has healed");
        assert_eq!(proxy.connections(), 3);
    });
}

#[test]
fn a_reset_is_told_from_a_cut() {
    within(LIMIT, async {
        let proxy = Proxy::to(echo().await).await;
        let mut client = connect(&proxy).await;
        ask(&mut client, "one").await.unwrap();
        proxy.reset().await;
        assert_eq!(hear(&mut client, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

        // Also by the server's side.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap()).await;
        let mut client = connect(&proxy).await;
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"here").await.unwrap();
        hear(&mut server, 4).await.unwrap();
        proxy.reset().await;
        assert_eq!(hear(&mut server, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn each_direction_is_stalled_by_itself() {
    within(LIMIT, async {
        let proxy = Proxy::to(echo().await).await;
        let mut client = connect(&proxy).await;
        let question = "one".len() as u64;

        proxy.stall(Toward::Client).await;
        assert!(tokio::time::timeout(SILENCE, ask(&mut client, "one")).await.is_err());
        assert_eq!((proxy.bytes(Toward::Server), proxy.bytes(Toward::Client)), (question, 0));
        proxy.forward().await;
        assert_eq!(hear(&mut client, 3).await.unwrap(), "one");

        proxy.stall(Toward::Server).await;
        assert!(tokio::time::timeout(SILENCE, ask(&mut client, "two")).await.is_err());
        assert_eq!((proxy.bytes(Toward::Server), proxy.bytes(Toward::Client)), (question, question));
        proxy.forward().await;
        assert_eq!(hear(&mut client, 3).await.unwrap(), "two");
        assert_eq!((proxy.bytes(Toward::Server), proxy.bytes(Toward::Client)), (2 * question, 2 * question));
    });
}

/// A distant server is late, and not slow: what is sent in many pieces is not late once for each.
#[test]
fn a_delay_is_of_every_piece_and_not_added_up() {
    within(LIMIT, async {
        let proxy = Proxy::to(echo().await).await;
        let mut client = connect(&proxy).await;
        proxy.delay(Duration::from_millis(50)).await;
        let start = Instant::now();
        assert_eq!(ask(&mut client, "one").await.unwrap(), "one");
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());

        let (mut from, mut to) = client.split();
        let long = vec![b'x'; 1 << 20];
        let start = Instant::now();
        let mut back = vec![0; long.len()];
        let (sent, received) = tokio::join!(to.write_all(&long), from.read_exact(&mut back));
        sent.unwrap();
        received.unwrap();
        // 64 pieces of 100 ms would be more than 6 s.
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());

        proxy.forward().await;
        proxy.impose(Fault::Delay(Toward::Client, SILENCE)).await;
        let heard = proxy.bytes(Toward::Server);
        to.write_all(b"two").await.unwrap();
        let arrives = async || (proxy.bytes(Toward::Server) > heard).then(Instant::now);
        let start = Instant::now();
        let arrived = eventually("it arrives", PATIENCE, arrives).await;
        from.read_exact(&mut [0; 3]).await.unwrap();
        assert!(arrived - start < SILENCE, "{:?}", arrived - start);
        assert!(start.elapsed() >= SILENCE, "{:?}", start.elapsed());
    });
}

#[test]
fn a_connection_is_cut_after_so_many_bytes() {
    within(LIMIT, async {
        let proxy = Proxy::to(echo().await).await;
        for toward in [Toward::Server, Toward::Client] {
            let trap = proxy.set(Trap::at(5, Fault::Cut).toward(toward));
            let passed = proxy.bytes(toward);
            let mut client = connect(&proxy).await;
            assert_eq!(ask(&mut client, "abc").await.unwrap(), "abc");
            assert!(ask(&mut client, "def").await.is_err());
            trap.until_sprung().await;
            assert_eq!(proxy.bytes(toward) - passed, 5, "{toward:?}");
            let mut other = connect(&proxy).await;
            assert_eq!(ask(&mut other, "abcdef").await.unwrap(), "abcdef", "it strikes once");
        }
    });
}

/// A session of PostgreSQL through the proxy, with a table to write to; a second one looks past the proxy.
struct Sessions {
    proxy: Proxy,
    database: TestDatabase,
    observer: tokio_postgres::Client,
}

impl Sessions {
    async fn start() -> Result<Self, tests::Skip> {
        let database = database(Backend::Postgres).await?;
        let proxy = Proxy::to_url(&database.url).await;
        let observer = session(&database.url).await;
        observer.batch_execute("CREATE TABLE notes (note text)").await.unwrap();
        Ok(Self { proxy, database, observer })
    }

    async fn through_the_proxy(&self) -> tokio_postgres::Client {
        session(&self.proxy.url(&self.database.url)).await
    }

    async fn notes(&self) -> i64 {
        self.observer.query_one("SELECT count(*) FROM notes", &[]).await.unwrap().get(0)
    }

    /// Writes a note in a transaction, and tells whether the commit was answered.
    async fn note(&self) -> Result<(), tokio_postgres::Error> {
        let client = self.through_the_proxy().await;
        client.batch_execute("BEGIN").await.unwrap();
        client.execute("INSERT INTO notes VALUES ($1)", &[&"note"]).await.unwrap();
        client.batch_execute("COMMIT").await
    }
}

#[test]
fn a_cut_before_a_commit_loses_it_and_one_after_it_loses_the_answer() {
    within(LIMIT, async {
        let sessions = or_skip!(Sessions::start().await);
        let proxy = &sessions.proxy;
        let commits = proxy.count("COMMIT");
        sessions.note().await.unwrap();
        assert_eq!(sessions.notes().await, 1);

        for fault in [Fault::Cut, Fault::Reset] {
            let trap = proxy.set(Trap::before("COMMIT", fault));
            sessions.note().await.unwrap_err();
            assert_eq!((trap.sprung(), sessions.notes().await), (1, 1));
        }
        let mut kept = 1;
        for fault in [Fault::Cut, Fault::Reset] {
            let trap = proxy.set(Trap::after("COMMIT", fault));
            sessions.note().await.unwrap_err();
            kept += 1;
            // The trap springs when the server answers: it has committed.
            assert_eq!((trap.sprung(), sessions.notes().await), (1, kept));
        }
        assert_eq!(commits.seen(), 5, "what was said counts, whatever came of it");
        let trap = proxy.set(Trap::before("COMMIT", Fault::Cut).skip(1).every_time());
        sessions.note().await.unwrap();
        sessions.note().await.unwrap_err();
        sessions.note().await.unwrap_err();
        trap.end();
        sessions.note().await.unwrap();
        assert_eq!((trap.seen(), trap.sprung()), (3, 2));
    });
}

#[test]
fn an_answer_is_held_back_until_the_network_heals() {
    within(LIMIT, async {
        let sessions = or_skip!(Sessions::start().await);
        let trap = sessions.proxy.set(Trap::after("COMMIT", Fault::Stall(Toward::Client)));
        let healing = async {
            trap.until_sprung().await;
            assert_eq!(sessions.notes().await, 1);
            sessions.proxy.forward().await;
        };
        let (answer, ()) = tokio::join!(sessions.note(), healing);
        answer.unwrap();

        // A server that goes down with a commit is not reached again.
        sessions.proxy.set(Trap::before("COMMIT", Fault::Refuse));
        sessions.note().await.unwrap_err();
        let refused = async || TcpStream::connect(sessions.proxy.address()).await.err();
        assert_eq!(eventually("it is refused", PATIENCE, refused).await.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(sessions.notes().await, 1);
    });
}

/// The text of a statement passes once on each connection, the values of its parameters every time.
#[test]
fn what_a_client_says_is_counted() {
    within(LIMIT, async {
        let sessions = or_skip!(Sessions::start().await);
        let [texts, values] = ["INSERT INTO notes", "a marked value"].map(|said| sessions.proxy.count(said));
        let errors = sessions.proxy.set(Trap::after("22012", Fault::Cut).toward(Toward::Client));
        let client = sessions.through_the_proxy().await;
        let insert = client.prepare("INSERT INTO notes VALUES ($1)").await.unwrap();
        for _ in 0..3 {
            client.execute(&insert, &[&"a marked value"]).await.unwrap();
        }
        assert_eq!((texts.seen(), values.seen()), (1, 3));
        // What the server says springs traps as well: this error is heard as far as its code, and then no more.
        let error = client.query_one("SELECT 1 / 0", &[]).await.unwrap_err();
        assert_eq!((errors.sprung(), error.code()), (1, None));
        eventually("the connection is closed", PATIENCE, async || client.is_closed().then_some(())).await;
    });
}

#[test]
fn a_schedule_follows_from_its_seed() {
    let played = |seed| Schedule::seeded(seed).take(100).collect::<Vec<_>>();
    assert_eq!(played(1), played(1));
    assert_ne!(played(1), played(2));
}

/// Each client asks until it was answered often enough, on new connections where it must.
#[test]
fn clients_that_try_again_survive_a_schedule() {
    within(LIMIT, async {
        const CLIENTS: usize = 4;
        const ANSWERS: usize = 50;
        let proxy = Proxy::to(echo().await).await;
        let client = async |name: usize| {
            let (mut answers, mut failures) = (0, 0);
            while answers < ANSWERS {
                let Ok(mut connection) = TcpStream::connect(proxy.address()).await else {
                    failures += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                while answers < ANSWERS {
                    let question = format!("{name} {answers}");
                    match tokio::time::timeout(SILENCE / 4, ask(&mut connection, &question)).await {
                        Ok(Ok(answer)) => assert_eq!(answer, question),
                        _ => break,
                    }
                    answers += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                failures += usize::from(answers < ANSWERS);
            }
            failures
        };
        let faults = proxy.play(Schedule::seeded(7));
        let failures = tokio::select! {
            () = faults => unreachable!("a schedule has no end"),
            failures = join_all((0..CLIENTS).map(client)) => failures,
        };
        assert!(failures.iter().all(|&failures| failures > 0), "{failures:?}");
        proxy.forward().await;
        eventually("connections are closed", PATIENCE, async || (proxy.open_connections() == 0).then_some(())).await;
    });
}

async fn session(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn ask(client: &mut TcpStream, question: &str) -> Result<String, Error> {
    client.write_all(question.as_bytes()).await?;
    hear(client, question.len()).await
}

async fn hear(client: &mut TcpStream, length: usize) -> Result<String, Error> {
    let mut answer = vec![0; length];
    client.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}
