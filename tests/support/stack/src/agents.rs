//! CLI agents for sandboxes, as `images/agents` pins them.

use std::path::{Path, PathBuf};

use crate::{Failure, Outcome};

/// Installs them.
const INSTALL: &str =
    "python3 scripts/lib/npm_packages.py images/agents images/agents/node_modules @openai/codex";

/// The program of Codex, if it is installed.
pub fn codex() -> Option<PathBuf> {
    let packages =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../images/agents/node_modules");
    let program = "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex";
    Some(packages.join(program)).filter(|program| program.exists())
}

/// Puts Codex into a root of sandboxes.
pub fn have_codex(root: &Path) -> Outcome {
    let program =
        codex().ok_or_else(|| Failure::new(format!("Codex is not installed: run `{INSTALL}`")))?;
    let inside = root.join("usr/local/bin/codex");
    // Another file system has no link to it.
    if std::fs::hard_link(&program, &inside).is_err() {
        std::fs::copy(&program, &inside)?;
    }
    Ok(())
}
