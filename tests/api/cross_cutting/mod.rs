//! What holds for every route: visibility, permission, cost, faults, limits and the published contract.

pub mod bad_input;
mod cost;
mod cost_disclosure;
mod faults;
mod foreign_index_entries;
mod hidden_and_absent;
mod hidden_field_guesses;
pub mod hidden_in_queries;
mod http;
mod iam;
mod idempotency;
mod injection;
mod list_limits;
pub mod openapi;
mod permission_matrix;
mod preconditions;
mod problem_documents;
mod refusal_cost;
mod relation_targets;
pub mod response_contract;
mod response_limits;
mod revocation;
pub mod routes;
mod stored_responses;
mod unauthenticated_cost;
mod unreadable_records;
mod write_responses;
