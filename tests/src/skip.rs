//! Tests that cannot run say so.

use std::{fmt, io::Write};

/// Why a test cannot run on this machine.
#[derive(Debug, Clone)]
pub struct Skip {
    reason: String,
}

impl Skip {
    /// A skip for a reason that tells what to install or to set.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Says `skipped: <test>: <reason>`, and fails the test where skips are not allowed, as in `tests/run`.
    #[track_caller]
    pub fn report(&self, test: &str) {
        let line = format!("skipped: {test}: {self}");
        assert!(!crate::run::skips_are_forbidden(), "{line} (and SEABED_TESTS_NO_SKIP forbids it)");
        // Past the capture of libtest, which hides what passing tests print.
        writeln!(std::io::stderr(), "{line}").ok();
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The value of a `Result<_, Skip>`; where there is none, the test is reported as skipped and returns.
///
/// ```ignore
/// let server = or_skip!(Postgres::private().await);
/// ```
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(skip) => {
                fn here() {}
                $crate::Skip::report(&skip, &$crate::expansion::name_of(here));
                return;
            }
        }
    };
}

/// The name that the test runner gives to the test around a function, from a marker inside of it.
#[doc(hidden)]
pub fn name_of<T>(_marker: T) -> String {
    let path = std::any::type_name::<T>();
    let path = path.split_once("::").map_or(path, |(_, inside)| inside);
    path.trim_end_matches("::here").replace("::{{closure}}", "")
}
