//! The table of CLIs: how each is called, configured and read.
//!
//! To add a CLI, add its name to [`Cli`] and its row here, with a function in `events` that reads
//! what it prints. Every CLI gets the prompt on its standard input, because Linux refuses an
//! argument of more than 128 KiB (execve(2), `MAX_ARG_STRLEN`). Each runs without a sandbox of its
//! own and without questions: the step's sandbox is the boundary. That is said where settings of a
//! repository cannot change it.

use sealfleet_domain::agent::{Agent, Cli};
use serde_json::{Value, json};

use crate::events;
use crate::said::Said;

/// How one CLI is called and read.
pub struct Adapter {
    pub cli: Cli,
    /// Empty for `custom`: the agent's arguments name it.
    program: &'static str,
    /// Variables that can carry its key. A profile names one of them.
    pub keys: &'static [&'static str],
    /// Variables that can carry the URL of its model's API.
    pub base_urls: &'static [&'static str],
    /// Variables that it gets unless the step sets them.
    environment: &'static [(&'static str, &'static str)],
    arguments: fn(&Agent) -> Vec<String>,
    /// Its configuration, by path below HOME.
    files: fn(&Agent, &Variables<'_>) -> Vec<(&'static str, String)>,
    /// Where it logs its sessions, if it tells only there what it uses while it runs.
    pub(crate) logs: Option<Place>,
    /// Reads one line of its standard output. None: that is text.
    pub(crate) event: Option<fn(&mut Said, &Value)>,
    /// Reads one line of a session's log, with the log's number.
    pub(crate) logged: fn(&mut Said, usize, &Value),
}

/// Files below HOME: a directory, and how their names begin. They end in `.jsonl`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub directory: &'static str,
    pub prefix: &'static str,
}

/// The step's variables by name.
type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A CLI to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that it gets unless the step sets them.
    pub environment: &'static [(&'static str, &'static str)],
    /// Files to write before it starts, by path below HOME.
    pub files: Vec<(&'static str, String)>,
}

/// The row of a CLI.
#[must_use]
pub fn adapter(cli: Cli) -> &'static Adapter {
    match cli {
        Cli::Codex => &CODEX,
        Cli::ClaudeCode => &CLAUDE_CODE,
        Cli::Gemini => &GEMINI,
        Cli::Opencode => &OPENCODE,
        Cli::Custom => &CUSTOM,
    }
}

impl Adapter {
    /// How it is called for `agent`. `variable` answers the step's variables; it is asked only for
    /// base URLs, never for a key.
    #[must_use]
    pub fn call(&self, agent: &Agent, variable: &Variables<'_>) -> Call {
        let program = (!self.program.is_empty()).then(|| self.program.to_owned());
        Call {
            command: program.into_iter().chain((self.arguments)(agent)).collect(),
            environment: self.environment,
            files: (self.files)(agent, variable),
        }
    }
}

/// <https://developers.openai.com/codex/noninteractive>. Its event stream has no usage before its
/// end, so that is read from its session's log.
static CODEX: Adapter = Adapter {
    cli: Cli::Codex,
    program: "codex",
    keys: &["OPENAI_API_KEY"],
    base_urls: &["OPENAI_BASE_URL"],
    environment: &[],
    arguments: |agent| {
        let fixed = [
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--color",
            "never",
            "-c",
            "sandbox_mode=danger-full-access",
        ];
        [
            words(&fixed),
            model("--model", agent),
            agent.args.clone(),
            words(&["-"]),
        ]
        .concat()
    },
    files: |_, variable| {
        let url = variable("OPENAI_BASE_URL");
        let url = url.unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
        // A JSON string is a TOML string, but for U+007F, which no URL has.
        let url = Value::from(url.replace('\u{7f}', ""));
        let config = format!(
            "# Written by Sealfleet: the step's sandbox is the boundary.\n\
             model_provider = \"sealfleet\"\n\
             approval_policy = \"never\"\n\
             check_for_update_on_startup = false\n\
             \n\
             [model_providers.sealfleet]\n\
             name = \"The model's provider\"\n\
             base_url = {url}\n\
             env_key = \"OPENAI_API_KEY\"\n\
             wire_api = \"responses\"\n"
        );
        vec![(".codex/config.toml", config)]
    },
    logs: Some(Place {
        directory: ".codex/sessions",
        prefix: "rollout-",
    }),
    event: Some(events::codex),
    logged: events::codex_log,
};

/// <https://code.claude.com/docs/en/headless>. It keeps both limits by itself, too.
static CLAUDE_CODE: Adapter = Adapter {
    cli: Cli::ClaudeCode,
    program: "claude",
    keys: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"],
    base_urls: &["ANTHROPIC_BASE_URL"],
    environment: &[
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        // Without it, it refuses to work without questions as root.
        ("IS_SANDBOX", "1"),
    ],
    arguments: |agent| {
        let fixed = ["-p", "--output-format", "stream-json", "--verbose"];
        let free = [
            "--permission-mode",
            "bypassPermissions",
            "--settings",
            r#"{"sandbox":{"enabled":false}}"#,
        ];
        let turns = agent.max_turns.map(|most| most.to_string());
        let budget = agent.budget_usd.map(|most| most.as_dollars().to_string());
        [
            words(&fixed),
            words(&free),
            model("--model", agent),
            option("--max-turns", turns),
            option("--max-budget-usd", budget),
            agent.args.clone(),
        ]
        .concat()
    },
    files: |_, _| Vec::new(),
    logs: None,
    event: Some(events::claude_code),
    logged: |_, _, _| {},
};

/// <https://geminicli.com/docs/cli/headless>. Tokens of one answer stand only in its session's log.
static GEMINI: Adapter = Adapter {
    cli: Cli::Gemini,
    program: "gemini",
    keys: &["GEMINI_API_KEY"],
    base_urls: &["GOOGLE_GEMINI_BASE_URL"],
    environment: &[("GEMINI_SANDBOX", "false")],
    arguments: |agent| {
        let fixed = ["--output-format", "stream-json", "--yolo", "--skip-trust"];
        [words(&fixed), model("--model", agent), agent.args.clone()].concat()
    },
    files: |agent, _| {
        let turns = agent
            .max_turns
            .map_or(json!({}), |most| json!({ "maxSessionTurns": most }));
        let settings = json!({
            "security": { "auth": { "selectedType": "gemini-api-key" } },
            "general": { "disableAutoUpdate": true },
            "privacy": { "usageStatisticsEnabled": false },
            "model": turns,
        });
        vec![(".gemini/settings.json", settings.to_string())]
    },
    logs: Some(Place {
        directory: ".gemini/tmp",
        prefix: "session-",
    }),
    event: Some(events::gemini),
    logged: events::gemini_log,
};

/// <https://opencode.ai/docs/cli>. Its models are named `PROVIDER/MODEL`.
static OPENCODE: Adapter = Adapter {
    cli: Cli::Opencode,
    program: "opencode",
    keys: &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"],
    base_urls: &["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"],
    environment: &[("OPENCODE_DISABLE_AUTOUPDATE", "1")],
    arguments: |agent| {
        let fixed = ["run", "--format", "json", "--auto"];
        [words(&fixed), model("--model", agent), agent.args.clone()].concat()
    },
    files: |agent, variable| {
        let mut providers = serde_json::Map::new();
        let named = agent
            .model
            .as_deref()
            .and_then(|model| model.split_once('/'));
        let urls = [
            ("anthropic", "ANTHROPIC_BASE_URL"),
            ("openai", "OPENAI_BASE_URL"),
        ];
        for (provider, name) in urls {
            if let Some(url) = variable(name) {
                // Any model that the step names exists, though opencode may not know it.
                let model = named.filter(|(of, _)| *of == provider);
                let models = model.map_or(json!({}), |(_, model)| json!({ (model): {} }));
                let options = json!({ "baseURL": url });
                providers.insert(
                    provider.to_owned(),
                    json!({ "options": options, "models": models }),
                );
            }
        }
        let config = json!({
            "$schema": "https://opencode.ai/config.json",
            "autoupdate": false,
            "share": "disabled",
            "permission": "allow",
            "provider": providers,
        });
        vec![(".config/opencode/opencode.json", config.to_string())]
    },
    logs: None,
    event: Some(events::opencode),
    logged: |_, _, _| {},
};

static CUSTOM: Adapter = Adapter {
    cli: Cli::Custom,
    program: "",
    keys: &[],
    base_urls: &[],
    environment: &[],
    arguments: |agent| agent.args.clone(),
    files: |_, _| Vec::new(),
    logs: None,
    event: None,
    logged: |_, _, _| {},
};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn model(name: &str, agent: &Agent) -> Vec<String> {
    option(name, agent.model.clone())
}

fn option(name: &str, value: Option<String>) -> Vec<String> {
    value.map_or_else(Vec::new, |value| vec![name.to_owned(), value])
}
