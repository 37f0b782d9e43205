use super::*;

fn agent() -> Agent {
    Agent {
        cli: Cli::Codex,
        prompt: Some("Write the tests.\nThen run them.".to_owned()),
        prompt_file: None,
        model: Some("gpt-5.1-codex".to_owned()),
        max_turns: Some(20),
        budget_usd: Usd::dollars(1.5),
        args: Vec::new(),
    }
}

fn refused(change: impl FnOnce(&mut Agent)) -> &'static str {
    let mut agent = agent();
    change(&mut agent);
    agent
        .check()
        .map_or_else(|(field, _)| field, |()| "accepted")
}

#[test]
fn an_agent_is_refused_by_its_field() {
    assert_eq!(agent().check(), Ok(()));
    assert_eq!(refused(|agent| agent.prompt = None), "prompt");
    assert_eq!(
        refused(|agent| agent.prompt_file = Some("a".into())),
        "prompt"
    );
    assert_eq!(
        refused(|agent| agent.prompt = Some(String::new())),
        "prompt"
    );
    assert_eq!(refused(|agent| agent.prompt = Some("a\0".into())), "prompt");
    let long = "x".repeat(limits::PROMPT_BYTES + 1);
    assert_eq!(refused(|agent| agent.prompt = Some(long)), "prompt");
    for path in [
        "",
        "/etc/passwd",
        "../a",
        "a/../b",
        "/workspace/",
        "a//b",
        "./a",
        "a\nb",
    ] {
        let field = refused(|agent| {
            agent.prompt = None;
            agent.prompt_file = Some(path.to_owned());
        });
        assert_eq!(field, "prompt_file", "{path:?}");
    }
    for path in ["task.md", "/workspace/in/task.md", "..a/b"] {
        let field = refused(|agent| {
            agent.prompt = None;
            agent.prompt_file = Some(path.to_owned());
        });
        assert_eq!(field, "accepted", "{path:?}");
    }
    assert_eq!(
        refused(|agent| agent.model = Some("--full-auto".into())),
        "model"
    );
    assert_eq!(refused(|agent| agent.model = Some(String::new())), "model");
    assert_eq!(refused(|agent| agent.max_turns = Some(0)), "max_turns");
    assert_eq!(refused(|agent| agent.args = vec!["x".into(); 65]), "args");
    assert_eq!(refused(|agent| agent.args = vec!["a\0".into()]), "args");
}

#[test]
fn a_budget_needs_a_price() {
    assert_eq!(refused(|agent| agent.model = None), "budget_usd");
    assert_eq!(
        refused(|agent| agent.model = Some("own-model".into())),
        "budget_usd"
    );
    assert_eq!(
        refused(|agent| agent.budget_usd = Some(Usd::default())),
        "budget_usd"
    );
    assert_eq!(
        refused(|agent| agent.budget_usd = Usd::dollars(1e6)),
        "budget_usd"
    );
    let dated = "anthropic/claude-haiku-4-5-20251001";
    assert_eq!(
        refused(|agent| agent.model = Some(dated.into())),
        "accepted"
    );
}

#[test]
fn a_custom_agent_names_its_program_and_has_no_limits() {
    let custom = |change: fn(&mut Agent)| {
        refused(|agent| {
            agent.cli = Cli::Custom;
            agent.args = vec!["/usr/bin/agent".to_owned()];
            (agent.model, agent.max_turns, agent.budget_usd) = (None, None, None);
            change(agent);
        })
    };
    assert_eq!(custom(|_| {}), "accepted");
    assert_eq!(custom(|agent| agent.args.clear()), "args");
    assert_eq!(custom(|agent| agent.max_turns = Some(3)), "max_turns");
    assert_eq!(
        custom(|agent| agent.model = Some("gpt-5.1-codex".into())),
        "model"
    );
}

#[test]
fn every_cli_is_a_tool_and_has_the_name_that_documents_write() {
    for cli in CLIS {
        assert_eq!(
            cli.tool().map(|tool| tool.to_string()).as_deref(),
            Some(cli.name())
        );
        assert_eq!(serde_json::to_value(cli).ok(), Some(cli.name().into()));
    }
}

#[test]
fn an_amount_is_a_number_of_dollars() {
    let usd: Usd = serde_json::from_str("0.25").expect("an amount");
    assert_eq!(usd, Usd::millionths(250_000));
    assert_eq!(
        (
            usd.to_string().as_str(),
            serde_json::to_string(&usd).ok().as_deref()
        ),
        ("$0.25", Some("0.25"))
    );
    for wrong in ["-1", "\"1\"", "1e300"] {
        assert!(serde_json::from_str::<Usd>(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Usd::dollars(f64::NAN), None);
}

#[test]
fn a_cost_counts_each_kind_of_token_once() {
    let usage = Usage {
        input_tokens: 1_000_000,
        cached_input_tokens: 400_000,
        output_tokens: 100_000,
    };
    let price = prices::of("claude-sonnet-4-5").expect("listed");
    // 0.4 M plain, 0.4 M cached, 0.2 M written, 0.1 M of output.
    assert_eq!(
        price.cost(&usage, 200_000),
        Usd::millionths(1_200_000 + 120_000 + 750_000 + 1_500_000)
    );
    assert_eq!(
        price.cost(
            &Usage {
                output_tokens: 1,
                ..Usage::default()
            },
            0
        ),
        Usd::millionths(15)
    );
}

#[test]
fn a_price_is_of_exactly_its_model() {
    for (name, model) in [
        ("gpt-5.1-codex", Some("gpt-5.1-codex")),
        ("gpt-5.1-codex-mini", Some("gpt-5.1-codex-mini")),
        ("openai/gpt-5.1-codex", Some("gpt-5.1-codex")),
        ("claude-opus-5-5-20261001", Some("claude-opus-5-5")),
        ("gpt-5.1-codex-", None),
        ("gpt-5.1-codex-next", None),
        ("claude-opus-5-6", None),
        ("", None),
    ] {
        assert_eq!(prices::of(name).map(|price| price.model), model, "{name}");
    }
    for price in &prices::MODELS {
        assert!(
            price.cached <= price.input && price.input < price.output,
            "{}",
            price.model
        );
        assert_eq!(prices::of(price.model), Some(price));
    }
}
