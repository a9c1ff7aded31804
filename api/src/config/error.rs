//! What can be wrong with a configuration. No message quotes a value that may hold a secret.

use std::{borrow::Cow, fmt, io, path::PathBuf, sync::Arc};

use super::table;

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// It has to be set.
    #[error("{name} is not set: {because}")]
    Missing {
        /// The name of the variable.
        name: &'static str,
        /// Why it is needed.
        because: &'static str,
    },
    /// It cannot have that value.
    #[error("{name}{} {must}", Quoted(value))]
    Invalid {
        /// The name of the variable.
        name: Cow<'static, str>,
        /// What it is, if that can be shown.
        value: Option<String>,
        /// What it has to be.
        must: String,
    },
    /// Two names of one setting say different things.
    #[error("{first} and {second} mean the same and are set to different values: unset one of them")]
    Conflict {
        /// One of the names.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// There is no such setting.
    #[error("{name} ({place}) is not a setting{}", Suggested(near))]
    Unknown {
        /// The name that was used.
        name: String,
        /// Where it was used.
        place: Place,
        /// The setting that may be meant.
        near: Option<&'static str>,
    },
    /// Its value is not UTF-8.
    #[error("{name} must be text in UTF-8")]
    NotText {
        /// The name of the variable.
        name: String,
    },
    /// A line of a file cannot be read.
    #[error("{place} {problem}")]
    Line {
        /// Which line it is.
        place: Place,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be {verb}: check the permissions of the file and its folder", path.display())]
    File {
        /// Which file it is.
        path: PathBuf,
        /// What was to be done with it.
        verb: &'static str,
        /// The system's own words.
        #[source]
        source: Arc<io::Error>,
    },
}

impl ConfigError {
    pub(super) fn unknown(name: String, place: Place) -> Self {
        let near = table::nearest(&name);
        Self::Unknown { name, place, near }
    }

    pub(super) fn file(path: PathBuf, verb: &'static str, source: io::Error) -> Self {
        Self::File { path, verb, source: Arc::new(source) }
    }
}

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the environment of the process.
    Environment,
    /// In a file.
    Line {
        /// The name of the file.
        file: &'static str,
        /// The line, counted from 1.
        number: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Line { file, number } => write!(f, "{file} line {number}"),
        }
    }
}

struct Quoted<'a>(&'a Option<String>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| write!(f, " is {value:?} and"))
    }
}

struct Suggested<'a>(&'a Option<&'static str>);

impl fmt::Display for Suggested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(near) => write!(f, ": did you mean {near}?"),
            None => f.write_str(": `config show` lists them"),
        }
    }
}
