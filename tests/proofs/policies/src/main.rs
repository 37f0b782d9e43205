//! Prints the decision table that the policies make, or writes it, and the document that shows it,
//! with `--write`.

use std::process::ExitCode;

use sealfleet_policies::{DOCUMENT, TABLE, generate, replaced, root};

fn main() -> ExitCode {
    let generated = match generate() {
        Ok(generated) => generated,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if !std::env::args().any(|argument| argument == "--write") {
        print!("{}", generated.document);
        return ExitCode::SUCCESS;
    }
    let document = root().join(DOCUMENT);
    let written = std::fs::write(root().join(TABLE), generated.table)
        .and_then(|()| std::fs::read_to_string(&document))
        .and_then(|text| {
            replaced(&text, &generated.document).ok_or_else(|| {
                std::io::Error::other("the markers of its generated part are missing")
            })
        })
        .and_then(|text| std::fs::write(&document, text));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("`{TABLE}` and `{DOCUMENT}` were not written: {error}");
            ExitCode::FAILURE
        }
    }
}
