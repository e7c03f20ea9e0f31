//! The project itself: template, documentation, requirements, and `cargo dev`.

mod cargo_dev;
mod docs;
mod journey;
mod layers;
mod requirements;
mod template;
