//! The adapters of the domain's ports to technologies outside of this process.

pub mod mongo_connection;
pub mod mongo_documents;
pub mod redis_bus;
pub mod redis_cache;
mod redis_connection;
pub mod redis_memory;
