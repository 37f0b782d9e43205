//! What the policies say, and that what runs is what they say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sealfleet_domain::access::{Action, Kind, Place};
use sealfleet_policies::{DOCUMENT, Policies, TABLE, generate, replaced, root};

const WRITE: &str = "run `cargo run --manifest-path tests/proofs/policies/Cargo.toml -- --write`";

/// Valid against the schema, strictly: loading validates.
fn policies() -> Policies {
    Policies::load(&root().join("infra/policies")).unwrap()
}

#[test]
fn what_runs_is_what_the_policies_say() {
    let checked_in = std::fs::read_to_string(root().join(TABLE)).unwrap();
    assert!(
        generate().unwrap().table == checked_in,
        "`{TABLE}` is not what the policies make: {WRITE}"
    );
}

#[test]
fn what_is_documented_is_what_the_policies_say() {
    let checked_in = std::fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let expected = replaced(&checked_in, &generate().unwrap().document);
    assert!(
        expected.as_ref() == Some(&checked_in),
        "`{DOCUMENT}` is not what the policies make: {WRITE}"
    );
}

#[test]
fn the_schema_knows_every_action_and_no_other() {
    let mut actions: Vec<String> = Action::ALL
        .iter()
        .map(|action| action.name().to_owned())
        .collect();
    actions.push("KnowOf".to_owned());
    actions.sort();
    assert_eq!(policies().actions(), actions);
}

#[test]
fn no_permit_is_dead() {
    let policies = policies();
    let all = policies.answers().unwrap();
    for (id, permits, _) in policies.described() {
        let rest = policies.without(&id).unwrap().answers().unwrap();
        assert!(
            !permits || rest != all,
            "without the permit `{id}` nothing changes"
        );
    }
}

#[test]
fn each_forbid_holds_against_a_permit_for_everything() {
    let open = policies().wide_open().unwrap();
    let all = open.answers().unwrap();
    for (id, permits, _) in open.described() {
        let rest = open.without(&id).unwrap().answers().unwrap();
        assert!(
            permits || rest != all,
            "without the forbid `{id}` nothing changes"
        );
    }
}

/// Of these boundaries, each is held twice: by what is permitted, and by a forbid.
#[test]
fn boundaries_hold_even_when_everything_is_permitted() {
    for answers in [
        policies().answers().unwrap(),
        policies().wide_open().unwrap().answers().unwrap(),
    ] {
        for kind in Kind::ALL {
            let operator = kind == Kind::Operator;
            let machine = matches!(kind, Kind::Worker | Kind::EnrolmentKey | Kind::Sandbox);
            if !operator {
                assert_eq!(
                    answers.allowed(kind, Place::AnotherProject),
                    [],
                    "{kind:?} in another project"
                );
                assert!(
                    !answers.may(kind, None, Place::AnotherProject),
                    "{kind:?} may know of another project"
                );
                for place in [Place::Platform, Place::System] {
                    assert_eq!(answers.allowed(kind, place), [], "{kind:?} above projects");
                }
            }
            let may = |action| answers.may(kind, Some(action), Place::Project);
            assert!(
                !may(Action::ReadAudit) || matches!(kind, Kind::TokenAdmin | Kind::OidcAdmin),
                "{kind:?} reads audit"
            );
            assert!(!may(Action::SetLimits) || operator, "{kind:?} sets limits");
            assert_eq!(may(Action::Work), kind == Kind::Worker, "{kind:?} works");
            assert_eq!(
                may(Action::RegisterWorker),
                kind == Kind::EnrolmentKey,
                "{kind:?} registers workers"
            );
            assert_eq!(
                may(Action::AskForStep),
                kind == Kind::Sandbox,
                "{kind:?} asks for a step"
            );
            for action in [
                Action::Enqueue,
                Action::ReadRuns,
                Action::ReadProfiles,
                Action::Revoke,
                Action::ReadAudit,
                Action::ReadUsage,
            ] {
                assert!(
                    !may(action) || !(operator || machine),
                    "{kind:?} may {}",
                    action.phrase()
                );
            }
        }
    }
}

#[test]
fn an_oidc_caller_may_what_a_token_of_its_role_may() {
    let answers = policies().answers().unwrap();
    let alike = [
        (Kind::TokenAdmin, Kind::OidcAdmin),
        (Kind::TokenMember, Kind::OidcMember),
        (Kind::TokenViewer, Kind::OidcViewer),
    ];
    for (token, oidc) in alike {
        for place in Place::ALL {
            assert_eq!(
                answers.allowed(token, place),
                answers.allowed(oidc, place),
                "{oidc:?} {place:?}"
            );
        }
    }
}

#[test]
fn roles_are_nested() {
    let answers = policies().answers().unwrap();
    let of = |kind| answers.allowed(kind, Place::Project);
    assert!(
        of(Kind::TokenViewer)
            .iter()
            .all(|action| of(Kind::TokenMember).contains(action))
    );
    assert!(
        of(Kind::TokenMember)
            .iter()
            .all(|action| of(Kind::TokenAdmin).contains(action))
    );
    assert_eq!(of(Kind::TokenViewer).len(), 8, "viewers only read");
}
