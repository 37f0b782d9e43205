//! References in a task definition's `secrets`:
//! `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME[:json-key:version-stage:version-id]`
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html>).

use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReference {
    pub arn: String,
    /// A key of the JSON object in the secret. `None` for the whole secret.
    pub json_key: Option<String>,
    pub version_stage: Option<String>,
    pub version_id: Option<String>,
}

/// Why this stand-in cannot resolve a `valueFrom`. The text continues after "`valueFrom` of secret
/// `X`".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the full ARN of a Secrets Manager secret, optionally followed by `:json-key:version-stage:version-id`, \
     with only one of stage and id given"
)]
pub struct BadReference;

impl FromStr for SecretReference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let parts: Vec<&str> = text.split(':').collect();
        let (arn, rest) = parts.split_at_checked(7).ok_or(BadReference)?;
        let [
            "arn",
            partition,
            "secretsmanager",
            region,
            account,
            "secret",
            name,
        ] = arn
        else {
            return Err(BadReference);
        };
        if [partition, region, account, name]
            .iter()
            .any(|part| part.is_empty())
        {
            return Err(BadReference);
        }
        let (json_key, version_stage, version_id) = match rest {
            [] => ("", "", ""),
            [key, stage, id] => (*key, *stage, *id),
            _ => return Err(BadReference),
        };
        if !version_stage.is_empty() && !version_id.is_empty() {
            return Err(BadReference);
        }
        let given = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        Ok(Self {
            arn: arn.join(":"),
            json_key: given(json_key),
            version_stage: given(version_stage),
            version_id: given(version_id),
        })
    }
}

impl SecretReference {
    /// Whether both read the same version of a secret, no matter which key.
    pub fn same_secret(&self, other: &Self) -> bool {
        self.arn == other.arn
            && self.version_stage == other.version_stage
            && self.version_id == other.version_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:sealfleet/a/b-AbCdEf";

    #[test]
    fn references_are_read_part_by_part() {
        let plain: SecretReference = ARN.parse().unwrap();
        assert_eq!((plain.arn.as_str(), plain.json_key), (ARN, None));
        let full: SecretReference = format!("{ARN}:key::0f1e").parse().unwrap();
        assert_eq!(full.json_key.as_deref(), Some("key"));
        assert_eq!(
            (full.version_stage, full.version_id.as_deref()),
            (None, Some("0f1e"))
        );
        let stage: SecretReference = format!("{ARN}::AWSPREVIOUS:").parse().unwrap();
        assert_eq!(
            (stage.json_key, stage.version_stage.as_deref()),
            (None, Some("AWSPREVIOUS"))
        );
    }

    #[test]
    fn what_is_no_full_arn_is_refused() {
        for bad in [
            "",
            "name",
            "arn:aws:ssm:r:a:parameter/x",
            &format!("{ARN}:k"),
            &format!("{ARN}:k:S:v"),
            &format!("{ARN}::::"),
        ] {
            assert_eq!(bad.parse::<SecretReference>(), Err(BadReference), "{bad}");
        }
    }
}
