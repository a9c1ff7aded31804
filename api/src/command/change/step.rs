//! A step from some tables to others: its code, and what that does.

use migration::convention::{self, Key};
use sea_orm_migration::prelude::*;

use super::{
    edit::{Edit, NewColumn, key_code},
    named::{NamedCheck, NamedIndex},
};
use crate::command::{
    entity::model::{Column, Entity, Kind, Reference},
    generate::lasting,
};

/// What is done to one table.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Create(TableSpec),
    Drop(TableSpec),
    Alter(Alter),
}

/// A table to be made, or to be made again.
#[derive(Debug, Clone)]
pub(super) struct TableSpec {
    pub(super) name: String,
    pub(super) columns: Vec<NewColumn>,
    pub(super) key: Vec<String>,
    pub(super) references: Vec<Reference>,
    pub(super) indexes: Vec<NamedIndex>,
    pub(super) checks: Vec<NamedCheck>,
    pub(super) cached: Cached,
    pub(super) is_audited: bool,
}

/// What the cache is told of a table.
#[derive(Debug, Clone)]
pub(super) enum Cached {
    Nothing,
    /// What the convention has for such a table.
    Usual,
    /// By what its rows are looked up.
    By(Vec<OwnedKey>),
}

/// Changes of a table that stays.
#[derive(Debug, Clone)]
pub(super) struct Alter {
    /// What it is called before.
    pub(super) table: String,
    pub(super) edits: Vec<Edit>,
    pub(super) told: Told,
}

/// What is told of a table, before and after, where that changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// What its rows are looked up by.
    pub(super) keys: Option<(Vec<OwnedKey>, Vec<OwnedKey>)>,
    /// The columns of which the audit trail is not told.
    pub(super) masked: Option<(Vec<String>, Vec<String>)>,
}

/// As [`Key`], for longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnedKey {
    Row,
    Id(String),
    Text(String),
}

impl OwnedKey {
    pub(super) fn of(key: &Key<'_>) -> Self {
        match key {
            Key::Row => Self::Row,
            Key::Id(column) => Self::Id((*column).to_owned()),
            Key::Text(column) => Self::Text((*column).to_owned()),
        }
    }

    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Row => None,
            Self::Id(column) | Self::Text(column) => Some(column),
        }
    }

    pub(super) fn rename(&mut self, to: &str) {
        match self {
            Self::Row => {}
            Self::Id(column) | Self::Text(column) => to.clone_into(column),
        }
    }

    fn as_key(&self) -> Key<'_> {
        match self {
            Self::Row => Key::Row,
            Self::Id(column) => Key::Id(column),
            Self::Text(column) => Key::Text(column),
        }
    }
}

impl Step {
    /// What takes it back.
    pub(super) fn back(&self) -> Self {
        match self {
            Self::Create(table) => Self::Drop(table.clone()),
            Self::Drop(table) => Self::Create(table.clone()),
            Self::Alter(alter) => Self::Alter(alter.back()),
        }
    }

    /// The statements that say it.
    pub(super) fn code(&self) -> Vec<String> {
        match self {
            Self::Create(table) => table.code(),
            Self::Drop(TableSpec { name, cached: Cached::Usual | Cached::By(_), .. }) => {
                vec![format!("drop_cached(schema, {name:?}).await")]
            }
            Self::Drop(TableSpec { name, is_audited, .. }) => {
                let quiet = is_audited.then(|| format!("unaudited(schema, {name:?}).await"));
                let drop = format!("schema.drop_table(Table::drop().table({name:?}).take()).await");
                quiet.into_iter().chain([drop]).collect()
            }
            Self::Alter(alter) => vec![alter.code()],
        }
    }

    /// Does it.
    pub(super) async fn run(&self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        match self {
            Self::Create(table) => table.create(schema).await,
            Self::Drop(TableSpec { name, cached: Cached::Usual | Cached::By(_), .. }) => {
                convention::drop_cached(schema, lasting(name)).await
            }
            Self::Drop(TableSpec { name, is_audited, .. }) => {
                if *is_audited {
                    convention::unaudited(schema, name).await?;
                }
                schema.drop_table(Table::drop().table(Alias::new(name)).take()).await
            }
            Self::Alter(alter) => alter.run(schema).await,
        }
    }
}

impl Alter {
    fn back(&self) -> Self {
        let Self { table, edits, told: Told { keys, masked } } = self;
        let renamed = edits.iter().find_map(|edit| match edit {
            Edit::RenameTable { from: _, to } => Some(to),
            _ => None,
        });
        Self {
            table: renamed.unwrap_or(table).clone(),
            edits: edits.iter().rev().map(Edit::back).collect(),
            told: Told {
                keys: keys.clone().map(|(before, after)| (after, before)),
                masked: masked.clone().map(|(before, after)| (after, before)),
            },
        }
    }

    fn code(&self) -> String {
        let Self { table, edits, told: Told { keys, masked } } = self;
        let edits = edits.iter().map(Edit::code).collect::<String>();
        let keys = keys.as_ref().map(|(_, keys)| {
            let keys = keys.iter().map(|key| key_code(&key.as_key())).collect::<Vec<_>>();
            format!(".cached(&[{}])", keys.join(", "))
        });
        let masked = masked.as_ref().map(|(_, masked)| format!(".audited(&{masked:?})"));
        let (keys, masked) = (keys.unwrap_or_default(), masked.unwrap_or_default());
        format!("alter({table:?}){edits}{keys}{masked}.apply(schema).await")
    }

    async fn run(&self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let Self { table, edits, told: Told { keys, masked } } = self;
        let mut alteration = edits.iter().fold(convention::alter(table), |alteration, edit| edit.add_to(alteration));
        if let Some((_, keys)) = keys {
            alteration = alteration.cached(&keys.iter().map(OwnedKey::as_key).collect::<Vec<_>>());
        }
        if let Some((_, masked)) = masked {
            alteration = alteration.audited(&masked.iter().map(String::as_str).collect::<Vec<_>>());
        }
        alteration.apply(schema).await
    }
}

impl TableSpec {
    /// A table that an entity says is to be.
    pub(super) fn new(name: &str, entity: &Entity) -> Self {
        let columns = entity.columns.iter().map(|column| NewColumn { column: column.clone(), default: None });
        let uniques = entity.uniques.iter().map(|columns| NamedIndex::new(name, true, columns.clone()));
        let leads = |column: &String| {
            let leads = |columns: &Vec<String>| columns.first() == Some(column);
            leads(&entity.key) || entity.uniques.iter().any(leads)
        };
        let referring = entity.references.keys().filter(|column| !leads(column));
        let referring = referring.map(|column| NamedIndex::new(name, false, vec![column.clone()]));
        let mut table = Self {
            name: name.to_owned(),
            columns: columns.collect(),
            key: entity.key.clone(),
            references: entity.references.values().cloned().collect(),
            indexes: uniques.chain(referring).collect(),
            checks: Vec::new(),
            cached: Cached::Nothing,
            is_audited: false,
        };
        let is_record = COMMON.iter().all(|common| table.columns.iter().any(|new| common.is(&new.column)));
        if is_record {
            let version = table.columns.iter_mut().filter(|new| new.column.name == "version");
            version.for_each(|new| new.default = Some("1".to_owned()));
            (table.cached, table.is_audited) = (Cached::Usual, true);
        }
        table
    }

    /// Whether it has the columns of a record, which `record` makes.
    fn is_record(&self) -> bool {
        let has = |common: &Common| {
            let default = common.default.map(str::to_owned);
            self.columns.iter().any(|new| common.is(&new.column) && new.default == default)
        };
        self.key == ["id"] && COMMON.iter().all(has)
    }

    /// The columns that have to be named.
    fn own_columns(&self) -> impl Iterator<Item = &NewColumn> {
        let is_record = self.is_record();
        self.columns.iter().filter(move |new| !is_record || !COMMON.iter().any(|common| common.is(&new.column)))
    }

    fn code(&self) -> Vec<String> {
        let Self { name, key, references, indexes, checks, cached, is_audited, .. } = self;
        let start = if self.is_record() { "record" } else { "table" };
        let mut code = format!("{start}({name:?})");
        let columns = self.own_columns().map(|new| {
            let is_key = !self.is_record() && *key == [new.column.name.clone()];
            if is_key { format!("{}.primary_key().take()", new.code()) } else { new.code() }
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        if !columns.is_empty() {
            code += &format!(".columns([{columns}])");
        }
        if key.len() > 1 {
            code += &format!(".primary_key(&{key:?})");
        }
        for Reference { column, parent, .. } in references.iter().filter(|reference| reference.is_usual()) {
            code += &format!(".references({column:?}, {parent:?})");
        }
        for index in indexes {
            if let Some(columns) = &index.columns {
                code += &format!(".{}(&{columns:?})", if index.is_unique { "unique" } else { "index" });
            }
        }
        code += if matches!(cached, Cached::Usual) { ".cached()" } else { "" };
        code += if *is_audited { ".audited()" } else { "" };
        let edits = self.rest(checks).iter().map(Edit::code).collect::<String>();
        let mut statements = vec![format!("{code}.create(schema).await")];
        if let Cached::By(keys) = cached {
            let keys = keys.iter().map(|key| key_code(&key.as_key())).collect::<Vec<_>>().join(", ");
            statements.push(format!("cached(schema, {name:?}, &[{keys}]).await"));
        }
        if !edits.is_empty() {
            statements.push(format!("alter({name:?}){edits}.apply(schema).await"));
        }
        statements
    }

    /// What cannot be said where a table is made.
    fn rest(&self, checks: &[NamedCheck]) -> Vec<Edit> {
        let references = self.references.iter().filter(|reference| !reference.is_usual()).cloned().map(Edit::Refer);
        let indexes = self.indexes.iter().filter(|index| index.columns.is_none()).cloned().map(Edit::Index);
        references.chain(checks.iter().cloned().map(Edit::Check)).chain(indexes).collect()
    }

    async fn create(&self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let Self { name, key, references, indexes, checks, cached, is_audited, .. } = self;
        let start = if self.is_record() { convention::record } else { convention::table };
        let names = |columns: &[String]| columns.iter().map(|column| lasting(column)).collect::<Vec<_>>();
        let columns = self.own_columns().map(|new| {
            let is_key = !self.is_record() && *key == [new.column.name.clone()];
            if is_key { new.definition().primary_key().take() } else { new.definition() }
        });
        let mut table = start(lasting(name)).columns(columns);
        if key.len() > 1 {
            table = table.primary_key(&names(key));
        }
        for Reference { column, parent, .. } in references.iter().filter(|reference| reference.is_usual()) {
            table = table.references(lasting(column), lasting(parent));
        }
        for index in indexes {
            let Some(columns) = &index.columns else { continue };
            table = if index.is_unique { table.unique(&names(columns)) } else { table.index(&names(columns)) };
        }
        if matches!(cached, Cached::Usual) {
            table = table.cached();
        }
        if *is_audited {
            table = table.audited();
        }
        table.create(schema).await?;
        if let Cached::By(keys) = cached {
            convention::cached(schema, name, &keys.iter().map(OwnedKey::as_key).collect::<Vec<_>>()).await?;
        }
        let edits = self.rest(checks);
        if edits.is_empty() {
            return Ok(());
        }
        edits.iter().fold(convention::alter(name), |alteration, edit| edit.add_to(alteration)).apply(schema).await
    }
}

/// A column that every record has.
struct Common {
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
}

const COMMON: [Common; 4] = [
    Common { name: "id", kind: Kind::Uuid, default: None },
    Common { name: "version", kind: Kind::BigInteger, default: Some("1") },
    Common { name: "created_at", kind: Kind::Timestamp, default: None },
    Common { name: "updated_at", kind: Kind::Timestamp, default: None },
];

impl Common {
    fn is(&self, column: &Column) -> bool {
        column.name == self.name && column.kind == self.kind && !column.is_optional
    }
}

/// What code for these steps has to have in scope.
pub(super) fn uses(code: &str) -> (String, String) {
    let has = |name: &str| code.contains(name);
    let makers = [
        "text",
        "string",
        "string_len",
        "small_integer",
        "big_integer",
        "float",
        "double",
        "boolean",
        "blob",
        "date",
        "time",
        "date_time",
        "timestamp_with_time_zone",
        "json",
        "json_binary",
        "uuid",
    ];
    let makers = makers.iter().flat_map(|maker| [(*maker).to_owned(), format!("{maker}_null")]);
    let called = |name: &String| {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        code.match_indices(&format!("{name}(")).any(|(at, _)| !code[..at].ends_with(is_part))
    };
    let makers = makers.filter(called).collect::<Vec<_>>();
    let head = match makers.as_slice() {
        [] => "prelude::*".to_owned(),
        makers => format!("{{prelude::*, schema::{{{}}}}}", makers.join(", ")),
    };
    let ours = ["alter", "cached", "drop_cached", "record", "table", "unaudited"];
    let ours = ours.iter().copied().filter(|name| called(&(*name).to_owned()));
    let ours = has("Key::").then_some("Key").into_iter().chain(ours);
    let ours = ours.collect::<Vec<_>>().join(", ");
    (head, format!("\nuse crate::convention::{{{ours}}};\n"))
}
