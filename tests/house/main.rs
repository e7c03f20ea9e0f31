//! The house, tested from outside: whole journeys through the real functions over a fresh local cloud.
//!
//! `world` is what every test stands on; each other file tells one part of the story.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod world;

mod accounts;
mod collections;
mod cost;
mod data;
mod doors;
mod http;
mod jobs;
mod journey;
mod membership;
mod sessions;
mod template;
mod tokens;
mod watch;
mod writes;
