//! Whatever a function does with the tables, its role in the template may do.
//!
//! The emulator of the scenarios does not judge a request's leading keys, so only this test sees a
//! function that writes where its role may not.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_iam::account::{Account, Kind, Templates};
use sealfleet_iam::policy::{Decision, Request};
use sealfleet_simulation::simulation::Simulation;
use sealfleet_test_fakes::stage::Access;

const SEEDS: u64 = 150;

/// What was seen and is refused.
fn refused(account: &Account, seen: &BTreeSet<Access>) -> Vec<String> {
    let mut refused = Vec::new();
    for access in seen {
        let role = account
            .roles
            .iter()
            .find(|role| role.kind == Kind::Function && role.name == access.function);
        let Some(role) = role else {
            refused.push(format!("{access:?}: no such function"));
            continue;
        };
        let table = if access.is_of_trail {
            "audit"
        } else {
            "ledger"
        };
        let request = Request {
            action: format!("dynamodb:{}", access.action),
            resource: format!("arn:aws:dynamodb:eu-west-1:111122223333:table/sealfleet-{table}"),
            context: BTreeMap::from([(
                "dynamodb:leadingkeys".to_owned(),
                access.leading_key.clone(),
            )]),
        };
        let decision = account.decide(role, &request, false);
        if decision != Decision::Allowed {
            refused.push(format!("{access:?}: {decision:?}"));
        }
    }
    refused
}

#[test]
fn a_role_allows_all_that_its_function_does_with_the_tables() {
    let simulation = Simulation::new().unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        seen.extend(simulation.play(seed, true).accesses);
    }
    for account in Account::both(&Templates::of_the_product().unwrap()).unwrap() {
        let found = refused(&account, &seen);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    let functions: BTreeSet<&str> = seen.iter().map(|access| access.function.as_str()).collect();
    for function in [
        "cancel", "claim", "dispatch", "enqueue", "fleet", "observe", "profile", "report",
        "revoke", "runs", "sandbox", "sweep", "trail",
    ] {
        assert!(functions.contains(function), "`{function}` was not seen");
    }
}
