//! Identifiers that cannot be guessed.

/// 128 random bits formatted as a UUID, for events and containers.
pub fn uuid() -> String {
    uuid::Builder::from_random_bytes(bytes())
        .into_uuid()
        .to_string()
}

/// 32 hexadecimal digits: the format of a task's id.
pub fn task_id() -> String {
    hex(&bytes::<16>())
}

/// 64 hexadecimal digits: the path of a task's credentials.
pub fn secret_path() -> String {
    hex(&bytes::<32>())
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // Without randomness, credential paths could be guessed, so nothing may continue.
        std::process::abort();
    }
    bytes
}
