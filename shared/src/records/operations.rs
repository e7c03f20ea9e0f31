//! The dependencies of every operation, and the lookup of its collection.

use crate::clock::Clock;
use crate::cursor::Cursors;
use crate::error::{Error, Result};
use crate::expr::Rule;
use crate::identity::Caller;
use crate::policy::invisible;
use crate::schema::Collection;
use crate::store::change_log::ChangeLog;
use crate::store::definitions::Definitions;
use crate::store::records::Records;
use std::sync::Arc;

/// The operations on records.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Definitions of collections.
    pub definitions: Arc<Definitions>,
    /// The `Records` table.
    pub records: Records,
    /// The change log, with counts and changes.
    pub change_log: ChangeLog,
    /// Creates and opens cursors.
    pub cursors: Arc<Cursors>,
    /// The clock.
    pub clock: Clock,
}

impl Operations {
    /// The collection with that name. The error is the same whether it does not exist or is closed to the caller.
    ///
    /// # Errors
    /// `Unauthenticated` or `NotFound` when there is none.
    pub async fn collection(&self, name: &str, caller: &Caller, action: Rule) -> Result<Arc<Collection>> {
        let found = match caller {
            Caller::Anonymous => self.definitions.collection_for_anonymous(name).await?,
            Caller::User(_) => self.definitions.collection(name).await?,
        };
        found.ok_or_else(|| absent(caller, action))
    }
}

/// The error when the caller may not use the collection.
pub(super) fn absent(caller: &Caller, action: Rule) -> Error {
    match caller {
        Caller::Anonymous => Error::Unauthenticated("Sign in to send this request."),
        Caller::User(_) => invisible(action),
    }
}
