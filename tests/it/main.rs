//! The tests of the whole workspace, in one binary.

mod command_line;
mod config;
mod connection;
mod constraint;
mod entity;
mod fixture;
mod harness;
mod insert_all;
mod layers;
mod list;
mod migration;
mod readme;
mod relation;
mod scoreboard;
mod seed;
mod store;
mod transfer;
mod unit_of_work;
mod value;
