//! What a collection needs beside its documents: indexes and a validator. They are made, and compared with what is there.

use std::time::Duration;

use chrono::{DateTime as Instant, Utc};
use domain::{
    Deviation, Difference, DocumentsError, IndexActivity,
    document::{Collection, Direction, ID, Index, IndexUse, Kind, WORDS},
};
use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};

use super::schema;
use crate::adapter::mongo_connection::{Failure, MongoConnection, code};

/// How long making indexes may take, of all the documents that are there.
const LIMIT: Duration = Duration::from_secs(3600);
/// The name of the index that every collection has.
const OF_IDS: &str = "_id_";
/// What a difference is called that is about the validator.
const VALIDATOR: &str = "validator";

/// What a collection declares, in MongoDB's words.
pub(super) struct Declared {
    name: String,
    validator: Option<Document>,
    indexes: Vec<IndexModel>,
}

impl Declared {
    pub(super) fn of(collection: &Collection) -> Result<Self, DocumentsError> {
        Ok(Self {
            name: collection.name().to_owned(),
            validator: schema::validator(collection)?,
            indexes: collection.indexes().iter().map(|index| model(collection, index)).collect::<Result<_, _>>()?,
        })
    }

    /// Makes what is missing, and what is another anew.
    pub(super) async fn prepare(self, connection: &MongoConnection) -> Result<(), DocumentsError> {
        let Self { name, validator, indexes } = self;
        let prepared = connection.ask_for(LIMIT, |asked| async move {
            let there = validator_of(&asked.database, &name).await?;
            if there.is_none() {
                let mut create = doc! { "create": &name };
                create.extend(validator.iter().map(|validator| (VALIDATOR.to_owned(), validator.clone().into())));
                match asked.database.run_command(create).await {
                    // Somebody else was faster.
                    Err(error) if code::of(&error) == Some(code::NAMESPACE_EXISTS) => {}
                    created => drop(created?),
                }
            }
            if let (Some(there), Some(validator)) = (there, validator)
                && there != validator
            {
                asked.database.run_command(doc! { "collMod": &name, VALIDATOR: validator }).await?;
            }
            let collection = asked.database.collection::<Document>(&name);
            let found = collection.list_indexes().await?.try_collect::<Vec<_>>().await?;
            for index in indexes {
                let there = found.iter().find(|found| name_of(found) == name_of(&index));
                if there.is_some_and(|there| Essence::of(there) != Essence::of(&index)) {
                    match collection.drop_index(name_of(&index)).await {
                        Err(error) if code::of(&error) == Some(code::NO_INDEX) => {}
                        dropped => dropped?,
                    }
                }
                match collection.create_index(index).await {
                    // There is one for the same that nobody declared: that is drift.
                    Err(error) if code::of(&error) == Some(code::OTHER_INDEX) => {}
                    created => drop(created?),
                }
            }
            Ok(())
        });
        prepared.await.map_err(Failure::meaning)
    }

    pub(super) async fn drift(self, connection: &MongoConnection) -> Result<Vec<Difference>, DocumentsError> {
        let Self { name, validator, indexes } = self;
        let difference = |what: &str, how| Difference { collection: name.clone(), what: what.to_owned(), how };
        let there = connection.ask(|asked| {
            let name = name.clone();
            async move {
                let Some(validator) = validator_of(&asked.database, &name).await? else { return Ok(None) };
                let found = asked.database.collection::<Document>(&name).list_indexes().await?;
                Ok(Some((validator, found.try_collect::<Vec<_>>().await?)))
            }
        });
        let (validator_there, found) = there.await.map_err(Failure::meaning)?.unwrap_or_default();
        let mut differences = Vec::new();
        match (&validator, validator_there) {
            (None, there) if there.is_empty() => {}
            (None, _) => differences.push(difference(VALIDATOR, Deviation::Undeclared)),
            (Some(_), there) if there.is_empty() => differences.push(difference(VALIDATOR, Deviation::Missing)),
            (Some(validator), there) if *validator != there => {
                differences.push(difference(VALIDATOR, Deviation::Different));
            }
            (Some(_), _) => {}
        }
        for declared in &indexes {
            match found.iter().find(|found| name_of(found) == name_of(declared)) {
                None => differences.push(difference(name_of(declared), Deviation::Missing)),
                Some(found) if Essence::of(found) != Essence::of(declared) => {
                    differences.push(difference(name_of(declared), Deviation::Different));
                }
                Some(_) => {}
            }
        }
        let is_declared = |found: &&IndexModel| indexes.iter().any(|declared| name_of(declared) == name_of(found));
        let undeclared = found.iter().filter(|found| name_of(found) != OF_IDS && !is_declared(found));
        differences.extend(undeclared.map(|found| difference(name_of(found), Deviation::Undeclared)));
        Ok(differences)
    }
}

/// How often the indexes of a collection were used, but for that of the ids; none if it is not there.
pub(super) async fn activity(
    collection: &Collection,
    connection: &MongoConnection,
) -> Result<Vec<IndexActivity>, DocumentsError> {
    let found = connection.ask(|asked| async move {
        let collection = asked.database.collection::<Document>(collection.name());
        collection.aggregate([doc! { "$indexStats": {} }]).await?.try_collect::<Vec<_>>().await
    });
    let found = match found.await {
        Err(Failure::Said(error)) if code::of(&error) == Some(code::NO_NAMESPACE) => Vec::new(),
        found => found.map_err(Failure::meaning)?,
    };
    let read = |found: Document| {
        let (index, accesses) = (found.get_str("name").ok()?, found.get_document("accesses").ok()?);
        Some(IndexActivity {
            collection: collection.name().to_owned(),
            index: index.to_owned(),
            uses: u64::try_from(accesses.get_i64("ops").ok()?).ok()?,
            since: Some(
                Instant::<Utc>::from(accesses.get_datetime("since").ok()?.to_system_time()).fixed_offset().into(),
            ),
        })
    };
    Ok(found.into_iter().filter_map(read).filter(|activity| activity.index != OF_IDS).collect())
}

/// The validator of a collection that is there, which is empty if it has none.
async fn validator_of(database: &Database, name: &str) -> mongodb::error::Result<Option<Document>> {
    let mut found = database.list_collections().filter(doc! { "name": name }).await?;
    let found = found.try_next().await?;
    Ok(found.map(|found| found.options.validator.unwrap_or_default()))
}

fn name_of(index: &IndexModel) -> &str {
    index.options.as_ref().and_then(|options| options.name.as_deref()).unwrap_or_default()
}

/// What makes an index what it is.
#[derive(PartialEq)]
struct Essence {
    keys: Vec<(String, String)>,
    is_unique: bool,
    expire_after: Option<Duration>,
    partial: Option<Document>,
}

impl Essence {
    fn of(index: &IndexModel) -> Self {
        let options = index.options.clone().unwrap_or_default();
        Self {
            // Servers give 1 back as a number of another type.
            keys: index.keys.iter().map(|(path, direction)| (path.clone(), direction.to_string())).collect(),
            is_unique: options.unique.unwrap_or(false),
            expire_after: options.expire_after,
            partial: options.partial_filter_expression,
        }
    }
}

fn model(collection: &Collection, index: &Index) -> Result<IndexModel, DocumentsError> {
    let mut options = IndexOptions::default();
    options.name = Some(index.name.clone().into_owned());
    let keys = match &index.is {
        IndexUse::Fields { keys, is_unique } => {
            let lists = keys.iter().filter_map(|key| list_of(collection, &key.field.path)).collect::<Vec<_>>();
            if lists.iter().any(|list| *list != lists[0]) {
                return Err(DocumentsError::Unsupported("an index on fields in two lists".into()));
            }
            if *is_unique && !lists.is_empty() {
                return Err(DocumentsError::Unsupported("a unique index on fields in a list".into()));
            }
            if *is_unique {
                options.unique = Some(true);
                let is_there = |path: &str| (path.to_owned(), doc! { "$exists": true }.into());
                options.partial_filter_expression = Some(keys.iter().map(|key| is_there(&key.field.path)).collect());
            }
            let direction = |direction| match direction {
                Direction::Ascending => 1,
                Direction::Descending => -1,
            };
            let keys = keys.iter().map(|key| (key.field.path.clone().into_owned(), direction(key.direction).into()));
            // Among equals the id decides: with it, an index has the whole order of an answer.
            keys.chain((!is_unique).then(|| (ID.to_owned(), 1.into()))).collect()
        }
        IndexUse::Text { .. } => doc! { WORDS: 1 },
        IndexUse::Geo { field } => doc! { field.path.as_ref(): "2dsphere" },
        IndexUse::Ttl { field, after } => {
            options.expire_after = Some(Duration::from_secs(after.as_secs() + u64::from(after.subsec_nanos() > 0)));
            doc! { field.path.as_ref(): 1 }
        }
    };
    Ok(IndexModel::builder().keys(keys).options(options).build())
}

/// The path of the first list on the way to a field, or of the field if it is one.
fn list_of<'a>(collection: &Collection, path: &'a str) -> Option<&'a str> {
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    ends.map(|end| &path[..end]).find(|path| matches!(collection.look_up(path), Some((Kind::List(_), _))))
}
