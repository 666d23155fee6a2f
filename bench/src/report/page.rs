//! The report as a page with plots, as a short page for the repository, and the table for its README. The texts are
//! in the templates.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error};
use serde_json::{Value, json};

use super::goals::goals;
use super::overview::{headline, overview};
use super::tables::{Report, Row, Table};
use super::text::{figure, goal_lines, summary};
use crate::channel::Role;
use crate::figures::Spread;
use crate::workloads::Unit;

const TEMPLATES: [(&str, &str); 5] = [
    ("page.html", include_str!("templates/page.html")),
    ("page.css", include_str!("templates/page.css")),
    ("page.js", include_str!("templates/page.js")),
    ("report.md", include_str!("templates/report.md")),
    ("readme.md", include_str!("templates/readme.md")),
];

/// The report as one HTML file with plots, which needs no other file.
pub(crate) fn html(report: &Report) -> Result<String, Error> {
    let mut workloads: Vec<&str> = report.tables.iter().map(|table| table.workload.as_str()).collect();
    workloads.dedup();
    let workload = |name: &&str| {
        let tables: Vec<&Table> = report.tables.iter().filter(|table| table.workload == *name).collect();
        let tables: Vec<Value> = tables.into_iter().map(table).collect();
        json!({ "name": name, "tables": tables })
    };
    render("page.html", report, workloads.iter().map(workload).collect())
}

/// The report in Markdown, short enough to be read in a diff.
pub(crate) fn markdown(report: &Report) -> Result<String, Error> {
    render("report.md", report, json!(overview(report)))
}

/// The table for the README of the repository.
pub(crate) fn readme(report: &Report) -> Result<String, Error> {
    render("readme.md", report, json!(headline(report)))
}

/// Fills a template with the facts of the report, and its own `content`.
fn render(name: &str, report: &Report, content: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let goals = goals(report);
    let distances: Vec<f64> = report.tables.iter().map(|table| table.distance.median).collect();
    let distance = if distances.is_empty() { 0.0 } else { Spread::of(&distances).median };
    let context = json!({
        "report": report,
        "content": content,
        "facts": report.machine.facts(),
        "distance": format!("{:.0}", distance),
        "minutes": format!("{:.0}", report.seconds / 60.0),
        "reached": goals.iter().filter(|goal| goal.reached).count(),
        "goal_lines": goal_lines(&goals),
        "goals": goals,
        "summary": summary(report),
    });
    environment.get_template(name)?.render(Serde(context))
}

/// A table with a bar for each figure.
fn table(table: &Table) -> Value {
    let most = table.rows.iter().map(|row| row.value.median).fold(0.0, f64::max);
    let row = |row: &Row| {
        let class = match row.role {
            Role::Tango => "ours",
            Role::Limit => "limit",
            _ => "",
        };
        let part = format!("{:.1}", row.value.median / most * 100.0);
        json!({ "class": class, "part": part, "median": figure(row.value.median), "cells": table.line(row) })
    };
    json!({
        "key": table.key,
        "title": table.title,
        "unit": table.unit.name(),
        "conditions": table.conditions(),
        "warning": table.warning(),
        "header": table.header(),
        "bars": table.unit != Unit::Latency,
        "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
    })
}
