//! Log lines on standard output.
//!
//! `lambda_runtime` has a subscriber of its own. It links an engine of regular expressions, to
//! filter by the content of spans; this one filters by level and by module.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

use super::settings::setting;

/// Writes lines as Lambda's logging configuration asks (AWS Lambda Developer Guide, "Configuring
/// advanced logging controls"): JSON if `AWS_LAMBDA_LOG_FORMAT` says so, from the level
/// `AWS_LAMBDA_LOG_LEVEL` on, or `INFO`. `RUST_LOG` replaces the level, also by module:
/// `info,h2=warn`.
pub fn init() {
    let filter = filter(
        setting("RUST_LOG").ok().as_deref(),
        setting("AWS_LAMBDA_LOG_LEVEL").ok().as_deref(),
    );
    let as_json =
        setting("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    // Lambda adds the time.
    let lines = fmt::layer::<Registry>().with_target(false).without_time();
    let lines = if as_json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

fn filter(rust_log: Option<&str>, level: Option<&str>) -> Targets {
    let level = level
        .and_then(|level| level.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::INFO);
    rust_log
        .and_then(|directives| directives.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(level))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_level_is_that_of_the_environment() {
        let enabled = |rust_log, level, asked: Level| {
            filter(rust_log, level).would_enable("sealfleet_functions::sweep", &asked)
        };
        assert!(enabled(None, None, Level::INFO) && !enabled(None, None, Level::DEBUG));
        assert!(enabled(None, Some("DEBUG"), Level::DEBUG));
        assert!(!enabled(None, Some("ERROR"), Level::WARN));
        assert!(enabled(None, Some("nonsense"), Level::INFO));
        assert!(enabled(Some("debug"), Some("ERROR"), Level::DEBUG));
        let by_module = Some("warn,sealfleet_functions=debug");
        assert!(enabled(by_module, None, Level::DEBUG));
        assert!(!filter(by_module, None).would_enable("h2", &Level::INFO));
    }
}
