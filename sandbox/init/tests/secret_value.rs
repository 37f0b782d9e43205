//! What cannot be done with a secret's value.

#[test]
fn a_value_cannot_be_cloned_printed_or_serialised() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
