//! Puts the text of every migration into the program: of those in SQL because it is what they run, and of those in Rust
//! because their checksums are taken of it. Standard library only.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The files that a migration in SQL may have.
const FILES: [&str; 6] =
    ["up.sql", "up.postgres.sql", "up.sqlite.sql", "down.sql", "down.postgres.sql", "down.sqlite.sql"];

fn main() -> io::Result<()> {
    let missing = || io::Error::other("cargo runs this");
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or_else(missing)?;
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(missing)?;
    let (rust, sql) = (rust(&root.join("src"))?, sql(&root.join("sql"))?);
    fs::write(
        out.join("texts.rs"),
        format!("const RUST: &[Text] = &[{rust}];\nconst SQL: &[SqlMigration] = &[{sql}];\n"),
    )?;
    writeln!(io::stdout(), "cargo:rerun-if-changed=build.rs\ncargo:rerun-if-changed=src\ncargo:rerun-if-changed=sql")
}

/// The files of migrations in Rust: `m20261121_000001_create_users.rs` and such.
fn rust(folder: &Path) -> io::Result<String> {
    let mut list = String::new();
    for path in entries(folder)? {
        let name = name(&path)?;
        if let Some(name) = name.strip_suffix(".rs").filter(|name| is_versioned(name)) {
            list += &format!("({name:?}, include_str!({path:?})), ");
        }
    }
    Ok(list)
}

/// The folders of migrations in SQL.
fn sql(folder: &Path) -> io::Result<String> {
    let mut list = String::new();
    for path in entries(folder)? {
        if !path.is_dir() {
            continue;
        }
        let name = name(&path)?;
        let refuse = |why: &str| Err(io::Error::other(format!("migration/sql/{name} {why}")));
        if !is_versioned(name) {
            return refuse("must be called like 20261121_000001_add_a_thing");
        }
        let mut files = Vec::new();
        for path in entries(&path)? {
            match FILES.iter().find(|file| path.ends_with(file)) {
                Some(file) => files.push((file, path)),
                None => return refuse(&format!("may have {FILES:?} in it, and nothing else")),
            }
        }
        let has = |wanted: &str| files.iter().any(|(file, _)| **file == wanted);
        for database in ["postgres", "sqlite"] {
            if !has("up.sql") && !has(&format!("up.{database}.sql")) {
                return refuse(&format!("needs up.sql or up.{database}.sql"));
            }
        }
        let files =
            files.iter().map(|(file, path)| format!("({file:?}, include_str!({path:?})), ")).collect::<String>();
        list += &format!("SqlMigration::new({name:?}, &[{files}]), ");
    }
    Ok(list)
}

/// Whether a name starts as a version does: an `m` or none, and the date.
fn is_versioned(name: &str) -> bool {
    let digits = name.strip_prefix('m').unwrap_or(name).bytes().take_while(u8::is_ascii_digit).count();
    digits >= 8 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> io::Result<&str> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::other(format!("{path:?} is not text")))
}
