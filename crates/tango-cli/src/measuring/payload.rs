//! Payloads that a reader can check: every byte follows from the sequence number of the fragment.

const WORD: usize = size_of::<u64>();
/// Difference between neighbouring words.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Fills the payload of fragment `seq`.
#[inline]
pub(crate) fn fill(payload: &mut [u8], seq: u64) {
    let mut word = first_word(seq);
    let mut words = payload.chunks_exact_mut(WORD);
    for bytes in &mut words {
        bytes.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(STEP);
    }
    let rest = words.into_remainder();
    let len = rest.len();
    rest.copy_from_slice(&word.to_le_bytes()[..len]);
}

/// Whether the payload is what [`fill`] writes for fragment `seq`.
#[inline]
pub(crate) fn is_filled(payload: &[u8], seq: u64) -> bool {
    let (mut word, mut difference) = (first_word(seq), 0);
    let words = payload.chunks_exact(WORD);
    let rest = words.remainder();
    for bytes in words {
        difference |= word ^ u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        word = word.wrapping_add(STEP);
    }
    difference == 0 && rest == &word.to_le_bytes()[..rest.len()]
}

/// The first word of a payload. It is different for each `seq`, and successive ones share no pattern.
#[inline]
fn first_word(seq: u64) -> u64 {
    let mixed = seq.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_detected() {
        for size in [0, 1, 7, 8, 9, 64, 100] {
            let mut payload = vec![0; size];
            fill(&mut payload, 7);
            assert!(is_filled(&payload, 7));
            for index in 0..size {
                payload[index] ^= 1;
                assert!(!is_filled(&payload, 7), "byte {index} of {size}");
                payload[index] ^= 1;
            }
            assert!(size < 2 || !is_filled(&payload, 8));
        }
    }
}
