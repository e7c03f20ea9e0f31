//! The definitions of all collections, for the document of admins.

use std::sync::{Arc, Mutex, PoisonError};
use undercroft::clock::Clock;
use undercroft::error::Result;
use undercroft::schema::Definition;
use undercroft::store::definitions::Definitions;

/// All definitions, cached for as long as a single definition.
#[derive(Debug)]
pub struct Catalogue {
    stored: Arc<Definitions>,
    clock: Clock,
    cache: Mutex<Option<(u64, Arc<Vec<Definition>>)>>,
}

impl Catalogue {
    /// A catalogue of the stored definitions.
    pub fn new(stored: Arc<Definitions>, clock: Clock) -> Self {
        Self { stored, clock, cache: Mutex::default() }
    }

    /// The definitions, by name.
    pub async fn definitions(&self) -> Result<Arc<Vec<Definition>>> {
        let now = self.clock.millis();
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, fresh)) = cached.filter(|(read_at, _)| now < read_at + self.stored.lease().millis()) {
            return Ok(fresh);
        }
        let stored = self.stored.all().await?.into_iter().map(|stored| stored.definition);
        let mut all: Vec<Definition> = stored.chain([Definition::users()]).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let all = Arc::new(all);
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, all.clone()));
        Ok(all)
    }
}
