//! Definitions: enforcement, changes, and publication.

mod definitions;
mod evolution;
mod formats;
mod published_schema;
mod referrers;
mod restricted_cascades;
