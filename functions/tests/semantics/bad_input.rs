//! Bad input: each is refused with a 4xx that names the field and the remedy, and changes nothing.

use sealfleet_domain::limits;
use serde_json::{Value, json};

use super::{merged, run_of, step, text};
use crate::world::{Sent, Who, World};

/// Under each caller and operation: the field that the answer must name, and a body that is wrong
/// there. `&` merges the body into one that is right; `@` into the right body's only step; `x*9` in
/// a string stands for nine times `x`, and in a list for nine of it.
const BODIES: &str = r#"
# member POST /v1/runs {"workflow":"w","steps":[{"id":"only","pool":"workers","mode":"sandboxed","command":["true"]}]}
workflow                            {"steps":[{"id":"only","pool":"workers","mode":"sandboxed","command":["true"]}]}
steps                               {"workflow":"w"}
steps                               &{"steps":[]}
steps                               &{"steps":"do-not-repeat"}
workflow                            &{"workflow":"Tests!"}
priority                            &{"priority":1}
secrets                             &{"secrets":{"API_KEY":"do-not-repeat"}}
overrides                           &{"overrides":{"env":{"A":"do-not-repeat"}}}
steps[0].id                         @{"id":"Only"}
steps.only.needs                    @{"needs":["b"]}
steps[0].comand                     @{"comand":["true"]}
steps[0].value                      @{"value":"do-not-repeat"}
steps[0].pool                       @{"pool":"no--pool"}
steps[0].pool                       @{"pool":"absent"}
steps[0].mode                       @{"mode":"full_jit"}
profile                             @{"mode":"full"}
steps[0].mode                       @{"agent":{"cli":"codex","prompt":"do it"}}
steps[0].agent.cli                  @{"agent":{"cli":"no-cli","prompt":"do it"}}
steps[0].agent.promt                @{"agent":{"cli":"codex","promt":"do it"}}
steps[0].mode                       @{"mode":"do-not-repeat"}
steps[0].mode                       @{"pool":"fargate","mode":"bare"}
profile                             @{"mode":"identity"}
steps[0].command                    @{"command":[]}
steps[0].command                    @{"command":"true"}
steps[0].command                    @{"command":["x","*65"]}
steps[0].command                    @{"command":["x*9000"]}
steps[0].command[0]                 @{"command":["tr\u0000ue"]}
steps[0].command[0]                 @{"command":["tr\u001b[2Jue"]}
steps[0].model                      @{"model":"m\nn"}
steps[0].model                      @{"model":"\u202em"}
steps[0].env.A                      @{"env":{"A":"a\u0007"}}
steps[0].requires                   @{"requires":{"sealfleet:pool":"x"}}
steps[0].requires                   @{"requires":{"region":""}}
steps[0].model                      @{"model":""}
steps[0].model                      @{"model":"m*129"}
steps[0].env.1A                     @{"env":{"1A":"v"}}
steps[0].env.AWS_CONTAINER_CREDENTIALS_FULL_URI @{"env":{"AWS_CONTAINER_CREDENTIALS_FULL_URI":"do-not-repeat"}}
steps[0].env.LD_PRELOAD             @{"env":{"LD_PRELOAD":"do-not-repeat"}}
steps[0].env.A                      @{"env":{"A":"v*1025"}}
steps[0].files./etc/passwd          @{"files":{"/etc/passwd":{"text":"do-not-repeat"}}}
steps[0].files.a/../../b            @{"files":{"a/../../b":{"text":"do-not-repeat"}}}
steps[0].files..sealfleet/result.json @{"files":{".sealfleet/result.json":{"text":"do-not-repeat"}}}
steps[0].files                      @{"files":{"a":{"text":"do-not-repeat"},"a/b":{"text":""}}}
steps[0].files.a                    @{"files":{"a":"do-not-repeat"}}
steps[0].files.a.texts              @{"files":{"a":{"texts":"do-not-repeat"}}}
steps                               @{"files":{"a":{"text":"v*32768"}}}
steps                               @{"stdin":{"text":"v*32769"}}
steps[0].stdin                      @{"stdin":"do-not-repeat"}
steps[0].tty                        @{"tty":"do-not-repeat"}
steps[0].tty                        @{"tty":true,"mode":"bare"}
steps[0].tty                        @{"tty":true,"stdin":{"text":"x"}}
steps[0].timeout_seconds            @{"timeout_seconds":0}
steps[0].timeout_seconds            @{"timeout_seconds":43201}
steps[0].timeout_seconds            @{"timeout_seconds":-1}
steps[0].timeout_seconds            @{"timeout_seconds":1.5}
steps[0].max_attempts               @{"max_attempts":0}
steps[0].max_attempts               @{"max_attempts":11}
steps[0].ttl_seconds                @{"ttl_seconds":0}
steps[0].ttl_seconds                @{"ttl_seconds":1209601}
steps[0].tool                       @{"tool":"No!"}
steps[0].on_drift                   @{"on_drift":"do-not-repeat"}

# member POST /v1/runs {"workflow":"w","profile":"absent","steps":[{"id":"only","pool":"workers","mode":"identity","command":["true"]}]}
steps[0].agent                      @{"mode":"full"}
steps[0].command                    @{"mode":"full","agent":{"cli":"codex","prompt":"do it"}}
steps[0].stdin                      @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"p"},"stdin":{"text":"x"}}
steps[0].tty                        @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"p"},"tty":true}
steps[0].agent.prompt               @{"mode":"full","command":[],"agent":{"cli":"codex"}}
steps[0].agent.prompt               @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","prompt_file":"b"}}
steps                               @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"x*32769"}}
steps[0].agent.prompt_file          @{"mode":"full","command":[],"agent":{"cli":"codex","prompt_file":"../b"}}
steps[0].agent.model                @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","model":"-c"}}
steps[0].agent.max_turns            @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","max_turns":0}}
steps[0].agent.budget_usd           @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","budget_usd":1}}
steps[0].agent.budget_usd           @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","model":"own","budget_usd":1}}
steps[0].agent.budget_usd           @{"mode":"full","command":[],"agent":{"cli":"codex","prompt":"a","budget_usd":-1}}
steps[0].agent.args                 @{"mode":"full","command":[],"agent":{"cli":"custom","prompt":"a"}}
overrides.env.LD_PRELOAD            &{"overrides":{"env":{"LD_PRELOAD":"do-not-repeat"}}}
overrides.env.A                     &{"overrides":{"env":{"A":"v*1025"}}}
overrides.remove.A                  &{"overrides":{"env":{"A":"do-not-repeat"},"remove":["A"]}}
overrides.remove.not a key          &{"overrides":{"remove":["not a key"]}}
overrides.secrets                   &{"overrides":{"secrets":{"A":"do-not-repeat"}}}

# admin POST /v1/cascade/resolve {"workflow":"w"}
workflow                            {}
workflow                            {"workflow":"No!"}
profile                             &{"profile":"No!"}
tool                                &{"tool":"No!"}
secrets                             &{"secrets":{"A":"do-not-repeat"}}
overrides.env.LD_PRELOAD            &{"overrides":{"env":{"LD_PRELOAD":"do-not-repeat"}}}
overrides.env.A                     &{"overrides":{"env":{"A":"v*1025"}}}
overrides.remove.A                  &{"overrides":{"env":{"A":"do-not-repeat"},"remove":["A"]}}
overrides.remove.not a key          &{"overrides":{"remove":["not a key"]}}
overrides.secrets                   &{"overrides":{"secrets":{"A":"do-not-repeat"}}}

# admin POST /v1/profiles {"name":"bad"}
name                                {}
name                                {"name":"Bad"}
name                                {"name":"b*49"}
name                                {"name":"system/bad"}
values                              &{"values":{"API_KEY":"do-not-repeat"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"do-not-repeat"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"ftp://do-not-repeat"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"aws-sm://no-key"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"aws-sm://sealfleet/somebody-else/crm#key"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"aws-sm://sealfleet/system/crm#key"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"builtin://../up"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"builtin://not-pinned"}}
secrets.API_KEY                     &{"secrets":{"API_KEY":"builtin://system/not-ours@1"}}
secrets.LD_AUDIT                    &{"secrets":{"LD_AUDIT":"builtin://x@1"}}
secrets.A                           &{"env":{"A":"1"},"secrets":{"A":"builtin://x@1"}}
remove.A                            &{"env":{"A":"1"},"remove":["A"]}
tools.claude.not a key              &{"tools":{"claude":["not a key"]}}
env.SEALFLEET_RUN                   &{"env":{"SEALFLEET_RUN":"x"}}
egress                              &{"egress":"all"}
egress                              &{"egress":{"allow":[]}}
egress.allow[0].host                &{"egress":{"allow":[{"host":"https://a.example"}]}}
egress.allow[0].host                &{"egress":{"allow":[{"host":"0x7f.1"}]}}
egress                              &{"egress":{"allow":[{"host":"a.example","port":0}]}}
egress.allow[0].methods[0]          &{"egress":{"allow":[{"host":"a.example","methods":["get"]}]}}
egress.allow[0].methods             &{"egress":{"allow":[{"host":"a.example","methods":[]}]}}
egress.allow[0].paths[0]            &{"egress":{"allow":[{"host":"a.example","paths":["/a/../b"]}]}}
egress.allow[0].queries             &{"egress":{"allow":[{"host":"a.example","queries":["a"]}]}}
delivery.API_KEY                    &{"delivery":{"API_KEY":"file"}}
delivery.API_KEY                    &{"secrets":{"API_KEY":"builtin://x@1"},"delivery":{"API_KEY":"header"}}
delivery.API_KEY                    &{"secrets":{"API_KEY":"builtin://x@1"},"delivery":{"API_KEY":{"egress":{"to":[]}}}}
delivery.API_KEY.egress.to[0].host  &{"secrets":{"API_KEY":"builtin://x@1"},"delivery":{"API_KEY":{"egress":{"to":[{"host":"https://a.example"}]}}}}
delivery.A                          &{"env":{"A":"1"},"delivery":{"A":{"egress":{"to":[{"host":"a.example"}]}}}}
delivery.LD_AUDIT                   &{"delivery":{"LD_AUDIT":"file"}}
allowed_workflows[0]                &{"allowed_workflows":["No!"]}

# operator POST /v1/profiles {"name":"bad"}
secrets.API_KEY                     &{"secrets":{"API_KEY":"builtin://not-the-systems@1"}}

# admin POST /v1/revocations {"keys":[{"profile":"absent","key":"API_KEY"}],"reason":"a test"}
# admin POST /v1/revocations:preview {"keys":[{"profile":"absent","key":"API_KEY"}],"reason":"a test"}
keys                                {}
keys                                &{"keys":[]}
keys                                &{"keys":[{"profile":"absent","key":"K"},"*41"]}
keys                                &{"keys":[{"profile":"absent","key":"K"},"*2"]}
keys[0].profile                     &{"keys":[{"profile":"No!","key":"A"}]}
keys[0].key                         &{"keys":[{"profile":"absent"}]}
keys[0].value                       &{"keys":[{"profile":"absent","key":"A","value":"do-not-repeat"}]}
hard                                &{"hard":"do-not-repeat"}
until                               &{"until":"tomorrow"}

# admin POST /v1/revocations {"keys":[{"profile":"absent","key":"API_KEY"}],"reason":"a test"}
reason                              {"keys":[{"profile":"absent","key":"API_KEY"}]}
reason                              &{"reason":""}
reason                              &{"reason":"  "}
reason                              &{"reason":"r*257"}
reason                              &{"reason":"two\nlines"}
reason                              &{"reason":"\u009b31m"}
keys[0].key                         &{"keys":[{"profile":"absent","key":"K\u001b[2J"}]}

# admin POST /v1/enrolment-keys {"pool":"workers"}
pool                                {}
pool                                {"pool":"absent"}
max_uses                            &{"max_uses":0}
expires_in_seconds                  &{"expires_in_seconds":0}
expires_in_seconds                  &{"expires_in_seconds":7862400}
labels                              &{"labels":{"sealfleet:x":"y"}}
models                              &{"models":["m","*33"]}
uses                                &{"uses":7}

# admin POST /v1/tokens {"role":"viewer"}
role                                {}
role                                {"role":"root"}
role                                {"role":"operator"}
expires_in_seconds                  &{"expires_in_seconds":0}
expires_in_seconds                  &{"expires_in_seconds":31622401}
note                                &{"note":"n*65"}
note                                &{"note":"\u001b]0;title\u0007"}
note                                &{"note":"two\nlines"}

# nobody POST /v1/workers/register {"project":"healthcare","name":"bad","pool":"workers","modes":["bare"]}
project                             &{"project":"Bad"}
name                                &{"name":""}
name                                &{"name":"n*65"}
modes                               &{"modes":[]}
modes[0]                            &{"modes":["full_jit"]}
max_concurrent                      &{"max_concurrent":0}
max_concurrent                      &{"max_concurrent":1001}
labels                              &{"labels":{"Sealfleet:x":"y"}}
models                              &{"models":[""]}
models[0]                           &{"models":["\u001b[2J"]}
models[1]                           &{"models":["m","two\nlines"]}
name                                &{"name":"\u2066n"}
name                                &{"name":"a\tb"}
labels                              &{"labels":{"a\u001b":"b"}}
status                              &{"status":"approved"}
secret                              &{"secret":"do-not-repeat"}

# operator POST /v1/projects {"project":"bad-one","pools":{"main":{"kind":"pull"}}}
project                             {"pools":{"main":{"kind":"pull"}}}
project                             &{"project":"bad--one"}
project                             &{"project":"~system"}
pools                               {"project":"bad-one"}
pools                               &{"pools":{}}
pools.main.image                    &{"pools":{"main":{"kind":"fargate","image":"sandbox:latest"}}}
pools.main.image                    &{"pools":{"main":{"kind":"fargate","image":"s\u202e@sha256:0*64"}}}
pools.main.image                    &{"pools":{"main":{"kind":"fargate","image":"s t@sha256:0*64"}}}
pools.main.max_concurrent           &{"pools":{"main":{"kind":"fargate","image":"s@sha256:0*64","max_concurrent":0}}}
pools.main.labels                   &{"pools":{"main":{"kind":"fargate","image":"s@sha256:0*64","labels":{"sealfleet:x":"y"}}}}

# worker POST /v1/claims {"run_id":"run_0198c0de-0000-7000-8000-00000000000a","step_id":"only"}
run_id                              {"step_id":"only"}
run_id                              &{"run_id":"run_x"}
step_id                             &{"step_id":"No!"}
project                             &{"project":"bad"}

# worker POST /v1/heartbeats {"leases":[]}
leases[0].fence                     {"leases":[{"run_id":"run_0198c0de-0000-7000-8000-00000000000a","step_id":"only"}]}
leases                              {"leases":{}}
leases                              {"leases":[{"run_id":"run_0198c0de-0000-7000-8000-00000000000a","step_id":"only","fence":1},"*2"]}

# worker POST /v1/starts {"run_id":"run_0198c0de-0000-7000-8000-00000000000a","step_id":"only","fence":1}
sandbox                             &{"sandbox":1}
sandbox                             &{"sandbox":"s\u001b"}
resolved                            &{"sandbox":"s","resolved":{"K":"two\nlines"}}
resolved.K                          &{"sandbox":"s","resolved":{"K":"\u001b"}}
store_request_ids                   &{"sandbox":"s","store_request_ids":{"K":"two\nlines"}}

# worker POST /v1/reports {"run_id":"run_0198c0de-0000-7000-8000-00000000000a","step_id":"only","fence":1}
state                               &{}
state                               &{"state":"done"}
failure                             &{"state":"failed"}
failure                             &{"state":"succeeded","failure":{"kind":"exit","code":1}}
failure.detail                      &{"state":"failed","failure":{"kind":"cannot_start","detail":"two\nlines"}}
failure.detail                      &{"state":"failed","failure":{"kind":"cannot_start","detail":"\u001b[2J"}}
failure.kind                        &{"state":"failed","failure":{"kind":"do-not-repeat"}}
fence                               &{"state":"succeeded","fence":-1}
output                              &{"state":"succeeded","output":"do-not-repeat"}
"#;

/// The repetitions that a body abbreviates.
fn spelled_out(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let Some((text, times)) = text.rsplit_once('*') else {
                return json!(text);
            };
            let last = text
                .chars()
                .next_back()
                .map(String::from)
                .unwrap_or_default();
            json!(format!(
                "{text}{}",
                last.repeat(times.parse::<usize>().unwrap() - 1)
            ))
        }
        Value::Array(items) => match items.as_slice() {
            [item, Value::String(times)] if times.starts_with('*') => {
                json!(vec![item; times.trim_start_matches('*').parse().unwrap()])
            }
            _ => items.into_iter().map(spelled_out).collect(),
        },
        Value::Object(members) => {
            let members = members.into_iter();
            members
                .map(|(name, value)| (name, spelled_out(value)))
                .collect()
        }
        other => other,
    }
}

async fn names_its_field(world: &World, by: &str, what: &str, body: &Value, field: &str) {
    let problem = world
        .refused(by, what, body.clone(), (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], field, "{what} {body}: {problem}");
    let detail = text(&problem, "detail");
    assert!(detail.len() > 10, "it does not say what to do: {detail}");
    let repeats = problem.to_string().contains("do-not-repeat");
    assert!(!repeats, "{what}: it repeats the input: {problem}");
}

#[tokio::test]
async fn bodies_that_are_wrong_name_their_field() {
    let world = World::new().await;
    let before = world.seen().entries;
    let who = |name: &str| match name {
        "operator" => Who::Operator,
        "admin" => Who::Admin,
        "member" => Who::Member,
        "worker" => Who::Approved,
        _ => Who::Nobody,
    };
    let (mut operations, mut under): (Vec<(Who, String, Value)>, bool) = (Vec::new(), false);
    let mut refused = 0;
    for line in BODIES.lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("# ") {
            if under {
                operations.clear();
            }
            under = false;
            let parts: Vec<&str> = heading.splitn(4, ' ').collect();
            let right = serde_json::from_str(parts[3]).unwrap();
            let what = format!("{} {}", parts[1], parts[2]);
            operations.push((who(parts[0]), what, right));
            continue;
        }
        under = true;
        let at = line
            .find(" {")
            .or_else(|| line.find(" &"))
            .or_else(|| line.find(" @"));
        let (field, body) = line.split_at(at.unwrap());
        let (field, body) = (field.trim(), body.trim());
        let more = body.trim_start_matches(['&', '@']);
        let more = spelled_out(serde_json::from_str(more).unwrap());
        for (by, what, right) in &operations {
            let mut wrong = match body.chars().next() {
                Some('&') => merged(right, &more),
                Some('@') => right.clone(),
                _ => more.clone(),
            };
            if body.starts_with('@') {
                wrong["steps"][0] = merged(&right["steps"][0], &more);
            }
            names_its_field(&world, world.credential(*by), what, &wrong, field).await;
            refused += 1;
        }
    }
    assert!(refused > 140, "only {refused} bodies");

    let member = world.credential(Who::Member);
    let many: Vec<Value> = (0..=limits::STEPS)
        .map(|n| step(&format!("s{n}"), &json!({})))
        .collect();
    let env: serde_json::Map<_, _> = (0..51).map(|n| (format!("K{n}"), json!("v"))).collect();
    let circle = [
        step("a", &json!({ "needs": ["b"] })),
        step("b", &json!({ "needs": ["a"] })),
    ];
    for (body, field) in [
        (run_of(&many), "steps"),
        (run_of(&[many[0].clone(), many[0].clone()]), "steps[1].id"),
        (run_of(&circle), "steps.a.needs"),
        (
            run_of(&[step("only", &json!({ "env": env }))]),
            "steps[0].env",
        ),
    ] {
        names_its_field(&world, member, "POST /v1/runs", &body, field).await;
    }
    assert_eq!(world.seen().entries, before, "entries in the trail");
}

#[tokio::test]
async fn bodies_that_are_no_request() {
    let world = World::new().await;
    let before = world.seen().entries;
    let good = run_of(&[step("only", &json!({}))]).to_string();
    let send = async |body: &str, key: Option<&str>| {
        let mut request = Sent {
            credential: world.credential(Who::Member).to_owned(),
            body: Some(body.to_owned()),
            ..Sent::default()
        };
        request
            .headers
            .extend(key.map(|key| ("idempotency-key", key.to_owned())));
        world.send("POST", "/v1/runs", request).await
    };
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let twice = good.replacen('{', r#"{"workflow":"other","#, 1);
    for body in [
        "",
        "[]",
        "7",
        &good[..good.len() / 2],
        &format!("{good}{good}"),
        "\u{0}{",
        "workflow=tests",
        &deep,
        &twice,
    ] {
        let (status, problem) = send(body, None).await;
        assert_eq!(status, 400, "{:.60}: {problem}", body);
        assert!(problem["code"].is_string(), "{problem}");
    }
    let huge = json!({ "workflow": "w".repeat(70 * 1024) }).to_string();
    let (status, problem) = send(&huge, None).await;
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    for key in [
        "",
        &"k".repeat(129),
        "not all\tprintable",
        "caf\u{e9}",
        "\u{202e}",
    ] {
        assert_eq!(
            send(&good, Some(key)).await.0,
            400,
            "the idempotency key `{key}`"
        );
    }
    assert_eq!(world.seen().entries, before, "entries in the trail");
}

#[tokio::test]
async fn queries_and_paths_that_are_wrong() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    for (query, field) in [
        ("/v1/runs?limit=0", "limit"),
        ("/v1/runs?limit=101", "limit"),
        ("/v1/runs?limit=x", "limit"),
        ("/v1/runs?cursor=x", "cursor"),
        ("/v1/runs?project=other", "project"),
        ("/v1/audit?from=yesterday", "from"),
        ("/v1/audit?run_id=x", "run_id"),
        ("/v1/audit?color=red", "color"),
        ("/v1/audit?key=crm/API_KEY", "key"),
        ("/v1/audit?actor=tok_x", "actor"),
        ("/v1/audit?actor=ada", "actor"),
        ("/v1/audit?actor=user:ada", "actor"),
        ("/v1/audit?key=K\u{1b}", "key"),
        ("/v1/profiles?x=y", "x"),
        ("/v1/profiles/p/versions?limit=0", "limit"),
        ("/v1/profiles/p/versions?state=active", "state"),
        ("/v1/revocations?state=gone", "state"),
        ("/v1/revocations?limit=101", "limit"),
        ("/v1/revocations?cursor=x", "cursor"),
        ("/v1/revocations?profile=p", "profile"),
    ] {
        let what = format!("GET {query}");
        let problem = world
            .refused(admin, &what, Value::Null, (400, "invalid_request"))
            .await;
        assert_eq!(problem["field"], field, "{query}");
    }
    for path in [
        "/v1/runs/x",
        "/v1/runs/run_x",
        "/v1/workers/run_0198c0de-0000-7000-8000-00000000000a",
        "/v1/profiles/No!",
        "/v1/revocations/x",
        "/v1/revocations/fan_0198c0de-0000-7000-8000-00000000000a",
        "/v1/fan-outs/rev_0198c0de-0000-7000-8000-00000000000a",
    ] {
        let what = format!("GET {path}");
        world
            .refused(admin, &what, Value::Null, (404, "not_found"))
            .await;
    }
}
