//! The tests of the whole workspace, in one binary.

mod entity;
mod harness;
mod layers;
mod migration;
mod scoreboard;
mod transfer;
