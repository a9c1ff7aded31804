//! The process: HTTP, the command line, the configuration, and the adapters that they choose.

pub mod app;
pub mod command;
pub mod config;
pub mod server;
pub mod wiring;
