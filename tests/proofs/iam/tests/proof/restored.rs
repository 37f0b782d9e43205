//! An installation while its tables are restored, and on restored tables.

use sealfleet_iam::Account;
use sealfleet_iam::account::{Kind, Role, Shape, Templates};
use sealfleet_iam::policy::{Context, Decision, Request};
use sealfleet_iam::template::{ACCOUNT, REGION};
use serde_json::{Value, json};

/// What goes on while an installation is closed: the archive is filled, and the API's document is
/// in no table.
const UNTOUCHED: [&str; 4] = ["trail", "notify", "export", "openapi"];

fn with(parameters: &[(&str, &str)], shape: Shape) -> Account {
    let mut templates = Templates::of_the_product().unwrap();
    for (name, value) in parameters {
        templates.control = templates.control.with(name, json!(value));
    }
    Account::deploy(&templates, shape).unwrap()
}

fn functions(account: &Account) -> impl Iterator<Item = &Role> {
    let roles = account.roles.iter();
    roles.filter(|role| role.kind == Kind::Function && account.functions.contains(&role.name))
}

fn is_denied(role: &Role, action: &str, table: &str) -> bool {
    let request = Request {
        action: format!("dynamodb:{action}"),
        resource: format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"),
        context: Context::new(),
    };
    let mut decisions = role.policies.iter();
    decisions.any(|(_, policy)| matches!(policy.decide(&request, None), Decision::Denied(_)))
}

#[test]
fn a_closed_installation_denies_all_tables_to_all_but_those_that_fill_the_archive() {
    for shape in [Shape::Small, Shape::Large] {
        let (open, closed) = (with(&[], shape), with(&[("Closed", "true")], shape));
        for (role, before) in functions(&closed).zip(functions(&open)) {
            assert_eq!(role.name, before.name);
            if UNTOUCHED.contains(&role.name.as_str()) {
                assert_eq!(role.documents, before.documents, "{}", role.name);
                continue;
            }
            for action in ["GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"] {
                for table in ["sealfleet-ledger", "sealfleet-audit", "sealfleet-ledger-x"] {
                    assert!(
                        is_denied(role, action, table),
                        "{} {action} {table}",
                        role.name
                    );
                }
            }
        }
        let closed = functions(&closed).filter(|role| is_denied(role, "GetItem", "any"));
        assert_eq!(closed.count(), 15);
    }
}

#[test]
fn on_restored_tables_each_role_may_the_same_and_nothing_on_the_first_ones() {
    let restored = with(
        &[
            ("TableSuffix", "-x"),
            ("LedgerStreamArn", "unread"),
            ("AuditStreamArn", "unread"),
        ],
        Shape::Large,
    );
    let first = with(&[], Shape::Large);
    let renamed = |documents: &[Value]| {
        let text = json!(documents).to_string();
        let text = text.replace("table/sealfleet-ledger", "table/sealfleet-ledger-x");
        text.replace("table/sealfleet-audit", "table/sealfleet-audit-x")
    };
    assert_eq!(restored.roles.len(), first.roles.len());
    for (role, before) in restored.roles.iter().zip(&first.roles) {
        let now = json!(role.documents).to_string();
        assert_eq!(now, renamed(&before.documents), "{}", role.name);
    }
}
