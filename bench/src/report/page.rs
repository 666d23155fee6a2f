//! The texts of a run: tables for a terminal, the page with plots, and a short page for the repository. What they say is
//! in the templates.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error};
use serde_json::{Value, json};

use super::goals::goals;
use super::headline::headline;
use super::tables::{Report, Table};
use crate::figures::{Spread, columns, figure, quantile_index};

const TEMPLATES: [(&str, &str); 7] = [
    ("macros.txt", include_str!("templates/macros.txt")),
    ("table.txt", include_str!("templates/table.txt")),
    ("ending.txt", include_str!("templates/ending.txt")),
    ("page.html", include_str!("templates/page.html")),
    ("page.css", include_str!("templates/page.css")),
    ("page.js", include_str!("templates/page.js")),
    ("report.md", include_str!("templates/report.md")),
];

/// A table for a terminal.
pub(crate) fn table(table: &Table) -> Result<String, Error> {
    render("table.txt", std::slice::from_ref(table), json!({}))
}

/// A text about all tables: `ending.txt` for a terminal, `page.html` (one file with plots), or `report.md` (short enough
/// to be read in a diff).
pub(crate) fn text(template: &str, report: &Report) -> Result<String, Error> {
    let distances: Vec<f64> = report.tables.iter().map(|table| table.distance.median).collect();
    let more = json!({
        "report": report,
        "goals": goals(report),
        "headline": headline(report),
        "minutes": format!("{:.0}", report.seconds / 60.0),
        "distance": format!("{:.0}", Spread::of(&distances).median),
    });
    render(template, &report.tables, more)
}

/// Fills a template with these tables, and more.
fn render(template: &str, tables: &[Table], mut context: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let exceeded: BTreeMap<&str, String> =
        tables.iter().filter_map(|table| Some((table.key.as_str(), table.exceeded()?))).collect();
    environment.add_filter("figure", figure);
    environment.add_filter("fixed", |value: f64, digits: usize| format!("{value:.digits$}"));
    environment.add_filter("columns", |lines: &str| columns(lines));
    context["tables"] = json!(tables);
    context["exceeded"] = json!(exceeded);
    // Where each is among the latencies of a row, and the part of the messages beyond it.
    let percentiles = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];
    context["percentiles"] = json!(percentiles.map(|quantile| (quantile_index(quantile), 1.0 - quantile)));
    environment.get_template(template)?.render(Serde(context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Span;
    use crate::figures::quantiles;
    use crate::plan::Sample;
    use crate::rounds::{Effort, Rounds, RowSpec};
    use crate::workloads;

    #[test]
    fn all_texts_can_be_written_and_the_short_report_has_all_tables() {
        let span = Span { nanos: 1.0, on_core: 1.0 };
        let sample = |_: &RowSpec| Sample { wrong: 1, lost: 1, ..Sample::timed(&[100, 200], span, 0) };
        let measured = |spec: &workloads::TableSpec| {
            Table::new(spec, &Rounds::one(spec.rows.iter().map(sample).collect(), 20.0))
        };
        let report = Report {
            facts: vec![("commit".into(), "0".into())],
            family: "family".into(),
            hardware_threads: 2,
            command: "bench".into(),
            effort: Effort { rounds: 1, window_ms: 1.0, patience: 1.0, smoke: false },
            seconds: 1.0,
            warnings: vec!["none".into()],
            quantiles: quantiles(),
            tables: workloads::all().iter().map(measured).collect(),
        };
        for template in ["ending.txt", "page.html"] {
            assert!(!text(template, &report).expect(template).is_empty());
        }
        let short = text("report.md", &report).expect("report.md");
        for table in &report.tables {
            assert!(super::table(table).expect("table.txt").contains(&table.title));
            assert!(short.contains(&table.key.replace('-', " ")), "{} is missing", table.key);
        }
    }
}
