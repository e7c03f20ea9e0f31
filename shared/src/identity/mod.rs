//! Authentication: a bearer token in, a `Caller` out. Every function verifies tokens itself, using only public keys.

pub mod keys;
pub mod parameters;
pub mod seal;
mod signature;
pub mod token;

#[cfg(test)]
mod tests;

pub use undercroft_core::caller::{ADMIN, Caller, User};
pub use undercroft_core::email;
