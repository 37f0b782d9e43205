//! The identity backends of a worker: where their values are kept, and what sandboxes get to log
//! in.
//!
//! This process opens files and passes the descriptors on. It reads none of them, and asks no
//! backend: no secret's value, and nothing that could decrypt one, is ever in its memory. Files are
//! opened anew for each step, so the next step sees one that was renamed over the old one.
//! `docs/guides/builtin-backend.md` says in which order store and key change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use sealfleet_channel::{BackendOrder, Descriptors};
use sealfleet_domain::capability::{AGENTCORE, AWS_SM};
use sealfleet_domain::egress::{HostName, HostPattern, Policy, Rule, Rules};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::Failure;
use sealfleet_domain::workload::{Audience, SECRETS_AUDIENCE};

use crate::executor::{cannot_start, short};

/// How often another worker may take a file that is used once.
const TRIES: usize = 100;

#[derive(Clone, Debug, clap::Args)]
pub struct IdentityArguments {
    /// Encrypted store of `builtin://` references
    #[arg(
        long,
        value_name = "FILE",
        requires = "builtin_key_file",
        env = "SEALFLEET_BUILTIN_STORE"
    )]
    pub builtin_store: Option<PathBuf>,
    /// File with the key of that store
    #[arg(
        long,
        value_name = "FILE",
        requires = "builtin_store",
        env = "SEALFLEET_BUILTIN_KEY_FILE"
    )]
    pub builtin_key_file: Option<PathBuf>,
    /// Directory of the files of `sops://` references
    #[arg(
        long,
        value_name = "DIR",
        requires = "sops_key_file",
        env = "SEALFLEET_SOPS_DIRECTORY"
    )]
    pub sops_directory: Option<PathBuf>,
    /// File with the age identities that open them
    #[arg(
        long,
        value_name = "FILE",
        requires = "sops_directory",
        env = "SEALFLEET_SOPS_KEY_FILE"
    )]
    pub sops_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub aws_sm: AwsSmArguments,
    #[command(flatten)]
    pub agentcore: AgentCoreArguments,
    #[command(flatten)]
    pub vault: VaultArguments,
    /// File with the access token of a Bitwarden machine account, for `bitwarden://` references
    #[arg(long, value_name = "FILE", env = "SEALFLEET_BITWARDEN_TOKEN_FILE")]
    pub bitwarden_token_file: Option<PathBuf>,
    /// Address of Bitwarden's identity server
    #[arg(
        long,
        value_name = "URL",
        value_parser = address,
        default_value = "https://identity.bitwarden.com",
        env = "SEALFLEET_BITWARDEN_IDENTITY_URL"
    )]
    pub bitwarden_identity_url: Address,
    /// Address of Bitwarden's API
    #[arg(
        long,
        value_name = "URL",
        value_parser = address,
        default_value = "https://api.bitwarden.com",
        env = "SEALFLEET_BITWARDEN_API_URL"
    )]
    pub bitwarden_api_url: Address,
    /// Certificates (PEM) of the authorities that vouch for both [default: those of the sandbox's
    /// image]
    #[arg(
        long,
        value_name = "FILE",
        requires = "bitwarden_token_file",
        env = "SEALFLEET_BITWARDEN_CA"
    )]
    pub bitwarden_ca: Option<PathBuf>,
    /// Address of a 1Password Connect server, for `onepassword://` references
    #[arg(
        long,
        value_name = "URL",
        value_parser = address,
        requires = "onepassword_token_file",
        env = "SEALFLEET_ONEPASSWORD_ADDRESS"
    )]
    pub onepassword_address: Option<Address>,
    /// File with a token of that server
    #[arg(
        long,
        value_name = "FILE",
        requires = "onepassword_address",
        env = "SEALFLEET_ONEPASSWORD_TOKEN_FILE"
    )]
    pub onepassword_token_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that vouch for it [default: those of the sandbox's
    /// image]
    #[arg(
        long,
        value_name = "FILE",
        requires = "onepassword_address",
        env = "SEALFLEET_ONEPASSWORD_CA"
    )]
    pub onepassword_ca: Option<PathBuf>,
}

/// AWS Secrets Manager.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AwsSmArguments {
    /// Role that may read the project's secrets, for `aws-sm://` references: the output
    /// `ReaderRoleArn` of the project's stack. Steps assume it with an identity token
    #[arg(
        id = "aws_sm_role",
        long = "aws-sm-role",
        value_name = "ARN",
        requires = "aws_sm_region",
        env = "SEALFLEET_AWS_SM_ROLE"
    )]
    pub role: Option<String>,
    /// Region of these secrets
    #[arg(
        id = "aws_sm_region",
        long = "aws-sm-region",
        value_name = "REGION",
        value_parser = region,
        requires = "aws_sm_role",
        env = "SEALFLEET_AWS_SM_REGION"
    )]
    pub region: Option<String>,
    /// Address of Secrets Manager, such as a VPC endpoint [default: the Region's own]
    #[arg(
        id = "aws_sm_address",
        long = "aws-sm-address",
        value_name = "URL",
        value_parser = address,
        requires = "aws_sm_role",
        env = "SEALFLEET_AWS_SM_ADDRESS"
    )]
    pub address: Option<Address>,
    /// Address of AWS STS [default: the Region's own]
    #[arg(
        id = "aws_sm_sts_address",
        long = "aws-sm-sts-address",
        value_name = "URL",
        value_parser = address,
        requires = "aws_sm_role",
        env = "SEALFLEET_AWS_SM_STS_ADDRESS"
    )]
    pub sts_address: Option<Address>,
}

/// Amazon Bedrock AgentCore Identity.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AgentCoreArguments {
    /// Name of the workload identity that steps act for, for `agentcore://` references
    #[arg(
        id = "agentcore_workload",
        long = "agentcore-workload",
        value_name = "NAME",
        requires_all = ["agentcore_role", "agentcore_region"],
        env = "SEALFLEET_AGENTCORE_WORKLOAD"
    )]
    pub workload: Option<String>,
    /// Role that may use it and its credential providers. Steps assume it with an identity token
    #[arg(
        id = "agentcore_role",
        long = "agentcore-role",
        value_name = "ARN",
        requires = "agentcore_workload",
        env = "SEALFLEET_AGENTCORE_ROLE"
    )]
    pub role: Option<String>,
    /// Region of the workload identity
    #[arg(
        id = "agentcore_region",
        long = "agentcore-region",
        value_name = "REGION",
        value_parser = region,
        requires = "agentcore_workload",
        env = "SEALFLEET_AGENTCORE_REGION"
    )]
    pub region: Option<String>,
    /// Audience of these tokens, which a step's profile must have in `identity.audiences`. The
    /// step's command gets no token for it
    #[arg(
        id = "agentcore_audience",
        long = "agentcore-audience",
        value_name = "AUDIENCE",
        default_value = "sealfleet.agentcore",
        env = "SEALFLEET_AGENTCORE_AUDIENCE"
    )]
    pub audience: Option<Audience>,
    /// Scopes of the access tokens of a provider, as PROVIDER=SCOPE; may be repeated
    #[arg(
        id = "agentcore_scopes",
        long = "agentcore-scopes",
        value_name = "PROVIDER=SCOPE",
        value_parser = scope,
        requires = "agentcore_workload",
        env = "SEALFLEET_AGENTCORE_SCOPES",
        value_delimiter = ','
    )]
    pub scopes: Vec<(String, String)>,
    /// Address of AgentCore's data plane, such as a VPC endpoint [default: the Region's own]
    #[arg(
        id = "agentcore_address",
        long = "agentcore-address",
        value_name = "URL",
        value_parser = address,
        requires = "agentcore_workload",
        env = "SEALFLEET_AGENTCORE_ADDRESS"
    )]
    pub address: Option<Address>,
    /// Address of AWS STS [default: the Region's own]
    #[arg(
        id = "agentcore_sts_address",
        long = "agentcore-sts-address",
        value_name = "URL",
        value_parser = address,
        requires = "agentcore_workload",
        env = "SEALFLEET_AGENTCORE_STS_ADDRESS"
    )]
    pub sts_address: Option<Address>,
}

/// OpenBao or HashiCorp Vault.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VaultArguments {
    /// Address of OpenBao or Vault for `vault://` references, as `https://vault.example.com:8200`
    #[arg(
        id = "vault_address",
        long = "vault-address",
        value_name = "URL",
        value_parser = address,
        env = "SEALFLEET_VAULT_ADDRESS"
    )]
    pub address: Option<Address>,
    /// Certificates (PEM) of the authorities that vouch for it [default: those of the sandbox's
    /// image]
    #[arg(
        id = "vault_ca",
        long = "vault-ca",
        value_name = "FILE",
        requires = "vault_address",
        env = "SEALFLEET_VAULT_CA"
    )]
    pub ca: Option<PathBuf>,
    /// Its namespace
    #[arg(
        id = "vault_namespace",
        long = "vault-namespace",
        value_name = "NAME",
        requires = "vault_address",
        env = "SEALFLEET_VAULT_NAMESPACE"
    )]
    pub namespace: Option<String>,
    /// Role of its JWT auth, as which steps log in with an identity token
    #[arg(
        id = "vault_role",
        long = "vault-role",
        value_name = "ROLE",
        requires_all = ["vault_address", "vault_audience"],
        env = "SEALFLEET_VAULT_ROLE"
    )]
    pub role: Option<String>,
    /// Audience of these tokens, which a step's profile must have in `identity.audiences`. The
    /// step's command gets no token for it
    #[arg(
        id = "vault_audience",
        long = "vault-audience",
        value_name = "AUDIENCE",
        requires = "vault_role",
        env = "SEALFLEET_VAULT_AUDIENCE"
    )]
    pub audience: Option<Audience>,
    /// Role id of its AppRole auth, as which steps log in otherwise
    #[arg(
        id = "vault_role_id",
        long = "vault-role-id",
        value_name = "ID",
        requires_all = ["vault_address", "vault_secret_ids"],
        conflicts_with = "vault_role",
        env = "SEALFLEET_VAULT_ROLE_ID"
    )]
    pub role_id: Option<String>,
    /// Directory of files with a response-wrapped secret id each. A step takes one, and it is gone
    #[arg(
        id = "vault_secret_ids",
        long = "vault-secret-ids",
        value_name = "DIR",
        requires = "vault_role_id",
        env = "SEALFLEET_VAULT_SECRET_IDS"
    )]
    pub secret_ids: Option<PathBuf>,
    /// Path of the auth method [default: `jwt`, or `approle`]
    #[arg(
        id = "vault_auth_path",
        long = "vault-auth-path",
        value_name = "PATH",
        requires = "vault_address",
        env = "SEALFLEET_VAULT_AUTH_PATH"
    )]
    pub auth_path: Option<String>,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without a slash at its end.
    pub url: String,
    /// What opens it to who may reach it alone.
    pub rule: Rule,
}

/// A backend in AWS: a role that steps assume, each by a token of its own.
struct InAws<'a> {
    scheme: &'static str,
    /// As the host names of AWS have it.
    service: &'static str,
    role: &'a str,
    region: &'a str,
    /// Where the service is, unless at its own place in the Region.
    address: Option<&'a Address>,
    /// The same of AWS STS.
    sts: Option<&'a Address>,
    /// Whom the tokens are for.
    audience: Option<Audience>,
}

/// What the worker has for its identity backends, by scheme or by `SCHEME.NAME`.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Files that sandboxes get, opened.
    pub files: BTreeMap<String, PathBuf>,
    /// Directories of files, of which a sandbox gets those that its references name.
    pub directories: BTreeMap<String, PathBuf>,
    /// Directories of files that are used once: a sandbox gets one of them, and it is gone.
    pub used_once: BTreeMap<String, PathBuf>,
    /// Addresses and names.
    pub settings: BTreeMap<String, String>,
    /// Whom a step's identity token is for.
    pub audiences: BTreeMap<String, Audience>,
    /// The hosts that a backend needs to reach.
    pub hosts: BTreeMap<String, Vec<Rule>>,
}

impl Identity {
    #[must_use]
    pub fn of(arguments: &IdentityArguments) -> Self {
        let mut all = Self::default();
        all.file("builtin.store", arguments.builtin_store.as_ref());
        all.file("builtin.key", arguments.builtin_key_file.as_ref());
        all.file("sops.key", arguments.sops_key_file.as_ref());
        let sops = arguments.sops_directory.clone();
        all.directories
            .extend(sops.map(|path| ("sops".to_owned(), path)));
        all.aws_sm(&arguments.aws_sm);
        all.agentcore(&arguments.agentcore);
        all.vault(&arguments.vault);
        if arguments.bitwarden_token_file.is_some() {
            all.file("bitwarden.token", arguments.bitwarden_token_file.as_ref());
            all.file("bitwarden.ca", arguments.bitwarden_ca.as_ref());
            all.server(
                "bitwarden.identity",
                Some(&arguments.bitwarden_identity_url),
            );
            all.server("bitwarden.api", Some(&arguments.bitwarden_api_url));
        }
        all.server(
            "onepassword.address",
            arguments.onepassword_address.as_ref(),
        );
        all.file(
            "onepassword.token",
            arguments.onepassword_token_file.as_ref(),
        );
        all.file("onepassword.ca", arguments.onepassword_ca.as_ref());
        all
    }

    fn aws_sm(&mut self, aws: &AwsSmArguments) {
        let (Some(role), Some(region)) = (&aws.role, &aws.region) else {
            return;
        };
        self.in_aws(&InAws {
            scheme: AWS_SM.name,
            service: "secretsmanager",
            role,
            region,
            address: aws.address.as_ref(),
            sts: aws.sts_address.as_ref(),
            audience: SECRETS_AUDIENCE.parse().ok(),
        });
    }

    fn agentcore(&mut self, aws: &AgentCoreArguments) {
        let (Some(workload), Some(role), Some(region)) = (&aws.workload, &aws.role, &aws.region)
        else {
            return;
        };
        self.in_aws(&InAws {
            scheme: AGENTCORE.name,
            service: "bedrock-agentcore",
            role,
            region,
            address: aws.address.as_ref(),
            sts: aws.sts_address.as_ref(),
            audience: aws.audience.clone(),
        });
        let name = format!("{}.workload", AGENTCORE.name);
        self.settings.insert(name, workload.clone());
        for (provider, scope) in &aws.scopes {
            let name = format!("{}.scopes.{provider}", AGENTCORE.name);
            let scopes = self.settings.entry(name).or_default();
            // Those of a provider stand in one setting.
            *scopes = format!("{scopes} {scope}").trim_start().to_owned();
        }
    }

    fn in_aws(&mut self, aws: &InAws<'_>) {
        let (scheme, region) = (aws.scheme, aws.region);
        for (name, setting) in [("role", aws.role), ("region", region)] {
            let name = format!("{scheme}.{name}");
            self.settings.insert(name, setting.to_owned());
        }
        for (name, service, given) in [
            ("address", aws.service, aws.address),
            ("sts", "sts", aws.sts),
        ] {
            let own = || address(&format!("https://{service}.{region}.{}", suffix(region))).ok();
            let server = given.cloned().or_else(own);
            self.server(&format!("{scheme}.{name}"), server.as_ref());
        }
        let audience = aws.audience.clone();
        self.audiences
            .extend(audience.map(|audience| (scheme.to_owned(), audience)));
    }

    fn vault(&mut self, vault: &VaultArguments) {
        self.server("vault.address", vault.address.as_ref());
        self.file("vault.ca", vault.ca.as_ref());
        for (name, setting) in [
            ("vault.namespace", &vault.namespace),
            ("vault.role", &vault.role),
            ("vault.role_id", &vault.role_id),
            ("vault.mount", &vault.auth_path),
        ] {
            let setting = setting.clone();
            self.settings
                .extend(setting.map(|text| (name.to_owned(), text)));
        }
        let audience = vault.audience.clone();
        self.audiences
            .extend(audience.map(|audience| ("vault".to_owned(), audience)));
        let secret_ids = vault.secret_ids.clone();
        self.used_once
            .extend(secret_ids.map(|path| ("vault.wrapped".to_owned(), path)));
    }

    fn file(&mut self, name: &str, path: Option<&PathBuf>) {
        let path = path.cloned();
        self.files.extend(path.map(|path| (name.to_owned(), path)));
    }

    /// A server that the backend of this `SCHEME.NAME` asks.
    fn server(&mut self, name: &str, address: Option<&Address>) {
        let Some(Address { url, rule }) = address else {
            return;
        };
        self.settings.insert(name.to_owned(), url.clone());
        let scheme = scheme_of(name).to_owned();
        self.hosts.entry(scheme).or_default().push(rule.clone());
    }

    /// The schemes that this worker has something for.
    pub(crate) fn schemes(&self) -> BTreeSet<&str> {
        let names = self.files.keys().chain(self.directories.keys());
        let names = names.chain(self.settings.keys());
        names.map(|name| scheme_of(name)).collect()
    }

    /// What the backends that `granted` refers to need of this process, beside files.
    pub(crate) fn order(&self, granted: &[&SecretRef]) -> BackendOrder {
        let mut order = self.order_for(&schemes(granted));
        // The control plane has looked up which secret a name means.
        let in_aws = granted
            .iter()
            .filter(|secret| secret.uri.scheme() == AWS_SM.name);
        order.settings.extend(in_aws.filter_map(|secret| {
            let name = format!("{}.arn.{}", AWS_SM.name, secret.uri.name());
            Some((name, secret.arn.clone()?))
        }));
        order
    }

    /// What the backends of these schemes need.
    pub(crate) fn order_for(&self, schemes: &BTreeSet<&str>) -> BackendOrder {
        let of = |name: &str| schemes.contains(scheme_of(name));
        BackendOrder {
            settings: only(&self.settings, of),
            audiences: only(&self.audiences, of),
            network: self.hosts.keys().any(|scheme| of(scheme)),
        }
    }

    /// The policy of a proxy that leads to the backends of `granted`, and nowhere else. None if
    /// they need no network.
    pub(crate) fn policy(&self, granted: &[&SecretRef]) -> Option<Policy> {
        let schemes = schemes(granted);
        let hosts = self.hosts.iter();
        let hosts = hosts.filter(|(scheme, _)| schemes.contains(scheme.as_str()));
        let rules: Vec<Rule> = hosts.flat_map(|(_, rules)| rules).cloned().collect();
        (!rules.is_empty()).then(|| Policy::Allow(Rules::of(rules)))
    }

    /// The audiences of a step of which its command gets tokens: not those that log in to a
    /// backend.
    pub(crate) fn for_command(&self, audiences: &BTreeSet<Audience>) -> BTreeSet<Audience> {
        let logs_in = |audience: &Audience| self.audiences.values().any(|one| one == audience);
        let audiences = audiences.iter().filter(|audience| !logs_in(audience));
        audiences.cloned().collect()
    }

    /// The files of the backends that `granted` refers to, opened and not read; so many at most.
    pub(crate) fn open(&self, granted: &[&SecretRef], most: usize) -> Result<Descriptors, Failure> {
        self.open_for(&schemes(granted), granted, most)
    }

    /// The same, with the files that all references of these schemes need.
    pub(crate) fn open_for(
        &self,
        schemes: &BTreeSet<&str>,
        granted: &[&SecretRef],
        most: usize,
    ) -> Result<Descriptors, Failure> {
        let is_needed = |name: &str| schemes.contains(scheme_of(name));
        let failed = |what: &str, error: io::Error| Failure::SecretUnavailable {
            cause: None,
            detail: short(&format!("the worker cannot open {what}: {error}")),
        };
        let mut descriptors = Descriptors::new();
        for (name, path) in only(&self.files, is_needed) {
            let file = File::open(path).map_err(|error| failed(&format!("`{name}`"), error))?;
            descriptors.insert(name, file.into());
        }
        for secret in granted {
            let (scheme, name) = (secret.uri.scheme(), secret.uri.name());
            let Some(directory) = self.directories.get(scheme) else {
                continue;
            };
            let file = open_below(directory, name);
            let file = file.map_err(|error| failed(&format!("`{scheme}://{name}`"), error))?;
            descriptors.insert(format!("{scheme}.file.{name}"), file);
        }
        for (name, directory) in only(&self.used_once, is_needed) {
            let file = take_one(&directory);
            let file = file.map_err(|error| failed(&format!("a file of `{name}`"), error))?;
            descriptors.insert(name, file.into());
        }
        if descriptors.len() > most {
            return Err(cannot_start(format!(
                "its secrets stand in too many files: {most} at most, with those of their keys"
            )));
        }
        Ok(descriptors)
    }
}

fn schemes<'a>(granted: &[&'a SecretRef]) -> BTreeSet<&'a str> {
    granted.iter().map(|secret| secret.uri.scheme()).collect()
}

/// The scheme of a `SCHEME` or `SCHEME.NAME`.
fn scheme_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(scheme, _)| scheme)
}

fn only<T: Clone>(
    all: &BTreeMap<String, T>,
    is_needed: impl Fn(&str) -> bool,
) -> BTreeMap<String, T> {
    let needed = all.iter().filter(|(name, _)| is_needed(name));
    needed
        .map(|(name, one)| (name.clone(), one.clone()))
        .collect()
}

/// Opens a file below a directory, wherever links in it lead.
fn open_below(directory: &Path, name: &str) -> io::Result<OwnedFd> {
    let directory = File::open(directory)?;
    // A pipe must not hold this up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let beneath = ResolveFlags::BENEATH;
    let file = File::from(openat2(directory, name, flags, Mode::empty(), beneath)?);
    match file.metadata()?.is_file() {
        true => Ok(file.into()),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Opens one of the files of a directory and takes it away. Whoever takes it away has it: workers
/// of one host may share the directory.
fn take_one(directory: &Path) -> io::Result<File> {
    for entry in std::fs::read_dir(directory)?.take(TRIES) {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_hidden || !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match std::fs::remove_file(path) {
            Ok(()) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the directory has none left"))
}

/// `PROVIDER=SCOPE`.
fn scope(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let parts = parts.filter(|(provider, scope)| {
        !provider.is_empty() && !scope.is_empty() && !scope.contains(char::is_whitespace)
    });
    let (provider, scope) = parts.ok_or("write it as `PROVIDER=SCOPE`")?;
    Ok((provider.to_owned(), scope.to_owned()))
}

/// A Region of AWS: it becomes a part of host names.
fn region(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("write it as `eu-central-1`".to_owned()),
    }
}

/// What the host names of a Region end in.
fn suffix(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}

/// `https://HOST[:PORT][/PATH]`; `http` on the loopback interface alone.
fn address(text: &str) -> Result<Address, String> {
    let form = || "write it as `https://vault.example.com:8200`".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host: HostName = host.parse().map_err(|_| form())?;
    let default = match scheme {
        "https" => 443,
        "http" if is_here(&host) => 80,
        "http" => {
            let host = "`http://` sends secrets in the clear: use `https://`, or an address of this host's loopback interface";
            return Err(host.to_owned());
        }
        _ => return Err(form()),
    };
    let port = port.map_or(Ok(default), str::parse);
    let port = port.map_err(|_| form())?;
    if path.contains(['?', '#', '\\', ' ']) {
        return Err(form());
    }
    Ok(Address {
        url: text.trim_end_matches('/').to_owned(),
        rule: Rule::whole(HostPattern::Host(host), port),
    })
}

fn is_here(host: &HostName) -> bool {
    match host {
        HostName::Name(name) => name == "localhost",
        HostName::Address(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: IdentityArguments,
    }

    fn parsed(words: &[&str]) -> Result<Identity, String> {
        let program = Program::try_parse_from([&["x"], words].concat());
        program
            .map(|program| Identity::of(&program.arguments))
            .map_err(|error| error.to_string())
    }

    fn secret(uri: &str) -> SecretRef {
        let json = serde_json::json!({ "name": "A", "uri": uri, "arn": "arn:x", "from": "crm" });
        serde_json::from_value(json).expect("a secret")
    }

    #[test]
    fn an_address_is_https_or_here() {
        for (good, host, port) in [
            ("https://vault.example", "vault.example", 443),
            ("https://vault.example:8200/below/", "vault.example", 8200),
            ("https://[2001:db8::1]", "2001:db8::1", 443),
            ("https://[2001:db8::1]:82", "2001:db8::1", 82),
            ("http://127.0.0.1:8200", "127.0.0.1", 8200),
            ("http://localhost", "localhost", 80),
        ] {
            let read = address(good).expect(good);
            let host = HostPattern::Host(host.parse().expect("a host"));
            assert_eq!(read.rule, Rule::whole(host, port), "{good}");
            assert_eq!(read.url, good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "vault.example",
            "http://vault.example",
            "http://127.0.0.1.example",
            "http://localhost@a.example",
            "https://a@vault.example",
            "https://vault.example:99999",
            "https://vault.example/a?b",
            "https://*.example",
            "ftp://127.0.0.1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    /// A worker with backends on the network and beside it.
    fn several() -> Identity {
        let words = "--vault-address https://vault.example:8200 --vault-role steps \
                     --vault-audience https://vault.example --builtin-store s --builtin-key-file k \
                     --onepassword-address https://connect.example --onepassword-token-file t";
        let words: Vec<&str> = words.split_whitespace().collect();
        parsed(&words).expect("good options")
    }

    fn policy(host: &str, port: u16) -> Policy {
        let host = HostPattern::Host(host.parse().expect("a host"));
        Policy::Allow(Rules::of([Rule::whole(host, port)]))
    }

    #[test]
    fn the_way_out_leads_to_the_hosts_of_granted_secrets_and_no_others() {
        let identity = several();
        let (vault, builtin) = (secret("vault://kv/a/b#c"), secret("builtin://b"));
        let connect = secret("onepassword://a/b/c");
        let of_vault = policy("vault.example", 8200);
        assert_eq!(identity.policy(&[&builtin, &vault]), Some(of_vault));
        let of_connect = policy("connect.example", 443);
        assert_eq!(identity.policy(&[&connect]), Some(of_connect));
        assert_eq!(identity.policy(&[&builtin]), None);
    }

    #[test]
    fn a_step_has_what_the_backends_of_its_secrets_need_and_nothing_of_others() {
        let identity = several();
        let (vault, builtin) = (secret("vault://kv/a/b#c"), secret("builtin://b"));
        let order = identity.order(&[&vault]);
        let keys: Vec<&str> = order.settings.keys().map(String::as_str).collect();
        assert_eq!(keys, ["vault.address", "vault.role"]);
        assert!(order.network && order.audiences.contains_key("vault"));
        assert!(identity.order(&[&builtin]).is_empty());
    }

    #[test]
    fn a_command_has_no_token_that_logs_in_to_a_backend() {
        let audiences = ["https://vault.example", "https://other.example"];
        let audiences = audiences.map(|one| one.parse().expect("an audience"));
        let kept = several().for_command(&audiences.clone().into());
        let [_, other] = audiences;
        assert_eq!(kept, [other].into());
    }

    #[test]
    fn secrets_manager_is_read_by_the_steps_own_token() {
        let role = "arn:aws:iam::111122223333:role/sealfleet/project/sealfleet-a--reader";
        let words = ["--aws-sm-role", role, "--aws-sm-region", "eu-west-1"];
        let identity = parsed(&words).expect("good options");
        let crm = secret("aws-sm://sealfleet/a/crm#token");
        let order = identity.order(&[&crm]);
        let keys: Vec<&str> = order.settings.keys().map(String::as_str).collect();
        let names = ["address", "arn.sealfleet/a/crm", "region", "role", "sts"];
        assert_eq!(keys, names.map(|name| format!("aws-sm.{name}")));
        assert_eq!(order.audiences["aws-sm"].as_str(), SECRETS_AUDIENCE);
        let hosts = ["secretsmanager", "sts"].map(|service| {
            let host = format!("{service}.eu-west-1.amazonaws.com");
            Rule::whole(HostPattern::Host(host.parse().expect("a host")), 443)
        });
        assert_eq!(
            identity.policy(&[&crm]),
            Some(Policy::Allow(Rules::of(hosts)))
        );
        assert!(identity.order(&[&secret("builtin://b")]).is_empty());
        assert!(parsed(&["--aws-sm-role", role]).is_err());
        assert!(parsed(&["--aws-sm-role", role, "--aws-sm-region", "a.b"]).is_err());
    }

    #[test]
    fn agentcore_has_a_workload_and_scopes() {
        let words = [
            "--agentcore-workload",
            "steps",
            "--agentcore-role",
            "arn:aws:iam::111122223333:role/steps",
            "--agentcore-region",
            "eu-west-1",
            "--agentcore-scopes",
            "tickets=read,tickets=write",
        ];
        let identity = parsed(&words).expect("good options");
        let order = identity.order(&[&secret("agentcore://tickets#oauth2")]);
        let scopes = &order.settings["agentcore.scopes.tickets"];
        assert_eq!(scopes, "read write");
        assert_eq!(order.audiences["agentcore"].as_str(), "sealfleet.agentcore");
        let hosts = ["bedrock-agentcore", "sts"].map(|service| {
            let host = format!("{service}.eu-west-1.amazonaws.com");
            Rule::whole(HostPattern::Host(host.parse().expect("a host")), 443)
        });
        let policy = identity.policy(&[&secret("agentcore://tickets")]);
        assert_eq!(policy, Some(Policy::Allow(Rules::of(hosts))));
        assert!(parsed(&words[..2]).is_err() && parsed(&words[2..4]).is_err());
        // A worker without it withholds nothing from commands.
        let none = parsed(&[]).expect("no options");
        let audiences = BTreeSet::from(["sealfleet.agentcore".parse().expect("an audience")]);
        assert_eq!(none.for_command(&audiences), audiences);
        assert!(identity.for_command(&audiences).is_empty());
    }

    #[test]
    fn options_of_a_login_go_together() {
        let address = ["--vault-address", "https://vault.example"];
        for (more, missing) in [
            (&["--vault-role", "a"][..], "--vault-audience"),
            (&["--vault-role-id", "a"], "--vault-secret-ids"),
            (&["--vault-secret-ids", "a"], "--vault-role-id"),
        ] {
            let refused = parsed(&[&address, more].concat()).expect_err("not enough");
            assert!(refused.contains(missing), "{refused}");
        }
        let bare = parsed(&["--vault-ca", "a"]).expect_err("no address");
        assert!(bare.contains("--vault-address"), "{bare}");
    }

    #[test]
    fn a_file_that_is_used_once_is_gone() {
        let place = tempfile::tempdir().expect("a directory");
        for name in ["one", "two", ".hidden"] {
            std::fs::write(place.path().join(name), name).expect("written");
        }
        let identity = Identity {
            used_once: BTreeMap::from([("vault.wrapped".to_owned(), place.path().to_owned())]),
            ..Identity::default()
        };
        let vault = secret("vault://kv/a/b#c");
        let taken = |secret: &SecretRef| {
            let opened = identity.open(&[secret], 8)?;
            let wrapped = opened.get("vault.wrapped").map(|file| {
                let file = File::from(file.as_fd().try_clone_to_owned().expect("a file"));
                file.metadata().expect("its metadata").ino()
            });
            Ok::<_, Failure>(wrapped)
        };
        assert_eq!(taken(&secret("builtin://b")), Ok(None));
        let (one, two) = (taken(&vault), taken(&vault));
        assert!(matches!((&one, &two), (Ok(Some(_)), Ok(Some(_)))) && one != two);
        let left = taken(&vault).expect_err("none is left");
        assert!(format!("{left:?}").contains("none left"), "{left:?}");
    }
}
