//! A noun to be written, with the names that it has in each place.

use std::collections::BTreeMap;

use migration::{MigrationTrait, convention};
use sea_orm_migration::prelude::*;

use super::{
    GenerateError,
    field::{COMMON, Field},
    tree::Tree,
};

/// Rust's own words that would be names otherwise (The Rust Reference, "Keywords").
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Whether it can be the name of a module, a table and a column.
pub(super) fn is_name(text: &str) -> bool {
    let is_written_so = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    // PostgreSQL cuts names off after 63 bytes, and those of constraints have the names of columns in them.
    is_written_so && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 30 && !KEYWORDS.contains(&text)
}

/// The nouns that there are, by their tables.
pub(super) struct Parents(BTreeMap<String, Parent>);

/// A noun that can be referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    /// Its type, such as `User`.
    pub(super) model: String,
    /// The type of its ids, such as `UserId`.
    pub(super) id: String,
    /// Its file, without the ending.
    pub(super) module: String,
    /// Whether its own test says how one is made; how those that came with the workspace are, `resource` says.
    pub(super) says_how: bool,
}

impl Parents {
    /// Looks for them in the sources of the domain.
    pub(super) fn read(tree: &Tree) -> Result<Self, GenerateError> {
        let mut parents = BTreeMap::new();
        for (module, text) in tree.sources("domain/src")? {
            for (model, table) in text.lines().filter_map(declared) {
                let id = format!("{model}Id");
                let has_id = text.contains(&format!("pub type {id} "));
                let id = if has_id { id } else { format!("Id<{model}>") };
                let says_how = tree.contains(&format!("tests/it/{module}.rs"), "pub(crate) async fn valid(");
                let parent = Parent { model: model.to_owned(), id, module: module.clone(), says_how };
                parents.insert(table.to_owned(), parent);
            }
        }
        Ok(Self(parents))
    }

    fn find(&self, table: &str) -> Result<&Parent, GenerateError> {
        self.0.get(table).ok_or_else(|| {
            let known = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            GenerateError::UnknownTable { table: table.to_owned(), known }
        })
    }
}

/// The type and the table in a line such as `pub struct User = "user" in users {`.
fn declared(line: &str) -> Option<(&str, &str)> {
    let (model, rest) = line.trim().strip_prefix("pub struct ")?.split_once(" = \"")?;
    let (_, table) = rest.split_once("\" in ")?;
    let table = table.strip_suffix(" {")?;
    is_name(table).then_some((model, table))
}

/// A noun to be written.
pub(super) struct Noun {
    /// `credit_card`: its file, and the name of its test.
    pub(super) name: String,
    /// `CreditCard`
    pub(super) model: String,
    /// `credit card`
    pub(super) words: String,
    /// `credit_cards`
    pub(super) table: String,
    /// With what each refers to, if it is a reference.
    pub(super) fields: Vec<(Field, Option<Parent>)>,
}

impl Noun {
    pub(super) fn new(
        name: &str,
        plural: Option<&str>,
        fields: Vec<Field>,
        parents: &Parents,
    ) -> Result<Self, GenerateError> {
        let table = plural.map_or_else(|| plural_of(name), str::to_owned);
        for name in [name, &table] {
            if !is_name(name) {
                return Err(GenerateError::Name { name: name.to_owned() });
            }
        }
        let mut seen = COMMON.to_vec();
        for field in &fields {
            if seen.contains(&field.name.as_str()) {
                return Err(GenerateError::Field { name: field.name.clone() });
            }
            seen.push(&field.name);
        }
        let fields = fields.into_iter().map(|field| {
            let parent = field.parent().map(|table| parents.find(table)).transpose()?.cloned();
            Ok((field, parent))
        });
        let fields = fields.collect::<Result<Vec<_>, GenerateError>>()?;
        if fields.iter().all(|(_, parent)| parent.is_some()) {
            return Err(GenerateError::NothingToChange);
        }
        let model = name.split('_').map(capitalised).collect();
        Ok(Self { name: name.to_owned(), model, words: name.replace('_', " "), table, fields })
    }

    /// Where it is served.
    pub(super) fn path(&self) -> String {
        format!("/v1/{}", self.segment())
    }

    /// Its part of that.
    pub(super) fn segment(&self) -> String {
        self.table.replace('_', "-")
    }

    /// `an invoice`
    pub(super) fn with_article(&self) -> String {
        let article = if self.words.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("{article} {}", self.words)
    }

    /// What its migration does, without having been compiled.
    pub(super) fn step(&self, migration: String) -> Step {
        let fields = self.fields.iter().map(|(field, _)| field.clone()).collect();
        Step { migration, table: self.table.clone(), fields }
    }
}

/// The word with a capital letter.
pub(in super::super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn plural_of(name: &str) -> String {
    let is_vowel = |letter: char| matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u');
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with(is_vowel) => format!("{stem}ies"),
        _ if ["s", "x", "z", "ch", "sh"].iter().any(|ending| name.ends_with(ending)) => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

/// The migration that creates the table of a noun, as it will be once it is compiled.
pub(super) struct Step {
    migration: String,
    table: String,
    fields: Vec<Field>,
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        &self.migration
    }
}

/// The conventions take names that live as long as the program: that of a generator is over when it has written what it
/// is asked for.
pub(in super::super) fn lasting(name: &str) -> &'static str {
    String::leak(name.to_owned())
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let columns = self.fields.iter().map(Field::column);
        let mut table = convention::record(lasting(&self.table)).columns(columns);
        for field in &self.fields {
            let name = lasting(&field.name);
            if let Some(parent) = field.parent() {
                table = table.references(name, lasting(parent));
            }
            if field.is_unique {
                table = table.unique(&[name]);
            } else if field.parent().is_some() {
                table = table.index(&[name]);
            }
        }
        table.cached().audited().create(schema).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_of_them_are_called_as_in_english() {
        for (one, several) in [
            ("invoice", "invoices"),
            ("category", "categories"),
            ("day", "days"),
            ("box", "boxes"),
            ("address", "addresses"),
            ("batch", "batches"),
            ("credit_card", "credit_cards"),
        ] {
            assert_eq!(plural_of(one), several);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_none() {
        for name in ["", "Invoice", "1st", "type", "in voice", "a-b", "_a", "ä", "x'; DROP TABLE users", "self"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("invoice2") && is_name("credit_card"));
    }

    #[test]
    fn nouns_are_known_by_how_they_are_declared() {
        assert_eq!(declared("    pub struct User = \"user\" in users {"), Some(("User", "users")));
        assert_eq!(declared("    pub struct BirthChart = \"birth chart\" in \"birthCharts\" {"), None);
        assert_eq!(declared("pub struct NewUser => User {"), None);
    }
}
