//! A real browser under test.
