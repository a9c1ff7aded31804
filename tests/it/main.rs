//! The tests of the whole workspace, in one binary.

mod harness;
mod layers;
mod scoreboard;
