//! A branch and its pull request, by the script of `examples/pull-request` and a stand-in of
//! GitHub that runs git's own server.

use std::path::Path;
use std::process::Stdio;

use sealfleet_domain::run::Outcome;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::host::{Host as _, Step};
use crate::setup;
use crate::worker::Worker;

const TOKEN: &str = "token-of-the-tenant-canary-0123456789";
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

struct GitHub {
    place: tempfile::TempDir,
    port: u16,
    _server: Child,
}

impl GitHub {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut server = Command::new("python3")
            .arg(Path::new(REPOSITORY).join("conformance/github.py"))
            .arg(place.path())
            .arg(TOKEN)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().unwrap().parse().unwrap();
        Self {
            place,
            port,
            _server: server,
        }
    }

    /// Its pull requests.
    fn pulls(&self) -> Vec<Value> {
        let pulls = std::fs::read_to_string(self.place.path().join("pulls")).unwrap_or_default();
        let pulls = pulls.lines().map(serde_json::from_str);
        pulls.collect::<Result<_, _>>().unwrap()
    }

    /// What a file of a branch holds.
    fn file(&self, branch: &str, file: &str) -> String {
        let repository = self.place.path().join("shop.git");
        let mut show = std::process::Command::new("git");
        show.arg("-C").arg(repository);
        setup::said(show.args(["show", &format!("{branch}:{file}")]))
    }
}

pub async fn a_branch_becomes_a_pull_request(worker: &Worker) {
    let github = GitHub::start().await;
    let url = format!("http://127.0.0.1:{}", github.port);
    let script = Path::new(REPOSITORY).join("../examples/pull-request/pull_request.py");
    let work = "set -e
        python3 pull_request.py fetch
        mv repository of-fetch
        git clone --quiet -b main repository.bundle work && cd work
        git checkout --quiet -b mend && echo mended >note.txt
        mkdir hooks && printf '#!/bin/sh\\ntouch /workspace/HOOKED\\n' >hooks/pre-push && chmod +x hooks/pre-push
        git -c user.name=agent -c user.email=agent@shop.example commit --quiet -am Mend
        git bundle create --quiet ../mend.bundle main..mend && cd ..
        git config --global core.hooksPath \"$PWD/work/hooks\"
        python3 pull_request.py publish mend.bundle
        [ ! -e HOOKED ] && ! grep -r \"$GITHUB_TOKEN\" . && echo clean";
    let mut step = Step::of(&["/bin/bash", "-c", work]);
    step.mode = "identity";
    step.tool = Some("git");
    step.secrets = vec![("GITHUB_TOKEN", TOKEN.to_owned())];
    step.tools = Some(json!({ "git": ["GITHUB_TOKEN"] }));
    step.files = json!({ "pull_request.py": { "text": std::fs::read_to_string(script).unwrap() } });
    step.env = json!({
        "REPOSITORY": "my-company/shop", "BASE": "main", "BRANCH": "sealfleet/mend",
        "TITLE": "Mend the note", "GITHUB_URL": url, "GITHUB_API_URL": url,
        // The stand-in is on this host, which a step reaches by its proxy only.
        "NO_PROXY": "", "no_proxy": "",
    });
    step.egress = Some(json!({ "allow": [{ "host": "127.0.0.1", "port": github.port }] }));
    let host = worker.with_agents().await;
    let end = host.start(step.clone()).await.end().await;
    let text = end.text();
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
    assert!(text.contains("clean"), "{text}");
    assert_eq!(end.result.unwrap()["number"], 7, "{text}");
    assert_eq!(
        github.pulls(),
        [json!({ "title": "Mend the note", "head": "sealfleet/mend", "base": "main" })]
    );
    assert_eq!(github.file("sealfleet/mend", "note.txt"), "mended\n");
    assert_eq!(github.file("main", "note.txt"), "broken\n");

    // The step of another tool has no token, and so reaches nothing.
    step.tool = Some("codex");
    let end = host.start(step).await.end().await;
    assert!(
        matches!(end.outcome, Some(Outcome::Failed { .. })),
        "{}",
        end.text()
    );
    assert_eq!(github.pulls().len(), 1);
}
