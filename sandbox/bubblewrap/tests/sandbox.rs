//! What bubblewrap sandboxes have that others have not, tried with the real bubblewrap. What holds
//! for all sandboxes is in tests/conformance.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealfleet_bubblewrap::{
    Bind, Exit, LaunchError, Launcher, LauncherConfig, Limits, LimitsDriver, Network, Sandbox,
    SandboxSpec, Unavailable, build_rootfs,
};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

const CANARY: &str = "canary-5b1f0c7e-value";

/// A launcher on a root directory of its own.
struct Place {
    launcher: Launcher,
    directory: tempfile::TempDir,
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    // Sandboxes run under other uids than the test.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn config(directory: &Path) -> LauncherConfig {
    let rootfs = build_rootfs(&directory.join("rootfs"), Path::new("/usr/bin/true")).unwrap();
    // The default state directory, for these tests run beside each other.
    LauncherConfig::new(rootfs)
}

async fn place() -> Place {
    let directory = directory();
    let launcher = Launcher::detect(config(directory.path())).await.unwrap();
    Place {
        launcher,
        directory,
    }
}

fn shell(script: &str) -> SandboxSpec {
    let mut spec = SandboxSpec::new(["/bin/sh", "-c", script]);
    spec.env
        .push(("PATH".into(), Zeroizing::new("/usr/bin:/bin".into())));
    spec
}

async fn finish(mut sandbox: Sandbox) -> (Exit, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (
        sandbox.stdout.take().unwrap(),
        sandbox.stderr.take().unwrap(),
    );
    let (read_out, read_err) = tokio::join!(
        stdout.read_to_string(&mut out),
        stderr.read_to_string(&mut err)
    );
    read_out.unwrap();
    read_err.unwrap();
    (sandbox.wait().await, out, err)
}

impl Place {
    async fn run(&self, spec: SandboxSpec) -> (Exit, String, String) {
        finish(self.launcher.spawn(spec).await.unwrap()).await
    }

    async fn say(&self, script: &str) -> String {
        let (exit, out, err) = self.run(shell(script)).await;
        assert_eq!(exit, Exit::Code(0), "{out}{err}");
        out
    }
}

async fn first_line(sandbox: &mut Sandbox) -> String {
    let (mut line, mut byte) = (Vec::new(), [0_u8]);
    let stdout = sandbox.stdout.as_mut().unwrap();
    while stdout.read_exact(&mut byte).await.is_ok() && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line).unwrap()
}

/// Waits for `condition`, 10 seconds at most.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{what} did not come about"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// All processes of the host that have `marker` in their command line.
fn processes_with(marker: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        line.windows(marker.len())
            .any(|part| part == marker.as_bytes())
    };
    entries
        .map(|entry| entry.path())
        .filter(|path| path.join("cmdline").exists())
        .filter(has)
        .collect()
}

#[tokio::test]
async fn the_command_has_the_environment_it_was_given_and_no_other() {
    let place = place().await;
    let mut spec = SandboxSpec::new(["/usr/bin/env"]);
    spec.env
        .push(("GIVEN".into(), Zeroizing::new("one\ntwo".into())));
    let (exit, out, _) = place.run(spec).await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(out, "GIVEN=one\ntwo\nPWD=/workspace\n");
    let initial = place.say("tr '\\0' '\\n' < /proc/1/environ | sort").await;
    assert_eq!(initial, "PATH=/usr/bin:/bin\nPWD=/workspace\n");
}

#[tokio::test]
async fn nothing_of_the_host_is_visible_but_usr() {
    let place = place().await;
    assert_eq!(
        place.say("ls /").await,
        "bin\ndev\netc\nlib\nlib64\nproc\nrun\nsbin\nsealfleet-init\ntmp\nusr\nworkspace\n"
    );
    let settings = place.say("ls /etc").await;
    for name in settings.lines() {
        let known = [
            "alternatives",
            "crypto-policies",
            "group",
            "hosts",
            "ld.so.cache",
            "localtime",
            "mime.types",
            "nsswitch.conf",
            "passwd",
            "pki",
            "protocols",
            "resolv.conf",
            "services",
            "ssl",
        ];
        assert!(known.contains(&name) || name.starts_with("java-"), "{name}");
    }
    assert_eq!(
        place
            .say("ls -A /etc/ssl | grep private || echo none")
            .await,
        "none\n"
    );
    assert_eq!(
        place.say("cat /etc/passwd").await,
        "nobody:x:65534:65534:nobody:/workspace/home:/bin/sh\n"
    );
    assert_eq!(
        place
            .say("ls -A /tmp /run /workspace /workspace/home")
            .await,
        "/run:\n\n/tmp:\n\n/workspace:\nhome\n\n/workspace/home:\n"
    );
    assert_eq!(place.say("echo /proc/[0-9]*").await, "/proc/1\n");
    for target in ["/x", "/etc/x", "/usr/x", "/dev/x", "/sealfleet-init"] {
        let (exit, _, err) = place.run(shell(&format!("echo x > {target}"))).await;
        assert_ne!(exit, Exit::Code(0), "`{target}` could be written: {err}");
    }
    assert_eq!(place.say("cat /proc/mounts | grep -c ' / '").await, "1\n");
}

#[tokio::test]
async fn dangerous_system_calls_are_refused() {
    let place = place().await;
    // perl is part of every Debian base; `syscall` takes plain numbers, errno 1 is EPERM, 38
    // ENOSYS.
    let attempt = |call: &str| {
        format!("perl -e '$! = 0; $r = syscall({call}); print $r < 0 ? $!+0 : \"done\"'")
    };
    let clone_new_user = libc::CLONE_NEWUSER | libc::SIGCHLD;
    for (call, errno) in [
        (format!("{}, 0, 0, 0, 0, 0", libc::SYS_keyctl), 1),
        (format!("{}, 16, 1, 0, 0", libc::SYS_ptrace), 1),
        (format!("{}, 0, 0, 0", libc::SYS_bpf), 1),
        (format!("{}, 0", libc::SYS_userfaultfd), 1),
        (format!("{}, 0, 0, 0, 0, 0", libc::SYS_perf_event_open), 1),
        (format!("{}, 0, 0, 0, 0, 0", libc::SYS_mount), 1),
        (format!("{}, {}", libc::SYS_unshare, libc::CLONE_NEWUSER), 1),
        (format!("{}, 0, 0", libc::SYS_setns), 1),
        (
            format!("{}, {clone_new_user}, 0, 0, 0, 0", libc::SYS_clone),
            1,
        ),
        (format!("{}, {}, 1, 0", libc::SYS_socket, libc::AF_VSOCK), 1),
        (format!("{}, 0, {}, 0", libc::SYS_ioctl, libc::TIOCSTI), 1),
        (format!("{}, 0, 0, 0, 0", libc::SYS_kexec_load), 1),
        (format!("{}, 0, 0, 0", libc::SYS_init_module), 1),
        (format!("{}, 0, 0", libc::SYS_io_uring_setup), 38),
        (format!("{}, 0, 0", libc::SYS_clone3), 38),
    ] {
        assert_eq!(
            place.say(&attempt(&call)).await,
            errno.to_string(),
            "system call {call}"
        );
    }
    #[cfg(target_arch = "x86_64")]
    {
        let x32_getpid = (libc::SYS_getpid | 0x4000_0000).to_string();
        assert_eq!(place.say(&attempt(&x32_getpid)).await, "38");
    }
    // What is left works: the attempts above fail for their own reason only.
    assert_eq!(
        place.say(&attempt(&libc::SYS_getuid.to_string())).await,
        "done"
    );
}

#[tokio::test]
async fn the_network_is_the_hosts_only_when_asked_for() {
    let place = place().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!(
        "perl -MIO::Socket::INET -e 'exit(IO::Socket::INET->new(\"127.0.0.1:{port}\") ? 0 : 9)'"
    );
    assert_eq!(place.run(shell(&connect)).await.0, Exit::Code(9));
    assert_eq!(
        place
            .say("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
            .await,
        "lo\n"
    );
    let mut spec = shell(&connect);
    spec.network = Network::Host;
    assert_eq!(place.run(spec).await.0, Exit::Code(0));
}

#[tokio::test]
async fn exit_codes_and_signals_are_reported() {
    let place = place().await;
    assert_eq!(place.run(shell("exit 0")).await.0, Exit::Code(0));
    assert_eq!(place.run(shell("exit 42")).await.0, Exit::Code(42));
    assert_eq!(place.run(shell("exit 255")).await.0, Exit::Code(255));
    let missing = place.run(SandboxSpec::new(["/no/such/program"])).await;
    assert_eq!(missing.0, Exit::Code(127));
    assert!(missing.2.contains("/no/such/program"), "{}", missing.2);
    let sandbox = place.launcher.spawn(shell("sleep 60")).await.unwrap();
    let pid = rustix::process::Pid::from_raw(sandbox.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(finish(sandbox).await.0, Exit::Signal(9));
}

#[tokio::test]
async fn the_command_inherits_its_channel_and_no_other_descriptor() {
    let place = place().await;
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&write, b"through the channel").unwrap();
    drop(write);
    // One without close-on-exec, as a careless parent leaves it behind.
    let (_leaked, _end) = rustix::pipe::pipe().unwrap();
    let list = "ls /proc/self/fd | tr '\\n' ' '";
    let mut spec = shell(&format!("{list}; cat <&3"));
    spec.channel = Some(read);
    // The highest number is the directory that `ls` reads.
    assert_eq!(place.run(spec).await.1, "0 1 2 3 4 through the channel");
    assert_eq!(place.say(list).await, "0 1 2 3 ");
}

#[tokio::test]
async fn binds_appear_where_they_are_allowed_to() {
    let place = place().await;
    let shared = place.directory.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(shared.join("file"), "hello").unwrap();
    let spec = |script: &str, target: &str, writable| {
        let mut spec = shell(script);
        spec.binds.push(Bind {
            source: shared.clone(),
            target: target.into(),
            writable,
        });
        spec
    };
    assert_eq!(
        place
            .run(spec("cat /run/shared/file", "/run/shared", false))
            .await
            .1,
        "hello"
    );
    assert_ne!(
        place
            .run(spec("touch /run/shared/new", "/run/shared", false))
            .await
            .0,
        Exit::Code(0)
    );
    assert_eq!(
        place
            .run(spec("touch /tmp/shared/new", "/tmp/shared", true))
            .await
            .0,
        Exit::Code(0)
    );
    assert!(shared.join("new").exists());
    for target in ["/", "/tmp", "/etc/x", "/tmp/../etc", "relative"] {
        let refused = place.launcher.spawn(spec("true", target, true)).await;
        assert!(matches!(refused, Err(LaunchError::Invalid(_))), "{target}");
    }
}

#[tokio::test]
async fn values_are_in_no_command_line_and_no_other_environment() {
    let place = place().await;
    let mut spec = shell("echo ready; exec sleep 60");
    spec.env.push(("KEY".into(), Zeroizing::new(CANARY.into())));
    let mut sandbox = place.launcher.spawn(spec).await.unwrap();
    assert_eq!(first_line(&mut sandbox).await, "ready");
    let monitor = format!("/proc/{}", sandbox.monitor_pid());
    assert!(
        std::fs::read_to_string(format!("{monitor}/cmdline"))
            .unwrap()
            .contains("bwrap"),
        "the right process is looked at"
    );
    assert_eq!(std::fs::read(format!("{monitor}/environ")).unwrap(), b"");
    assert_eq!(processes_with(CANARY), Vec::<PathBuf>::new());
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", sandbox.pid())).unwrap();
    assert!(environment.contains(CANARY), "the command itself has it");
}

async fn memory_limit(driver: Option<LimitsDriver>) {
    let directory = directory();
    let mut config = config(directory.path());
    config.limits_driver = driver;
    let launcher = match Launcher::detect(config).await {
        Ok(launcher) => launcher,
        Err(Unavailable::Limits { wanted, reason }) => {
            return eprintln!("skipped: no {wanted} here ({reason})");
        }
        Err(error) => panic!("{error}"),
    };
    assert!(driver.is_none_or(|driver| launcher.report().limits == driver));
    let limited = |script: &str| {
        let mut spec = shell(script);
        spec.limits = Limits {
            memory_bytes: 64 << 20,
            pids: 16,
            open_files: 64,
            scratch_bytes: 96 << 20,
        };
        launcher.spawn(spec)
    };
    // The wait keeps it there long enough for a driver that looks from time to time.
    let hog = "perl -e '$x = \"a\" x (200 << 20); sleep 5'";
    let alone = limited(&format!("exec {hog}")).await.unwrap();
    assert_eq!(finish(alone).await.0, Exit::OutOfMemory);
    // A grandchild that is killed ends the whole sandbox, and nobody can turn that into a success.
    let hidden = limited(&format!("{hog} & wait; exit 0")).await.unwrap();
    assert_eq!(finish(hidden).await.0, Exit::OutOfMemory);
    // Files are no memory: more of them than of both is a full disk, and less is none.
    for place in ["/tmp", "/workspace", "/workspace/home"] {
        let fill = |mebibytes| {
            format!("head -c {mebibytes}M /dev/zero > {place}/file; echo $?; sleep 0.2")
        };
        let (exit, out, err) = finish(limited(&fill(90)).await.unwrap()).await;
        assert_eq!((exit, out.as_str()), (Exit::Code(0), "0\n"), "{err}");
        let (exit, out, err) = finish(limited(&fill(200)).await.unwrap()).await;
        assert_eq!((exit, out.as_str()), (Exit::Code(0), "1\n"), "{err}");
        assert!(err.contains("No space left on device"), "{err}");
    }
    let both = "head -c 90M /dev/zero > /tmp/file && head -c 90M /dev/zero > /workspace/file";
    let (exit, _, err) = finish(limited(both).await.unwrap()).await;
    assert_eq!(exit, Exit::Code(0), "{err}");
    // The same codes without the memory are what they say.
    assert_eq!(
        finish(limited("exit 137").await.unwrap()).await.0,
        Exit::Signal(9)
    );
    assert_eq!(
        finish(limited("perl -e '$x = \"a\" x (8 << 20)'").await.unwrap())
            .await
            .0,
        Exit::Code(0)
    );
    // Too many processes are refused, and that is not a matter of memory.
    let bomb = "i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; exit 3";
    let (exit, _, err) = finish(limited(bomb).await.unwrap()).await;
    assert!(
        matches!(exit, Exit::Code(code) if code != 3),
        "{exit:?} {err}"
    );
}

#[tokio::test]
async fn crossing_the_memory_limit_is_told_apart_by_the_detected_driver() {
    memory_limit(None).await;
}

#[tokio::test]
async fn crossing_the_memory_limit_is_told_apart_by_cgroup_v2() {
    memory_limit(Some(LimitsDriver::CgroupV2)).await;
}

#[tokio::test]
async fn crossing_the_memory_limit_is_told_apart_by_cgroup_v1() {
    memory_limit(Some(LimitsDriver::CgroupV1)).await;
}

#[tokio::test]
async fn crossing_the_memory_limit_is_told_apart_without_cgroups() {
    memory_limit(Some(LimitsDriver::Prlimit)).await;
}

#[tokio::test]
async fn dropping_a_sandbox_kills_it() {
    let place = place().await;
    let marker = format!("88{}", std::process::id());
    let mut sandbox = place
        .launcher
        .spawn(shell(&format!("echo ready; sleep {marker} & wait")))
        .await
        .unwrap();
    assert_eq!(first_line(&mut sandbox).await, "ready");
    until("the sandbox", || !processes_with(&marker).is_empty()).await;
    drop(sandbox);
    until("its end", || processes_with(&marker).is_empty()).await;
}

/// Not a test: the launcher that the next one kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn a_launcher_that_waits() {
    let marker = std::env::vars_os()
        .find(|(name, _)| name == "MARKER")
        .unwrap()
        .1
        .into_string()
        .unwrap();
    let place = place().await;
    let sandbox = place
        .launcher
        .spawn(shell(&format!(
            "trap '' TERM; setsid sleep {marker} & sleep {marker}"
        )))
        .await
        .unwrap();
    println!("sandbox below {}", place.directory.path().display());
    sandbox.wait().await;
}

#[tokio::test]
async fn killing_the_launcher_ends_its_sandboxes() {
    let marker = format!("89{}", std::process::id());
    let mut launcher = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_launcher_that_waits",
            "--ignored",
            "--nocapture",
        ])
        .env("MARKER", &marker)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(launcher.stdout.take().unwrap()).lines();
    let running = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("sandbox below ")?.1.to_owned()));
    let directory = running.expect("the launcher starts its sandbox");
    until("the sandbox", || {
        processes_with(&format!("sleep\0{marker}")).len() >= 2
    })
    .await;
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    until("its end", || processes_with(&marker).is_empty()).await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn two_sandboxes_have_different_host_uids() {
    let place = place().await;
    let mut sandboxes = Vec::new();
    for _ in 0..4 {
        let mut sandbox = place
            .launcher
            .spawn(shell("echo ready; sleep 60"))
            .await
            .unwrap();
        assert_eq!(first_line(&mut sandbox).await, "ready");
        sandboxes.push(sandbox);
    }
    if !is_root() {
        assert_eq!(place.launcher.report().host_uids, None);
        return;
    }
    let mut uids = Vec::new();
    for sandbox in &sandboxes {
        for process in [sandbox.pid(), sandbox.monitor_pid()] {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            let uid = sandbox.host_uid();
            assert!(
                status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")),
                "{status}"
            );
            assert!(
                status.contains("Groups:\t \n") || status.contains("Groups:\t\n"),
                "{status}"
            );
        }
        uids.push(sandbox.host_uid());
    }
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), 4);
    assert!(!uids.contains(&0));
}

#[tokio::test]
async fn unusable_input_is_refused_before_anything_starts() {
    let place = place().await;
    let refused = |change: fn(&mut SandboxSpec)| {
        let mut spec = shell("true");
        change(&mut spec);
        place.launcher.spawn(spec)
    };
    let long = |result: Result<Sandbox, LaunchError>| match result {
        Err(LaunchError::Invalid(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(long(refused(|spec| spec.command.clear()).await).contains("empty"));
    assert!(long(refused(|spec| spec.command.push("a\0b".into())).await).contains("NUL"));
    assert!(
        long(refused(|spec| spec.env.push(("A=B".into(), Zeroizing::new(String::new())))).await)
            .contains("`A=B`")
    );
    let text = long(
        refused(|spec| {
            spec.env
                .push(("KEY".into(), Zeroizing::new(format!("{CANARY}\0"))))
        })
        .await,
    );
    assert!(text.contains("`KEY`") && !text.contains(CANARY));
    assert!(long(refused(|spec| spec.limits.memory_bytes = 1).await).contains("memory"));
    let missing = refused(|spec| {
        spec.binds.push(Bind {
            source: "/no/such/path".into(),
            target: "/run/x".into(),
            writable: false,
        });
    });
    assert!(
        matches!(missing.await, Err(LaunchError::Refused(words)) if words.contains("/no/such/path"))
    );
}

#[tokio::test]
async fn a_root_that_sandboxes_cannot_reach_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let unavailable = Launcher::detect(config(directory.path())).await;
    match unavailable {
        Err(Unavailable::Rootfs { reason, .. }) if is_root() => {
            let remedy = format!("run `chmod o+x {}`", directory.path().display());
            assert!(reason.contains(&remedy), "{reason}")
        }
        Ok(_) if !is_root() => {}
        other => panic!("{other:?}"),
    }
    let missing = Launcher::detect(LauncherConfig::new("/no/such/root")).await;
    assert!(matches!(missing, Err(Unavailable::Rootfs { .. })));
    let mut config = config(directory.path());
    config.bwrap = Some("/no/such/bwrap".into());
    assert!(matches!(
        Launcher::detect(config).await,
        Err(Unavailable::NotInstalled)
    ));
}

#[tokio::test]
async fn a_running_sandbox_survives_a_new_root() {
    let place = place().await;
    let mut sandbox = place
        .launcher
        .spawn(shell(
            "echo ready; sleep 1; ls /sealfleet-init /usr/bin/env",
        ))
        .await
        .unwrap();
    assert_eq!(first_line(&mut sandbox).await, "ready");
    build_rootfs(
        &place.directory.path().join("rootfs"),
        Path::new("/usr/bin/false"),
    )
    .unwrap();
    assert_eq!(
        finish(sandbox).await,
        (
            Exit::Code(0),
            "/sealfleet-init\n/usr/bin/env\n".into(),
            String::new()
        )
    );
}

#[tokio::test]
async fn its_own_name_certificates_and_settings_are_there() {
    let place = place().await;
    let name = place.say("hostname").await;
    assert_eq!(name, "sandbox\n");
    let address = place.say("getent hosts sandbox | tr -s ' '").await;
    assert!(
        address.contains("127.0.0.1") || address.contains("::1"),
        "{address}"
    );
    let host = |path: &str| Path::new(path).exists();
    if host("/usr/bin/openssl") && host("/etc/ssl/certs/ca-certificates.crt") {
        // A certificate of the bundle is found by its hash.
        let verify = "openssl x509 -in /etc/ssl/certs/ca-certificates.crt -out /tmp/one.pem && \
                      openssl verify -no-CAfile -CApath /etc/ssl/certs /tmp/one.pem && openssl req -help 2>/dev/null; \
                      openssl req -newkey rsa:2048 -nodes -keyout /tmp/k -subj /CN=x -out /dev/null 2>&1";
        let said = place.say(verify).await;
        assert!(said.contains("/tmp/one.pem: OK"), "{said}");
    } else {
        eprintln!("skipped: no openssl with certificates here");
    }
    if host("/usr/bin/java") {
        place.say("java -version 2>&1").await;
    } else {
        eprintln!("skipped: no java here");
    }
}

#[test]
fn what_not_everybody_may_read_is_not_shown() {
    let place = directory();
    let rootfs = build_rootfs(&place.path().join("rootfs"), Path::new("/usr/bin/true")).unwrap();
    for entry in walk(&rootfs.join("etc")) {
        let inside = entry.strip_prefix(&rootfs).unwrap();
        let own = ["passwd", "group", "hosts", "resolv.conf"];
        if own.iter().any(|name| inside == Path::new("etc").join(name)) {
            continue;
        }
        let of_host = std::fs::symlink_metadata(Path::new("/").join(inside));
        let Ok(of_host) = of_host else { continue };
        assert!(
            of_host.is_symlink() || of_host.permissions().mode() & 0o004 != 0,
            "{}",
            inside.display()
        );
    }
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
