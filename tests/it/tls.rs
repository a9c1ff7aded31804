//! The connection to PostgreSQL is encrypted, and the server is who it says it is.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use domain::{Sql, Store, StoreOptions, SystemClock, Unavailable};
use tests::{Authority, Postgres, TestDatabase, app::Launch, or_skip, run::LIMIT, within};

use crate::fixture::{open, options, tag, unavailable};

/// Where the servers of the tests are found.
const HOST: &str = "127.0.0.1";

fn with_mode(database: &TestDatabase, mode: &str, root: Option<&Path>) -> StoreOptions {
    let root = root.map(|root| format!("&sslrootcert={}", root.display())).unwrap_or_default();
    options(&format!("{}?sslmode={mode}{root}", database.url))
}

/// What opening a store fails with; it has to, before the time is over that it would try again.
async fn refused(options: &StoreOptions) -> Unavailable {
    let start = Instant::now();
    let refused = unavailable(Store::connect(options, SystemClock).await);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    refused
}

async fn is_encrypted(store: &Store) -> bool {
    let session = Sql::new("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    store.query(session).await.unwrap().column::<bool>("ssl").unwrap()[0]
}

#[test]
fn plaintext_is_refused_by_a_server_that_requires_encryption() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private_with_tls(&Authority::new().certify(HOST)).await);
        let database = server.database().await;
        assert_eq!(refused(&with_mode(&database, "disable", None)).await, Unavailable::Authentication);
        // Where nothing is said, encryption is used if the server offers it.
        for options in [options(&database.url), with_mode(&database, "prefer", None)] {
            let store = open(&options).await;
            assert!(is_encrypted(&store).await);
            store.close().await;
        }
    });
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_name() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Postgres::private_with_tls(&authority.certify(HOST)).await);
        let database = server.database().await;
        for mode in ["verify-full", "verify-ca"] {
            let store = open(&with_mode(&database, mode, Some(&authority.root()))).await;
            assert!(is_encrypted(&store).await);
            tag(&store, mode).await;
            store.close().await;

            // Another authority's, and nobody's that the machine knows.
            let other = Authority::new();
            for root in [Some(other.root()), None] {
                let options = with_mode(&database, mode, root.as_deref());
                assert_eq!(refused(&options).await, Unavailable::Authentication, "{mode} {root:?}");
            }
        }
    });
}

#[test]
fn a_certificate_for_another_name_is_refused_by_who_asks_for_the_name() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Postgres::private_with_tls(&authority.certify("elsewhere.example")).await);
        let database = server.database().await;
        let root = authority.root();
        assert_eq!(refused(&with_mode(&database, "verify-full", Some(&root))).await, Unavailable::Authentication);
        assert!(is_encrypted(&open(&with_mode(&database, "verify-ca", Some(&root))).await).await);
    });
}

#[test]
fn a_certificate_that_is_no_longer_valid_is_refused() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Postgres::private_with_tls(&authority.certify_expired(HOST)).await);
        let database = server.database().await;
        let root = authority.root();
        for mode in ["verify-full", "verify-ca"] {
            assert_eq!(refused(&with_mode(&database, mode, Some(&root))).await, Unavailable::Authentication);
        }
    });
}

/// Who asked for encryption does not go on without it.
#[test]
fn a_server_that_does_not_encrypt_is_refused_by_who_asks_for_it() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        for mode in ["require", "verify-ca", "verify-full"] {
            let refused = refused(&with_mode(&database, mode, None)).await;
            assert_eq!(refused, Unavailable::Authentication, "{mode}");
        }
        assert!(!is_encrypted(&open(&options(&database.url)).await).await);
    });
}

#[test]
fn the_service_encrypts_as_db_ssl_says() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Postgres::private_with_tls(&authority.certify(HOST)).await);
        let database = server.database().await;
        let (name, port) = (database.url.rsplit('/').next().unwrap(), server.address().port().to_string());
        let launch = |ssl: &str, root: &Path| {
            let root = root.to_str().unwrap();
            let parts = [("DB_HOST", HOST), ("DB_PORT", &port), ("DB_NAME", name), ("DB_SSL", ssl)];
            Launch::default().environment(&parts).environment(&[("PGSSLROOTCERT", root)])
        };
        let app = launch("verify-full", &authority.root()).start().await;
        let created = app.client().post(app.url("/v1/tags")).json(&serde_json::json!({"name": "safe"})).send().await;
        assert_eq!(created.unwrap().status(), 201);

        for (ssl, root) in [("false", authority.root()), ("verify-full", Authority::new().root())] {
            let doctor = launch(ssl, &root).run(&["doctor"]).await;
            assert_eq!(doctor.code(), Some(1), "{doctor:?}");
            assert!(doctor.stdout.contains("fail  database   reachable"), "{doctor:?}");
        }
    });
}
