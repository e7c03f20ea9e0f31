//! Accounts, sessions, tokens and the secrets that open them.

mod accounts;
mod expired_sessions;
mod passwords;
mod randomness;
mod secrets;
mod sessions;
mod takeover;
pub mod tokens;
