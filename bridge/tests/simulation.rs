//! The figures in docs/beyond.md are those that the simulation prints.

#[path = "../examples/simulate.rs"]
mod simulate;

#[test]
fn the_text_has_the_figures_of_the_simulation() {
    let report = simulate::report();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/beyond.md");
    let text = std::fs::read_to_string(path).unwrap();
    for table in report.trim().split("\n\n") {
        assert!(text.contains(table), "docs/beyond.md has another table than this one:\n{table}");
    }
    assert_eq!(report, simulate::report(), "it is not the same each time");
}
