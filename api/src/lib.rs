pub fn x() {}
pub mod command;
