//! The figures and their table.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// All that was measured.
pub struct Figures {
    machine: Value,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    budget: Option<f64>,
}

impl Figures {
    /// None yet, of this machine.
    pub const fn new(machine: Value) -> Self {
        Self {
            machine,
            rows: Vec::new(),
        }
    }

    /// Adds a figure that has no budget.
    pub fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row {
            what: what.into(),
            value,
            unit,
            budget: None,
        });
    }

    /// Adds a figure that should not be over its budget.
    pub fn add_against(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        budget: f64,
    ) {
        self.rows.push(Row {
            what: what.into(),
            value,
            unit,
            budget: Some(budget),
        });
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what, "value": row.value, "unit": row.unit, "budget": row.budget, "ok": row.is_ok(),
                "ratio": row.ratio(),
            })
        });
        json!({ "machine": self.machine, "figures": rows.collect::<Vec<_>>() })
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.what.chars().count())
            .max()
            .unwrap_or_default();
        let mut table = String::from("\n");
        for (name, value) in self.machine.as_object().into_iter().flatten() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(table, " {name:<9} {text}");
        }
        let _ = writeln!(
            table,
            "\n {:<width$}  {:>10}  {:<8}  {:>8}  {:>6}  ratio",
            "figure", "measured", "unit", "budget", "kept?"
        );
        let _ = writeln!(table, " {}", "-".repeat(width + 48));
        for row in &self.rows {
            let budget = row.budget.map(number).unwrap_or_default();
            let verdict = row
                .is_ok()
                .map_or("", |ok| if ok { "ok" } else { "MISSED" });
            let ratio = row
                .ratio()
                .map(|ratio| format!("{ratio:.2}"))
                .unwrap_or_default();
            let line = format!(
                " {:<width$}  {:>10}  {:<8}  {budget:>8}  {verdict:>6}  {ratio}",
                row.what,
                number(row.value),
                row.unit
            );
            let _ = writeln!(table, "{}", line.trim_end());
        }
        let budgets = self.rows.iter().filter_map(Row::is_ok);
        let missed = budgets.clone().filter(|ok| !ok).count();
        let _ = writeln!(
            table,
            "\n {} of {} budgets are kept.",
            budgets.count() - missed,
            self.rows.iter().filter_map(Row::is_ok).count()
        );
        table
    }
}

impl Row {
    fn is_ok(&self) -> Option<bool> {
        self.budget.map(|budget| self.value <= budget)
    }

    /// Of the figure to its budget: 1 is all of it.
    fn ratio(&self) -> Option<f64> {
        self.budget.map(|budget| self.value / budget)
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The value that a share `p` (0 to 1) of `values` is not over.
pub fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64 * p).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}
