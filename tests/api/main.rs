//! Tests of the API from outside: the real functions over a fresh local cloud.
//!
//! `world` starts the functions for every test; each other module tests one area.
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
