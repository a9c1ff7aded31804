//! Made-up people and what belongs to them: the same for the same seed and number, whatever else is made.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use domain::{ContentStatus, Currency, Field, FieldKind, NewUser, ProfileFields, Role, SubscriptionStatus, Timestamp};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::words;

/// A person, and all that is made along with them. What refers to others does so by their place in a list.
pub(super) struct Person {
    pub(super) user: NewUser,
    pub(super) contents: Vec<Writing>,
    pub(super) accounts: Vec<(Currency, i64)>,
    pub(super) settings: Vec<(&'static str, Value)>,
    pub(super) subscription: Option<Plan>,
    pub(super) model: Option<Model>,
    /// How much they pay to the next person, if that can be.
    pub(super) pays: Option<i64>,
}

/// Something that a person wrote.
pub(super) struct Writing {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) status: ContentStatus,
    /// Places in the list of tags.
    pub(super) tags: Vec<usize>,
}

/// What a person subscribed to.
pub(super) struct Plan {
    pub(super) plan: &'static str,
    pub(super) status: SubscriptionStatus,
    pub(super) customer: Option<String>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// A data model of a person.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// One of how many people has a data model.
const PEOPLE_PER_MODEL: u64 = 50;
/// The first of January 2024, nine o'clock.
const FIRST_DAY: DateTime<Utc> = match DateTime::from_timestamp_secs(1_704_099_600) {
    Some(day) => day,
    None => DateTime::UNIX_EPOCH,
};
const PEOPLE_PER_DAY: u64 = 24;
/// After so many days people come to the first again, so that nobody comes in the future.
const DAYS: u64 = 600;

/// Mixes numbers into one that differs wherever one of them does (splitmix64).
pub(super) fn mixed(numbers: [u64; 3]) -> u64 {
    numbers.into_iter().fold(0, |state: u64, number| {
        let mut mixed = (state ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// The day on which the person of that number comes.
pub(super) fn day(number: u64) -> Timestamp {
    let day = FIRST_DAY.checked_add_days(Days::new(number / PEOPLE_PER_DAY % DAYS)).unwrap_or(FIRST_DAY);
    Timestamp::new(day)
}

/// The end of the e-mail addresses of this seed's people.
pub(super) fn mail_domain(seed: u64) -> String {
    format!("@seed{seed}.example")
}

/// The source of chance for one person.
fn chance(seed: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(mixed([seed, number, 1]))
}

fn one<'a>(chance: &mut StdRng, of: &[&'a str]) -> &'a str {
    of.choose(chance).copied().unwrap_or_default()
}

fn name(chance: &mut StdRng) -> (&'static str, &'static str) {
    (one(chance, words::GIVEN_NAMES), one(chance, words::FAMILY_NAMES))
}

/// The e-mail address of the person of that number.
pub(super) fn email(seed: u64, number: u64) -> String {
    let (given, family) = name(&mut chance(seed, number));
    format!("{}.{}{number}{}", given.to_lowercase(), family.to_lowercase(), mail_domain(seed))
}

/// Makes up the person of that number, who comes at that time.
pub(super) fn person(seed: u64, number: u64, now: Timestamp) -> Person {
    let chance = &mut chance(seed, number);
    let (given, family) = name(chance);
    let role = match chance.random_range(0..100) {
        0 => Role::Admin,
        1..6 => Role::Editor,
        _ => Role::Member,
    };
    let avatar = chance.random_bool(0.3).then(|| format!("https://avatars.example/{seed}/{number}.png"));
    let profile = Some(profile(chance, avatar.clone()));
    let user = NewUser {
        email: email(seed, number),
        name: format!("{given} {family}"),
        role: Some(role),
        avatar,
        profile,
        // Made apart, because these hold something.
        accounts: Vec::new(),
    };
    let contents = (0..chance.random_range(0..=5)).map(|_| writing(chance)).collect();
    let accounts = accounts(chance);
    let settings = settings(chance);
    let subscription = chance.random_bool(0.35).then(|| plan(chance, seed, number, now));
    let model = number.is_multiple_of(PEOPLE_PER_MODEL).then(|| model(chance, seed, number));
    let pays = number.is_multiple_of(5).then(|| chance.random_range(100..=5_000));
    Person { user, contents, accounts, settings, subscription, model, pays }
}

fn profile(chance: &mut StdRng, avatar_url: Option<String>) -> ProfileFields {
    let city = one(chance, words::CITIES);
    let bio = format!("{} in {city}, who {}.", one(chance, words::TRADES), one(chance, words::PASTIMES));
    let born = NaiveDate::from_ymd_opt(1945, 1, 1)
        .and_then(|first| first.checked_add_days(Days::new(chance.random_range(0..365 * 62))));
    ProfileFields {
        bio: chance.random_bool(0.8).then_some(bio),
        city: Some(city.to_owned()),
        birth_date: born.filter(|_| chance.random_bool(0.7)).map(Into::into),
        avatar_url,
    }
}

fn writing(chance: &mut StdRng) -> Writing {
    let (adjective, form) = (one(chance, words::ADJECTIVES), one(chance, words::FORMS));
    let title = format!("{adjective} {form} of {}", one(chance, words::SUBJECTS));
    let sentences = chance.random_range(3..=9);
    let body = words::SENTENCES.sample(chance, sentences).copied().collect::<Vec<_>>().join(" ");
    let status = match chance.random_range(0..10) {
        0..2 => ContentStatus::Draft,
        2..9 => ContentStatus::Published,
        _ => ContentStatus::Archived,
    };
    let count = chance.random_range(0..=5);
    let tags = rand::seq::index::sample(chance, words::TAGS.len(), count).into_vec();
    Writing { title, body, status, tags }
}

/// The first account is in the first currency, so that people can pay each other.
fn accounts(chance: &mut StdRng) -> Vec<(Currency, i64)> {
    let second = chance.random_bool(0.4).then(|| one(chance, &words::CURRENCIES[1..]));
    let codes = words::CURRENCIES.first().copied().into_iter().chain(second);
    codes.filter_map(|code| Some((code.parse().ok()?, chance.random_range(10_000..=2_000_000)))).collect()
}

fn settings(chance: &mut StdRng) -> Vec<(&'static str, Value)> {
    let mut settings = Vec::new();
    if chance.random_bool(0.5) {
        settings.push(("appearance.theme", json!(one(chance, &["light", "dark"]))));
    }
    if chance.random_bool(0.4) {
        settings.push(("locale", json!(one(chance, words::LOCALES))));
    }
    if chance.random_bool(0.3) {
        settings.push(("time_zone", json!(one(chance, words::TIME_ZONES))));
    }
    if chance.random_bool(0.2) {
        settings.push(("notifications.email", json!(false)));
    }
    settings
}

fn plan(chance: &mut StdRng, seed: u64, number: u64, now: Timestamp) -> Plan {
    let trial = chance.random_bool(0.25);
    let days = match (trial, chance.random_bool(0.5)) {
        (true, _) => 14,
        (false, true) => 30,
        (false, false) => 365,
    };
    Plan {
        plan: one(chance, words::PLANS),
        status: if trial { SubscriptionStatus::Trialing } else { SubscriptionStatus::Active },
        customer: (!trial).then(|| format!("cus_{:016x}", mixed([seed, number, 2]))),
        start: now,
        end: Timestamp::new(now.utc() + TimeDelta::days(days)),
    }
}

fn model(chance: &mut StdRng, seed: u64, number: u64) -> Model {
    let field = |name: &str, kind, required, unique| Field { name: name.to_owned(), kind, required, unique };
    let mut fields = vec![field("code", FieldKind::Text, true, true), field("title", FieldKind::Text, true, false)];
    let more = [
        field("amount", FieldKind::Decimal, false, false),
        field("due_on", FieldKind::Date, false, false),
        field("count", FieldKind::Integer, false, false),
        field("confirmed", FieldKind::Boolean, true, false),
        field("details", FieldKind::Json, false, false),
    ];
    let count = chance.random_range(1..=more.len());
    fields.extend(more.sample(chance, count).cloned());
    Model { name: format!("{} {number} of seed {seed}", one(chance, words::MODELS)), fields }
}
