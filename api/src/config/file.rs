//! Reads `.env` files: `NAME=value` lines, comments after `#`, `'literal'` and `"with \n escapes"`.
//!
//! Unlike other readers of such files this one replaces nothing after `$`, because passwords contain it, and its errors
//! do not quote the line.

use std::{collections::HashSet, fs, io, path::Path};

use super::{
    error::{ConfigError, Place},
    table,
};

/// What a file says.
#[derive(Default)]
pub(super) struct File {
    pub(super) values: Vec<(String, String)>,
    pub(super) errors: Vec<ConfigError>,
}

/// Reads a file; one that is not there says nothing.
pub(super) fn read(path: &Path, name: &'static str) -> File {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
        Err(error) => File { values: Vec::new(), errors: vec![ConfigError::file(path.to_path_buf(), "read", error)] },
    }
}

fn parse(text: &str, file: &'static str) -> File {
    let mut result = File::default();
    let mut names = HashSet::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place::Line { file, number: index + 1 };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            result.errors.push(ConfigError::Line { place, problem: "is not NAME=value" });
            continue;
        };
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            result.errors.push(ConfigError::Line { place, problem: "does not begin with the name of a setting" });
        } else if table::find(name).is_none() && table::named_connection(name).is_none() {
            result.errors.push(ConfigError::unknown(name.to_owned(), place));
        } else if !names.insert(name.to_owned()) {
            result.errors.push(ConfigError::Line { place, problem: "sets what another line of the file sets" });
        } else {
            match unquoted(value.trim()) {
                Ok(value) => result.values.push((name.to_owned(), value)),
                Err(problem) => result.errors.push(ConfigError::Line { place, problem }),
            }
        }
    }
    result
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    let (text, rest) = match value.chars().next() {
        Some('\'') => value[1..].split_once('\'').map(|(text, rest)| (text.to_owned(), rest)).ok_or(UNCLOSED)?,
        Some('"') => double_quoted(&value[1..])?,
        _ => {
            let comment = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
            (value[..comment].trim_end().to_owned(), "")
        }
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(text) } else { Err("has something after the closing quote") }
}

const UNCLOSED: &str = "has an opening quote and no closing one";

fn double_quoted(value: &str) -> Result<(String, &str), &'static str> {
    let mut text = String::new();
    let mut characters = value.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((text, &value[index + 1..])),
            '\\' => text.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, quoted @ ('"' | '\\' | '$'))) => quoted,
                _ => return Err(r#"has an escape other than \n, \t, \", \$ and \\"#),
            }),
            character => text.push(character),
        }
    }
    Err(UNCLOSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let file = parse(text, ".env");
        assert!(file.errors.is_empty(), "{:?}", file.errors);
        file.values
    }

    fn problem(text: &str) -> String {
        let file = parse(text, ".env");
        assert!(file.values.is_empty(), "{:?}", file.values);
        file.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn values_may_be_quoted_and_commented() {
        let of = |text: &str| values(text).remove(0).1;
        assert_eq!(of("LOG=info"), "info");
        assert_eq!(of("\u{feff}export LOG = info  # less"), "info");
        assert_eq!(of("DB_PASSWORD=a#b$c=d"), "a#b$c=d");
        assert_eq!(of("DB_PASSWORD='a # b\\n$c' # d"), "a # b\\n$c");
        assert_eq!(of(r#"DB_PASSWORD="a \"b\" \\ # \$c\n""#), "a \"b\" \\ # $c\n");
        assert_eq!(of("LOG="), "");
        assert_eq!(values("# nothing\n\n  # here\r\n"), []);
    }

    #[test]
    fn a_wrong_line_is_named_and_not_quoted() {
        assert_eq!(problem("\nhunter2"), ".env line 2 is not NAME=value");
        assert_eq!(problem("hunter 2=x"), ".env line 1 does not begin with the name of a setting");
        assert_eq!(problem("DB_PASSWORD='hunter2"), ".env line 1 has an opening quote and no closing one");
        assert_eq!(problem("DB_PASSWORD=\"hunter2\"x"), ".env line 1 has something after the closing quote");
        assert!(problem(r#"DB_PASSWORD="hunter\2""#).starts_with(".env line 1 has an escape"));
        let twice = parse("LOG=info\nLOG=warn", ".env");
        assert_eq!(twice.errors[0].to_string(), ".env line 2 sets what another line of the file sets");
    }
}
