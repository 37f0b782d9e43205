//! The configuration file: what the command line can say, as TOML.
//!
//! A key is the long name of an option without its dashes. Keys at the top are options of `run`,
//! and `api-url`; those of the table `[register]` are options of `register`. The command line and
//! the environment win over the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

/// The option, and the variable, that names the file.
const OPTION: &str = "--config";
const VARIABLE: &str = "SEALFLEET_CONFIG";

/// The file that a command line names, or else the environment.
#[must_use]
pub fn named_by(words: &[OsString], environment: Option<OsString>) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if word == OPTION {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word
            .strip_prefix(OPTION)
            .and_then(|rest| rest.strip_prefix('='))
        {
            return Some(path.into());
        }
    }
    environment.map(PathBuf::from)
}

/// The variable's value.
#[must_use]
pub fn variable() -> Option<OsString> {
    let mut variables = std::env::vars_os();
    variables
        .find(|(name, _)| name == VARIABLE)
        .map(|(_, value)| value)
}

/// `command` with the options of the file `path` as its defaults.
///
/// # Errors
/// The file cannot be read, or says what no option is; for people.
pub fn with_file(command: Command, path: &Path) -> Result<Command, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    with_options(command, &text).map_err(|error| wrong(&error))
}

fn with_options(mut command: Command, text: &str) -> Result<Command, String> {
    let mut options: Table = text.parse().map_err(|error| format!("{error}"))?;
    if let Some(url) = options.remove("api-url") {
        command = with_option(command, "api-url", &url)?;
    }
    if let Some(register) = options.remove("register") {
        let Value::Table(register) = register else {
            return Err("`register` must be a table".to_owned());
        };
        command = with_table(command, "register", &register)?;
    }
    with_table(command, "run", &options)
}

fn with_table(command: Command, subcommand: &str, options: &Table) -> Result<Command, String> {
    let mut failed = None;
    let command = command.mut_subcommand(subcommand, |mut command| {
        for (name, value) in options {
            match with_option(command.clone(), name, value) {
                Ok(changed) => command = changed,
                Err(error) => failed = Some(error),
            }
        }
        command
    });
    failed.map_or(Ok(command), Err)
}

fn with_option(command: Command, name: &str, value: &Value) -> Result<Command, String> {
    let arguments = || command.get_arguments();
    let found = arguments().find(|argument| argument.get_long() == Some(name));
    let Some(id) = found.map(|argument| argument.get_id().clone()) else {
        let known: Vec<_> = arguments().filter_map(Arg::get_long).collect();
        return Err(format!(
            "`{name}` is no option; use one of `{}`",
            known.join("`, `")
        ));
    };
    let is_switch =
        found.is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
    let values: Vec<String> = match value {
        Value::Array(values) if !is_switch => values
            .iter()
            .map(|value| text(name, value))
            .collect::<Result<_, _>>()?,
        Value::Boolean(value) if is_switch => vec![value.to_string()],
        value if is_switch => {
            return Err(format!(
                "`{name}` must be true or false, not {}",
                value.type_str()
            ));
        }
        value => vec![text(name, value)?],
    };
    // Clap keeps defaults for as long as the program runs.
    let values = values.into_iter().map(|value| &*value.leak());
    Ok(command.mut_arg(id, |argument| {
        argument.required(false).default_values(values)
    }))
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!(
            "`{name}` must be text or a number, not {}",
            other.type_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgMatches;

    fn program() -> Command {
        let path = Arg::new("log_dir").long("log-dir").required(true);
        let number = Arg::new("pids").long("pids").default_value("256");
        let switch = Arg::new("allow_bare").long("allow-bare");
        let label = Arg::new("labels").long("label").action(ArgAction::Append);
        Command::new("x")
            .arg(
                Arg::new("api_url")
                    .long("api-url")
                    .global(true)
                    .default_value(""),
            )
            .subcommand(
                Command::new("run")
                    .arg(path)
                    .arg(number)
                    .arg(switch.action(ArgAction::SetTrue)),
            )
            .subcommand(Command::new("register").arg(label))
    }

    fn parsed(file: &str, words: &[&str]) -> ArgMatches {
        let command = with_options(program(), file).expect("a good file");
        let words = std::iter::once(&"x").chain(words);
        command
            .try_get_matches_from(words)
            .expect("a good command line")
    }

    #[test]
    fn the_file_says_what_the_command_line_leaves_out() {
        let file = "api-url = \"https://a\"\nlog-dir = \"/logs\"\npids = 9\nallow-bare = true\n\
                    [register]\nlabel = [\"a=1\", \"b=2\"]\n";
        let matches = parsed(file, &["run"]);
        let (_, run) = matches.subcommand().expect("run");
        assert_eq!(
            run.get_one::<String>("api_url").expect("there"),
            "https://a"
        );
        assert_eq!(run.get_one::<String>("log_dir").expect("there"), "/logs");
        assert_eq!(run.get_one::<String>("pids").expect("there"), "9");
        assert!(run.get_flag("allow_bare"));
        let matches = parsed(file, &["run", "--pids", "7", "--api-url", "https://b"]);
        let (_, run) = matches.subcommand().expect("run");
        assert_eq!(run.get_one::<String>("pids").expect("there"), "7");
        assert_eq!(
            run.get_one::<String>("api_url").expect("there"),
            "https://b"
        );
        let matches = parsed(file, &["register"]);
        let (_, register) = matches.subcommand().expect("register");
        let labels: Vec<_> = register
            .get_many::<String>("labels")
            .expect("there")
            .collect();
        assert_eq!(labels, ["a=1", "b=2"]);
    }

    #[test]
    fn what_is_no_option_is_refused_by_name() {
        for (file, named) in [
            ("pid = 9", "`pid` is no option"),
            ("allow-bare = \"yes\"", "`allow-bare` must be true or false"),
            ("pids = [[1]]", "`pids` must be text or a number"),
            ("[register]\nlabels = 1", "`labels` is no option"),
            ("register = 1", "`register` must be a table"),
            ("pids = ", "TOML parse error"),
        ] {
            let error = with_options(program(), file).err().unwrap_or_default();
            assert!(error.contains(named), "{file}: {error}");
        }
    }

    #[test]
    fn the_command_line_names_the_file_before_the_environment() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let of_environment = Some(OsString::from("/e"));
        for (line, file) in [
            ("run --config /a --pids 1", "/a"),
            ("run --config=/b", "/b"),
            ("run", "/e"),
        ] {
            let named = named_by(&words(line), of_environment.clone());
            assert_eq!(named, Some(file.into()), "{line}");
        }
    }
}
