//! What `cargo bench` prints at the root of the repository. The benchmarks themselves are in `bench/`, a workspace of
//! its own, so that the crates they compare with stay out of the library's lock file.

const TEXT: &str = "
The benchmarks are in bench/, a workspace of their own. From the root of the repository:

  cargo run --release --manifest-path bench/Cargo.toml -- --quick                    two minutes, a rough picture
  cargo run --release --manifest-path bench/Cargo.toml                               everything, 15 to 22 minutes
  cargo run --release --manifest-path bench/Cargo.toml -- --workload round-trip      one workload (--list names all)
  cargo run --release --manifest-path bench/Cargo.toml -- --report docs/benchmark    write the report
  cargo run --release --manifest-path bench/Cargo.toml -- --against COMMIT           compare the library with that of another commit

They need two physical cores that nothing else uses. bench/README.md explains each row.
";

fn main() {
    // `cargo test --all-targets` starts this program too, without the argument, and wants no text.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("{TEXT}");
    }
}
