//! Private Redis servers, on free ports of this machine and in temporary folders. Nothing they hold outlives them,
//! unless a test says so.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::{
    Certificate, Signal, Skip,
    process::{self, Running},
    run::{self, Run},
    wait::{self, PATIENCE},
};

/// The first version that has all that is used of it.
const OLDEST: u32 = 7;
const ATTEMPTS: usize = 5;

/// Settings of every server. The harness has a user of its own, which the users and passwords of a test do not lock
/// out.
const SETTINGS: &[&str] = &["bind 127.0.0.1", "save \"\"", "appendonly no", "user harness on nopass ~* &* +@all"];

/// A Redis server that belongs to one test and ends with it.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    settings: Vec<String>,
    port: u16,
    is_encrypted: bool,
    process: Running,
    folder: TempDir,
}

impl Redis {
    /// Starts an empty server that keeps nothing on disk and lets everybody in.
    pub async fn private() -> Result<Self, Skip> {
        Self::private_with(&[]).await
    }

    /// Starts a server with settings of the test's own, like `"maxmemory 5mb"` or `"user ada on >secret ~* +@all"`.
    pub async fn private_with(settings: &[&str]) -> Result<Self, Skip> {
        Self::prepared(settings, None).await
    }

    /// Starts a server that speaks nothing but TLS.
    pub async fn private_with_tls(certificate: &Certificate) -> Result<Self, Skip> {
        Self::prepared(&["tls-auth-clients no"], Some(certificate)).await
    }

    async fn prepared(settings: &[&str], certificate: Option<&Certificate>) -> Result<Self, Skip> {
        let program = find()?;
        let folder = Run::current().new_folder("redis-");
        let mut settings: Vec<_> = SETTINGS.iter().chain(settings).map(|&setting| setting.to_owned()).collect();
        if let Some(certificate) = certificate {
            for (name, pem) in [("tls-cert-file", &certificate.chain), ("tls-key-file", &certificate.key)] {
                let file = folder.path().join(name);
                fs::write(&file, pem).unwrap();
                settings.push(format!("{name} {}", file.display()));
            }
        }
        let is_encrypted = certificate.is_some();
        let mut server =
            Self { program, settings, port: process::free_port(), is_encrypted, process: Running::default(), folder };
        for _ in 0..ATTEMPTS {
            if server.is_ready().await {
                return Ok(server);
            }
            server.port = process::free_port();
        }
        panic!("a private Redis server did not start:\n{}", server.log())
    }

    /// Its URL, for the user that nobody has to name.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address())
    }

    /// Its URL for a user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@{}", self.scheme(), self.address())
    }

    /// Where it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A connection that may do everything.
    pub async fn connect(&self) -> MultiplexedConnection {
        assert!(!self.is_encrypted, "the harness does not encrypt");
        let client = redis::Client::open(self.url_as("harness", "any")).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The answer to a command, like `["GET", "key"]`, given behind the back of everybody.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connect().await).await.unwrap()
    }

    /// Empties it.
    pub async fn flush(&self) {
        self.ask::<()>(&["FLUSHALL"]).await;
    }

    /// How often a command was called since the server started, be it by a script.
    pub async fn calls(&self, command: &str) -> u64 {
        let statistics: String = self.ask(&["INFO", "commandstats"]).await;
        let line = format!("cmdstat_{}:calls=", command.to_ascii_lowercase());
        let calls = statistics.lines().find_map(|found| found.strip_prefix(&line)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Starts it again, on the same port and empty, and waits until it answers.
    pub async fn start(&mut self) {
        fs::remove_file(self.file("dump.rdb")).ok();
        self.start_with_what_is_there().await;
    }

    /// Stops it in good order. What it held is lost.
    pub async fn stop(&mut self) {
        self.process.end(Signal::TERM);
    }

    /// Kills it. What it held is lost.
    pub async fn kill(&mut self) {
        self.process.end(Signal::KILL);
    }

    /// [`kill`](Self::kill) and [`start`](Self::start): the same address, another memory.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// Keeps what it holds now, for [`restart_from_snapshot`](Self::restart_from_snapshot).
    pub async fn snapshot(&self) {
        self.ask::<()>(&["SAVE"]).await;
        fs::rename(self.file("dump.rdb"), self.file("snapshot")).unwrap();
    }

    /// Kills it, and starts it with what it held at the last [`snapshot`](Self::snapshot).
    pub async fn restart_from_snapshot(&mut self) {
        self.kill().await;
        fs::copy(self.file("snapshot"), self.file("dump.rdb")).unwrap();
        self.start_with_what_is_there().await;
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
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn scheme(&self) -> &'static str {
        if self.is_encrypted { "rediss" } else { "redis" }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start_with_what_is_there(&mut self) {
        assert!(self.is_ready().await, "Redis did not start again:\n{}", self.log());
    }

    async fn is_ready(&mut self) -> bool {
        self.spawn();
        let ready = wait::poll(PATIENCE, async || {
            let is_running = self.process.is_running();
            (self.log().contains("Ready to accept connections") || !is_running).then_some(is_running)
        })
        .await;
        if ready != Some(true) {
            self.process.end(Signal::KILL);
        }
        ready == Some(true)
    }

    fn spawn(&mut self) {
        fs::write(self.file("redis.conf"), self.configuration()).unwrap();
        let log = File::create(self.file("log")).unwrap();
        let mut command = process::command(&self.program, None, "KILL");
        command.arg(self.file("redis.conf")).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process.start(command);
    }

    fn configuration(&self) -> String {
        let (plain, encrypted) = if self.is_encrypted { (0, self.port) } else { (self.port, 0) };
        let mut lines = vec![format!("port {plain}"), format!("dir {}", self.folder.path().display())];
        if self.is_encrypted {
            lines.push(format!("tls-port {encrypted}"));
        }
        // Of a setting that is said twice the last one wins.
        lines.extend_from_slice(&self.settings);
        lines.join("\n") + "\n"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.end(Signal::KILL);
    }
}

/// The newest one on this machine.
fn find() -> Result<PathBuf, Skip> {
    let folders = match run::redis_folder() {
        Some(folder) => vec![folder],
        None => process::folders_of_path(),
    };
    let programs = folders.into_iter().map(|folder| folder.join("redis-server"));
    match programs.filter_map(|program| Some((version(&program)?, program))).max() {
        Some((version, program)) if version >= OLDEST => Ok(program),
        Some((version, _)) => Err(Skip::because(format!("Redis {version} is older than {OLDEST}"))),
        None => Err(Skip::because("Redis is not installed (apt-get install redis-server)")),
    }
}

/// The major version, of `Redis server v=7.0.15 sha=…`.
fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    output.split_once(" v=")?.1.split('.').next()?.parse().ok()
}
