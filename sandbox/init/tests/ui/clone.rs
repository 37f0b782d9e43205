fn main() {
    let value = sealfleet_init::SecretValue::new(Vec::new());
    let _copy = value.clone();
}
