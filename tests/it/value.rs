//! Values: what is read is what was written, on both databases.

use domain::{
    Change, Content, ManualClock, NewProfile, NewSetting, NewUser, Record, Scope, Setting, Sql, Store, StoreOptions,
    TagFilter, User, UserFilter, UserPatch, WriteOptions,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use tests::{Backend, TestDatabase, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{
    self, account, all_pages, content, execute, instant, mistakes, new_content, new_tag, new_user, one, options, read,
    store, tag, user,
};

const CASES: usize = 200;

/// What has broken programs before.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "NULL",
    "null",
    "0",
    "true",
    "'",
    "''",
    "\"",
    "\\",
    "\\0",
    "%",
    "_",
    "$1",
    "?",
    "\t\r\n",
    "ä",
    "e\u{301}",
    "ß",
    "İ",
    "ǅ",
    "日本語",
    "🦀",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "مرحبا",
    "שלום",
    "\u{202e}abc\u{202c}",
    "\u{200b}",
    "\u{feff}",
    "\u{1}",
    "\u{7f}",
    "\u{fffd}",
    "\u{e000}",
    "\u{ffff}",
    "\u{10ffff}",
];

fn text(chance: &mut StdRng) -> String {
    (0..chance.random_range(0..8))
        .map(|_| match chance.random_range(0..3) {
            0 => char::from_u32(chance.random_range(1..0x11_0000)).unwrap_or('x').to_string(),
            _ => TEXTS.choose(chance).unwrap().to_string(),
        })
        .collect()
}

fn integer(chance: &mut StdRng) -> i64 {
    match chance.random_range(0..3) {
        0 => *[i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX].choose(chance).unwrap(),
        1 => chance.random::<i32>().into(),
        _ => chance.random(),
    }
}

/// None that is an integer written as a float: those come back as integers.
fn float(chance: &mut StdRng) -> f64 {
    match chance.random_range(0..3) {
        0 => *[f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1, -0.5, 1e300, 1.0].choose(chance).unwrap(),
        _ => chance.random::<f64>() * 10_f64.powi(chance.random_range(-300..3)),
    }
}

fn any_json(chance: &mut StdRng, depth: usize) -> Value {
    match chance.random_range(0..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => chance.random::<bool>().into(),
        2 => integer(chance).into(),
        3 => chance.random::<u64>().into(),
        4 => float(chance).into(),
        5 => text(chance).into(),
        6 => (0..chance.random_range(0..5)).map(|_| any_json(chance, depth - 1)).collect(),
        _ => {
            let fields = (0..chance.random_range(0..5)).map(|_| (text(chance), any_json(chance, depth - 1)));
            fields.collect::<Map<_, _>>().into()
        }
    }
}

/// An instant of any year that can be written down, and the same without what is finer than a microsecond.
fn any_instant(chance: &mut StdRng) -> (String, String) {
    let year = *[1, 2, 1582, 1969, 1970, 2000, 2026, 9999].choose(chance).unwrap();
    let (month, day, hour) = (chance.random_range(1..13), chance.random_range(1..29), chance.random_range(0..24));
    let (micros, nanos) = (chance.random_range(0..1_000_000), chance.random_range(0..1_000));
    let start = format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:59.{micros:06}");
    (format!("{start}{nanos:03}Z"), format!("{start}Z"))
}

/// Reads a record again, past every copy in memory.
async fn read_again<R: Record>(store: &Store, written: &R) -> Value {
    let found = fixture::json(&store.find(written.id()).await.unwrap());
    assert_eq!(found, fixture::json(written));
    found
}

/// Ids and times that are the same on every database.
async fn repeatable(database: &TestDatabase) -> Store {
    let options = StoreOptions { seed: Some(1), ..options(&database.url) };
    Store::connect(&options, ManualClock::new(instant("2026-01-02T03:04:05.678901Z"))).await.unwrap()
}

/// Writes and reads some of everything; what it reads.
async fn write_and_read_everything(database: &TestDatabase) -> Vec<Value> {
    let store = repeatable(database).await;
    let mut chance = StdRng::seed_from_u64(42);
    let mut read_back = Vec::new();
    let ada = user(&store, "ada").await;
    let theme = NewSetting {
        scope: Scope::Application,
        user_id: None,
        key: "appearance.theme".to_owned(),
        value: json!("dark"),
    };
    let setting = store.insert(theme).await.unwrap();
    let linked = content(&store, ada.id, "linked").await;
    let tag = tag(&store, "tag").await;
    for n in 0..CASES {
        let mut new = new_content(ada.id, &format!("x{}x", text(&mut chance).replace(['\r', '\n'], "")));
        new.title = new.title.chars().take(199).collect::<String>() + "x";
        new.body = text(&mut chance);
        let body = new.body.clone();
        let content = store.insert(new).await.unwrap();
        assert_eq!(content.body, body);
        read_back.push(read_again::<Content>(&store, &content).await);

        let (finer, kept) = any_instant(&mut chance);
        let birth_date = kept.split_once('T').unwrap().0.to_owned();
        let owner = store.insert(new_user(&format!("user{n}"))).await.unwrap();
        let patch = UserPatch { last_active_at: Change::Set(Some(instant(&finer))), ..UserPatch::default() };
        let owner = store.update(owner.id, 1, patch).await.unwrap();
        assert_eq!(owner.last_active_at, Some(instant(&kept)), "{finer}");
        read_back.push(read_again::<User>(&store, &owner).await);

        let bio = (n % 3 != 0).then(|| text(&mut chance));
        let date = (n % 4 != 0).then_some(&birth_date);
        let profile = read::<NewProfile>(json!({"user_id": owner.id, "bio": bio, "birth_date": date}));
        let profile = store.insert(profile).await.unwrap();
        assert_eq!((&profile.bio, profile.birth_date.map(|date| date.to_string()).as_ref()), (&bio, date));
        read_back.push(read_again(&store, &profile).await);

        let account = account(&store, owner.id, integer(&mut chance).saturating_abs()).await;
        read_back.push(read_again(&store, &account).await);

        let position = integer(&mut chance);
        let link = move |work: domain::UnitOfWork| async move {
            work.link(&Content::TAGS, linked.id, tag.id, Some(position)).await
        };
        store.write(link).await.unwrap();
        let positions = store.query(Sql::new("SELECT position FROM content_tags")).await.unwrap();
        assert_eq!(positions.column::<i64>("position").unwrap(), [position]);

        let value = any_json(&mut chance, 4);
        let update = Sql::new("UPDATE settings SET value = $1").bind(value.clone());
        assert_eq!(execute(&store, update).await.unwrap(), 1);
        let found = store.find::<Setting>(setting.id).await.unwrap();
        assert_eq!(found.value, value);
        read_back.push(found.value);
    }
    read_back
}

on_both!(
    async fn what_is_read_is_what_was_written(database: TestDatabase) {
        assert_eq!(write_and_read_everything(&database).await.len(), CASES * 5);
    }
);

#[test]
fn both_databases_give_the_same_json() {
    within(LIMIT, async {
        let postgres = or_skip!(tests::database(Backend::Postgres).await);
        let sqlite = tests::database(Backend::Sqlite).await.unwrap();
        let (postgres, sqlite) = (write_and_read_everything(&postgres).await, write_and_read_everything(&sqlite).await);
        for (one, other) in postgres.iter().zip(&sqlite) {
            assert_eq!(one, other);
        }
        assert_eq!(postgres.len(), sqlite.len());
    });
}

on_both!(
    async fn a_float_that_is_an_integer_comes_back_as_that(database: TestDatabase) {
        let store = store(&database).await;
        let theme = json!({"scope": "application", "key": "appearance.theme", "value": "dark"});
        let setting = store.insert(read::<NewSetting>(theme)).await.unwrap();
        for (written, found) in [
            ("1e15", "1000000000000000.0"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("1e16", "10000000000000000"),
            ("-1e16", "-10000000000000000"),
            ("1.2345678901234567e19", "12345678901234567000"),
            ("-9.2e18", "-9200000000000000000"),
            ("-9.3e18", "-9.3e+18"),
            ("1.9e19", "1.9e+19"),
            ("-0.0", "0.0"),
            ("100.0", "100.0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let written: Value = serde_json::from_str(&format!(r#"{{"a": [{written}]}}"#)).unwrap();
            execute(&store, Sql::new("UPDATE settings SET value = $1").bind(written)).await.unwrap();
            let text = store.find::<Setting>(setting.id).await.unwrap().value.to_string();
            assert_eq!(text, format!(r#"{{"a":[{found}]}}"#));
        }
    }

    async fn a_large_document_comes_back_whole(database: TestDatabase) {
        let store = store(&database).await;
        let mut chance = StdRng::seed_from_u64(9);
        let body = std::iter::repeat_with(|| TEXTS.choose(&mut chance).unwrap().to_string()).take(100_000);
        let body = body.collect::<String>().chars().take(500_000).collect::<String>();
        let ada = user(&store, "ada").await;
        let mut new = new_content(ada.id, "large");
        new.body = body.clone();
        let made = store.insert(new).await.unwrap();
        assert!(store.find(made.id).await.unwrap().body == body);
        let mut longer = new_content(ada.id, "too large");
        longer.body = "ä".repeat(500_001);
        assert_eq!(mistakes(store.insert(longer).await), one("invalid", "/body", "length"));
    }

    async fn instants_sort_by_time_whatever_their_offset(database: TestDatabase) {
        let store = store(&database).await;
        let in_order = [
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T01:00:00+01:00",
            "2026-01-01T00:30:00+01:00",
            "2025-12-31T23:45:00Z",
            "2026-01-01T00:00:00.000001Z",
            "2026-01-01T00:00:00.00001Z",
            "2026-01-01T00:00:01Z",
            "9999-12-31T23:59:59.999999Z",
        ];
        for (n, at) in in_order.iter().enumerate() {
            let made = user(&store, &format!("user{n}")).await;
            let patch = UserPatch { last_active_at: Change::Set(Some(instant(at))), ..UserPatch::default() };
            store.update(made.id, 1, patch).await.unwrap();
        }
        for (n, at) in in_order.iter().enumerate() {
            let since = UserFilter { active_since: Some(instant(at)), ..UserFilter::default() };
            assert_eq!(store.count(&since).await.unwrap(), (in_order.len() - n) as u64, "{at}");
        }
    }

    async fn an_address_is_kept_as_written_and_compared_without_case(database: TestDatabase) {
        let store = store(&database).await;
        let with = |email: &str| NewUser { email: email.to_owned(), ..new_user("ada") };
        let ada = store.insert(with("Ada.L@Example.ORG")).await.unwrap();
        assert_eq!(store.find(ada.id).await.unwrap().email, "Ada.L@Example.ORG");
        for same in ["ada.l@example.org", "ADA.L@EXAMPLE.ORG", "Ada.L@Example.ORG"] {
            assert_eq!(mistakes(store.insert(with(same)).await), one("conflict", "/email", "unique"));
            let filter = UserFilter { email: Some(same.to_owned()), ..UserFilter::default() };
            assert_eq!(store.count(&filter).await.unwrap(), 1, "{same}");
        }
        store.insert(with("adaXl@example.org")).await.unwrap();
        // Where the databases fold letters differently, there are none.
        for refused in ["ÄDA@example.org", "ada@exämple.org", "İ@example.org", "ada@localhost", "ada", "@", ""] {
            assert_eq!(mistakes(store.insert(with(refused)).await), one("invalid", "/email", "email"), "{refused}");
        }
    }
);

/// A piece of an attack on a statement that was put together from text.
const ATTACKS: &[&str] = &[
    "'",
    "\"",
    "`",
    "\\",
    "\\'",
    "';",
    "--",
    "-- ",
    "/*",
    "*/",
    ";",
    ")",
    "(",
    " OR 1=1",
    " AND 1=0",
    " UNION SELECT NULL",
    "DROP TABLE users",
    "DELETE FROM contents",
    "UPDATE users SET role='admin'",
    "; COMMIT;",
    "; ROLLBACK;",
    "pg_sleep(9)",
    "randomblob(9)",
    "load_extension('x')",
    "COPY users TO PROGRAM 'x'",
    "ATTACH DATABASE 'x' AS y",
    "$1",
    "$$",
    "$a$",
    "?",
    ":name",
    "%s",
    "%00",
    "{}",
    "0x27",
    "U&'\\0027'",
    "E'\\''",
    "chr(39)",
    "\u{2019}",
    "\u{ff07}",
    "\u{2bc}",
    "\n",
    "x",
];

on_both!(
    within std::time::Duration::from_secs(120);
    async fn ten_thousand_attacks_are_only_text(database: TestDatabase) {
        const COUNT: usize = 10_000;
        let store = store(&database).await;
        let author = user(&store, "ada").await.id;
        let mut chance = StdRng::seed_from_u64(666);
        let attack = |chance: &mut StdRng| -> String {
            (0..chance.random_range(1..7)).map(|_| *ATTACKS.choose(chance).unwrap()).collect()
        };
        let attacks = (0..COUNT).map(|_| attack(&mut chance)).collect::<Vec<_>>();
        let written = attacks.clone();
        let patient = WriteOptions { timeout: Some(std::time::Duration::from_secs(100)), ..WriteOptions::default() };
        store
            .write_with(patient, move |work| {
                let written = written.clone();
                async move {
                    for text in written {
                        let mut new = new_content(author, "attack");
                        new.body = text;
                        work.insert(new).await?;
                    }
                    Ok(())
                }
            })
            .await
            .unwrap();
        let stored = all_pages(&store, &domain::ContentFilter::default(), "id", 200).await;
        assert_eq!(stored.len(), COUNT);
        for (content, text) in stored.iter().zip(&attacks) {
            assert_eq!(&content.body, text);
        }
        // In every other place where text goes into a statement: filters, cursors, parameters.
        for text in &attacks[..200] {
            assert_eq!(store.count(&TagFilter { name: Some(text.clone()) }).await.unwrap(), 0, "{text}");
            let filter = UserFilter { email: Some(text.clone()), ..UserFilter::default() };
            assert_eq!(store.count(&filter).await.unwrap(), 0, "{text}");
            let found = store.query(Sql::new("SELECT id FROM contents WHERE body = $1").bind(text.as_str())).await;
            assert_eq!(found.unwrap().len(), attacks.iter().filter(|other| *other == text).count());
            let name = format!("x{}x", text.replace('\n', " ")).chars().take(64).collect::<String>();
            store.insert(new_tag(name.trim())).await.ok();
        }
        let by_few = all_pages(&store, &TagFilter::default(), "name", 7).await.len();
        assert_eq!(by_few as u64, store.count(&TagFilter::default()).await.unwrap());
        assert!(by_few > 150);
        assert_eq!(store.find(author).await.unwrap().role, domain::Role::Member);
    }
);
