//! The process: HTTP, command line, configuration, and the adapters that they choose.

pub mod adapter;
mod app;
mod body;
pub mod command;
pub mod config;
mod documents;
mod edge;
mod extract;
mod health;
pub mod log;
mod metrics;
mod openapi;
mod page_token;
mod problem;
mod reply;
mod resource;
mod revalidate;
mod route;
pub mod schema;
mod server;
mod studio;
pub mod wiring;

pub use app::{App, Limits};
pub use server::{router, serve};
