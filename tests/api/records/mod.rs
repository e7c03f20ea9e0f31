//! Records: read, listed, written and deleted under their rules.

mod anonymous_rules;
mod batch_reads;
mod batch_writes;
mod cascades;
mod combined_schemas;
pub mod concurrent_writes;
pub mod crud;
mod cursors;
mod deleted_targets;
mod expand;
mod ids;
mod membership_rules;
mod named_ids;
mod new_records;
mod numbers;
pub mod pages;
mod refused_updates;
mod residual_filters;
pub mod restrict;
mod rule_conditions;
mod scans;
mod stored_form;
mod undelete;
mod unique_values;
