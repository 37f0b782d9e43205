fn main() {
    let value = sealfleet_init::SecretValue::new(Vec::new());
    println!("{value}");
}
