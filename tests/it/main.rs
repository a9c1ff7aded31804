//! The tests of the whole workspace, in one binary.

mod bad_input;
mod harness;
mod http;
mod layers;
mod openapi;
mod resource;
mod scoreboard;
mod serving;
