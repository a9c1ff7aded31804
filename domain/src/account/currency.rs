//! Currencies, as ISO 4217 has them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    columns::ColumnValue,
    error::{Error, Result},
};

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
