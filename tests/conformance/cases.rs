//! What holds wherever a step runs.

use std::time::{Duration, Instant};

use sealfleet_domain::run::{Failure, Outcome};
use sealfleet_local_model::{Model, Scripts, Turn};
use serde_json::{Value, json};

use crate::host::{End, Host, PROCESSES, SCRATCH, Started, Step};
use crate::worker::PATIENCE;
use crate::{mark, processes_with, until};

const VALUE: &str = "canary-of-the-conformance-suite-0123456789-abcdefghij";
const MIB: u64 = 1024 * 1024;

async fn end(host: &dyn Host, step: Step) -> End {
    host.start(step).await.end().await
}

/// How a script ends.
async fn outcome(host: &dyn Host, script: &str) -> Outcome {
    let end = end(host, Step::shell(script)).await;
    end.outcome.unwrap()
}

/// What a script prints; it must succeed.
async fn said(host: &dyn Host, script: &str) -> String {
    let end = end(host, Step::shell(script)).await;
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{}", end.text());
    end.text()
}

/// Says `ready`, and `asked` when it is asked to end.
pub const POLITE: &str = r#"exec perl -e '$| = 1; $SIG{TERM} = sub { print "asked\n"; exit 3 }; print "ready\n"; sleep 1 while 1'"#;

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure }
}

/// Waits until the step has printed `text`.
pub async fn printed(step: &dyn Started, text: &str) {
    let began = Instant::now();
    loop {
        let output = String::from_utf8_lossy(&step.output().await).into_owned();
        if output.contains(text) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "not `{text}`: {output}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A command that leaves its session and its parent, does not hear SIGTERM, and sleeps so long.
pub fn escape(seconds: &str) -> String {
    format!("(setsid sh -c \"trap '' TERM; sleep {seconds}; :\" &)")
}

pub async fn exit_codes_are_told_exactly(host: &dyn Host) {
    assert_eq!(outcome(host, "exit 0").await, Outcome::Succeeded);
    // Those by which shells speak of signals and of programs that cannot be run are no others.
    for code in [1, 42, 125, 126, 127, 137, 255] {
        let told = outcome(host, &format!("exit {code}")).await;
        assert_eq!(told, failed(Failure::Exit { code }));
    }
}

pub async fn signals_are_told(host: &dyn Host) {
    for signal in [9, 15, 11] {
        let told = outcome(host, &format!("kill -{signal} $$; sleep 60")).await;
        assert_eq!(told, failed(Failure::Signal { signal }));
    }
}

pub async fn what_cannot_be_executed_is_told(host: &dyn Host) {
    for (program, errno, detail) in [
        ("no-such-program", 2, "No such file or directory"),
        ("/etc/passwd", 13, "Permission denied"),
    ] {
        let told = end(host, Step::of(&[program])).await.outcome;
        let detail = detail.to_owned();
        assert_eq!(told, Some(failed(Failure::CannotExecute { errno, detail })));
    }
}

pub async fn a_missing_image_is_told(host: &dyn Host) {
    let host = host.without_image().await;
    match outcome(&*host, "exit 0").await {
        Outcome::Failed {
            failure: Failure::CannotStart { detail, .. },
        } => assert!(detail.len() > 20, "{detail}"),
        other => panic!("{other:?}"),
    }
}

pub async fn a_step_over_its_time_is_asked_and_then_killed(host: &dyn Host) {
    let timed_out = failed(Failure::TimedOut { after_seconds: 2 });
    let deaf = format!("{}; trap '' TERM; while :; do sleep 1; done", escape("61"));
    for (script, says) in [(POLITE, "ready\nasked\n"), (&deaf, "")] {
        let mut step = Step::shell(script);
        step.timeout_seconds = 2;
        let end = end(host, step).await;
        assert_eq!(end.outcome.as_ref(), Some(&timed_out), "{}", end.text());
        assert_eq!(end.text(), says);
    }
}

pub async fn memory_is_bounded(host: &dyn Host) {
    // More than memory; less than memory and files together, which the kernel counts as one.
    let memory = host.facts().memory;
    let hog = format!("perl -e '$x = \"a\" x {}; sleep 30'", memory + 32 * MIB);
    assert_eq!(outcome(host, &hog).await, failed(Failure::OutOfMemory));
    let fits = format!("perl -e '$x = \"a\" x {}; sleep 2'", memory / 4);
    assert_eq!(outcome(host, &fits).await, Outcome::Succeeded);
}

pub async fn memory_of_a_hidden_process_is_bounded(host: &dyn Host) {
    // A grandchild that is killed: nobody can turn that into a success.
    let memory = host.facts().memory;
    let hog = format!("perl -e '$x = \"a\" x {}; sleep 30'", 4 * memory);
    let hidden = format!("{hog} & wait; sleep 1; exit 0");
    assert_eq!(outcome(host, &hidden).await, failed(Failure::OutOfMemory));
}

pub async fn files_are_no_memory_and_a_full_disk_is_told(host: &dyn Host) {
    for place in ["/tmp", "/workspace", "$HOME"] {
        let fill = |mebibytes| format!("head -c {mebibytes}M /dev/zero >{place}/file");
        let fits = fill(SCRATCH / MIB - 2);
        assert_eq!(outcome(host, &fits).await, Outcome::Succeeded, "{place}");
        let end = end(host, Step::shell(&fill(SCRATCH / MIB + 8))).await;
        assert_eq!(end.outcome, Some(failed(Failure::Exit { code: 1 })));
        assert!(end.text().contains("No space left"), "{}", end.text());
    }
    let most = SCRATCH / MIB - 2;
    let both = format!(
        "head -c {most}M /dev/zero >/tmp/file && head -c {most}M /dev/zero >/workspace/file"
    );
    assert_eq!(outcome(host, &both).await, Outcome::Succeeded);
}

pub async fn processes_are_bounded_and_a_fork_bomb_ends(host: &dyn Host) {
    let count = format!(
        "perl -e '$n = 0; for (1..{}) {{ $p = fork; last unless defined $p; if (!$p) {{ sleep 20; exit }} $n++ }} print $n'",
        2 * PROCESSES
    );
    let started: u64 = said(host, &count).await.parse().unwrap();
    assert!(started < PROCESSES && started > PROCESSES / 2, "{started}");

    let mark = mark();
    let mut bomb = Step::of(&["perl", "-e", "while (1) { fork; $x++ }", &mark]);
    bomb.timeout_seconds = 3;
    let end = end(host, bomb).await;
    let timed_out = Failure::TimedOut { after_seconds: 3 };
    assert_eq!(end.outcome, Some(failed(timed_out)));
    assert_eq!(processes_with(&mark), 0);
}

pub async fn standard_input_is_the_step_s_own_or_empty(host: &dyn Host) {
    assert_eq!(said(host, "cat; echo over").await, "over\n");
    let mut step = Step::shell("cat; echo over");
    step.stdin = Some("one\ntwo\n");
    assert_eq!(end(host, step).await.text(), "one\ntwo\nover\n");
}

pub async fn a_terminal_is_one_stream(host: &dyn Host) {
    let mark = mark();
    let look = format!(
        "for stream in 0 1 2; do test -t $stream && echo $stream; done; stty size; echo $TERM; \
         cat; echo aside >&2; echo \"$API_KEY\" >/dev/tty; (setsid sleep {mark} &)"
    );
    let mut step = Step::shell(&look).with_secret(VALUE);
    step.tty = true;
    let end = end(host, step).await;
    let expected = "0\n1\n2\n24 80\ndumb\naside\n<redacted:API_KEY>\n";
    assert_eq!(end.text(), expected, "{:?}", end.outcome);
    assert_eq!(end.outcome, Some(Outcome::Succeeded));
    assert_eq!(processes_with(&mark), 0);
}

pub async fn files_lie_in_the_workspace(host: &dyn Host) {
    let mut step = Step::shell("pwd; cat src/a.txt; ./run; ls -A $HOME");
    step.files = json!({
        "src/a.txt": { "text": "one\n" }, "run": { "text": "#!/bin/sh\necho two\n" },
    });
    assert_eq!(end(host, step).await.text(), "/workspace\none\ntwo\n");
}

pub async fn much_output_is_cut_and_counted(host: &dyn Host) {
    let (much, most) = (host.facts().much, host.facts().kept);
    let script = format!("echo begin; head -c {much} /dev/zero | tr '\\0' x; echo; echo the end");
    let end = end(host, Step::shell(&script)).await;
    assert_eq!(end.outcome, Some(Outcome::Succeeded));
    assert!(end.output.starts_with(b"begin\nx"));
    assert!(end.output.ends_with(b"x\nthe end\n"));
    let kept = end.output.len() as u64;
    assert!(kept <= most + 200, "{kept}");
    let whole = much + 6 + 1 + 8;
    let mark = kept + end.cut_bytes - whole;
    // A line in a log tells of the cut, and a member of the API's answer.
    let of_a_log = (50..200).contains(&mark);
    assert!(of_a_log || mark == 0 && host.facts().is_text, "{mark}");
}

pub async fn output_is_kept_byte_by_byte(host: &dyn Host) {
    let script =
        r#"perl -e '$| = 1; print pack("C*", 0..255); sleep 1; print "\xff\xfe\xed\xa0\x80"'"#;
    let end = end(host, Step::shell(script)).await;
    let mut all: Vec<u8> = (0..=255).chain(*b"\xff\xfe\xed\xa0\x80").collect();
    if host.facts().is_text {
        all = String::from_utf8_lossy(&all).into_owned().into_bytes();
    }
    assert_eq!(end.output, all);
}

pub async fn a_command_that_is_deaf_is_killed(host: &dyn Host) {
    let mark = mark();
    let script = format!("trap '' TERM; echo ready; sleep {mark}");
    let step = host.start(Step::shell(&script)).await;
    printed(&*step, "ready").await;
    let began = Instant::now();
    step.cancel().await;
    step.end().await;
    assert_eq!(processes_with(&mark), 0);
    assert!(
        began.elapsed() > Duration::from_secs(3),
        "it had no grace: {:?}",
        began.elapsed()
    );
}

pub async fn a_cancelled_command_may_end_by_itself(host: &dyn Host) {
    let step = host.start(Step::shell(POLITE)).await;
    printed(&*step, "ready").await;
    step.cancel().await;
    assert_eq!(step.end().await.text(), "ready\nasked\n");
}

pub async fn a_revoked_step_is_killed(host: &dyn Host) {
    let mark = mark();
    let script = format!("{}; {POLITE}", escape(&mark));
    let step = Step::shell(&script).with_secret(VALUE);
    let step = host.start(step).await;
    printed(&*step, "ready").await;
    until("it escapes", || processes_with(&mark) > 0).await;
    step.revoke().await;
    let end = step.end().await;
    let said = end.text();
    assert_eq!((end.outcome, processes_with(&mark)), (None, 0));
    match host.facts().revokes_at_once {
        true => assert_eq!(said, "ready\n", "it had time to say something"),
        false => assert!(said.starts_with("ready\n"), "{said}"),
    }
}

/// 75. SIGTERM first, grace, then SIGKILL, as the cases above; nothing of a step outlives it.
pub async fn s75_nothing_outlives_a_step(host: &dyn Host) {
    let mark = mark();
    let escapes = escape(&mark);
    let script = format!("{escapes}; {escapes}; echo ready; sleep 5");
    let step = host.start(Step::shell(&script)).await;
    printed(&*step, "ready").await;
    until("it escapes", || processes_with(&mark) > 0).await;
    assert_eq!(step.end().await.outcome, Some(Outcome::Succeeded));
    assert_eq!(processes_with(&mark), 0);
}

pub async fn the_root_is_read_only_and_few_places_are_not(host: &dyn Host) {
    let writable = host.facts().writable;
    let look = format!(
        "find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o \
         \\( -type d -o -type f \\) -writable -print 2>/dev/null | sort; \
         for place in /dev/shm $HOME {}; do echo hello >$place/file && cat $place/file; done; \
         for place in / /dev /etc /home /opt /root /srv /usr /usr/bin /usr/local/bin /var /var/tmp /proc /sys; do \
         ( : >$place/file ) 2>/dev/null && echo \"wrote to $place\"; done; \
         printf '#!/bin/sh\\necho runs\\n' >run && chmod +x run && ./run",
        writable.join(" ")
    );
    let hello = "hello\n".repeat(writable.len() + 2);
    let expected = format!("{}\n{hello}runs\n", writable.join("\n"));
    assert_eq!(said(host, &look).await, expected);
}

pub async fn the_user_has_a_name_and_no_rights(host: &dyn Host) {
    let look = "id -u; id -g; id -G; id -un; hostname; echo $HOME; \
                sed -n 's/^\\(CapInh\\|CapPrm\\|CapEff\\|CapBnd\\|CapAmb\\|NoNewPrivs\\|Seccomp\\):\\t/\\1 /p' /proc/self/status; \
                ulimit -Hc; ulimit -Hn; find / -xdev -type f -perm /6000 2>/dev/null; true";
    assert_eq!(
        said(host, look).await,
        "65534\n65534\n65534\nnobody\nsandbox\n/workspace/home\n\
         CapInh 0000000000000000\nCapPrm 0000000000000000\nCapEff 0000000000000000\n\
         CapBnd 0000000000000000\nCapAmb 0000000000000000\nNoNewPrivs 1\nSeccomp 2\n0\n256\n"
    );
    // errno 1 is EPERM, 38 ENOSYS, 22 EINVAL.
    let attempt = |call: &str| {
        format!("perl -e '$! = 0; $r = syscall({call}); print $r < 0 ? $!+0 : \"done\"'")
    };
    for call in [
        format!("{}, 0, 0, 0, 0, 0", libc::SYS_mount),
        format!("{}, {}", libc::SYS_unshare, libc::CLONE_NEWUSER),
        format!("{}, 0, 0", libc::SYS_setns),
        format!("{}, 0, 0, 0", libc::SYS_bpf),
        format!("{}, 0, 0, 0, 0, 0", libc::SYS_keyctl),
        format!("{}, 0, 0, 0, 0", libc::SYS_kexec_load),
        format!("{}, 0, 0, 0", libc::SYS_init_module),
        format!("{}, 0, 0", libc::SYS_open_by_handle_at),
    ] {
        let said = said(host, &attempt(&call)).await;
        assert_eq!(said, "1", "system call {call}");
    }
    let works = attempt(&libc::SYS_getuid.to_string());
    assert_eq!(said(host, &works).await, "done");
}

pub async fn nothing_of_the_host_is_there(host: &dyn Host) {
    let name = format!("of-the-host-{}", mark());
    let file = std::env::temp_dir().join(&name);
    std::fs::write(&file, "of the host").unwrap();
    let look = format!(
        "find / -name {name} 2>/dev/null; ls -A /tmp /run /dev/shm; ls -d /var/run/docker.sock /run/docker.sock 2>/dev/null; \
         find /run -type s 2>/dev/null; cat /proc/1/environ 2>/dev/null; true"
    );
    let said = said(host, &look).await;
    std::fs::remove_file(file).unwrap();
    // The directory of the channel, if there is one, is empty by now.
    let places: Vec<&str> = said.lines().filter(|line| *line != "sealfleet").collect();
    assert_eq!(places, ["/dev/shm:", "", "/run:", "", "/tmp:"]);
    // Itself, and init.
    let count = self::said(host, "set -- /proc/[0-9]*; echo $#").await;
    assert_eq!(count, "2\n");
}

pub async fn the_environment_is_known_by_name(host: &dyn Host) {
    let names = said(host, "env | cut -d= -f1 | sort | tr '\\n' ' '").await;
    assert_eq!(names.trim_end(), host.facts().variables);
}

pub async fn there_is_no_network_and_no_metadata(host: &dyn Host) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = |address: &str| {
        format!(
            "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => \"{address}\", Timeout => 5) ? \"reached\" : \"not\"'"
        )
    };
    for address in [
        &format!("127.0.0.1:{port}"),
        "169.254.169.254:80",
        "169.254.170.2:80",
        "1.1.1.1:53",
    ] {
        assert_eq!(said(host, &connect(address)).await, "not", "{address}");
    }
    let look = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; getent ahosts example.com || echo no names";
    assert_eq!(said(host, look).await, "lo\nno names\n");
}

/// Prints nothing of the value that a reader of the output could find.
fn digest(name: &str) -> String {
    format!("printf %s \"${name}\" | sha256sum | cut -c 1-16")
}

fn digest_of(value: &str) -> String {
    let mut digest = sealfleet_domain::hash::sha256_hex(value.as_bytes());
    digest.truncate(16);
    digest + "\n"
}

pub async fn a_secret_is_in_the_environment_and_nowhere_else(host: &dyn Host) {
    let look = format!(
        "{}; grep -c canary-of-the-conformance /proc/1/environ /proc/1/cmdline 2>&1 | sed 's/.*: *//'; \
         grep -rl canary-of-the-conformance /workspace /tmp /run /dev/shm 2>/dev/null; cat /proc/1/mem 2>&1 | head -c 100",
        digest("API_KEY")
    );
    let mut step = Step::shell(&look).with_secret(VALUE);
    for (mode, sees) in [("identity", digest_of(VALUE)), ("sandboxed", digest_of(""))] {
        step.mode = mode;
        let end = end(host, step.clone()).await;
        let text = end.text();
        assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
        let expected = "Permission denied\n0\ncat: /proc/1/mem: Permission denied\n";
        assert_eq!(text, format!("{sees}{expected}"), "{mode}");
    }
}

pub async fn a_tool_sees_what_it_is_granted(host: &dyn Host) {
    let look = format!("{}; {}; echo $KNOB", digest("API_KEY"), digest("OTHER_KEY"));
    let other = format!("other-{VALUE}");
    let mut step = Step::shell(&look);
    step.mode = "identity";
    step.secrets = vec![("API_KEY", VALUE.to_owned()), ("OTHER_KEY", other.clone())];
    step.tools = Some(json!({ "claude": ["API_KEY"], "shell": ["*"], "codex": [] }));
    let (one, two, none) = (digest_of(VALUE), digest_of(&other), digest_of(""));
    for (tool, sees) in [
        ("claude", format!("{one}{none}")),
        ("shell", format!("{one}{two}")),
        ("codex", format!("{none}{none}")),
        ("unlisted", format!("{none}{none}")),
    ] {
        step.tool = Some(tool);
        let end = end(host, step.clone()).await;
        assert_eq!(end.text(), format!("{sees}of the step\n"), "{tool}");
    }
}

pub async fn what_is_printed_holds_no_secret(host: &dyn Host) {
    let script = "echo \"$API_KEY\"; echo \"$API_KEY\" >&2; printf %s \"$API_KEY\" | base64 -w 0; echo; \
                  perl -e '$| = 1; for (split //, $ENV{API_KEY}) { print; select undef, undef, undef, 0.005 }'; echo; \
                  echo \"$OTHER_KEY\"; printf '{\"key\": \"%s\"}' \"$API_KEY\" >.sealfleet/result.json";
    let mut step = Step::shell(&format!("mkdir -p .sealfleet; {script}"));
    step.mode = "identity";
    // One is the beginning of the other.
    let longer = format!("{VALUE}-and-more");
    step.secrets = vec![("API_KEY", VALUE.to_owned()), ("OTHER_KEY", longer)];
    let end = end(host, step).await;
    let text = end.text();
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
    assert_eq!(text.matches("<redacted:API_KEY>").count(), 4, "{text}");
    assert_eq!(text.matches("<redacted:OTHER_KEY>").count(), 1, "{text}");
    assert!(
        !text.contains("canary") && !text.contains("and-more"),
        "{text}"
    );
    let result = end.result.unwrap();
    assert_eq!(result, json!({ "key": "<redacted:API_KEY>" }));
    assert!(end.redactions.iter().any(|found| found.key == "API_KEY"));
}

pub async fn an_agent_runs_in_mode_full(host: &dyn Host) {
    let mut step = Step::of(&[]);
    let look = format!("cat; echo; {}", digest("API_KEY"));
    step.mode = "full";
    step.agent = Some(json!({
        "cli": "custom", "prompt": "what to do", "args": ["/bin/sh", "-c", look],
    }));
    step.secrets = vec![("API_KEY", VALUE.to_owned())];
    let end = end(host, step).await;
    let text = end.text();
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
    assert_eq!(text, format!("what to do\n{}", digest_of(VALUE)));
}

/// 77. Codex answers, with the tenant's key, against the stand-in of its model; result, usage and
///     cost are told; the key is nowhere else.
pub async fn s77_codex_answers_with_its_tenants_key(host: &dyn Host) {
    let provider = ["OPENAI_API_KEY", "OPENAI_BASE_URL"];
    let told = answers(host, "codex", "gpt-5.1-codex", provider, "/v1", false).await;
    assert_eq!(told["cost_usd"], 0.001_875, "{told}");
}

/// 77. The same for Claude Code.
pub async fn s77_claude_code_answers_with_its_tenants_key(host: &dyn Host) {
    let provider = ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"];
    let told = answers(
        host,
        "claude-code",
        "claude-sonnet-4-5",
        provider,
        "",
        false,
    )
    .await;
    assert_eq!(told["cost_usd"], 0.003_87, "{told}");
}

/// Lets the agent `cli` edit a file. `provider` has the variables of its key and its URL, to which
/// `path` belongs. Answers what is told of its work.
pub async fn answers(
    host: &dyn Host,
    cli: &'static str,
    model: &str,
    provider: [&'static str; 2],
    path: &str,
    by_proxy: bool,
) -> Value {
    let turns = [
        Turn::shell("echo edited > note.txt && cat note.txt").costs(1000, 400, 50),
        Turn::say("I wrote `note.txt`.").costs(1200, 1000, 20),
    ];
    let stand_in = Model::start(Scripts::all(turns)).await.unwrap();
    let host = host.with_agents().await;
    let [key, base_url] = provider;
    let mut step = Step::of(&[]);
    step.mode = "full";
    step.agent = Some(json!({
        "cli": cli, "prompt": "edit the note", "model": model, "max_turns": 2, "budget_usd": 0.02,
    }));
    step.env = json!({ base_url: format!("{}{path}", stand_in.url()) });
    step.secrets = vec![(key, VALUE.to_owned())];
    step.tool = Some(cli);
    step.tools = Some(json!({ cli: [key] }));
    if by_proxy {
        let port: u16 = stand_in.url().rsplit(':').next().unwrap().parse().unwrap();
        step.egress = Some(json!({ "allow": [{ "host": "127.0.0.1", "port": port }] }));
        // The stand-in is on this host, which a step reaches by its proxy only.
        step.env["NO_PROXY"] = json!("");
        step.env["no_proxy"] = json!("");
    }
    let end = end(&*host, step).await;
    let text = end.text();
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
    assert!(text.contains("I wrote `note.txt`."), "{text}");
    let result = end.result.unwrap();
    assert_eq!(result["message"], "I wrote `note.txt`.", "{result}");
    let told = json!(end.agent.unwrap());
    let used = json!({ "input_tokens": 2200, "cached_input_tokens": 1400, "output_tokens": 70 });
    assert_eq!(told["usage"], used, "{told}");
    assert_eq!(told["turns"], 2, "{told}");
    let asked = stand_in.requests().len();
    assert!(asked >= 2, "{asked} requests");
    assert_eq!(stand_in.requests_with(VALUE), asked, "those with the key");
    for shown in [text, result.to_string(), told.to_string()] {
        assert!(!shown.contains("canary"), "{shown}");
    }
    if by_proxy {
        let counted = json!(end.models_used);
        assert_eq!(counted["rows"][0]["usage"], told["usage"], "{counted}");
        assert_eq!(counted["rows"][0]["answers"], told["turns"], "{counted}");
        assert_eq!(
            counted["rows"].as_array().map(Vec::len),
            Some(1),
            "{counted}"
        );
    }
    told
}

/// A step that has what others could find, and one that looks for it with `look`, whose `$m` is
/// the mark of the first.
async fn beside(host: &dyn Host, has: &str, look: &str) -> String {
    let mark = mark();
    let first = format!(
        "perl -MIO::Socket::UNIX -MIO::Socket::INET -e '{}; $| = 1; print \"ready\\n\"; sleep 300' {mark}",
        has.replace("MARK", &mark)
    );
    let first = host.start(Step::shell(&first)).await;
    printed(&*first, "ready").await;
    // Its own arguments must not hold what it looks for.
    let reversed: String = mark.chars().rev().collect();
    let second = format!(
        "perl -MIO::Socket::UNIX -MIO::Socket::INET -MFile::Find -e '$m = reverse \"{reversed}\"; {look}; print \"over\"'"
    );
    let second = end(host, Step::shell(&second)).await;
    first.cancel().await;
    first.end().await;
    second.text()
}

pub async fn two_sandboxes_share_no_network(host: &dyn Host) {
    let has = "$a = IO::Socket::UNIX->new(Local => \"\\0sealfleet-MARK\", Listen => 1) or die; \
               $b = IO::Socket::INET->new(LocalAddr => \"127.0.0.1:4711\", Listen => 1) or die";
    let look = "print IO::Socket::UNIX->new(Peer => \"\\0sealfleet-$m\") ? \"reached \" : \"no socket \"; \
                print IO::Socket::INET->new(PeerAddr => \"127.0.0.1:4711\") ? \"reached \" : \"no port \"; \
                open $f, \"<\", \"/proc/net/unix\"; local $/; print \"its name \" if index(<$f>, $m) >= 0";
    assert_eq!(beside(host, has, look).await, "no socket no port over");
}

pub async fn two_sandboxes_share_no_process_and_no_file(host: &dyn Host) {
    let has =
        "for (\"/tmp\", \"/workspace\", \"/dev/shm\") { open $f, \">\", \"$_/of-MARK\" or die }";
    let look = "for (</proc/[0-9]*/cmdline>) { open $f, \"<\", $_ or next; local $/; print \"$_ \" if index(<$f>, $m) >= 0 } \
                find(sub { print \"$File::Find::name \" if $_ eq \"of-$m\" }, \"/dev/shm\", \"/run\", \"/tmp\", \"/workspace\")";
    assert_eq!(beside(host, has, look).await, "over");
}
