//! The README says what is so: its table of settings is the program's, its links lead somewhere, and its walk through a
//! noun of one's own can be taken.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tests::{or_skip, postgres, within};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn readme() -> String {
    fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap()
}

#[test]
fn the_table_of_settings_is_the_program_s() {
    let (readme, table) = (readme(), api::config::markdown());
    if readme.contains(&table) {
        return;
    }
    assert!(std::env::var_os("UPDATE_README").is_some(), "run this test with UPDATE_README=1 to write:\n{table}");
    let start = readme.find("| variable |").unwrap();
    let end = start + readme[start..].find("\n\n").unwrap() + 1;
    fs::write(Path::new(ROOT).join("README.md"), [&readme[..start], &table, &readme[end..]].concat()).unwrap();
}

#[test]
fn every_link_leads_to_a_file() {
    let readme = readme();
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        match link.strip_prefix('#') {
            Some(anchor) => assert!(anchors(&readme).any(|heading| heading == anchor), "{link}"),
            None => assert!(Path::new(ROOT).join(link).exists(), "{link}"),
        }
    }
}

/// What its headings are linked by.
fn anchors(readme: &str) -> impl Iterator<Item = String> {
    let headings = readme.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ' || *letter == '-');
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    })
}

/// A fenced block of the README with a path behind its language.
struct Block {
    language: String,
    path: String,
    text: String,
}

impl Block {
    fn is_diff(&self) -> bool {
        self.language == "diff"
    }

    /// What has to be typed: the whole file, or the lines that have a plus.
    fn typed(&self) -> usize {
        self.text.lines().filter(|line| !self.is_diff() || line.starts_with('+')).count()
    }
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        if let Some((language, path)) = fence.split_once(' ') {
            blocks.push(Block { language: language.to_owned(), path: path.to_owned(), text });
        }
    }
    blocks
}

/// Does what a block says: writes the file, or puts the lines that have a plus behind the line before them.
fn apply(tree: &Path, block: &Block) {
    let path = found(&tree.join(&block.path));
    if !block.is_diff() {
        fs::write(path, &block.text).unwrap();
        return;
    }
    let mut text = fs::read_to_string(&path).unwrap();
    let mut before = String::new();
    for line in block.text.lines() {
        let (sign, line) = line.split_at(1);
        if sign == "+" {
            let at = text.find(&before).unwrap_or_else(|| panic!("{}: no line {before:?}", block.path)) + before.len();
            text.insert_str(at, &format!("{line}\n"));
        }
        before = format!("{line}\n");
    }
    fs::write(path, text).unwrap();
}

/// The file that a path with `*` in its name means.
fn found(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let Some((_, end)) = name.split_once('*') else { return path.to_path_buf() };
    let mut files = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    files
        .find(|file| file.to_str().unwrap().ends_with(end))
        .unwrap_or_else(|| panic!("nothing like {}", path.display()))
}

/// A copy of the files that belong to the project.
fn copy_of_the_tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for folder in ["entity", "migration", "domain", "api", "tests", ".cargo"] {
        copy(&Path::new(ROOT).join(folder), &tree.path().join(folder));
    }
    for file in ["Cargo.toml", "Cargo.lock", ".rustfmt.toml", ".clippy.toml", ".env.example", "README.md"] {
        fs::copy(Path::new(ROOT).join(file), tree.path().join(file)).unwrap();
    }
    tree
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(|_| ()).unwrap()
        }
    }
}

/// A target folder that already has what was built of others' crates: linked, not copied. Cargo replaces files rather
/// than writing into them, and crates of the copied tree get names of their own.
fn built_dependencies(tree: &Path) -> PathBuf {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_path_buf();
    let target = tree.join("target");
    fs::create_dir_all(target.join("debug")).unwrap();
    for part in ["deps", "build", ".fingerprint"] {
        let from = profile.join(part);
        let linked = Command::new("cp").arg("-al").arg(&from).arg(target.join("debug")).status().unwrap();
        // Another file system: building takes longer, and that is all.
        if !linked.success() {
            fs::remove_dir_all(target.join("debug")).unwrap();
            return target;
        }
    }
    // What a build script wrote it would write into again, and so into what is linked.
    for part in ["build", ".fingerprint"] {
        for entry in fs::read_dir(target.join("debug").join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("migration-") {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
    target
}

/// Makes the README's example a part of the tests: it has to compile.
fn write_example(tree: &Path, example: &str) {
    let indented = example.replace('\n', "\n    ").replace("    \n", "\n");
    let text = format!(
        "use domain::{{AccountId, Result, Transfer}};\n\n\
         pub(crate) async fn example(from: AccountId, to: AccountId) -> Result<Transfer> {{\n    {}\n    Ok(transfer)\n}}\n",
        indented.trim_end()
    );
    fs::write(tree.join("tests/it/example.rs"), text).unwrap();
    let main = tree.join("tests/it/main.rs");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, format!("{text}\n#[expect(dead_code)]\nmod example;\n")).unwrap();
}

/// The README's example, and the walk through a noun of one's own.
fn example_and_walk() -> (Block, Vec<Block>) {
    let mut blocks = blocks(&readme());
    let example = blocks.remove(0);
    (example, blocks)
}

#[test]
fn a_noun_of_one_s_own_is_short() {
    let (_, walk) = example_and_walk();
    let typed = walk.iter().map(Block::typed).sum::<usize>();
    assert!(typed <= 60, "{typed} lines are typed by hand");
    // What is put into a file of this project is a line in a list of nouns; the migration is a file of one's own.
    let (lists, files) = walk.iter().partition::<Vec<_>, _>(|block| block.is_diff() && !block.path.contains('*'));
    assert!(files.len() <= 4, "{} files are written by hand", files.len());
    assert!(lists.len() <= 3, "{} lists are added to", lists.len());
    for list in lists {
        assert_eq!(list.typed(), 1, "{} is added to in one line", list.path);
    }
}

#[test]
fn the_walk_through_a_noun_of_one_s_own_can_be_taken() {
    within(Duration::from_secs(900), async {
        // The test that the walk writes runs on both databases.
        or_skip!(postgres::shared().await);
        let tree = copy_of_the_tree();
        let target = built_dependencies(tree.path());
        let cargo = |arguments: &[&str]| {
            let mut cargo = tests::run::cargo();
            cargo.current_dir(tree.path()).env("CARGO_TARGET_DIR", &target).args(arguments);
            let output = cargo.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "cargo {arguments:?}:\n{said}");
            said
        };

        let (example, walk) = example_and_walk();
        write_example(tree.path(), &example.text);
        let (migration, rest) = walk.split_first().unwrap();
        cargo(&["run", "-q", "--", "migrate", "generate", "create_invoices"]);
        apply(tree.path(), migration);
        cargo(&["run", "-q", "--", "entity", "refresh"]);
        rest.iter().for_each(|block| apply(tree.path(), block));
        // Another one, all of which is written.
        let fields = [
            "number:text:unique",
            "note:text:optional",
            "total:integer",
            "is_paid:boolean",
            "due:date:optional",
            "issued_at:timestamp",
            "user_id:users",
            "account_id:accounts:optional",
        ];
        cargo(&[["run", "-q", "--", "generate", "record", "receipt"].as_slice(), &fields].concat());
        // Their own tests on both databases, and the one that says whether all nouns are known.
        let tests = ["invoice", "receipt", "every_noun_is_described"];
        let said = cargo(&[["test", "-q", "-p", "tests", "--test", "it", "--"].as_slice(), &tests].concat());
        assert!(said.contains("5 passed"), "{said}");
        cargo(&["run", "-q", "--", "entity", "check"]);
        cargo(&["run", "-q", "--", "migrate", "lint"]);
        cargo(&["fmt", "--all", "--check"]);

        // What is worked out from edited entities compiles, and does what was tried before it was.
        for (file, from, to) in [
            ("contents", "column_type = \"Text\")]\n    pub title", "column_type = \"Text\", unique)]\n    pub title"),
            ("contents", "    #[sea_orm(column_type = \"Text\")]\n    pub body", "    pub body"),
            ("data_models", "on_delete = \"Restrict\"", "on_delete = \"Cascade\""),
            ("data_models", "column_type = \"Text\", unique", "column_type = \"Text\""),
        ] {
            let path = tree.path().join("entity/src").join(format!("{file}.rs"));
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file} has no {from}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        }
        let said = cargo(&["run", "-q", "--", "migrate", "diff", "say it otherwise"]);
        assert!(said.contains(".references_as(\"owner_id\", \"users\", ForeignKeyAction::NoAction,"), "{said}");
        cargo(&["run", "-q", "--", "entity", "check"]);
        cargo(&["fmt", "--all", "--check"]);

        // A new column stops compilation where somebody has to decide about it.
        let migration = found(&tree.path().join(&migration.path));
        let text = fs::read_to_string(&migration)
            .unwrap()
            .replace("big_integer(\"total\")", "big_integer(\"total\"), text(\"note\")");
        fs::write(&migration, text).unwrap();
        cargo(&["run", "-q", "--", "entity", "refresh"]);
        let mut check = tests::run::cargo();
        check.current_dir(tree.path()).env("CARGO_TARGET_DIR", &target).args(["check", "-q", "-p", "domain"]);
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let errors = said
            .split("\n\n")
            .filter(|part| part.trim_start().starts_with("error") && part.contains("-->"))
            .collect::<Vec<_>>();
        assert!(!output.status.success() && errors.len() == 3, "{said}");
        for (error, place) in errors.iter().zip(["record!", "new!", "patch!"]) {
            // Of a pattern the compiler only says that it is not all; of a literal, which field is missing.
            let names_it = error.contains("`note`") || place == "record!";
            let decides = names_it && error.contains("domain/src/invoice.rs") && error.contains(place);
            assert!(decides, "{place}: {said}");
        }
    });
}
