use serde_json::{Value, json};

use super::*;

async fn ask(model: &Model, path: &str, key: (&str, &str), body: &Value) -> (u16, String) {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let request = client
        .build()
        .unwrap()
        .post(format!("{}{path}", model.url()));
    // A connection may break before its answer begins.
    let Ok(answer) = request.header(key.0, key.1).json(body).send().await else {
        return (200, "broken".to_owned());
    };
    let status = answer.status().as_u16();
    (
        status,
        answer.text().await.unwrap_or_else(|_| "broken".to_owned()),
    )
}

#[tokio::test]
async fn the_turn_follows_from_the_conversation() {
    let turns = [Turn::shell("touch a").costs(10, 4, 2), Turn::say("done")];
    let model = Model::start(Scripts::all(turns)).await.unwrap();
    let tools = json!([{ "name": "Bash" }]);
    let first = json!({ "model": "m", "tools": tools, "messages": [] });
    let key = ("x-api-key", "one");
    let (_, answer) = ask(&model, "/v1/messages", key, &first).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["content"][0]["input"]["command"], "touch a");
    assert_eq!(answer["usage"]["input_tokens"], 6);
    assert_eq!(answer["usage"]["cache_read_input_tokens"], 4);
    let second = json!({
        "model": "m", "tools": tools, "stream": true,
        "messages": [{ "role": "assistant", "content": answer["content"] }],
    });
    for _ in 0..2 {
        let (_, answer) = ask(&model, "/v1/messages", key, &second).await;
        assert!(
            answer.contains("text_delta") && answer.contains("done"),
            "{answer}"
        );
    }
    let turns: Vec<_> = model.requests().iter().map(|seen| seen.turn).collect();
    assert_eq!(turns, [Some(0), Some(1), Some(1)]);
    let aside = json!({ "model": "m", "messages": [] });
    ask(&model, "/v1/messages", key, &aside).await;
    assert_eq!(model.requests()[3].turn, None);
}

#[tokio::test]
async fn a_script_is_chosen_by_the_model_and_each_api_has_its_errors() {
    let faults = [
        Fault::RateLimit,
        Fault::Auth,
        Fault::Context,
        Fault::Server,
        Fault::Drop,
    ];
    let scripts = faults
        .into_iter()
        .enumerate()
        .fold(Scripts::all([Turn::say("fine")]), |scripts, (at, fault)| {
            scripts.and(&format!("m{at}"), [Turn::fail(fault)])
        });
    let model = Model::start(scripts).await.unwrap();
    let key = ("authorization", "Bearer two");
    let tools = json!([{ "name": "exec_command" }]);
    let functions = json!([{ "functionDeclarations": [{ "name": "run_shell_command" }] }]);
    let expected = [
        ("messages", [429, 401, 400, 500, 200]),
        ("responses", [429, 401, 400, 500, 200]),
        ("gemini", [429, 400, 400, 500, 200]),
    ];
    for (api, statuses) in expected {
        for (at, status) in statuses.into_iter().enumerate() {
            let (path, body) = if api == "gemini" {
                let path = format!("/v1beta/models/m{at}:generateContent");
                (path, json!({ "contents": [], "tools": functions }))
            } else {
                let body = json!({ "model": format!("m{at}"), "tools": tools });
                (format!("/v1/{api}"), body)
            };
            let (got, answer) = ask(&model, &path, key, &body).await;
            assert_eq!(
                (got, answer == "broken"),
                (status, status == 200),
                "{api} {at} {answer}"
            );
        }
    }
    let fine = json!({ "model": "other", "tools": tools, "input": [] });
    let (_, answer) = ask(&model, "/v1/responses", key, &fine).await;
    assert!(answer.contains("fine"), "{answer}");
}

#[tokio::test]
async fn keys_are_kept_as_digests() {
    let model = Model::start(Scripts::default()).await.unwrap();
    let body = json!({ "model": "m" });
    ask(&model, "/v1/messages", ("x-api-key", "alpha"), &body).await;
    ask(
        &model,
        "/v1/responses",
        ("authorization", "Bearer beta"),
        &body,
    )
    .await;
    ask(
        &model,
        "/v1beta/models/m:generateContent",
        ("x-goog-api-key", "alpha"),
        &json!({}),
    )
    .await;
    assert_eq!(
        (model.requests_with("alpha"), model.requests_with("beta")),
        (2, 1)
    );
    assert!(!format!("{model:?}").contains("alpha"));
}
