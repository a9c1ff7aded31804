//! The process: HTTP, command line, configuration, and the adapters that they choose.

mod app;
mod body;
pub mod command;
mod edge;
mod health;
mod openapi;
mod page_token;
mod problem;
mod resource;
mod route;
mod server;

pub use app::{App, Limits};
pub use server::{router, serve};
