//! The proof: the templates' policies answer as `matrix.yaml` says, and would not if they were
//! other.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod evaluator;
mod guide;
mod installations;
mod mutations;
mod restored;

use sealfleet_iam::account::{Shape, Templates};
use sealfleet_iam::{Account, Matrix, matrix, page};

#[test]
fn every_role_may_what_the_matrix_says_and_nothing_else() {
    for account in Account::both(&Templates::of_the_product().unwrap()).unwrap() {
        let found = Matrix::of_the_product().unwrap().differences(&account);
        assert!(
            found.is_empty(),
            "{:?}\n{}",
            account.shape,
            found.join("\n")
        );
    }
}

#[test]
fn a_function_has_the_permissions_of_its_ports_and_no_port_is_without() {
    let account = Account::deploy(&Templates::of_the_product().unwrap(), Shape::Large).unwrap();
    let matrix = Matrix::of_the_product().unwrap();
    // One space for any, so that the format of the code does not matter.
    let code = sealfleet_iam::text("functions/main.rs").unwrap();
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = matrix::port_differences(&matrix, &account, &code);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // It would see a port without its permission, and one it does not know.
    for (from, to) in [
        (
            "runs::Ports { ledger: with.ledger()?,",
            "runs::Ports { ledger: with.ledger()?, queues: with.queues()?,",
        ),
        (
            "runs::Ports { ledger: with.ledger()?,",
            "runs::Ports { ledger: with.ledger()?, mail: Mail::new(&with.config),",
        ),
        (
            "sandbox::Ports { ledger: with.ledger()?,",
            "sandbox::Ports {",
        ),
    ] {
        assert!(
            code.contains(from),
            "`{from}` stands in functions/main.rs no more"
        );
        assert!(
            !matrix::port_differences(&matrix, &account, &code.replace(from, to)).is_empty(),
            "{to}"
        );
    }
}

#[test]
fn the_page_is_what_the_policies_answer() {
    let accounts = Account::both(&Templates::of_the_product().unwrap()).unwrap();
    let matrix = Matrix::of_the_product().unwrap();
    let written = sealfleet_iam::text(page::PAGE).unwrap();
    let made = page::written_into(&written, &page::render(&matrix, &accounts).unwrap()).unwrap();
    assert!(
        written == made,
        "docs/who-may-do-what.md is not what the policies answer: `cargo run -p sealfleet-iam -- --write`, and read the difference"
    );
}

/// AWS refuses larger policies: 6,144 characters for a managed one, 10,240 for those in a role,
/// white space not counted.
#[test]
fn policies_fit_into_what_aws_accepts() {
    let account = Account::deploy(&Templates::of_the_product().unwrap(), Shape::Large).unwrap();
    for role in &account.roles {
        let sizes = role
            .documents
            .iter()
            .map(|document| document.to_string().len());
        for ((name, _), size) in role.policies.iter().zip(sizes) {
            assert!(
                size < 6144,
                "`{name}` of `{}` has {size} characters",
                role.name
            );
        }
    }
}
