//! [`Own`]: how the owner of a word reads what it has stored there.

/// Loads a word for its owner, the only thread that writes it.
pub(crate) trait Own {
    type Value;
    /// The value that the owner, or the owner before it, stored last. A relaxed load. Under the model checker
    /// it fails if another thread stores the word without an ordering.
    fn own(&self) -> Self::Value;
}
