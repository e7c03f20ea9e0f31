//! Operations on records, shared by REST requests, batches and imports.
//!
//! Every operation checks permission first. `prepare` turns what the client sent into an [`Intent`](crate::store::intent::Intent):
//! the collection exists, the definitions permit the caller, the body is valid. [`store::write`](crate::store) decides the intent
//! against the stored record and commits it. Reads return JSON as the caller may see it.

pub mod batch;
mod changes;
mod count;
mod deleted;
mod expand;
pub mod input;
mod list;
mod list_request;
pub mod operations;
mod page;
mod prepare;
mod published_schema;
mod read;
mod refusal;
pub mod upsert;

pub use batch::{Operation, OperationKind};
pub use changes::ChangesRequest;
pub use list_request::ListRequest;
pub use operations::Operations;
pub use published_schema::PublishedSchema;
pub use read::{Found, ReadRequest};
