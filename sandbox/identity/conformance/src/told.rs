//! All that this process logs, at every level, of whichever crate.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use tracing::level_filters::LevelFilter as Level;

static TOLD: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static BEGIN: Once = Once::new();

struct Told;

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log for Told {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        // Its own writer does not fail.
        drop(Told.write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// Begins to listen to both ways by which crates log.
///
/// # Errors
/// Somebody else listens already, or nothing is heard.
pub fn begin() -> Result<(), String> {
    let mut outcome = Ok(());
    BEGIN.call_once(|| outcome = listen());
    outcome?;
    for said in ["said-by-log", "said-by-tracing"] {
        match said {
            "said-by-log" => log::trace!("{said}"),
            _ => tracing::trace!("{said}"),
        }
        if !holds(said.as_bytes()) {
            return Err(format!("what is logged is not heard: {said}"));
        }
    }
    Ok(())
}

fn listen() -> Result<(), String> {
    log::set_logger(&Told).map_err(|error| error.to_string())?;
    log::set_max_level(LevelFilter::Trace);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_ansi(false)
        .with_writer(|| Told)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

/// Whether it was logged.
pub fn holds(text: &[u8]) -> bool {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.windows(text.len()).any(|part| part == text)
}
