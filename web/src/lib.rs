//! The page: a replica that runs in a browser and shows what it holds.
//!
//! It has two halves. What is shown, and in which words, is plain Rust without a browser and is tested natively. Only
//! [`page`](self#the-half-that-needs-a-browser) knows of signals, elements and timers.
//!
//! | to find | look in |
//! |---|---|
//! | what the page knows and shows | [`model`] |
//! | how numbers, times and events are written | [`words`] |
//! | what a person may type into the form | [`entry`] |
//! | what a tab keeps over a reload | [`saved`] |
//! | which tabs may hold one of the browser's few connections | [`tabs`] |
//!
//! # The half that needs a browser
//!
//! The module `page` exists only for `wasm32`. It mounts the components, runs the session for as long as they live, and
//! copies what the model shows into signals at most once per animation frame.

pub mod entry;
pub mod model;
#[cfg(target_arch = "wasm32")]
mod page;
pub mod saved;
pub mod tabs;
pub mod words;

#[cfg(target_arch = "wasm32")]
pub use page::mount;
