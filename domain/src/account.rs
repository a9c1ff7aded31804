//! Accounts: money of one currency that belongs to a user. Only transfers change a balance.

use std::{borrow::Cow, fmt, str::FromStr};

use entity::{accounts as row, transfers};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use validator::Validate;

use crate::{
    columns::{ColumnValue, changed_row, equal_columns, new_row, record},
    error::{Error, Result},
    id::Id,
    record::{Insert, Patch},
    relation::Relation,
    transfer::Transfer,
    user::{User, UserId},
    value::{Change, Timestamp},
};

/// The id of an account.
pub type AccountId = Id<Account>;

/// Money of one currency that belongs to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Account {
    pub id: AccountId,
    pub version: i64,
    pub owner_id: UserId,
    pub currency: Currency,
    /// In minor units of the currency, such as cents; never below zero.
    pub balance: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is needed to make an account.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    pub owner_id: UserId,
    pub currency: Currency,
    /// What it opens with, in minor units: nothing, if nothing is said.
    #[serde(default)]
    #[validate(range(min = 0))]
    pub balance: i64,
}

/// A change of an account: another owner. Its currency is for good, and its balance is for transfers to change.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct AccountPatch {
    pub owner_id: Change<UserId>,
}

/// Which accounts are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountFilter {
    pub owner_id: Option<UserId>,
    pub currency: Option<Currency>,
}

impl Account {
    /// Whose it is.
    pub const OWNER: Relation<Account, User> = Relation::belongs_to("owner", "owner_id");
    /// What was paid out of it.
    pub const OUTGOING: Relation<Account, Transfer> =
        Relation::has_many("outgoing_transfers", transfers::Column::FromAccountId);
    /// What was paid into it.
    pub const INCOMING: Relation<Account, Transfer> =
        Relation::has_many("incoming_transfers", transfers::Column::ToAccountId);
}

record! {
    Account = "account" in row { owner_id, currency, balance },
    filter: AccountFilter,
    sort: [Currency, Balance, CreatedAt],
    relations: [OWNER, OUTGOING, INCOMING],
    children: [Restrict transfers.from_account_id, Restrict transfers.to_account_id],
}

new_row! { NewAccount => Account in row { owner_id, currency, balance } }

impl Insert for NewAccount {}

changed_row! { AccountPatch => Account in row { owner_id } keeps { currency, balance } }

impl Patch for AccountPatch {}

equal_columns! {
    AccountFilter => Account in row { owner_id = OwnerId, currency = Currency }
}

/// A currency in use, by its three letters in ISO 4217.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Currency(&'static str);

/// The text is not the code of a currency in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the code of a currency in use (ISO 4217) in capital letters, like EUR")]
pub struct NotACurrency;

impl Currency {
    /// The three letters.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl ColumnValue for Currency {
    type Column = String;

    fn into_column(self) -> String {
        self.as_str().to_owned()
    }

    fn from_column(column: String) -> Result<Self> {
        column.parse().map_err(|not: NotACurrency| Error::internal("a row holds an unknown currency", not))
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        CODES.binary_search(&text).map(|at| Self(CODES[at])).map_err(|_| NotACurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": CODES })
    }
}

/// ISO 4217 list one as of January 2026, sorted, without metals, units of account and codes for tests: those have no
/// minor unit to count in. A code that goes out of use stays as long as an account is kept in it.
const CODES: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD", "BIF", "BMD", "BND",
    "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CLF", "CLP", "CNY",
    "COP", "COU", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP",
    "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD",
    "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN",
    "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN",
    "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD",
    "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX",
    "USD", "USN", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF",
    "YER", "ZAR", "ZMW", "ZWG",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found() {
        assert!(CODES.is_sorted_by(|a, b| a < b));
        for code in CODES {
            assert_eq!(code.parse::<Currency>().map(Currency::as_str), Ok(*code));
        }
    }

    #[test]
    fn what_is_not_a_code_in_use_is_refused() {
        for text in ["", "eur", "Eur", " EUR", "EURO", "EU", "DEM", "XXX", "XTS", "XAU", "€UR", "ЕUR"] {
            assert_eq!(text.parse::<Currency>(), Err(NotACurrency), "{text}");
        }
        let refused = serde_json::from_str::<Currency>("\"DEM\"").unwrap_err();
        assert!(refused.to_string().starts_with("must be the code of a currency in use"), "{refused}");
        assert_eq!(serde_json::from_str::<Currency>("\"JPY\"").unwrap().to_string(), "JPY");
    }
}
