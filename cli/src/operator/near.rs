//! Names that a user may have meant.

use std::fmt::Display;

/// How many edits may lie between a name and one that was meant: one for each three letters.
fn edits(name: &str) -> usize {
    (name.chars().count() / 3).clamp(1, 3)
}

/// Says that there is no such thing, and which of `known` have nearly this name.
pub(super) fn unknown(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = impl Display>,
) -> String {
    let known = known.into_iter().map(|known| known.to_string());
    let mut near: Vec<(usize, String)> = known
        .map(|known| (strsim::osa_distance(name, &known), known))
        .filter(|(distance, _)| *distance <= edits(name))
        .collect();
    near.sort();
    let near: Vec<String> = near
        .into_iter()
        .take(3)
        .map(|(_, known)| format!("`{known}`"))
        .collect();
    match near.as_slice() {
        [] => format!("there is no {kind} `{name}`"),
        near => format!(
            "there is no {kind} `{name}`; did you mean {}?",
            near.join(" or ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let known = ["crm", "crn-eu", "ehr", "billing", "billings"];
        for (name, says) in [
            ("crn", "there is no profile `crn`; did you mean `crm`?"),
            (
                "biling",
                "there is no profile `biling`; did you mean `billing` or `billings`?",
            ),
            ("ehr2", "there is no profile `ehr2`; did you mean `ehr`?"),
            ("nothing", "there is no profile `nothing`"),
        ] {
            assert_eq!(unknown("profile", name, known), says);
        }
    }
}
