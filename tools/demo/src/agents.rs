//! Both tenants' agents at work: the real Codex mends a small repository for each, with that
//! tenant's own key. What it asks is a stand-in of its model's API on this machine, one for each
//! tenant.

use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_local_model::{Model, Scripts, Turn};
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{PULL, merged, step};
use sealfleet_test_stack::{
    Claimed, Failure, Outcome, Stack, ensure, ensure_eq, eventually, processes,
};
use serde_json::{Value, json};

use crate::board::Board;
use crate::sealed;
use crate::tenant::{Canary, Tenant};

/// The variable that carries a tenant's key to its model.
const KEY: &str = "OPENAI_API_KEY";
/// The profile with that key.
const MODELS: &str = "models";
/// A model with a price.
const MODEL: &str = "gpt-5.1-codex";
/// What the agent leaves: its work, and a file that it should not have written.
const PATCH: &str = "mend.patch";
const NOTES: &str = "notes.txt";
/// Codex takes some seconds, more on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A repository with a mistake in it, and what the model says to that.
struct Repository {
    file: &'static str,
    source: &'static str,
    test: &'static str,
    mend: &'static str,
    said: &'static str,
}

const DOSES: Repository = Repository {
    file: "dose.py",
    source: "def dose(weight_kg, mg_per_kg):\n    return weight_kg + mg_per_kg\n",
    test: "import unittest\nfrom dose import dose\n\nclass Doses(unittest.TestCase):\n    def test_dose(self):\n        self.assertEqual(dose(70, 2), 140)\n",
    mend: "s/weight_kg + mg/weight_kg * mg/",
    said: "A dose grows with the weight: the two were added.",
};
const INTEREST: Repository = Repository {
    file: "interest.py",
    source: "def interest(amount, percent):\n    return amount * percent\n",
    test: "import unittest\nfrom interest import interest\n\nclass Interest(unittest.TestCase):\n    def test_interest(self):\n        self.assertEqual(interest(200, 5), 10)\n",
    mend: "s|amount \\* percent|amount * percent / 100|",
    said: "Five percent is five of a hundred: the division was missing.",
};

impl Repository {
    /// What the model lets the agent do. It also has it print its key, as an agent does that
    /// somebody has talked into it.
    fn script(&self) -> Scripts {
        let file = self.file;
        let (mend, said) = (self.mend, self.said);
        let look = "ls && python3 -m unittest 2>&1 | tail -n 3".to_owned();
        let mend = format!(
            "cp {file} /tmp/before.py && sed -i '{mend}' {file} && python3 -m unittest 2>&1 | tail -n 1\n\
             diff -u --label a/{file} --label b/{file} /tmp/before.py {file} >{PATCH}\n\
             echo \"the key is ${KEY}\" | tee {NOTES}"
        );
        Scripts::all([
            Turn::shell(&look).costs(2000, 0, 40),
            Turn::shell(&mend).costs(2600, 2000, 160),
            Turn::say(said).costs(3000, 2600, 30),
        ])
    }

    fn files(&self) -> Value {
        let test = format!("test_{}", self.file);
        json!({ self.file: { "text": self.source }, test: { "text": self.test } })
    }
}

/// A tenant's agent, asleep until its model answers.
struct Agent<'a> {
    tenant: &'a Tenant,
    repository: &'static Repository,
    model: Model,
    run: String,
}

/// Gives each tenant its key, and lets both agents work.
pub async fn played(board: &mut Board, stack: &Stack, [one, other]: [&mut Tenant; 2]) -> Outcome {
    let mut agents = Vec::new();
    for (tenant, repository) in [(&mut *one, &DOSES), (&mut *other, &INTEREST)] {
        let model = Model::start(repository.script()).await?;
        // Until both are at work.
        model.hold();
        tenant.have_key_of_model(MODELS, KEY, &model.url()).await?;
        agents.push((repository, model));
    }
    let mut working = Vec::new();
    for (tenant, (repository, model)) in [&*one, &*other].into_iter().zip(agents) {
        let run = enqueue(tenant, repository).await?;
        board.say(&format!(
            "`{}`: Codex mends {}; the stand-in of its model is at {}",
            tenant.id(),
            repository.file,
            model.url()
        ));
        working.push(Agent {
            tenant,
            repository,
            model,
            run,
        });
    }
    for agent in &working {
        agent.until_it_asks().await?;
    }
    board
        .check(
            "each agent holds its own tenant's key, and no other",
            async { inside(&working) },
        )
        .await;
    let tenants = [&*one, &*other];
    board
        .check(
            "the keys to the models are nowhere else while the agents work",
            sealed::nowhere_else(stack, tenants),
        )
        .await;
    for agent in &working {
        agent.model.answer_again();
    }
    for agent in &working {
        let name = format!("the agent of `{}` mends its repository", agent.tenant.id());
        board.check(&name, agent.mended()).await;
    }
    board
        .check(
            "each model was asked with its own tenant's key, every time",
            async { asked(&working) },
        )
        .await;
    Ok(())
}

async fn enqueue(tenant: &Tenant, repository: &Repository) -> Outcome<String> {
    let agent = json!({
        "cli": "codex", "model": MODEL, "max_turns": 6, "budget_usd": 0.5,
        "prompt": format!("The test of {} fails. Mend the mistake, and say what it was.", repository.file),
    });
    let full = json!({
        "pool": PULL, "mode": "full", "command": [], "agent": agent, "files": repository.files(),
        "artifacts": [PATCH, NOTES],
    });
    tenant.enqueue("mend", MODELS, &[step("mend", &full)]).await
}

fn inside(agents: &[Agent<'_>]) -> Outcome<String> {
    for agent in agents {
        let pid = agent.process()?;
        for other in agents {
            let key = other.tenant.key_of_model()?;
            ensure_eq!(
                sealed::holds(pid, key)?,
                std::ptr::eq(agent.tenant, other.tenant),
                "process {pid} of `{}` has the key of `{}`",
                agent.tenant.id(),
                other.tenant.id()
            );
        }
    }
    Ok(format!("{} processes of Codex", agents.len()))
}

fn asked(agents: &[Agent<'_>]) -> Outcome<String> {
    let mut told = Vec::new();
    for agent in agents {
        let all = agent.model.requests().len();
        let own = agent
            .model
            .requests_with(agent.tenant.key_of_model()?.value());
        ensure!(own > 0 && own == all, "{own} of {all} requests had the key");
        told.push(format!("`{}` {all} times", agent.tenant.id()));
    }
    Ok(told.join(", "))
}

impl Agent<'_> {
    async fn until_it_asks(&self) -> Outcome {
        let asked = eventually("the agent to ask its model", LONG, async || {
            Ok((!self.model.requests().is_empty()).then_some(()))
        });
        let asked = asked.await;
        asked.map_err(|failure| Failure::new(format!("{failure}\n{}", self.tenant.worker.log())))
    }

    /// Codex in the sandbox of this tenant's worker.
    fn process(&self) -> Outcome<u32> {
        let below = processes::below(self.tenant.worker.pid).into_iter();
        let mut codex = below.filter(|process| process.name == "codex");
        let found = codex.next().map(|process| process.pid);
        found.ok_or_else(|| Failure::new(format!("no Codex runs for `{}`", self.tenant.id())))
    }

    /// What came of it, as the tenant reads it.
    async fn mended(&self) -> Outcome<String> {
        let project = &self.tenant.project;
        let ended = project.finished(&self.run, LONG).await?;
        let shown = project.step(&self.run, "mend").await?;
        let claimed = Claimed {
            run: self.run.clone(),
            step: "mend".to_owned(),
            fence: shown.fence.number(),
        };
        let output = self.tenant.worker.output(&claimed);
        ensure_eq!(ended.state, RunState::Succeeded, "the run\n{output}");
        ensure!(
            output.contains(self.repository.said),
            "no answer:\n{output}"
        );
        ensure!(
            output.contains(&format!("the key is <redacted:{KEY}>")),
            "the agent has not printed its key, redacted:\n{output}"
        );
        let client = project.member.client();
        let (run, step) = (self.run.parse()?, "mend".parse()?);
        let result = client
            .get_result(run, &step)
            .await?
            .result
            .unwrap_or_default();
        ensure_eq!(
            result["message"],
            self.repository.said,
            "the result: {result}"
        );
        let left = json!(client.get_artifacts(run, &step, None).await?);
        let artifact = |name: &str| {
            let items = left["items"].as_array().into_iter().flatten();
            let found = items.clone().find(|item| item["name"] == name);
            found.cloned().unwrap_or_default()
        };
        ensure_eq!(
            (
                artifact(NOTES)["withheld"].clone(),
                artifact(NOTES)["url"].clone()
            ),
            (json!(true), Value::Null),
            "a file with the key in it: {left}"
        );
        let patch = artifact(PATCH);
        let patch = reqwest::get(patch["url"].as_str().unwrap_or_default()).await?;
        let patch = patch.text().await?;
        ensure!(patch.lines().count() > 5, "no patch: {patch}");
        let shown = json!(shown);
        let used =
            json!({ "input_tokens": 7600, "cached_input_tokens": 4600, "output_tokens": 230 });
        ensure_eq!(shown["usage"], used, "the usage");
        let changed: Vec<&str> = patch
            .lines()
            .filter(|line| line.starts_with(['-', '+']))
            .collect();
        Ok(format!(
            "{}\n{}\n{} turns, {} tokens in and {} out, ${}; its key in the output is <redacted:{KEY}>, and a file with it is withheld",
            changed.join("\n"),
            self.repository.said,
            shown["turns"],
            used["input_tokens"],
            used["output_tokens"],
            shown["cost_usd"],
        ))
    }
}

impl Tenant {
    /// Stores a new key in the tenant's own store, and lets a profile give it to Codex alone.
    async fn have_key_of_model(&mut self, profile: &str, variable: &str, url: &str) -> Outcome {
        let key = Canary::new();
        let stored = self.store.put("models/openai", key.value()).await?;
        let content = merged(
            secrets(&[(variable, &stored.pinned())]),
            &json!({
                "env": { "OPENAI_BASE_URL": format!("{url}/v1") },
                "tools": { "codex": [variable] },
            }),
        );
        self.project.admin.create_profile(profile, &content).await?;
        self.model = Some(key);
        Ok(())
    }

    fn key_of_model(&self) -> Outcome<&Canary> {
        let key = self.model.as_ref();
        key.ok_or_else(|| Failure::new("there is no key to the model yet"))
    }
}
