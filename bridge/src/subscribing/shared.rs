//! [`Shared`]: what all far links of one subscription share.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::context::Context;
use crate::pattern::Patterns;
use crate::settings::Subscribe;

/// See the head of this file.
pub(super) struct Shared {
    pub(super) context: Context,
    pub(super) settings: Subscribe,
    pub(super) patterns: Patterns,
    /// How many threads of the network wait for room in a queue. Replies to questions may not arrive meanwhile.
    pub(super) waiting: AtomicUsize,
    /// Far links by name, with the keys that they belong to.
    names: Mutex<HashMap<String, String>>,
}

impl Shared {
    pub(super) fn new(context: &Context, settings: Subscribe) -> Self {
        Self {
            context: context.clone(),
            patterns: Patterns::new(&settings.allow, &settings.deny),
            settings,
            waiting: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // No thread panics while it holds this.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The far link of this name belongs to this key from now on, and no other.
    ///
    /// # Errors
    ///
    /// The key that it belongs to already.
    pub(super) fn take_name(&self, name: &str, key: &str) -> Result<(), String> {
        let mut names = self.names();
        if let Some(of) = names.get(name).filter(|of| *of != key) {
            return Err(of.clone());
        }
        names.retain(|_, of| of != key);
        names.insert(name.to_owned(), key.to_owned());
        Ok(())
    }

    /// The key has no far link any more.
    pub(super) fn give_name_back(&self, key: &str) {
        self.names().retain(|_, of| of != key);
    }

    /// The far link of a key. Empty if there is none.
    pub(super) fn name_of(&self, key: &str) -> String {
        self.names().iter().find(|(_, of)| *of == key).map(|(name, _)| name.clone()).unwrap_or_default()
    }
}
