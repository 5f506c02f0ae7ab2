//! The page: a replica that runs in a browser and shows what it holds.
//!
//! It has two halves. What is shown is plain Rust without a browser and is tested natively. Only
//! [`ui`](self#the-half-that-needs-a-browser) knows elements and timers.
//!
//! | to find | look in |
//! |---|---|
//! | what the page knows and shows | [`model`] |
//! | how numbers, times and events are written | [`format`](mod@format) |
//! | what a person may type into the form | [`form`] |
//! | how the leader's generator is shown and paced | [`generator`] |
//! | what the words on the page mean | [`glossary`] |
//! | what a tab saves so that it survives a reload | [`saved`] |
//! | which tabs may hold one of the browser's few connections | [`tabs`] |
//!
//! # The half that needs a browser
//!
//! The module `ui` exists only for `wasm32`. It mounts the components, runs the session for as long as they live, and
//! lets each component write what the model shows, at most once per animation frame.

pub mod form;
pub mod format;
pub mod generator;
pub mod glossary;
pub mod known;
pub mod model;
pub mod saved;
pub mod tabs;
#[cfg(target_arch = "wasm32")]
mod ui;

#[cfg(target_arch = "wasm32")]
pub use ui::mount;
