//! Definitions: enforcement, changes, and publication.

mod definitions;
mod evolution;
mod published_schema;
mod referrers;
mod restricted_cascades;
