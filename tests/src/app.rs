//! The service as users run it: a process of its own.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    PATIENCE, Signal, Skip, TestDatabase, eventually, process,
    run::{self, Run},
    small_disk::SmallDisk,
};

/// What the service says, on either stream and in whatever format, once it listens.
const ANNOUNCEMENT: &str = "listening on http://";

/// The service, running; killed when dropped.
#[derive(Debug)]
pub struct TestApp {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
    printed: Printed,
    disk: Option<SmallDisk>,
    _folder: TempDir,
}

/// How to start the service: nothing in its environment but what is said here, in an empty folder.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    waits_until_ready: bool,
    mebibytes: Option<u32>,
}

/// What a call of the service's command line came to.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug, Clone, Default)]
struct Printed {
    lines: Arc<Mutex<Vec<String>>>,
}

impl TestApp {
    /// Starts the service on a database and waits until it is ready.
    pub async fn start(database: &TestDatabase) -> Self {
        Launch::default().database(database).start().await
    }

    /// The same with settings of the test's own, which win.
    pub async fn start_with(database: &TestDatabase, environment: &[(&str, &str)]) -> Self {
        Launch::default().database(database).environment(environment).start().await
    }

    /// Calls the service's command line and waits until it has ended.
    pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Launch::default().environment(environment).run(arguments).await
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that keeps its connections to this process only.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, line by line, on either stream.
    pub fn output(&self) -> String {
        self.printed.text()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Waits until it has ended, and tells how; the test fails when it has not within the limit.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        eventually("the service ends", limit, async || self.child.try_wait().unwrap()).await
    }

    /// Asks it to end, as an orchestrator does, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(PATIENCE).await
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait(PATIENCE).await
    }

    /// Leaves no byte free on its [small disk](Launch::on_small_disk).
    pub fn fill_disk(&self) {
        self.disk().fill(self.id());
    }

    /// Frees what [`fill_disk`](Self::fill_disk) has taken.
    pub fn free_disk(&self) {
        self.disk().free(self.id());
    }

    fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("the service has a small disk")
    }

    /// Waits until it answers that it is ready.
    pub async fn wait_until_ready(&mut self) {
        let address = self.url("/health/ready");
        eventually("the service is ready", PATIENCE, async || {
            self.assert_running();
            let answer = self.client.get(&address).timeout(Duration::from_secs(2)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the service ended with {status}:\n{}", self.output());
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the service said:\n{}", self.output());
        }
    }
}

impl Default for Launch {
    fn default() -> Self {
        let environment = ["PATH", "TMPDIR"]
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .chain([("LISTEN".into(), "127.0.0.1:0".into())])
            .collect();
        Self {
            program: program(),
            arguments: vec!["serve".into()],
            environment,
            waits_until_ready: true,
            mebibytes: None,
        }
    }
}

impl Launch {
    /// Another program in the service's place.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::bare() }
    }

    /// The database that it uses.
    pub fn database(self, database: &TestDatabase) -> Self {
        self.environment(&[("DATABASE_URL", &database.url)])
    }

    /// Variables of its environment; one that is said twice has its last value.
    pub fn environment(mut self, environment: &[(&str, &str)]) -> Self {
        self.environment.extend(environment.iter().map(|&(name, value)| (name.into(), value.into())));
        self
    }

    /// Its arguments, instead of `serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.into()).collect();
        self
    }

    /// To return as soon as it listens, as a test of its start without a database must.
    pub fn without_waiting_until_ready(mut self) -> Self {
        self.waits_until_ready = false;
        self
    }

    /// With its data folder on a disk of this size.
    pub fn on_small_disk(self, mebibytes: u32) -> Result<Self, Skip> {
        SmallDisk::check()?;
        Ok(Self { mebibytes: Some(mebibytes), ..self })
    }

    /// Starts it, and waits until it listens and is ready.
    pub async fn start(self) -> TestApp {
        let folder = Run::current().new_folder("app-");
        let disk = self.mebibytes.map(|size| SmallDisk::on(folder.path().join("disk"), size, None));
        let mut child = process::spawn(self.command(folder.path(), disk.as_ref())).unwrap();
        let printed = Printed::default();
        printed.read(child.stdout.take().unwrap());
        printed.read(child.stderr.take().unwrap());
        let address = eventually("the service says where it listens", PATIENCE, async || {
            let ended = child.try_wait().unwrap();
            let address = printed.announced();
            if let (Some(status), None) = (ended, address) {
                panic!("the service ended with {status} before it listened:\n{}", printed.text());
            }
            address
        })
        .await;
        let client = reqwest::Client::new();
        let mut app = TestApp { child, address, client, printed, disk, _folder: folder };
        if self.waits_until_ready {
            app.wait_until_ready().await;
        }
        app
    }

    /// Calls it with arguments, and waits until it has ended.
    pub async fn run(self, arguments: &[&str]) -> Output {
        let launch = self.arguments(arguments);
        let folder = Run::current().new_folder("app-");
        let child = process::spawn(launch.command(folder.path(), None)).unwrap();
        let id = child.id();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output());
        let Ok(output) = tokio::time::timeout(run::LIMIT, output).await else {
            process::signal(id, Signal::KILL);
            panic!("{arguments:?} did not end within {:?}", run::LIMIT);
        };
        let output = output.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn bare() -> Self {
        Self {
            program: PathBuf::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            waits_until_ready: true,
            mebibytes: None,
        }
    }

    fn command(&self, folder: &Path, disk: Option<&SmallDisk>) -> std::process::Command {
        let mut command = process::command(&self.program, None, "KILL");
        command.args(&self.arguments);
        if let Some(disk) = disk {
            command = disk.mounted_for(&command, "KILL");
        }
        command.env_clear().envs(disk.map(|disk| ("DATA_DIR", disk.folder()))).current_dir(folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Output {
    /// Its exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}\n{}", self.stdout, self.stderr))
    }
}

impl Printed {
    fn read(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    fn announced(&self) -> Option<SocketAddr> {
        self.lines.lock().unwrap().iter().find_map(|line| announced_address(line))
    }
}

/// The address that a line announces, if it does.
fn announced_address(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once(ANNOUNCEMENT)?;
    let end = address.find(|letter: char| !(letter.is_ascii_hexdigit() || ".:[]".contains(letter)));
    address[..end.unwrap_or(address.len())].parse().ok()
}

/// The service's program: of the same build as the tests.
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| run::service_program().unwrap_or_else(|| beside_the_tests("seabed"))).clone()
}

/// The program that `sea-orm-cli migrate` runs: of the same build as the tests.
pub fn migrator() -> PathBuf {
    beside_the_tests("migration")
}

/// A program in the folder that the tests were built into; built, once in a run, where it is missing or older than the
/// tests, because cargo builds the libraries for them and not the programs.
fn beside_the_tests(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let program = folder.join(name);
    let run = Run::current();
    let _lock = run.lock("build");
    let is_built = run.folder().join("built");
    let built_at = |file: &Path| file.metadata().and_then(|file| file.modified()).ok();
    if built_at(&program) < built_at(&tests) && !is_built.exists() {
        // All members, though only two are built: the tests were built with the features that all of them ask for.
        let profile = folder.file_name().unwrap().to_str().unwrap();
        let mut build = run::cargo();
        build.args(["build", "--quiet", "--workspace", "--bin", "seabed", "--bin", "migration"]);
        build.arg("--profile").arg(if profile == "debug" { "dev" } else { profile });
        build.arg("--target-dir").arg(folder.parent().unwrap());
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(status.success(), "building the programs: {status}");
        std::fs::write(is_built, "").unwrap();
    }
    program
}

#[cfg(test)]
mod tests {
    use super::announced_address;

    #[test]
    fn an_announcement_is_found_in_any_format() {
        let address = Some("127.0.0.1:4711".parse().unwrap());
        assert_eq!(announced_address("listening on http://127.0.0.1:4711"), address);
        assert_eq!(announced_address("INFO seabed: listening on http://127.0.0.1:4711/ with 2 threads"), address);
        assert_eq!(announced_address(r#"{"message":"listening on http://127.0.0.1:4711"}"#), address);
        assert_eq!(announced_address("INFO \u{1b}[1mlistening on http://127.0.0.1:4711\u{1b}[0m"), address);
        assert_eq!(announced_address("listening on http://[::1]:80"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(announced_address("listening on nothing"), None);
    }
}
