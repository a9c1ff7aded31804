//! Private PostgreSQL servers, on free ports of this machine and in temporary folders.
//!
//! [`shared`] is the one that all tests of a run share, each with databases of its own. [`Postgres::private`] belongs to
//! one test, which may stop, kill and pause it.

use std::{
    fs::{self, File, Permissions},
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    Signal, Skip, TestDatabase, database,
    process::{self, User},
    run::{self, Run},
    small_disk::SmallDisk,
    wait::{self, PATIENCE},
};

mod tls;

const OLDEST: u32 = 15;
const ATTEMPTS: usize = 5;

/// Settings of every server. Durability against a crash of the machine is of no use to a test; against a crash of the
/// server it still holds, because what was written is in the kernel's hands.
const SETTINGS: &[&str] = &["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"];

/// A PostgreSQL server that belongs to one test and ends with it.
#[derive(Debug)]
pub struct Postgres {
    cluster: Cluster,
    server: Option<Child>,
    _folder: TempDir,
}

/// The server that the tests of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    port: u16,
}

/// The programs of one installation, and the user that they run as.
#[derive(Debug, Clone)]
struct Installation {
    folder: PathBuf,
    user: Option<User>,
}

/// A data folder, and where its server listens.
#[derive(Debug)]
struct Cluster {
    installation: Installation,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    disk: Option<SmallDisk>,
}

impl Postgres {
    /// Starts a server with an empty database `postgres`.
    pub async fn private() -> Result<Self, Skip> {
        Self::private_with(&[]).await
    }

    /// Starts a server with settings of the test's own, like `"max_connections=20"`.
    pub async fn private_with(settings: &[&str]) -> Result<Self, Skip> {
        Self::prepared(|cluster| cluster.settings.extend(settings.iter().map(|&setting| setting.to_owned()))).await
    }

    /// Starts a server that keeps tables and indexes, and not its log, on a disk of this size.
    pub async fn private_on_small_disk(mebibytes: u32) -> Result<Self, Skip> {
        SmallDisk::check()?;
        let server = Self::prepared(|cluster| {
            let user = cluster.installation.user.as_ref();
            cluster.disk = Some(SmallDisk::on(cluster.folder.join("disk"), mebibytes, user));
        })
        .await?;
        let folder = server.disk().folder().display();
        server.execute(format!("CREATE TABLESPACE small LOCATION '{folder}'")).await;
        server.execute("ALTER SYSTEM SET default_tablespace = small").await;
        server.execute("SELECT pg_reload_conf()").await;
        Ok(server)
    }

    /// Starts a server whose data folder was prepared for it.
    async fn prepared(prepare: impl FnOnce(&mut Cluster)) -> Result<Self, Skip> {
        let installation = Installation::find()?;
        let folder = Run::current().new_folder("postgres-");
        let mut cluster = Cluster::create(installation, folder.path()).await;
        prepare(&mut cluster);
        let mut server = Self { cluster, server: None, _folder: folder };
        for _ in 0..ATTEMPTS {
            server.spawn();
            if server.is_ready().await {
                return Ok(server);
            }
            server.cluster.port = process::free_port();
        }
        panic!("a private PostgreSQL server did not start:\n{}", server.log())
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.cluster.port, database)
    }

    /// Where it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.cluster.port))
    }

    /// A fresh and migrated database on this server.
    pub async fn database(&self) -> TestDatabase {
        database::on_private_server(self).await
    }

    /// Runs statements as the superuser, in the database `postgres`, behind the back of everybody.
    pub async fn execute(&self, statements: impl Into<String>) {
        execute(self.cluster.port, statements).await;
    }

    /// Starts it again, on the same port and with its data, and waits until it answers.
    pub async fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        self.spawn();
        assert!(self.is_ready().await, "PostgreSQL did not start again:\n{}", self.log());
    }

    /// Stops it in good order: sessions are ended, and what was committed is written.
    pub async fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills it and all its sessions at once, as when the machine loses its power.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// [`stop`](Self::stop) and [`start`](Self::start).
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Pauses it and all its sessions: connections stay, or are even accepted by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Leaves no byte free on its [small disk](Self::private_on_small_disk).
    pub fn fill_disk(&self) {
        self.disk().fill(self.id());
    }

    /// Frees what [`fill_disk`](Self::fill_disk) has taken.
    pub fn free_disk(&self) {
        self.disk().free(self.id());
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.cluster.folder.join("log")).unwrap_or_default()
    }

    fn disk(&self) -> &SmallDisk {
        self.cluster.disk.as_ref().expect("the server has a small disk")
    }

    fn id(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.cluster.folder.join("log")).unwrap();
        let mut command = self.cluster.command();
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(process::spawn(command).unwrap());
    }

    async fn is_ready(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let ready = answers(self.cluster.port, || server.try_wait().is_ok_and(|status| status.is_none())).await;
        if !ready {
            self.end(Signal::KILL);
        }
        ready
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        let sessions = process::children(server.id());
        process::signal(server.id(), signal);
        if signal == Signal::KILL {
            // Sessions that outlive their postmaster keep its shared memory, and a new one refuses to start.
            sessions.iter().for_each(|&session| process::signal(session, Signal::KILL));
        }
        process::signal(server.id(), Signal::CONT);
        sessions.iter().for_each(|&session| process::signal(session, Signal::CONT));
        process::end(&mut server, PATIENCE).unwrap();
        wait::poll_blocking(PATIENCE, || (!sessions.iter().any(|&session| process::is_alive(session))).then_some(()));
    }

    fn signal_all(&self, signal: Signal) {
        if let Some(server) = &self.server {
            // The postmaster first, so that it starts no session that would be missed.
            process::signal(server.id(), signal);
            process::children(server.id()).into_iter().for_each(|session| process::signal(session, signal));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

impl Shared {
    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Runs statements as the superuser, in the database `postgres`, behind the back of everybody.
    pub async fn execute(&self, statements: impl Into<String>) {
        execute(self.port, statements).await;
    }
}

/// The run's server, with the migrated template database `template` in it; the first test to ask starts it.
pub async fn shared() -> Result<Shared, Skip> {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_try_init(find_or_start).await.copied()
}

/// One of PostgreSQL's own programs, such as `pg_dump`, of the version of the servers.
pub fn program(name: &str) -> Result<Command, Skip> {
    let folder = Installation::find()?.folder;
    // Where links lead from a folder that has the servers' programs only.
    let real = fs::canonicalize(folder.join("postgres")).ok().and_then(|server| Some(server.parent()?.join(name)));
    let found = [Some(folder.join(name)), real].into_iter().flatten().find(|program| program.is_file());
    Ok(Command::new(found.unwrap_or_else(|| name.into())))
}

/// The name of the database that the others are copied from.
pub(crate) const TEMPLATE: &str = "template";

async fn find_or_start() -> Result<Shared, Skip> {
    let installation = Installation::find()?;
    let run = Run::current();
    let _lock = run.lock("postgres");
    let note = run.folder().join("postgres.port");
    if let Ok(port) = fs::read_to_string(&note) {
        return Ok(Shared { port: port.parse().unwrap() });
    }
    let folder = run.new_folder("postgres-shared-").keep();
    let mut cluster = Cluster::create(installation, &folder).await;
    for _ in 0..ATTEMPTS {
        let mut keeper = run.keep(&folder, Some(&cluster.command()));
        if answers(cluster.port, || keeper.try_wait().is_ok_and(|status| status.is_none())).await {
            database::create_template(cluster.port).await;
            fs::write(&note, cluster.port.to_string()).unwrap();
            return Ok(Shared { port: cluster.port });
        }
        // A keeper takes the folder with it when its server ends.
        fs::create_dir_all(&folder).unwrap();
        cluster = Cluster::create(cluster.installation, &folder).await;
    }
    panic!("the shared PostgreSQL server did not start in {}", folder.display())
}

impl Installation {
    /// The newest one on this machine.
    fn find() -> Result<Self, Skip> {
        let folders = match run::postgres_folder() {
            Some(folder) => vec![folder],
            None => {
                let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
                process::folders_of_path()
                    .into_iter()
                    .chain(packaged.map(|version| version.path().join("bin")))
                    .collect()
            }
        };
        let newest = folders.into_iter().filter_map(|folder| Some((version(&folder)?, folder))).max();
        let folder = match newest {
            Some((version, folder)) if version >= OLDEST => folder,
            Some((version, _)) => return Err(Skip::because(format!("PostgreSQL {version} is older than {OLDEST}"))),
            None => return Err(Skip::because("PostgreSQL is not installed (apt-get install postgresql-15)")),
        };
        Ok(Self { folder, user: User::of_servers()? })
    }

    fn program(&self, name: &str) -> Command {
        process::command(&self.folder.join(name), self.user.as_ref(), "QUIT")
    }
}

/// The major version of the installation in a folder, if it can make and run servers.
fn version(folder: &Path) -> Option<u32> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let version = output.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

impl Cluster {
    async fn create(installation: Installation, folder: &Path) -> Self {
        if let Some(user) = &installation.user {
            chown(folder, Some(user.uid), Some(user.gid)).unwrap();
        }
        let mut initdb = installation.program("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--locale=C.UTF-8", "--encoding=UTF8"]);
        initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(folder.join("data"));
        initdb.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = process::spawn(initdb).unwrap();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let settings = SETTINGS.iter().map(|&setting| setting.to_owned()).collect();
        Self { installation, folder: folder.to_owned(), port: process::free_port(), settings, disk: None }
    }

    fn command(&self) -> Command {
        let mut command = self.installation.program("postgres");
        command.arg("-D").arg(self.folder.join("data")).arg("-p").arg(self.port.to_string());
        command.arg("-c").arg(format!("unix_socket_directories={}", self.folder.display()));
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        match &self.disk {
            Some(disk) => disk.mounted_for(&command, "QUIT"),
            None => command,
        }
    }

    /// Writes a file that only the server's user may read.
    fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if let Some(user) = &self.installation.user {
            chown(&path, Some(user.uid), Some(user.gid)).unwrap();
        }
        path
    }
}

/// Waits until a server answers; false when it ends before.
async fn answers(port: u16, mut is_running: impl FnMut() -> bool) -> bool {
    let address = url(port, "postgres");
    let probe = async || match PgConnection::connect(&address).await {
        // Another server may have taken the port, and ours has ended.
        Ok(connection) => {
            connection.close().await.ok();
            Some(is_running())
        }
        Err(_) => (!is_running()).then_some(false),
    };
    wait::poll(PATIENCE, probe).await.unwrap_or(false)
}

pub(crate) async fn execute(port: u16, statements: impl Into<String>) {
    let mut connection = PgConnection::connect(&url(port, "postgres")).await.unwrap();
    connection.execute(AssertSqlSafe(statements.into())).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// How long one statement of the harness itself may take.
pub(crate) const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
