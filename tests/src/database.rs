//! Fresh and migrated databases.
//!
//! A run migrates once per backend; every further database is a copy of that template, made by PostgreSQL's
//! `CREATE DATABASE .. TEMPLATE` or by copying SQLite's file.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use api::{
    command::roles::{self, Outcome, Role, RolesCommand},
    config::Config,
};
use migration::{Migrator, MigratorTrait};
use sea_orm::DatabaseConnection;
use tempfile::TempDir;

use crate::{
    PgBouncer, Skip,
    postgres::{self, Postgres, Shared, TEMPLATE},
    run::{self, Run},
};

/// The databases that everything relational must work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// A migrated database of one test's own, removed when dropped.
#[derive(Debug)]
pub struct TestDatabase {
    /// What `DATABASE_URL` is to be.
    pub url: String,
    /// Where everything may be done, as a superuser.
    behind: String,
    backend: Backend,
    _cleanup: Cleanup,
}

#[derive(Debug)]
enum Cleanup {
    Sqlite { _folder: TempDir },
    Postgres { server: Shared, name: String, _pooler: Option<Box<PgBouncer>> },
    WithServer,
}

/// A fresh and migrated database.
pub async fn database(backend: Backend) -> Result<TestDatabase, Skip> {
    match backend {
        Backend::Sqlite => Ok(sqlite().await),
        Backend::Postgres => on_shared_server().await,
    }
}

impl TestDatabase {
    /// Which database it is, for the few tests that must know.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// A connection behind the back of what is tested, to prepare and to look.
    pub async fn connect(&self) -> DatabaseConnection {
        connect(&self.behind).await
    }

    /// Makes its roles, as `roles create` does.
    pub async fn make_roles(&self) -> Outcome {
        let environment = [("DATABASE_URL".to_owned(), self.behind.clone())];
        let config = Config::read(environment.into_iter(), Path::new("/nowhere")).unwrap();
        roles::run(RolesCommand::Create { new_passwords: false }, &config).await.unwrap()
    }

    /// Its address as a superuser, past any pooler.
    pub fn url_as_superuser(&self) -> &str {
        &self.behind
    }

    /// Its address as one of its roles; the servers of tests ask nobody for a password.
    pub fn url_as(&self, role: Role) -> String {
        let mut url = url::Url::parse(&self.behind).unwrap();
        let name = role.name(url.path().trim_start_matches('/'));
        url.set_username(&name).unwrap();
        url.into()
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Self::Postgres { server, name, .. } = self {
            let (server, name) = (*server, std::mem::take(name));
            // On a thread with a runtime of its own, because the test's cannot be waited for in here.
            let removal = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let removal = server.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                runtime.block_on(async { tokio::time::timeout(postgres::STATEMENT_LIMIT, removal).await })
            });
            // It failing must not hide why the test failed; the server's end removes the database in any case.
            removal.join().ok();
        }
    }
}

pub(crate) async fn on_private_server(server: &Postgres) -> TestDatabase {
    let name = new_name();
    server.execute(format!("CREATE DATABASE {name}")).await;
    let url = server.url(&name);
    migrate(&url).await;
    TestDatabase { behind: url.clone(), url, backend: Backend::Postgres, _cleanup: Cleanup::WithServer }
}

/// Makes the database that the others are copied from.
pub(crate) async fn create_template(port: u16) {
    postgres::execute(port, format!("CREATE DATABASE {TEMPLATE}")).await;
    migrate(&postgres::url(port, TEMPLATE)).await;
    // Nobody may connect to it any more, not even autovacuum: it could not be copied meanwhile.
    postgres::execute(port, format!("ALTER DATABASE {TEMPLATE} IS_TEMPLATE true ALLOW_CONNECTIONS false")).await;
}

async fn on_shared_server() -> Result<TestDatabase, Skip> {
    let server = postgres::shared().await?;
    let pooler = if run::goes_through_pgbouncer() { Some(PgBouncer::before(server.address()).await?) } else { None };
    let name = new_name();
    server.execute(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await;
    let direct = server.url(&name);
    let url = pooler.as_ref().map_or(direct.clone(), |pooler| pooler.url(&direct));
    let cleanup = Cleanup::Postgres { server, name, _pooler: pooler.map(Box::new) };
    let mut database = TestDatabase { url, behind: direct, backend: Backend::Postgres, _cleanup: cleanup };
    if run::goes_as_application() {
        database.make_roles().await;
        database.url = database.url_as(Role::App);
    }
    Ok(database)
}

async fn sqlite() -> TestDatabase {
    let run = Run::current();
    let template = run.folder().join("template.sqlite");
    if !template.exists() {
        let _lock = run.lock("sqlite");
        if !template.exists() {
            // Under its name only when it is complete.
            let unfinished = template.with_extension("unfinished");
            migrate(&sqlite_url(&unfinished)).await;
            fs::rename(unfinished, &template).unwrap();
        }
    }
    let folder = run.new_folder("sqlite-");
    let file = folder.path().join("test.sqlite");
    fs::copy(template, &file).unwrap();
    let url = sqlite_url(&file);
    TestDatabase { behind: url.clone(), url, backend: Backend::Sqlite, _cleanup: Cleanup::Sqlite { _folder: folder } }
}

fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}?mode=rwc", file.display())
}

async fn migrate(url: &str) {
    let database = connect(url).await;
    Migrator::up(&database, None).await.unwrap();
    database.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the harness connects past the store on purpose")]
async fn connect(url: &str) -> DatabaseConnection {
    sea_orm::Database::connect(url).await.unwrap()
}

/// A name that no other test of the run has.
fn new_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
