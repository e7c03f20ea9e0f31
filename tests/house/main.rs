//! The house, tested from outside: whole journeys through the real functions over a fresh local cloud.
//!
//! `world` is what every test stands on; each other file tells one part of the story.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod world;

mod accounts;
mod alike;
mod bad_input;
mod batches;
mod collections;
mod conditions;
mod contract;
mod cost;
mod data;
mod delivery;
mod doors;
mod evolution;
mod expand;
mod faults;
mod files;
mod followers;
mod given_up;
mod guesses;
mod heavy;
mod holders;
mod http;
mod interleaved;
mod job_keys;
mod jobs;
mod journey;
mod ledger;
mod limits;
mod matrix;
mod membership;
mod misplaced;
mod nobody;
mod numbers;
mod objects;
mod once;
mod openapi;
mod outcomes;
mod pages;
mod permissions;
mod preconditions;
mod prices;
mod referrers;
mod referring;
mod relations;
mod relayed;
mod revoking;
mod scans;
mod secrets;
mod sessions;
mod smuggling;
mod template;
mod tokens;
mod told;
mod unauthenticated;
mod undelete;
mod unseen;
mod watch;
mod write_answers;
mod writes;
