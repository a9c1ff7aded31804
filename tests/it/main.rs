//! The tests of the whole workspace, in one binary.

mod bad_input;
mod command_line;
mod config;
mod connection;
mod constraint;
mod entity;
mod fixture;
mod harness;
mod http;
mod insert_all;
mod layers;
mod list;
mod migration;
mod openapi;
mod readme;
mod relation;
mod resource;
mod scoreboard;
mod seed;
mod serving;
mod store;
mod transfer;
mod typing;
mod unit_of_work;
mod value;
