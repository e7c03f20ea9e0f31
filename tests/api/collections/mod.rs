//! Definitions: what they promise, how they change, and how they are published.

mod definitions;
mod evolution;
mod published_schema;
mod referrers;
