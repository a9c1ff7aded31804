//! The servers that are measured: this program, started again, as a process of its own.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{client, fixture::Outcome};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many ticks of the clock that processor time is counted in a second has: `USER_HZ`, 100 on Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// Where copies of what is read are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Nowhere.
    None,
    /// In the memory of the server.
    Memory,
    /// In Redis.
    Redis,
}

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Memory, Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "nowhere",
            Self::Memory => "in process",
            Self::Redis => "Redis",
        }
    }
}

/// What servers work with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backing<'a> {
    /// The database.
    pub(crate) database: &'a str,
    /// A Redis server, for those that keep copies there.
    pub(crate) redis: &'a str,
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The service as it is started, but for where it keeps copies.
    Ours,
    /// The service with a log of warnings only.
    Quiet,
    /// The limit.
    Limit,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Quiet, Self::Limit];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Quiet => "quiet",
            Self::Limit => "limit",
        }
    }
}

/// A server.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// From its start to its first answer.
    pub(crate) start: Duration,
    child: Child,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(kind: Kind, tier: Tier, backing: Backing<'_>) -> Outcome<Self> {
        // Free a moment ago; nobody else asks for it so soon.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = std::env::temp_dir();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env_clear()
            .env("SEABED_BENCH_SERVE", kind.name())
            .env("DATABASE_URL", backing.database)
            .env("LISTEN", address.to_string())
            .env("SECRET_KEY", "only for measuring only for measuring")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match tier {
            Tier::None => command.env("CACHE", "off"),
            Tier::Memory => &mut command,
            Tier::Redis => command.env("REDIS_URL", backing.redis),
        };
        if kind == Kind::Quiet {
            command.env("LOG", "warn");
        }
        // The log goes to a file, as it would in production to a pipe: writing it is part of the work.
        let log = tempfile::tempfile()?;
        command.stderr(log.try_clone()?);
        let started = Instant::now();
        let child = command.spawn()?;
        let mut server = Self { kind, address, start: Duration::ZERO, child };
        while client::status(address, "/health/ready").await != Some(200) {
            if started.elapsed() > PATIENCE || server.child.try_wait()?.is_some() {
                let log = std::io::read_to_string({
                    use std::io::Seek;
                    let mut log = log;
                    log.rewind()?;
                    log
                })?;
                return Err(format!("{kind:?} does not answer: {log}").into());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        server.start = started.elapsed();
        Ok(server)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program, in parentheses, may hold anything; utime and stime are 12th and 13th after it.
        let after = stat.rsplit_once(')').ok_or("no such field")?.1.split_whitespace();
        let ticks = after.skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS_A_SECOND))
    }

    /// The memory that it has in use, in MiB.
    pub(crate) fn resident_mib(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is over either way.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
