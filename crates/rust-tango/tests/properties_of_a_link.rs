//! After any sequence of operations, a link is in the state that the simple model in `common/model.rs`
//! predicts.
#![cfg(feature = "std")]

#[path = "common/model.rs"]
mod model;

use model::{Seen, Shape, run};
use proptest::collection::vec;
use proptest::prelude::*;

/// The number of sequences, and of operations in each. Fewer under Miri, which interprets every step.
const CASES: u32 = if cfg!(miri) { 6 } else { 4000 };
const OPERATIONS: usize = if cfg!(miri) { 40 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn every_sequence_of_operations_matches_the_model(
        numbers in any::<[u8; 6]>(),
        start in any::<u64>(),
        operations in vec(any::<(u8, u8, u16)>(), 0..OPERATIONS),
    ) {
        run(Shape::from_numbers(numbers, start), operations);
    }
}

/// The model would be worthless if its runs met nothing.
#[test]
#[cfg_attr(miri, ignore = "it is about many runs, and each of them is like those above")]
fn runs_meet_everything_that_the_model_knows() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut all = Seen::default();
    for _ in 0..300 {
        let shape = Shape::from_numbers(next().to_le_bytes()[..6].try_into().unwrap(), next());
        let operations: Vec<_> = (0..150).map(|_| (next() as u8, next() as u8, next() as u16)).collect();
        let seen = run(shape, operations);
        all.published += seen.published;
        all.refused += seen.refused;
        all.read += seen.read;
        all.overruns += seen.overruns;
        all.gaps += seen.gaps;
    }
    assert!(
        all.published > 5000 && all.refused > 500 && all.read > 3000 && all.overruns > 300 && all.gaps > 100,
        "{all:?}"
    );
}
