//! What every identity backend must do, tried on the real thing: one suite for all.
//!
//! A backend's tests implement [`Store`] for a store that they fill, and call [`conforms`]. What a
//! store cannot have, because its kind has no such thing, it says by [`Lacks`]; that is printed, so
//! that nothing is left out silently. Another backend is another implementation of [`Store`]. All
//! that the process logs meanwhile, at every level, is searched for values and for what logs in.

mod told;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_identity::{Backends, Given, IdentityError, Open, Registry, Resolved};

/// The project of all steps.
pub const PROJECT: &str = "healthcare";
/// How long a step's secrets may take where nothing is slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long where the store is.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// What a store has not, and why.
#[derive(Clone, Copy, Debug)]
pub struct Lacks(pub &'static str);

/// How a step reaches the store, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a login that holds.
    Good,
    /// By one that never held.
    WrongLogin,
    /// By one that has expired.
    ExpiredLogin,
    /// By one that holds, and may not read these values.
    Denied,
    /// Nobody answers.
    Down,
    /// It takes longer than a step's secrets may.
    Slow,
    /// It has a certificate of an unknown CA.
    WrongTls,
}

/// A store of one kind, which a test fills.
#[async_trait]
pub trait Store: Send + Sync {
    /// The scheme of its references.
    fn scheme(&self) -> &'static str;

    /// The backend.
    fn backend(&self) -> Open;

    /// The name of a secret of the project in references: what stands behind `SCHEME://`.
    fn name(&self, secret: &str) -> String;

    /// What the host gives a step for it.
    async fn given(&self, way: Way) -> Result<Given, Lacks>;

    /// Whether a newer value has another version.
    fn has_versions(&self) -> Result<(), Lacks> {
        Ok(())
    }

    /// Whether a version stays when a newer one comes.
    fn keeps_versions(&self) -> Result<(), Lacks> {
        Ok(())
    }

    /// Stores a value as the newest version, and answers that version.
    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks>;

    /// What logs in, and is in no log.
    fn logins(&self) -> Vec<String> {
        Vec::new()
    }

    /// A version in the form that this store has, of no secret.
    fn unknown_version(&self) -> String;

    /// Stores two values below one name; the names of both in references.
    async fn put_two(&self, secret: &str, one: &str, other: &str) -> Result<[String; 2], Lacks>;
}

/// Tries all of it.
///
/// # Errors
/// What a backend does otherwise.
pub async fn conforms(store: &dyn Store) -> Result<(), String> {
    told::begin()?;
    let suite = Suite(store);
    let mut lacks = Vec::new();
    macro_rules! cases {
        ($($case:ident)+) => {
            $(match suite.$case().await {
                Ok(()) => {}
                Err(Broken::Lacks(Lacks(why))) => {
                    lacks.push(format!("{}: {why}", stringify!($case)));
                }
                Err(Broken::Otherwise(what)) => {
                    return Err(format!("{}: {}: {what}", store.scheme(), stringify!($case)));
                }
            })+
        };
    }
    cases! {
        the_newest_version_and_a_pinned_one
        an_unknown_name
        an_unknown_version
        a_login_that_never_held
        a_login_that_has_expired
        a_login_that_may_not_read
        a_login_is_tried_without_a_value
        a_store_that_is_down
        a_store_that_is_slow
        a_certificate_of_an_unknown_ca
        lines_in_a_value
        a_nul_in_a_value
        a_value_of_64_kib
        a_value_that_is_not_utf_8
        one_of_two_values_below_a_name
        a_rotation_is_another_version
        many_resolutions_at_once
        nothing_is_kept_from_one_start_to_the_next
        what_is_printed_of_a_start_holds_no_value
        what_is_logged_holds_no_value
    }
    for lack in lacks {
        println!("{}: not tried: {lack}", store.scheme());
    }
    Ok(())
}

enum Broken {
    Lacks(Lacks),
    Otherwise(String),
}

impl From<Lacks> for Broken {
    fn from(lacks: Lacks) -> Self {
        Self::Lacks(lacks)
    }
}

impl From<String> for Broken {
    fn from(what: String) -> Self {
        Self::Otherwise(what)
    }
}

type Case = Result<(), Broken>;

struct Suite<'a>(&'a dyn Store);

/// A value that is found nowhere by chance.
fn value(letter: char) -> Vec<u8> {
    format!("{letter}-conformance-{}", letter.to_string().repeat(24)).into_bytes()
}

/// A part of it, which no end or beginning of a text cuts.
fn middle(value: &[u8]) -> Vec<u8> {
    value.get(4..20).unwrap_or_default().to_vec()
}

fn ensure(holds: bool, what: impl Into<String>) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::Otherwise(what.into()))
    }
}

fn is_code(error: &IdentityError, codes: &[&str]) -> Case {
    ensure(
        codes.contains(&error.code),
        format!("the code is `{}`, not {codes:?}: {error}", error.code),
    )
}

impl Suite<'_> {
    async fn start(&self, way: Way, patience: Duration) -> Result<Backends, Broken> {
        let registry = Registry::default().with(self.0.scheme(), self.0.backend());
        let given = Given {
            project: PROJECT.to_owned(),
            ..self.0.given(way).await?
        };
        Ok(registry.open(given, patience))
    }

    fn uri(&self, secret: &str) -> String {
        format!("{}://{}", self.0.scheme(), self.0.name(secret))
    }

    async fn resolved(&self, secret: &str, version: Option<&str>) -> Result<Resolved, Broken> {
        let start = self.start(Way::Good, PATIENCE).await?;
        let resolved = start.resolve(&self.uri(secret), version).await;
        resolved.map_err(|error| Broken::Otherwise(format!("`{secret}`: {error}")))
    }

    /// The refusal of a reference: it holds nothing of a value.
    async fn refused(
        &self,
        way: Way,
        secret: &str,
        version: Option<&str>,
    ) -> Result<IdentityError, Broken> {
        let patience = match way {
            Way::Slow => IMPATIENCE,
            _ => PATIENCE,
        };
        let start = self.start(way, patience).await?;
        let uri = self.uri(secret);
        let error = match start.resolve(&uri, version).await {
            Ok(_) => return Err(Broken::Otherwise(format!("`{uri}` is resolved"))),
            Err(error) => error,
        };
        let told = format!("{error} {error:?}");
        for letter in ['a', 'b'] {
            let middle = String::from_utf8_lossy(&middle(&value(letter))).into_owned();
            ensure(!told.contains(&middle), "the refusal holds a value")?;
        }
        Ok(error)
    }

    async fn comes_back(&self, secret: &str, value: &[u8]) -> Case {
        let version = self.0.put(secret, value).await?;
        let resolved = self.resolved(secret, Some(&version)).await?;
        ensure(resolved.value.expose() == value, "another value comes back")
    }

    async fn the_newest_version_and_a_pinned_one(&self) -> Case {
        self.0.has_versions()?;
        let first = self.0.put("versions", &value('a')).await?;
        let second = self.0.put("versions", &value('b')).await?;
        ensure(first != second, format!("two versions are `{first}`"))?;
        for (asked, version, letter) in [(None, &second, 'b'), (Some(&second), &second, 'b')] {
            self.is_at("versions", asked, version, letter).await?;
        }
        match self.0.keeps_versions() {
            Ok(()) => self.is_at("versions", Some(&first), &first, 'a').await,
            Err(lacks) => {
                let error = self.refused(Way::Good, "versions", Some(&first)).await?;
                is_code(&error, &["unknown_version"])?;
                Err(lacks.into())
            }
        }
    }

    async fn is_at(
        &self,
        secret: &str,
        asked: Option<&String>,
        version: &str,
        letter: char,
    ) -> Case {
        let resolved = self.resolved(secret, asked.map(String::as_str)).await?;
        ensure(
            resolved.value.expose() == value(letter),
            format!("`{secret}` at `{version}` is not `{letter}`"),
        )?;
        ensure(
            resolved.version == version,
            format!("the version is `{}`, not `{version}`", resolved.version),
        )
    }

    async fn an_unknown_name(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let error = self.refused(Way::Good, "never-stored", None).await?;
        is_code(&error, &["unknown_secret"])
    }

    async fn an_unknown_version(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let version = self.0.unknown_version();
        let error = self.refused(Way::Good, "known", Some(&version)).await?;
        is_code(&error, &["unknown_version"])
    }

    async fn a_login_that_never_held(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let error = self.refused(Way::WrongLogin, "known", None).await?;
        is_code(&error, &["wrong_credential", "wrong_key"])
    }

    async fn a_login_that_has_expired(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let error = self.refused(Way::ExpiredLogin, "known", None).await?;
        is_code(&error, &["wrong_credential", "expired_credential"])
    }

    async fn a_login_that_may_not_read(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let error = self.refused(Way::Denied, "known", None).await?;
        is_code(&error, &["denied"])
    }

    /// What `backend check` asks.
    async fn a_login_is_tried_without_a_value(&self) -> Case {
        self.0.put("known", &value('a')).await?;
        let tried = async |way: Way| -> Result<Option<IdentityError>, Broken> {
            let start = self.start(way, PATIENCE).await?;
            let tried = start.readable(self.0.scheme()).await;
            drop(start.close().await);
            let middle = String::from_utf8_lossy(&middle(&value('a'))).into_owned();
            ensure(!format!("{tried:?}").contains(&middle), "it tells a value")?;
            Ok(tried.err())
        };
        if let Some(error) = tried(Way::Good).await? {
            let what = format!("a login that holds is refused: {error}");
            return Err(Broken::Otherwise(what));
        }
        for (way, codes) in [
            (Way::WrongLogin, &["wrong_credential", "wrong_key"][..]),
            (Way::Down, &["unreachable"]),
        ] {
            let error = tried(way).await?;
            let error = error.ok_or_else(|| format!("{way:?}: the login passes"))?;
            is_code(&error, codes)?;
        }
        Ok(())
    }

    async fn a_store_that_is_down(&self) -> Case {
        let error = self.refused(Way::Down, "known", None).await?;
        is_code(&error, &["unreachable"])
    }

    async fn a_store_that_is_slow(&self) -> Case {
        let error = self.refused(Way::Slow, "known", None).await?;
        is_code(&error, &["timed_out"])
    }

    async fn a_certificate_of_an_unknown_ca(&self) -> Case {
        let error = self.refused(Way::WrongTls, "known", None).await?;
        is_code(&error, &["unreachable"])?;
        ensure(
            error.message.contains("certificate"),
            format!("it does not say why: {error}"),
        )
    }

    async fn lines_in_a_value(&self) -> Case {
        self.comes_back("lines", b"first\nsecond\r\n\tthird\n")
            .await
    }

    async fn a_nul_in_a_value(&self) -> Case {
        self.comes_back("nul", b"before\0after").await
    }

    async fn a_value_of_64_kib(&self) -> Case {
        self.comes_back("large", &vec![b'x'; 64 * 1024]).await
    }

    async fn a_value_that_is_not_utf_8(&self) -> Case {
        self.comes_back("bytes", &[0xff, 0xfe, 0x80, 0x01, 0xc3])
            .await
    }

    async fn one_of_two_values_below_a_name(&self) -> Case {
        let names = self
            .0
            .put_two("two", "value-of-one", "value-of-other")
            .await?;
        let start = self.start(Way::Good, PATIENCE).await?;
        for (name, value) in names.iter().zip(["value-of-one", "value-of-other"]) {
            let uri = format!("{}://{name}", self.0.scheme());
            let resolved = start.resolve(&uri, None).await;
            let resolved = resolved.map_err(|error| format!("`{uri}`: {error}"))?;
            ensure(
                resolved.value.expose() == value.as_bytes(),
                format!("`{uri}`: the other"),
            )?;
        }
        let [one, _] = names;
        let absent = format!("{}://{one}-absent", self.0.scheme());
        match start.resolve(&absent, None).await {
            Ok(_) => Err(Broken::Otherwise(format!("`{absent}` is resolved"))),
            Err(error) => ensure(
                !error.to_string().contains("value-of"),
                "the refusal of a key holds a value",
            ),
        }
    }

    async fn a_rotation_is_another_version(&self) -> Case {
        self.0.has_versions()?;
        let before = self.0.put("rotated", &value('a')).await?;
        let seen = self.resolved("rotated", None).await?;
        ensure(
            seen.version == before,
            "the newest version is not the newest",
        )?;
        let after = self.0.put("rotated", &value('b')).await?;
        let seen = self.resolved("rotated", None).await?;
        ensure(
            seen.version == after && after != before,
            "a rotation is not seen",
        )
    }

    async fn many_resolutions_at_once(&self) -> Case {
        let version = self.0.put("many", &value('a')).await?;
        let start = Arc::new(self.start(Way::Good, PATIENCE).await?);
        let uri = self.uri("many");
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let (start, uri, version) = (Arc::clone(&start), uri.clone(), version.clone());
            tasks.push(tokio::spawn(async move {
                start.resolve(&uri, Some(&version)).await
            }));
        }
        for task in tasks {
            let resolved = task.await.map_err(|error| error.to_string())?;
            let resolved = resolved.map_err(|error| error.to_string())?;
            ensure(
                resolved.value.expose() == value('a'),
                "one of many is another",
            )?;
        }
        Ok(())
    }

    async fn what_is_printed_of_a_start_holds_no_value(&self) -> Case {
        self.0.put("printed", &value('a')).await?;
        let resolved = self.resolved("printed", None).await?;
        let printed = format!("{resolved:?} {:?}", self.0.given(Way::Good).await?);
        let middle = middle(&value('a'));
        ensure(
            !printed.contains(&*String::from_utf8_lossy(&middle)),
            "it is printed",
        )?;
        let mut logins = self.0.logins().into_iter();
        let login = logins.any(|login| printed.contains(&login));
        ensure(!login, "what logs in is printed")
    }

    /// The last of all, so that it hears of all.
    async fn what_is_logged_holds_no_value(&self) -> Case {
        for letter in ['a', 'b'] {
            ensure(!told::holds(&middle(&value(letter))), "a value is logged")?;
        }
        ensure(!told::holds(b"value-of-one"), "a value is logged")?;
        let mut logins = self.0.logins().into_iter();
        let logged = logins.any(|login| told::holds(login.as_bytes()));
        ensure(!logged, "what logs in is logged")
    }

    async fn nothing_is_kept_from_one_start_to_the_next(&self) -> Case {
        self.0.put("kept", &value('a')).await?;
        self.resolved("kept", None).await?;
        self.0.put("kept", &value('b')).await?;
        let seen = self.resolved("kept", None).await?;
        ensure(
            seen.value.expose() == value('b'),
            "the next start sees the old value",
        )
    }
}
