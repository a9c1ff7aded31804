//! Private PgBouncers: poolers before a PostgreSQL server, on free ports of this machine.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    Signal, Skip,
    process::{self, Running, User},
    proxy,
    run::{self, Run},
    wait::{self, PATIENCE},
};

/// The first version that knows prepared statements in transaction mode.
const OLDEST: (u32, u32) = (1, 21);
const ATTEMPTS: usize = 5;

/// Settings of every PgBouncer. Whoever can reach it may do everything, as on the servers of the tests.
const SETTINGS: &[&str] = &[
    "listen_addr=127.0.0.1",
    "unix_socket_dir=",
    "auth_type=trust",
    "pool_mode=transaction",
    "max_prepared_statements=200",
    "ignore_startup_parameters=extra_float_digits,options",
    "max_client_conn=1000",
];

/// A PgBouncer that belongs to one test and ends with it.
#[derive(Debug)]
pub struct PgBouncer {
    program: PathBuf,
    user: Option<User>,
    server: SocketAddr,
    settings: Vec<String>,
    address: SocketAddr,
    process: Running,
    folder: TempDir,
}

impl PgBouncer {
    /// Starts one before a server, in transaction mode and with prepared statements.
    pub async fn before(server: SocketAddr) -> Result<Self, Skip> {
        Self::before_with(server, &[]).await
    }

    /// Starts one with settings of the test's own, like `"pool_mode=session"`, which win.
    pub async fn before_with(server: SocketAddr, settings: &[&str]) -> Result<Self, Skip> {
        let program = find()?;
        let user = User::of_servers()?;
        let settings = SETTINGS.iter().chain(settings).map(|&setting| setting.to_owned()).collect();
        let folder = Run::current().new_folder("pgbouncer-");
        let mut pooler =
            Self { program, user, server, settings, address: free_address(), process: Running::default(), folder };
        for _ in 0..ATTEMPTS {
            if pooler.listens().await {
                return Ok(pooler);
            }
            pooler.address = free_address();
        }
        panic!("a private PgBouncer did not start:\n{}", pooler.log())
    }

    /// Where it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A server's URL, with this before the server.
    pub fn url(&self, server: &str) -> String {
        proxy::url_at(self.address, server)
    }

    /// Starts it again, on the same port, and waits until it listens.
    pub async fn start(&mut self) {
        assert!(self.listens().await, "PgBouncer did not start again:\n{}", self.log());
    }

    /// Kills it: all connections through it are gone, and the server undoes what they had not committed.
    pub async fn kill(&mut self) {
        self.process.end(Signal::KILL);
    }

    /// What it has logged since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn listens(&mut self) -> bool {
        self.spawn();
        let announcement = format!("listening on {}", self.address);
        let listening = wait::poll(PATIENCE, async || {
            let is_running = self.process.is_running();
            (self.log().contains(&announcement) || !is_running).then_some(is_running)
        })
        .await;
        if listening != Some(true) {
            self.process.end(Signal::KILL);
        }
        listening == Some(true)
    }

    fn spawn(&mut self) {
        let file = |name| self.folder.path().join(name);
        fs::write(file("users"), "\"postgres\" \"\"\n").unwrap();
        fs::write(file("pgbouncer.ini"), self.configuration(&file("users"))).unwrap();
        let log = File::create(file("log")).unwrap();
        let mut command = process::command(&self.program, self.user.as_ref(), "QUIT");
        command.arg(file("pgbouncer.ini")).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process.start(command);
    }

    fn configuration(&self, users: &Path) -> String {
        let (server, address) = (self.server, self.address);
        let mut lines = vec![
            "[databases]".to_owned(),
            format!("* = host={} port={}", server.ip(), server.port()),
            "[pgbouncer]".to_owned(),
            format!("listen_port={}", address.port()),
            format!("auth_file={}", users.display()),
        ];
        // Of a setting that is said twice the last one wins.
        lines.extend_from_slice(&self.settings);
        lines.join("\n") + "\n"
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.end(Signal::QUIT);
    }
}

/// The newest one on this machine.
fn find() -> Result<PathBuf, Skip> {
    let folders = match run::pgbouncer_folder() {
        Some(folder) => vec![folder],
        // Debian installs it where only root looks for programs.
        None => process::folders_of_path().into_iter().chain(["/usr/local/bin".into(), "/usr/sbin".into()]).collect(),
    };
    let programs = folders.into_iter().map(|folder| folder.join("pgbouncer"));
    match programs.filter_map(|program| Some((version(&program)?, program))).max() {
        Some((version, program)) if version >= OLDEST => Ok(program),
        Some(((major, minor), _)) => Err(Skip::because(format!("PgBouncer {major}.{minor} is older than 1.21"))),
        None => Err(Skip::because("PgBouncer is not installed (tests/run installs it)")),
    }
}

/// What `PgBouncer 1.24.1` says of itself.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let mut numbers = output.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], process::free_port()))
}
