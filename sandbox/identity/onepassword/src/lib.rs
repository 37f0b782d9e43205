//! `onepassword://VAULT/ITEM/[SECTION/]FIELD`: values in 1Password, by a Connect server of the
//! customer.
//!
//! A vault and an item are named by their id or their name, a section and a field by their id or
//! their label. What two things are called decides nothing: it is refused. The Connect token comes
//! as a descriptor, and reads the vaults that it was made for.
//!
//! Source: the OpenAPI document of 1Password Connect, 1.5.7.

use async_trait::async_trait;
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_identity_web::{Answer, Late, Service, fault};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

/// The scheme of its references.
pub const SCHEME: &str = "onepassword";

const CONNECT: Service = Service("1Password Connect");

/// The Connect token among the files of the backend.
const TOKEN_FILE: &str = "token";

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
///
/// Settings: `address`, that of the Connect server.
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Late::new(context, OnePassword::of))
}

/// The backend of one step.
pub struct OnePassword {
    client: Client,
    /// As `https://connect.example.com`.
    server: String,
    token: Zeroizing<String>,
    project: String,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Vault {
    name: String,
}

#[derive(Deserialize)]
struct Item {
    version: u64,
    #[serde(default)]
    fields: Vec<Field>,
    #[serde(default)]
    sections: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    id: String,
    #[serde(default)]
    label: Option<String>,
}

#[derive(Deserialize)]
struct Field {
    id: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    section: Option<Named>,
    #[serde(default)]
    value: Option<String>,
}

impl Drop for Field {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// The parts of a reference.
struct Path<'a> {
    vault: &'a str,
    item: &'a str,
    section: Option<&'a str>,
    field: &'a str,
}

impl OnePassword {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let server = CONNECT.setting(context, "address")?;
        let token = CONNECT.file(context, TOKEN_FILE)?;
        let token = token.ok_or_else(|| CONNECT.not_configured())?;
        let client = CONNECT.client(context, &[&server])?;
        Ok(Self {
            project: context.project.clone(),
            ..Self::new(client, &server, token)
        })
    }

    /// A backend with the token of a Connect server. Nothing is sent yet.
    #[must_use]
    pub fn new(client: Client, server: &str, token: Zeroizing<String>) -> Self {
        Self {
            client,
            server: server.trim_end_matches('/').to_owned(),
            token,
            project: String::new(),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, IdentityError> {
        let request = self
            .client
            .get(format!("{}/v1/{path}", self.server))
            .header(ACCEPT, "application/json")
            .bearer_auth(self.token.trim());
        let answer: Answer = CONNECT.send(request).await?;
        match answer.status {
            StatusCode::OK => answer.read(),
            StatusCode::UNAUTHORIZED => Err(fault(
                "wrong_credential",
                "1Password Connect refuses the token of this worker: it is wrong, has expired or was revoked",
            )),
            StatusCode::FORBIDDEN => Err(fault(
                "denied",
                format!("the token of this worker may not read {what}"),
            )),
            StatusCode::NOT_FOUND => Err(fault(
                "unknown_secret",
                format!("1Password Connect has no such thing: {what}"),
            )),
            _ => Err(answer.refused(what)),
        }
    }

    /// The id of the one thing that a list has by this name.
    async fn id_of(
        &self,
        list: &str,
        filter: &str,
        name: &str,
        what: &str,
    ) -> Result<String, IdentityError> {
        if is_id(name) {
            return Ok(name.to_owned());
        }
        // The name has no letter that means something in a filter or a URL: see `Path::parse`.
        let path = format!("{list}?filter={filter}%20eq%20%22{name}%22");
        let found: Vec<Named> = self.ask(&path, what).await?;
        let mut ids = found.into_iter().map(|one| one.id);
        match (ids.next(), ids.next()) {
            (Some(id), None) if is_id(&id) => Ok(id),
            (Some(_), None) => Err(CONNECT.no_sense()),
            (None, _) => Err(fault(
                "unknown_secret",
                format!("1Password Connect has no {what} that this worker's token may read"),
            )),
            (Some(_), Some(_)) => Err(fault(
                "ambiguous_name",
                format!("1Password Connect has several: {what}; name the one by its id"),
            )),
        }
    }
}

#[async_trait]
impl IdentityBackend for OnePassword {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let vaults: Vec<Vault> = self.ask("vaults", "the vaults").await?;
        let readable = vaults.into_iter().map(|Vault { name }| Readable {
            is_foreign: name != self.project && name != "system",
            name,
        });
        Ok(Some(readable.collect()))
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let path = Path::parse(name).ok_or_else(|| {
            fault(
                "bad_reference",
                format!(
                    "`onepassword://{name}` is malformed; write `onepassword://VAULT/ITEM/[SECTION/]FIELD`"
                ),
            )
        })?;
        let vault = format!("vault `{}`", path.vault);
        let vault = self.id_of("vaults", "name", path.vault, &vault).await?;
        let what = format!("item `{}` of vault `{}`", path.item, path.vault);
        let items = format!("vaults/{vault}/items");
        let id = self.id_of(&items, "title", path.item, &what).await?;
        let mut item: Item = self.ask(&format!("{items}/{id}"), &what).await?;
        let current = item.version.to_string();
        if version.is_some_and(|pinned| pinned != current) {
            return Err(fault(
                "unknown_version",
                format!(
                    "`onepassword://{name}` is pinned to a version that the item no longer is; it is `{current}` now, and Connect gives out no others"
                ),
            ));
        }
        let value = item.value(&path)?;
        Ok(Resolved {
            value: SecretValue::new(value.into_bytes()),
            version: current,
            request_id: None,
            leased: false,
        })
    }
}

impl Item {
    fn value(&mut self, path: &Path<'_>) -> Result<String, IdentityError> {
        let is = |id: &str, label: Option<&str>, name: &str| id == name || label == Some(name);
        let sections: Vec<&str> = match path.section {
            None => Vec::new(),
            Some(name) => {
                let sections = self.sections.iter();
                let sections = sections.filter(|one| is(&one.id, one.label.as_deref(), name));
                sections.map(|one| one.id.as_str()).collect()
            }
        };
        let mut found = self.fields.iter_mut().filter(|field| {
            let of_section = field.section.as_ref().map(|section| section.id.as_str());
            let is_there = path.section.is_none()
                || of_section.is_some_and(|section| sections.contains(&section));
            is_there && is(&field.id, field.label.as_deref(), path.field)
        });
        let what = match path.section {
            None => format!("field `{}`", path.field),
            Some(section) => format!("field `{}` of section `{section}`", path.field),
        };
        let item = path.item;
        match (found.next(), found.next()) {
            (Some(field), None) => field.value.take().ok_or_else(|| {
                fault(
                    "unknown_secret",
                    format!("{what} of item `{item}` is empty"),
                )
            }),
            (None, _) => Err(fault(
                "unknown_secret",
                format!("item `{item}` has no {what}"),
            )),
            (Some(_), Some(_)) => Err(fault(
                "ambiguous_name",
                format!(
                    "item `{item}` has several: {what}; name its section, or the one by its id"
                ),
            )),
        }
    }
}

impl<'a> Path<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let parts: Vec<&str> = name.split('/').collect();
        if parts
            .iter()
            .any(|part| part.is_empty() || !part.bytes().all(letter))
        {
            return None;
        }
        match parts.as_slice() {
            [vault, item, field] => Some(Self {
                vault,
                item,
                section: None,
                field,
            }),
            [vault, item, section, field] => Some(Self {
                vault,
                item,
                section: Some(section),
                field,
            }),
            _ => None,
        }
    }
}

/// As the OpenAPI document has it.
fn is_id(text: &str) -> bool {
    text.len() == 26
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
