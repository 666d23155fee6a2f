//! Every committed input of every target: the seeds, and what has once found a fault.

use std::fs;
use std::path::Path;

#[test]
fn committed_inputs_are_survived() {
    for (name, target) in tango_fuzz::TARGETS {
        let mut count = 0;
        for folder in ["corpus", "cases"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
            let Ok(entries) = fs::read_dir(&folder) else {
                assert_eq!(folder.parent().unwrap().file_name().unwrap(), "cases", "{folder:?} is missing");
                continue;
            };
            let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            for path in paths {
                println!("{}", path.display());
                target(&fs::read(&path).unwrap());
                count += 1;
            }
        }
        assert!(count >= 10, "only {count} inputs for {name}");
    }
}

/// Inputs that nobody has chosen: the targets hold without a fuzzer, too.
#[test]
fn noise_is_survived() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for (_, target) in tango_fuzz::TARGETS {
        for round in 0..300_usize {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .take(round)
            .collect();
            target(&bytes);
        }
    }
}
