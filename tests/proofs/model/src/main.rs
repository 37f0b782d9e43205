//! Prints the generated part of `docs/reference/intent-then-check.md`, or replaces it in the
//! document with `--write`.

use std::path::Path;
use std::process::ExitCode;

use sealfleet_model::document;

fn main() -> ExitCode {
    let generated = document::generate();
    if !std::env::args().any(|argument| argument == "--write") {
        print!("{generated}");
        return ExitCode::SUCCESS;
    }
    match write(&generated) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("`docs/reference/intent-then-check.md` was not written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(generated: &str) -> std::io::Result<()> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/intent-then-check.md");
    let text = std::fs::read_to_string(&path)?;
    let text = document::replaced(&text, generated)
        .ok_or_else(|| std::io::Error::other("the markers of its generated part are missing"))?;
    std::fs::write(&path, text)
}
