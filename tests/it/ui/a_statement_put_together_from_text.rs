//! error: E0716

use domain::*;

pub fn concatenates(name: &str) -> Sql {
    Sql::new(&format!("SELECT * FROM users WHERE name = '{name}'"))
}
