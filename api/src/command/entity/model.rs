//! What entities say of their tables, read out of their sources: so it can be told what somebody changed in them, whether
//! or not anything compiles as yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sea_orm_migration::{prelude::*, schema};
use syn::{Attribute, Expr as Code, ExprLit, ExprUnary, Fields, Item, Lit, Type, UnOp, meta::ParseNestedMeta};

use super::{EntityError, render::Files};
use crate::schema::Action;

/// Entities, by their tables.
pub(in super::super) type Model = BTreeMap<String, Entity>;

/// A table, as far as an entity can say what it is.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Entity {
    pub(in super::super) columns: Vec<Column>,
    /// The primary key.
    pub(in super::super) key: Vec<String>,
    /// What is unique: lists of columns.
    pub(in super::super) uniques: BTreeSet<Vec<String>>,
    /// What refers to other tables, by its column.
    pub(in super::super) references: BTreeMap<String, Reference>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Column {
    pub(in super::super) name: String,
    pub(in super::super) kind: Kind,
    pub(in super::super) is_optional: bool,
    /// What it was called.
    pub(in super::super) renamed_from: Option<String>,
    /// What it holds in the rows that there are.
    pub(in super::super) filled: Option<Fill>,
}

impl Column {
    /// Whether rows have the same in both; how they came to it is no matter.
    pub(in super::super) fn is_as(&self, other: &Self) -> bool {
        let Self { name, kind, is_optional, renamed_from: _, filled: _ } = self;
        *name == other.name && kind.is_as(other.kind) && *is_optional == other.is_optional
    }
}

/// A reference to the `id` of another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Reference {
    pub(in super::super) column: String,
    pub(in super::super) parent: String,
    pub(in super::super) on_update: Action,
    pub(in super::super) on_delete: Action,
}

/// A value that is written in an entity.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Fill {
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(String),
}

/// A type of columns that both databases have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Text,
    Varchar(Option<u32>),
    SmallInteger,
    BigInteger,
    Float,
    Double,
    Boolean,
    Bytes,
    Date,
    Time,
    DateTime,
    Timestamp,
    Json,
    JsonBinary,
    Uuid,
}

impl Kind {
    /// Whether an entity says the same of both.
    pub(in super::super) fn is_as(self, other: Self) -> bool {
        // Entities are not told the length.
        matches!((self, other), (Self::Varchar(_), Self::Varchar(_))) || self == other
    }

    /// What it is called where it is made, in `sea_orm_migration::schema`.
    fn function(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Varchar(None) => "string",
            Self::Varchar(Some(_)) => "string_len",
            Self::SmallInteger => "small_integer",
            Self::BigInteger => "big_integer",
            Self::Float => "float",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Bytes => "blob",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTime => "date_time",
            Self::Timestamp => "timestamp_with_time_zone",
            Self::Json => "json",
            Self::JsonBinary => "json_binary",
            Self::Uuid => "uuid",
        }
    }

    /// The code that makes a column of it, such as `text_null("note")`.
    pub(in super::super) fn code(self, name: &str, is_optional: bool) -> String {
        let (function, null) = (self.function(), if is_optional { "_null" } else { "" });
        match self {
            Self::Varchar(Some(length)) => format!("{function}{null}(\"{name}\", {length})"),
            _ => format!("{function}{null}(\"{name}\")"),
        }
    }

    /// What that code makes.
    pub(in super::super) fn column(self, name: &str, is_optional: bool) -> ColumnDef {
        let name = Alias::new(name);
        let mut column = match self {
            Self::Text => schema::text(name),
            Self::Varchar(None) => schema::string(name),
            Self::Varchar(Some(length)) => schema::string_len(name, length),
            Self::SmallInteger => schema::small_integer(name),
            Self::BigInteger => schema::big_integer(name),
            Self::Float => schema::float(name),
            Self::Double => schema::double(name),
            Self::Boolean => schema::boolean(name),
            Self::Bytes => schema::blob(name),
            Self::Date => schema::date(name),
            Self::Time => schema::time(name),
            Self::DateTime => schema::date_time(name),
            Self::Timestamp => schema::timestamp_with_time_zone(name),
            Self::Json => schema::json(name),
            Self::JsonBinary => schema::json_binary(name),
            Self::Uuid => schema::uuid(name),
        };
        if is_optional {
            column.null();
        }
        column
    }

    /// As people call it.
    pub(in super::super) fn words(self) -> String {
        self.function().replace('_', " ")
    }

    /// Of a type of Rust, and what is said beside it.
    fn read(rust: &str, said: Option<&str>) -> Result<Self, String> {
        Ok(match (rust, said) {
            ("String", None) => Self::Varchar(None),
            ("String", Some("Text")) => Self::Text,
            ("String", Some(said)) if said.starts_with("String(") => {
                let length = said.split(['(', ')']).filter_map(|word| word.trim().parse().ok()).next();
                Self::Varchar(length)
            }
            ("i16", _) => Self::SmallInteger,
            ("i64", _) => Self::BigInteger,
            ("f32", _) => Self::Float,
            ("f64", _) => Self::Double,
            ("bool", _) => Self::Boolean,
            ("Vec<u8>", _) => Self::Bytes,
            ("Date", _) => Self::Date,
            ("Time", _) => Self::Time,
            ("DateTime", _) => Self::DateTime,
            ("DateTimeWithTimeZone", _) => Self::Timestamp,
            ("Json", Some("JsonBinary")) => Self::JsonBinary,
            ("Json", _) => Self::Json,
            ("Uuid", _) => Self::Uuid,
            ("i8" | "i32" | "u8" | "u16" | "u32" | "u64", _) => return Err("use i64".to_owned()),
            ("DateTimeUtc", _) => return Err("use DateTimeWithTimeZone".to_owned()),
            _ => return Err("use a type that both databases have, such as String, i64, bool or Uuid".to_owned()),
        })
    }
}

impl Fill {
    /// What stands for nothing, among values of this type.
    pub(in super::super) fn neutral(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Text | Kind::Varchar(_) => Some(Self::Text(String::new())),
            Kind::SmallInteger | Kind::BigInteger => Some(Self::Integer(0)),
            Kind::Float | Kind::Double => Some(Self::Float(0.0)),
            Kind::Boolean => Some(Self::Boolean(false)),
            Kind::Date => Some(Self::Text("1970-01-01".to_owned())),
            Kind::Time => Some(Self::Text("00:00:00".to_owned())),
            Kind::DateTime => Some(Self::Text("1970-01-01T00:00:00".to_owned())),
            Kind::Timestamp => Some(Self::Text("1970-01-01T00:00:00+00:00".to_owned())),
            Kind::Json | Kind::JsonBinary => Some(Self::Text("null".to_owned())),
            Kind::Bytes | Kind::Uuid => None,
        }
    }

    /// As Rust has it.
    pub(in super::super) fn code(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Boolean(value) => value.to_string(),
            Self::Text(value) => format!("{value:?}"),
        }
    }

    pub(in super::super) fn value(&self) -> Expr {
        match self {
            Self::Integer(value) => Expr::val(*value),
            Self::Float(value) => Expr::val(*value),
            Self::Boolean(value) => Expr::val(*value),
            Self::Text(value) => Expr::val(value.as_str()),
        }
    }

    fn read(code: &Code) -> Option<Self> {
        match code {
            Code::Lit(ExprLit { lit, .. }) => match lit {
                Lit::Int(value) => value.base10_parse().ok().map(Self::Integer),
                Lit::Float(value) => value.base10_parse().ok().map(Self::Float),
                Lit::Bool(value) => Some(Self::Boolean(value.value)),
                Lit::Str(value) => Some(Self::Text(value.value())),
                _ => None,
            },
            Code::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => match Self::read(expr)? {
                Self::Integer(value) => Some(Self::Integer(-value)),
                Self::Float(value) => Some(Self::Float(-value)),
                Self::Boolean(_) | Self::Text(_) => None,
            },
            _ => None,
        }
    }
}

impl Reference {
    /// What becomes of it, as sea-query and Rust have it.
    pub(in super::super) const fn action(action: Action) -> (ForeignKeyAction, &'static str) {
        match action {
            Action::Restrict => (ForeignKeyAction::Restrict, "ForeignKeyAction::Restrict"),
            Action::Cascade => (ForeignKeyAction::Cascade, "ForeignKeyAction::Cascade"),
            Action::SetNull => (ForeignKeyAction::SetNull, "ForeignKeyAction::SetNull"),
            Action::SetDefault => (ForeignKeyAction::SetDefault, "ForeignKeyAction::SetDefault"),
            Action::NoAction => (ForeignKeyAction::NoAction, "ForeignKeyAction::NoAction"),
        }
    }

    fn read_action(word: &str) -> Option<Action> {
        Some(match word {
            "Restrict" => Action::Restrict,
            "Cascade" => Action::Cascade,
            "SetNull" => Action::SetNull,
            "SetDefault" => Action::SetDefault,
            "NoAction" => Action::NoAction,
            _ => return None,
        })
    }
}

impl Entity {
    /// Whether both say the same, in whatever order.
    pub(in super::super) fn is_as(&self, other: &Self) -> bool {
        let Self { columns, key, uniques, references } = self;
        let is_there = |column: &Column| other.column(&column.name).is_some_and(|there| there.is_as(column));
        columns.len() == other.columns.len()
            && columns.iter().all(is_there)
            && (key, uniques, references) == (&other.key, &other.uniques, &other.references)
    }

    pub(in super::super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What the entities in a folder say.
pub(in super::super) fn read_folder(folder: &Path) -> Result<Model, EntityError> {
    let failed = |source| EntityError::File { path: folder.to_path_buf(), source };
    if !folder.is_dir() {
        return Err(EntityError::NoFolder { path: folder.to_path_buf() });
    }
    let mut files = Files::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && name.ends_with(".rs")
        {
            let text = fs::read_to_string(&path).map_err(|source| EntityError::File { path: path.clone(), source })?;
            files.insert(name.to_owned(), text);
        }
    }
    read(&files)
}

/// What entities say.
pub(in super::super) fn read(files: &Files) -> Result<Model, EntityError> {
    let mut entities = Vec::new();
    for (file, text) in files.iter().filter(|(name, _)| name.ends_with(".rs")) {
        let refused = |why: String| EntityError::Source { file: file.clone(), why };
        let source = syn::parse_file(text).map_err(|error| refused(error.to_string()))?;
        for item in &source.items {
            if let Item::Struct(item) = item
                && item.ident == "Model"
                && let Some(table) = table_name(&item.attrs).map_err(|error| refused(error.to_string()))?
            {
                let module = file.trim_end_matches(".rs").to_owned();
                entities.push((module, table, read_fields(&item.fields).map_err(refused)?));
            }
        }
    }
    // References name the module, and what is in it has the name of the table.
    let tables = entities.iter().map(|(module, table, _)| (module.clone(), table.clone())).collect::<BTreeMap<_, _>>();
    let mut model = Model::new();
    for (module, table, mut entity) in entities {
        for reference in entity.references.values_mut() {
            if reference.parent.is_empty() {
                reference.parent.clone_from(&table);
                continue;
            }
            let Some(parent) = tables.get(&reference.parent) else {
                let why = format!("{} refers to {}, for which there is no file", reference.column, reference.parent);
                return Err(EntityError::Source { file: format!("{module}.rs"), why });
            };
            reference.parent.clone_from(parent);
        }
        model.insert(table, entity);
    }
    Ok(model)
}

fn table_name(attributes: &[Attribute]) -> syn::Result<Option<String>> {
    let said = said(attributes)?;
    Ok(said.text("table_name"))
}

fn read_fields(fields: &Fields) -> Result<Entity, String> {
    let mut entity = Entity::default();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let field_name = ident.to_string().trim_start_matches("r#").to_owned();
        let said = said(&field.attrs).map_err(|error| format!("{field_name}: {error}"))?;
        let (outer, inner) = generic(&field.ty);
        match outer.as_str() {
            "HasMany" | "HasOne" => continue,
            "BelongsTo" => {
                let reference = reference(&said, &field.ty).map_err(|why| format!("{field_name}: {why}"))?;
                entity.references.insert(reference.column.clone(), reference);
                continue;
            }
            _ => {}
        }
        let name = said.text("column_name").unwrap_or(field_name);
        let is_optional = outer == "Option";
        let rust = if is_optional { inner } else { words(&field.ty) };
        let kind = Kind::read(&rust, said.text("column_type").as_deref())
            .map_err(|advice| format!("{name} is {rust}: {advice}"))?;
        if said.has("primary_key") {
            entity.key.push(name.clone());
        }
        if said.has("unique") {
            entity.uniques.insert(vec![name.clone()]);
        }
        if let Some(group) = said.text("unique_key") {
            groups.entry(group).or_default().push(name.clone());
        }
        let filled = match said.value("default_value") {
            Some(code) => Some(Fill::read(code).ok_or_else(|| format!("{name}: its default is no plain value"))?),
            None => None,
        };
        entity.columns.push(Column { name, kind, is_optional, renamed_from: said.text("renamed_from"), filled });
    }
    entity.uniques.extend(groups.into_values());
    Ok(entity)
}

fn reference(said: &Said, kind: &Type) -> Result<Reference, String> {
    let plain = |name: &str| {
        let columns = said.text(name).ok_or_else(|| format!("it does not say `{name}`"))?;
        match columns.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            true => Ok(columns),
            false => Err("a reference of several columns is to be written by hand".to_owned()),
        }
    };
    let action = |name: &str| match said.text(name) {
        None => Ok(Action::NoAction),
        Some(word) => {
            Reference::read_action(&word).ok_or_else(|| format!("{word} is nothing that becomes of a reference"))
        }
    };
    // `super::users::Entity`, perhaps in an `Option`; the table itself is `Entity`.
    let path = words(kind);
    let (path, _) = path.rsplit_once("::").unwrap_or_default();
    let parent = path.rsplit("::").next().unwrap_or(path).to_owned();
    if plain("to")? != "id" {
        return Err("a reference to another column than `id` is to be written by hand".to_owned());
    }
    Ok(Reference { column: plain("from")?, parent, on_update: action("on_update")?, on_delete: action("on_delete")? })
}

/// What may be said there: all that SeaORM takes, whether or not it matters here. What is misspelt would be taken for
/// something that is not said.
const KNOWN: [&str; 37] = [
    "auto_increment",
    "belongs_to",
    "column_name",
    "column_type",
    "comment",
    "condition_type",
    "default_expr",
    "default_value",
    "enum_name",
    "extra",
    "from",
    "has_many",
    "has_one",
    "ignore",
    "indexed",
    "is_owner",
    "null_default",
    "nullable",
    "on_condition",
    "on_delete",
    "on_update",
    "primary_key",
    "relation_enum",
    "relation_reverse",
    "rename_all",
    "renamed_from",
    "save_as",
    "schema_name",
    "select_as",
    "self_ref",
    "skip_fk",
    "table_name",
    "to",
    "unique",
    "unique_key",
    "via",
    "via_rel",
];

/// What is said in `#[sea_orm(…)]`.
#[derive(Default)]
struct Said(BTreeMap<String, Option<Code>>);

impl Said {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn value(&self, name: &str) -> Option<&Code> {
        self.0.get(name)?.as_ref()
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Code::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        }
    }
}

fn said(attributes: &[Attribute]) -> syn::Result<Said> {
    let mut said = Said::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("sea_orm")) {
        if attribute.meta.require_list().is_err() {
            continue;
        }
        attribute.parse_nested_meta(|meta: ParseNestedMeta<'_>| {
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if !KNOWN.contains(&name.as_str()) {
                return Err(meta.error(format!("`{name}` is nothing that SeaORM or this program knows")));
            }
            let value = if meta.input.peek(syn::Token![=]) { Some(meta.value()?.parse::<Code>()?) } else { None };
            said.0.insert(name, value);
            Ok(())
        })?;
    }
    Ok(said)
}

/// The outermost type of a field, and what is in its brackets.
fn generic(kind: &Type) -> (String, String) {
    let words = words(kind);
    match words.split_once('<') {
        Some((outer, inner)) => {
            let outer = outer.rsplit("::").next().unwrap_or(outer);
            (outer.to_owned(), inner.strip_suffix('>').unwrap_or(inner).to_owned())
        }
        None => (words.clone(), String::new()),
    }
}

/// A type without blanks.
fn words(kind: &Type) -> String {
    use quote::ToTokens;

    kind.to_token_stream().to_string().chars().filter(|letter| !letter.is_whitespace()).collect()
}
