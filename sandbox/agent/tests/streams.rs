//! What each CLI prints is understood, and what none of them should print does no harm.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use sealfleet_agent::{Ended, Fault, Logs, Over, Stream, adapter};
use sealfleet_domain::agent::{Agent, CLIS, Cli, Usage, Usd};

fn agent(cli: Cli) -> Agent {
    Agent {
        cli,
        prompt: Some("edit the note".to_owned()),
        prompt_file: None,
        model: None,
        max_turns: None,
        budget_usd: None,
        args: Vec::new(),
    }
}

fn recorded(cli: Cli, name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let path = folder.join(cli.name()).join(name).with_extension("jsonl");
    std::fs::read(path).unwrap()
}

/// The end of a stream that arrives in pieces of this size, with its session's log if it has one.
fn told(agent: &Agent, stream: &[u8], log: &[u8], piece: usize) -> Ended {
    let mut reader = Stream::new(agent);
    for line in log.split(|&byte| byte == b'\n') {
        reader.logged(0, line);
    }
    for piece in stream.chunks(piece) {
        reader.output(piece);
    }
    reader.end()
}

fn with_log(cli: Cli) -> Vec<u8> {
    match cli {
        Cli::Codex | Cli::Gemini => recorded(cli, "session"),
        _ => Vec::new(),
    }
}

const USED: Usage = Usage {
    input_tokens: 2200,
    cached_input_tokens: 1400,
    output_tokens: 70,
};

#[test]
fn a_good_end_is_read_whatever_pieces_it_arrives_in() {
    for cli in [Cli::Codex, Cli::ClaudeCode, Cli::Gemini, Cli::Opencode] {
        let stream = recorded(cli, "good");
        let ends = [1, 7, 4096].map(|piece| told(&agent(cli), &stream, &with_log(cli), piece));
        assert!(ends[0] == ends[1] && ends[1] == ends[2], "{cli}");
        let [end, ..] = ends;
        assert_eq!(end.message.as_deref(), Some("I wrote `note.txt`."), "{cli}");
        assert_eq!(end.report.usage, Some(USED), "{cli}");
        assert_eq!(end.report.turns, Some(2), "{cli}");
        assert!(end.report.session_id.is_some(), "{cli}");
        assert_eq!((end.fault, end.cut), (None, false), "{cli}");
    }
}

#[test]
fn a_cost_is_the_clis_word_or_that_of_the_list_prices_whichever_is_more() {
    let cost = |cli, model: &str| {
        let agent = Agent {
            model: Some(model.to_owned()),
            ..agent(cli)
        };
        told(&agent, &recorded(cli, "good"), &with_log(cli), 4096)
            .report
            .cost_usd
    };
    // 800 plain at $1.25, 1400 cached at $0.125, 70 written by the model at $10 for a million.
    assert_eq!(
        cost(Cli::Codex, "gpt-5.1-codex"),
        Some(Usd::millionths(1875))
    );
    assert_eq!(cost(Cli::Codex, "own-model"), None);
    assert_eq!(
        cost(Cli::ClaudeCode, "own-model"),
        Some(Usd::millionths(4880))
    );
    assert_eq!(
        cost(Cli::ClaudeCode, "claude-sonnet-4-5"),
        Some(Usd::millionths(4880))
    );
    assert_eq!(
        cost(Cli::Opencode, "anthropic/claude-sonnet-4-5"),
        Some(Usd::millionths(3870))
    );
}

#[test]
fn each_error_of_a_provider_has_its_kind() {
    let kinds = [
        ("rate_limit", Fault::RateLimit),
        ("auth", Fault::Auth),
        ("context", Fault::Context),
        ("network", Fault::Network),
    ];
    // Both try again for ever.
    let missing = [(Cli::Gemini, "network"), (Cli::Opencode, "network")];
    for cli in [Cli::Codex, Cli::ClaudeCode, Cli::Gemini, Cli::Opencode] {
        for (name, kind) in kinds {
            if missing.contains(&(cli, name)) {
                continue;
            }
            let end = told(&agent(cli), &recorded(cli, name), b"", 4096);
            assert_eq!(end.fault, Some(kind), "{cli} {name}");
        }
    }
}

#[test]
fn an_error_that_a_cli_passes_on_has_its_kind() {
    for (message, kind) in [
        (
            r#"[API Error: {"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED"}}]"#,
            Fault::RateLimit,
        ),
        (
            "[API Error: exception TypeError: fetch failed sending request]",
            Fault::Network,
        ),
        ("[API Error: something else]", Fault::Other),
    ] {
        let event = serde_json::json!({
            "type": "result", "status": "error", "error": { "type": "unknown", "message": message },
        });
        let end = told(&agent(Cli::Gemini), event.to_string().as_bytes(), b"", 4096);
        assert_eq!(end.fault, Some(kind), "{message}");
    }
}

#[test]
fn the_limits_that_a_cli_keeps_by_itself_are_told_alike() {
    for cli in [Cli::ClaudeCode, Cli::Gemini] {
        let end = told(&agent(cli), &recorded(cli, "turns"), b"", 4096);
        assert_eq!(end.fault, Some(Fault::Turns), "{cli}");
    }
}

#[test]
fn an_agent_is_over_its_limit_with_the_answer_that_passes_it() {
    for cli in [Cli::Codex, Cli::ClaudeCode, Cli::Gemini, Cli::Opencode] {
        let (stream, log) = (recorded(cli, "good"), with_log(cli));
        for (most, over) in [(1, Some(Fault::Turns)), (2, None)] {
            let limited = Agent {
                max_turns: Some(most),
                ..agent(cli)
            };
            let end = told(&limited, &stream, &log, 4096);
            assert_eq!(end.fault, over, "{cli} {most}");
            // The work is not lost.
            assert!(end.message.is_some(), "{cli}");
        }
    }
    let (stream, log) = (recorded(Cli::Codex, "good"), with_log(Cli::Codex));
    for (budget, over) in [(1874, Some(Fault::Budget)), (1875, None)] {
        let limited = Agent {
            model: Some("gpt-5.1-codex".to_owned()),
            budget_usd: Some(Usd::millionths(budget)),
            ..agent(Cli::Codex)
        };
        let end = told(&limited, &stream, &log, 4096);
        assert_eq!(end.fault, over, "{budget}");
    }
}

#[test]
fn a_limit_is_noticed_while_the_agent_still_runs() {
    let limited = Agent {
        max_turns: Some(1),
        ..agent(Cli::Opencode)
    };
    let mut stream = Stream::new(&limited);
    let mut over_at = None;
    let recorded = recorded(Cli::Opencode, "good");
    let lines: Vec<&[u8]> = recorded.split_inclusive(|&byte| byte == b'\n').collect();
    for (at, line) in lines.iter().enumerate() {
        stream.output(line);
        if over_at.is_none() && stream.over() == Some(Over::Turns) {
            over_at = Some(at);
        }
    }
    assert_eq!(over_at, Some(lines.len() - 1));
}

#[test]
fn hostile_output_is_passed_over() {
    for cli in CLIS {
        let mut stream = Stream::new(&agent(cli));
        let long = vec![b'x'; 3 * 1024 * 1024];
        let nested = "[".repeat(100_000);
        let control =
            "{\"type\":\"\u{1b}[2J\",\"session_id\":\"\u{1b}]0;x\u{7}\",\"sessionID\":\"a\\nb\"}\n";
        let negative = "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":-1,\"output_tokens\":1e300}}\n";
        let wrong = "{\"type\":[],\"item\":7,\"usage\":\"x\",\"message\":{\"content\":{}},\"stats\":null}\n";
        let pieces: [&[u8]; 8] = [
            b"\xff\xfe{}\n{\"type\":\n}\n\0\n",
            &long,
            b"\n",
            nested.as_bytes(),
            b"\n",
            control.as_bytes(),
            negative.as_bytes(),
            wrong.as_bytes(),
        ];
        for piece in pieces {
            stream.output(piece);
        }
        if cli != Cli::Custom {
            // What follows is still understood.
            stream.output(&recorded(cli, "good"));
        }
        let end = stream.end();
        let message = end.message.unwrap();
        assert!(message.len() <= 32 * 1024, "{cli}");
        let id = end.report.session_id.unwrap_or_default();
        assert!(!id.contains(char::is_control), "{cli}");
        if cli == Cli::Custom {
            assert!(end.cut && end.fault.is_none());
        } else {
            assert_eq!(message, "I wrote `note.txt`.", "{cli}");
        }
    }
}

/// A CLI may print anything in the place of an id, such as a key.
#[test]
fn an_id_of_an_unknown_form_stays_inside() {
    let long = format!("ses_{}", "a".repeat(33));
    for (id, kept) in [
        ("ses_dd6677677ffe7u6YlRq2U76iwv", true),
        ("01a22998-29ef-7a82-9562-5ea326d97d04", true),
        ("key-0123456789abcdef0123456789abcdef", false),
        ("01a22998-29ef-7a82-9562-5ea326d97d0g", false),
        ("ses_\u{1b}[2J", false),
        (long.as_str(), false),
    ] {
        let event = serde_json::json!({ "type": "text", "sessionID": id });
        let end = told(
            &agent(Cli::Opencode),
            event.to_string().as_bytes(),
            b"",
            4096,
        );
        assert_eq!(end.report.session_id.is_some(), kept, "{id:?}");
    }
}

/// A line over the bound is passed over as a whole, however much of it comes.
#[test]
fn a_line_that_is_too_long_is_not_kept() {
    let mut stream = Stream::new(&agent(Cli::Codex));
    stream.output(&recorded(Cli::Codex, "good"));
    let piece = vec![b' '; 64 * 1024];
    for _ in 0..17 {
        stream.output(&piece);
    }
    let event = |text: &str| {
        let item = serde_json::json!({ "type": "agent_message", "text": text });
        serde_json::json!({ "type": "item.completed", "item": item }).to_string() + "\n"
    };
    stream.output(event("behind a megabyte").as_bytes());
    let end = stream.end();
    assert_eq!(end.message.as_deref(), Some("I wrote `note.txt`."));
    let mut stream = Stream::new(&agent(Cli::Codex));
    stream.output(&piece);
    stream.output(event("behind a little").as_bytes());
    assert_eq!(stream.end().message.as_deref(), Some("behind a little"));
}

#[test]
fn a_long_message_is_cut_at_a_letter() {
    let text = "ä".repeat(40_000);
    let event = serde_json::json!({ "type": "item.completed", "item": { "type": "agent_message", "text": text } });
    let end = told(&agent(Cli::Codex), event.to_string().as_bytes(), b"", 4096);
    assert_eq!((end.message.unwrap().len(), end.cut), (32 * 1024, true));
    let end = told(&agent(Cli::Custom), text.as_bytes(), b"", 4096);
    assert!(end.message.unwrap().len() <= 32 * 1024 && end.cut);
}

#[test]
fn logs_are_read_as_they_grow_and_only_regular_files() {
    let home = tempfile::tempdir().unwrap();
    let day = home.path().join(".codex/sessions/2026/11/29");
    std::fs::create_dir_all(&day).unwrap();
    let text = recorded(Cli::Codex, "session");
    // Somewhere else, by a link; a pipe that nobody writes; a directory; another name.
    let elsewhere = home.path().join("elsewhere.jsonl");
    std::fs::write(&elsewhere, &text).unwrap();
    std::os::unix::fs::symlink(&elsewhere, day.join("rollout-0.jsonl")).unwrap();
    let pipe = day.join("rollout-1.jsonl");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::fs::create_dir(day.join("rollout-2.jsonl")).unwrap();
    std::fs::write(day.join("other.jsonl"), &text).unwrap();

    let limited = Agent {
        max_turns: Some(1),
        ..agent(Cli::Codex)
    };
    let mut stream = Stream::new(&limited);
    let mut logs = Logs::new(Cli::Codex, home.path());
    logs.look(&mut stream);
    assert_eq!(stream.over(), None);
    let path = day.join("rollout-3.jsonl");
    let half = text.len() - 40;
    std::fs::write(&path, &text[..half]).unwrap();
    logs.look(&mut stream);
    assert_eq!(stream.over(), Some(Over::Turns));
    std::fs::write(&path, &text).unwrap();
    logs.look(&mut stream);
    logs.look(&mut stream);
    let end = stream.end();
    assert_eq!((end.report.turns, end.report.usage), (Some(2), Some(USED)));
}

/// Settings of a repository come after these.
#[test]
fn no_agent_has_a_sandbox_of_its_own_whatever_a_repository_says() {
    for (cli, said) in [
        (Cli::Codex, "-c sandbox_mode=danger-full-access"),
        (
            Cli::ClaudeCode,
            r#"--settings {"sandbox":{"enabled":false}}"#,
        ),
        (Cli::Gemini, "GEMINI_SANDBOX=false"),
    ] {
        let call = adapter(cli).call(&agent(cli), &|_| None);
        let variables = call.environment.iter();
        let variables = variables.map(|(name, value)| format!("{name}={value}"));
        let words: Vec<String> = call.command.into_iter().chain(variables).collect();
        assert!(words.join(" ").contains(said), "{words:?}");
    }
}

#[test]
fn no_prompt_and_no_key_is_an_argument() {
    for cli in CLIS {
        let asked = Agent {
            prompt: Some("the prompt".to_owned()),
            model: (cli != Cli::Custom).then(|| "a/model".to_owned()),
            args: vec!["own".to_owned()],
            ..agent(cli)
        };
        let row = adapter(cli);
        let call = row.call(&asked, &|name| {
            assert!(row.base_urls.contains(&name), "{cli} reads `{name}`");
            Some("http://127.0.0.1:1/\"v1".to_owned())
        });
        assert!(!call.command.concat().contains("prompt"), "{cli}");
        assert!(call.command.contains(&"own".to_owned()), "{cli}");
        assert!(!call.command[0].is_empty());
        if cli != Cli::Custom {
            assert!(call.command.contains(&"a/model".to_owned()), "{cli}");
            assert!(!row.keys.is_empty());
        }
        for (path, text) in call.files {
            assert!(!path.starts_with('/'), "{cli}");
            if path.ends_with(".json") {
                let _valid: serde_json::Value = serde_json::from_str(&text).unwrap();
            } else {
                assert!(
                    text.contains(r#"base_url = "http://127.0.0.1:1/\"v1""#),
                    "{text}"
                );
            }
        }
    }
}
