//! Processes that cannot outlive this one.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{LazyLock, mpsc},
    time::Duration,
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::{
    Skip,
    wait::{self, PATIENCE},
};

/// The user that a server runs as when the tests run as root, which servers like PostgreSQL refuse to run as.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user of that name.
    pub fn named(name: &str) -> Option<Self> {
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            found.then(|| Self { name: name.to_owned(), uid, gid })
        })
    }

    /// The user that servers run as; none where they can run as the user of the tests.
    pub fn of_servers() -> Result<Option<Self>, Skip> {
        let missing = || Skip::because("servers refuse to run as root, and there is no user postgres");
        if Self::is_root() { Self::named("postgres").map(Some).ok_or_else(missing) } else { Ok(None) }
    }

    /// The ids of the user and the group of this process.
    pub fn ids() -> (u32, u32) {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    /// Whether this process may do everything.
    pub fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }
}

/// A command that runs a program, as another user if one is given, and that the kernel ends with a signal when the
/// process that spawned it is gone. Start it with [`spawn`].
pub fn command(program: &Path, user: Option<&User>, at_our_end: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg(at_our_end);
    if let Some(user) = user {
        command.arg("--reuid").arg(user.uid.to_string());
        command.arg("--regid").arg(user.gid.to_string());
        command.arg("--init-groups");
    }
    command.arg("--").arg(program);
    command
}

/// Starts a [`command`].
///
/// The kernel counts the *thread* that spawned as the parent whose end it tells of, and threads of a runtime come and
/// go; so all are spawned by one thread that ends with the process.
pub fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::SyncSender<io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (answer, child) = mpsc::sync_channel(1);
    SPAWNER.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// Sends a signal to a process; to one that is gone, it does nothing.
pub fn signal(process: u32, signal: Signal) {
    if let Some(process) = pid(process) {
        kill_process(process, signal).ok();
    }
}

/// Whether a process is there.
pub fn is_alive(process: u32) -> bool {
    pid(process).is_some_and(|process| rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH))
        && state(process) != Some('Z')
}

/// The processes that a process has started and that are still there.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&process| stat(process).and_then(|stat| stat.get(1)?.parse().ok()) == Some(parent))
        .collect()
}

/// A port that nobody listens on, though somebody may until it is used.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).unwrap().port()
}

/// Waits until a child has ended, and kills it when it has not within the limit.
pub(crate) fn end(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    match wait::poll_blocking(limit, || child.try_wait().transpose()) {
        Some(status) => status,
        None => {
            child.kill()?;
            child.wait()
        }
    }
}

/// The process of a server that can be stopped and started again; none while it is stopped.
#[derive(Debug, Default)]
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts a [`command`], if none runs.
    pub(crate) fn start(&mut self, command: Command) {
        assert!(self.0.is_none(), "it runs already");
        self.0 = Some(spawn(command).unwrap());
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|process| process.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, by: Signal) {
        signal(self.0.as_ref().expect("the server runs").id(), by);
    }

    /// Ends it by a signal, also while it is paused, and waits until it has ended; if it runs.
    pub(crate) fn end(&mut self, by: Signal) {
        if let Some(mut process) = self.0.take() {
            signal(process.id(), by);
            signal(process.id(), Signal::CONT);
            end(&mut process, PATIENCE).unwrap();
        }
    }
}

/// Where a program is found: in the folders of `PATH`.
pub(crate) fn folders_of_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn state(process: u32) -> Option<char> {
    stat(process)?.first()?.chars().next()
}

/// The fields of `/proc/<pid>/stat` after the name, which may itself hold blanks and parentheses.
fn stat(process: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn pid(process: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process).ok()?)
}
