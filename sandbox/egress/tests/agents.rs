//! Real CLI agents, whose model is a stand-in behind TLS: the proxy counts what they say they used.
//!
//! `scripts/lib/npm_packages.py images/agents images/agents/node_modules` installs them. Where one
//! is missing its test is skipped and says so, unless `SEALFLEET_TEST_AGENTS=required`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sealfleet_agent::{Stream, adapter};
use sealfleet_domain::agent::{Agent, Usage};
use sealfleet_egress::Limits;
use sealfleet_local_model::{Model, Scripts, Turn};
use serde_json::json;

use crate::aws::handed_on;
use crate::secure::{H1, PLACEHOLDER, Site, VALUE, credential};
use crate::world::World;

fn installed(program: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/agents/node_modules");
    let program = folder.join(program);
    if program.exists() {
        return Some(program.canonicalize().unwrap());
    }
    let required =
        std::env::var_os("SEALFLEET_TEST_AGENTS").is_some_and(|value| value == "required");
    assert!(!required, "`{}` is missing", program.display());
    eprintln!("skipped: `{}` is not installed", program.display());
    None
}

fn runs(cli: &str, model: &str, program: &str, key: &str) {
    let Some(program) = installed(program) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let turns = [
        Turn::shell("echo edited > note.txt").costs(1000, 400, 50),
        Turn::say("I wrote `note.txt`.").costs(1200, 1000, 20),
    ];
    let stand_in = runtime.block_on(Model::start(Scripts::all(turns))).unwrap();
    let address: SocketAddr = stand_in
        .url()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let site = Site::answering(&[H1], move |seen| handed_on(address, seen));
    let to = json!([{ "host": "a.test", "port": site.port() }]);
    let policy = json!({ "allow": [{ "host": "a.test", "port": site.port() }] });
    let secrets = vec![credential(key, PLACEHOLDER, VALUE, to)];
    let world = World::beside(&site.voucher, policy, secrets, Limits::default());

    // Codex wants none below `/tmp`.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, world.proxy.ca_pem()).unwrap();
    let base = format!("https://a.test:{}", site.port());
    let variables = [
        ("OPENAI_BASE_URL", format!("{base}/v1")),
        ("ANTHROPIC_BASE_URL", base),
    ];
    let variable = |name: &str| {
        let mut all = variables.iter();
        all.find(|(own, _)| *own == name)
            .map(|(_, value)| value.clone())
    };
    let agent = json!({ "cli": cli, "prompt": "Write a note.", "model": model });
    let agent: Agent = serde_json::from_value(agent).unwrap();
    let call = adapter(agent.cli).call(&agent, &variable);
    for (path, content) in call.files {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let prompt = home.path().join("prompt");
    std::fs::write(&prompt, "Write a note.").unwrap();
    let output = Command::new(program)
        .args(&call.command[1..])
        .current_dir(&home)
        .env_clear()
        .envs(call.environment.iter().copied())
        .envs(variables.clone())
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env(key, PLACEHOLDER)
        .env("HTTPS_PROXY", format!("http://{}", world.address))
        .env("SSL_CERT_FILE", &ca)
        .env("CODEX_CA_CERTIFICATE", &ca)
        .env("NODE_EXTRA_CA_CERTS", &ca)
        .env("IS_SANDBOX", "1")
        .stdin(Stdio::from(std::fs::File::open(prompt).unwrap()))
        .output()
        .unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("canary"), "{told}");
    let asked = stand_in.requests();
    assert_eq!(
        (stand_in.requests_with(VALUE), asked.is_empty()),
        (asked.len(), false)
    );

    let mut says = Stream::new(&agent);
    says.output(&output.stdout);
    let said = says.end().report.usage.unwrap();
    let counted = world.proxy.usage();
    let sum = counted
        .rows
        .iter()
        .fold(Usage::default(), |sum, row| Usage {
            input_tokens: sum.input_tokens + row.of.usage.input_tokens,
            cached_input_tokens: sum.cached_input_tokens + row.of.usage.cached_input_tokens,
            output_tokens: sum.output_tokens + row.of.usage.output_tokens,
        });
    assert_eq!(sum, said, "{counted:?} {told}");
    assert!(said.input_tokens >= 2200, "{counted:?} {told}");
    assert!(
        counted.rows.iter().all(|row| row.provider == "a.test"),
        "{counted:?}"
    );
    assert_eq!(counted.unread, 0);
}

#[test]
fn codex_and_the_proxy_count_the_same_tokens() {
    let program = "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex";
    runs("codex", "gpt-5.1-codex", program, "OPENAI_API_KEY");
}

#[test]
fn claude_code_and_the_proxy_count_the_same_tokens() {
    let program = "@anthropic-ai/claude-code-linux-x64/claude";
    runs(
        "claude-code",
        "claude-sonnet-4-5",
        program,
        "ANTHROPIC_API_KEY",
    );
}
