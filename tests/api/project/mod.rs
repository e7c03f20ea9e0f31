//! The project itself: template, README, requirements, and `cargo dev`.

mod cargo_dev;
mod journey;
mod requirements;
mod template;
