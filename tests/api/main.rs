//! The API, tested from outside: whole journeys through the real functions over a fresh local cloud.
//!
//! `world` is what every test stands on; each other file tells one part of the story.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod world;

mod auth;
mod changes;
mod collections;
mod cross_cutting;
mod imports;
mod jobs;
mod project;
mod records;
