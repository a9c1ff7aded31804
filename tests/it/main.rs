//! The tests of the whole workspace, in one binary.

mod fixture;

mod connection;
mod constraint;
mod harness;
mod layers;
mod list;
mod relation;
mod scoreboard;
mod store;
mod typing;
mod unit_of_work;
mod value;
