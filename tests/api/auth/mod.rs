//! Accounts, sessions, tokens and other secrets.

mod accounts;
mod expired_sessions;
mod passwords;
mod randomness;
mod secrets;
mod sessions;
mod takeover;
pub mod tokens;
