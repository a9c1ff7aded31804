//! `seed`: fills the database with made-up people and what belongs to them.
//!
//! What is made follows from the number of the seed alone: on an empty database the same number gives the same ids,
//! names and times. Running it again makes what is missing, and so usually nothing.

mod made_up;
mod words;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use domain::{
    Account, DataModelFilter, ManualClock, NewAccount, NewContent, NewDataModel, NewRelationship, NewSetting,
    NewSubscription, NewTag, NewTransfer, NewUser, RelationshipKind, Scope, Sql, Store, TagFilter, TagId, UnitOfWork,
    UserId, WriteOptions,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    CommandError,
    migrate::{self, Consent},
    output,
};
use crate::{
    config::{Config, Profile},
    wiring,
};
use made_up::Person;

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct SeedOptions {
    /// Empty the database first
    #[arg(long)]
    pub reset: bool,
    /// Which made-up world: the same number gives the same data
    #[arg(long = "seed", value_name = "NUMBER", default_value_t = 1)]
    pub number: u64,
    /// How many users there shall be
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub users: u64,
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The number of the seed.
    pub seed: u64,
    /// Whether the database was emptied first.
    pub reset: bool,
    /// How many users were there already.
    pub present: u64,
    /// How many of each kind of record were made; empty if nothing was missing.
    pub made: BTreeMap<&'static str, u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, reset, present, made, duration_ms } = self;
        if *reset {
            writeln!(f, "the database was emptied")?;
        }
        if made.is_empty() {
            return write!(f, "nothing to do: the {present} users of seed {seed} are there");
        }
        for (kind, count) in made {
            writeln!(f, "{count:>9} {kind}")?;
        }
        let seconds = Duration::from_millis(*duration_ms).as_secs_f64();
        write!(f, "made for seed {seed} in {seconds:.1} s; {present} users were there already")
    }
}

/// How many people are made in one unit of work.
const BATCH: usize = 2_000;
/// How long that may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(120);

/// Makes what is missing of a seed.
///
/// # Errors
/// In production; if the database is to be emptied and that is not confirmed; if migrations are pending; or if the
/// database cannot be reached or written to. What was made until then stays, and the next run goes on from there.
pub async fn seed(options: &SeedOptions, confirmed: bool, config: &Config) -> Result<Report, CommandError> {
    let SeedOptions { reset, number: seed, users } = *options;
    if config.profile == Profile::Production {
        return Err(CommandError::RefusedInProduction { verb: if reset { "seed --reset" } else { "seed" } });
    }
    let started = Instant::now();
    if reset {
        let question = format!("All data in {} will be lost. Go on?", config.database.url);
        if !confirmed && !output::confirm(&question)? {
            return Err(CommandError::NotConfirmed { verb: "seed --reset" });
        }
        empty(config).await?;
    }
    let store = wiring::store(config).await?;
    let outcome = async {
        migrate::prepare_schema(config).await?;
        let cached = wiring::cached(store.clone(), config).await?;
        let filled = fill(&cached, seed, users).await;
        cached.close().await;
        Ok::<_, CommandError>(filled?)
    }
    .await;
    store.close().await;
    let (present, made) = outcome?;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { seed, reset, present, made, duration_ms })
}

/// Drops everything and makes the schema anew: transfers cannot be deleted, so nothing less would do.
async fn empty(config: &Config) -> Result<(), CommandError> {
    let database = migrate::connect(config.migrating().database.url.reveal(), &migrate::Options::of(config)).await?;
    let emptied = migrate::fresh(&database, Consent { yes: true, ..Consent::default() }).await;
    database.close().await;
    emptied?;
    Ok(())
}

type Made = BTreeMap<&'static str, u64>;

async fn fill(store: &Store, seed: u64, users: u64) -> domain::Result<(u64, Made)> {
    let present = present(store, seed).await?;
    let missing = (0..users).filter(|number| !present.contains(&made_up::email(seed, *number))).collect::<Vec<_>>();
    let mut made = Made::new();
    let already = users - u64::try_from(missing.len()).unwrap_or(users);
    if missing.is_empty() {
        return Ok((already, made));
    }
    let progress = ProgressBar::new(users).with_position(already).with_style(style());
    let mut there = u64::try_from(present.len()).unwrap_or(0);
    let tags = tags(store, seed, &mut made).await?;
    for numbers in missing.chunks(BATCH) {
        let first = numbers.first().copied().unwrap_or_default();
        let now = made_up::day(first);
        // Somebody who is made again, after a change of address, gets other ids than the first time.
        let store = store.seeded(made_up::mixed([seed, first, there]), ManualClock::new(now));
        let people = numbers.iter().map(|number| made_up::person(seed, *number, now)).collect::<Vec<_>>();
        // Not a request: on a slow machine so many records may take longer than one.
        let work = store.begin_with(WriteOptions { timeout: Some(BATCH_TIMEOUT), ..WriteOptions::default() }).await?;
        match write(&work, &tags, people).await {
            Ok(batch) => work.commit().await.map(|()| add(&mut made, batch))?,
            Err(error) => {
                work.rollback().await?;
                return Err(error);
            }
        }
        there += numbers.len() as u64;
        progress.inc(numbers.len() as u64);
    }
    progress.finish_and_clear();
    Ok((already, made))
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} users, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The addresses of the users of this seed that are there.
async fn present(store: &Store, seed: u64) -> domain::Result<HashSet<String>> {
    const OF_SEED: Sql = Sql::new("SELECT email FROM users WHERE email LIKE $1");
    let found = store.query(OF_SEED.bind(format!("%{}", made_up::mail_domain(seed)))).await?;
    Ok(found.column("email")?.into_iter().collect())
}

/// The tags that all seeds share, in the order of their list.
async fn tags(store: &Store, seed: u64, made: &mut Made) -> domain::Result<Vec<TagId>> {
    let clock = ManualClock::new(made_up::day(0));
    let work = store.seeded(made_up::mixed([seed, 0, u64::MAX]), clock).begin().await?;
    let mut tags = Vec::new();
    for name in words::TAGS {
        let filter = TagFilter { name: Some((*name).to_owned()) };
        let found = work.list(&filter, &domain::Page::default()).await?.records.pop();
        tags.push(match found {
            Some(tag) => tag.id,
            None => {
                *made.entry("tags").or_default() += 1;
                work.insert(NewTag { name: (*name).to_owned() }).await?.id
            }
        });
    }
    work.commit().await?;
    Ok(tags)
}

fn add(made: &mut Made, batch: Made) {
    for (kind, count) in batch {
        *made.entry(kind).or_default() += count;
    }
}

/// Makes people with all that belongs to them.
async fn write(work: &UnitOfWork, tags: &[TagId], people: Vec<Person>) -> domain::Result<Made> {
    let mut made = Made::new();
    let mut count = |kind, number: usize| {
        if number > 0 {
            made.insert(kind, number as u64);
        }
    };
    let users = work.insert_all(people.iter().map(|person| person.user.clone()).collect::<Vec<NewUser>>()).await?;
    let owned = || users.iter().map(|user| user.id).zip(&people);
    count("users", users.len());
    count("profiles", people.iter().filter(|person| person.user.profile.is_some()).count());

    let contents = owned().flat_map(|(author, person)| contents(author, person, tags)).collect::<Vec<_>>();
    count("links of contents and tags", contents.iter().map(|content| content.tags.len()).sum());
    count("contents", work.insert_all(contents).await?.len());

    let settings = owned().flat_map(|(user, person)| settings(user, person)).collect::<Vec<_>>();
    count("settings", work.insert_all(settings).await?.len());

    let subscriptions = owned().filter_map(|(user, person)| subscription(user, person)).collect::<Vec<_>>();
    count("subscriptions", work.insert_all(subscriptions).await?.len());

    let accounts = owned().flat_map(|(owner_id, person)| {
        person.accounts.iter().map(move |&(currency, balance)| NewAccount { owner_id, currency, balance })
    });
    let accounts = work.insert_all(accounts.collect::<Vec<_>>()).await?;
    count("accounts", accounts.len());
    let transfers = transfers(&owned().collect::<Vec<_>>(), &accounts);
    count("transfers", work.insert_all(transfers).await?.len());

    let models = work.insert_all(models(&owned().collect::<Vec<_>>(), work).await?).await?;
    count("data models", models.len());
    let kinds = [RelationshipKind::References, RelationshipKind::Contains, RelationshipKind::Extends];
    let relationships = models.windows(2).zip(kinds.into_iter().cycle()).filter_map(|(pair, kind)| match pair {
        [from, to] => Some(NewRelationship { from_model_id: from.id, to_model_id: to.id, kind }),
        _ => None,
    });
    count("relationships", work.insert_all(relationships.collect::<Vec<_>>()).await?.len());
    Ok(made)
}

fn contents(author_id: UserId, person: &Person, tags: &[TagId]) -> impl Iterator<Item = NewContent> {
    person.contents.iter().map(move |made_up::Writing { title, body, status, tags: places }| NewContent {
        author_id,
        title: title.clone(),
        body: body.clone(),
        status: Some(*status),
        tags: places.iter().filter_map(|place| tags.get(*place).copied()).collect(),
    })
}

fn settings(user: UserId, person: &Person) -> impl Iterator<Item = NewSetting> {
    person.settings.iter().map(move |(key, value)| NewSetting {
        scope: Scope::User,
        user_id: Some(user),
        key: (*key).to_owned(),
        value: value.clone(),
    })
}

fn subscription(user_id: UserId, person: &Person) -> Option<NewSubscription> {
    let made_up::Plan { plan, status, customer, start, end } = person.subscription.as_ref()?;
    Some(NewSubscription {
        user_id,
        plan: (*plan).to_owned(),
        status: Some(*status),
        stripe_customer_id: customer.clone(),
        period_start: *start,
        period_end: *end,
    })
}

/// The data models, but for those that outlived an owner who is made again.
async fn models(people: &[(UserId, &Person)], work: &UnitOfWork) -> domain::Result<Vec<NewDataModel>> {
    let mut models = Vec::new();
    for (owner, person) in people {
        let Some(made_up::Model { name, fields }) = &person.model else { continue };
        if work.count(&DataModelFilter { name: Some(name.clone()), ..DataModelFilter::default() }).await? == 0 {
            models.push(NewDataModel { owner_id: Some(*owner), name: name.clone(), fields: fields.clone() });
        }
    }
    Ok(models)
}

/// Who pays does so from their first account to the first account of the next person.
fn transfers(people: &[(UserId, &Person)], accounts: &[Account]) -> Vec<NewTransfer> {
    let mut first = HashMap::new();
    for account in accounts {
        first.entry(account.owner_id).or_insert(account.id);
    }
    let pairs = people.windows(2).filter_map(|pair| match pair {
        [(payer, person), (payee, _)] => Some(NewTransfer {
            from_account_id: *first.get(payer)?,
            to_account_id: *first.get(payee)?,
            amount: person.pays?,
        }),
        _ => None,
    });
    pairs.collect()
}
