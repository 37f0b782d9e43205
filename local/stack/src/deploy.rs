//! Deploys the templates by CloudFormation, as on AWS.

use crate::{
    Error, Stack,
    process::MARK,
    python::{Venv, hex, run},
    stack::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY},
};
use aws_credential_types::Credentials;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRule},
};
use sealfleet_cli::cloudformation::{self, Deployment, Outputs, Stacks, Template, causes};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

const TEMPLATE: &str = include_str!("../../../infra/sam/template.yaml");
const TRANSLATE: &str = include_str!("../../../infra/sam/translate.py");

const CODE_BUCKET: &str = "sealfleet-local-code";
const CONTROL_PLANE: &str = "sealfleet";
const POLL: Duration = Duration::from_millis(100);

/// Deploys `infra/sam/project.yaml` for a project, or updates it.
///
/// # Errors
/// When the emulator refuses the deployment. The message contains its reasons.
pub async fn deploy_project(
    stack: &Stack,
    project: &str,
    pull_pool: Option<&str>,
    fargate_pool: Option<&str>,
) -> Result<(), Error> {
    let parameters = [
        ("Project", project),
        ("PullPool", pull_pool.unwrap_or_default()),
        ("FargatePool", fargate_pool.unwrap_or_default()),
        ("Issuer", &stack.api_url),
        ("LocalEndpoint", &stack.endpoint),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let deployment = Deployment {
        stack: &format!("sealfleet-project-{project}"),
        template: Template::Body(cloudformation::PROJECT),
        parameters: parameters.into(),
        tags: Vec::new(),
    };
    Emulator::at(&stack.endpoint)
        .stacks
        .deploy(deployment, |_| ())
        .await?;
    Ok(())
}

/// The files to upload. Made before the emulator is needed, so that both can start at the same
/// time.
pub(crate) struct Build {
    package: PathBuf,
    package_key: String,
    template: PathBuf,
}

impl Build {
    /// Packs the functions binary and translates the template into `directory`. The helper programs
    /// carry the stack's mark, because one that outlives an interrupted `up` would still write
    /// there.
    pub(crate) async fn new(
        venv: &Venv,
        functions: &Path,
        directory: &Path,
        stack_id: &str,
    ) -> Result<Self, Error> {
        let bootstrap = directory.join("bootstrap");
        // A development binary is mostly debug information, which the emulator does not need.
        let mut strip = Command::new("strip");
        strip
            .arg("-o")
            .arg(&bootstrap)
            .arg(functions)
            .env(MARK, stack_id);
        run("stripping the functions binary", &mut strip).await?;
        let package = directory.join("functions.zip");
        let package_key = format!("{}.zip", pack(&bootstrap, &package)?);
        for (name, text) in [("template.yaml", TEMPLATE), ("translate.py", TRANSLATE)] {
            let path = directory.join(name);
            fs::write(&path, text).map_err(Error::file(&path))?;
        }
        let build = Self {
            package,
            package_key,
            template: directory.join("template.json"),
        };
        let mut translate = Command::new(venv.program("python"));
        translate
            .arg(directory.join("translate.py"))
            .arg(directory.join("template.yaml"))
            .arg(&build.template);
        translate.args([
            "--region",
            REGION,
            "--code-bucket",
            CODE_BUCKET,
            "--code-key",
            &build.package_key,
        ]);
        run("translating template.yaml", translate.env(MARK, stack_id)).await?;
        Ok(build)
    }
}

/// The emulator's API, called as its account root.
pub(crate) struct Emulator {
    endpoint: String,
    stacks: Stacks,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
}

impl Emulator {
    pub(crate) fn at(endpoint: &str) -> Self {
        macro_rules! config {
            ($sdk:ident) => {
                $sdk::Config::builder()
                    .behavior_version($sdk::config::BehaviorVersion::latest())
                    .region($sdk::config::Region::new(REGION))
                    .credentials_provider(Credentials::new(
                        ACCESS_KEY_ID,
                        SECRET_ACCESS_KEY,
                        None,
                        None,
                        "sealfleet-local",
                    ))
                    .http_client(aws_smithy_http_client::Builder::new().build_http())
                    .endpoint_url(endpoint)
            };
        }
        Self {
            endpoint: endpoint.to_owned(),
            stacks: Stacks::new(
                aws_sdk_cloudformation::Client::from_conf(config!(aws_sdk_cloudformation).build()),
                POLL,
            ),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(config!(aws_sdk_dynamodb).build()),
            s3: aws_sdk_s3::Client::from_conf(config!(aws_sdk_s3).force_path_style(true).build()),
        }
    }

    /// Uploads a build and deploys the control plane from it.
    pub(crate) async fn deploy_control_plane(
        &self,
        stack_id: &str,
        build: &Build,
        parameters: &[(String, String)],
    ) -> Result<Outputs, Error> {
        let created = self.s3.create_bucket().bucket(CODE_BUCKET).send().await;
        created.map_err(aws("creating the code bucket"))?;
        let template_key = format!("{stack_id}/template.json");
        self.upload(&build.package_key, &build.package).await?;
        self.upload(&template_key, &build.template).await?;
        let url = format!("{}/{CODE_BUCKET}/{template_key}", self.endpoint);
        let parameters = parameters.to_vec();
        let deployment = Deployment {
            stack: CONTROL_PLANE,
            template: Template::Url(url),
            parameters: parameters.clone(),
            tags: Vec::new(),
        };
        let (_, outputs) = self.stacks.deploy(deployment, |_| ()).await?;
        for table in ["LedgerTableName", "AuditTableName"] {
            self.enable_expiry(outputs.get(table)?).await?;
        }
        self.lock_objects(outputs.get("AuditBucketName")?, &parameters)
            .await?;
        Ok(outputs)
    }

    async fn upload(&self, key: &str, path: &Path) -> Result<(), Error> {
        let body = ByteStream::from(fs::read(path).map_err(Error::file(path))?);
        let sent = self
            .s3
            .put_object()
            .bucket(CODE_BUCKET)
            .key(key)
            .body(body)
            .send()
            .await;
        sent.map_err(aws("uploading"))?;
        Ok(())
    }

    /// Sets what the emulator ignores: the template's `TimeToLiveSpecification`.
    async fn enable_expiry(&self, table: &str) -> Result<(), Error> {
        let specification = TimeToLiveSpecification::builder()
            .attribute_name("expires_at")
            .enabled(true)
            .build();
        let specification = specification.map_err(|error| Error::Aws {
            what: "enabling expiry",
            reason: causes(&error),
        })?;
        let update = self
            .dynamodb
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(specification);
        update.send().await.map_err(aws("enabling expiry"))?;
        Ok(())
    }

    /// Sets what the emulator ignores: the template's `ObjectLockConfiguration`. Mode and days come
    /// from the template's parameters.
    async fn lock_objects(
        &self,
        bucket: &str,
        parameters: &[(String, String)],
    ) -> Result<(), Error> {
        let parameter = |wanted: &str| {
            parameters
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        let retention = DefaultRetention::builder()
            .mode(parameter("AuditLockMode").unwrap_or("GOVERNANCE").into())
            .days(
                parameter("AuditLockDays")
                    .and_then(|days| days.parse().ok())
                    .unwrap_or(365),
            )
            .build();
        let configuration = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .rule(
                ObjectLockRule::builder()
                    .default_retention(retention)
                    .build(),
            )
            .build();
        let put = self
            .s3
            .put_object_lock_configuration()
            .bucket(bucket)
            .object_lock_configuration(configuration);
        put.send().await.map_err(aws("locking the audit archive"))?;
        Ok(())
    }
}

fn aws<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata,
    SdkError<E, R>: std::error::Error,
{
    move |error| Error::Aws {
        what,
        reason: cloudformation::reason(&error),
    }
}

/// Writes the Lambda package: one executable named `bootstrap`. Returns the SHA-256 of its bytes.
fn pack(bootstrap: &Path, package: &Path) -> Result<String, Error> {
    fs::set_permissions(bootstrap, Permissions::from_mode(0o755))
        .map_err(Error::file(bootstrap))?;
    let mut source = File::open(bootstrap).map_err(Error::file(bootstrap))?;
    let mut zip = ZipWriter::new(File::create(package).map_err(Error::file(package))?);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file(
        "bootstrap",
        stored
            .unix_permissions(0o755)
            .last_modified_time(DateTime::default()),
    )?;
    io::copy(&mut source, &mut zip).map_err(Error::file(package))?;
    zip.finish()?;
    Ok(hex(&Sha256::digest(
        fs::read(package).map_err(Error::file(package))?,
    )))
}
