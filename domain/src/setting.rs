//! Settings: values by key, for the application or for one user. The keys that there are, and the types of their values,
//! are declared in [`setting_key`].

use std::{sync::LazyLock, time::Duration};

use entity::settings as row;
use jsonschema::Validator;
use schemars::{JsonSchema, schema_for};
use sea_orm::{ColumnTrait, Condition, EntityTrait, JsonValue, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{User, UserId, fault, noun::*};

/// A key that settings may have.
pub trait SettingKey {
    /// What its values are.
    type Value: Serialize + DeserializeOwned + JsonSchema;

    /// The key as text.
    const NAME: &'static str;

    /// What holds where nothing is set.
    fn fallback() -> Self::Value;
}

macro_rules! keys {
    ($( $(#[$doc:meta])* $key:ident = $name:literal, $value:ty, $fallback:expr; )+) => {
        /// Every key that settings may have.
        pub mod setting_key {
            use super::*;

            $(
                $(#[$doc])*
                #[derive(Debug, Clone, Copy)]
                pub struct $key;

                impl SettingKey for $key {
                    type Value = $value;
                    const NAME: &'static str = $name;

                    fn fallback() -> $value {
                        $fallback
                    }
                }
            )+
        }

        static KEYS: [Known; [$($name),+].len()] = [$( Known {
            name: $name,
            schema: LazyLock::new(|| schema_of::<setting_key::$key>()),
            fits: fits::<setting_key::$key>,
        } ),+];
    };
}

keys! {
    /// How pages look.
    AppearanceTheme = "appearance.theme", Theme, Theme::System;
    /// How many records a page of a list has.
    ListPageSize = "list.page_size", PageSize, PageSize(50);
    /// The language, and the customs of the place.
    Locale = "locale", LanguageTag, LanguageTag("en".to_owned());
    /// Whether news is sent by e-mail.
    NotificationsEmail = "notifications.email", bool, true;
    /// The zone in which times are shown.
    TimeZone = "time_zone", ZoneName, ZoneName("UTC".to_owned());
}

/// How pages look: as the device is set, with `system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    Light,
    Dark,
    System,
}

/// How many records a page of a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageSize(#[schemars(range(min = 1, max = 200))] pub u32);

/// A language tag as in BCP 47, such as `de-AT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LanguageTag(
    #[schemars(length(max = 35), regex(pattern = "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"))] pub String,
);

/// The name of a time zone as IANA gives it, such as `Europe/Vienna`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneName(
    #[schemars(length(max = 64), regex(pattern = "^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$"))] pub String,
);

/// The id of a setting.
pub type SettingId = Id<Setting>;

text_enum! {
    /// For whom a setting holds.
    pub enum Scope {
        /// For everybody who has not set it for themselves.
        Application = "application",
        /// For one user.
        User = "user",
    }
}

record! {
    /// A value that was set.
    pub struct Setting = "setting" in settings {
        pub scope: Scope,
        /// Whose it is, if it is a user's.
        pub user_id: Option<UserId>,
        pub key: String,
        pub value: JsonValue,
    }
    sort: [key, created_at],
    filter: SettingFilter { scope: Scope, user_id: UserId, key: String },
    cached: Caching::Refilled(Duration::from_secs(3_600)),
    relations: {
        /// Whose it is.
        USER: Relation<Setting, User> = Relation::belongs_to("user", "user_id"),
    },
}

new! {
    /// What is needed to make a setting.
    pub struct NewSetting => Setting {
        pub scope: Scope,
        /// Needed if the scope is a user, and not allowed otherwise.
        pub user_id: Option<UserId>,
        /// One of the keys that there are.
        pub key: String,
        /// A value that fits the key.
        pub value: JsonValue,
    }
}

patch! {
    /// A change of a setting.
    pub struct SettingPatch => Setting keeps { scope, user_id, key } {
        /// A value that fits the key.
        pub value: Change<JsonValue>,
    }
}

impl Store {
    /// What is set for a key: by the user, or else for the application, or else what holds where nothing is set.
    pub async fn setting<K: SettingKey>(&self, user: Option<UserId>) -> Result<K::Value> {
        let theirs = user.map(|id| row::Column::UserId.eq(id.uuid()));
        let set = row::Entity::find()
            .filter(row::Column::Key.eq(K::NAME))
            .filter(Condition::any().add(row::Column::UserId.is_null()).add_option(theirs))
            // "user" comes after "application".
            .order_by_desc(row::Column::Scope)
            .one(self.reader())
            .await
            .map_err(fault::unavailable)?;
        let Some(set) = set else { return Ok(K::fallback()) };
        serde_json::from_value(set.value)
            .map_err(|error| Error::internal("a setting holds a value that does not fit its key", error))
    }
}

#[async_trait]
impl Insert for NewSetting {
    async fn before(&self, _work: &UnitOfWork) -> Result<()> {
        let mut wrong = check_value(&self.key, &self.value);
        match (self.scope, self.user_id) {
            (Scope::User, None) => {
                wrong.push(FieldError::new("user_id", "required", "is required for a setting of a user"));
            }
            (Scope::Application, Some(_)) => {
                let message = "must be left out for a setting of the application";
                wrong.push(FieldError::new("user_id", "scope", message));
            }
            (Scope::User, Some(_)) | (Scope::Application, None) => {}
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
    }
}

#[async_trait]
impl Patch for SettingPatch {
    async fn before(&self, id: SettingId, work: &UnitOfWork) -> Result<()> {
        let Some(value) = self.value.as_set() else { return Ok(()) };
        let wrong = check_value(&work.find(id).await?.key, value);
        if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
    }
}

/// A key whose type is forgotten, so that it can be found by name.
struct Known {
    name: &'static str,
    /// What its values must look like; compiled when the first one is looked at.
    schema: LazyLock<Result<Validator, String>>,
    /// Whether its type takes a value.
    fits: fn(&JsonValue) -> serde_json::Result<()>,
}

fn schema_of<K: SettingKey>() -> Result<Validator, String> {
    jsonschema::validator_for(schema_for!(K::Value).as_value()).map_err(|error| error.to_string())
}

fn fits<K: SettingKey>(value: &JsonValue) -> serde_json::Result<()> {
    K::Value::deserialize(value).map(|_| ())
}

fn check_value(key: &str, value: &JsonValue) -> Vec<FieldError> {
    match KEYS.iter().find(|known| known.name == key) {
        Some(known) => known.check(value),
        None => {
            let names = KEYS.iter().map(|known| known.name).collect::<Vec<_>>();
            vec![FieldError::new("key", "unknown", format!("must be one of {}", names.join(", ")))]
        }
    }
}

impl Known {
    /// The schema knows the limits and says well what is wrong; the type has the last word, because it is what will be
    /// read.
    fn check(&self, value: &JsonValue) -> Vec<FieldError> {
        let wrong = |at: &str, message: String| FieldError::new(&format!("value{at}"), "schema", message);
        let schema = match &*self.schema {
            Ok(schema) => schema,
            Err(error) => return vec![wrong("", error.clone())],
        };
        // Masked, because a refused value may be large, or a secret in the wrong place.
        let mut errors = schema
            .iter_errors(value)
            .map(|error| wrong(error.instance_path().as_str(), error.masked().to_string()))
            .collect::<Vec<_>>();
        if errors.is_empty()
            && let Err(error) = (self.fits)(value)
        {
            errors.push(wrong("", error.to_string()));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fallback_fits<K: SettingKey>() {
        let fallback = serde_json::to_value(K::fallback()).unwrap();
        assert_eq!(check_value(K::NAME, &fallback), []);
    }

    #[test]
    fn what_holds_where_nothing_is_set_fits_the_key() {
        fallback_fits::<setting_key::AppearanceTheme>();
        fallback_fits::<setting_key::ListPageSize>();
        fallback_fits::<setting_key::Locale>();
        fallback_fits::<setting_key::NotificationsEmail>();
        fallback_fits::<setting_key::TimeZone>();
        assert_eq!(KEYS.len(), 5);
    }

    #[test]
    fn a_value_fits_its_key_or_is_refused() {
        let fitting = [
            ("appearance.theme", vec![json!("light"), json!("dark"), json!("system")]),
            ("list.page_size", vec![json!(1), json!(200)]),
            ("locale", vec![json!("de"), json!("de-AT"), json!("zh-Hant-TW"), json!("sl-rozaj-biske")]),
            ("notifications.email", vec![json!(true), json!(false)]),
            ("time_zone", vec![json!("UTC"), json!("Etc/GMT+1"), json!("America/Argentina/Buenos_Aires")]),
        ];
        let refused = [
            ("appearance.theme", vec![json!("purple"), json!(null), json!(1), json!(["dark"])]),
            ("list.page_size", vec![json!(0), json!(201), json!(-1), json!(1.5), json!("50"), json!(null)]),
            ("locale", vec![json!(""), json!("d"), json!("de_AT"), json!("de-"), json!("de\n"), json!(1)]),
            ("notifications.email", vec![json!(0), json!("true"), json!(null)]),
            (
                "time_zone",
                vec![json!(""), json!("europe/vienna"), json!("A/B/C/D"), json!("../etc"), json!("A".repeat(65))],
            ),
        ];
        for (key, values) in fitting {
            for value in values {
                assert_eq!(check_value(key, &value), [], "{key} {value}");
            }
        }
        for (key, values) in refused {
            for value in values {
                let errors = check_value(key, &value);
                assert!(!errors.is_empty(), "{key} took {value}");
                assert!(errors.iter().all(|error| error.pointer == "/value"), "{errors:?}");
            }
        }
    }

    #[test]
    fn the_message_says_what_is_wrong() {
        let message = |key, value| check_value(key, &value).remove(0).message;
        assert_eq!(message("list.page_size", json!(500)), "value is greater than the maximum of 200");
        assert_eq!(message("appearance.theme", json!("x")), r#"value is not one of "light", "dark" or "system""#);
        assert_eq!(message("notifications.email", json!("x")), r#"value is not of type "boolean""#);
    }

    #[test]
    fn an_unknown_key_is_answered_with_those_that_there_are() {
        let errors = check_value("colour", &json!("red"));
        assert_eq!(errors[0].pointer, "/key");
        for known in &KEYS {
            assert!(errors[0].message.contains(known.name), "{}", errors[0].message);
        }
    }
}
