//! Reads a command's input: files, standard input, and values typed at a terminal without echo.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::note;

/// The longest token file, in bytes.
pub(super) const TOKEN_BYTES: u64 = 4096;

/// Reads all of standard input. Fails when it is longer than `most` bytes.
pub(super) fn standard_input(most: u64) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .take(most + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("standard input cannot be read: {error}")))?;
    if text.len() as u64 > most {
        return Err(Failure::Usage(format!(
            "standard input is longer than {most} bytes"
        )));
    }
    Ok(text)
}

/// Reads a file, or standard input for `-`. Fails when it is longer than `most` bytes.
pub(super) fn file(path: &Path, most: u64) -> Result<Zeroizing<String>, Failure> {
    if path.as_os_str() == "-" {
        return standard_input(most);
    }
    let unreadable =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("`{}`: {error}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(most + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(&error))?;
    if text.len() as u64 > most {
        return Err(unreadable(&format!("it is longer than {most} bytes")));
    }
    Ok(text)
}

/// Reads a value from standard input. At a terminal, prompts for it and turns echo off.
pub(super) fn secret(prompt: &str, most: u64) -> Result<Zeroizing<String>, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return standard_input(most);
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Other(format!("the terminal cannot be used: {error}"))
    };
    note(&format!("{prompt} (input is hidden): "));
    let shown = tcgetattr(&stdin).map_err(|error| failed(&error))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|error| failed(&error))?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.read_line(&mut line);
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &shown);
    note("\n");
    read.map_err(|error| failed(&error))?;
    restored.map_err(|error| failed(&error))?;
    // The terminal ends what was typed with one newline.
    let typed = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Zeroizing::new(typed.to_owned()))
}

/// Parses `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as `KEY=VALUE`")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Collects pairs into a map. Refuses a name given twice: keeping only one would hide a mistake.
pub(super) fn unique<K: Ord + Display, V>(
    option: &str,
    given: Vec<(K, V)>,
) -> Result<BTreeMap<K, V>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        if all.contains_key(&name) {
            return Err(Failure::Usage(format!("`--{option}` names `{name}` twice")));
        }
        all.insert(name, value);
    }
    Ok(all)
}

/// Parses a time in seconds: a number, optionally followed by `s`, `m`, `h` or `d`.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        Some((at, 'd')) => (text.get(..at), 24 * 3600),
        _ => (Some(text), 1),
    };
    let number: Option<u32> = number.and_then(|number| number.parse().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "write seconds, or a number with `s`, `m`, `h` or `d`: `90d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_pairs_are_read() {
        assert_eq!(
            (seconds("90d"), seconds("15"), seconds("2h")),
            (Ok(7_776_000), Ok(15), Ok(7200))
        );
        assert!(
            ["", "d", "-1s", "99999999d", "1w"]
                .iter()
                .all(|bad| seconds(bad).is_err())
        );
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
    }
}
