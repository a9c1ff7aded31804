//! The run: what all tests of one call share, and what ends with it.
//!
//! Under nextest every test is a process of its own and the run belongs to the runner, their parent; under `cargo test`
//! all tests are threads of one process, and that is the run. Either way the run has a folder for its databases and its
//! shared server. A small shell, the keeper, watches the run's owner and cleans up when it is gone, also when it was
//! killed. This file is the only one that reads the environment for the harness's own settings.

use std::{
    fmt,
    fs::{self, File, Permissions},
    io::Write,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, parent_id},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

/// How long a test may take unless it says otherwise.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What makes tests reach the databases of the shared PostgreSQL server through PgBouncer, when it is `pgbouncer`.
pub const THROUGH: &str = "SEABED_TESTS_THROUGH";

/// What makes tests use the databases of the shared PostgreSQL server as the role that a service has in production, when
/// it is `app`. What prepares and looks behind its back stays a superuser.
pub const AS: &str = "SEABED_TESTS_AS";

/// One call of the test runner.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    owner: u32,
    /// Keeps the folder; none in a process that joined when it was kept already.
    _keeper: Option<Child>,
}

/// Only one process at a time holds it; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Run {
    /// The run that this test belongs to.
    pub fn current() -> &'static Self {
        static CURRENT: LazyLock<Run> = LazyLock::new(Run::join);
        &CURRENT
    }

    /// Where everything temporary goes; any user may pass through it, so that a server's user can.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process whose end is the end of the run.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// A new folder inside of the run's.
    pub fn new_folder(&self, prefix: &str) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(&self.folder).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// Waits until this process alone may do what the lock is about.
    pub fn lock(&self, about: &str) -> Lock {
        let file = File::create(self.folder.join(about).with_extension("lock")).unwrap();
        file.lock().unwrap();
        Lock { _file: file }
    }

    /// Keeps a folder, and a command running, until the run ends.
    pub fn keep(&self, folder: &Path, command: Option<&Command>) -> Child {
        let mut keeper = Command::new("bash");
        keeper.arg(self.folder.join("keep.sh")).arg(self.owner.to_string()).arg(folder);
        if let Some(command) = command {
            keeper.arg(command.get_program()).args(command.get_args());
        }
        // A group of its own, so that what ends a test's group, or Ctrl-C, does not end it before its work is done. Out
        // of the runner's pipes, so that nobody waits for it.
        let keeper = keeper.process_group(0).current_dir("/");
        let keeper = keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut kept = File::options().create(true).append(true).open(self.folder.join("kept")).unwrap();
        writeln!(kept, "{} {}", keeper.id(), folder.display()).unwrap();
        keeper
    }

    fn join() -> Self {
        let temporary = std::env::temp_dir();
        let (folder, owner) = match std::env::var_os("NEXTEST_RUN_ID") {
            Some(id) => (temporary.join(format!("seabed-tests-{}", id.display())), parent_id()),
            None => {
                let folder = tempfile::Builder::new().prefix("seabed-tests-").tempdir_in(temporary).unwrap();
                (folder.keep(), std::process::id())
            }
        };
        fs::create_dir_all(&folder).unwrap();
        let mut run = Self { folder, owner, _keeper: None };
        let _lock = run.lock("run");
        if !run.folder.join("kept").exists() {
            fs::set_permissions(&run.folder, Permissions::from_mode(0o755)).unwrap();
            fs::write(run.folder.join("keep.sh"), include_str!("keep.sh")).unwrap();
            run._keeper = Some(run.keep(&run.folder, None));
        }
        run
    }
}

/// Whether a test that cannot run must fail.
pub fn skips_are_forbidden() -> bool {
    std::env::var_os("SEABED_TESTS_NO_SKIP").is_some_and(|value| value != "0" && !value.is_empty())
}

/// Whether tests use the databases of the shared server as the role of the service.
pub(crate) fn goes_as_application() -> bool {
    std::env::var_os(AS).is_some_and(|value| value == "app")
}

/// A folder with PostgreSQL's programs to be used before all others.
pub(crate) fn postgres_folder() -> Option<PathBuf> {
    std::env::var_os("SEABED_POSTGRES_BIN").map(PathBuf::from)
}

/// A folder with PgBouncer to be used before all others.
pub(crate) fn pgbouncer_folder() -> Option<PathBuf> {
    std::env::var_os("SEABED_PGBOUNCER_BIN").map(PathBuf::from)
}

/// A folder with Redis to be used before all others.
pub(crate) fn redis_folder() -> Option<PathBuf> {
    std::env::var_os("SEABED_REDIS_BIN").map(PathBuf::from)
}

/// A folder with MongoDB's server to be used before all others.
pub(crate) fn mongod_folder() -> Option<PathBuf> {
    std::env::var_os("SEABED_MONGOD_BIN").map(PathBuf::from)
}

/// Where `tests/run` keeps the one that it has fetched.
pub(crate) fn cached_mongod_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    Some(cache?.join("seabed/mongod-6.0.5"))
}

/// Whether tests reach the databases of the shared PostgreSQL server through a pooler.
pub(crate) fn goes_through_pgbouncer() -> bool {
    match std::env::var_os(THROUGH) {
        None => false,
        Some(value) if value.is_empty() => false,
        Some(value) => {
            assert!(value == "pgbouncer", "{THROUGH} can be `pgbouncer`");
            true
        }
    }
}

/// The service's program to be used instead of the one beside the tests.
pub(crate) fn service_program() -> Option<PathBuf> {
    std::env::var_os("SEABED_BINARY").map(PathBuf::from)
}

/// The cargo that started the tests, as if it were called by hand. What it tells a test about its package is left out,
/// because build scripts that look at it would run again, and nearly everything would be compiled anew; and what the
/// runner tells it, so that tests which this cargo runs are a run of their own.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "NEXTEST"];
    for (name, _) in std::env::vars_os() {
        if told.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// How often something is repeated: a few times as a rule, and many where `SEABED_TESTS_LONG` asks for the long form, as
/// `tests/run --long` does.
pub fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// How long a test with [`rounds`] may take.
pub fn limit(short: Duration) -> Duration {
    if is_long() { short.max(Duration::from_secs(60)) * 60 } else { short }
}

fn is_long() -> bool {
    std::env::var_os("SEABED_TESTS_LONG").is_some()
}

/// What a test may return: nothing, or a result whose error fails it.
pub trait Outcome {
    /// Fails the test if it failed.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: fmt::Debug> Outcome for Result<(), E> {
    #[track_caller]
    fn check(self) {
        if let Err(error) = self {
            panic!("{error:?}");
        }
    }
}

/// Runs a test's body on a runtime with several threads, and fails it when it takes longer than the limit.
pub fn within<T: Outcome>(limit: Duration, body: impl Future<Output = T>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(limit, body).await });
    // What a test leaves running, a blocking call above all, must not keep it from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(outcome) => outcome.check(),
        Err(_) => panic!("the test took longer than {limit:?}"),
    }
}

/// What [`on_both!`](crate::on_both) makes of a body: a test on one database.
#[doc(hidden)]
pub fn run_named<T, F>(
    test: &str,
    limit: Duration,
    backend: crate::Backend,
    body: impl FnOnce(crate::TestDatabase) -> F,
) where
    T: Outcome,
    F: Future<Output = T>,
{
    within(limit, async {
        match crate::database(backend).await {
            Ok(database) => body(database).await.check(),
            Err(skip) => skip.report(test),
        }
    });
}

/// Makes of one body two tests, `name::sqlite` and `name::postgres`, each with a fresh and migrated database.
///
/// Attributes and doc comments are kept. A body that needs more than [`LIMIT`] says so first:
/// `on_both!(within Duration::from_secs(120); async fn name(database: TestDatabase) { .. });`
///
/// ```ignore
/// on_both!(
///     /// Why this must hold.
///     async fn a_user_is_found_again(database: TestDatabase) {
///         let app = TestApp::start(&database).await;
///         let answer = app.client().get(app.url("/v1/users")).send().await.unwrap();
///         assert_eq!(answer.status(), 200);
///     }
/// );
/// ```
#[macro_export]
macro_rules! on_both {
    (
        $(within $limit:expr;)?
        $($(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $(-> $outcome:ty)? $body:block)+
    ) => {
        $crate::on_both!(@limit [$($limit,)? $crate::run::LIMIT]
            $($(#[$attribute])* async fn $name($database: TestDatabase) $(-> $outcome)? $body)+);
    };
    (@limit [$limit:expr $(, $default:expr)?] $($test:tt)+) => {
        $crate::on_both!(@each [$limit] $($test)+);
    };
    (
        @each $limit:tt
        $(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $(-> $outcome:ty)? $body:block
        $($rest:tt)*
    ) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            #[test]
            fn sqlite() {
                $crate::on_both!(@run $limit $crate::Backend::Sqlite, body);
            }

            #[test]
            fn postgres() {
                $crate::on_both!(@run $limit $crate::Backend::Postgres, body);
            }

            async fn body($database: $crate::TestDatabase) $(-> $outcome)? $body
        }
        $crate::on_both!(@each $limit $($rest)*);
    };
    (@each $limit:tt) => {};
    (@run [$limit:expr] $backend:expr, $body:ident) => {
        fn here() {}
        $crate::expansion::run_named(&$crate::expansion::name_of(here), $limit, $backend, $body);
    };
}
