pub fn all() -> Vec<(String, crate::cases::Case)> {
    Vec::new()
}
