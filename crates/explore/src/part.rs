//! Parts of a world that many states share.

use std::cell::Cell;
use std::hash::Hash;
use std::ops::Deref;
use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3Default;

/// A value that states share until one of them changes it. It remembers its fingerprint, since most actions change one part
/// of a world and leave the others alone.
#[derive(Debug)]
pub(crate) struct Part<T>(Rc<Shared<T>>);

#[derive(Clone, Debug)]
struct Shared<T> {
    value: T,
    print: Cell<Option<u128>>,
}

impl<T> Part<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Rc::new(Shared { value, print: Cell::new(None) }))
    }
}

impl<T: Clone> Part<T> {
    /// The value, to be changed.
    pub(crate) fn change(&mut self) -> &mut T {
        let shared = Rc::make_mut(&mut self.0);
        shared.print.set(None);
        &mut shared.value
    }
}

impl<T: Hash> Part<T> {
    /// Equal values have equal fingerprints, and two different ones have the same with a probability of 2^-128.
    pub(crate) fn print(&self) -> u128 {
        self.0.print.get().unwrap_or_else(|| {
            let print = fingerprint(&self.0.value);
            self.0.print.set(Some(print));
            print
        })
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// 128 bits of XXH3 over all that the value hashes.
pub(crate) fn fingerprint(value: &impl Hash) -> u128 {
    let mut hasher = Xxh3Default::new();
    value.hash(&mut hasher);
    hasher.digest128()
}
