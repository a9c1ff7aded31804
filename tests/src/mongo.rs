//! Private MongoDB servers, on free ports of this machine and in temporary folders.
//!
//! [`shared`] is the one that all tests of a run share, each with databases of its own. [`Mongo::private`] belongs to one
//! test, which may stop, kill and pause it. Both are replica sets of one node, which have transactions;
//! [`Mongo::standalone`] has none.

use std::{
    fs::{self, File, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mongodb::{
    Client,
    bson::{Document, doc},
    options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions},
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    Authority, Signal, Skip,
    process::{self, Running},
    run::{self, Run},
    wait::{self, PATIENCE},
};

/// The first version that has all that is used of it.
const OLDEST: u32 = 6;
const ATTEMPTS: usize = 5;
const REPLICA_SET: &str = "rs0";

/// Settings of every server: small, quick to start and to stop, and willing to fail on command. What has outlived its
/// time is removed every second, and not every minute.
const SETTINGS: &[&str] = &[
    "--bind_ip=127.0.0.1",
    "--nounixsocket",
    "--wiredTigerCacheSizeGB=0.25",
    "--wiredTigerEngineConfigString=log=(file_max=16MB,prealloc=false)",
    "--setParameter=enableTestCommands=1",
    "--setParameter=ttlMonitorSleepSecs=1",
    "--setParameter=diagnosticDataCollectionEnabled=false",
    "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
];

/// The harness's own user, on servers that ask who one is.
const HARNESS: (&str, &str) = ("harness", "any");

/// A MongoDB server that belongs to one test and ends with it.
#[derive(Debug)]
pub struct Mongo {
    server: Server,
    process: Running,
    _folder: TempDir,
}

/// The server that the tests of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    port: u16,
}

/// A user that a server knows.
#[derive(Debug, Clone, Copy)]
pub struct MongoUser<'a> {
    pub name: &'a str,
    pub password: &'a str,
    /// Like `readWriteAnyDatabase`.
    pub role: &'a str,
}

/// A program, where it listens and what it is told.
#[derive(Debug, Clone)]
struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    is_replica_set: bool,
    asks_who: bool,
    /// The certificate of who signed the server's, where it speaks nothing but TLS.
    root: Option<PathBuf>,
}

impl Mongo {
    /// Starts an empty replica set of one node that lets everybody in.
    pub async fn private() -> Result<Self, Skip> {
        Self::prepared(|_| {}).await
    }

    /// Starts a server with settings of the test's own, like `"--maxConns=20"`.
    pub async fn private_with(settings: &[&str]) -> Result<Self, Skip> {
        Self::prepared(|server| server.settings.extend(settings.iter().map(|&setting| setting.to_owned()))).await
    }

    /// Starts a server that belongs to no replica set.
    pub async fn standalone() -> Result<Self, Skip> {
        Self::prepared(|server| server.is_replica_set = false).await
    }

    /// Starts a server that lets these in, and nobody else.
    pub async fn private_with_users(users: &[MongoUser<'_>]) -> Result<Self, Skip> {
        let server = Self::prepared(|server| server.asks_who = true).await?;
        let admin = server.client().await.database("admin");
        for MongoUser { name, password, role } in users {
            admin.run_command(doc! { "createUser": name, "pwd": password, "roles": [role] }).await.unwrap();
        }
        Ok(server)
    }

    /// Starts a server that speaks nothing but TLS, and whose certificate this authority has signed.
    pub async fn private_with_tls(authority: &Authority) -> Result<Self, Skip> {
        Self::prepared(|server| {
            let certificate = authority.certify("127.0.0.1");
            let file = server.write("server.pem", &format!("{}{}", certificate.chain, certificate.key));
            server.settings.extend([
                "--tlsMode=requireTLS".to_owned(),
                format!("--tlsCertificateKeyFile={}", file.display()),
                format!("--tlsCAFile={}", authority.root().display()),
                "--tlsAllowConnectionsWithoutCertificates".to_owned(),
            ]);
            server.root = Some(authority.root());
        })
        .await
    }

    async fn prepared(prepare: impl FnOnce(&mut Server)) -> Result<Self, Skip> {
        let program = find()?;
        let folder = Run::current().new_folder("mongo-");
        let mut server = Server::new(program, folder.path());
        prepare(&mut server);
        let mut mongo = Self { server, process: Running::default(), _folder: folder };
        for _ in 0..ATTEMPTS {
            if mongo.is_ready().await {
                mongo.server.introduce().await;
                return Ok(mongo);
            }
            mongo.server.port = process::free_port();
        }
        panic!("a private MongoDB server did not start:\n{}", mongo.log())
    }

    /// The URI of one of its databases. It leads to this very address, also when a [`Proxy`](crate::Proxy) takes the
    /// server's place.
    pub fn uri(&self, database: &str) -> String {
        uri(self.server.port, database)
    }

    /// The same for a user.
    pub fn uri_as(&self, user: &str, password: &str, database: &str) -> String {
        let address = self.address();
        format!("mongodb://{user}:{password}@{address}/{database}?directConnection=true&authSource=admin")
    }

    /// The URI by which a driver finds the whole replica set.
    pub fn uri_of_set(&self, database: &str) -> String {
        format!("mongodb://{}/{database}?replicaSet={REPLICA_SET}", self.address())
    }

    /// Where it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.port))
    }

    /// A client that may do everything, behind the back of everybody.
    pub async fn client(&self) -> Client {
        self.server.client(self.server.asks_who.then_some(HARNESS))
    }

    /// How many connections there are from clients that call themselves this, by the `appName` of their URI.
    pub async fn connections(&self, app: &str) -> usize {
        connections(&self.client().await, app).await
    }

    /// Lets the next commands fail, like `doc! { "failCommands": ["find"], "errorCode": 112 }` or
    /// `doc! { "failCommands": ["find"], "closeConnection": true }`.
    pub async fn fail(&self, times: u32, how: Document) {
        self.fail_point(doc! { "times": times }, how).await;
    }

    /// Lets commands fail until it is [healed](Self::heal).
    pub async fn fail_always(&self, how: Document) {
        self.fail_point("alwaysOn", how).await;
    }

    /// Ends what [`fail`](Self::fail) and [`fail_always`](Self::fail_always) have begun.
    pub async fn heal(&self) {
        self.fail_point("off", doc! {}).await;
    }

    async fn fail_point(&self, mode: impl Into<mongodb::bson::Bson>, how: Document) {
        let command = doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": how };
        self.client().await.database("admin").run_command(command).await.unwrap();
    }

    /// Starts it again, on the same port and with its data, and waits until it takes writes.
    pub async fn start(&mut self) {
        assert!(self.is_ready().await, "MongoDB did not start again:\n{}", self.log());
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) {
        self.process.end(Signal::TERM);
    }

    /// Kills it, as when the machine loses its power.
    pub async fn kill(&mut self) {
        self.process.end(Signal::KILL);
    }

    /// [`kill`](Self::kill) and [`start`](Self::start).
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// Pauses it: connections stay, or are even accepted by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// What it has logged since it was started.
    pub fn log(&self) -> String {
        self.server.log()
    }

    async fn is_ready(&mut self) -> bool {
        let log = File::create(self.server.folder.join("log")).unwrap();
        let mut command = self.server.command();
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process.start(command);
        let ready = self.server.is_ready(|| self.process.is_running()).await;
        if !ready {
            self.process.end(Signal::KILL);
        }
        ready
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        self.process.end(Signal::KILL);
    }
}

impl Shared {
    /// The URI of one of its databases.
    pub fn uri(&self, database: &str) -> String {
        uri(self.port, database)
    }

    /// The name of a database that nobody else uses; it ends with the server.
    pub fn new_database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A client that may do everything, behind the back of everybody.
    pub async fn client(&self) -> Client {
        client(self.port, None, None)
    }

    /// How many connections there are from clients that call themselves this.
    pub async fn connections(&self, app: &str) -> usize {
        connections(&self.client().await, app).await
    }
}

/// The run's server; the first test to ask starts it.
pub async fn shared() -> Result<Shared, Skip> {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_try_init(find_or_start).await.copied()
}

async fn find_or_start() -> Result<Shared, Skip> {
    let program = find()?;
    let run = Run::current();
    let _lock = run.lock("mongo");
    let note = run.folder().join("mongo.port");
    if let Ok(port) = fs::read_to_string(&note) {
        return Ok(Shared { port: port.parse().unwrap() });
    }
    let folder = run.new_folder("mongo-shared-").keep();
    for _ in 0..ATTEMPTS {
        // A keeper takes the folder with it when its server ends.
        fs::create_dir_all(&folder).unwrap();
        let server = Server::new(program.clone(), &folder);
        let mut keeper = run.keep(&folder, Some(&server.command()));
        if server.is_ready(|| keeper.try_wait().is_ok_and(|status| status.is_none())).await {
            fs::write(&note, server.port.to_string()).unwrap();
            return Ok(Shared { port: server.port });
        }
    }
    panic!("the shared MongoDB server did not start in {}", folder.display())
}

impl Server {
    fn new(program: PathBuf, folder: &Path) -> Self {
        Self {
            program,
            folder: folder.to_owned(),
            port: process::free_port(),
            settings: Vec::new(),
            is_replica_set: true,
            asks_who: false,
            root: None,
        }
    }

    fn command(&self) -> Command {
        let data = self.folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let mut command = process::command(&self.program, None, "KILL");
        command.arg("--dbpath").arg(data).arg("--port").arg(self.port.to_string());
        command.args(SETTINGS).args(&self.settings);
        if self.is_replica_set {
            command.args(["--replSet", REPLICA_SET, "--oplogSize=64"]);
        }
        if self.asks_who {
            // Members of a set have to know each other before they may ask others who they are.
            command.arg("--auth").arg("--keyFile").arg(self.write("key", "the key of the set"));
        }
        command
    }

    /// Waits until it takes writes; false when it ends before.
    async fn is_ready(&self, mut is_running: impl FnMut() -> bool) -> bool {
        let listens = wait::poll(PATIENCE, async || {
            let is_running = is_running();
            (self.log().contains("Waiting for connections") || !is_running).then_some(is_running)
        });
        if listens.await != Some(true) {
            return false;
        }
        let admin = self.client(None).database("admin");
        if self.is_replica_set {
            let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
            let set = doc! { "_id": REPLICA_SET, "members": [member] };
            // One that was started again knows already, or asks first who wants to know.
            admin.run_command(doc! { "replSetInitiate": set }).await.ok();
        }
        let takes_writes = async || {
            let answer = admin.run_command(doc! { "hello": 1 }).await.ok()?;
            answer.get_bool("isWritablePrimary").is_ok_and(|is_primary| is_primary).then_some(())
        };
        wait::poll(PATIENCE, takes_writes).await.is_some()
    }

    /// Makes the harness known, as which the first user may be made by anybody on this machine.
    async fn introduce(&self) {
        if self.asks_who {
            let (name, password) = HARNESS;
            let command = doc! { "createUser": name, "pwd": password, "roles": ["root"] };
            self.client(None).database("admin").run_command(command).await.unwrap();
        }
    }

    fn client(&self, user: Option<(&str, &str)>) -> Client {
        client(self.port, user, self.root.clone())
    }

    /// Writes a file that nobody else may read.
    fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn uri(port: u16, database: &str) -> String {
    format!("mongodb://127.0.0.1:{port}/{database}?directConnection=true")
}

fn client(port: u16, user: Option<(&str, &str)>, root: Option<PathBuf>) -> Client {
    let mut options = ClientOptions::default();
    options.hosts = vec![ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(port) }];
    options.app_name = Some("harness".to_owned());
    options.direct_connection = Some(true);
    options.server_selection_timeout = Some(Duration::from_secs(10));
    options.credential = user.map(|(name, password)| {
        Credential::builder().username(name.to_owned()).password(password.to_owned()).source("admin".to_owned()).build()
    });
    options.tls = root.map(|root| Tls::Enabled(TlsOptions::builder().ca_file_path(root).build()));
    Client::with_options(options).unwrap()
}

async fn connections(client: &Client, app: &str) -> usize {
    let everybody = doc! { "$currentOp": { "allUsers": true, "idleConnections": true } };
    let mut found =
        client.database("admin").aggregate([everybody, doc! { "$match": { "appName": app } }]).await.unwrap();
    let mut count = 0;
    while found.advance().await.unwrap() {
        count += 1;
    }
    count
}

/// The newest one on this machine.
fn find() -> Result<PathBuf, Skip> {
    let folders = match run::mongod_folder() {
        Some(folder) => vec![folder],
        None => process::folders_of_path().into_iter().chain(run::cached_mongod_folder()).collect(),
    };
    let programs = folders.into_iter().map(|folder| folder.join("mongod"));
    match programs.filter_map(|program| Some((version(&program)?, program))).max() {
        Some((version, program)) if version >= OLDEST => Ok(program),
        Some((version, _)) => Err(Skip::because(format!("MongoDB {version} is older than {OLDEST}"))),
        None => Err(Skip::because("MongoDB is not installed (tests/run does it)")),
    }
}

/// The major version, of `db version v6.0.5`.
fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    output.split_once("db version v")?.1.split('.').next()?.parse().ok()
}
