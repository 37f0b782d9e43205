fn main() {
    let value = sealfleet_init::SecretValue::new(Vec::new());
    let _text = serde_json::to_string(&value);
}
