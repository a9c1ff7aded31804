//! The tests of the whole workspace, in one binary.

mod fixture;

mod harness;
mod layers;
mod scoreboard;
mod store;
mod unit_of_work;
