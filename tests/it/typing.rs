//! Mistakes that the compiler finds. Each file in `ui` is one, and says in its first line by which error.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The library of the domain that these tests were built with, and the folder of all others.
fn domain() -> (PathBuf, PathBuf) {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = fs::read_dir(&deps).unwrap().map(|file| file.unwrap().path());
    let is_domain = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with("libdomain-") && name.ends_with(".rlib")
    };
    // Other features make others; the newest is ours.
    let newest = files.filter(is_domain).max_by_key(|file| file.metadata().unwrap().modified().unwrap());
    (newest.expect("the domain is built"), deps)
}

/// What the compiler says of a file; nothing if it takes it.
fn refusal(file: &Path) -> Option<String> {
    let (domain, deps) = domain();
    let folder = tempfile::tempdir().unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--cap-lints=allow", "--out-dir"]);
    rustc.arg(folder.path()).arg("--extern").arg(format!("domain={}", domain.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display())).arg(file);
    let output = rustc.output().unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_compiler_finds_what_is_mixed_up_misspelt_or_private() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/ui");
    let mut wrong = Vec::new();
    let mut files = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        files += 1;
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("//! error: ");
        let found = refusal(&file);
        // One mistake each, or it could be refused for another.
        let is_right = match (expected, &found) {
            (None, None) => true,
            (Some(code), Some(found)) => {
                found.contains(&format!("error[{code}]")) && found.matches("error[").count() == 1
            }
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{}: expected {expected:?}, not {}", file.display(), found.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 10, "{files}");
}
