//! Approvals: what waits for somebody else, and decisions on it. How a project is governed.

use clap::{Subcommand, value_parser};
use sealfleet_client::types::{
    Approval, ApprovalView, ApprovalsOf, Decide, Governance, SetGovernance,
};
use sealfleet_domain::approval::Verdict;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::{ApprovalId, Line, limits};

use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{Table, answer, lines, moment, page, word};
use super::run::show;
use super::{worker, workflow};

#[derive(Subcommand)]
pub enum Command {
    /// List what waits for a decision
    List {
        /// List what was decided instead
        #[arg(long)]
        decided: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show what an approval is about, and the token that stands for it
    Show {
        /// What waits, as `list` names it
        approval: ApprovalId,
    },
    /// Approve what somebody else has asked for
    Approve {
        /// What waits, as `list` names it
        approval: ApprovalId,
        /// Token that `show` printed: refused if anything has changed since
        #[arg(long, value_name = "TOKEN")]
        review_token: ContentHash,
        /// Reason to record in the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<Line>,
    },
    /// Deny what somebody else has asked for
    Deny {
        /// What waits, as `list` names it
        approval: ApprovalId,
        /// Reason to record in the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Line,
    },
    /// Show what callers of the project may run, and how many must approve
    Rules,
    /// Set what callers of the project may run, and how many must approve
    SetRules {
        /// Whether runs are those of registered workflows only
        #[arg(long, value_name = "true|false")]
        require_registered_workflows: Option<bool>,
        /// How many must approve a request
        #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=i64::from(limits::APPROVERS)))]
        approvers: Option<u32>,
        /// Whether only people who have logged in at an issuer decide, and no tokens
        #[arg(long, value_name = "true|false")]
        logins_only: Option<bool>,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let output = connection.output;
    let (id, decision) = match command {
        Command::List { decided, listing } => {
            let of = if decided {
                ApprovalsOf::Decided
            } else {
                ApprovalsOf::Pending
            };
            let all = listing.read(async |page| client.list_approvals(of, page).await);
            return page(output, &all.await?, table);
        }
        Command::Show { approval } => {
            let view = client.get_approval(&approval).await?;
            return answer(output, &view, || shown(&view));
        }
        Command::Rules => {
            let rules = client.get_governance().await?;
            return answer(output, &rules, || rules_text(rules));
        }
        Command::SetRules {
            require_registered_workflows,
            approvers,
            logins_only,
        } => {
            let now = client.get_governance().await?;
            let rules = SetGovernance {
                require_registered_workflows: require_registered_workflows
                    .unwrap_or(now.require_registered_workflows),
                approvers: approvers.unwrap_or(now.approvers),
                logins_only: logins_only.unwrap_or(now.logins_only),
            };
            let rules = client.put_governance(&rules).await?;
            return answer(output, &rules, || rules_text(rules));
        }
        Command::Approve {
            approval,
            review_token,
            reason,
        } => {
            let decision = Decide {
                decision: Verdict::Approve,
                review_token: Some(review_token),
                reason,
            };
            (approval, decision)
        }
        Command::Deny { approval, reason } => {
            let decision = Decide {
                decision: Verdict::Deny,
                review_token: None,
                reason: Some(reason),
            };
            (approval, decision)
        }
    };
    let decided = client.decide_approval(&id, &decision).await?;
    answer(output, &decided, || text(&decided))
}

fn table(approvals: &[Approval]) -> Table {
    let mut table = Table::new(["APPROVAL", "STATE", "MISSING", "REQUESTED", "BY"]);
    for approval in approvals {
        table.row([
            approval.approval.to_string(),
            word(&approval.state),
            approval.missing().to_string(),
            moment(approval.requested_at),
            approval.requested_by.clone(),
        ]);
    }
    table
}

fn text(approval: &Approval) -> String {
    let mut text = lines([
        ("approval", approval.approval.to_string()),
        ("state", word(&approval.state)),
        ("requested", moment(approval.requested_at)),
        ("by", who(&approval.requested_by, approval.login.as_deref())),
        ("approvers", approval.approvers.to_string()),
        ("logins only", approval.logins_only.to_string()),
    ]);
    for decision in &approval.decisions {
        let reason = decision.reason.as_ref().map(|reason| reason.as_str());
        let said = format!(
            "{} by {}  {}  {}",
            word(&decision.verdict),
            who(&decision.by, decision.login.as_deref()),
            moment(decision.at),
            reason.unwrap_or_default()
        );
        text += &lines([("decision", said)]);
    }
    text
}

/// A caller, and the login behind it.
fn who(actor: &str, login: Option<&str>) -> String {
    match login {
        Some(login) if login != actor => format!("{actor} of {login}"),
        _ => actor.to_owned(),
    }
}

fn shown(view: &ApprovalView) -> String {
    let mut text = text(&view.approval);
    if let Some(token) = view.review_token {
        text += &lines([("review token", token.to_string())]);
    }
    if let Some(version) = &view.workflow_version {
        text += "\n";
        text += &workflow::whole(version);
    }
    if let Some(worker) = &view.worker {
        text += "\n";
        text += &worker::text(worker);
    }
    if let (Some(run), Some(step)) = (&view.run, &view.step) {
        let step = serde_json::to_string_pretty(step).unwrap_or_default();
        text += &format!("\n{}\n{step}\n", show::text(run));
    }
    text
}

fn rules_text(rules: Governance) -> String {
    lines([
        (
            "require registered workflows",
            rules.require_registered_workflows.to_string(),
        ),
        ("approvers", rules.approvers.to_string()),
        ("logins only", rules.logins_only.to_string()),
    ])
}
