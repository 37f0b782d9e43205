//! Identity tokens of a step: one file for each audience, renewed while the command runs.
//!
//! The files are on a tmpfs where the sandbox has one, and only the step's own user reads them. A
//! token is replaced by renaming a new file over the old one, half of its time before it expires. A
//! token that is refused, or that has expired without a new one, takes its file away.
//!
//! Whoever has a token is the step to its audience until it expires. So output is searched for the
//! signatures of all that are or were lately good: without its signature, a token proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags, open};
use sealfleet_channel::{Bearer, Channel, Descriptors, NoToken, ToHost, ToInit};
use sealfleet_domain::workload::Audience;
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_identity::{IdentityError, SecretValue};
use sealfleet_redaction::Redactor;
use sealfleet_system::SystemClock;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::{memory, supervise};

/// The name of tokens in redacted output.
const KEY: &str = "ID_TOKEN";
/// Directories below which the files may be, the best first.
const BASES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];
const DIRECTORY: &str = "sealfleet-identity";
/// How long the first tokens may be out of reach.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);
/// How long after its end a token is still searched for: clocks of verifiers may be behind.
const REMEMBERED: Duration = Duration::from_secs(120);
/// The audience of AWS STS, whose SDKs look for a token by themselves.
const STS: &str = "sts.amazonaws.com";

/// A token.
pub(crate) struct Issued {
    pub(crate) token: Bearer,
    pub(crate) expires_at: Timestamp,
}

/// Where tokens come from.
#[async_trait]
pub(crate) trait Source: Send {
    async fn token(&mut self, audience: &Audience) -> Result<Issued, NoToken>;
}

/// The host at the other end of a channel, on which others speak, too.
pub(crate) struct Host<'a, C>(pub(crate) &'a Mutex<&'a mut C>);

#[async_trait]
impl<C: Channel<ToHost, ToInit>> Source for Host<'_, C> {
    async fn token(&mut self, audience: &Audience) -> Result<Issued, NoToken> {
        let lost = |error| NoToken::Refused(format!("the host cannot be asked: {error}"));
        let question = ToHost::TokenAsked(audience.clone());
        let mut channel = self.0.lock().await;
        let asked = channel.send(&question, Descriptors::new()).await;
        asked.map_err(lost)?;
        match channel.receive().await.map_err(lost)? {
            (ToInit::Token { token, expires_at }, _) => Ok(Issued { token, expires_at }),
            (ToInit::NoToken(why), _) => Err(why),
            _ => Err(NoToken::Refused(
                "the host answers something else".to_owned(),
            )),
        }
    }
}

/// Tokens that identity backends log in with, by scheme. They are good for one login, and kept
/// nowhere.
///
/// # Errors
/// `no_identity_token`: which backend has none, and why.
pub(crate) async fn logins(
    audiences: &BTreeMap<String, Audience>,
    channel: &mut impl Channel<ToHost, ToInit>,
) -> Result<BTreeMap<String, SecretValue>, IdentityError> {
    let shared = Mutex::new(channel);
    let mut source = Host(&shared);
    let mut all = BTreeMap::new();
    for (scheme, audience) in audiences {
        let issued = first(audience, &mut source, Instant::now()).await;
        let issued = issued.map_err(|message| IdentityError {
            code: "no_identity_token",
            message,
        })?;
        let Bearer(token) = issued.token;
        all.insert(scheme.clone(), SecretValue::new(token.into_bytes()));
    }
    Ok(all)
}

/// The first token for an audience. Tries again for some time since `start`.
async fn first(
    audience: &Audience,
    source: &mut impl Source,
    start: Instant,
) -> Result<Issued, String> {
    loop {
        match source.token(audience).await {
            Ok(issued) => return Ok(issued),
            Err(NoToken::Passing(_)) if start.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(NoToken::Passing(why) | NoToken::Refused(why)) => {
                return Err(format!(
                    "there is no identity token for `{audience}`: {why}"
                ));
            }
        }
    }
}

/// The tokens of a step.
pub(crate) struct Tokens {
    directory: PathBuf,
    /// When each is to be renewed. One that was refused is not here.
    due: BTreeMap<Audience, Instant>,
    /// When each of the files expires.
    files: BTreeMap<Audience, Instant>,
    /// Signatures, and until when they are searched for.
    recent: Vec<(Instant, SecretValue)>,
    redactor: Redactor,
    clock: SystemClock,
}

impl Tokens {
    /// Gets the first token for each of these audiences. `None` if there are none.
    ///
    /// # Errors
    /// Why there is no token; for people.
    pub(crate) async fn begin(
        audiences: &BTreeSet<Audience>,
        source: &mut impl Source,
    ) -> Result<Option<Self>, String> {
        if audiences.is_empty() {
            return Ok(None);
        }
        let directory = make_directory()
            .map_err(|error| format!("there is no place for identity tokens: {error}"))?;
        Self::begin_in(directory, audiences, source).await.map(Some)
    }

    async fn begin_in(
        directory: PathBuf,
        audiences: &BTreeSet<Audience>,
        source: &mut impl Source,
    ) -> Result<Self, String> {
        let mut tokens = Self {
            directory,
            due: BTreeMap::new(),
            files: BTreeMap::new(),
            recent: Vec::new(),
            redactor: Redactor::default(),
            clock: SystemClock,
        };
        let start = Instant::now();
        for audience in audiences {
            let issued = first(audience, source, start).await?;
            let put = tokens.put(audience, &issued);
            put.map_err(|why| format!("there is no identity token for `{audience}`: {why}"))?;
        }
        Ok(tokens)
    }

    /// Searches for the tokens with this redactor, those that there are and those that will be.
    ///
    /// # Errors
    /// That they cannot be searched for; for people.
    pub(crate) fn redacted_by(&mut self, redactor: &Redactor) -> Result<(), String> {
        self.redactor = redactor.clone();
        self.search()
    }

    /// What tells the command of its tokens. `environment` is what else it gets.
    pub(crate) fn variables(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Vec<(String, SecretValue)> {
        let path = |audience: &Audience| self.file(audience).display().to_string();
        let directory = self.directory.display().to_string();
        let mut variables = vec![supervise::plain("SEALFLEET_ID_TOKEN_DIR", directory)];
        let mut all = self.files.keys();
        if let (Some(only), None) = (all.next(), all.next()) {
            variables.push(supervise::plain("SEALFLEET_ID_TOKEN_FILE", path(only)));
        }
        // SDKs of AWS refuse to work with one of the two.
        let sts = self.files.keys().find(|audience| audience.as_str() == STS);
        if let (Some(sts), true) = (sts, environment.contains_key("AWS_ROLE_ARN")) {
            variables.push(supervise::plain("AWS_WEB_IDENTITY_TOKEN_FILE", path(sts)));
        }
        variables
    }

    /// Keeps the files good for as long as `running` takes, and takes them away then.
    pub(crate) async fn while_runs<T>(
        mut self,
        source: &mut impl Source,
        running: impl Future<Output = T>,
    ) -> T {
        let (tell, ended) = oneshot::channel::<()>();
        let running = async {
            let end = running.await;
            drop(tell);
            end
        };
        let (end, ()) = tokio::join!(running, self.renew(source, ended));
        // Fails if the command has taken it away.
        drop(std::fs::remove_dir_all(&self.directory));
        end
    }

    /// An answer that is on its way is waited for, or the channel would be of no use afterwards.
    async fn renew(&mut self, source: &mut impl Source, mut ended: oneshot::Receiver<()>) {
        while let Some(next) = self.due.values().min().copied() {
            tokio::select! {
                _ = &mut ended => return,
                () = tokio::time::sleep_until(next) => {}
            }
            let now = Instant::now();
            let due = self.due.iter().filter(|(_, due)| **due <= now);
            let due: Vec<Audience> = due.map(|(audience, _)| audience.clone()).collect();
            for audience in due {
                self.renew_one(&audience, source).await;
            }
        }
        drop(ended.await);
    }

    async fn renew_one(&mut self, audience: &Audience, source: &mut impl Source) {
        let why = match source.token(audience).await {
            Ok(issued) => match self.put(audience, &issued) {
                Ok(()) => return,
                Err(why) => NoToken::Refused(why),
            },
            Err(why) => why,
        };
        let now = Instant::now();
        match why {
            NoToken::Passing(why) => {
                self.due.insert(audience.clone(), now + PAUSE);
                if self.files.get(audience).is_some_and(|end| *end <= now) {
                    self.take_away(audience);
                    say(&format!(
                        "the identity token for `{audience}` has expired, and there is no other yet: {why}"
                    ));
                }
            }
            NoToken::Refused(why) => {
                self.due.remove(audience);
                self.take_away(audience);
                say(&format!(
                    "the identity token for `{audience}` is not renewed, and its file is gone: {why}"
                ));
            }
        }
    }

    /// Writes a token into its file, in place of the one before. It is searched for from before
    /// anybody can read it.
    fn put(&mut self, audience: &Audience, issued: &Issued) -> Result<(), String> {
        let Bearer(token) = &issued.token;
        let signature = token.rsplit('.').next().unwrap_or_default();
        let left = issued.expires_at.millis_since(self.clock.now());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        let now = Instant::now();
        self.recent.retain(|(until, _)| *until > now);
        let signature = SecretValue::new(signature.as_bytes().to_vec());
        self.recent.push((now + left + REMEMBERED, signature));
        self.search()?;
        let path = self.file(audience);
        write(&path, token.as_bytes())
            .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
        self.files.insert(audience.clone(), now + left);
        self.due.insert(audience.clone(), now + left / 2);
        Ok(())
    }

    fn search(&self) -> Result<(), String> {
        let values: Vec<&[u8]> = self
            .recent
            .iter()
            .map(|(_, value)| value.expose())
            .collect();
        let searched = self.redactor.also(KEY, &values);
        searched.map_err(|refusal| refusal.to_string())
    }

    fn take_away(&mut self, audience: &Audience) {
        if self.files.remove(audience).is_some() {
            // Fails if the command has taken it away.
            drop(std::fs::remove_file(self.file(audience)));
        }
    }

    fn file(&self, audience: &Audience) -> PathBuf {
        self.directory.join(audience.file_name())
    }
}

/// Tells people, in the log of the step.
fn say(message: &str) {
    eprintln!("sealfleet-init: {message}");
}

/// The directory of the files: on a tmpfs if there is one that this process may write to.
fn make_directory() -> io::Result<PathBuf> {
    let in_memory = BASES
        .iter()
        .filter(|base| memory::is_memory(Path::new(base)));
    let mut last = io::ErrorKind::NotFound.into();
    for base in in_memory.chain(&BASES) {
        let directory = Path::new(base).join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Puts a file in its place, whole: whoever opens it reads the old one or the new one.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    // Left by a write that failed.
    drop(std::fs::remove_file(&new));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(&new, flags, Mode::RUSR)?);
    file.write_all(content)?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Answers in this order, and then that it does not answer.
    struct Script(VecDeque<Result<Issued, NoToken>>);

    #[async_trait]
    impl Source for Script {
        async fn token(&mut self, _: &Audience) -> Result<Issued, NoToken> {
            let gone = || Err(NoToken::Passing("gone".to_owned()));
            self.0.pop_front().unwrap_or_else(gone)
        }
    }

    fn token(letter: char, seconds: i64) -> Result<Issued, NoToken> {
        let signature = letter.to_string().repeat(342);
        Ok(Issued {
            token: Bearer(format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.{signature}")),
            expires_at: SystemClock.now().plus_seconds(seconds),
        })
    }

    fn audiences(texts: &[&str]) -> BTreeSet<Audience> {
        let parsed = texts.iter().map(|text| text.parse().expect("an audience"));
        parsed.collect()
    }

    async fn begun(place: &Path, texts: &[&str], script: &mut Script) -> Result<Tokens, String> {
        Tokens::begin_in(place.to_owned(), &audiences(texts), script).await
    }

    fn read(path: &Path) -> Option<char> {
        std::fs::read_to_string(path).ok()?.chars().last()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_in_half_of_its_time_and_its_file_goes_with_the_command() {
        let place = tempfile::tempdir().expect("a directory");
        let mut script = Script(VecDeque::from([token('a', 30), token('b', 30)]));
        let tokens = begun(place.path(), &["vault"], &mut script).await;
        let mut tokens = tokens.expect("tokens");
        let redactor = Redactor::default();
        tokens.redacted_by(&redactor).expect("searchable");
        let file = place.path().join("vault");
        let mode = std::fs::metadata(&file)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o400);
        let running = async {
            assert_eq!(read(&file), Some('a'));
            tokio::time::sleep(Duration::from_secs(14)).await;
            assert_eq!(read(&file), Some('a'));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(read(&file), Some('b'));
            // The old one is good for a while, so both are searched for.
            for letter in ['a', 'b'] {
                assert!(redactor.finds(letter.to_string().repeat(342).as_bytes()));
            }
            7
        };
        assert_eq!(tokens.while_runs(&mut script, running).await, 7);
        assert!(!place.path().exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_renewal_takes_the_file_away_and_is_not_repeated() {
        let place = tempfile::tempdir().expect("a directory");
        let refused = Err(NoToken::Refused("revoked".to_owned()));
        let mut script = Script(VecDeque::from([token('a', 30), refused, token('b', 30)]));
        let tokens = begun(place.path(), &["vault"], &mut script).await;
        let file = place.path().join("vault");
        let running = async {
            assert!(file.exists());
            tokio::time::sleep(Duration::from_secs(16)).await;
            assert!(!file.exists());
            tokio::time::sleep(Duration::from_secs(600)).await;
        };
        let tokens = tokens.expect("tokens");
        tokens.while_runs(&mut script, running).await;
        assert_eq!(script.0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_control_plane_out_of_reach_costs_the_file_when_the_token_has_expired() {
        let place = tempfile::tempdir().expect("a directory");
        let mut script = Script(VecDeque::from([token('a', 30)]));
        let tokens = begun(place.path(), &["vault"], &mut script).await;
        let file = place.path().join("vault");
        let running = async {
            tokio::time::sleep(Duration::from_secs(28)).await;
            assert!(file.exists());
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert!(!file.exists());
        };
        let tokens = tokens.expect("tokens");
        tokens.while_runs(&mut script, running).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_does_not_start_without_its_tokens() {
        let place = tempfile::tempdir().expect("a directory");
        let refused = Err(NoToken::Refused("the audience is denied".to_owned()));
        let mut script = Script(VecDeque::from([token('a', 30), refused]));
        let failed = begun(place.path(), &["a", "b"], &mut script).await;
        let why = failed.err().expect("a failure");
        assert!(why.contains("`b`") && why.contains("denied"), "{why}");
        let mut script = Script(VecDeque::new());
        let failed = begun(place.path(), &["a"], &mut script).await;
        assert!(failed.is_err_and(|why| why.contains("gone")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_command_is_told_where_its_tokens_are() {
        let place = tempfile::tempdir().expect("a directory");
        let names = |tokens: &Tokens, environment: &[(&str, &str)]| {
            let of = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let environment = environment.iter().map(of).collect();
            let variables = tokens.variables(&environment).into_iter();
            variables.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let mut script = Script(VecDeque::from([
            token('a', 30),
            token('b', 30),
            token('c', 30),
        ]));
        let both = begun(place.path(), &[STS, "vault"], &mut script).await;
        let both = both.expect("tokens");
        assert_eq!(names(&both, &[]), ["SEALFLEET_ID_TOKEN_DIR"]);
        let role = [("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/crm")];
        let wanted = ["SEALFLEET_ID_TOKEN_DIR", "AWS_WEB_IDENTITY_TOKEN_FILE"];
        assert_eq!(names(&both, &role), wanted);
        let one = begun(place.path(), &["vault"], &mut script).await;
        let one = one.expect("tokens");
        let wanted = ["SEALFLEET_ID_TOKEN_DIR", "SEALFLEET_ID_TOKEN_FILE"];
        assert_eq!(names(&one, &role), wanted);
    }
}
