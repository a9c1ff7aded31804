//! Finds and runs PostgreSQL's own programs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;
use url::Url;

use super::DbError;

/// Where packages put them, in a folder for each version.
const PACKAGED: &str = "/usr/lib/postgresql";

/// The newest program of that name: an older one does not read what a newer one has written.
pub(super) async fn find(name: &'static str) -> Result<PathBuf, DbError> {
    let packaged = std::fs::read_dir(PACKAGED).into_iter().flatten().flatten();
    let packaged = packaged.map(|version| version.path().join("bin").join(name)).filter(|program| program.is_file());
    let mut newest: Option<(u32, PathBuf)> = None;
    // The first is looked for in the PATH.
    for program in std::iter::once(PathBuf::from(name)).chain(packaged) {
        let Some(version) = version(&program).await else { continue };
        if newest.as_ref().is_none_or(|(found, _)| *found < version) {
            newest = Some((version, program));
        }
    }
    newest.map(|(_, program)| program).ok_or(DbError::NoProgram { name })
}

async fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().await.ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let version = output.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Runs a program on a database until it has ended. Where the database is goes by the environment, which others do not
/// see as they see arguments.
pub(super) async fn run(program: &Path, arguments: &[OsString], database_url: &str) -> Result<(), DbError> {
    let refused = |message: String| DbError::Refused { message };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    // They would lead elsewhere, whatever the URL says.
    for name in ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE"] {
        command.env_remove(name);
    }
    command.envs(environment(database_url)).env("PGAPPNAME", "seabed db restore").env("LC_ALL", "C");
    let output = command.output().await.map_err(|source| DbError::File { path: program.to_path_buf(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = said.lines().find(|line| line.to_lowercase().contains("error")).or(said.lines().next());
    Err(refused(first.unwrap_or("it ended without a word").trim().to_owned()))
}

/// What libpq is told.
fn environment(database_url: &str) -> Vec<(&'static str, String)> {
    let Ok(url) = Url::parse(database_url) else { return Vec::new() };
    let mut told = vec![
        ("PGHOST", url.host_str().map(decoded).unwrap_or_default()),
        ("PGPORT", url.port().map(|port| port.to_string()).unwrap_or_default()),
        ("PGUSER", decoded(url.username())),
        ("PGPASSWORD", url.password().map(decoded).unwrap_or_default()),
        ("PGDATABASE", decoded(url.path().trim_start_matches('/'))),
    ];
    for (name, value) in url.query_pairs() {
        let name = match &*name {
            "host" | "hostaddr" => "PGHOST",
            "port" => "PGPORT",
            "user" => "PGUSER",
            "password" => "PGPASSWORD",
            "dbname" => "PGDATABASE",
            "sslmode" | "ssl-mode" => "PGSSLMODE",
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
            "sslcert" | "ssl-cert" => "PGSSLCERT",
            "sslkey" | "ssl-key" => "PGSSLKEY",
            "options" => "PGOPTIONS",
            _ => continue,
        };
        told.push((name, value.into_owned()));
    }
    told.retain(|(_, value)| !value.is_empty());
    told
}

/// A part of a URL, without its escapes.
fn decoded(text: &str) -> String {
    // A plus is itself here, and not a blank as in forms.
    let text = text.replace('+', "%2B");
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
