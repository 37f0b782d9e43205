//! What steps have used, and what that cost.

use clap::{Args, ValueEnum};
use sealfleet_client::UsageQuery;
use sealfleet_client::types::{PricesView, UsageRow};
use sealfleet_domain::prices::PriceTag;
use serde::Serialize;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::listing::first;
use super::output::{Table, answer, or_dash, page, raw, word};
use super::whoami;

/// Which sums to show. A cost that lacks something ends in `+?`: a model without a price, or an
/// agent of which nobody has told what it used.
#[derive(Args)]
pub struct Asked {
    /// First UTC day, `YYYY-MM-DD` [default: 29 days before the last]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last UTC day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// What to sum by; separate several by commas, or repeat [default: workflow and model; for
    /// operators, model]
    #[arg(long, value_delimiter = ',')]
    by: Vec<By>,
    /// Print comma-separated values, with all sums
    #[arg(long)]
    csv: bool,
    /// Show the prices that usage is charged by from now on instead
    #[arg(long, conflicts_with_all = ["from", "to", "by", "csv"])]
    prices: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum By {
    Day,
    Workflow,
    Profile,
    Model,
}

pub(super) async fn run(asked: Asked, connection: &Connection) -> Result<(), Failure> {
    let (url, credential) = connection.whom(None)?;
    let by = match whoami::is_operator(&credential) {
        _ if !asked.by.is_empty() => asked.by,
        true => vec![By::Model],
        false => vec![By::Workflow, By::Model],
    };
    let client = connection::client(&url, credential)?;
    if asked.prices {
        let prices = client.get_prices().await?;
        return answer(connection.output, &prices, || of_prices(&prices).text());
    }
    let query = UsageQuery {
        from: asked.from,
        to: asked.to,
        group_by: by.iter().map(word).collect(),
        ..UsageQuery::default()
    };
    let rows = first(usize::MAX, async |page| {
        let page = page.clone();
        let query = UsageQuery {
            page,
            ..query.clone()
        };
        client.get_usage(&query).await
    });
    let rows = rows.await?;
    if asked.csv {
        return raw(csv(&rows.items).as_bytes());
    }
    page(connection.output, &rows, table)
}

fn table(rows: &[UsageRow]) -> Table {
    let mut table = Table::new([
        "PROJECT",
        "DAY",
        "WORKFLOW",
        "PROFILE",
        "MODEL",
        "ATTEMPTS",
        "WALL S",
        "VCPU S",
        "GB S",
        "TOKENS IN",
        "CACHED",
        "OUT",
        "EGRESS BYTES",
        "USD",
    ]);
    for row in rows {
        let used = &row.used;
        let egress = used
            .egress_sent_bytes
            .saturating_add(used.egress_received_bytes);
        table.row([
            row.project.to_string(),
            or_dash(row.day.as_ref()),
            or_dash(row.workflow.as_ref()),
            or_dash(row.profile.as_ref()),
            or_dash(row.model.as_ref()),
            used.attempts.to_string(),
            seconds(used.wall_ms),
            seconds(used.vcpu_ms),
            seconds(used.gb_ms),
            used.tokens.input_tokens.to_string(),
            used.tokens.cached_input_tokens.to_string(),
            used.tokens.output_tokens.to_string(),
            egress.to_string(),
            cost(row),
        ]);
    }
    table
}

/// What it cost, as far as that is known.
fn cost(row: &UsageRow) -> String {
    let known = row
        .used
        .cost_usd
        .map(|usd| format!("{:.6}", usd.as_dollars()));
    match (known, row.used.unpriced + row.used.untold) {
        (Some(known), 0) => known,
        (Some(known), _) => format!("{known}+?"),
        (None, 0) => "-".to_owned(),
        (None, _) => "?".to_owned(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// All sums, as RFC 4180 has them. What nobody knows is empty, never zero.
fn csv(rows: &[UsageRow]) -> String {
    let mut text = "project,day,workflow,profile,model,attempts,wall_ms,vcpu_ms,gb_ms,estimated_attempts,\
                    input_tokens,cached_input_tokens,output_tokens,egress_sent_bytes,egress_received_bytes,\
                    sandboxes_usd,tokens_usd,cost_usd,unpriced,untold\r\n"
        .to_owned();
    let dollars = |usd: Option<sealfleet_domain::agent::Usd>| {
        usd.map_or_else(String::new, |usd| format!("{:.6}", usd.as_dollars()))
    };
    for row in rows {
        let used = &row.used;
        let cells = [
            row.project.to_string(),
            row.day.clone().unwrap_or_default(),
            row.workflow
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            row.profile.clone().unwrap_or_default(),
            row.model.clone().unwrap_or_default(),
            used.attempts.to_string(),
            used.wall_ms.to_string(),
            used.vcpu_ms.to_string(),
            used.gb_ms.to_string(),
            used.estimated_attempts.to_string(),
            used.tokens.input_tokens.to_string(),
            used.tokens.cached_input_tokens.to_string(),
            used.tokens.output_tokens.to_string(),
            used.egress_sent_bytes.to_string(),
            used.egress_received_bytes.to_string(),
            dollars(used.sandboxes_usd),
            dollars(used.tokens_usd),
            dollars(used.cost_usd),
            used.unpriced.to_string(),
            used.untold.to_string(),
        ];
        let cells = cells.map(|text| cell(&text));
        text += &format!("{}\r\n", cells.join(","));
    }
    text
}

/// A cell. A spreadsheet must not take a model's name, which is an agent's own text, for a formula.
fn cell(text: &str) -> String {
    let text = match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t') => format!("'{text}"),
        _ => text.to_owned(),
    };
    let text = sealfleet_domain::text::one_line(&text);
    match text.contains(['"', ',']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

fn of_prices(prices: &PricesView) -> Table {
    let mut table = Table::new(["WHAT", "USD", "SOURCE", "DATE"]);
    let mut add = |name: &str, tag: &PriceTag| {
        for (what, usd) in &tag.usd {
            let (name, source, date) = (format!("{name} {what}"), &tag.source, &tag.date);
            table.row([
                name,
                usd.as_dollars().to_string(),
                source.clone(),
                date.clone(),
            ]);
        }
    };
    add("sandboxes", &prices.sandboxes);
    for (model, tag) in &prices.models {
        add(model, tag);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_client::types::UsageSums;
    use sealfleet_domain::agent::Usd;

    fn row(used: UsageSums) -> UsageRow {
        UsageRow {
            project: "healthcare".parse().expect("a project"),
            day: None,
            workflow: None,
            profile: None,
            model: Some("=acme/a,\"b\"".to_owned()),
            used,
        }
    }

    #[test]
    fn a_cost_that_lacks_something_says_so() {
        let used = |cost_usd, unpriced| UsageSums {
            cost_usd,
            unpriced,
            ..UsageSums::default()
        };
        let some = Some(Usd::millionths(1_250_000));
        for (used, shown) in [
            (used(some, 0), "1.250000"),
            (used(some, 1), "1.250000+?"),
            (used(None, 1), "?"),
            (used(None, 0), "-"),
        ] {
            assert_eq!(cost(&row(used)), shown);
        }
    }

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        let text = csv(&[row(UsageSums::default())]);
        let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].starts_with("healthcare,,,,\"'=acme/a,\"\"b\"\"\",0,"),
            "{text}"
        );
        // No cost is known, so none is written.
        assert!(lines[1].ends_with(",0,0,,,,0,0"), "{text}");
    }
}
