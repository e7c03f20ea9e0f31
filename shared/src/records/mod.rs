//! What can be done with records, whoever asks and by whichever door they come: REST, batches, imports.
//!
//! Every operation asks for permission first. A write is prepared from what the client sent (`prepare`): the collection is there,
//! the caller may as far as definitions say, the body is valid. It becomes an [`Intent`](crate::store::intent::Intent), which [`store::write`](crate::store)
//! decides upon the stored record and makes. Reads come back as JSON, as the caller may see it.

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

pub use batch::{Operation, OperationKind};
pub use changes::ChangesRequest;
pub use list_request::ListRequest;
pub use operations::Operations;
pub use published_schema::PublishedSchema;
pub use read::{Found, ReadRequest};
