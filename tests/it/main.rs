//! The tests of the whole workspace, in one binary.

mod command_line;
mod config;
mod entity;
mod harness;
mod insert_all;
mod layers;
mod migration;
mod readme;
mod scoreboard;
mod seed;
mod transfer;
