//! Whom programs of a step trust in TLS, where its egress proxy ends it: those that the image
//! trusts, and the authority of this one proxy.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sealfleet_identity::SecretValue;

use crate::{memory, supervise};

/// The file of the certificates, in memory.
const BUNDLE: &str = "sealfleet-ca.pem";
/// Where images keep theirs: Debian and Alpine, Fedora and Amazon Linux, SUSE, others.
const OF_IMAGES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Bytes of an image's certificates at most.
const MOST: u64 = 8 << 20;
/// What programs find certificates by: OpenSSL and most others, Node.js, Python's requests, curl,
/// git, Codex, the AWS SDKs, pip and Deno.
const VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CODEX_CA_CERTIFICATE",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "DENO_CERT",
];

/// Lets programs trust the authority `ca`. Answers the variables that tell them.
///
/// # Errors
/// The system's answer; for people.
pub(crate) fn add(ca: &str) -> Result<Vec<(String, SecretValue)>, String> {
    let place = memory::place()
        .map_err(|error| format!("there is no place for the proxy's certificate: {error}"))?;
    let bundle = place.join(BUNDLE);
    let path = bundle.display().to_string();
    write(&bundle, &OF_IMAGES.map(Path::new), ca)
        .map_err(|error| format!("`{path}` cannot be written: {error}"))?;
    let variable = |name| supervise::plain(name, path.clone());
    Ok(VARIABLES.map(variable).into())
}

fn write(bundle: &Path, of_images: &[&Path], ca: &str) -> std::io::Result<()> {
    let mut all = Vec::new();
    if let Some(of_image) = of_images.iter().find_map(|path| File::open(path).ok()) {
        of_image.take(MOST).read_to_end(&mut all)?;
        all.push(b'\n');
    }
    all.extend(ca.as_bytes());
    let mut new = OpenOptions::new();
    let mut file = new.write(true).create_new(true).mode(0o444).open(bundle)?;
    file.write_all(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_own_authorities_stay_trusted() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("second"), "of the image").expect("written");
        let of_images = [at("first"), at("second")];
        let of_images: Vec<&Path> = of_images.iter().map(AsRef::as_ref).collect();
        write(&at("bundle"), &of_images, "of the proxy").expect("written");
        let bundle = std::fs::read_to_string(at("bundle")).expect("read");
        assert_eq!(bundle, "of the image\nof the proxy");
        write(&at("alone"), &[], "of the proxy").expect("written");
        let bundle = std::fs::read_to_string(at("alone")).expect("read");
        assert_eq!(bundle, "of the proxy");
    }
}
