//! Settings: where they come from, which are refused, and that none gives a secret away. Cases 55 and 68 of the
//! catalogue of bad input.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use api::config::{
    Absent, CacheUse, Config, ConfigErrors, KEYS, OnUnreachable, Profile, Source, Visibility, env_example, markdown,
};

const PASSWORD: &str = "hunter2-s3cret";
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn read_in(folder: &Path, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(environment, folder)
}

fn read(environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    read_in(tempfile::tempdir().unwrap().path(), environment)
}

/// What is wrong with an environment.
#[track_caller]
fn refused(environment: &[(&str, &str)]) -> String {
    read(environment).expect_err("it should be refused").to_string()
}

#[test]
fn the_defaults_need_no_service() {
    let config = read(&[]).unwrap();
    assert_eq!(config.profile, Profile::Development);
    assert_eq!(config.database.url.reveal(), "sqlite://data/seabed.db");
    assert!(config.database.is_embedded());
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.data_dir, PathBuf::from("data"));
    assert_eq!((config.database.min_connections, config.database.max_connections), (2, 20));
    assert_eq!(config.database.connect_timeout, Duration::from_secs(30));
    assert_eq!(config.database.acquire_timeout, Duration::from_secs(5));
    assert_eq!(config.database.statement_timeout, Duration::from_secs(5));
    assert_eq!(config.request_timeout, Duration::from_secs(10));
    assert_eq!(config.max_body_bytes, 1 << 20);
    assert_eq!((config.redis_url, config.documents.uri), (None, None));
}

/// Another value than the default for every setting, and what else has to be set for it to count.
fn example(name: &str) -> (&'static str, &'static [(&'static str, &'static str)]) {
    const NAMED: &[(&str, &str)] = &[("DB_NAME", "app")];
    match name {
        "PROFILE" => ("production", &[("DATABASE_URL", "sqlite://app.db"), ("SECRET_KEY", KEY)]),
        "LISTEN" => ("0.0.0.0:80", &[]),
        "DATA_DIR" => ("elsewhere", &[]),
        "SECRET_KEY" => (KEY, &[]),
        "DATABASE_URL" | "POSTGRES_URL" => ("postgres://ada@db/app", &[]),
        "DB_HOST" => ("db.example", NAMED),
        "DB_PORT" => ("6543", NAMED),
        "DB_USER" => ("ada", NAMED),
        "DB_PASSWORD" => (PASSWORD, NAMED),
        "DB_NAME" => ("app", &[]),
        "DB_SSL" => ("true", NAMED),
        "DB_MIN_CONNECTIONS" => ("1", &[]),
        "DB_MAX_CONNECTIONS" => ("30", &[]),
        "DB_CONNECT_TIMEOUT" | "DB_ACQUIRE_TIMEOUT" | "DB_IDLE_TIMEOUT" => ("7s", &[]),
        "DB_STATEMENT_TIMEOUT" | "DB_LOCK_TIMEOUT" | "DB_TRANSACTION_TIMEOUT" => ("300ms", &[]),
        "DB_SLOW_STATEMENT" => ("20ms", &[]),
        "DB_ATTEMPTS" => ("5", &[]),
        "REDIS_URL" => ("redis://cache.example:6379", &[]),
        "REDIS_HOST" => ("cache.example", &[]),
        "REDIS_PORT" => ("6380", &[]),
        "REDIS_USER" => ("ada", &[("REDIS_PASSWORD", PASSWORD)]),
        "REDIS_PASSWORD" => (PASSWORD, &[("REDIS_HOST", "localhost")]),
        "REDIS_PREFIX" => ("app:", &[]),
        "REDIS_TIMEOUT" => ("20ms", &[]),
        "REDIS_DATA_URL" => ("redis://data.example:6379", &[]),
        "REDIS_DATA_TIMEOUT" => ("1s", &[]),
        "MEMORY_MAX_BYTES" => ("1024", &[]),
        "CACHE" => ("off", &[]),
        "CACHE_TTL" => ("1h", &[]),
        "CACHE_FRESHNESS" => ("2s", &[]),
        "CACHE_ON_UNREACHABLE" => ("ack", &[]),
        "CACHE_MAX_BYTES" => ("1024", &[]),
        "MONGODB_URI" | "MONGODB_URL" => ("mongodb://a:27017,b:27018/app?replicaSet=rs0", &[]),
        "MONGODB_HOST" => ("documents.example", &[]),
        "MONGODB_PORT" => ("27018", &[]),
        "MONGODB_USER" => ("ada", &[("MONGODB_USER", "bob"), ("MONGODB_PASSWORD", PASSWORD)]),
        "MONGODB_PASSWORD" => (PASSWORD, &[("MONGODB_USER", "ada"), ("MONGODB_PASSWORD", "other")]),
        "MONGODB_NAME" => ("app", &[]),
        "MONGODB_MIN_CONNECTIONS" => ("1", &[]),
        "MONGODB_MAX_CONNECTIONS" => ("30", &[]),
        "MONGODB_CONNECT_TIMEOUT" | "MONGODB_SERVER_SELECTION_TIMEOUT" => ("300ms", &[]),
        "MONGODB_TIMEOUT" => ("4s", &[]),
        "REQUEST_TIMEOUT" | "DRAIN_TIMEOUT" => ("1m", &[]),
        "MAX_BODY_BYTES" => ("1024", &[]),
        "MAX_CONCURRENT_REQUESTS" | "MAX_STREAMS" => ("8", &[]),
        "OUTBOX_MAX_ROWS" => ("8", &[]),
        "LOG" => ("info,sqlx=warn", &[]),
        "LOG_FORMAT" => ("json", &[]),
        "MIGRATE_ON_START" => ("always", &[]),
        "MIGRATION_TABLE" => ("steps", &[]),
        "MIGRATION_DIR" => ("elsewhere/src", &[]),
        "MIGRATION_LOCK_TIMEOUT" | "MIGRATION_STATEMENT_TIMEOUT" | "MIGRATION_LEASE" | "MIGRATION_WAIT" => ("7s", &[]),
        "MIGRATION_ATTEMPTS" => ("3", &[]),
        "MIGRATION_BATCH_ROWS" => ("500", &[]),
        "MIGRATION_BATCH_SHARE" => ("100", &[]),
        "MIGRATION_ALLOW_DESTRUCTIVE" => ("never", &[]),
        "MIGRATION_DATABASE_URL" => ("postgres://owner@db/app", &[]),
        "MIGRATION_GRANT_KEY" => (KEY, &[]),
        "MIGRATION_GRANT" => ("granted", &[]),
        "ROLE_OWNER_PASSWORD" | "ROLE_APP_PASSWORD" | "ROLE_READ_PASSWORD" | "ROLE_BACKUP_PASSWORD" => (KEY, &[]),
        _ => panic!("{name} has no example here"),
    }
}

#[test]
fn every_documented_variable_changes_the_configuration() {
    for name in KEYS.iter().flat_map(|key| [Some(key.name), key.alias]).flatten() {
        let (value, others) = example(name);
        // What production asks for is set along with it, but would change the configuration by itself.
        let before = read(others).unwrap();
        let after = read(&[&[(name, value)], others].concat()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(before, after, "{name} changes nothing");
    }
}

#[test]
fn every_documented_default_holds() {
    for key in KEYS {
        if let Absent::Value(default) = key.absent
            && !key.name.starts_with("DB_")
            && !["REDIS_HOST", "REDIS_PORT", "MONGODB_HOST", "MONGODB_PORT", "MONGODB_NAME"].contains(&key.name)
        {
            assert_eq!(read(&[(key.name, default)]).unwrap(), read(&[]).unwrap(), "{}", key.name);
        }
    }
    let parts = [("DB_HOST", "localhost"), ("DB_PORT", "5432"), ("DB_USER", "postgres")];
    let named = [("DB_NAME", "app")];
    assert_eq!(read(&[&parts[..], &named].concat()).unwrap(), read(&named).unwrap());
    assert_eq!(read(&[("REDIS_HOST", "localhost")]).unwrap(), read(&[("REDIS_PORT", "6379")]).unwrap());
    for (name, default) in [("MONGODB_HOST", "localhost"), ("MONGODB_PORT", "27017"), ("MONGODB_NAME", "seabed")] {
        assert_eq!(read(&[(name, default)]).unwrap(), read(&[("MONGODB_HOST", "localhost")]).unwrap());
    }
}

#[test]
fn the_environment_wins_over_env_local_which_wins_over_env() {
    let folder = tempfile::tempdir().unwrap();
    let log = |environment: &[(&str, &str)]| {
        let config = read_in(folder.path(), environment).unwrap();
        let setting = config.settings().iter().find(|setting| setting.name == "LOG").unwrap();
        (config.log.clone(), setting.source)
    };
    assert_eq!(log(&[]), ("info".to_owned(), Source::Default));
    fs::write(folder.path().join(".env"), "LOG=debug # more\nLOG_FORMAT=json\n").unwrap();
    assert_eq!(log(&[]), ("debug".to_owned(), Source::File));
    fs::write(folder.path().join(".env.local"), "export LOG='trace'\n").unwrap();
    assert_eq!(log(&[]), ("trace".to_owned(), Source::LocalFile));
    assert_eq!(log(&[("LOG", "warn")]), ("warn".to_owned(), Source::Environment));
    assert_eq!(log(&[("LOG", "")]).1, Source::LocalFile, "an empty value is as good as none");
}

#[test]
fn an_alias_means_the_same_and_must_not_differ() {
    for (name, alias, here, there) in [
        ("DATABASE_URL", "POSTGRES_URL", "postgres://a:hunter2-s3cret@db/app", "postgres://b:hunter2-s3cret@db/app"),
        ("MONGODB_URI", "MONGODB_URL", "mongodb://a:hunter2-s3cret@db/app", "mongodb://b:hunter2-s3cret@db/app"),
    ] {
        assert_eq!(read(&[(name, here)]).unwrap(), read(&[(alias, here)]).unwrap());
        assert_eq!(read(&[(name, here), (alias, here)]).unwrap(), read(&[(name, here)]).unwrap());
        let error = refused(&[(name, here), (alias, there)]);
        assert!(error.contains(name) && error.contains(alias) && !error.contains(PASSWORD), "{error}");
    }
}

#[test]
fn empty_is_as_good_as_unset() {
    let nothing = read(&[]).unwrap();
    assert_eq!((&nothing.documents.uri, &nothing.redis_url), (&None, &None));
    for name in ["DATABASE_URL", "POSTGRES_URL", "MONGODB_URI", "MONGODB_URL", "REDIS_URL", "REDIS_HOST", "REDIS_PORT"]
    {
        assert_eq!(read(&[(name, "")]).unwrap(), nothing, "{name}");
    }
    for (empty, set, url) in [
        ("MONGODB_URI", "MONGODB_URL", "mongodb://db/app"),
        ("MONGODB_URL", "MONGODB_URI", "mongodb://db/app"),
        ("POSTGRES_URL", "DATABASE_URL", "postgres://ada@db/app"),
    ] {
        assert_eq!(read(&[(empty, ""), (set, url)]).unwrap(), read(&[(set, url)]).unwrap(), "{empty}");
    }
}

#[test]
fn the_parts_of_redis_make_a_url_and_a_url_wins() {
    let url = |environment: &[(&str, &str)]| read(environment).unwrap().redis_url.unwrap().reveal().to_owned();
    assert_eq!(url(&[("REDIS_HOST", "cache.example")]), "redis://cache.example:6379");
    assert_eq!(url(&[("REDIS_PORT", "6380")]), "redis://localhost:6380");
    assert_eq!(url(&[("REDIS_HOST", "cache.example"), ("REDIS_PORT", "6380")]), "redis://cache.example:6380");
    assert_eq!(url(&[("REDIS_HOST", ""), ("REDIS_PORT", "6380")]), "redis://localhost:6380");
    let password = [("REDIS_PASSWORD", "a b%:@/")];
    assert_eq!(url(&password), "redis://:a%20b%25%3A%40%2F@localhost:6379");
    let user = [("REDIS_USER", "ada"), ("REDIS_PASSWORD", "secret"), ("REDIS_HOST", "::1")];
    assert_eq!(url(&user), "redis://ada:secret@[::1]:6379");
    assert!(refused(&[("REDIS_USER", "ada")]).starts_with("REDIS_PASSWORD is not set"));
    let both = [("REDIS_URL", "rediss://:secret@other.example:7000/2"), ("REDIS_HOST", "cache.example")];
    assert_eq!(url(&both), "rediss://:secret@other.example:7000/2");
    assert!(refused(&[("REDIS_PORT", "70000")]).starts_with("REDIS_PORT"));
}

#[test]
fn the_parts_of_mongodb_make_a_uri_and_a_uri_wins() {
    let uri = |environment: &[(&str, &str)]| read(environment).unwrap().documents.uri.unwrap().reveal().to_owned();
    assert_eq!(uri(&[("MONGODB_HOST", "documents.example")]), "mongodb://documents.example:27017/seabed");
    assert_eq!(uri(&[("MONGODB_PORT", "27018"), ("MONGODB_NAME", "app")]), "mongodb://localhost:27018/app");
    let user = [("MONGODB_USER", "ada lovelace"), ("MONGODB_PASSWORD", "p@ss/w:rd#?%41"), ("MONGODB_HOST", "::1")];
    let made = "mongodb://ada%20lovelace:p%40ss%2Fw%3Ard%23%3F%2541@[::1]:27017/seabed?authSource=admin";
    assert_eq!(uri(&user), made);
    let options = mongodb::options::ConnectionString::parse(made).unwrap();
    let credential = options.credential.unwrap();
    assert_eq!(credential.username.as_deref(), Some("ada lovelace"));
    assert_eq!(credential.password.as_deref(), Some("p@ss/w:rd#?%41"));
    let both = [("MONGODB_URI", "mongodb://other.example/app"), ("MONGODB_HOST", "documents.example")];
    assert_eq!(uri(&both), "mongodb://other.example/app");
    for (part, refusal) in [
        (("MONGODB_USER", "ada"), "MONGODB_PASSWORD is not set"),
        (("MONGODB_PASSWORD", PASSWORD), "MONGODB_USER is not set"),
        (("MONGODB_HOST", "no/host"), "MONGODB_HOST"),
        (("MONGODB_NAME", "no name"), "MONGODB_NAME"),
        (("MONGODB_MAX_CONNECTIONS", "9"), "MONGODB_MAX_CONNECTIONS is \"9\" and must be at least MONGODB_MIN"),
        (
            ("MONGODB_SERVER_SELECTION_TIMEOUT", "5s"),
            "MONGODB_SERVER_SELECTION_TIMEOUT is \"5s\" and must be less than",
        ),
    ] {
        let error = refused(&[part]);
        assert!(error.starts_with(refusal) && !error.contains(PASSWORD), "{error}");
    }
}

#[test]
fn other_connections_have_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "MONGODB_URI_LOGS=mongodb://file.example/logs\nMONGODB_URI_B_2=\n").unwrap();
    let named = |environment: &[(&str, &str)]| read_in(folder.path(), environment).unwrap().documents.named;
    let found = named(&[("MONGODB_URI_CHARTS", "mongodb://ada:hunter2-s3cret@charts.example/app")]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["charts", "logs"]);
    assert_eq!(named(&[("MONGODB_URI_LOGS", "mongodb://here/logs")])["logs"].reveal(), "mongodb://here/logs");

    let with_secret =
        [("MONGODB_URI_CHARTS", "mongodb://ada:hunter2-s3cret@charts.example/app?useUnifiedTopology=true")];
    let config = read(&with_secret).unwrap();
    let settings = serde_json::to_string(config.settings()).unwrap();
    assert!(settings.contains("MONGODB_URI_CHARTS") && settings.contains("ada:***@charts.example"), "{settings}");
    assert!(!settings.contains(PASSWORD) && !format!("{config:?}").contains(PASSWORD));
    let error = refused(&[("MONGODB_URI_CHARTS", "mongo://ada:hunter2-s3cret@db")]);
    assert!(error.starts_with("MONGODB_URI_CHARTS") && !error.contains(PASSWORD), "{error}");
}

#[test]
fn options_that_older_drivers_needed_are_no_error() {
    let uri = "mongodb://db/app?useNewUrlParser=true&w=1&useUnifiedTopology=true&socketTimeoutMS=45000";
    assert_eq!(read(&[("MONGODB_URI", uri)]).unwrap().documents.uri.unwrap().reveal(), uri);
    assert!(refused(&[("MONGODB_URI", "mongodb://db/app?useOldUrlParser=true")]).starts_with("MONGODB_URI"));
}

#[test]
fn parts_make_a_url_and_a_url_wins() {
    let parts = [
        ("DB_HOST", "db.example"),
        ("DB_PORT", "6543"),
        ("DB_USER", "ada lovelace"),
        ("DB_PASSWORD", "p@ss/w:rd#?%41"),
        ("DB_NAME", "my app%20"),
        ("DB_SSL", "verify-full"),
    ];
    let config = read(&parts).unwrap();
    let url = config.database.url.reveal();
    assert_eq!(
        url,
        "postgres://ada%20lovelace:p%40ss%2Fw%3Ard%23%3F%2541@db.example:6543/my%20app%2520?sslmode=verify-full"
    );
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    assert_eq!(
        (options.get_host(), options.get_port(), options.get_username(), options.get_database()),
        ("db.example", 6543, "ada lovelace", Some("my app%20"))
    );
    let both = read(&[&parts[..], &[("DATABASE_URL", "sqlite://app.db")]].concat()).unwrap();
    assert_eq!(both.database.url.reveal(), "sqlite://app.db");
    assert!(refused(&[("DB_HOST", "db.example")]).starts_with("DB_NAME is not set"));
    assert_eq!(
        read(&[("REDIS_PORT", "6380")]).unwrap().redis_url.unwrap().reveal(),
        "redis://localhost:6380",
        "one part is enough"
    );
}

#[test]
fn a_folder_may_have_any_name() {
    let config = read(&[("DATA_DIR", "my data/50%?#\nä")]).unwrap();
    let options: sqlx::sqlite::SqliteConnectOptions = config.database.url.reveal().parse().unwrap();
    assert_eq!(options.get_filename(), Path::new("my data/50%?#\nä/seabed.db"));
}

/// Case 68.
#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let error = refused(&[("DB_MAX_CONECTIONS", "5")]);
    assert_eq!(error, "DB_MAX_CONECTIONS (environment) is not a setting: did you mean DB_MAX_CONNECTIONS?");
    assert!(
        read(&[("PATH", "/bin"), ("DBUS_SESSION", "x"), ("LOGNAME", "ada")]).is_ok(),
        "what is not ours is ignored"
    );

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), format!("# mine\nDATABSE_URL=postgres://a:{PASSWORD}@db/app\n")).unwrap();
    let error = read_in(folder.path(), &[]).unwrap_err().to_string();
    assert_eq!(error, "DATABSE_URL (.env line 2) is not a setting: did you mean DATABASE_URL?");
}

/// Case 68.
#[test]
fn wrong_values_are_all_named_at_once() {
    let error = refused(&[
        ("LISTEN", "127.0.0.1:70000"),
        ("DB_PORT", "70000"),
        ("DB_MIN_CONNECTIONS", "5"),
        ("DB_MAX_CONNECTIONS", "4"),
        ("DB_STATEMENT_TIMEOUT", "10s"),
        ("DB_ATTEMPTS", "0"),
        ("DB_SSL", "maybe"),
        ("PROFILE", "prod"),
        ("LOG", "in=fo=x"),
        ("MAX_BODY_BYTES", "1M"),
        ("MIGRATE_ON_START", "yes"),
    ]);
    for name in [
        "LISTEN",
        "DB_PORT",
        "DB_MAX_CONNECTIONS",
        "DB_STATEMENT_TIMEOUT",
        "DB_ATTEMPTS",
        "DB_SSL",
        "PROFILE",
        "LOG",
        "MAX_BODY_BYTES",
        "MIGRATE_ON_START",
    ] {
        assert!(error.lines().any(|line| line.starts_with(name)), "{name} in\n{error}");
    }
    assert!(
        error.contains("DB_MAX_CONNECTIONS is \"4\" and must be at least DB_MIN_CONNECTIONS, which is 5"),
        "{error}"
    );
}

#[test]
fn a_duration_needs_a_unit() {
    let error = refused(&[("REQUEST_TIMEOUT", "30")]);
    assert_eq!(error, "REQUEST_TIMEOUT is \"30\" and needs a unit: write 30s for seconds or 30ms for milliseconds");
    for (text, length) in [("300ms", 300), ("6s", 6_000), ("2m", 120_000)] {
        assert_eq!(read(&[("DRAIN_TIMEOUT", text)]).unwrap().drain_timeout, Duration::from_millis(length));
    }
}

#[test]
fn the_cache_keeps_what_its_settings_say() {
    let cache = read(&[]).unwrap().cache;
    assert_eq!((cache.ttl, cache.freshness), (Duration::from_secs(300), Duration::from_secs(1)));
    assert_eq!((cache.timeout, cache.max_bytes), (Duration::from_millis(50), 64 << 20));
    assert_eq!((cache.is_used, cache.on_unreachable), (CacheUse::On, OnUnreachable::Wait));
    assert!(refused(&[("CACHE_TTL", "300")]).contains("needs a unit: write 300s"));
    assert!(refused(&[("CACHE_FRESHNESS", "100ms")]).contains("must be more than twice REDIS_TIMEOUT"));
    assert!(refused(&[("CACHE_ON_UNREACHABLE", "never")]).contains("wait, ack"));
}

/// Case 55.
#[test]
fn a_wrong_address_is_named_and_not_quoted() {
    for (name, value) in [
        ("DATABASE_URL", "postgres://ada:hunter2-s3cret@db:70000/app"),
        ("DATABASE_URL", "mysql://ada:hunter2-s3cret@db/app"),
        ("DATABASE_URL", "hunter2-s3cret"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("POSTGRES_URL", "postgres://ada:hunter2-s3cret@db/app?sslmode=hunter2-s3cret"),
        ("REDIS_URL", "http://ada:hunter2-s3cret@db"),
        ("REDIS_URL", "redis://:hunter2-s3cret@db:70000"),
        ("MONGODB_URI", "mongodb://ada:hunter2-s3cret@a:70000,b:1/app"),
        ("MONGODB_URI", "mongodb://ada:hunter2-s3cret@"),
        ("MONGODB_URL", "mongo://ada:hunter2-s3cret@db"),
        ("SECRET_KEY", "hunter2-s3cret"),
    ] {
        let error = refused(&[(name, value)]);
        assert!(error.starts_with(name) && !error.contains(PASSWORD), "{error}");
    }
}

#[test]
fn production_has_no_default_for_what_matters() {
    let error = refused(&[("PROFILE", "production")]);
    let names = error.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["SECRET_KEY", "DATABASE_URL"], "{error}");
    let named = [("PROFILE", "production"), ("SECRET_KEY", KEY), ("DB_NAME", "app")];
    assert!(refused(&named).starts_with("DB_HOST is not set"));
    let config = read(&[("PROFILE", "production"), ("SECRET_KEY", KEY), ("DATABASE_URL", "sqlite://app.db")]).unwrap();
    assert!(config.database.is_embedded(), "SQLite is used where that is said");
}

#[test]
fn no_secret_is_shown() {
    let config = read(&[
        ("DATABASE_URL", "postgres://ada:hunter2-s3cret@db:5432/app"),
        ("DB_PASSWORD", PASSWORD),
        ("REDIS_URL", "redis://:hunter2-s3cret@cache:6379"),
        ("REDIS_PASSWORD", PASSWORD),
        ("MONGODB_URL", "mongodb+srv://ada:hunter2-s3cret@db/app"),
        ("SECRET_KEY", &format!("{PASSWORD}{KEY}")),
    ])
    .unwrap();
    let settings = serde_json::to_string(config.settings()).unwrap();
    for text in [format!("{config:?}"), format!("{config:#?}"), settings.clone()] {
        assert!(!text.contains(PASSWORD) && text.contains("postgres://ada:***@db:5432/app"), "{text}");
    }
    assert!(settings.contains(r#""name":"SECRET_KEY","value":"***""#), "{settings}");
    assert!(settings.contains(r#""note":"set as MONGODB_URL""#), "{settings}");
    assert!(settings.contains("without effect: DATABASE_URL wins"), "{settings}");
    assert!(settings.contains("without effect: REDIS_URL wins"), "{settings}");
}

#[test]
fn a_key_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = read(&[("DATA_DIR", data.to_str().unwrap())]).unwrap();
    assert!(!data.exists(), "reading the configuration writes nothing");
    let key = config.secret_key().unwrap();
    assert!(key.reveal().len() >= 32);
    assert_eq!(config.secret_key().unwrap(), key);
    assert_eq!(read(&[("SECRET_KEY", KEY)]).unwrap().secret_key().unwrap().reveal(), KEY);
}

#[test]
fn the_example_file_is_that_of_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written, env_example(), "run `cargo run -- config example > .env.example`");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), &written).unwrap();
    assert_eq!(read_in(folder.path(), &[]).unwrap(), read(&[]).unwrap(), "copied as it is, it changes nothing");
    for key in KEYS {
        assert!(written.contains(&format!("\n# {}=", key.name)), "{}", key.name);
        assert!(markdown().contains(&format!("| `{}`", key.name)), "{}", key.name);
        assert!(
            key.visibility == Visibility::Plain || key.absent.text().is_none(),
            "{} has a secret default",
            key.name
        );
    }
}

/// What `compose.yaml` starts is not needed, but it is what it says: each store in one version, known to be well before
/// anybody uses it, and at the addresses that its head gives.
#[test]
fn the_services_for_development_are_pinned_and_checked() {
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose.yaml")).unwrap();
    let (head, services) = file.split_once("\nservices:\n").unwrap();
    let (services, _volumes) = services.split_once("\nvolumes:\n").unwrap();
    let mut found = Vec::new();
    for service in services.split("\n\n") {
        let (name, settings) = service.split_once(":\n").unwrap();
        let setting = |name: &str| {
            let line = settings.lines().find_map(|line| line.strip_prefix("    ")?.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{service} has no {name}")).trim()
        };
        let (image, version) = setting("image: ").split_once(':').unwrap();
        let numbers = version.split('-').next().unwrap().split('.').collect::<Vec<_>>();
        assert!(numbers.len() >= 2 && numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{image}:{version}");
        setting("healthcheck:");
        assert!(settings.contains("\n      test:"), "{service}");
        let (port, _) = setting("ports: [\"127.0.0.1:").split_once(':').unwrap();
        found.push((name.trim(), port.parse::<u16>().unwrap()));
    }
    assert_eq!(found, [("postgres", 5432), ("redis", 6379), ("mongodb", 27017)]);

    let environment = head.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once('='));
    let config = read(&environment.collect::<Vec<_>>()).unwrap();
    let stores = [Some(&config.database.url), config.redis_url.as_ref(), config.documents.uri.as_ref()];
    for ((_, port), address) in found.iter().zip(stores) {
        assert!(address.unwrap().reveal().contains(&format!("127.0.0.1:{port}")), "{address:?}");
    }
}
